"""The chat page: components and thin handlers, each over one call of the core. State in the browser is ids only; the core is the truth."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import gradio as gr
from fastapi import FastAPI

from core.app import App
from core.chat.model import MessageContent, MessageStatus, SendMessage
from core.chat.turn import Turn
from core.errors import HearthError
from core.ids import is_id, new_id
from core.users.room import SignedIn
from ui.chat import render
from ui.chat.pace import Pace, paced
from ui.errors import sentence
from ui.gate import COOKIE
from ui.icons import icon

LISTED = 40
SHOWN_MESSAGES = 100
NEW_COLLECTION = "documents"
QUEUE_POLL_S = 0.01
"""How often Gradio's queue looks for new events. Its own 1 ms costs 4 % of a core while nobody does anything."""
HEAD = """<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<link rel="icon" href="/static/hearth.svg" type="image/svg+xml"><link rel="stylesheet" href="/static/chat.css"><script src="/static/chat.js" defer></script>"""
# A click on anything with data-act goes to the server as an event of the component it is in; the rest of the page's behaviour is in static/chat.js.
ACT = """element.addEventListener('click', (event) => {
    const target = event.target.closest('[data-act]');
    if (target) window.hearth.act(target, trigger);
});
element.addEventListener('hearth', (event) => trigger('click', event.detail));"""


def mounted(app: App) -> FastAPI:
    """An application with the page at /chat."""
    host = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], primary_hue="orange", neutral_hue="stone")
    blocks = build(app)
    gr.mount_gradio_app(host, blocks, "/chat", footer_links=[], run_history=False, show_error=True, max_file_size="1mb", ssr_mode=False, theme=theme, head=HEAD)
    return host


def build(app: App) -> gr.Blocks:
    """The page over an opened house."""
    page = _Page(app)
    with gr.Blocks(analytics_enabled=False, title="Hearth", fill_width=True, fill_height=True, delete_cache=(3600, 3600)) as blocks:
        conversation, answer_id, listed = gr.State(""), gr.State(""), gr.State(LISTED)
        with gr.Row(elem_id="hearth"):
            with gr.Column(elem_id="side", min_width=0):
                gr.HTML(_BRAND, elem_id="brand")
                new = gr.Button("+ New chat", elem_id="new")
                search = gr.Textbox(placeholder="Search your conversations", show_label=False, container=False, elem_id="search", max_lines=1)
                listing = gr.HTML(elem_id="listing", js_on_load=ACT)
                account = gr.HTML(elem_id="account")
            with gr.Column(elem_id="main", min_width=0):
                gr.HTML(_TOP_BAR, elem_id="topbar")
                with gr.Column(elem_id="scroll", min_width=0):
                    transcript = gr.HTML(elem_id="transcript", js_on_load=ACT)
                    tail = gr.HTML(elem_id="tail")
                with gr.Column(elem_id="composer", min_width=0):
                    jobs = gr.HTML(elem_id="jobs", js_on_load=ACT)
                    with gr.Row(elem_id="entry"):
                        text = gr.Textbox(
                            placeholder="Ask a question", show_label=False, container=False, lines=1, max_lines=8, elem_id="text", autofocus=True, scale=1
                        )
                        send = gr.Button("Send", elem_id="send", variant="primary", min_width=0, scale=0)
                        stop = gr.Button("Stop", elem_id="stop", visible=False, min_width=0, scale=0)
                    with gr.Row(elem_id="options"):
                        gr.HTML(_ATTACH.format(max_mb=app.settings.upload_max_mb), elem_id="attach", min_width=0)
                        use_documents = gr.Checkbox(label="Use my documents", value=True, container=False, elem_id="use", min_width=0, scale=0)
                        collections = gr.Dropdown(
                            multiselect=True, choices=[], value=[], show_label=False, container=False, elem_id="collections", min_width=0, interactive=True
                        )
            with gr.Column(elem_id="panel", min_width=0):
                gr.HTML(f'<button type="button" class="icon" data-close="panel" aria-label="Close the source">{icon("close")}</button><div id="source"></div>')
        ticking = gr.Timer(1.0, active=False)

        told = {"show_progress": "hidden", "api_visibility": "private"}
        quick: dict[str, Any] = {**told, "queue": False}
        answering: dict[str, Any] = {**told, "concurrency_limit": None}
        following = [transcript, tail, text, conversation, answer_id, send, stop]
        sending = gr.on([send.click, text.submit], page.send, [text, conversation, use_documents, collections], following, **answering)
        sending.then(page.refresh, [conversation, search, listed], [listing], **quick)
        stop.click(page.stop, [answer_id], None, **quick)
        new.click(page.new, None, [transcript, tail, conversation, answer_id], **quick).then(page.refresh, [conversation, search, listed], [listing], **quick)
        transcript.click(page.act, [conversation, use_documents, collections], following, **answering)
        chosen = listing.click(page.choose, [conversation, search, listed], [listing, transcript, tail, conversation, listed], **quick)
        chosen.then(page.follow, [conversation], following, **answering)
        search.input(page.refresh, [conversation, search, listed], [listing], **quick)
        jobs.click(page.watch, None, [jobs, collections, ticking], **quick)
        ticking.tick(page.progress, [collections], [jobs, collections, ticking], **quick)
        use_documents.input(page.prefer, [use_documents], None, **quick)
        conversation.change(None, [conversation], None, js="(id) => window.hearth.opened(id)", **told)
        opening = blocks.load(
            page.open, [search, listed], [account, listing, transcript, tail, conversation, use_documents, collections, jobs, ticking], **quick
        )
        opening.then(page.follow, [conversation], following, **answering)
    blocks.queue(default_concurrency_limit=None, api_open=False)
    blocks._queue.sleep_when_free = QUEUE_POLL_S
    # Admission is the core's. Gradio's own 40 places would let the 41st page wait until another's answer is whole.
    blocks._queue.max_thread_count = 2 * app.settings.open_answers
    return blocks


_BRAND = (
    '<a class="brand" href="/" title="To the start page"><img src="/static/hearth.svg" alt="" width="28" height="28">Hearth</a>'
    f'<button type="button" class="icon" data-theme aria-label="Light or dark">{icon("theme")}</button>'
)
_TOP_BAR = f'<button type="button" class="icon" data-toggle="side" aria-label="Conversations">{icon("menu")}</button>'
_ATTACH = (
    f'<button type="button" id="pick" aria-label="Add documents">{icon("attach")} <span>Add documents</span></button>'
    '<input type="file" id="files" multiple hidden data-max-mb="{max_mb}" '
    'accept=".pdf,.docx,.md,.markdown,.txt,.html,.htm,.py,.js,.ts,.java,.go,.rs,.c,.h,.cpp,.css,.json,.yaml,.yml,.toml,.sql,.sh,text/*,application/pdf">'
)

Handler = Callable[..., Awaitable[Any]]


def _told(handler: Handler) -> Handler:
    """An error of the core becomes a toast; nothing on the page is lost."""

    @wraps(handler)
    async def wrapped(*args: Any, **given: Any) -> Any:
        try:
            return await handler(*args, **given)
        except HearthError as error:
            raise gr.Error(sentence(error), title="That did not work", print_exception=False) from error

    return wrapped


class _Page:
    """The handlers. Each finds its user by the session cookie."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._pace = Pace()

    async def _who(self, request: gr.Request) -> SignedIn:
        return await self._app.users.by_session(request.cookies.get(COOKIE, ""))

    async def open(self, search: str, listed: int, request: gr.Request) -> Any:
        """The whole page as it is when it is loaded; ?c= names the open conversation."""
        try:
            who = await self._who(request)
            wanted = request.query_params.get("c", "")
            shown, wanted = await self._transcript(who, wanted)
            jobs, choices, ticking = await self._progress(who, None)
        except HearthError as error:
            raise gr.Error(sentence(error), print_exception=False) from error
        account = render.account(who.user.username)
        return account, await self._listing(who, wanted, search, listed), shown, "", wanted, who.user.preferences.enable_rag, choices, jobs, ticking

    async def _transcript(self, who: SignedIn, conversation: str) -> tuple[str, str]:
        """(HTML, conversation id); an unknown or foreign id gives the empty page. An answer that is being written is left to `follow`."""
        if not is_id(conversation):
            return render.EMPTY, ""
        try:
            page = await self._app.chat.messages(who.user, conversation, limit=SHOWN_MESSAGES)
        except HearthError:
            return render.EMPTY, ""
        done = [m for m in page.items if m.status is not MessageStatus.GENERATING]
        return render.transcript(done, older=bool(page.next_cursor)), conversation

    async def _listing(self, who: SignedIn, conversation: str, search: str, listed: int) -> str:
        page = await self._app.chat.conversations(who.user, search=search or "", limit=listed)
        return render.conversations(page.items, conversation, search, more=bool(page.next_cursor))

    @_told
    async def refresh(self, conversation: str, search: str, listed: int, request: gr.Request) -> str:
        """The list on the left."""
        return await self._listing(await self._who(request), conversation, search, listed)

    @_told
    async def new(self) -> tuple[str, str, str, str]:
        """An empty page."""
        return render.EMPTY, "", "", ""

    @_told
    async def choose(self, conversation: str, search: str, listed: int, request: gr.Request, event: gr.EventData) -> Any:
        """What was clicked in the list: open, rename, delete or more."""
        who = await self._who(request)
        data = event._data or {}
        act, wanted = data.get("act"), str(data.get("id", ""))
        shown: Any = gr.skip()
        if act == "open":
            shown, conversation = await self._transcript(who, wanted)
        elif act == "rename":
            await self._app.chat.rename(who.user, wanted, str(data.get("title", "")))
        elif act == "delete":
            receipt = await self._app.chat.delete(who.user, wanted)
            gr.Info(render.receipt(receipt), title="Deleted")
            if wanted == conversation:
                shown, conversation = render.EMPTY, ""
        elif act == "more":
            listed += LISTED
        return await self._listing(who, conversation, search, listed), shown, "" if act == "open" else gr.skip(), conversation, listed

    async def send(self, text: str, conversation: str, use_documents: bool, collections: list[str], request: gr.Request) -> AsyncIterator[Any]:
        """Sends a message and shows its answer as it grows."""
        if not text.strip():
            yield (gr.skip(),) * 7
            return
        async for view in self._begun(request, conversation, self._message(text, conversation, use_documents, collections)):
            yield view

    def _message(self, text: str, conversation: str, use_documents: bool, collections: list[str]) -> Callable[[], SendMessage]:
        def make() -> SendMessage:
            return SendMessage(conversation or new_id(), new_id(), MessageContent(text), tuple(collections or ()) if use_documents else ())

        return make

    async def _begun(self, request: gr.Request, conversation: str, make: Callable[[], SendMessage]) -> AsyncIterator[Any]:
        try:
            who = await self._who(request)
            shown, _ = await self._transcript(who, conversation)
            message = make()
            turn = await self._app.chat.send(who, message, detached=True)
        except HearthError as error:
            # The text stays in its box: nothing typed is lost.
            raise gr.Error(sentence(error), title="Not sent", print_exception=False) from error
        before = "" if shown == render.EMPTY else shown
        async for view in self._grown(who, turn, before + render.question(message.content.text), ""):
            yield view

    async def _grown(self, who: SignedIn, turn: Turn, before: str, text: Any) -> AsyncIterator[Any]:
        """The page while an answer grows: the transcript once, then only the tail."""
        first = True
        async for view in paced(turn, self._pace):
            tail = render.growing(view.text, view.stage, turn.answer_id, view.sources, turn.conversation_id)
            yield (
                before if first else gr.skip(),
                tail,
                text if first else gr.skip(),
                turn.conversation_id if first else gr.skip(),
                turn.answer_id if first else gr.skip(),
                gr.update(visible=False) if first else gr.skip(),
                gr.update(visible=True) if first else gr.skip(),
            )
            first = False
        shown, _ = await self._transcript(who, turn.conversation_id)
        yield shown, "", gr.skip(), turn.conversation_id, "", gr.update(visible=True), gr.update(visible=False)

    async def follow(self, conversation: str, request: gr.Request) -> AsyncIterator[Any]:
        """Goes on showing an answer that is being written, after a reload or a change of conversation."""
        turn = None
        if conversation:
            try:
                who = await self._who(request)
                page = await self._app.chat.messages(who.user, conversation, limit=SHOWN_MESSAGES)
                writing = [m for m in page.items if m.status is MessageStatus.GENERATING]
                turn = await self._app.chat.open_turn(who.user, writing[-1].id) if writing else None
            except HearthError:
                turn = None
        if turn is None:
            yield (gr.skip(),) * 7
            return
        shown, _ = await self._transcript(who, conversation)
        async for view in self._grown(who, turn, shown, gr.skip()):
            yield view

    async def act(self, conversation: str, use_documents: bool, collections: list[str], request: gr.Request, event: gr.EventData) -> AsyncIterator[Any]:
        """What was clicked in the transcript: continue a broken answer, or an example to ask."""
        data = event._data or {}
        if data.get("act") == "example":
            async for view in self._begun(request, conversation, self._message(str(data.get("text", "")), conversation, use_documents, collections)):
                yield view
        elif data.get("act") == "continue":
            try:
                who = await self._who(request)
                shown, _ = await self._transcript(who, conversation)
                turn = await self._app.chat.go_on(who, str(data.get("id", "")))
            except HearthError as error:
                raise gr.Error(sentence(error), print_exception=False) from error
            async for view in self._grown(who, turn, shown, gr.skip()):
                yield view
        elif data.get("act") == "older":
            who = await self._who(request)
            whole = await self._app.chat.messages(who.user, conversation, limit=500)
            yield render.transcript(whole.items), *(gr.skip(),) * 6
        else:
            yield (gr.skip(),) * 7

    @_told
    async def stop(self, answer_id: str, request: gr.Request) -> None:
        """Stops the answer at the model; the growing answer then ends by itself."""
        if answer_id:
            await self._app.chat.stop((await self._who(request)).user, answer_id)

    @_told
    async def prefer(self, use_documents: bool, request: gr.Request) -> None:
        """Remembers the switch."""
        user = (await self._who(request)).user
        await self._app.users.save_preferences(user, replace(user.preferences, enable_rag=use_documents))

    @_told
    async def watch(self, request: gr.Request) -> Any:
        """Something was uploaded: show its way."""
        jobs, choices, _ = await self._progress(await self._who(request), None)
        return jobs, choices, gr.Timer(active=True)

    @_told
    async def progress(self, collections: list[str], request: gr.Request) -> Any:
        """The jobs now; the timer stops itself when all are done."""
        return await self._progress(await self._who(request), collections)

    async def _progress(self, who: SignedIn, chosen: list[str] | None) -> tuple[str, Any, Any]:
        """(jobs, collections, timer). Every collection is chosen until somebody chooses."""
        page = await self._app.library.jobs(who.user, limit=8)
        open_jobs = [j for j in page.items if not j.done]
        recent = render.recent(page.items)
        found = await self._app.library.collections(who.user, limit=200)
        names = [c.name for c, _ in found.items]
        kept = names if chosen is None or not chosen else [n for n in names if n in chosen]
        choices = gr.Dropdown(choices=render.collection_choices(found.items), value=kept)
        return render.jobs(recent), choices, gr.Timer(active=bool(open_jobs))
