"""One call as it goes on: frames of the microphone in, messages and sound out.

Drives the turn machine, transcribes what is said, asks the chat room, and reads the answer out clause by clause while it is written. Every message names its
turn, so that nothing of a turn that is over is taken for the next one's.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from core.chat.model import ChatMessage, MessageContent, MessageStatus, SendMessage
from core.chat.room import ChatRoom
from core.chat.turn import Finished, SourcesFound, Stage, Turn, Update
from core.errors import HearthError, NoSpeech, ServiceError, ServiceTimeout, ServiceUnavailable
from core.ids import new_id, reply_id
from core.inference import Samples, TextDelta
from core.ports import Traces
from core.rag.model import Source
from core.traces import NO_TRACES, in_order, traced
from core.users.room import SignedIn
from core.voice.call import FRAME_MS, RULES, Cancel, Dropped, Duck, Effect, FinalWanted, PartialWanted, SpeechStarted, State, TurnEnded, TurnMachine
from core.voice.clauses import Clauses, Segment
from core.voice.stages import STAGES

log = logging.getLogger(__name__)

RATE_HZ = 16_000
FRAME_SAMPLES = RATE_HZ * FRAME_MS // 1000
PIECE_MS = 200
"""Sound goes out in pieces of this length: cancelling is then cheap."""
KEPT_SOUND_MS = 300_000
"""How much of an answer's sound is kept for its hour."""
AHEAD_MS = 10_000
"""How much sound is sent ahead of what has been heard."""
CHAR_MS = 60
"""How long a character takes to say, about; for words whose sound is not all there yet."""
TICK_S = 0.1
FINAL_TIMEOUT_S = 30.0
PLAYBACK_GRACE_S = 3.0
"""How long after its last sound a listener who says nothing counts as having heard it."""
SOURCE_WORDS = {"de": "Quelle"}
"""What is said before the title of a source; "Source" in every other language."""

Hear = Callable[[bytes, bool], Awaitable[str]]
"""The words in samples of 16 bits at 16 kHz, and whether more of them are being said; "" where there are none. Raises: HearthError."""
Speak = Callable[[str], AsyncIterator[bytes]]
"""A text as samples of 16 bits, in pieces of any size, as they are made. Raises: HearthError."""


class Line(Protocol):
    """The way to the listener. Neither blocks; both raise ServiceBusy where the listener is too far behind."""

    def tell(self, kind: str, turn: int, **data: object) -> None:
        """A message of a turn; turn 0 is the call itself."""

    def play(self, turn: int, sequence: int, pcm: bytes) -> None:
        """The next piece of a turn's sound: 16 bits."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What was said in one turn, as it is kept. The id is that of the message it becomes.   pcm: 16 bits, 16 kHz.

    language: as it was chosen, "" for the usual one.   enable_rag: whether documents were to be read.
    """

    request_id: str
    conversation_id: str
    pcm: bytes
    text: str
    language: str
    enable_rag: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What was answered, as far as it was heard.   pcm: 16 bits, at the rate of the call's choices.   latency_ms: by stage."""

    heard: Heard
    text: str
    pcm: bytes
    rate_hz: int
    sources: tuple[Source, ...]
    latency_ms: Mapping[str, float]
    interrupted: bool


class Record(Protocol):
    """Keeps the turns of calls. Both say what to tell the speaker where a turn is kept without its sound."""

    async def heard(self, who: SignedIn, heard: Heard) -> ServiceError | None:
        """Before the answer of it is kept. Raises: HearthError."""

    async def told(self, who: SignedIn, told: Told) -> ServiceError | None:
        """Once, when the turn is over. Raises: HearthError."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the speaker chose; may change between turns.   rate_hz: of the sound that `speak` gives."""

    hear: Hear
    speak: Speak
    rate_hz: int
    collections: tuple[str, ...] = ()
    language: str = ""


@dataclass(slots=True)
class _Said:
    """A segment that is read out, with where its sound begins and ends, in milliseconds of the turn's sound."""

    segment: Segment
    begins_ms: float
    ends_ms: float
    whole: bool = False
    """All of its sound is there."""


@dataclass(slots=True)
class _Answer:
    """An answer while it is made and heard. Times are seconds on the call's clock."""

    turn: int
    ended_at: float
    """When the turn ended, for an answer that is committed."""
    asked: asyncio.Task[str] | str
    """The question, or who is still listening to it."""
    pcm: bytes
    committed: asyncio.Event = field(default_factory=asyncio.Event)
    """It is the listener's turn: until then it is made on the guess that nothing more is said, and nobody is told of it."""
    untold: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    answer_id: str = ""
    drafted: bool = False
    """It was begun before its question was sent."""
    endpoint_ms: float = 0.0
    heard: Heard | None = None
    keeping: asyncio.Task[ServiceError | None] | None = None
    sound: bytearray = field(default_factory=bytearray)
    sending: asyncio.Task[Turn] | None = None
    text: str = ""
    clauses: Clauses = field(default_factory=Clauses)
    segments: asyncio.Queue[Segment | None] = field(default_factory=asyncio.Queue)
    sources: tuple[Source, ...] = ()
    reached_at: dict[str, float] = field(default_factory=dict)
    """When each stage was over: stt, rag, llm_ttft, tts_ttfb."""
    playback_ms: float | None = None
    said: list[_Said] = field(default_factory=list)
    sent_ms: float = 0.0
    heard_ms: float = 0.0
    heard_at: float = 0.0
    written: bool = False
    started: bool = False
    over: bool = False
    voiceless: bool = False
    """The voice has failed: the text is read, not heard."""
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    """The listener has heard more."""

    def reached(self, stage: str, now: float) -> None:
        """A stage is over; the first word on that counts."""
        self.reached_at.setdefault(stage, now)

    @property
    def latency_ms(self) -> dict[str, float]:
        """How long the listener waited for each stage; what was done before the turn ended took nothing."""
        waited, before = dict[str, float](), self.ended_at
        if not isinstance(self.asked, str):
            waited["endpoint"] = self.endpoint_ms
        for stage in STAGES:
            if stage in self.reached_at and (stage != "stt" or waited):
                at = max(before, self.reached_at[stage])
                waited[stage], before = (at - before) * 1000, at
        return waited if self.playback_ms is None else waited | {"playback": self.playback_ms}

    def heard_chars(self, now: float) -> int:
        """How many characters of the text have been heard: whole segments, and of the one that is being played the words whose time has come."""
        if self.voiceless:
            return len(self.text)
        if not self.started:
            return 0
        heard_ms = min(self.sent_ms, self.heard_ms + (now - self.heard_at) * 1000)
        chars = 0
        for said in self.said:
            raw = self.text[chars : said.segment.end]
            ends_ms = said.ends_ms if said.whole else max(said.ends_ms, said.begins_ms + len(raw) * CHAR_MS)
            if heard_ms >= ends_ms:
                chars = said.segment.end
            elif heard_ms > said.begins_ms:
                part = int(len(raw) * (heard_ms - said.begins_ms) / (ends_ms - said.begins_ms))
                return chars + max(raw.rfind(" ", 0, part + 1), 0)
        return chars


class Talk:
    """One call. `async with` runs it: leaving ends what is open and keeps what was heard."""

    def __init__(
        self,
        who: SignedIn,
        chat: ChatRoom,
        activity: Callable[[Samples], float],
        line: Line,
        choices: Choices,
        record: Record,
        *,
        prepare: Callable[[], Awaitable[None]] | None = None,
        conversation_id: str = "",
        clock: Callable[[], float] = time.monotonic,
        traces: Traces = NO_TRACES,
    ) -> None:
        """activity: the probability in [0, 1] that the next 512 samples at 16 kHz are speech; it remembers those before.

        prepare: says that somebody is about to speak.
        """
        self._who, self._chat, self._activity, self._line, self._clock = who, chat, activity, line, clock
        self._record, self._prepare, self._traces = record, prepare, traces
        self.choices = choices
        self.conversation_id = conversation_id or new_id()
        self._machine = TurnMachine(clock)
        self._turn = 0
        self._rest = b""
        self._frames: list[bytes] = []
        self._first_kept = 0
        """The number of the first frame that is kept."""
        self._silent_frames = 0
        """How many there were since the last one with speech."""
        self._shown: State | None = None
        self._partial: asyncio.Task[None] | None = None
        self._final: asyncio.Task[str] | None = None
        self._answer: _Answer | None = None
        self._answering: asyncio.Task[None] | None = None
        self._ahead: tuple[_Answer, asyncio.Task[None]] | None = None
        """An answer on the guess that all has been said, until the turn ends or speech goes on."""
        self._final_pcm = b""
        self._unsent: list[tuple[asyncio.Task[str], bytes]] = []
        """What was said before the speaker went on, sooner than it was understood: it belongs to what is said then."""
        self._next_partial_at = 0.0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closing: set[asyncio.Task[Any]] = set()
        """What must be done also after the listener is gone."""

    async def __aenter__(self) -> Self:
        """Starts the watch over what takes too long."""
        self._spawn(self._ticking())
        if self._prepare is not None:
            self._spawn(self._prepared(self._prepare))
        self._show()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """The listener is gone: an answer that was being read out ends where it was heard, as if they had interrupted it."""
        answer, self._answer = self._answer, None
        self._forget_ahead()
        if answer is not None:
            self._spawn(self._close(answer, answer.heard_chars(self._clock())), self._closing)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*self._closing, return_exceptions=True)

    @property
    def state(self) -> State:
        """What is shown."""
        return self._machine.state

    def hear(self, pcm: bytes) -> None:
        """Sound of the microphone: 16 bits, 16 kHz, mono, any length."""
        self._rest += pcm
        size = FRAME_SAMPLES * 2
        while len(self._rest) >= size:
            frame, self._rest = self._rest[:size], self._rest[size:]
            self._frames.append(frame)
            probability = self._activity(np.frombuffer(frame, "<i2"))
            self._silent_frames = 0 if probability >= RULES.ends_below else self._silent_frames + 1
            if not self._silent_frames:
                self._forget_ahead()
            self._do(self._machine.hear(probability))
            forget = self._machine.needed_from - self._first_kept
            if forget > 0:
                del self._frames[:forget]
                self._first_kept += forget

    def commit(self) -> None:
        """That was all: a key was released."""
        self._do(self._machine.commit())

    def mute(self) -> None:
        """No more sound comes for a while."""
        self._do(self._machine.mute())

    def cancel(self) -> None:
        """The listener wants no more of the answer."""
        self._do(self._machine.cancel())

    def type(self, text: str) -> None:
        """A question in writing; it interrupts like one that is said."""
        self._do([*self._machine.mute(), *self._machine.cancel()])
        self._turn += 1
        self._begin(self._turn, text.strip())

    def started(self, turn: int, after_ms: float) -> None:
        """The first sound of a turn is heard now, so long after it came."""
        answer = self._answer
        if answer is not None and answer.turn == turn and not answer.started:
            answer.started, answer.heard_at, answer.playback_ms = True, self._clock(), after_ms
            self._do(self._machine.playing())

    def played(self, turn: int, heard_ms: float, *, over: bool) -> None:
        """How much of a turn's sound has been heard; `over`: all of it."""
        answer = self._answer
        if answer is not None and answer.turn == turn and heard_ms >= answer.heard_ms:
            answer.heard_ms, answer.heard_at, answer.over = min(heard_ms, answer.sent_ms), self._clock(), over
            answer.moved.set()

    # What the machine wants

    def _do(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case SpeechStarted():
                    self._turn += 1
                    self._line.tell("input_audio_buffer.speech_started", self._turn)
                case PartialWanted(first, last):
                    if (self._partial is None or self._partial.done()) and self._clock() >= self._next_partial_at:
                        self._partial = self._spawn(self._hear_partial(self._turn, self._said(first, last)))
                case FinalWanted(first, last):
                    self._stop_hearing()
                    self._final_pcm = self._said(first, last)
                    self._final = self._spawn(self._hear_final(self._final_pcm))
                case TurnEnded():
                    self._line.tell("input_audio_buffer.speech_stopped", self._turn)
                    self._take_turn()
                case Dropped():
                    self._stop_hearing()
                    self._line.tell("input_audio_buffer.dropped", self._turn)
                case Duck(on):
                    self._line.tell("response.duck", self._answer.turn if self._answer else 0, on=on)
                case Cancel():
                    self._interrupt()
        self._show()

    def _show(self) -> None:
        if self._shown is not self._machine.state:
            self._shown = self._machine.state
            self._line.tell("session.state", 0, state=self._shown.value)

    def _said(self, first: int, last: int) -> bytes:
        return b"".join(self._frames[first - self._first_kept : last + 1 - self._first_kept])

    def _trouble(self, turn: int, error: HearthError) -> None:
        self._line.tell("error", turn, what=error.message, do=error.hint, aloud=isinstance(error, NoSpeech))

    async def _prepared(self, prepare: Callable[[], Awaitable[None]]) -> None:
        with suppress(HearthError):  # the first words will say what is wrong
            await prepare()

    async def _ticking(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._do(self._machine.tick())

    def _spawn(self, work: Coroutine[Any, Any, Any], among: set[asyncio.Task[Any]] | None = None) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        (self._tasks if among is None else among).add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._closing.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, HearthError | TimeoutError):
            reference = new_id()[-8:]
            log.error("a call stumbled (%s)", reference, exc_info=error)
            self._trouble(0, HearthError(f"Something went wrong inside Hearth. Its log names the cause under {reference}."))

    # What is heard

    def _stop_hearing(self) -> None:
        self._forget_ahead()
        for task in (self._partial, self._final):
            if task is not None:
                task.cancel()
        self._partial = self._final = None

    async def _hear_partial(self, turn: int, pcm: bytes) -> None:
        begun_at = self._clock()
        with suppress(HearthError):  # the final text says what is wrong
            text = await self.choices.hear(pcm, True)
            # A slow transcriber rests as long as it worked: the final text must not wait for it.
            self._next_partial_at = 2 * self._clock() - begun_at
            if _has_word(text) and turn == self._turn:
                self._line.tell("input_audio_transcription.delta", turn, text=text)
                self._do(self._machine.word())

    async def _hear_final(self, pcm: bytes) -> str:
        """The final text. Where an interruption waits for it, it decides, once this task is over."""
        final, word = asyncio.current_task(), False
        assert final is not None
        try:
            async with asyncio.timeout(FINAL_TIMEOUT_S):
                text = await self.choices.hear(pcm, False)
            word = _has_word(text)
            return text
        finally:
            asyncio.get_running_loop().call_soon(self._decided, final, word)

    def _decided(self, final: asyncio.Task[str], word: bool) -> None:
        if self._final is not final:
            return
        self._do(self._machine.word() if word else self._machine.nothing_said())
        if word and self._final is final and self._silent_frames and self._answer is None and not self._unsent:
            ahead = _Answer(self._turn, self._clock(), final, self._final_pcm)
            self._ahead = ahead, self._spawn(self._respond(ahead))

    # How it is answered

    def _begin(self, turn: int, asked: asyncio.Task[str] | str, pcm: bytes = b"") -> None:
        answer = _Answer(turn, self._clock(), asked, pcm)
        self._commit(answer, self._spawn(self._respond(answer)))

    def _take_turn(self) -> None:
        """All has been said: the answer that was begun ahead is taken, or one is begun now."""
        assert self._final is not None
        final, self._final = self._final, None
        if self._ahead is not None and self._ahead[0].asked is final:
            (answer, answering), self._ahead = self._ahead, None
            self._commit(answer, answering)
        else:
            self._begin(self._turn, final, self._final_pcm)

    def _commit(self, answer: _Answer, answering: asyncio.Task[None]) -> None:
        """It is the listener's turn now."""
        self._machine.thinking()
        self._answer, self._answering = answer, answering
        answer.ended_at, answer.endpoint_ms = self._clock(), self._silent_frames * FRAME_MS
        for kind, data in answer.untold:
            self._line.tell(kind, answer.turn, **data)
        answer.committed.set()
        self._show()

    def _forget_ahead(self) -> None:
        """Speech goes on, or there was none: what was begun on the guess that it was over is dropped, and nothing is left of it."""
        if self._ahead is None:
            return
        (answer, answering), self._ahead = self._ahead, None
        answering.cancel()
        if answer.sending is not None:
            answer.sending.cancel()
        if answer.drafted:
            self._chat.drop_draft(answer.answer_id)

    def _tell(self, answer: _Answer, kind: str, **data: object) -> None:
        """Tells the listener of an answer, once it is their turn."""
        if answer.committed.is_set():
            self._line.tell(kind, answer.turn, **data)
        else:
            answer.untold.append((kind, data))

    async def _question(self, answer: _Answer) -> str:
        """What was asked, with what was said just before it."""
        before = await asyncio.gather(*(asyncio.shield(task) for task, _ in self._unsent), return_exceptions=True)
        text = answer.asked if isinstance(answer.asked, str) else await asyncio.shield(answer.asked)
        answer.pcm = b"".join((*(pcm for _, pcm in self._unsent), answer.pcm))
        self._unsent.clear()
        return " ".join(part for part in (*before, text) if isinstance(part, str) and part)

    async def _respond(self, answer: _Answer) -> None:
        """One turn, traced from the last word said on."""
        silent_ms = 0.0 if isinstance(answer.asked, str) else self._silent_frames * FRAME_MS
        with traced(self._traces, "voice turn", {"gen_ai.conversation.id": self.conversation_id}, ago_ms=silent_ms) as work:
            try:
                await self._responded(answer)
            finally:
                if answer.committed.is_set():
                    work.stages(in_order(answer.latency_ms.items()))

    async def _responded(self, answer: _Answer) -> None:
        """One turn from its text to the last sound of its answer; whatever goes wrong is told, and the microphone has the floor again."""
        speaking: asyncio.Task[None] | None = None
        try:
            text = await self._question(answer)
            if not _has_word(text):
                await answer.committed.wait()
                self._trouble(answer.turn, NoSpeech("I heard no words.", hint="Say it again, a little closer to the microphone."))
                return
            answer.reached("stt", self._clock())
            self._tell(answer, "input_audio_transcription.completed", text=text)
            request = SendMessage(self.conversation_id, new_id(), MessageContent(text), self.choices.collections, read_out=True)
            answer.answer_id = reply_id(request.message_id)
            if not answer.committed.is_set():
                answer.drafted = True
                turn = await self._chat.draft(self._who, request)
            answer.sending = asyncio.create_task(self._send(answer, request))
            speaking = self._spawn(self._read_out(answer))
            if not answer.drafted:
                turn = await asyncio.shield(answer.sending)
            async with aclosing(turn.follow()) as updates:  # type: ignore[type-var]
                async for update in updates:
                    self._updated(answer, update)
                    if not answer.written and (update == Stage("speaking") or isinstance(update, Finished)):
                        answer.written = True
                        self._say(answer, [*answer.clauses.flush(), *self._named_sources(answer), None])
                        await speaking
                        await self._heard_out(answer)
                        await asyncio.shield(answer.sending)  # a short answer may be heard before its question is stored
                        await self._chat.heard(self._who.user, turn.answer_id)
            self._concluded(answer, turn.answer)
            self._spawn(self._keep(answer, turn.answer.content, interrupted=False), self._closing)
        except TimeoutError:
            await answer.committed.wait()
            self._trouble(answer.turn, ServiceTimeout("Your words could not be understood in time.", service="stt", hint="Say it again, or type it."))
        except HearthError as error:
            await answer.committed.wait()
            self._trouble(answer.turn, error)
        finally:
            if speaking is not None:
                speaking.cancel()
            if self._answer is answer:
                self._answer = None
                self._do(self._machine.answered())

    async def _send(self, answer: _Answer, request: SendMessage) -> Turn:
        """Sends the question once it is the listener's turn: from here on it is kept, with its sound. What was drafted is taken over."""
        await answer.committed.wait()
        if answer.pcm:
            chosen = self.choices
            answer.heard = Heard(request.message_id, self.conversation_id, answer.pcm, request.content.text, chosen.language, bool(chosen.collections))
            answer.keeping = asyncio.create_task(self._record.heard(self._who, answer.heard))
        try:
            return await self._chat.send(self._who, request)
        except HearthError as error:
            if answer.drafted:  # its answer is followed already, and would never end
                self._chat.drop_draft(answer.answer_id)
                self._trouble(answer.turn, error)
                if self._answer is answer and self._answering is not None:
                    self._answering.cancel()
            raise

    def _say(self, answer: _Answer, segments: Sequence[Segment | None]) -> None:
        for segment in segments:
            answer.segments.put_nowait(segment)

    def _updated(self, answer: _Answer, update: Update) -> None:
        """Tells the listener what has come of the answer, and gives what can be said to the voice."""
        now = self._clock()
        if isinstance(update, TextDelta):
            answer.reached("llm_ttft", now)
            answer.text += update.text
            self._tell(answer, "response.text.delta", text=update.text)
            self._say(answer, answer.clauses.feed(update.text))
        elif update == Stage("model") and self.choices.collections:
            answer.reached("rag", now)
        elif isinstance(update, SourcesFound):
            answer.sources = update.sources
            answer.reached("rag", now)
            found = [
                {"number": s.number, "title": s.title, "page": s.page, "document_id": s.document_id, "chunk_id": s.chunk_id, "quote": s.quote}
                for s in update.sources
            ]
            self._tell(answer, "rag.completed", sources=found)

    def _named_sources(self, answer: _Answer) -> list[Segment]:
        """The sources that the answer cites, by title, as they are said."""
        titles = list(dict.fromkeys(s.title for s in answer.sources if f"[{s.number}]" in answer.text))
        return [Segment(f"{SOURCE_WORDS.get(self.choices.language[:2], 'Source')}: {', '.join(titles)}.", len(answer.text))] if titles else []

    async def _read_out(self, answer: _Answer) -> None:
        """Speaks the segments in their order, each while the next is being written. A voice that fails is told once; the text goes on."""
        piece_bytes, sequence = self.choices.rate_hz * PIECE_MS // 1000 * 2, 0
        while (segment := await answer.segments.get()) is not None:
            said = _Said(segment, answer.sent_ms, answer.sent_ms)
            answer.said.append(said)
            try:
                async with aclosing(self.choices.speak(segment.text)) as sound:  # type: ignore[type-var]
                    async for pcm in sound:
                        answer.reached("tts_ttfb", self._clock())
                        await answer.committed.wait()
                        for at in range(0, len(pcm), piece_bytes):
                            self._sound(answer, sequence, pcm[at : at + piece_bytes])
                            sequence += 1
                        said.ends_ms = answer.sent_ms
                        await self._not_too_far(answer)
                said.whole = True
            except HearthError as error:
                answer.voiceless = True
                await answer.committed.wait()
                self._trouble(0, ServiceUnavailable(f"The voice is not available: {error.message}", hint="The answer goes on in writing."))
                break
        if sequence:
            self._line.tell("response.audio.done", answer.turn)

    def _sound(self, answer: _Answer, sequence: int, pcm: bytes) -> None:
        """Sends one piece, unless the answer was interrupted: its task may not know that yet."""
        if self._answer is not answer:
            return
        if not sequence:
            self._line.tell("response.audio.start", answer.turn, rate=self.choices.rate_hz)
        self._line.play(answer.turn, sequence, pcm)
        answer.sent_ms += len(pcm) / 2 / self.choices.rate_hz * 1000
        if answer.sent_ms <= KEPT_SOUND_MS:
            answer.sound += pcm

    async def _not_too_far(self, answer: _Answer) -> None:
        """Waits while so much sound is under way that cancelling would waste it. A listener who says nothing is taken to listen."""
        while answer.sent_ms - answer.heard_ms > AHEAD_MS:
            answer.moved.clear()
            try:
                async with asyncio.timeout(AHEAD_MS / 1000):
                    await answer.moved.wait()
            except TimeoutError:
                return

    async def _heard_out(self, answer: _Answer) -> None:
        """Waits until the last sound has been heard."""
        with suppress(TimeoutError):
            async with asyncio.timeout((answer.sent_ms - answer.heard_ms) / 1000 + PLAYBACK_GRACE_S):
                while answer.sent_ms and not answer.over:
                    answer.moved.clear()
                    await answer.moved.wait()

    def _concluded(self, answer: _Answer, message: ChatMessage) -> None:
        if message.metadata.error:
            self._trouble(0, HearthError(message.metadata.error, hint="Ask again."))
        latency = {stage: round(ms, 1) for stage, ms in answer.latency_ms.items()}
        self._line.tell("response.done", answer.turn, text=message.content, answer_id=message.id, latency=latency)

    def _interrupt(self) -> None:
        """Model, voice and playback end at once; what was heard until now is what is kept."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        if self._answering is not None:
            self._answering.cancel()
        if answer.sending is None and not isinstance(answer.asked, str):
            self._unsent.append((answer.asked, answer.pcm))
            self._line.tell("input_audio_buffer.dropped", answer.turn)
            return
        chars = answer.heard_chars(self._clock())
        self._line.tell("response.cancelled", answer.turn, spoken=answer.text[:chars].rstrip(), answer_id=answer.answer_id)
        self._spawn(self._close(answer, chars), self._closing)

    async def _close(self, answer: _Answer, chars: int) -> None:
        """Says to the chat room how much of an answer was heard; over when that is kept."""
        if answer.sending is not None:
            with suppress(HearthError):
                turn = await answer.sending
                await self._chat.heard(self._who.user, turn.answer_id, chars)
                del answer.sound[int(answer.heard_ms * self.choices.rate_hz / 1000) * 2 :]
                await self._keep(answer, answer.text[:chars].rstrip(), interrupted=turn.answer.status is not MessageStatus.COMPLETE)

    async def _keep(self, answer: _Answer, text: str, *, interrupted: bool) -> None:
        """Keeps the turn, if it was a spoken one."""
        if answer.heard is None or answer.keeping is None:
            return
        trouble = await answer.keeping
        told = Told(answer.heard, text, bytes(answer.sound), self.choices.rate_hz, answer.sources, answer.latency_ms, interrupted)
        trouble = await self._record.told(self._who, told) or trouble
        if trouble is not None:
            self._trouble(0, trouble)


def _has_word(text: str) -> bool:
    return any(c.isalnum() for c in text)
