"""A real Chromium, and what it saw: no request may leave the house, and nothing may go wrong without being noticed."""

import os
import shutil
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest
import servers
from playwright.sync_api import sync_playwright
from running_house import PASSWORD, RunningHouse

SHOTS = Path(__file__).parent.parent.parent / ".test-home" / "screenshots"
BROWSERS = (
    "chromium",
    "google-chrome",
    "chromium-browser",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def chromium():
    """Where the browser lies."""
    path = next((found for name in (os.environ.get("HEARTH_TEST_CHROMIUM", ""), *BROWSERS) if name and (found := shutil.which(name))), None)
    if path is None:
        pytest.fail("no Chromium: run `make test`, which installs it")
    return path


@pytest.fixture(scope="session")
def playwright():
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session", params=["chromium"], ids=["leg=chromium"])
def browser(request, playwright):
    opened = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
    yield opened
    opened.close()


class Visitor:
    """One browser window that keeps account of what it saw."""

    def __init__(self, browser, url, **given):
        self.context = browser.new_context(**({"viewport": {"width": 1280, "height": 820}} | given))
        self.context.set_default_timeout(20_000)
        self.page = self.context.new_page()
        self.foreign, self.problems = [], []
        self.page.on("request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else self.foreign.append(r.url))
        self.page.on("pageerror", lambda e: self._note(str(e)))
        self.page.on("console", lambda m: self._note(f"{m.text} {m.location['url']}") if m.type == "error" else None)
        self.page.on("response", lambda r: self.problems.append(f"{r.status} {r.url}") if r.status >= 400 and r.status not in (401, 429) else None)

    def _note(self, text):
        """A page that is left before it is whole breaks off what it was fetching, and says so; that is no problem."""
        if not text.startswith("AbortError"):
            self.problems.append(text)

    def shoot(self, name):
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.wait_for_timeout(400)
        self.page.screenshot(path=SHOTS / f"{name}.png")

    def sign_in(self, url, name="ada", password=PASSWORD):
        self.page.goto(f"{url}/login?next=/chat")
        self.page.fill("[name=username]", name)
        self.page.fill("[name=password]", password)
        self.page.click("button")
        self.page.wait_for_selector("#hearth #account form")

    def ask(self, text):
        before = self.page.locator(".message.theirs:not(.growing)").count()
        self.page.fill("#text textarea", text)
        self.page.keyboard.press("Enter")
        self.page.wait_for_function(f"document.querySelectorAll('.message.theirs:not(.growing)').length > {before}", timeout=60_000)

    def upload(self, *paths):
        self.page.set_input_files("#files", [str(p) for p in paths])


@pytest.fixture
def visit(browser):
    opened = []

    def make(url, **given):
        visitor = Visitor(browser, url, **given)
        opened.append(visitor)
        return visitor

    yield make
    for visitor in opened:
        visitor.context.close()


class Stores:
    """Where a house keeps things: its home folder, or a server for each."""

    def __init__(self, of=None):
        self.servers = of or {}
        self.settings = servers.addresses(self.servers)

    def die(self, house, *parts):
        """A server is killed, if there is one, and comes back, and the house has found it again."""
        for part in parts:
            if server := self.servers.get(part):
                server.kill()
                server.start()
                begun = time.monotonic()
                while not house.get("/readyz", anonymous=True)[1]["parts"][part]["ready"]:
                    assert time.monotonic() - begun < 20, house.log.read_text()[-2000:]
                    time.sleep(0.1)


@pytest.fixture(scope="module", params=servers.WHERE, ids=lambda leg: f"leg={leg}")
def stores(request):
    """Fresh for the module."""
    with servers.five() if request.param == "five-servers" else nullcontext() as of:
        yield Stores(of)


@pytest.fixture(scope="module")
def house(request, tmp_path_factory):
    """Echo models behind the real page; one house for the module, because its start costs seconds. On its home folder, unless a test says otherwise."""
    with ExitStack() as stack:
        elsewhere = getattr(request, "param", "home") == "five-servers"
        stores = Stores(stack.enter_context(servers.five()) if elsewhere else None)
        home = tmp_path_factory.mktemp("browser") / "home"
        running = stack.enter_context(RunningHouse(home, HEARTH_CHAT_PAGE="true", HEARTH_UPLOAD_MAX_MB="5", **stores.settings))
        running.stores = stores
        running.make_user()
        running.wait_for_pages()
        yield running


@pytest.fixture
def ada(house, visit):
    """Ada on the chat page. Nothing that a test does may leave the house."""
    visitor = visit(house.url)
    visitor.sign_in(house.url)
    yield visitor
    assert visitor.foreign == []
