"""The small pages around the chat: landing, sign-in, first set-up. Plain HTML and plain forms; no script is needed."""

from dataclasses import replace
from functools import partial
from html import escape
from pathlib import Path
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from core.app import App
from core.chat.model import ChatMessage
from core.errors import BadInput, HearthError, NotFound
from core.users.model import SESSION_LIFETIME, Role
from ui.chat.markdown import render
from ui.chat.render import at_page
from ui.errors import kind, sentence
from ui.gate import CONSOLE, cookie_name, session_token, signed_in
from ui.icons import icon
from ui.words import LANGUAGES, N_, _, language, script

STATIC = Path(__file__).parent / "static"
MAX_FORM_BYTES = 16 * 1024

PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} · Hearth</title><link rel="icon" href="/static/hearth.svg" type="image/svg+xml"><link rel="stylesheet" href="/static/pages.css">{head}</head>
<body>{body}</body></html>"""
SPEAKERS = {"user": N_("You"), "assistant": "Hearth", "system": N_("System")}
BRAND = '<p class="brand"><img src="/static/hearth.svg" alt="" width="34" height="34">Hearth</p>'


def page(title: str, body: str, status: int = 200, *, head: str = "") -> HTMLResponse:
    """A whole page. `body` and `head` are HTML: whatever a person typed has been escaped by then."""
    return HTMLResponse(PAGE.format(language=language(), title=escape(title), body=body, head=head), status)


def routes(app: App) -> list[Route | Mount]:
    """The pages' routes over an opened house."""
    return [
        Route("/", partial(landing, app)),
        Route("/login", partial(login, app), methods=["GET", "POST"]),
        Route("/setup", partial(setup, app), methods=["GET", "POST"]),
        Route("/logout", partial(logout, app), methods=["POST"]),
        Route("/language", partial(choose_language, app), methods=["POST"]),
        Route("/words.js", words),
        Route("/share/{secret}", partial(shared, app)),
        Route("/favicon.ico", favicon),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]


async def favicon(_request: Request) -> Response:
    """For whoever asks for it without having read a page."""
    return RedirectResponse("/static/hearth.svg", 301)


async def shared(app: App, request: Request) -> Response:
    """A conversation as somebody lets others read it: the words and the quoted passages, and nothing that leads further into the house."""
    try:
        conversation, thread = await app.shelf.shared(request.path_params["secret"])
    except NotFound as error:
        return page(_("Nothing here"), _card(f"<h1>{_('Nothing here')}</h1><p>{escape(sentence(error))}</p>"), 404)
    said = "".join(f'<article class="{m.role}"><p class="who">{_(SPEAKERS[m.role])}</p>{_said(m)}</article>' for m in thread.messages)
    title = escape(conversation.title)
    answer = page(
        conversation.title, f'<header class="top">{BRAND}<span>{_("Shared for reading")}</span></header><main class="wide shared"><h1>{title}</h1>{said}</main>'
    )
    answer.headers["X-Robots-Tag"] = "noindex"
    return answer


def _said(message: ChatMessage) -> str:
    """A message's words; an answer's sources below it with what was quoted."""
    if message.role == "user":
        return f'<div class="said">{escape(message.content)}</div>'
    quotes = "".join(f"<li>{escape(s.title)}{at_page(s.page)}: <q>{escape(' '.join(s.quote.split()))}</q></li>" for s in message.metadata.sources)
    return f"<div>{render(message.content)}</div>" + (f'<ol class="quotes">{quotes}</ol>' if quotes else "")


async def landing(app: App, request: Request) -> Response:
    """The way to the rooms; the console only for whom it is there."""
    who = await signed_in(app, request)
    name = escape(who.user.username)
    console = (
        f"""<a class="room" href="{CONSOLE}/"><span class="sign">{icon("console")}</span><h2>{_("Admin")}</h2>
<p>{_("Collections, models, users and retention in one console.")}</p><span class="go">{_("Open the console")} →</span></a>"""
        if who.user.role is Role.ADMIN
        else ""
    )
    return page(
        _("Welcome"),
        f"""<header class="top">{BRAND}<form method="post" action="/logout"><span>{name}</span><button class="quiet">{_("Sign out")}</button></form></header>
<main class="wide"><h1>{_("Good to see you, {name}.", name=name)}</h1><p class="lead">{_("Your documents, your models, your machine.")}</p>
<div class="rooms">
<a class="room" href="/chat"><span class="sign">{icon("chat")}</span><h2>{_("Chat")}</h2>
<p>{_("Ask your documents a question and read an answer that shows where it comes from.")}</p><span class="go">{_("Open the chat")} →</span></a>
<a class="room" href="/voice"><span class="sign">{icon("voice")}</span><h2>{_("Voice")}</h2>
<p>{_("Talk to Hearth in the browser.")}</p><span class="go">{_("Start talking")} →</span></a>
{console}
</div><p class="foot">{_("Programs use the same house:")} <a href="/docs">{_("the API and its documentation")}</a>.</p></main>""",
    )


async def login(app: App, request: Request) -> Response:
    """Signs in, and goes on to where the visitor wanted to go."""
    if request.method == "GET":
        if await app.users.setup_open():
            return _notice(_("Almost there"), _("Nobody has an account yet. Open the one-time link that Hearth printed when it started."))
        return _login_form(request.query_params.get("next", ""))
    form = await _form(request)
    try:
        token = (await app.users.sign_in(form.get("username", ""), form.get("password", ""), _address(request)))[1]
    except HearthError as error:
        return _login_form(form.get("next", ""), form.get("username", ""), sentence(error), kind(error)[0])
    await app.users.sign_out(session_token(app, request.cookies))  # whoever knew the old session doesn't know the new one
    return _signed_in(app, token, _own_path(form.get("next", "")))


async def setup(app: App, request: Request) -> Response:
    """The one-time link: makes the first admin and signs them in."""
    if not await app.users.setup_open():
        way = f'<a class="button" href="/login">{_("Sign in")}</a>'
        return _notice(_("Hearth is set up"), _("This link has done its work."), 410, way)
    if request.method == "GET":
        token = request.query_params.get("token", "")
        if not token:
            return _notice(_("Almost there"), _("Open the one-time link that Hearth printed when it started: it carries a token."))
        return _setup_form(token)
    form = await _form(request)
    try:
        if form.get("password") != form.get("again"):
            raise BadInput("The two passwords differ.", hint="Type the same one twice.")
        token = (await app.users.set_up(form.get("token", ""), form.get("username", ""), form.get("password", ""), _address(request)))[1]
    except HearthError as error:
        return _setup_form(form.get("token", ""), form.get("username", ""), sentence(error), kind(error)[0])
    return _signed_in(app, token, "/chat")


async def logout(app: App, request: Request) -> Response:
    """Ends the session on the server and forgets the cookie."""
    await app.users.sign_out(session_token(app, request.cookies))
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(cookie_name(app), path="/", secure=app.settings.session_cookie_secure)
    return answer


async def choose_language(app: App, request: Request) -> Response:
    """Keeps the language somebody chose, and goes back to where they chose it."""
    who, form = await signed_in(app, request), await _form(request)
    if form.get("language") in LANGUAGES:
        await app.users.save_preferences(who.user, replace(who.user.preferences, language=form["language"]))
    return RedirectResponse(_own_path(form.get("next", "")), 303)


async def words(_request: Request) -> Response:
    """The texts of the chat page's script, for whoever asks: the address is the same for every language, so it is asked again each time."""
    return Response(script(), media_type="text/javascript", headers={"Cache-Control": "no-cache"})


def _signed_in(app: App, token: str, target: str) -> Response:
    answer = RedirectResponse(target, 303)
    answer.set_cookie(
        cookie_name(app),
        token,
        max_age=int(SESSION_LIFETIME.total_seconds()),
        path="/",
        httponly=True,
        samesite="lax",
        secure=app.settings.session_cookie_secure,
    )
    return answer


async def _form(request: Request) -> dict[str, str]:
    """A small form's fields. Raises: BadInput for one that is too large."""
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_FORM_BYTES:
            raise BadInput("That is too long for a form.")
    return {name: values[0] for name, values in parse_qs(data.decode("utf-8", "replace"), keep_blank_values=True).items()}


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _own_path(target: str) -> str:
    """Where to go after signing in: a path of ours, never another site."""
    return target if target.startswith("/") and not target.startswith(("//", "/\\")) and "\n" not in target else "/chat"


def _card(inner: str) -> str:
    return f'<main class="card">{BRAND}{inner}</main>'


def _notice(title: str, text: str, status: int = 200, way: str = "") -> HTMLResponse:
    return page(_("Set up"), _card(f"<h1>{title}</h1><p>{text}</p>{way}"), status)


def _error(text: str) -> str:
    return f'<p class="error" role="alert">{escape(text)}</p>' if text else ""


def _login_form(target: str, username: str = "", error: str = "", status: int = 200) -> HTMLResponse:
    return page(
        _("Sign in"),
        _card(f"""<h1>{_("Sign in")}</h1>{_error(error)}<form method="post" action="/login"><input type="hidden" name="next" value="{escape(target)}">
<label>{_("Name")}<input name="username" value="{escape(username)}" autocomplete="username" required autofocus></label>
<label>{_("Password")}<input name="password" type="password" autocomplete="current-password" required></label><button>{_("Sign in")}</button></form>"""),
        status,
    )


def _setup_form(token: str, username: str = "", error: str = "", status: int = 200) -> HTMLResponse:
    least = _("At least 10 characters.")
    again = f'{_("Password again")}<input name="again" type="password" autocomplete="new-password" minlength="10" required>'
    return page(
        _("Set up"),
        _card(f"""<h1>{_("Welcome to Hearth")}</h1><p>{_("Make the first account. It is the admin’s; nothing leaves this machine.")}</p>{_error(error)}
<form method="post" action="/setup"><input type="hidden" name="token" value="{escape(token)}">
<label>{_("Name")}<input name="username" value="{escape(username)}" autocomplete="username" required autofocus></label>
<label>{_("Password")}<input name="password" type="password" autocomplete="new-password" minlength="10" required><small>{least}</small></label>
<label>{again}</label><button>{_("Begin")}</button></form>"""),
        status,
    )
