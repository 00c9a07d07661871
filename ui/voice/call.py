"""The socket of a call: messages in OpenAI's realtime words to and from one `Talk`, sound as bytes.

Client: binary frames of the microphone (16 bits, 16 kHz, mono) and JSON. Server: JSON, and the answer's sound with 8 bytes before it: turn and sequence, each
uint32, little endian. The gate has let the visitor in and has checked where the page comes from.
"""

import asyncio
import json
import struct
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from core.app import App
from core.errors import HearthError, NotSignedIn, ServiceBusy
from core.ids import is_id
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
AHEAD_S = 10.0
"""How much faster than time a microphone may be, in all: a network hands over late what it held back."""
HELLO_TIMEOUT_S = 10.0
KNOWN_EVERY_S = 2.0
"""How soon a call ends whose speaker has signed out or was disabled."""
REFUSED, REPLACED, TOO_SLOW, ENDED = 4410, 4409, 4408, 1000


class SocketLine:
    """The line of a call over a socket. Nothing blocks: a task of its own sends."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._queue: asyncio.Queue[str | bytes] = asyncio.Queue(QUEUE)
        self.behind = asyncio.Event()

    def tell(self, kind: str, turn: int, **data: object) -> None:
        """As the port says."""
        if kind == "error":
            data = {name: told(str(text)) for name, text in data.items()}
        self._put(json.dumps({"type": kind, "turn": turn, **data}))

    def play(self, turn: int, sequence: int, pcm: bytes) -> None:
        """As the port says."""
        self._put(struct.pack("<II", turn, sequence) + pcm)

    def _put(self, message: str | bytes) -> None:
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            self.behind.set()
            raise ServiceBusy("Your connection is too slow for a call.", service="voice", hint="Use push-to-talk, or type.") from None

    async def send(self) -> None:
        """Sends until it is cancelled or the listener is gone."""
        while True:
            message = await self._queue.get()
            await (self._socket.send_text(message) if isinstance(message, str) else self._socket.send_bytes(message))


class Sockets:
    """The sockets that are open, one per sign-in: a second call takes the first one's place."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._open: dict[str, asyncio.Event] = {}

    async def __call__(self, socket: WebSocket) -> None:
        """One call from the handshake to the end."""
        await socket.accept()
        try:
            who = await signed_in(self._app, socket)
        except NotSignedIn:
            await socket.close(4401)
            return
        if (other := self._open.get(who.session.id)) is not None:
            other.set()
        replaced = self._open[who.session.id] = asyncio.Event()
        line = SocketLine(socket)
        ends = [
            asyncio.create_task(work)
            for work in (self._conversation(socket, who, line), line.send(), line.behind.wait(), replaced.wait(), self._still_known(socket))
        ]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            code = TOO_SLOW if line.behind.is_set() else REPLACED if replaced.is_set() else ENDED
        finally:
            for task in ends:
                task.cancel()
            results = await asyncio.gather(*ends, return_exceptions=True)
            if self._open.get(who.session.id) is replaced:
                del self._open[who.session.id]
        words = tuple(map(_, _LAST_WORDS[code])) if code in _LAST_WORDS else None
        for result in results:
            if isinstance(result, HearthError) and words is None:
                code, words = REFUSED, (told(result.message), told(result.hint))
            elif isinstance(result, Exception) and not isinstance(result, HearthError | WebSocketDisconnect | RuntimeError | TimeoutError):
                raise result
        await _closed(socket, code, words)

    async def _still_known(self, socket: WebSocket) -> None:
        """Runs as long as the sign-in holds. Raises: NotSignedIn."""
        while True:
            await asyncio.sleep(KNOWN_EVERY_S)
            await signed_in(self._app, socket)

    async def _conversation(self, socket: WebSocket, who: SignedIn, line: SocketLine) -> None:
        """Reads what the client says until it is gone."""
        async with asyncio.timeout(HELLO_TIMEOUT_S):
            hello = _message(await socket.receive_text())
        conversation_id = str(hello.get("conversation_id", ""))
        wishes = _wishes(hello)
        talk = await self._app.calls.open(who, line, wishes, conversation_id=conversation_id if is_id(conversation_id) else "")
        begun, heard_s = time.monotonic(), 0.0
        async with talk:
            line.tell("session.created", 0, conversation_id=talk.conversation_id)
            while True:
                message = await socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                sound: bytes | None = message.get("bytes")
                if sound is None:
                    await self._said(talk, who, line, _message(message.get("text") or ""))
                elif len(sound) <= MAX_FRAME_BYTES:
                    heard_s += len(sound) / 2 / RATE_HZ
                    if heard_s - (time.monotonic() - begun) > AHEAD_S:
                        raise ServiceBusy("Sound comes faster than anybody can speak.", service="voice")
                    talk.hear(sound)

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
