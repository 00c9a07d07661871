"""The socket of a call over a real network: who may open one, who is too slow for one, and what is left of one whose caller has vanished."""

import asyncio
import gc
import json
import socket
import time
from contextlib import asynccontextmanager, nullcontext, suppress

import aiohttp
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from core.chat.model import MessageStatus
from core.voice.talk import Talk
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
async def call(url, headers, answered="session.created", **hello):
    """An open call that has said hello; `line.taken` is what came until that was answered."""
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=_small)) as client,
        client.ws_connect(f"{url}/voice/ws", headers=headers) as line,
    ):
        await line.send_json({"type": "session.update"} | hello)
        line.taken = await taken(line, answered)
        yield line


async def taken(line, kind):
    """What comes up to a message of that kind, with the answer's sound as bytes."""
    came = []
    async with asyncio.timeout(10):
        while not came or isinstance(came[-1], bytes) or came[-1]["type"] != kind:
            message = await line.receive()
            came.append(message.data if message.type is aiohttp.WSMsgType.BINARY else json.loads(message.data))
            if kind == "sound" and isinstance(came[-1], bytes):
                break
    return came


def vanish(line):
    """As if the power had gone: no farewell is said."""
    line._response.connection.transport.abort()


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
        # Slower than where nothing is taken: one process is speaker and listener here, and its garbage alone may stop it for half a second.
        await line.send_json({"type": "conversation.item.create", "text": f"[tokens={MANY} rate=400]"})
        words = 0
        async with asyncio.timeout(60):
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
    words = [json.loads(message.data) for message in taken if message.type is aiohttp.WSMsgType.TEXT]
    assert ((words[-1]["type"] == "error") and "too slow" in words[-1]["what"]) == told
    assert line.close_code == (TOO_SLOW if told else aiohttp.WSCloseCode.ABNORMAL_CLOSURE)


@pytest.mark.parametrize("doing", ["listening", "answering", "speaking"])
async def test_a_caller_who_vanishes_in_mid_turn_frees_their_place_within_two_seconds(url, cookie, echo_server, doing):
    service, model = {"listening": ("stt", "echo-stt"), "answering": ("llm", "echo"), "speaking": ("tts", "echo-tts")}[doing]
    server = ModelServer(service, echo_server.url, model, key=echo_server.token, local=True)

    async def busy():
        return bool((await server.get("status"))["models"][service]["queue"]["serving"])

    async def free():
        return not open_calls() and not await busy()

    try:
        async with call(url, cookie) as line:
            if doing != "listening":
                await line.send_json({"type": "conversation.item.create", "text": f"{LONG} rate=1" if doing == "speaking" else f"[tokens={MANY} rate=20]"})
            else:
                said = resampled(tones("[slow=30] hello"), TONES_RATE_HZ, MICROPHONE_HZ).tobytes() + bytes(MICROPHONE_HZ)
                for at in range(0, len(said), 8_192):
                    await line.send_bytes(said[at : at + 8_192])
            await until(busy, 5)
            vanish(line)
            assert await until(free, 10) < 2
    finally:
        await server.close()


def calls_there():
    """What a call is made of, in the whole process: other tests may have left some."""
    gc.collect()
    return [thing for thing in gc.get_objects() if type(thing) in (Talk, SocketLine)]  # isinstance asks objects for their class, and some warn


async def test_of_many_callers_who_vanish_nothing_stays(app, url, cookie):
    tasks, before = len(asyncio.all_tasks()), {id(thing) for thing in calls_there()}
    for _ in range(12):
        async with call(url, cookie) as line:
            await line.send_json({"type": "conversation.item.create", "text": f"[tokens={MANY} rate=200]"})
            await taken(line, "response.text.delta")
            vanish(line)

    async def over():
        return not app.chat.open_answers and not {id(thing) for thing in calls_there()} - before

    with suppress(TimeoutError):
        await until(over, 20)
    assert app.chat.open_answers == 0
    assert [gc.get_referrers(thing) for thing in calls_there() if id(thing) not in before] == []
    assert len(asyncio.all_tasks()) <= tasks + 1, "one socket of the server may still be closing"


async def cut_answer(app, conversation_id):
    """The answer of a conversation's first turn, once it is over."""
    who = (await app.users.sign_in("cleo", PASSWORD, "test"))[0]

    async def over():
        return not app.chat.open_answers

    waited_s = await until(over, 5)
    (_question, answer) = (await app.chat.thread(who.user, conversation_id)).messages
    assert answer.status is MessageStatus.INTERRUPTED
    return who, answer, waited_s


async def test_a_line_that_breaks_in_a_turn_and_comes_back_misses_nothing_and_hears_nothing_twice(app, url, cookie):
    async with call(url, cookie) as line:
        await line.send_json({"type": "conversation.item.create", "text": f"{LONG} rate=0.5"})
        conversation_id = line.taken[-1]["conversation_id"]
        came = line.taken + await taken(line, "sound")
        await asyncio.sleep(0.5)  # more is on its way, and never arrives
        vanish(line)
    resumed = {"type": "session.resume", "conversation_id": conversation_id, "received": len(came)}
    async with call(url, cookie, "session.resumed", **resumed) as line:
        assert line.taken[-1]["state"] in ("thinking", "speaking")
        came += line.taken + await taken(line, "response.audio.done")
        await line.send_json({"type": "output_audio.played", "turn": 1, "ms": 1e6, "over": True})
        came += await taken(line, "response.done")
    sound = [int.from_bytes(message[4:8], "little") for message in came if isinstance(message, bytes)]
    assert sound == list(range(len(sound)))
    assert "".join(m["text"] for m in came if isinstance(m, dict) and m["type"] == "response.text.delta") == came[-1]["text"]
    assert came[-1]["text"] == f"You said: {LONG} rate=0.5"


async def test_who_comes_back_too_late_finds_what_they_heard_and_can_have_it_continued(app, url, cookie):
    async with call(url, cookie) as line:
        conversation_id = line.taken[-1]["conversation_id"]
        await line.send_json({"type": "conversation.item.create", "text": f"{LONG} {LONG} {LONG} rate=1"})
        await taken(line, "sound")
        await line.send_json({"type": "output_audio.started", "turn": 1, "after_ms": 5})
        await asyncio.sleep(0.3)
        vanish(line)
    who, answer, waited_s = await cut_answer(app, conversation_id)
    assert waited_s < 2
    assert 0 < len(answer.content) < 2 * len(LONG)
    assert f"You said: {LONG} {LONG}".startswith(answer.content)
    async with call(url, cookie, type="session.resume", conversation_id=conversation_id, received=3) as line:
        assert line.taken[0] == {"type": "session.created", "turn": 0, "conversation_id": conversation_id}
    more = await app.chat.go_on(who, answer.id)
    assert more.conversation_id == conversation_id
    await app.chat.stop(who.user, more.answer_id)


async def test_who_hangs_up_is_not_waited_for(app, url, cookie):
    async with call(url, cookie) as line:
        await line.send_json({"type": "conversation.item.create", "text": f"[tokens={MANY} rate=20]"})
        await taken(line, "response.text.delta")
        await line.close()
        assert (await cut_answer(app, line.taken[-1]["conversation_id"]))[2] < 1


async def test_a_call_is_resumed_by_nobody_but_its_caller_and_from_nothing_that_was_never_sent(app, url, cookie):
    await app.users.add("dora", PASSWORD)
    hers = {"Cookie": f"{COOKIE}={(await app.users.sign_in('dora', PASSWORD, 'test'))[1]}"}
    async with call(url, cookie) as line:
        resumed = {"type": "session.resume", "conversation_id": line.taken[-1]["conversation_id"], "received": 1}
        async with call(url, hers, **resumed):
            assert open_calls() == 2
        async with call(url, cookie, "session.resumed", **resumed) as again:
            await again.send_json({"type": "conversation.item.create", "text": "still there"})
            await taken(again, "response.text.delta")
        async with call(url, cookie, **resumed | {"received": 10_000}):
            pass


class Wire:
    """Carries so many messages; what is sent later is lost without a word."""

    def __init__(self, carries, received):
        self.left, self.received = carries, received

    async def send_text(self, message):
        if self.left:
            self.left -= 1
            self.received.append(json.loads(message)["n"])


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=QUEUE // 21))
def test_however_often_a_line_breaks_its_listener_gets_every_message_once_and_in_order(sockets):
    async def listen():
        line, received, said = SocketLine(), [], 0
        for says, carries in [*sockets, (1, QUEUE)]:
            for _ in range(says):
                line.tell("response.text.delta", 1, n=said)
                said += 1
            assert line.resume(len(received))
            sending = asyncio.create_task(line.send(Wire(carries, received)))
            await asyncio.sleep(0)
            sending.cancel()
        assert received == list(range(said))
        assert not line.resume(said + 1)

    asyncio.run(listen())
