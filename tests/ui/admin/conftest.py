"""The console's pages over a real house on embedded stores, as Streamlit's own test driver shows them."""

from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from echo_house import echo_settings
from streamlit.testing.v1 import AppTest

from core.app import open_app
from ui.admin import bridge
from ui.gate import COOKIE
from ui.server import LatePage, web

SCRIPT = Path(bridge.__file__).with_name("app.py")
PASSWORD = "correct horse battery"


class DrivenConsole:
    """A house in its own event loop, and whoever looks at its console now."""

    def __init__(self, portal, app):
        self.portal, self.app = portal, app
        self.tokens = {}
        self.looking = ""

    def call(self, method, *args, **given):
        """Awaits something of the house in its loop."""

        async def go():
            return await method(*args, **given)

        return self.portal.call(go)

    @property
    def admin(self):
        """Who looks, as the console's rooms want them."""
        return self.call(self.app.users.admin, self.tokens[self.looking])

    def sign_in(self, name, *, admin=False):
        """Makes a user, signs them in and lets them look; gives who they are."""
        self.call(self.app.users.add, name, PASSWORD, admin=admin)
        who, self.tokens[name] = self.call(self.app.users.sign_in, name, PASSWORD, "test")
        self.looking = name
        return who.user

    def noted(self, act):
        """(subject, detail) of the audit log's rows of that kind, latest first."""
        return [(entry.subject, dict(entry.detail)) for entry in self.call(self.app.audit.entries, act=act).items]

    def download(self, path, name="ada"):
        """What somebody gets under /admin/files."""

        async def go():
            transport = httpx.ASGITransport(web(self.app, LatePage(wanted=False)))
            async with httpx.AsyncClient(transport=transport, base_url="http://hearth.test", cookies={COOKIE: self.tokens[name]}) as client:
                return await client.get(f"/admin/files/{path}")

        return self.call(go)

    def page(self, path="", **query):
        """Opens a page, like "users" with user=…; "" is the overview."""
        test = AppTest.from_file(SCRIPT, default_timeout=30)
        for key, value in query.items():
            test.query_params[key] = value
        test.run()
        if path:
            test.switch_page(f"app_pages/{path}.py").run()
        assert not test.exception, test.exception
        return test


@contextmanager
def driven(home, server, **given):
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(open_app(echo_settings(home, **given), local=server, serving=True, address="http://hearth.test")) as app,
    ):
        with portal.wrap_async_context_manager(bridge.opened(app)):
            yield DrivenConsole(portal, app)


@pytest.fixture
def house_settings():
    """What the house is set to beside its models."""
    return {}


@pytest.fixture
def console(tmp_path, echo_server, monkeypatch, house_settings):
    """The console as Ada sees it, who is an admin; Bob is none."""
    with driven(tmp_path, echo_server, **house_settings) as made:
        monkeypatch.setattr(bridge, "token", lambda: made.tokens[made.looking])
        made.sign_in("bob")
        made.ada = made.sign_in("ada", admin=True)
        yield made
