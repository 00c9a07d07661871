"""The web process: one ASGI server with the API, the pages and the health routes, behind one gate.

`/healthz` answers as soon as the house is open. Gradio takes seconds to import, so its page is built meanwhile in a thread and joins when it is ready. The
console is built when somebody first asks for it: who never does pays nothing for it.
"""

import asyncio
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import Any

import anyio
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from core.app import App
from core.console.overview import Percentiles
from core.errors import HearthError
from core.processes import ProcessRole
from core.records import Health
from ui import documents, errors, pages
from ui.admin import downloads
from ui.api import chat as chat_api
from ui.api import library as library_api
from ui.api import operations as operations_api
from ui.api import pipelines as pipelines_api
from ui.api import voice as voice_api
from ui.api.auth import caller, scope_of
from ui.gate import CONSOLE, OWN_CHECK, Gate
from ui.giving_way import GivingWay
from ui.limits import BodyLimit
from ui.traced import Traced
from ui.voice import call
from ui.words import _

log = logging.getLogger(__name__)

SWITCH_S = 0.0005
"""How long a thread keeps Python's lock from one that waits for it. Each word of an answer may have to wait so long for a page of the console or a statement on
the records. Beside five admins at work, p99 of the delay of a word was 7.7 ms and the longest about 50 ms with Python's own 5 ms; with these it was 4.6 ms, and
the longest about 20 ms, at about the same cost."""
PING_S = 5.0
"""How often a socket is asked whether somebody is still there, and how long it may take to say so: a network that goes away says nothing."""


def _notice(title: str, text: str, status: int, *, again: bool = False) -> Response:
    """A page that says one thing. again: it looks again after a second."""
    head = '<meta http-equiv="refresh" content="1">' if again else ""
    answer = pages.page(title, f'<main class="card"><h1>{title}</h1><p>{text}</p></main>', status, head=head)
    if again:
        answer.headers["Retry-After"] = "1"
    return answer


def _away(error: HearthError) -> Response:
    """For who opens a page while nobody can be known: it comes by itself once that is over."""
    return _notice(_("This page could not start"), errors.sentence(error), errors.kind(error)[0], again=True)


Build = Callable[[], tuple[ASGIApp, AbstractAsyncContextManager[object]]]
"""Makes an application, and what it lives in; takes seconds, so it is called in a thread."""


class LatePage:
    """A mounted page that takes long to build: says so until it is there."""

    def __init__(self, *, wanted: bool = True, on_demand: Build | None = None) -> None:
        """wanted: false for a page that is switched off.   on_demand: builds it when it is first asked for; otherwise `load` does."""
        self.ready, self._wanted = not wanted, wanted
        self.failed = ""
        self._on_demand = on_demand
        self._page: ASGIApp | None = None
        self._closing = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    async def load(self, build: Build) -> None:
        """Builds the page and starts what it lives in; returns when it is there, or has failed."""
        there = asyncio.Event()
        self._life = asyncio.create_task(self._live(build, there))
        await there.wait()

    async def _live(self, build: Build, there: asyncio.Event) -> None:
        """What a page lives in must be left by the task that entered it, so one task does both."""
        try:
            made, life = await anyio.to_thread.run_sync(build)
            gc.freeze()  # the page's libraries stay: looking through them at every collection would hold up every chat
            async with life:
                self._page, self.ready = made, True
                there.set()
                await self._closing.wait()
        except Exception as error:  # the API and the other pages work without it  # noqa: BLE001
            self.failed = errors.sentence(error)
        finally:
            self._page = None
            there.set()

    async def close(self) -> None:
        """Ends what was started."""
        self._closing.set()
        if self._life is not None:
            await self._life

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The page, or a 503 that reloads itself."""
        if self._on_demand is not None and self._life is None:
            self._life = asyncio.create_task(self._live(self._on_demand, asyncio.Event()))
        if self._page is not None:
            await self._page(scope, receive, send)
        elif scope["type"] == "http" and self.failed:
            await _notice(_("This page could not start"), self.failed, 503)(scope, receive, send)
        elif scope["type"] == "http" and not self._wanted:
            text = _("This Hearth serves the API alone (HEARTH_CHAT_PAGE is off).")
            await _notice(_("No chat page here"), text, 404)(scope, receive, send)
        elif scope["type"] == "http":
            await _notice(_("Hearth is starting"), _("The page opens by itself in a moment."), 503, again=True)(scope, receive, send)


class Metrics:
    """What /metrics says; the figures are read when it is asked."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._writes = Counter("hearth_sql_writes", "Statements that wrote to the records", registry=self._registry)
        self._commits = Counter("hearth_sql_commits", "Transactions that wrote to the records", registry=self._registry)
        self._open = Gauge("hearth_open_answers", "Answers being written now", registry=self._registry)
        self._stages = Gauge(
            "hearth_stage_milliseconds", "How long a stage of an answer took, over the last day", ["stage", "quantile"], registry=self._registry
        )
        self._seen = (0, 0)

    def text(self, latency: Sequence[Percentiles]) -> bytes:
        """The figures in Prometheus's text format. Stages have the names of the console's pages."""
        for stage in latency:
            self._stages.labels(stage.stage, "0.5").set(stage.p50_ms)
            self._stages.labels(stage.stage, "0.95").set(stage.p95_ms)
        counters = self._app.counters()
        self._writes.inc(counters.sql_writes - self._seen[0])
        self._commits.inc(counters.sql_commits - self._seen[1])
        self._seen = (counters.sql_writes, counters.sql_commits)
        self._open.set(counters.open_answers)
        return generate_latest(self._registry)


APIS = (chat_api, library_api, voice_api, pipelines_api, operations_api)
APIS_OF = {ProcessRole.CHAT: (chat_api, library_api, voice_api), ProcessRole.VOICE: (chat_api, library_api, voice_api)}
"""What a page asks for, where a process serves it alone."""


def web(app: App, chat_page: LatePage, console: LatePage | None = None, role: ProcessRole = ProcessRole.UP) -> ASGIApp:
    """The whole web application over an opened house, or a page of it; without `console` there is none."""
    api: FastAPI = FastAPIOffline(
        title="Hearth", version="0.1.0", description="Ask your own documents and get cited answers.", docs_url="/docs", redoc_url=None
    )
    api.state.hearth = app
    for router in (*(one.router for one in APIS_OF.get(role, APIS)), voice_api.files, library_api.files):
        api.include_router(router)
    for kind in (HearthError, Exception):
        api.add_exception_handler(kind, errors.handle)
    api.add_exception_handler(RequestValidationError, _invalid)
    api.add_exception_handler(HTTPException, _plain)
    metrics = Metrics(app)

    @api.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @api.get("/readyz", include_in_schema=False)
    async def readyz() -> JSONResponse:
        parts = [*(await app.check()), Health("pages", chat_page.ready, chat_page.failed or ("" if chat_page.ready else "still starting"))]
        ready = all(p.ready for p in parts if p.part in ("records", "pages"))
        return JSONResponse({"ready": ready, "parts": {p.part: {"ready": p.ready, "detail": p.detail} for p in parts}}, 200 if ready else 503)

    @api.get("/metrics", include_in_schema=False)
    async def show_metrics(request: Request) -> Response:
        (await caller(request)).demand(scope_of(request.url.path))
        return Response(metrics.text(await app.latency()), media_type="text/plain; version=0.0.4; charset=utf-8")

    api.router.routes.extend([*pages.routes(app), *documents.routes(app), *call.routes(app), *downloads.routes(app)])
    for folder in OWN_CHECK:
        api.mount(folder.rstrip("/"), Router())  # the gate lets these through unseen: nothing but a route above may answer there
    if console is not None:
        api.mount(CONSOLE, GivingWay(console, app.courtesy))
    api.mount("/", chat_page)  # whatever no route above took; the page itself lies at /chat
    settings = app.settings
    inner = Traced(api, app.traces) if settings.traces_url else api
    return Gate(BodyLimit(inner, upload_bytes=settings.upload_max_mb * 1_000_000, audio_bytes=settings.audio_max_mb * 1_000_000), app, _away)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = dict(error.errors()[0]) if error.errors() else {}
    where = ".".join(str(p) for p in first.get("loc", ()) if p != "body")
    body = {
        "message": f"{where or 'The body'}: {first.get('msg', 'is not valid')}.",
        "type": "invalid_request_error",
        "code": "invalid_request_error",
        "param": where or None,
    }
    return JSONResponse({"error": body}, 422)


async def _plain(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    cause = error.__cause__  # what broke off a body while it was read
    if isinstance(cause, HearthError | OSError):
        return errors.response(errors.not_stored(cause) if isinstance(cause, OSError) else cause)
    kind = "not_found_error" if error.status_code == 404 else "invalid_request_error"
    return JSONResponse({"error": {"message": str(error.detail), "type": kind, "code": kind, "param": None}}, error.status_code)


class _Server(uvicorn.Server):
    """uvicorn, saying when it answers, and ending open answers with a word before it closes their connections."""

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, then sets `listening`."""
        await super().startup(sockets=sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, after the open answers have been interrupted."""
        await self._app.chat.interrupt()
        await super().shutdown(sockets=sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Being asked to stop is no failure: uvicorn's own way raises the signal again at the end, and the exit code would say that we were killed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def console_alone(app: App, console: LatePage) -> ASGIApp:
    """The console with its sign-in and nothing else, behind the same gate."""
    served = FastAPI(openapi_url=None)
    for kind in (HearthError, Exception):
        served.add_exception_handler(kind, errors.handle)
    served.add_exception_handler(HTTPException, _plain)

    @served.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @served.get("/", include_in_schema=False)
    async def start() -> Response:
        return RedirectResponse(f"{CONSOLE}/", 303)

    served.router.routes.extend([*pages.routes(app), *downloads.routes(app)])
    served.mount(CONSOLE, console)
    return Gate(served, app, _away)


def _build_console(app: App, *, rooms: bool) -> tuple[ASGIApp, AbstractAsyncContextManager[object]]:
    from ui.admin.mounting import mounted  # streamlit's import takes its time

    return mounted(app, rooms=rooms)


async def serve(app: App, sockets: list[socket.socket], on_ready: Callable[[], Awaitable[None]], role: ProcessRole = ProcessRole.UP) -> None:
    """Serves until SIGINT or SIGTERM; open answers are then kept as they are. role: which of the pages; the others are at other processes."""

    def build_chat() -> tuple[ASGIApp, AbstractAsyncContextManager[object]]:
        from ui.chat.page import mounted  # gradio's import takes seconds
        from ui.voice.page import mount

        page: FastAPI = mounted(app) if role is not ProcessRole.VOICE else FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        if role is not ProcessRole.CHAT:
            mount(page, app)
        return page, page.router.lifespan_context(page)

    chat_page = LatePage(wanted=app.settings.chat_page)
    whole = role in (ProcessRole.UP, ProcessRole.WEB)
    console = LatePage(on_demand=partial(_build_console, app, rooms=app.settings.chat_page)) if whole else None
    started = time.monotonic()

    async def ready() -> None:
        await on_ready()
        if not app.settings.chat_page:
            return
        await chat_page.load(build_chat)
        log.info("the chat page was ready after %.1f s", time.monotonic() - started)

    await _serve(app, web(app, chat_page, console, role), sockets, ready, [page for page in (console, chat_page) if page is not None])


async def serve_console(app: App, sockets: list[socket.socket], on_ready: Callable[[], Awaitable[None]]) -> None:
    """Serves the console alone until SIGINT or SIGTERM."""
    console = LatePage()

    async def ready() -> None:
        await on_ready()
        await console.load(partial(_build_console, app, rooms=False))

    await _serve(app, console_alone(app, console), sockets, ready, (console,))


async def _serve(app: App, served: ASGIApp, sockets: list[socket.socket], on_ready: Callable[[], Awaitable[None]], late: Sequence[LatePage]) -> None:
    sys.setswitchinterval(SWITCH_S)
    config = uvicorn.Config(
        served,
        lifespan="off",
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=5,
        server_header=False,
        backlog=2048,
        ws_max_size=call.MAX_FRAME_BYTES,
        ws_per_message_deflate=False,  # what is packed is packed in the event loop: a map of the console for 35 ms, in which every chat stands still
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
    )
    server = _Server(config, app)

    async def announce() -> None:
        await server.listening.wait()
        await on_ready()

    announcing = asyncio.create_task(announce())
    try:
        await server.serve(sockets=sockets)
    finally:
        announcing.cancel()
        await asyncio.gather(announcing, return_exceptions=True)
        for page in late:
            await page.close()
