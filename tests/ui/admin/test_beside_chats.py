"""What the console does in the process that serves the chats, and does not hold them up with."""

import asyncio
import gc
import subprocess
import sys
from contextlib import nullcontext
from datetime import timedelta

import pytest
from echo_house import ask
from starlette.responses import PlainTextResponse
from streamlit.testing.v1 import AppTest

from core import courtesy
from core.chat import room
from core.courtesy import LOOK_S, Courtesy
from core.records import aside
from ui.admin import bridge
from ui.giving_way import GivingWay
from ui.server import SWITCH_S, LatePage, _serve, _Server


def test_what_a_page_asks_yields_to_those_who_chat(console):
    async def yields(_admin):
        return aside.get()

    assert bridge.ask(yields)
    assert not console.call(yields, None)


@pytest.fixture
def begin(console, monkeypatch):
    """Asks a question, the first word of whose answer is a tenth of a second away."""
    monkeypatch.setattr(courtesy, "MOST_S", 8)
    monkeypatch.setattr(room, "FIRST_WORD", timedelta(seconds=8))

    async def begun():
        who = await console.app.users.by_session(console.tokens["ada"])
        return await console.app.chat.send(who, ask("[tokens=300 rate=50 ttft=0.1]"))

    return lambda: console.call(begun)


def test_what_a_page_asks_waits_for_the_first_word_of_an_answer(begin):
    turn = begin()

    async def so_far(_admin):
        return turn.text

    assert bridge.ask(so_far)


def test_each_piece_that_a_page_draws_waits_for_the_first_word_of_an_answer(begin):
    def page(begin, told):
        import streamlit as st

        from ui.admin.frame import shown

        with shown():
            turn = begin()
            told.append(turn.text)
            st.text("a piece")
            told.append(turn.text)

    told = []
    AppTest.from_function(page, default_timeout=30, args=(begin, told)).run()
    before, after = told
    assert after
    assert not before


@pytest.mark.anyio
async def test_the_console_is_served_once_nobody_waits(monkeypatch):
    monkeypatch.setattr(courtesy, "MOST_S", 60)
    waiting, done = [], []

    async def page(scope, receive, send):
        done.append(scope["type"])
        if scope["type"] == "websocket":
            done.append(await receive())
            await send("drawn")

    async def clicked():
        waiting.append("a chat")
        return "clicked"

    async def drawn(message):
        done.append(message)

    served = GivingWay(page, Courtesy(lambda: bool(waiting)))
    waiting.append("a chat")
    asked = [asyncio.create_task(served({"type": kind}, clicked, drawn)) for kind in ("http", "websocket")]
    await asyncio.sleep(3 * LOOK_S)
    assert not done
    waiting.clear()
    await asyncio.sleep(3 * LOOK_S)
    assert done == ["http", "websocket"], "what the browser sends next waits as well"
    waiting.clear()
    await asyncio.gather(*asked)
    assert done == ["http", "websocket", "clicked", "drawn"]


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
