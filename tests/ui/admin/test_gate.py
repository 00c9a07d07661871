"""The console isn't there for anybody but admins, whatever they ask for and however they ask."""

from contextlib import nullcontext

import pytest
from starlette.responses import PlainTextResponse

from core.users.model import Role
from ui.gate import COOKIE
from ui.server import LatePage, web

pytestmark = pytest.mark.anyio
PASSWORD = "correct horse battery"
PATHS = (
    "/admin",
    "/admin/",
    "/admin/users?user=1",
    "/admin/pipelines",
    "/admin/runs",
    "/admin/run?run=1",
    "/admin/experiments",
    "/admin/_stcore/health",
    "/admin/%5Fstcore/health",
)


@pytest.fixture
async def reached():
    """A console that only says that it was reached."""
    page = LatePage()
    await page.load(lambda: (PlainTextResponse("the console"), nullcontext()))
    yield page
    await page.close()


@pytest.fixture
async def browser_of(app, reached, open_client):
    """Makes a client that is signed in as somebody new."""

    async def signed_in(name, *, admin=False, page=reached):
        user = await app.users.add(name, PASSWORD, admin=admin)
        _, token = await app.users.sign_in(name, PASSWORD, "test")
        return user, open_client(web(app, LatePage(wanted=False), page), cookies={COOKIE: token})

    return signed_in


async def test_an_admin_reaches_the_console(browser_of):
    _, opened = await browser_of("ada", admin=True)
    async with opened as client:
        assert (await client.get("/admin/")).text == "the console"
        assert "/admin/" in (await client.get("/")).text


async def test_for_everybody_else_nothing_is_there(browser_of):
    _, opened = await browser_of("bob")
    async with opened as client:
        for path in PATHS:
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["error"]["message"]) == (404, "There is nothing here."), path
            assert (await client.put(path)).status_code == 404, path
        assert "/admin" not in (await client.get("/")).text


async def test_a_demoted_admin_is_out_at_the_next_request(app, browser_of):
    user, opened = await browser_of("ada", admin=True)
    async with opened as client:
        assert (await client.get("/admin/")).status_code == 200
        await app.users.add("other", PASSWORD, admin=True)
        await app.users.change(user.id, role=Role.USER)
        assert (await client.get("/admin/")).status_code == 404


async def test_a_stranger_is_sent_to_sign_in_and_back(app, reached, open_client):
    async with open_client(web(app, LatePage(wanted=False), reached)) as client:
        answer = await client.get("/admin/users?user=1", headers={"Accept": "text/html"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=%2Fadmin%2Fusers%3Fuser%3D1")


async def test_the_console_is_built_when_it_is_first_asked_for(browser_of):
    built = []

    def build():
        built.append(True)
        return PlainTextResponse("the console"), nullcontext()

    page = LatePage(on_demand=build)
    _, opened = await browser_of("ada", admin=True, page=page)
    async with opened as client:
        assert (await client.get("/healthz")).status_code == 200
        assert not built
        assert (await client.get("/admin/")).status_code == 503
        while (answer := await client.get("/admin/")).status_code == 503:
            pass
        assert answer.text == "the console"
        assert built == [True]
    await page.close()


async def test_a_console_that_can_not_start_says_so(browser_of):
    def build():
        raise OSError("no room")

    page = LatePage()
    await page.load(build)
    _, opened = await browser_of("ada", admin=True, page=page)
    async with opened as client:
        answer = await client.get("/admin/")
        assert answer.status_code == 503
        assert "This page could not start" in answer.text
