"""The console in a real browser: every page in light, dark and on a phone, links, downloads, what refreshes itself, and who is out."""

import re

import pytest
from running_house import PASSWORD, RunningHouse, command

pytestmark = pytest.mark.timeout(300)
PAGES = {
    "overview": ("/admin/", "Overview"),
    "collections": ("/admin/collections", "Collections"),
    "lab": ("/admin/lab?lab_of=ada&lab_q=How+long+are+backups+kept%3F", "Retrieval lab"),
    "golden": ("/admin/golden", "Golden sets"),
    "models": ("/admin/models", "Models"),
    "conversations": ("/admin/conversations", "Conversations"),
    "events": ("/admin/events", "Events"),
    "users": ("/admin/users", "Users"),
    "retention": ("/admin/retention", "Retention"),
    "backups": ("/admin/backups", "Backups"),
    "settings": ("/admin/settings", "Settings"),
    "audit": ("/admin/audit", "Audit log"),
}
QUESTIONS = ("How long are backups kept?", "Wie lange werden Sicherungen aufbewahrt?", "バックアップはどのくらい保存されますか", "Who has the key of the shed?")
GUIDE = "# Lab handbook\n\n## Backups\nBackups run every night at 02:30 and are kept for 35 days.\n\n## Keys\nThe key of the shed hangs behind the door.\n"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A house that somebody lives in."""
    with RunningHouse(tmp_path_factory.mktemp("console") / "home", HEARTH_CHAT_PAGE="true") as running:
        running.make_user()
        for name in ("bob", "a-user-with-a-name-that-is-as-long-as-names-may-be-here"):
            command("user", "add", name, home=running.home, typed=PASSWORD + "\n")
        running.job_done(running.upload("handbook.md", GUIDE.encode(), "handbook")[1]["id"])
        running.job_done(running.upload("notes.md", b"# Notes\n\nNothing yet.\n", "notes")[1]["id"])
        for text in QUESTIONS:
            assert running.ask(text, collection="handbook")[0] == 200
        running.wait_for_pages()
        yield running


def there(page):
    page.wait_for_selector("[data-testid=stHeading] h1", timeout=60_000)
    page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]') && !document.querySelector('[data-stale=true]')", timeout=60_000)


def admin(house, visit, **given):
    """Ada in her console. Streamlit asks for two of its own routes at the wrong place first, and takes the 404 for an answer."""
    visitor = visit(house.url, **given)
    visitor.page.goto(f"{house.url}/login?next=/admin/")
    visitor.page.fill("[name=username]", "ada")
    visitor.page.fill("[name=password]", PASSWORD)
    visitor.page.keyboard.press("Enter")
    there(visitor.page)
    return visitor


def problems(visitor):
    ours = [p for p in visitor.problems if "/_stcore/" not in p and not p.startswith("503")]
    return [p for p in ours if not re.match(r"Failed to load resource: .* (404|503)", p)]


@pytest.mark.parametrize(
    ("look", "given"),
    [
        ("light", {}),
        ("dark", {"color_scheme": "dark"}),
        ("phone", {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}),
    ],
    ids=["light", "dark", "phone"],
)
def test_every_page_opens_by_its_address_and_says_what_it_is(house, visit, look, given):
    visitor = admin(house, visit, **given)
    for name, (path, title) in PAGES.items():
        visitor.page.goto(house.url + path)
        there(visitor.page)
        assert visitor.page.inner_text("[data-testid=stHeading] h1").strip() == title
        assert visitor.page.locator("[role=dialog]").count() == 0, "no page is missing"
        assert visitor.page.locator("[data-testid=stAlertContentError]").count() == 0, path
        assert visitor.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), f"{path} is too wide"
        visitor.shoot(f"console-{name}-{look}")
    assert visitor.foreign == []
    assert problems(visitor) == []


def test_passages_are_circled_on_the_map_and_read(house, visit):
    visitor = admin(house, visit)
    page = visitor.page
    page.goto(f"{house.url}/admin/collections")
    there(page)
    for number in range(4):
        house.job_done(
            house.upload(f"more-{number}.md", f"# Part {number}\n\nOf {'wool tea rain bread'.split()[number]} alone.\n".encode(), "handbook")[1]["id"]
        )
    collection = next(c for c in house.get("/v1/collections")[1]["items"] if c["name"] == "handbook")["id"]
    page.goto(f"{house.url}/admin/collection?collection={collection}&view=map")
    page.wait_for_selector(".js-plotly-plot .nsewdrag")
    page.wait_for_timeout(1500)
    area = page.locator(".js-plotly-plot .nsewdrag").bounding_box()
    page.locator(".modebar-btn[data-title='Lasso Select']").click(force=True)
    corners = [(0.01, 0.01), (0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.02)]
    for n, (x, y) in enumerate(corners):
        page.mouse.move(area["x"] + area["width"] * x, area["y"] + area["height"] * y, steps=8)
        if not n:
            page.mouse.down()
    page.mouse.up()
    page.wait_for_function("document.querySelectorAll('[data-testid=stDataFrame]').length >= 1")
    visitor.shoot("console-map")
    with page.expect_download() as download:
        page.get_by_role("link", name="All rows as JSON lines").click()
    assert download.value.path().read_text().count("\n") >= 6
    assert visitor.foreign == []


def test_figures_refresh_by_themselves(house, visit):
    visitor = admin(house, visit)
    before = visitor.page.locator("[data-testid=stMetricValue]").nth(2).inner_text()
    assert house.ask("one more")[0] == 200
    visitor.page.wait_for_function(f"document.querySelectorAll('[data-testid=stMetricValue]')[2].innerText.trim() > '{before.strip()}'", timeout=30_000)


def test_a_conversation_is_found_opened_and_taken_away(house, visit):
    visitor = admin(house, visit)
    page = visitor.page
    page.goto(f"{house.url}/admin/conversations")
    there(page)
    page.get_by_role("textbox", name="Find in what was written").fill("shed")
    page.keyboard.press("Enter")
    page.wait_for_url("**find=shed**")
    conversation = house.get("/v1/conversations?search=shed")[1]["items"][0]["id"]
    page.goto(f"{house.url}/admin/conversations?talk={conversation}")
    page.wait_for_selector("[data-testid=stChatMessage]")
    there(page)
    assert page.locator("[data-testid=stAlertContentError]").count() == 0
    visitor.shoot("console-conversation")
    with page.expect_download() as download:
        page.get_by_role("link", name="Markdown").click()
    assert "Who has the key of the shed?" in download.value.path().read_text()


def test_who_is_disabled_sees_nothing_more_in_a_console_that_is_open(house, visit):
    visitor = admin(house, visit)
    try:
        assert command("user", "disable", "ada", home=house.home).returncode == 0
        visitor.page.get_by_role("link", name="Users").click()
        visitor.page.wait_for_selector("text=This account can't be used any more.")
        assert visitor.page.locator("[data-testid=stDataFrame]").count() == 0
        visitor.page.goto(f"{house.url}/admin/users")
        visitor.page.wait_for_selector("[name=username]")
    finally:
        command("user", "enable", "ada", home=house.home)
