"""Answers while they grow: one stream of server-sent events that draws them, beside Gradio and not through its queue (docs/adr/0017).

A browser takes a lost stream up again by itself; the first event of a stream has all that is there, the next ones only what changed at its end.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from core.app import App
from core.chat.turn import Turn
from core.errors import HearthError
from ui.chat import render
from ui.chat.pace import Pace, paced
from ui.errors import response
from ui.gate import signed_in

PATH = "/growing"
MOST_ANSWERS = 4
_encode = msgspec.json.Encoder().encode


def route(app: App) -> Route:
    """`?answer=<id>`, more than once for answers side by side.

    Events are `[kept, added]`: keep so many UTF-16 units of what was drawn, and put that HTML after them; a last event is named `finished`.
    An answer that another process writes grows as that one stores it.
    """
    pace = Pace()

    async def growing(request: Request) -> Response:
        try:
            who = await signed_in(app, request)
            turns = [await app.chat.turn(who.user, answer_id) for answer_id in request.query_params.getlist("answer")[:MOST_ANSWERS]]
        except HearthError as error:
            return response(error)
        return StreamingResponse(_events(turns, pace), media_type="text/event-stream", headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    return Route(PATH, growing)


async def _events(turns: Sequence[Turn], pace: Pace) -> AsyncIterator[bytes]:
    drawn = ""
    async with aclosing(paced(pace, *turns)) as together:  # type: ignore[type-var]
        async for views in together:
            articles = [render.growing(v.text, v.stage, t.answer_id, v.sources, position=v.position, eta_s=v.eta_s) for t, v in zip(turns, views, strict=True)]
            html = render.beside(articles)
            kept = shared(drawn, html)
            if kept < max(len(html), len(drawn)):
                yield b"data: " + _encode((utf16_units(html[:kept]), html[kept:])) + b"\n\n"
            drawn = html
    yield b"event: finished\ndata: {}\n\n"


def shared(before: str, now: str) -> int:
    """How many characters two texts have in common at their beginning."""
    low, high = 0, min(len(before), len(now))
    while low < high:
        middle = (low + high + 1) // 2
        if before.startswith(now[:middle]):
            low = middle
        else:
            high = middle - 1
    return low


def utf16_units(text: str) -> int:
    """The length of a text as JavaScript counts it."""
    return len(text) + sum(ord(sign) > 0xFFFF for sign in text) if not text.isascii() else len(text)
