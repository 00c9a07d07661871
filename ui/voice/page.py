"""The voice page: push-to-talk over Gradio's own recorder; the frame of a call, whose life is in static/voice.js and `ui.voice.call`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from html import escape
from typing import Any
from urllib.parse import urlencode

import anyio
import gradio as gr
from fastapi import FastAPI

from core.app import App
from core.chat.turn import SourcesFound
from core.errors import HearthError, NoSpeech
from core.ids import is_id, new_id
from core.inference import TextDelta
from core.rag.model import Source
from core.users.model import Preferences
from core.users.room import SignedIn
from core.voice.model import AudioData, SendVoice, Voice
from core.voice.turn import Answered, Refused, Transcribed
from ui.errors import sentence
from ui.gate import signed_in
from ui.icons import icon
from ui.words import N_, _

QUEUE_POLL_S = 0.01
SHOWN_EVERY_S = 0.08
HEAD = """<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<link rel="icon" href="/static/hearth.svg" type="image/svg+xml"><link rel="stylesheet" href="/static/voice.css">
<script src="/words.js"></script><script src="/static/voice.js" defer></script>"""
SPEEDS = (("0.8", N_("Slower")), ("1", N_("Usual speed")), ("1.25", N_("Faster")), ("1.5", N_("Fast")))
LANGUAGES = (("", N_("Any language")), ("en", N_("English")), ("de", N_("German")))


def mount(host: FastAPI, app: App) -> None:
    """Puts the page at /voice."""
    theme = gr.themes.Base(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"], primary_hue="orange", neutral_hue="stone")
    size = f"{app.settings.audio_max_mb}mb"
    gr.mount_gradio_app(
        host, build(app), "/voice", footer_links=[], run_history=False, show_error=True, max_file_size=size, ssr_mode=False, theme=theme, head=HEAD
    )


def build(app: App) -> gr.Blocks:
    """The page over an opened house."""
    page = _Page(app)
    told: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    with gr.Blocks(analytics_enabled=False, title="Hearth", fill_width=True, fill_height=True, delete_cache=(60, 60)) as blocks:
        with gr.Column(elem_id="voice"):
            top = gr.HTML(elem_id="voice-top")
            gr.HTML('<div id="voice-trouble" role="alert" hidden></div>')
            with gr.Column(elem_id="voice-scroll", min_width=0):
                empty = gr.HTML(elem_id="voice-empty")
                gr.HTML('<div id="voice-turns" aria-live="polite"></div>', elem_id="voice-call-turns")
                talk = gr.HTML(elem_id="talk-turn")
            controls = gr.HTML(elem_id="voice-controls")
            with gr.Column(elem_id="talk-controls", min_width=0):
                recording = gr.Audio(sources=["microphone", "upload"], type="filepath", format=None, show_label=False, elem_id="talk-audio")
        conversation, choices = gr.State(""), gr.Textbox(elem_id="talk-choices", visible="hidden")
        blocks.load(page.open, None, [top, empty, controls], queue=False, **told)
        chosen = "(recording, conversation) => [recording, window.hearthVoice.conversation() || conversation, window.hearthVoice.choices()]"
        recorded = [recording.stop_recording, recording.upload]
        heard = gr.on(recorded, page.talk, [recording, conversation, choices], [talk, conversation], js=chosen, concurrency_limit=None, **told)
        heard.then(lambda: None, None, [recording], queue=False, **told)
    blocks.queue(default_concurrency_limit=None, api_open=False)
    blocks._queue.sleep_when_free = QUEUE_POLL_S
    # Admission is the core's.
    blocks._queue.max_thread_count = 2 * app.settings.open_answers
    return blocks


def _empty() -> str:
    kept = _("Call and speak as you would on the telephone, or record a question. Recordings are kept for one hour, the words as long as your messages.")
    return f'<div class="empty"><span class="sign">{icon("voice")}</span><h2>{_("Talk to Hearth")}</h2><p>{kept}</p></div>'


def _controls() -> str:
    """What a call is begun, steered and ended with; static/voice.js keeps it true."""
    mute, typed = _("M; while muted, hold the space bar to talk"), _("Or type here")
    return f"""<div id="voice-now"><div id="voice-orb" aria-hidden="true"></div><div class="now"><b id="voice-state" role="status">{_("Not in a call")}</b>
<meter id="voice-level" min="0" max="1" value="0" aria-label="{_("Level of the microphone")}"></meter></div><div class="buttons">
<button type="button" id="voice-call" class="primary" aria-pressed="false">{icon("voice")}<span>{_("Call")}</span></button>
<button type="button" id="voice-mute" class="quiet" aria-pressed="false" disabled title="{mute}">{icon("muted")}<span>{_("Mute")}</span></button>
<button type="button" id="voice-stop" class="quiet" disabled title="Esc">{icon("stop")}<span>{_("Stop")}</span></button></div></div>
<form id="voice-typing"><input name="text" autocomplete="off" placeholder="{typed}" aria-label="{typed}"><button class="quiet">{_("Send")}</button></form>"""


def _top(preferences: Preferences, voices: Sequence[Voice]) -> str:
    """Where one is, and how one wants to be heard and answered."""
    named = [("", _("Usual voice")), *((v.id, f"{v.id} ({v.language})") for v in voices)]
    checked = " checked" if preferences.enable_rag else ""
    return (
        f'<a class="brand" href="/" title="{_("To the start page")}"><img src="/static/hearth.svg" alt="" width="28" height="28"><span>Hearth</span></a>'
        f'<div class="modes" role="tablist"><button type="button" role="tab" data-mode="call">{_("Call")}</button>'
        f'<button type="button" role="tab" data-mode="talk">{_("Push to talk")}</button></div>'
        f'<div id="voice-choices">{_select("voice", _("Voice"), named, preferences.voice_id)}'
        f"{_select('speed', _('Speed'), [(value, _(text)) for value, text in SPEEDS], '1')}"
        f"{_select('language', _('Spoken language'), [(value, _(text)) for value, text in LANGUAGES], preferences.speech_language)}"
        f'<label class="check"><input type="checkbox" id="voice-documents"{checked}>{_("Use my documents")}</label></div>'
        f'<nav><a id="voice-to-chat" href="/chat" class="icon" title="{_("To the chat")}" aria-label="{_("To the chat")}">{icon("chat")}</a>'
        f'<button type="button" class="icon" data-theme aria-label="{_("Light or dark")}">{icon("theme")}</button></nav>'
    )


def _select(name: str, label: str, options: Sequence[tuple[str, str]], chosen: str) -> str:
    made = "".join(f'<option value="{escape(v)}"{" selected" if v == chosen else ""}>{escape(text)}</option>' for v, text in options)
    return f'<label><span class="unseen">{label}</span><select id="voice-{name}" aria-label="{label}">{made}</select></label>'


class _Page:
    """The handlers. Each finds its user by the session cookie."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def _who(self, request: gr.Request) -> SignedIn:
        return await signed_in(self._app, request)

    async def open(self, request: gr.Request) -> tuple[str, str, str]:
        """The page as it is when it is loaded."""
        try:
            who = await self._who(request)
        except HearthError as error:
            raise gr.Error(sentence(error), print_exception=False) from error
        voices: Sequence[Voice] = ()
        try:
            voices = await self._app.voice.voices()
        except HearthError:
            pass  # the first answer says what is wrong
        return _top(who.user.preferences, voices), _empty(), _controls()

    async def talk(self, recording: str | None, conversation: str, choices: str, request: gr.Request) -> AsyncIterator[tuple[Any, str]]:
        """One recorded question: its words, then the answer as it grows. Its sound comes from our own route, and begins with the first clause."""
        if not recording:
            return
        conversation = conversation if is_id(conversation) else new_id()
        try:
            who = await self._who(request)
            spoken = _spoken(await self._app.voice.recording(who.user, await _taken(recording)), conversation, choices)
            turn = await self._app.voice.send(who, spoken)
            said, text, error, due = "", "", "", 0.0
            sources: tuple[Source, ...] = ()
            async with aclosing(turn.follow()) as updates:  # type: ignore[type-var]
                async for update in updates:
                    if isinstance(update, Transcribed):
                        said = update.transcription.text
                    elif isinstance(update, TextDelta):
                        text += update.text
                    elif isinstance(update, SourcesFound):
                        sources = update.sources
                    elif isinstance(update, Answered):
                        error = update.response.error
                    elif isinstance(update, Refused):
                        raise update.error
                    if (now := anyio.current_time()) >= due or isinstance(update, Answered):
                        due = now + SHOWN_EVERY_S
                        yield _turn(said, text, sources, spoken.request_id, whole=isinstance(update, Answered), error=error), conversation
        except HearthError as error:
            yield _turn("", "", (), "", whole=True, error=sentence(error), aloud=isinstance(error, NoSpeech)), conversation


async def _taken(path: str) -> bytes:
    """The recording out of Gradio's cache, which every user can read: it is gone from there once this returns."""
    file = anyio.Path(path)
    try:
        return await file.read_bytes()
    finally:
        await file.unlink(missing_ok=True)


def _spoken(audio: AudioData, conversation: str, choices: str) -> SendVoice:
    """What is sent: the recording, as the choices at the top of the page say. Raises: BadInput."""
    chosen = dict(pair.partition("=")[::2] for pair in choices.split("&"))
    speed = next((float(value) for value, _text in SPEEDS if value == chosen.get("speed")), 1.0)
    language, voice, documents = chosen.get("language", ""), chosen.get("voice", ""), bool(chosen.get("documents"))
    return SendVoice(new_id(), conversation, audio, language=language, enable_rag=documents, voice=voice, speed=speed, streamed=True)


def _turn(said: str, text: str, sources: tuple[Source, ...], request_id: str, *, whole: bool, error: str = "", aloud: bool = False) -> str:
    """One turn as HTML, with the addresses of the answer's sound: while it is spoken, which the browser then plays, and afterwards.

    aloud: the browser says the error too.
    """
    chips = f'<div class="chips">{"".join(map(_chip, sources))}</div>' if sources else ""
    replayed = f'<button type="button" class="quiet replay" data-speak-again="/files/voice/{request_id}/response">{_("Play again")}</button>'
    told = f' data-aloud="{new_id()}"' if aloud else ""
    trouble = f'<div class="trouble"{told}>{escape(error)}</div>' if error else ""
    below = f'<div class="below">{chips}{replayed if whole and text else ""}{trouble}</div>'
    answer = f'<div class="text">{escape(text) or ("" if whole else _("Thinking …"))}</div>{below}'
    mine = f'<div class="message mine"><div class="said">{escape(said)}</div></div>' if said else ""
    speech = f"/voice/turns/{request_id}/speech" if said else ""
    return f'<article class="turn" data-speech="{speech}">{mine}<div class="message theirs">{answer}</div></article>'


def _chip(s: Source) -> str:
    address = escape(f"/documents/{s.document_id}?{urlencode({'chunk': s.chunk_id})}#passage")
    title = escape(s.title) + (_(", page {page}", page=s.page) if s.page else "")
    return f'<a class="chip" target="_blank" title="{escape(s.quote)}" href="{address}"><b>{s.number}</b><span>{title}</span></a>'
