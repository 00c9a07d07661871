"""Requests of programs that ask a model, as a trace tells of them: by the route, for a path may hold what people have named."""

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.ports import Traces
from core.traces import traced

ASK_A_MODEL = re.compile(r"/v1/(?:chat/completions|audio/transcriptions|audio/speech|voice|(messages|collections)/[^/]+/(again|query))")


class Traced:
    """Wraps the web application where traces are told."""

    def __init__(self, inner: ASGIApp, traces: Traces) -> None:
        self._inner, self._traces = inner, traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on; all that is done for it is a part of it."""
        found = ASK_A_MODEL.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if found is None:
            await self._inner(scope, receive, send)
            return
        route = f"/v1/{found[1]}/{{id}}/{found[2]}" if found[1] else scope["path"]
        with traced(self._traces, f"POST {route}", {"http.request.method": "POST", "http.route": route}, served=True) as work:
            status = 0

            async def told(message: Message) -> None:
                nonlocal status
                status = message.get("status", status)
                await send(message)

            await self._inner(scope, receive, told)
            work.end({"http.response.status_code": status}, failed=status >= 500)
