"""The web application in process, and clients of it: a stranger, Ada with her key, Bob with his; and the command line in process."""

import io
import os
import sys
from contextlib import asynccontextmanager

import httpx
import pytest
from running_house import ECHO

from ui import commands
from ui.cli import main
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


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def hearth(home, monkeypatch, capsys):
    """Runs one command in this process: (exit code, standard output, standard error)."""
    for name in [n for n in os.environ if n.startswith("HEARTH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(commands.out, "width", 300)
    for name, value in ({"HEARTH_HOME": str(home)} | ECHO).items():
        monkeypatch.setenv(name, value)

    def run(*args, typed="", **environment):
        with monkeypatch.context() as now:
            now.setattr(sys, "stdin", io.StringIO(typed))
            for name, value in environment.items():
                now.setenv(name, value)
            capsys.readouterr()
            code = main([str(a) for a in args])
        return code, *capsys.readouterr()

    return run
