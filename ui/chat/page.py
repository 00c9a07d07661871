"""The chat page: components and thin handlers, each over one call of the core. State in the browser is ids only; the core is the truth."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import gradio as gr
import msgspec
from fastapi import FastAPI

from core.app import App
from core.chat.model import ChatMessage, ChatSettings, Feedback, MessageContent, MessageStatus, SendMessage, Thread
from core.chat.turn import Turn
from core.errors import BadInput, HearthError
from core.ids import is_id, new_id
from core.users.room import SignedIn
from ui.chat import dialogs, render
from ui.chat.pace import Pace, paced_together
from ui.errors import sentence
from ui.gate import session_token
from ui.icons import icon
from ui.words import _, language, speak

LISTED = 40
SHOWN_MESSAGES = 100
FOLLOWING = 8
"""How many components a growing answer may change."""
QUEUE_POLL_S = 0.01
"""How often Gradio's queue looks for new events. Its own 1 ms costs 4 % of a core while nobody does anything."""
HEAD = """<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<link rel="icon" href="/static/hearth.svg" type="image/svg+xml"><link rel="stylesheet" href="/static/chat.css">
<script src="/words.js"></script><script src="/static/chat.js" defer></script>"""
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


@dataclass(frozen=True, slots=True)
class _Parts:
    """The components of the page that change."""

    search: Any
    new: Any
    listing: Any
    account: Any
    transcript: Any
    tail: Any
    jobs: Any
    text: Any
    send: Any
    stop: Any
    use_documents: Any
    collections: Any
    pending: Any
    ticking: Any
    worded: "tuple[_Worded, ...]"


@dataclass(frozen=True, slots=True)
class _Worded:
    """A component that says something. It is built once for everybody, in English; whoever reads another language gets its words when the page is loaded."""

    component: Any
    words: Callable[[], dict[str, str]]


def build(app: App) -> gr.Blocks:
    """The page over an opened house."""
    with gr.Blocks(analytics_enabled=False, title="Hearth", fill_width=True, fill_height=True, delete_cache=(3600, 3600)) as blocks:
        parts = _laid_out(app)
        _wired(blocks, _Page(app, [w.words for w in parts.worded]), parts)
    blocks.queue(default_concurrency_limit=None, api_open=False)
    blocks._queue.sleep_when_free = QUEUE_POLL_S
    # Admission is the core's. Gradio's own 40 places would let the 41st page wait until another's answer is whole.
    blocks._queue.max_thread_count = 2 * app.settings.open_answers
    return blocks


def _laid_out(app: App) -> _Parts:
    """Left the conversations, in the middle the path that is read and the box to write in, on the right the source."""
    worded: list[_Worded] = []

    def saying(make: Callable[..., Any], words: Callable[[], dict[str, str]], **given: Any) -> Any:
        component = make(**words(), **given)
        worded.append(_Worded(component, words))
        return component

    with gr.Row(elem_id="hearth"):
        with gr.Column(elem_id="side", min_width=0):
            saying(gr.HTML, lambda: {"value": _brand()}, elem_id="brand")
            new = saying(gr.Button, lambda: {"value": f"+ {_('New chat')}"}, elem_id="new")
            search = saying(
                gr.Textbox, lambda: {"placeholder": _("Search your conversations")}, show_label=False, container=False, elem_id="search", max_lines=1
            )
            listing = gr.HTML(elem_id="listing", js_on_load=ACT)
            account = gr.HTML(elem_id="account")
        with gr.Column(elem_id="main", min_width=0):
            saying(gr.HTML, lambda: {"value": _top_bar()}, elem_id="topbar")
            with gr.Column(elem_id="scroll", min_width=0):
                transcript = gr.HTML(elem_id="transcript", js_on_load=ACT)
                tail = gr.HTML(elem_id="tail")
            with gr.Column(elem_id="composer", min_width=0):
                jobs = gr.HTML(elem_id="jobs", js_on_load=ACT)
                with gr.Row(elem_id="entry"):
                    looks: dict[str, Any] = {"show_label": False, "container": False, "lines": 1, "max_lines": 8, "autofocus": True, "scale": 1}
                    text = saying(gr.Textbox, lambda: {"placeholder": _("Ask a question")}, elem_id="text", **looks)
                    send = saying(gr.Button, lambda: {"value": _("Send")}, elem_id="send", variant="primary", min_width=0, scale=0)
                    stop = saying(gr.Button, lambda: {"value": _("Stop")}, elem_id="stop", visible=False, min_width=0, scale=0)
                with gr.Row(elem_id="options"):
                    saying(gr.HTML, lambda: {"value": _attach(app.settings.upload_max_mb)}, elem_id="attach", min_width=0)
                    use_documents = saying(
                        gr.Checkbox, lambda: {"label": _("Use my documents")}, value=True, container=False, elem_id="use", min_width=0, scale=0
                    )
                    collections = gr.Dropdown(
                        multiselect=True, choices=[], value=[], show_label=False, container=False, elem_id="collections", min_width=0, interactive=True
                    )
                pending = gr.Textbox(elem_id="pending", show_label=False, container=False)  # set by the settings dialog, never seen
        with gr.Column(elem_id="panel", min_width=0):
            saying(gr.HTML, lambda: {"value": _panel()})
    saying(gr.HTML, lambda: {"value": dialogs.every()}, elem_id="dialogs")
    ticking = gr.Timer(1.0, active=False)
    return _Parts(search, new, listing, account, transcript, tail, jobs, text, send, stop, use_documents, collections, pending, ticking, tuple(worded))


def _wired(blocks: gr.Blocks, page: "_Page", parts: _Parts) -> None:
    """What happens when something is clicked or typed. Ids are all that the browser keeps; the core is the truth."""
    conversation, leaf, answer_id, listed = gr.State(""), gr.State(""), gr.State(""), gr.State(LISTED)
    told = {"show_progress": "hidden", "api_visibility": "private"}
    quick: dict[str, Any] = {**told, "queue": False}
    answering: dict[str, Any] = {**told, "concurrency_limit": None}
    p = parts
    following = [p.transcript, p.tail, p.text, conversation, leaf, answer_id, p.send, p.stop]
    listing = [conversation, p.search, listed]
    chosen = [p.pending, p.use_documents, p.collections]
    asked = gr.on([p.send.click, p.text.submit], page.send, [p.text, conversation, leaf, *chosen], following, **answering)
    asked.then(page.refresh, listing, [p.listing], **quick)
    p.stop.click(page.stop, [answer_id], None, **quick)
    acting = p.transcript.click(page.act, [conversation, leaf, *chosen], following, **answering)
    acting.then(page.refresh, listing, [p.listing], **quick)
    opened = p.listing.click(page.choose, listing, [p.listing, p.transcript, p.tail, conversation, leaf, listed, p.send, p.stop], **quick)
    opened.then(page.follow, [conversation], following, **answering)
    p.search.input(page.searched, listing, [p.listing], trigger_mode="always_last", **quick)
    progress = [p.jobs, p.collections, p.ticking]
    p.jobs.click(page.watch, None, progress, **quick)
    p.ticking.tick(page.progress, [p.collections], progress, **quick)
    p.use_documents.input(page.prefer, [p.use_documents], None, **quick)
    whole = [p.account, p.listing, p.transcript, p.tail, conversation, leaf, p.use_documents, *progress]
    blocks.load(page.word, None, [w.component for w in p.worded], **quick)
    opening = blocks.load(page.open, [p.search, listed], whole, **quick)
    opening.then(page.follow, [conversation], following, **answering)
    begun = p.new.click(page.new, None, [p.transcript, p.tail, conversation, leaf, answer_id, p.send, p.stop], **quick)
    begun.then(page.refresh, listing, [p.listing], **quick)
    blocks.unload(page.left)


def _brand() -> str:
    return (
        f'<a class="brand" href="/" title="{_("To the start page")}"><img src="/static/hearth.svg" alt="" width="28" height="28">Hearth</a>'
        f'<button type="button" class="icon" data-theme aria-label="{_("Light or dark")}">{icon("theme")}</button>'
    )


def _top_bar() -> str:
    settings, share, helping = _("Settings of this conversation"), _("Share or export"), _("Keyboard and help")
    return (
        f'<button type="button" class="icon" data-toggle="side" aria-label="{_("Conversations")}">{icon("menu")}</button><span class="tools">'
        f'<button type="button" class="icon" data-dialog="settings" aria-label="{settings}" title="{_("Settings")}">{icon("settings")}</button>'
        f'<button type="button" class="icon" data-dialog="share" aria-label="{share}" title="{share}">{icon("share")}</button>'
        f'<button type="button" class="icon" data-dialog="help" aria-label="{helping}" title="{_("Help")} (?)">{icon("help")}</button></span>'
    )


ACCEPTED = (
    ".pdf,.docx,.pptx,.xlsx,.csv,.tsv,.epub,.eml,.zip,image/*,.md,.markdown,.txt,.html,.htm,.py,.js,.ts,.java,.go,.rs,.c,.h,.cpp,.css,.json,.yaml,.yml,.toml,"
    ".sql,.sh,text/*,application/pdf"
)


def _attach(max_mb: int) -> str:
    named = _("Add documents")
    return (
        f'<button type="button" id="pick" aria-label="{named}">{icon("attach")} <span>{named}</span></button>'
        f'<input type="file" id="files" multiple hidden data-max-mb="{max_mb}" accept="{ACCEPTED}">'
    )


def _panel() -> str:
    return f'<button type="button" class="icon" data-close="panel" aria-label="{_("Close the source")}">{icon("close")}</button><div id="source"></div>'


Handler = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class _View:
    """One path of a conversation as it is shown: (message id, HTML) in order, and the answer that is being written at its end."""

    pieces: tuple[tuple[str, str], ...] = ()
    conversation: str = ""
    writing: ChatMessage | None = None

    @property
    def html(self) -> str:
        """All of it; the empty page where there is nothing."""
        return "".join(piece for _, piece in self.pieces) or render.empty()

    @property
    def leaf(self) -> str:
        """The last message; "" where there is none."""
        return self.pieces[-1][0] if self.pieces else ""

    def until(self, message_id: str) -> str:
        """The HTML as far as that message."""
        ids = [known for known, _ in self.pieces]
        return "".join(piece for _, piece in self.pieces[: ids.index(message_id) + 1]) if message_id in ids else ""


def _settings(pending: str) -> ChatSettings:
    """What was chosen in the browser for a conversation that doesn't exist yet. Raises: BadInput."""
    if not pending:
        return ChatSettings()
    try:
        return msgspec.json.decode(pending, type=ChatSettings)
    except msgspec.DecodeError as error:
        raise BadInput("The settings of this conversation can't be read.", hint="Open them and save them again.") from error


def _told(handler: Handler) -> Handler:
    """An error of the core becomes a toast; nothing on the page is lost."""

    @wraps(handler)
    async def wrapped(*args: Any, **given: Any) -> Any:
        try:
            return await handler(*args, **given)
        except HearthError as error:
            raise gr.Error(sentence(error), title=_("That did not work"), print_exception=False) from error

    return wrapped


class _Page:
    """The handlers. Each finds its user by the session cookie."""

    def __init__(self, app: App, words: Sequence[Callable[[], dict[str, str]]]) -> None:
        """words: of the components that say something, as `word` gives them back."""
        self._app, self._words = app, words
        self._pace = Pace()
        self._looks: dict[str, object] = {}
        """What each open page looks at, by Gradio's name for it."""
        self._searches: dict[str, str] = {}

    async def _who(self, request: gr.Request) -> SignedIn:
        """The user; from here on the handler speaks their language."""
        accepted = request.headers.get("accept-language", "")
        speak(accepted)
        who = await self._app.users.by_session(session_token(self._app, request.cookies))
        speak(who.user.preferences.language, accepted)
        return who

    @_told
    async def word(self, request: gr.Request) -> Any:
        """The words of the page's components in the user's language, when it is loaded; English is there already."""
        await self._who(request)
        return [gr.update(**words()) if language() != "en" else gr.skip() for words in self._words]

    async def open(self, search: str, listed: int, request: gr.Request) -> Any:
        """The whole page as it is when it is loaded; ?c= names the open conversation."""
        try:
            who = await self._who(request)
            shown = await self._view(who, request.query_params.get("c", ""))
            jobs, choices, ticking = await self._progress(who, None)
        except HearthError as error:
            raise gr.Error(sentence(error), title=_("That did not work"), print_exception=False) from error
        account, listing = render.account(who.user.username), await self._listing(who, shown.conversation, search, listed)
        return account, listing, shown.html, "", shown.conversation, shown.leaf, who.user.preferences.enable_rag, jobs, choices, ticking

    async def _view(self, who: SignedIn, conversation: str, at: str = "", limit: int = SHOWN_MESSAGES) -> _View:
        """One path of a conversation; an unknown or foreign id gives the empty page. An answer that is being written is left to `follow`."""
        if not is_id(conversation):
            return _View()
        try:
            thread = await self._app.chat.thread(who.user, conversation, at=at, limit=limit)
            verdicts = await self._app.chat.feedback(who.user, conversation)
        except HearthError:
            return _View()
        done = replace(thread, messages=tuple(m for m in thread.messages if m.status is not MessageStatus.GENERATING))
        writing = next((m for m in thread.messages if m.status is MessageStatus.GENERATING), None)
        pieces = render.thread(done, verdicts)
        if pieces and (await self._app.chat.conversation(who.user, conversation)).settings.beside:
            pieces[-1] = (pieces[-1][0], await self._side_by_side(who, done, verdicts, pieces[-1][1]))
        return _View(tuple(pieces), conversation, writing)

    async def _side_by_side(self, who: SignedIn, thread: Thread, verdicts: Mapping[str, Feedback], alone: str) -> str:
        """The last answer beside the one given just before it to the same question."""
        last = thread.messages[-1]
        siblings = thread.branches.get(last.id, ())
        place = siblings.index(last.id) if last.id in siblings else 0
        if last.role != "assistant" or not place:
            return alone
        other = await self._app.chat.message(who.user, siblings[place - 1])
        return render.beside([render.answer(other, (), verdicts.get(other.id)), alone])

    async def _listing(self, who: SignedIn, conversation: str, search: str, listed: int) -> str:
        page = await self._app.chat.conversations(who.user, search=search or "", limit=listed)
        return render.conversations(page.items, conversation, search, more=bool(page.next_cursor))

    @_told
    async def searched(self, conversation: str, search: str, listed: int, request: gr.Request) -> str:
        """The list as it is searched now."""
        self._searches[str(request.session_hash)] = search
        return await self._listing(await self._who(request), conversation, search, listed)

    @_told
    async def refresh(self, conversation: str, search: str, listed: int, request: gr.Request) -> str:
        """The list on the left. What is searched may have changed since this was asked for."""
        return await self._listing(await self._who(request), conversation, self._searches.get(str(request.session_hash), search), listed)

    @_told
    async def new(self, request: gr.Request) -> Any:
        """An empty page."""
        await self._who(request)
        self._look(request)
        return render.empty(), "", "", "", "", gr.update(visible=True), gr.update(visible=False)

    def _look(self, request: gr.Request) -> object:
        """This page looks at something else from now on; an answer that grew on it goes on being written, and no longer draws the page back to it."""
        look = self._looks[str(request.session_hash)] = object()
        return look

    def left(self, request: gr.Request) -> None:
        """The page was closed."""
        for kept in (self._looks, self._searches):
            kept.pop(str(request.session_hash), None)

    @_told
    async def choose(self, conversation: str, search: str, listed: int, request: gr.Request, event: gr.EventData) -> Any:
        """What was clicked in the list: open, rename, pin, delete or more."""
        who = await self._who(request)
        data = event._data or {}
        act, wanted = data.get("act"), str(data.get("id", ""))
        shown: _View | None = None
        if act == "open":
            shown = await self._view(who, wanted)
        elif act == "rename":
            await self._app.chat.change(who.user, wanted, title=str(data.get("title", "")))
        elif act == "pin":
            await self._app.chat.change(who.user, wanted, pinned=not (await self._app.chat.conversation(who.user, wanted)).pinned)
        elif act == "delete":
            receipt = await self._app.chat.delete(who.user, wanted)
            gr.Info(render.receipt(receipt), title=_("Deleted"))
            shown = _View() if wanted == conversation else None
        elif act == "more":
            listed += LISTED
        if shown is None:
            return await self._listing(who, conversation, search, listed), gr.skip(), gr.skip(), conversation, gr.skip(), listed, gr.skip(), gr.skip()
        self._look(request)
        idle = gr.update(visible=True), gr.update(visible=False)
        return await self._listing(who, shown.conversation, search, listed), shown.html, "", shown.conversation, shown.leaf, listed, *idle

    async def send(
        self, text: str, conversation: str, leaf: str, pending: str, use_documents: bool, collections: list[str], request: gr.Request
    ) -> AsyncIterator[Any]:
        """Sends a message and shows its answer as it grows."""
        if not text.strip():
            yield (gr.skip(),) * FOLLOWING
            return

        def make() -> SendMessage:
            names = tuple(collections or ()) if use_documents else ()
            # What is on the screen is what is answered: a message from another tab in between makes a branch and no confusion.
            parent = leaf if conversation and leaf else None
            return SendMessage(conversation or new_id(), new_id(), MessageContent(text), names, parent_id=parent, settings=_settings(pending))

        async for view in self._begun(request, conversation, leaf, make, ""):
            yield view

    async def _begun(self, request: gr.Request, conversation: str, at: str, make: Callable[[], SendMessage], left_in_box: Any) -> AsyncIterator[Any]:
        """Sends what `make` gives after the message `at`, then shows its answer. Raises: gr.Error; the text stays in its box, nothing typed is lost."""
        try:
            who = await self._who(request)
            message = make()
            before = ""
            if conversation and message.parent_id != "":
                shown = await self._view(who, conversation, at)
                before = shown.until(message.parent_id or shown.leaf)
            turns = [await self._app.chat.send(who, message, detached=True)]
            if second := (await self._app.chat.conversation(who.user, message.conversation_id)).settings.beside:
                turns.append(await self._app.chat.answer_again(who, turns[0].answer_id, new_id(), model=second))
        except HearthError as error:
            raise gr.Error(sentence(error), title=_("Not sent"), print_exception=False) from error
        async for view in self._grown(request, who, turns, before + render.question(message.content.text), left_in_box):
            yield view

    async def _grown(self, request: gr.Request, who: SignedIn, turns: Sequence[Turn], before: str, text: Any) -> AsyncIterator[Any]:
        """The page while answers grow, as long as it looks at them: the transcript once, then only the tail. Several turns stand side by side."""
        first, look, turn = True, self._look(request), turns[-1]
        writing = " ".join(t.answer_id for t in turns)
        async with aclosing(paced_together(turns, self._pace)) as together:  # type: ignore[type-var]
            async for views in together:
                if self._looks.get(str(request.session_hash)) is not look:
                    return
                tail = render.beside(
                    [
                        render.growing(v.text, v.stage, t.answer_id, v.sources, t.conversation_id, position=v.position, eta_s=v.eta_s)
                        for t, v in zip(turns, views, strict=True)
                    ]
                )
                begun = (text, turn.conversation_id, turn.answer_id, writing, gr.update(visible=False), gr.update(visible=True))
                yield (before, tail, *begun) if first else (gr.skip(), tail, *(gr.skip(),) * 6)
                first = False
        shown = await self._view(who, turn.conversation_id, turn.answer_id)
        if self._looks.get(str(request.session_hash)) is look:
            yield shown.html, "", gr.skip(), turn.conversation_id, shown.leaf, "", gr.update(visible=True), gr.update(visible=False)

    async def follow(self, conversation: str, request: gr.Request) -> AsyncIterator[Any]:
        """Goes on showing an answer that is being written, after a reload or a change of conversation."""
        turn, shown = None, _View()
        if conversation:
            try:
                who = await self._who(request)
                shown = await self._view(who, conversation)
                turn = await self._app.chat.open_turn(who.user, shown.writing.id) if shown.writing else None
            except HearthError:
                turn = None
        if turn is None:
            yield (gr.skip(),) * FOLLOWING
            return
        async for view in self._grown(request, who, [turn], shown.html, gr.skip()):
            yield view

    async def act(
        self, conversation: str, leaf: str, pending: str, use_documents: bool, collections: list[str], request: gr.Request, event: gr.EventData
    ) -> AsyncIterator[Any]:
        """What was clicked in the transcript."""
        data = event._data or {}
        act, wanted, text = data.get("act"), str(data.get("id", "")), str(data.get("text", ""))
        if act == "example":
            async for view in self.send(text, conversation, leaf, pending, use_documents, collections, request):
                yield view
        elif act == "edit":
            async for view in self._edited(wanted, text, conversation, use_documents, collections, request):
                yield view
        elif act in ("continue", "again"):
            async for view in self._answered(act, wanted, str(data.get("model") or "default"), conversation, leaf, request):
                yield view
        elif act in ("older", "branch"):
            who = await self._who(request)
            shown = await self._view(who, conversation, wanted if act == "branch" else leaf, 500 if act == "older" else SHOWN_MESSAGES)
            yield shown.html, "", gr.skip(), gr.skip(), shown.leaf, *(gr.skip(),) * 3
        else:
            yield (gr.skip(),) * FOLLOWING

    async def _edited(
        self, message_id: str, text: str, conversation: str, use_documents: bool, collections: list[str], request: gr.Request
    ) -> AsyncIterator[Any]:
        """Sends another wording of a message beside it, as a branch of its own."""
        try:
            first = await self._app.chat.message((await self._who(request)).user, message_id)
        except HearthError as error:
            raise gr.Error(sentence(error), title=_("Not sent"), print_exception=False) from error
        names = tuple(collections or ()) if use_documents else ()

        def make() -> SendMessage:
            return SendMessage(conversation, new_id(), MessageContent(text), names, parent_id=first.parent_id)

        async for view in self._begun(request, conversation, message_id, make, gr.skip()):
            yield view

    async def _answered(self, act: str, answer_id: str, model: str, conversation: str, leaf: str, request: gr.Request) -> AsyncIterator[Any]:
        """Continues a broken answer, or answers its question again beside it."""
        try:
            who = await self._who(request)
            shown = await self._view(who, conversation, leaf)
            if act == "continue":
                turn, before = await self._app.chat.go_on(who, answer_id), shown.html
            else:
                turn = await self._app.chat.answer_again(who, answer_id, new_id(), model=model)
                before = shown.until(turn.answer.reply_to)
        except HearthError as error:
            raise gr.Error(sentence(error), title=_("That did not work"), print_exception=False) from error
        async for view in self._grown(request, who, [turn], before, gr.skip()):
            yield view

    @_told
    async def stop(self, answer_ids: str, request: gr.Request) -> None:
        """Stops what is being written at the model; the growing answers then end by themselves."""
        user = (await self._who(request)).user
        for answer_id in answer_ids.split():
            await self._app.chat.stop(user, answer_id)

    @_told
    async def prefer(self, use_documents: bool, request: gr.Request) -> None:
        """Remembers the switch."""
        user = (await self._who(request)).user
        await self._app.users.save_preferences(user, replace(user.preferences, enable_rag=use_documents))

    @_told
    async def watch(self, request: gr.Request) -> Any:
        """Something was uploaded: show its way."""
        jobs, choices = (await self._progress(await self._who(request), None))[:2]
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
