"""The gate in front of everything: who may pass, and the headers every answer carries.

Pure ASGI, for http and websocket alike. Deny by default: what is not listed needs a live session. The API checks its callers itself (keys or the
session), so the gate lets it pass, and adds nothing to it but headers. Decides on `scope["path"]`, never on a URL put together from headers.
"""

from collections.abc import Callable, Mapping
from urllib.parse import quote, urlsplit

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.app import App
from core.errors import HearthError, NotFound, NotSignedIn
from core.users.model import Role
from core.users.room import SignedIn
from ui.errors import response
from ui.words import N_, _, speak

COOKIE = "hearth_session"
PUBLIC = ("/login", "/setup", "/healthz", "/readyz", "/favicon.ico")
PUBLIC_FOLDERS = ("/static/", "/share/")
OWN_CHECK = ("/v1/", "/files/")
OWN_CHECK_PATHS = ("/metrics",)
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CONSOLE = "/admin"
"""For admins; to everybody else it isn't there."""
NEEDS_INLINE = ("/chat", "/voice", "/docs", CONSOLE)
"""Gradio's, Swagger's and Streamlit's pages carry inline scripts and styles that differ per answer (docs/adr/0011)."""

_STRICT = "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'self'; form-action 'self'; connect-src 'self'"
# Gradio names its own folder as the base of its addresses, and its recorder reads back what it has recorded.
_INLINE = _STRICT.replace("base-uri 'none'", "base-uri 'self'").replace("connect-src 'self'", "connect-src 'self' blob:") + (
    "; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:;"
    " worker-src 'self' blob:; media-src 'self' blob: data:"
)


def _headers(policy: str) -> list[tuple[bytes, bytes]]:
    fixed = {"content-security-policy": policy, "x-content-type-options": "nosniff", "referrer-policy": "same-origin", "x-frame-options": "SAMEORIGIN"}
    return [(name.encode(), value.encode()) for name, value in fixed.items()]


STRICT_HEADERS, INLINE_HEADERS = _headers(_STRICT), _headers(_INLINE)


class Gate:
    """Wraps the whole application."""

    def __init__(self, inner: ASGIApp, app: App, notice: Callable[[HearthError], Response] = response) -> None:
        """notice: the page for a visitor whom nobody can know just now."""
        self._inner, self._app, self._notice = inner, app, notice

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on, or answers for it."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._inner(scope, receive, send)
            return
        path: str = scope["path"]
        headers = dict(scope["headers"])
        speak(headers.get(b"accept-language", b"").decode("latin-1"))
        guarded = _with_headers(send, INLINE_HEADERS if path.startswith(NEEDS_INLINE) else STRICT_HEADERS)
        if _foreign(scope, headers):
            await self._refuse(scope, receive, guarded, 403)
        elif path in PUBLIC or path in OWN_CHECK_PATHS or path.startswith(PUBLIC_FOLDERS + OWN_CHECK):
            await self._inner(scope, receive, guarded)
        else:
            try:
                who = await signed_in(self._app, HTTPConnection(scope))
            except NotSignedIn:
                await self._refuse(scope, receive, guarded, 401)
                return
            except HearthError as error:
                answer = self._notice(error) if _visits(scope, headers) else response(error)
                await answer(scope, receive, guarded)
                return
            if f"{path}/".startswith(f"{CONSOLE}/") and who.user.role is not Role.ADMIN:
                await self._refuse(scope, receive, guarded, 404)
                return
            await self._inner(scope, receive, guarded)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, status: int) -> None:
        """A page's visitor is sent to sign in; a program is told; a socket is closed."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})  # a browser learns the code of a socket that was open, and of no other
            await send({"type": "websocket.close", "code": 4000 + status})
            return
        if status == 401 and _visits(scope, dict(scope["headers"])):
            target = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            start = "/setup" if scope["path"] == "/" and await self._app.users.setup_open() else f"/login?next={quote(target, safe='')}"
            await RedirectResponse(start, 303)(scope, receive, send)
            return
        if status == 404:
            await response(NotFound(N_("There is nothing here.")))(scope, receive, send)
            return
        message, code = (
            (N_("Sign in first."), "authentication_error") if status == 401 else (N_("This comes from another site and was refused."), "permission_error")
        )
        await JSONResponse({"error": {"message": _(message), "type": code, "code": code}}, status)(scope, receive, send)


def cookie_name(app: App) -> str:
    """The session cookie's name. Behind TLS browsers take a name with `__Host-` from this very host only, never from a neighbour under the same domain.

    Source: RFC 6265bis, section 4.1.3.2.
    """
    return f"__Host-{COOKIE}" if app.settings.session_cookie_secure else COOKIE


def session_token(app: App, cookies: Mapping[str, str]) -> str:
    """The session token among a request's cookies, or ""."""
    return cookies.get(cookie_name(app), "")


async def signed_in(app: App, request: HTTPConnection) -> SignedIn:
    """Whose browser asks; from here on it is answered in their language. Gradio's requests are taken too. Raises: NotSignedIn."""
    accepted = request.headers.get("accept-language", "")
    speak(accepted)
    who = await app.users.by_session(session_token(app, request.cookies))
    speak(who.user.preferences.language, accepted)
    return who


def _visits(scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a person's browser opens a page."""
    return scope["type"] == "http" and scope["method"] in SAFE_METHODS and b"text/html" in headers.get(b"accept", b"")


def _foreign(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    """Whether a request that can change something comes from another site's page. With a key instead of the cookie it may: no page sends that unasked."""
    if scope["type"] == "http" and scope["method"] in SAFE_METHODS:
        return False
    if b"cookie" not in headers and scope["path"].startswith(OWN_CHECK):
        return False
    site = headers.get(b"sec-fetch-site")
    if site is not None and site not in (b"same-origin", b"none"):
        return True
    origin = headers.get(b"origin")
    if origin is None:
        return False
    try:
        return urlsplit(origin.decode("latin-1")).netloc != headers.get(b"host", b"").decode("latin-1")
    except ValueError:  # no browser sends one that is no address
        return True


def _with_headers(send: Send, extra: list[tuple[bytes, bytes]]) -> Send:
    """Adds the headers that an answer doesn't set itself; bodies pass untouched."""

    async def wrapped(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = list(message.get("headers", ()))
            named = {name.lower() for name, _ in own}
            message["headers"] = [*own, *(pair for pair in extra if pair[0] not in named)]
        await send(message)

    return wrapped
