"""Who is calling: a bearer key, or the page's own session cookie."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from core.app import App
from core.errors import NotSignedIn
from core.users.model import Scope
from core.users.room import SignedIn
from ui.gate import session_token, signed_in


async def the_app(request: Request) -> App:
    """The opened app. Async like every dependency here: FastAPI sends the others to a thread, which costs more than they do."""
    app: App = request.app.state.hearth
    return app


async def caller(request: Request) -> SignedIn:
    """The signed-in caller. Raises: NotSignedIn. (That a cookie comes from our own page is the gate's to check.)"""
    app = await the_app(request)
    header = request.headers.get("authorization", "")
    if header:
        scheme, _, key = header.partition(" ")
        if scheme.lower() != "bearer":
            raise NotSignedIn("Only bearer keys are understood.", hint="Send `Authorization: Bearer hk_…`.")
        return await app.users.by_key(key.strip())
    if session_token(app, request.cookies):
        return await signed_in(app, request)
    raise NotSignedIn("This needs an API key.", hint="`hearth token --user NAME` makes one; send it as `Authorization: Bearer hk_…`.")


def scope_of(path: str) -> Scope:
    """What a key must open for that path; whatever isn't listed belongs to the chat."""
    return next((scope for prefix, scope in OPENED_BY if path.startswith(prefix)), Scope.CHAT)


OPENED_BY = (
    ("/v1/audio/", Scope.VOICE), ("/v1/voice", Scope.VOICE), ("/files/voice/", Scope.VOICE),
    ("/v1/collections", Scope.DOCUMENTS), ("/v1/documents", Scope.DOCUMENTS), ("/v1/jobs", Scope.DOCUMENTS), ("/files/", Scope.DOCUMENTS),
    ("/v1/pipelines", Scope.PIPELINES), ("/v1/runs", Scope.PIPELINES), ("/v1/experiments", Scope.PIPELINES), ("/v1/triggers", Scope.PIPELINES),
    ("/metrics", Scope.METRICS), ("/v1/operations", Scope.OPERATIONS),
)  # fmt: skip


class KnownFirst(APIRoute):
    """A route that asks who is calling before it reads anything of the body, whether or not it uses the answer."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI's, after the check."""
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            request.state.who = who = await caller(request)
            who.demand(scope_of(request.url.path))
            return await handle(request)

        return checked


async def known(request: Request) -> SignedIn:
    """Whom `KnownFirst` found."""
    who: SignedIn = request.state.who
    return who


Who = Annotated[SignedIn, Depends(known)]
Hearth = Annotated[App, Depends(the_app)]
