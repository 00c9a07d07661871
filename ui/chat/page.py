"""The chat page: components and thin handlers, each over one call of the core. State in the browser is ids only; the core is the truth."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import gradio as gr
import msgspec
from fastapi import FastAPI

from core.app import App
from core.chat.model import ChatMessage, ChatSettings, MessageContent, MessageStatus, SendMessage, Thread
from core.errors import BadInput, HearthError
from core.ids import is_id, new_id
from core.rag.model import RAGQuery
from core.users.room import SignedIn
from ui.chat import dialogs, growing, render
from ui.errors import sentence
from ui.gate import signed_in
from ui.icons import icon
from ui.words import N_, _, language

LISTED = 40
SHOWN_MESSAGES = 100
QUEUE_POLL_S = 1.0
"""How often Gradio's queue looks for events. None of ours takes it: its own 1 ms would cost 4 % of a core for nothing."""
HEAD = """<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<link rel="icon" href="/static/hearth.svg" type="image/svg+xml"><link rel="stylesheet" href="/static/chat.css">
<script src="/words.js"></script><script src="/static/chat.js" defer></script>"""
# A click on anything with data-act goes to the server as an event of the component it is in; the rest of the page's behaviour is in static/chat.js.
ACT = """element.addEventListener('click', (event) => {
    const target = event.target.closest('[data-act]');
    if (target) window.hearth.act(target, trigger);
});
element.addEventListener('hearth', (event) => trigger(event.detail.event || 'click', event.detail));"""
# The first input of these events is what the browser knows of its own place, taken when the event leaves; the house keeps nothing for a page.
HERE = "(here, ...rest) => [window.hearth.here(), ...rest]"


def mounted(app: App) -> FastAPI:
    """An application with the page at /chat, and the stream of its growing answers."""
    host = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    host.router.routes.append(growing.route(app))
    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], primary_hue="orange", neutral_hue="stone")
    blocks = build(app)
    gr.mount_gradio_app(
        host, blocks, "/chat", footer_links=[], run_history=False, show_error=False, max_file_size="1mb", ssr_mode=False, theme=theme, head=HEAD
    )
    return host


@dataclass(frozen=True, slots=True)
class _Parts:
    """The components of the page that change."""

    search: Any
    new: Any
    listing: Any
    account: Any
    transcript: Any
    jobs: Any
    text: Any
    send: Any
    use_documents: Any
    collections: Any
    pending: Any
    here: Any
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
    blocks.queue(api_open=False)
    blocks._queue.sleep_when_free = QUEUE_POLL_S
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
            with gr.Column(elem_id="composer", min_width=0):
                jobs = gr.HTML(elem_id="jobs", js_on_load=ACT)
                with gr.Row(elem_id="entry"):
                    looks: dict[str, Any] = {"show_label": False, "container": False, "lines": 1, "max_lines": 8, "autofocus": True, "scale": 1}
                    text = saying(gr.Textbox, lambda: {"placeholder": _("Ask a question")}, elem_id="text", **looks)
                    send = saying(gr.Button, lambda: {"value": _("Send")}, elem_id="send", variant="primary", min_width=0, scale=0)
                    saying(gr.Button, lambda: {"value": _("Stop")}, elem_id="stop", min_width=0, scale=0)
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
    saying(gr.HTML, lambda: {"value": dialogs.every(addresses=app.settings.url_ingest)}, elem_id="dialogs")
    here, ticking = gr.Textbox(visible=False), gr.Timer(1.0, active=False)
    return _Parts(search, new, listing, account, transcript, jobs, text, send, use_documents, collections, pending, here, ticking, tuple(worded))


def _wired(blocks: gr.Blocks, page: "_Page", parts: _Parts) -> None:
    """What happens when something is clicked or typed. None of it takes Gradio's queue; answers grow over a stream of their own (`growing`)."""
    quick: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    # What these show is HTML and text as it is: Gradio would send each value through a thread to leave it so.
    told: dict[str, Any] = {**quick, "js": HERE, "postprocess": False}
    p = parts
    listing, chosen = [p.here, p.search], [p.pending, p.use_documents, p.collections]
    asked = gr.on([p.send.click, p.text.submit], page.send, [p.here, p.text, *chosen], [p.transcript, p.text], **told)
    asked.then(page.refresh, listing, [p.listing], **told)
    acting = p.transcript.click(page.act, [p.here, *chosen], [p.transcript], **told)
    acting.then(page.refresh, listing, [p.listing], **told)
    ended = p.transcript.end(page.ended, [p.here], [p.transcript], trigger_mode="always_last", **told)
    ended.then(page.refresh, listing, [p.listing], **told)
    p.listing.click(page.choose, listing, [p.listing, p.transcript], **told)
    p.search.input(page.searched, listing, [p.listing], trigger_mode="always_last", **told)
    progress = [p.jobs, p.collections, p.ticking]
    p.jobs.click(page.watch, [p.collections], progress, **quick)
    p.ticking.tick(page.progress, [p.collections], progress, **quick)
    p.use_documents.input(page.prefer, [p.use_documents], None, **quick)
    blocks.load(page.word, None, [w.component for w in p.worded], **quick)
    blocks.load(page.open, None, [p.account, p.listing, p.transcript, p.use_documents, *progress], **quick)
    begun = p.new.click(page.new, None, [p.transcript], **quick)
    begun.then(page.refresh, listing, [p.listing], **told)
    blocks.unload(page.left)


def _brand() -> str:
    return (
        f'<a class="brand" href="/" title="{_("To the start page")}"><img src="/static/hearth.svg" alt="" width="28" height="28">Hearth</a>'
        f'<button type="button" class="icon" data-theme aria-label="{_("Light or dark")}">{icon("theme")}</button>'
    )


def _top_bar() -> str:
    settings, share, helping, talk = _("Settings of this conversation"), _("Share or export"), _("Keyboard and help"), _("Talk to Hearth")
    return (
        f'<button type="button" class="icon" data-toggle="side" aria-label="{_("Conversations")}">{icon("menu")}</button><span class="tools">'
        f'<a class="icon" href="/voice" data-voice aria-label="{talk}" title="{talk}">{icon("voice")}</a>'
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
        f'<button type="button" id="pick" data-dialog="add" aria-label="{named}">{icon("attach")} <span>{named}</span></button>'
        f'<input type="file" id="files" multiple hidden data-max-mb="{max_mb}" accept="{ACCEPTED}">'
    )


def _panel() -> str:
    return f'<button type="button" class="icon" data-close="panel" aria-label="{_("Close the source")}">{icon("close")}</button><div id="source"></div>'


Handler = Callable[..., Awaitable[Any]]


class _Here(msgspec.Struct, frozen=True):
    """What a browser's page shows now: its conversation, the last message of the path, and how many conversations of which tag are listed."""

    conversation: str = ""
    leaf: str = ""
    listed: int = LISTED
    tag: str = ""


class _Search(msgspec.Struct, frozen=True):
    """How a question is searched when it is asked again otherwise."""

    collections: tuple[str, ...]
    top_k: int
    rerank: bool
    rerank_top_k: int


def _otherwise(told: object) -> tuple[RAGQuery | None, tuple[str, ...] | None]:
    """(depth, collections) of a question that is asked again, None for those of the first time. Raises: BadInput."""
    if told is None:
        return None, None
    try:
        chosen = msgspec.convert(told, _Search)
    except msgspec.ValidationError as error:
        raise BadInput("These settings can't be read.", hint="Open them once more and choose again.") from error
    return RAGQuery("", "", chosen.top_k, chosen.rerank, min(chosen.rerank_top_k, chosen.top_k)), chosen.collections


def _here(told: str) -> _Here:
    """Nonsense is an empty page: nothing is found by it that isn't the user's own."""
    try:
        here = msgspec.json.decode(told or "{}", type=_Here)
    except msgspec.DecodeError:
        return _Here()
    return msgspec.structs.replace(here, listed=max(LISTED, here.listed))


def _names(use_documents: bool, collections: list[str]) -> tuple[str, ...]:
    return tuple(collections or ()) if use_documents else ()


def _settings(pending: str) -> ChatSettings:
    """What was chosen in the browser for a conversation that doesn't exist yet. Raises: BadInput."""
    if not pending:
        return ChatSettings()
    try:
        return msgspec.json.decode(pending, type=ChatSettings)
    except msgspec.DecodeError as error:
        raise BadInput("The settings of this conversation can't be read.", hint="Open them and save them again.") from error


def _told_as(title: str) -> Callable[[Handler], Handler]:
    """An error of the core becomes a toast with that title; nothing on the page is lost."""

    def told(handler: Handler) -> Handler:
        @wraps(handler)
        async def wrapped(*args: Any, **given: Any) -> Any:
            try:
                return await handler(*args, **given)
            except HearthError as error:
                raise gr.Error(sentence(error), title=_(title), print_exception=False) from error

        return wrapped

    return told


_told = _told_as(N_("That did not work"))


class _Page:
    """The handlers. Each finds its user by the session cookie."""

    def __init__(self, app: App, words: Sequence[Callable[[], dict[str, str]]]) -> None:
        """words: of the components that say something, as `word` gives them back."""
        self._app, self._words = app, words
        self._looks: dict[str, str] = {}
        """The conversation that each open page looks at, by Gradio's name for the page: what is drawn late must not draw the page back."""
        self._searches: dict[str, str] = {}

    async def _who(self, request: gr.Request) -> SignedIn:
        return await signed_in(self._app, request)

    @_told
    async def word(self, request: gr.Request) -> Any:
        """The words of the page's components in the user's language, when it is loaded; English is there already."""
        await self._who(request)
        return [gr.update(**words()) if language() != "en" else gr.skip() for words in self._words]

    @_told
    async def open(self, request: gr.Request) -> Any:
        """The whole page as it is when it is loaded; ?c= names the open conversation."""
        who, wanted = await self._who(request), request.query_params.get("c", "")
        shown = await self._view(who, wanted)
        jobs, choices, ticking = await self._progress(who, None)
        account, listing = render.account(who.user.username), await self._listing(who, _Here(wanted), "")
        return account, listing, shown, who.user.preferences.enable_rag, jobs, choices, ticking

    async def _view(self, who: SignedIn, conversation: str, at: str = "", limit: int = SHOWN_MESSAGES) -> str:
        """One path of a conversation, with the place of the answer that is being written at its end; an unknown or foreign id gives the empty page."""
        if not is_id(conversation):
            return render.empty()
        try:
            thread = await self._app.chat.thread(who.user, conversation, at=at, limit=limit)
            verdicts = await self._app.chat.feedback(who.user, conversation)
            last = await self._last(who, thread) if thread.messages else ()
        except HearthError:
            return render.empty()
        growing = any(m.status is MessageStatus.GENERATING for m in last)
        pieces = render.thread(replace(thread, messages=thread.messages[:-1]) if growing else thread, verdicts)
        if growing:
            pieces.append(render.followed([m.id for m in last]))
        elif len(last) > 1:
            pieces[-1] = render.beside([render.answer(last[0], (), verdicts.get(last[0].id)), pieces[-1]])
        return "".join(pieces) or render.empty()

    async def _last(self, who: SignedIn, thread: Thread) -> tuple[ChatMessage, ...]:
        """The last message; where two models are asked, after the answer given just before it to the same question."""
        last = thread.messages[-1]
        siblings = thread.branches.get(last.id, ())
        place = siblings.index(last.id) if last.id in siblings else 0
        if last.role != "assistant" or not place or not (await self._app.chat.conversation(who.user, last.conversation_id)).settings.beside:
            return (last,)
        return await self._app.chat.message(who.user, siblings[place - 1]), last

    async def _listing(self, who: SignedIn, at: _Here, search: str) -> str:
        page = await self._app.chat.conversations(who.user, search=search or "", tag=at.tag, limit=at.listed)
        return render.conversations(page.items, at.conversation, search, tag=at.tag, more=bool(page.next_cursor))

    @_told
    async def searched(self, here: str, search: str, request: gr.Request) -> str:
        """The list as it is searched now."""
        self._searches[str(request.session_hash)] = search
        return await self._listing(await self._who(request), msgspec.structs.replace(_here(here), listed=LISTED), search)

    @_told
    async def refresh(self, here: str, search: str, request: gr.Request) -> str:
        """The list on the left. What is searched may have changed since this was asked for."""
        return await self._listing(await self._who(request), _here(here), self._searches.get(str(request.session_hash), search))

    @_told
    async def new(self, request: gr.Request) -> str:
        """An empty page."""
        await self._who(request)
        self._look(request, "")
        return render.empty()

    def _look(self, request: gr.Request, conversation: str) -> None:
        """This page looks at that conversation from now on; an answer that grew on it goes on being written."""
        self._looks[str(request.session_hash)] = conversation

    def left(self, request: gr.Request) -> None:
        """The page was closed."""
        for kept in (self._looks, self._searches):
            kept.pop(str(request.session_hash), None)

    @_told
    async def choose(self, here: str, search: str, request: gr.Request, event: gr.EventData) -> Any:
        """What was clicked in the list: open, rename, pin, delete, a tag or more."""
        at, who = _here(here), await self._who(request)
        data = event._data or {}
        act, wanted = data.get("act"), str(data.get("id", ""))
        said, shown = "", gr.skip()
        if act == "open":
            at = msgspec.structs.replace(at, conversation=wanted)
            self._look(request, wanted)
            shown = await self._view(who, wanted)
        elif act == "rename":
            await self._app.chat.change(who.user, wanted, title=str(data.get("title", "")))
        elif act == "pin":
            await self._app.chat.change(who.user, wanted, pinned=not (await self._app.chat.conversation(who.user, wanted)).pinned)
        elif act == "delete":
            receipt = await self._app.chat.delete(who.user, wanted)
            said = render.notice(_("Deleted"), render.receipt(receipt))
            if not at.conversation:  # the page has left what it deletes
                self._look(request, "")
                shown = render.empty()
        elif act == "tag":
            at = msgspec.structs.replace(at, tag=wanted, listed=LISTED)
        elif act == "more":
            at = msgspec.structs.replace(at, listed=at.listed + LISTED)
        return said + await self._listing(who, at, search), shown

    @_told_as(N_("Not sent"))
    async def send(self, here: str, text: str, pending: str, use_documents: bool, collections: list[str], request: gr.Request) -> Any:
        """Sends a message; its answer grows from then on. What is refused stays in its box."""
        if not text.strip():
            return gr.skip(), gr.skip()
        at = _here(here)
        # What is on the screen is what is answered: a message from another tab in between makes a branch and no confusion.
        parent = at.leaf if at.conversation and at.leaf else None
        message = SendMessage(at.conversation or new_id(), new_id(), MessageContent(text), _names(use_documents, collections), parent_id=parent)
        return await self._sent(request, message, pending), ""

    async def _sent(self, request: gr.Request, message: SendMessage, pending: str = "") -> str:
        """Sends a message, to a second model too if the conversation is set so, and shows the path with the answers' place."""
        who = await self._who(request)
        turn = await self._app.chat.send(who, replace(message, settings=_settings(pending)), detached=True)
        if second := (await self._app.chat.conversation(who.user, message.conversation_id)).settings.beside:
            turn = await self._app.chat.answer_again(who, turn.answer_id, new_id(), model=second)
        self._look(request, turn.conversation_id)
        return await self._view(who, turn.conversation_id, turn.answer_id) + render.sent(message.message_id, turn.conversation_id)

    @_told
    async def act(self, here: str, pending: str, use_documents: bool, collections: list[str], request: gr.Request, event: gr.EventData) -> Any:
        """What was clicked in the transcript."""
        at, data = _here(here), event._data or {}
        act, wanted, text = data.get("act"), str(data.get("id", "")), str(data.get("text", ""))
        names = _names(use_documents, collections)
        if act == "example":
            return await self._sent(request, SendMessage(at.conversation or new_id(), new_id(), MessageContent(text), names), pending)
        who = await self._who(request)
        if act == "edit":
            first = await self._app.chat.message(who.user, wanted)
            return await self._sent(request, SendMessage(at.conversation, new_id(), MessageContent(text), names, parent_id=first.parent_id))
        if act == "continue":
            turn = await self._app.chat.go_on(who, wanted)
            return await self._view(who, turn.conversation_id, turn.answer_id)
        if act == "again":
            rag, chosen = _otherwise(data.get("otherwise"))
            turn = await self._app.chat.answer_again(who, wanted, new_id(), model=str(data.get("model") or "default"), rag=rag, collections=chosen)
            return await self._view(who, turn.conversation_id, turn.answer_id)
        if act == "branch":
            return await self._view(who, at.conversation, wanted)
        if act == "older":
            return await self._view(who, at.conversation, at.leaf, 500)
        return gr.skip()

    @_told
    async def ended(self, here: str, request: gr.Request, event: gr.EventData) -> Any:
        """Answers that grew on the page are whole: the path with all that is known of them."""
        at, data = _here(here), event._data or {}
        shown = await self._view(await self._who(request), at.conversation, str(data.get("id", "")))
        return shown if self._looks.get(str(request.session_hash), at.conversation) == at.conversation else gr.skip()

    @_told
    async def prefer(self, use_documents: bool, request: gr.Request) -> None:
        """Remembers the switch."""
        user = (await self._who(request)).user
        await self._app.users.save_preferences(user, replace(user.preferences, enable_rag=use_documents))

    @_told
    async def watch(self, collections: list[str], request: gr.Request, event: gr.EventData) -> Any:
        """Something was uploaded or changed: show its way. Where it went is searched from now on."""
        added = [str(name) for name in (event._data or {}).get("collections") or []]
        jobs, choices = (await self._progress(await self._who(request), [*collections, *added]))[:2]
        return jobs, choices, gr.Timer(active=True)

    @_told
    async def progress(self, collections: list[str], request: gr.Request) -> Any:
        """The jobs now; the timer stops itself when all are done."""
        return await self._progress(await self._who(request), collections)

    async def _progress(self, who: SignedIn, chosen: list[str] | None) -> tuple[str, Any, Any]:
        """(jobs, collections, timer). Every collection is chosen until somebody chooses."""
        page = await self._app.library.jobs(who.user, limit=8)
        found = await self._app.library.collections(who.user, limit=200)
        names = [c.name for c, _ in found.items]
        kept = names if chosen is None or not chosen else [n for n in names if n in chosen]
        choices = gr.Dropdown(choices=render.collection_choices(found.items), value=kept, visible=bool(names))
        ingesting = sum(counts["ingesting"] for _, counts in found.items)
        paused = bool(ingesting) and await self._app.library.paused(who.user)
        return render.jobs(render.recent(page.items), ingesting, paused=paused), choices, gr.Timer(active=bool(ingesting))
