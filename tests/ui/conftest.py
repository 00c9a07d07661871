"""The web application in process, and clients of it: a stranger, Ada with her key, Bob with his."""

from contextlib import asynccontextmanager

import httpx
import pytest

from ui.server import LatePage, web

SITE = "http://hearth.test"


@asynccontextmanager
async def client_of(served, key="", **given):
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    transport = httpx.ASGITransport(served, raise_app_exceptions=False)  # as a server does it: a bug is an answer, not an exception of the client
    async with httpx.AsyncClient(transport=transport, base_url=SITE, headers=headers, **given) as client:
        yield client


async def _signed_in(app, name, **given):
    """Somebody known by a key: hashing passwords would be most of what these tests do."""
    _, secret = await app.users.make_key(await app.users.add(name, None, **given))
    return await app.users.by_key(secret)


@pytest.fixture
async def ada(app):
    return await _signed_in(app, "ada", admin=True)


@pytest.fixture
async def bob(app):
    return await _signed_in(app, "bob")


@pytest.fixture
def open_client(app):
    """Clients of another house, or with other credentials."""
    return client_of


@pytest.fixture
def served(app):
    return web(app, LatePage(wanted=False))


@pytest.fixture
async def stranger(served):
    async with client_of(served) as client:
        yield client


@pytest.fixture
async def api(app, ada, served):
    async with client_of(served, (await app.users.make_key(ada.user))[1]) as client:
        yield client


@pytest.fixture
async def bobs(app, bob, served):
    async with client_of(served, (await app.users.make_key(bob.user))[1]) as client:
        yield client
