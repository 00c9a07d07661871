"""What a door must not load: every command pays for what its imports load, and the web process must never hold a model."""

import subprocess
import sys

import pytest

MODELS = {"torch", "transformers"}
HEAVY = MODELS | {"gradio", "streamlit", "pymilvus", "sqlalchemy", "fastapi", "aiohttp"}

# Opened as `hearth up` opens it, with the chat page built and the routes asked once: what is imported late counts too.
WEB_PROCESS = """
import asyncio, logging, sys
from pathlib import Path

import httpx

from core.app import LocalInference, open_app
from core.settings import Settings
from ui.server import LatePage, web

PASSWORD = "correct horse battery"


def build_chat():
    from ui.chat.page import mounted

    page = mounted(app)
    return page, page.router.lifespan_context(page)


async def main():
    global app
    settings = Settings(home=Path(sys.argv[1]), llm_model="echo", embeddings_model="echo-embed", reranker_model="echo-rerank")
    async with open_app(settings, local=LocalInference("http://127.0.0.1:9/v1", ""), serving=True) as app:
        page = LatePage()
        await page.load(build_chat)
        assert page.ready, page.failed
        async with httpx.AsyncClient(transport=httpx.ASGITransport(web(app, page)), base_url="http://127.0.0.1", follow_redirects=True) as visitor:
            token = await app.users.prepare_setup()
            made = await visitor.post("/setup", data={"token": token, "username": "ada", "password": PASSWORD, "again": PASSWORD})
            asked = {path: (await visitor.get(path)).status_code for path in ("/healthz", "/login", "/chat/", "/v1/collections")}
        await page.close()
    print(made.status_code, asked, file=sys.stderr)
    print(*sys.modules)

asyncio.run(main())
"""


def loaded(program, *args):
    """The packages in `sys.modules` at the end of a fresh Python: those at the top, and one level below."""
    done = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return {".".join(name.split(".")[:depth]) for name in done.stdout.split() for depth in (1, 2)}, done.stderr


@pytest.mark.parametrize(
    ("door", "unwanted"),
    [
        ("core.app", HEAVY),
        ("ui.cli", MODELS | {"gradio", "sqlalchemy", "fastapi", "aiohttp"}),
        ("inference.client", MODELS),
        ("inference.supervisor", MODELS | {"aiohttp"}),
        ("inference.server", MODELS),  # the server answers while its engines are still loading
    ],
)
def test_importing_a_door_loads_nothing_heavy(door, unwanted):
    modules, _ = loaded(f"import {door}, sys; print(*sys.modules)")
    assert door.partition(".")[0] in modules
    assert not unwanted & modules


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """What a web process has loaded that has shown its pages."""
    modules, asked = loaded(WEB_PROCESS, str(tmp_path_factory.mktemp("running") / "home"))
    assert {"gradio", "fastapi", "sqlalchemy", "aiohttp"} <= modules, "the pages were not really built"
    assert "'/chat/': 200" in asked
    return modules


def test_a_running_web_process_never_loads_a_model_library(running):
    assert not MODELS & running


def test_a_running_web_process_loads_nothing_that_sends_traces_unless_it_is_told_where(running):
    assert not {"opentelemetry.sdk", "opentelemetry.exporter"} & running
