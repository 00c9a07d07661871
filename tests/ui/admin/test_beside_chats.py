"""What the console does in the process that serves the chats, and does not hold them up with."""

import gc
import subprocess
import sys
from contextlib import nullcontext

import pytest
from starlette.responses import PlainTextResponse

from core.records import aside
from ui.admin import bridge
from ui.server import SWITCH_S, LatePage, _serve, _Server


def test_what_a_page_asks_yields_to_those_who_chat(console):
    async def yields(_admin):
        return aside.get()

    assert bridge.ask(yields)
    assert not console.call(yields, None)


@pytest.mark.anyio
async def test_a_pages_libraries_are_left_out_of_every_collection_of_garbage():
    libraries, frozen, page = [], gc.get_freeze_count(), LatePage()

    def build():
        libraries.extend([] for _ in range(1000))
        return PlainTextResponse("the console"), nullcontext()

    await page.load(build)
    assert gc.get_freeze_count() >= frozen + 1000
    await page.close()
    gc.unfreeze()


def test_no_collection_of_all_garbage_follows_a_run_of_a_page():
    code = "import streamlit, ui.admin.mounting as m; streamlit.App(m.SCRIPT); print(streamlit.get_option('runner.postScriptGC'))"
    # A process of its own: Streamlit reads its settings once, for whoever asks first.
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ran.stdout.split() == ["False"]


@pytest.mark.anyio
async def test_a_page_at_work_gives_way_to_the_chats_sooner_than_python_would_have_it(monkeypatch):
    before, while_served = sys.getswitchinterval(), []

    async def serve(_self, sockets):
        while_served.append(sys.getswitchinterval())

    async def ready():
        pass

    monkeypatch.setattr(_Server, "serve", serve)
    try:
        await _serve(None, PlainTextResponse("the house"), [], ready, ())
    finally:
        sys.setswitchinterval(before)
    assert while_served == [pytest.approx(SWITCH_S)]
    assert before > SWITCH_S, "nothing is set by an import"
