"""The socket of a call over a real network: who may open one, who is too slow for one, and what is left of one whose caller has vanished."""

import asyncio
import json
import socket
import time
from contextlib import asynccontextmanager, nullcontext

import aiohttp
import pytest
import uvicorn

from inference.audio import resampled
from inference.client import ModelServer
from inference.echo import TONES_RATE_HZ, tones
from ui.gate import COOKIE
from ui.voice.call import QUEUE, TOO_SLOW, SocketLine

pytestmark = pytest.mark.anyio
PASSWORD = "correct horse battery"
MICROPHONE_HZ = 16_000
SMALL_BYTES = 16 * 1024
LONG = "A sentence that is read out for a while"
MANY = 4_000


class _Server(uvicorn.Server):
    """One that leaves the signals of the tests alone."""

    def capture_signals(self):
        return nullcontext()


@pytest.fixture
async def url(served):
    """The web application on a loopback port whose connections hold little of what nobody reads."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BYTES)
    server = _Server(uvicorn.Config(served, lifespan="off", log_config=None, timeout_graceful_shutdown=1))
    running = asyncio.create_task(server.serve(sockets=[listening]))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    await running
    listening.close()


@pytest.fixture
async def cookie(app):
    """Of somebody who has signed in."""
    await app.users.add("cleo", PASSWORD)
    return {"Cookie": f"{COOKIE}={(await app.users.sign_in('cleo', PASSWORD, 'test'))[1]}"}


def _small(address):
    made = socket.socket(address[0], address[1], address[2])
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
    return made


@asynccontextmanager
async def call(url, headers):
    """An open call that has said hello."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=_small)) as client,
        client.ws_connect(f"{url}/voice/ws", headers=headers) as line,
    ):
        await line.send_json({"type": "session.update"})
        while (await line.receive_json(timeout=5))["type"] != "session.created":
            pass
        yield line


def open_calls():
    """How many calls the server has somebody sending for."""
    return sum(getattr(task.get_coro(), "__qualname__", "") == SocketLine.send.__qualname__ for task in asyncio.all_tasks())


async def until(happened, within_s):
    """Waits for it; returns after how many seconds it was so."""
    begun = time.monotonic()
    async with asyncio.timeout(within_s):
        while not await happened():
            await asyncio.sleep(0.02)
    return time.monotonic() - begun


async def turned_away(url, headers):
    """The code with which a socket is closed before anything else was said on it."""
    async with aiohttp.ClientSession() as client, client.ws_connect(f"{url}/voice/ws", headers=headers) as line:
        await line.send_json({"type": "session.update"})
        assert (await line.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
        return line.close_code


@pytest.mark.parametrize("headers", [{}, {"Cookie": f"{COOKIE}=x"}], ids=["no session", "an unknown one"])
async def test_a_call_without_a_session_is_closed_and_told_why(url, headers):
    assert await turned_away(url, headers) == 4401
    assert not open_calls()


async def test_a_call_of_another_sites_page_is_closed_and_told_why(url, cookie):
    assert await turned_away(url, cookie | {"Origin": "http://evil.test"}) == 4403
    assert not open_calls()
    async with call(url, cookie | {"Origin": url}):
        pass


async def test_a_listener_who_takes_the_same_answer_as_it_comes_is_not_dropped(url, cookie):
    async with call(url, cookie) as line:
        await line.send_json({"type": "conversation.item.create", "text": f"[tokens={MANY} rate=1000]"})
        words = 0
        async with asyncio.timeout(20):
            while words < MANY:
                message = await line.receive()
                words += message.type is aiohttp.WSMsgType.TEXT and json.loads(message.data)["type"] == "response.text.delta"
                assert not line.closed
        assert open_calls() == 1


@pytest.mark.parametrize(("away_s", "told"), [(0.0, True), (2.5, False)], ids=["back at once", "away"])
async def test_a_listener_who_takes_nothing_is_dropped_nothing_more_is_kept_and_who_listens_again_is_told_why(url, cookie, away_s, told):
    async def dropped():
        return not open_calls()

    async with call(url, cookie) as line:
        assert open_calls() == 1
        await line.send_json({"type": "conversation.item.create", "text": f"[tokens={MANY} rate=1000]"})
        await until(dropped, 20)
        await asyncio.sleep(away_s)
        taken = [message async for message in line]  # what was under way, and the server's farewell
    assert QUEUE < len(taken) < MANY * 0.75, "what the network held and one queue of it, not the answer"
    last = json.loads(taken[-1].data)
    assert ((last["type"] == "error") and "too slow" in last["what"]) == told
    assert line.close_code == (TOO_SLOW if told else aiohttp.WSCloseCode.ABNORMAL_CLOSURE)


@pytest.mark.parametrize("doing", ["listening", "speaking"])
async def test_a_caller_who_vanishes_in_mid_turn_frees_their_place_within_two_seconds(url, cookie, echo_server, doing):
    service, model = {"listening": ("stt", "echo-stt"), "speaking": ("tts", "echo-tts")}[doing]
    server = ModelServer(service, echo_server.url, model, key=echo_server.token, local=True)

    async def busy():
        return bool((await server.get("status"))["models"][service]["queue"]["serving"])

    async def free():
        return not open_calls() and not await busy()

    try:
        async with call(url, cookie) as line:
            if doing == "speaking":
                await line.send_json({"type": "conversation.item.create", "text": f"{LONG} rate=1"})
            else:
                said = resampled(tones("[slow=30] hello"), TONES_RATE_HZ, MICROPHONE_HZ).tobytes() + bytes(MICROPHONE_HZ)
                for at in range(0, len(said), 8_192):
                    await line.send_bytes(said[at : at + 8_192])
            await until(busy, 5)
            line._response.connection.transport.abort()  # as if the power had gone: no farewell is said
            assert await until(free, 10) < 2
    finally:
        await server.close()
