"""The socket of a call: messages in OpenAI's realtime words to and from one `Talk`, sound as bytes.

Client: binary frames of the microphone (16 bits, 16 kHz, mono) and JSON. Server: JSON, and the answer's sound with 8 bytes before it: turn and sequence, each
uint32, little endian. The gate has let the visitor in and has checked where the page comes from.

A socket that breaks is not the end of its call: the client opens another, says `session.resume` with how many messages and pieces it has received, and gets the
rest, each once. The sign-in is the secret; where it comes too late the conversation goes on in a new call.
"""

import asyncio
import json
import struct
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from functools import partial
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from core.app import App
from core.errors import HearthError, NotSignedIn, ServiceBusy, ServiceError
from core.ids import is_id
from core.updates import ABANDONED_AFTER_S
from core.users.room import SignedIn
from core.voice.calls import Wishes
from core.voice.model import SPEECH_RATE_HZ, AudioChunk
from core.voice.talk import RATE_HZ, Talk
from core.voice.turn import VoiceTurn
from ui.gate import signed_in
from ui.words import N_, _, told

MAX_FRAME_BYTES = 64 * 1024
MAX_MESSAGE_CHARS = 16 * 1024
QUEUE = 512
"""Messages and pieces of sound under way; a listener who takes none of them for so long is told and dropped."""
KEPT = 256
"""How many are kept after they were sent: what can be under way when a line breaks."""
AHEAD_S = 10.0
"""How much faster than time a microphone may be, in all: a network hands over late what it held back."""
HELLO_TIMEOUT_S = 10.0
KNOWN_EVERY_S = 2.0
"""How soon a call ends whose speaker has signed out or was disabled."""
REFUSED, REPLACED, TOO_SLOW, ENDED = 4410, 4409, 4408, 1000
HUNG_UP = {1000, 1001, 1012}
"""How a socket is closed on purpose: by the button, by leaving the page, by the house that stops. Any other end is a line that broke."""


class SocketLine:
    """The line of a call over a socket and, where that breaks, over the next. Nothing blocks: a task of each socket sends.

    What was sent last is kept, because a broken socket doesn't say what of it has arrived.
    """

    def __init__(self) -> None:
        self._messages: deque[str | bytes] = deque()
        """The last that were sent, then those that are not."""
        self._forgotten = 0
        """How many there were before them."""
        self._sent = 0
        """How many were sent, from the first of the call."""
        self._more = asyncio.Event()
        self.behind = asyncio.Event()

    def tell(self, kind: str, turn: int, **data: object) -> None:
        """As the port says."""
        if kind == "error":
            data = {name: told(text) if isinstance(text, str) else text for name, text in data.items()}
        self._put(json.dumps({"type": kind, "turn": turn, **data}))

    def play(self, turn: int, sequence: int, pcm: bytes) -> None:
        """As the port says."""
        self._put(struct.pack("<II", turn, sequence) + pcm)

    def _put(self, message: str | bytes) -> None:
        if self._forgotten + len(self._messages) - self._sent >= QUEUE:
            self.behind.set()
            raise ServiceBusy("Your connection is too slow for a call.", service="voice", hint="Use push-to-talk, or type.")
        self._messages.append(message)
        self._more.set()

    def resume(self, received: int) -> bool:
        """The next socket goes on after so many. False where they are not kept any more, or never were sent."""
        kept = self._forgotten <= received <= self._sent
        if kept:
            self._sent = received
        return kept

    async def send(self, socket: WebSocket) -> None:
        """Sends until it is cancelled or the listener is gone: why, who reads from the socket knows."""
        with suppress(WebSocketDisconnect, RuntimeError):
            while True:
                while self._sent == self._forgotten + len(self._messages):
                    self._more.clear()
                    await self._more.wait()
                message = self._messages[self._sent - self._forgotten]
                self._sent += 1
                if self._sent - self._forgotten > KEPT:
                    self._messages.popleft()
                    self._forgotten += 1
                await (socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message))


class _Call:
    """A call while it lasts, over one socket after another."""

    def __init__(self, talk: Talk, line: SocketLine, before: "_Call | None") -> None:
        """before: the call whose place it takes; it is over first, so that what was heard of its answer stands in the conversation."""
        self.talk, self.line = talk, line
        self.over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The code with which its last socket is closed."""
        self._moved: asyncio.Future[None] | None = None
        self._sending: asyncio.Task[None] | None = None
        self.running = asyncio.create_task(self._run(before))

    async def _run(self, before: "_Call | None") -> None:
        if before is not None:
            await asyncio.wait([before.running])
        self.line.tell("session.created", 0, conversation_id=self.talk.conversation_id)
        async with self.talk:
            await self.over
        if self._sending is not None:
            self._sending.cancel()

    def move(self, socket: WebSocket) -> asyncio.Future[None]:
        """It goes on over another socket; what is given tells that one when it is left in its turn."""
        if self._moved is not None and self._sending is not None:
            self._moved.set_result(None)
            self._sending.cancel()
        self._moved = asyncio.get_running_loop().create_future()
        self._sending = asyncio.create_task(self.line.send(socket))
        return self._moved

    def end(self, code: int) -> None:
        """Ends it; the first code counts."""
        if not self.over.done():
            self.over.set_result(code)


class Sockets:
    """The calls that go on, one per sign-in: a second takes the first one's place."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._open: dict[str, _Call] = {}

    async def __call__(self, socket: WebSocket) -> None:
        """One socket from the handshake to the end."""
        await socket.accept()
        try:
            who = await signed_in(self._app, socket)
        except NotSignedIn:
            await socket.close(4401)
            return
        words: tuple[str, ...] | None = None
        try:
            async with asyncio.timeout(HELLO_TIMEOUT_S):
                hello = _message(await socket.receive_text())
            call = await self._resumed(who, hello) or await self._begun(who, hello)
            code = await self._carry(socket, who, call)
        except HearthError as error:
            code, words = REFUSED, (told(error.message), told(error.hint))
        except (TimeoutError, WebSocketDisconnect):
            code = ENDED
        await _closed(socket, code, tuple(map(_, _LAST_WORDS[code])) if code in _LAST_WORDS else words)

    async def _resumed(self, who: SignedIn, hello: dict[str, Any]) -> _Call | None:
        """The call that goes on over a new socket, where the client says so in time."""
        if hello.get("type") != "session.resume":
            return None
        choices = await self._app.calls.choices(who, _wishes(hello))
        call = self._open.get(who.session.id)
        if call is None or call.over.done() or call.talk.conversation_id != hello.get("conversation_id") or not call.line.resume(_number(hello, "received")):
            return None
        call.talk.choices = choices
        call.line.tell("session.resumed", 0, state=call.talk.state.value)
        return call

    async def _begun(self, who: SignedIn, hello: dict[str, Any]) -> _Call:
        """A new call. Raises: as `Calls.open`."""
        conversation_id, line = str(hello.get("conversation_id", "")), SocketLine()
        talk = await self._app.calls.open(who, line, _wishes(hello), conversation_id=conversation_id if is_id(conversation_id) else "")
        before = self._open.get(who.session.id)
        if before is not None:
            before.end(REPLACED)
        call = self._open[who.session.id] = _Call(talk, line, before)
        return call

    async def _carry(self, socket: WebSocket, who: SignedIn, call: _Call) -> int:
        """Carries a call until it is over or goes on over another socket; the code to close this one with. Raises: HearthError for why it can't go on."""
        moved = call.move(socket)
        left: list[asyncio.Future[Any]] = [call.over, moved]
        hearing = asyncio.create_task(self._hear(socket, who, call))
        tasks: list[asyncio.Future[Any]] = [hearing, *map(asyncio.create_task, (call.line.behind.wait(), self._still_known(socket)))]
        try:
            await asyncio.wait([*left, *tasks], return_when=asyncio.FIRST_COMPLETED)
            if hearing.done() and not hearing.exception() and hearing.result() not in HUNG_UP:
                await asyncio.wait(left, timeout=ABANDONED_AFTER_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            if not moved.done():
                call.end(TOO_SLOW if call.line.behind.is_set() else ENDED)
        if moved.done():
            return ENDED
        results += await asyncio.gather(call.running, return_exceptions=True)
        if self._open.get(who.session.id) is call:
            del self._open[who.session.id]
        code = call.over.result()
        for result in results:
            if isinstance(result, Exception) and (code == ENDED or not isinstance(result, HearthError)):
                raise result
        return code

    async def _still_known(self, socket: WebSocket) -> None:
        """Runs as long as the sign-in holds; records that are away end no call. Raises: NotSignedIn."""
        while True:
            await asyncio.sleep(KNOWN_EVERY_S)
            with suppress(ServiceError):
                await signed_in(self._app, socket)

    async def _hear(self, socket: WebSocket, who: SignedIn, call: _Call) -> int:
        """Reads what the client says until it is gone; the code it was closed with."""
        begun, heard_s = time.monotonic(), 0.0
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return int(message["code"])
            sound: bytes | None = message.get("bytes")
            if sound is None:
                await self._said(call.talk, who, call.line, _message(message.get("text") or ""))
            elif len(sound) <= MAX_FRAME_BYTES:
                heard_s += len(sound) / 2 / RATE_HZ
                if heard_s - (time.monotonic() - begun) > AHEAD_S:
                    raise ServiceBusy("Sound comes faster than anybody can speak.", service="voice")
                call.talk.hear(sound)

    async def _said(self, talk: Talk, who: SignedIn, line: SocketLine, message: dict[str, Any]) -> None:
        """One message of the client."""
        match message.get("type"):
            case "session.update":
                talk.choices = await self._app.calls.choices(who, _wishes(message))
            case "input_audio_buffer.commit":
                talk.commit()
            case "input_audio_buffer.clear":
                talk.mute()
            case "response.cancel":
                talk.cancel()
            case "conversation.item.create":
                talk.type(str(message.get("text", "")))
            case "output_audio.started":
                talk.started(_number(message, "turn"), _number(message, "after_ms"))
            case "output_audio.played":
                talk.played(_number(message, "turn"), _number(message, "ms"), over=bool(message.get("over")))
            case _unknown:
                line.tell("error", 0, what=_("This page is older than Hearth."), do=_("Load it again."))


_LAST_WORDS = {
    TOO_SLOW: (N_("Your connection is too slow for a call."), N_("Use push-to-talk, or type.")),
    REPLACED: (N_("This call goes on in another window."), N_("Call again to take it back here.")),
}


async def _closed(socket: WebSocket, code: int, words: tuple[str, ...] | None) -> None:
    """Says why, as far as anybody still listens."""
    try:
        async with asyncio.timeout(1):
            if words is not None:
                await socket.send_text(json.dumps({"type": "error", "turn": 0, "what": words[0], "do": words[1]}))
            await socket.close(code)
    except (TimeoutError, RuntimeError, WebSocketDisconnect):  # gone, or stuck: that is why it is closed
        return


def _message(text: str) -> dict[str, Any]:
    """What a client says; {} where it is no message."""
    try:
        said = json.loads(text) if len(text) <= MAX_MESSAGE_CHARS else None
    except ValueError:
        said = None
    return said if isinstance(said, dict) else {}


def _number(message: dict[str, Any], name: str) -> int:
    value = message.get(name)
    return int(value) if isinstance(value, int | float) and 0 <= value < 1e9 else 0


def _wishes(message: dict[str, Any]) -> Wishes:
    speed = message.get("speed")
    return Wishes(
        voice=str(message.get("voice", ""))[:60],
        speed=float(speed) if isinstance(speed, int | float) and 0.5 <= speed <= 2 else 1.0,
        language=str(message.get("language", ""))[:10],
        enable_rag=bool(message.get("enable_rag")),
    )


async def speech(app: App, request: Request) -> Response:
    """The answer of a push-to-talk turn while it is spoken: 16 bits, mono, at the rate in X-Sample-Rate; begins with its first clause.

    Once all of it was spoken it is where its recording is kept.
    """
    who = await signed_in(app, request)
    turn = app.voice.open_turn(who.user, request_id := request.path_params["request_id"])
    if turn is None:
        return RedirectResponse(f"/files/voice/{quote(request_id, safe='')}/response", 303)
    return StreamingResponse(_samples(turn), media_type="application/octet-stream", headers={"X-Sample-Rate": str(SPEECH_RATE_HZ), "Cache-Control": "no-store"})


async def _samples(turn: VoiceTurn) -> AsyncIterator[bytes]:
    async with aclosing(turn.follow()) as updates:  # type: ignore[type-var]
        async for update in updates:
            if isinstance(update, AudioChunk):
                yield update.data


def routes(app: App) -> list[Route | WebSocketRoute]:
    """What lies beside the page; declared before it, which takes everything else below /voice."""
    return [WebSocketRoute("/voice/ws", Sockets(app).__call__), Route("/voice/turns/{request_id}/speech", partial(speech, app))]
