"""How much a request may carry. A body over the limit is refused with a sentence, before anything of it is stored."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import TooLong
from ui.errors import response

MAX_BODY_BYTES = 4 << 20
"""Of everything but uploads."""
FRAME_BYTES = 64 << 10
"""What a multipart form adds to the file it carries."""
MAX_DRAINED_BYTES = 1 << 30
"""A client that is still sending reads no answer: so much of a refused body is taken and thrown away first."""


class BodyLimit:
    """Wraps the web application. Uploads may be as large as a document, everything else as large as a long question."""

    def __init__(self, inner: ASGIApp, *, upload_bytes: int) -> None:
        """upload_bytes: of the largest document."""
        self._inner, self._upload_bytes = inner, upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on with a body that is counted, or answers 413 for one that says it is too large."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        upload = scope["path"].startswith("/v1/collections/") and scope["path"].endswith("/documents")
        most = self._upload_bytes + FRAME_BYTES if upload else MAX_BODY_BYTES
        error = TooLong(f"That is larger than the {most // 1_000_000} MB which are taken here.", hint=_HINTS[upload])
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


_HINTS = {True: "Split the document, or raise HEARTH_UPLOAD_MAX_MB.", False: "Put long text into a document and ask about it."}


async def _drain(receive: Receive) -> None:
    drained = 0
    while drained < MAX_DRAINED_BYTES:
        message = await receive()
        drained += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body"):
            return
