"""The console in a real browser: every page in light, dark and on a phone, links, downloads, what refreshes itself, and who is out."""

import zipfile

import pytest
from console_visits import DRAWN, LOOKS, admin, id_of, problems, there
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
    home = tmp_path_factory.mktemp("console") / "home"
    with RunningHouse(home, HEARTH_CHAT_PAGE="true", HEARTH_SYNC_FOLDERS=str(home.parent)) as running:
        running.make_user()
        for name in ("bob", "a-user-with-a-name-that-is-as-long-as-names-may-be-here"):
            command("user", "add", name, home=running.home, typed=PASSWORD + "\n")
        running.job_done(running.upload("handbook.md", GUIDE.encode(), "handbook")[1]["id"])
        running.job_done(running.upload("notes.md", b"# Notes\n\nNothing yet.\n", "notes")[1]["id"])
        for text in QUESTIONS:
            assert running.ask(text, collection="handbook")[0] == 200
        running.wait_for_pages()
        yield running


@pytest.mark.parametrize(("look", "given"), LOOKS.items(), ids=LOOKS)
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
    visitor = admin(house, visit, "collections")
    page = visitor.page
    for number in range(4):
        house.job_done(
            house.upload(f"more-{number}.md", f"# Part {number}\n\nOf {'wool tea rain bread'.split()[number]} alone.\n".encode(), "handbook")[1]["id"]
        )
    collection = next(c for c in house.get("/v1/collections")[1]["items"] if c["name"] == "handbook")["id"]
    page.goto(f"{house.url}/admin/collection?collection={collection}&view=map")
    page.wait_for_selector(DRAWN)
    page.locator(DRAWN).scroll_into_view_if_needed()
    area = page.locator(DRAWN).bounding_box()
    page.mouse.click(area["x"] + 25, area["y"] + 25)  # the lasso; ECharts' tools are drawn, so there is nothing else to click
    corners = [(0.02, 0.1), (0.98, 0.1), (0.98, 0.9), (0.02, 0.9), (0.02, 0.11)]
    for n, (x, y) in enumerate(corners):
        page.mouse.move(area["x"] + area["width"] * x, area["y"] + area["height"] * y, steps=8)
        if not n:
            page.mouse.down()
    page.mouse.up()
    page.wait_for_function("document.querySelectorAll('[data-testid=stDataFrame]').length >= 1")
    visitor.shoot("console-map")
    with page.expect_download() as download:
        page.get_by_role("link", name="Searched rows as JSON lines").click()
    assert download.value.path().read_text().count("\n") >= 6
    assert visitor.foreign == []


def test_a_folder_of_the_server_is_chosen_looked_at_and_taken_in(house, visit):
    folder = house.home.parent / "papers"
    (folder / "sub").mkdir(parents=True)
    for name in ("lamp.md", "sub/port.md"):
        (folder / name).write_text(f"# {name}\n\nOf {name} alone.\n")
    (folder / "nothing.md").touch()
    collection = next(c for c in house.get("/v1/collections")[1]["items"] if c["name"] == "notes")["id"]
    visitor = admin(house, visit, f"collection?collection={collection}&view=folder")
    page = visitor.page
    for name in (str(folder.parent), str(folder)):
        page.get_by_role("combobox", name="Folder").click()
        page.get_by_role("option", name=name, exact=True).click()
        page.wait_for_url(f"**folder={name.replace('/', '%2F')}*")
    page.get_by_role("button", name="Look what is new").click()
    page.get_by_role("button", name="Take in 2").click()
    page.wait_for_selector("text=1 left out · 2 taken in")
    (folder / "lamp.md").unlink()
    (folder / "bread.md").write_text("# Bread\n\nIt is in the oven.\n")
    page.get_by_role("button", name="Look what is new").click()
    assert problems(visitor) == []
    dark = admin(house, visit, **LOOKS["dark"])
    dark.page.goto(page.url)
    for seen, look in ((visitor, "light"), (dark, "dark")):
        seen.page.wait_for_selector("text=1 new · 1 there already · 1 left out · 1 vanished")
        seen.page.get_by_role("button", name="Delete 1 that have vanished").wait_for()
        seen.page.locator("[data-testid=stDataFrame]").scroll_into_view_if_needed()
        there(seen.page)
        seen.shoot(f"console-folder-{look}")
    page.set_viewport_size(LOOKS["phone"]["viewport"])
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_collection_is_made_with_the_model_that_was_chosen(house, visit):
    visitor = admin(house, visit, "collections")
    page = visitor.page
    page.get_by_role("button", name="New collection").click()
    page.get_by_role("textbox", name="Of").fill("ada")
    page.get_by_role("textbox", name="Name").fill("short vectors")
    page.get_by_role("combobox", name="Embedding model").click()
    page.get_by_role("option", name="echo-embed-small").click()
    page.wait_for_timeout(300)
    visitor.shoot("console-new-collection")
    page.get_by_role("button", name="Create").click()
    page.wait_for_selector("text=Model echo-embed-small, 64 dimensions")
    assert problems(visitor) == []


def test_every_service_is_asked_where_it_is(house, visit):
    visitor = admin(house, visit, "models")
    page = visitor.page
    page.get_by_role("button", name="Check every service").click()
    page.locator("[data-testid=stDataFrame]").nth(2).wait_for()
    there(page)
    visitor.shoot("console-models-checked")
    assert problems(visitor) == []


def test_a_collection_is_re_embedded_compared_and_let_be_searched(house, visit):
    collection = next(c for c in house.get("/v1/collections")[1]["items"] if c["name"] == "handbook")["id"]
    visitor = admin(house, visit, f"collection?collection={collection}&view=versions")
    page = visitor.page
    page.get_by_role("button", name="Re-embed").scroll_into_view_if_needed()
    page.wait_for_timeout(500)  # its list closes where the page still scrolls
    page.get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name="echo-embed-small").click()
    page.get_by_role("button", name="Re-embed").click()
    page.get_by_role("button", name="Let version 2 be searched").wait_for()
    page.get_by_text("Compare it with the one that is searched").click()
    page.wait_for_selector("text=By meaning alone")
    there(page)
    visitor.shoot("console-versions")
    page.get_by_role("button", name="Let version 2 be searched").click()
    page.get_by_role("button", name="Let version 1 be searched").wait_for()
    page.wait_for_selector("text=Model echo-embed-small, 64 dimensions")
    assert problems(visitor) == []
    for look in ("dark", "phone"):
        other = admin(house, visit, **LOOKS[look])
        other.page.goto(page.url)
        other.page.get_by_role("button", name="Remove this version").wait_for()
        there(other.page)
        assert other.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        other.shoot(f"console-versions-{look}")


def test_figures_refresh_by_themselves(house, visit):
    visitor = admin(house, visit)
    before = visitor.page.locator("[data-testid=stMetricValue]").nth(2).inner_text()
    assert house.ask("one more")[0] == 200
    visitor.page.wait_for_function(f"document.querySelectorAll('[data-testid=stMetricValue]')[2].innerText.trim() > '{before.strip()}'", timeout=30_000)


def test_a_conversation_is_found_opened_and_taken_away(house, visit):
    visitor = admin(house, visit, "conversations")
    page = visitor.page
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


@pytest.mark.parametrize(("look", "given"), LOOKS.items(), ids=LOOKS)
def test_a_users_page_shows_what_they_may_use_and_have(house, visit, look, given):
    visitor = admin(house, visit, f"user?user={id_of(house, 'ada')}", **given)
    there(visitor.page)
    for tab in ("Account", "Quota", "API keys", "Sessions", "Everything of theirs"):
        visitor.page.get_by_role("tab", name=tab).click()
        visitor.page.wait_for_timeout(300)
        assert visitor.page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), f"{tab} is too wide"
        visitor.shoot(f"console-user-{tab.split()[0].lower()}-{look}")
    assert problems(visitor) == []


def test_a_key_is_shown_once_and_a_user_is_taken_away_and_deleted(house, visit):
    command("user", "add", "cleo", home=house.home, typed=PASSWORD + "\n")
    visitor = admin(house, visit, f"user?user={id_of(house, 'cleo')}")
    page = visitor.page
    page.get_by_role("tab", name="API keys").click()
    page.get_by_role("textbox", name="What the key is for").fill("nightly")
    page.get_by_role("button", name="Make a key").click()
    page.wait_for_selector("text=This key is shown once.")
    visitor.shoot("console-user-key-made")
    page.get_by_role("button", name="Revoke").click()
    page.wait_for_selector("text=This deletes the key nightly")
    page.get_by_role("button", name="Delete for good").click()
    page.wait_for_selector("text=1 keys. 0 left in every store.")
    page.get_by_role("tab", name="Everything of theirs").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download everything as a zip").click()
    assert "account.json" in zipfile.ZipFile(download.value.path()).namelist()
    page.get_by_role("button", name="Delete cleo").click()
    page.wait_for_selector("text=This deletes the user cleo and everything of theirs.")
    visitor.shoot("console-user-delete-asked")
    page.get_by_role("button", name="Delete for good").click()
    page.wait_for_selector("text=Deleted the user cleo and everything of theirs")
    visitor.shoot("console-user-deleted")


def test_who_is_disabled_sees_nothing_more_in_a_console_that_is_open(house, visit):
    visitor = admin(house, visit)
    try:
        assert command("user", "add", "other-admin", "--admin", "--no-password", home=house.home).returncode == 0
        assert command("user", "disable", "ada", home=house.home).returncode == 0
        visitor.page.get_by_role("link", name="Users").click()
        visitor.page.wait_for_selector("text=You are not signed in.")
        assert visitor.page.locator("[data-testid=stDataFrame]").count() == 0
        visitor.page.goto(f"{house.url}/admin/users")
        visitor.page.wait_for_selector("[name=username]")
    finally:
        command("user", "enable", "ada", home=house.home)
