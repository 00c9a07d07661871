"""How much a request may carry. A body over the limit is refused with a sentence, before anything of it is stored."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import TooLong
from core.workflow.inputs import MOST_INPUT_BYTES
from ui.errors import response

MAX_BODY_BYTES = 4 << 20
"""Of everything but uploads."""
FRAME_BYTES = 64 << 10
"""What a multipart form adds to the file it carries."""
MAX_DRAINED_BYTES = 1 << 30
"""A client that is still sending reads no answer: so much of a refused body is taken and thrown away first."""


class BodyLimit:
    """Wraps the web application. Uploads may be as large as a document, a recording or what a run may be given, everything else as large as a long question."""

    def __init__(self, inner: ASGIApp, *, upload_bytes: int, audio_bytes: int) -> None:
        """upload_bytes, audio_bytes: of the largest document and recording."""
        self._inner = inner
        self._most = {
            "inputs": MOST_INPUT_BYTES + MAX_BODY_BYTES,
            "document": upload_bytes + FRAME_BYTES,
            "recording": audio_bytes + FRAME_BYTES,
            "turn": audio_bytes * 4 // 3 + FRAME_BYTES,
            "": MAX_BODY_BYTES,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on with a body that is counted, or answers 413 for one that says it is too large."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        carried = _carried(scope["path"])
        most = self._most[carried]
        error = TooLong(f"That is larger than the {most // 1_000_000} MB which are taken here.", hint=_HINTS[carried])
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > most:
            await _drain(receive)
            await response(error)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise error
            return message

        await self._inner(scope, counted, send)


_RECORDING = "Send a shorter recording, or raise HEARTH_AUDIO_MAX_MB."
_HINTS = {
    "document": "Split the document, or raise HEARTH_UPLOAD_MAX_MB.",
    "recording": _RECORDING,
    "turn": _RECORDING,
    "inputs": "Put large files into the object store, and give their addresses.",
    "": "Put long text into a document and ask about it.",
}


def _carried(path: str) -> str:
    """What a request to that path carries, where it may be large."""
    if path.startswith("/v1/collections/") and path.endswith("/documents"):
        return "document"
    if path.startswith("/v1/runs/") and path.endswith("/with-files"):
        return "inputs"
    return {"/v1/audio/transcriptions": "recording", "/v1/voice": "turn", "/voice/gradio_api/upload": "recording"}.get(path, "")


async def _drain(receive: Receive) -> None:
    drained = 0
    while drained < MAX_DRAINED_BYTES:
        message = await receive()
        drained += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
