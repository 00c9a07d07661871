"""The voice room: a recording comes in, is heard, becomes a turn of the chat room's in the same conversation, and the answer is spoken.

A turn is worked on by a task of the room, not of the client: clients follow it, come and go, and find it again by its id. Nothing is stored before something
was understood; from then on it is as safe as any message. Knows no codec and no model; the bytes of sound go through it unopened.
"""

import asyncio
import base64
import hashlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from core.chat.model import ChatMessage, MessageContent, MessageStatus, SendMessage
from core.chat.room import ChatRoom
from core.chat.turn import Finished, SourcesFound, Stage
from core.errors import BadInput, HearthError, NotFound, ServiceBusy, ServiceError, ServiceUnavailable, TooLong
from core.events import Event, EventType
from core.ids import new_id, reply_id
from core.inference import Caller, TextDelta
from core.objects import SOUND
from core.ports import AudioCodec, ObjectStore, Signals, SpokenTurns, Synthesizer, Traces, Transcriber, Usage
from core.rag.library import Library
from core.signals import Signal
from core.traces import NO_TRACES, traced
from core.users.model import NO_QUOTA, Quota, User
from core.users.room import SignedIn, Users
from core.voice.clauses import Clauses, speakable
from core.voice.containers import wav
from core.voice.model import (
    MADE_WAV,
    MAX_SPOKEN_CHARS,
    SPEECH_RATE_HZ,
    AudioChunk,
    AudioData,
    AudioFormat,
    SendVoice,
    SpokenTurn,
    SynthesizedAudio,
    Transcription,
    Voice,
    VoiceRequest,
    VoiceResponse,
    VoiceTiming,
    form_of,
)
from core.voice.sounds import keep
from core.voice.stages import spoken_stages
from core.voice.turn import Answered, Listening, Refused, Speaking, Transcribed, VoiceTurn, VoiceUpdate

log = logging.getLogger(__name__)

OPEN_TURNS_PER_USER = 4
"""A turn holds its sound in memory while it goes on."""
OPEN_TURNS = 100
ALL_COLLECTIONS = 100
STOPPED_WITHIN_S = 2.0
NOTHING_TO_SAY = "The answer is in the text."
REST = " The rest is in the text."
Side = Literal["request", "response"]


@dataclass(slots=True)
class _Progress:
    """What is known of a turn while it goes on. Times are of the monotonic clock, in seconds."""

    begun: float
    turn: VoiceTurn
    request: VoiceRequest
    transcription: Transcription
    conversation_id: str
    keeping: "asyncio.Task[ServiceError | None] | None" = None
    """Keeps the recording meanwhile; None where it was kept before."""
    events: list[Event] = field(default_factory=list)
    timing: VoiceTiming = field(default_factory=VoiceTiming)
    docs_used: int = 0
    spoken: list[str] = field(default_factory=list)
    """The pieces whose sound is there as a whole."""
    sound: bytearray = field(default_factory=bytearray)
    error: str = ""

    def ms(self) -> float:
        """Since the recording came in."""
        return round((time.monotonic() - self.begun) * 1000, 1)


class VoiceRoom:
    """Spoken turns of every user. `async with` ends what goes on when it is left."""

    def __init__(
        self,
        turns: SpokenTurns,
        objects: ObjectStore,
        chat: ChatRoom,
        library: Library,
        users: Users,
        signals: Signals,
        transcriber: Transcriber | None,
        synthesizer: Synthesizer | None,
        codec: AudioCodec | None,
        clock: Callable[[], datetime],
        usage: Usage,
        *,
        max_bytes: int,
        quota: Quota,
        traces: Traces = NO_TRACES,
    ) -> None:
        """transcriber, synthesizer: None where listening or speaking is off.   codec: None where no process of ours opens sound.

        max_bytes: of one recording.   quota: of users who have none of their own.
        """
        self._usage, self._quota, self._traces = usage, quota, traces
        self._turns, self._objects, self._chat, self._library, self._users = turns, objects, chat, library, users
        self._transcriber, self._synthesizer, self._codec, self._clock, self._max_bytes = transcriber, synthesizer, codec, clock, max_bytes
        self._signals = signals
        signals.on(Signal.STOP_SPOKEN, self._end_of)
        signals.on(Signal.STOP_USER, self._end_user)
        self._open: dict[str, VoiceTurn] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> "VoiceRoom":
        """Nothing runs before somebody speaks."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends every turn; what was heard and said so far is kept."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def recording(self, user: User, data: bytes, named: str = "") -> AudioData:
        """What a client sent, in a form that the domain knows: what another recorder made is made WAV. named: what the client says it is, "" for nothing.

        Raises: Unreadable, BadInput for bytes that are no such sound, or another than they are said to be; TooLong; QuotaSpent; ServiceError.
        """
        self._demand_size(data)
        form = form_of(data, named, (*AudioFormat, *(MADE_WAV if self._codec is not None else ())))
        if self._codec is None or form not in MADE_WAV:
            return AudioData(data, AudioFormat(form))
        await self.demand_quota(user)
        return await self._codec.to_wav(data, caller=user.caller)

    async def send(self, who: SignedIn, spoken: SendVoice) -> VoiceTurn:
        """Begins a turn, and gives it at once; it says itself how it goes on. Sending the same again gives the same turn.

        Raises: AlreadyThere for a used id with another recording; TooLong for one that is too large; ServiceBusy; ServiceUnavailable where nobody listens.
        """
        if (turn := self._open.get(spoken.request_id)) is not None and turn.user_id == who.user.id:
            return turn
        self._demand_size(spoken.audio.data)
        self._demand_room(who.user)
        await self.demand_quota(who.user)
        turn = self._open[spoken.request_id] = VoiceTurn(spoken.request_id, who.user.id)
        self._tasks[spoken.request_id] = asyncio.create_task(self._go_through(who, spoken, turn), name=f"voice {spoken.request_id}")
        return turn

    async def answer(self, who: SignedIn, spoken: SendVoice) -> VoiceResponse:
        """A whole turn: the response with its sound. Leaving ends the turn soon after. Raises: what `send` and `transcribe` raise."""
        turn = await self.send(who, spoken)
        async with aclosing(self.follow_or_stop(turn)) as updates:  # type: ignore[type-var]
            async for _ in updates:
                pass
        if isinstance(turn.end, Refused):
            raise turn.end.error
        assert isinstance(turn.end, Answered)
        return await self.with_sound(turn.end.response)

    def follow_or_stop(self, turn: VoiceTurn) -> AsyncIterator[VoiceUpdate]:
        """Follows a turn for a program: when the last such follower leaves before the end, it is ended soon after."""

        def abandoned() -> None:
            if (task := self._tasks.get(turn.request_id)) is not None:
                task.cancel()

        return turn.follow_or(abandoned)

    def open_turn(self, user: User, request_id: str) -> VoiceTurn | None:
        """A turn that still goes on here, to follow it again."""
        turn = self._open.get(request_id)
        return turn if turn is not None and turn.user_id == user.id else None

    async def stop(self, user: User, request_id: str) -> VoiceTurn | None:
        """Ends a turn, wherever it goes on: the model, the voice, and what is waiting. What was spoken is kept. None if it doesn't go on here."""
        turn = self.open_turn(user, request_id)
        if turn is None:
            await self._signals.send(Signal.STOP_SPOKEN, user.id, request_id)
            return None
        task = self._tasks[request_id]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return turn

    def _end_of(self, user_id: str, request_id: str) -> None:
        if (turn := self._open.get(request_id)) is not None and turn.user_id == user_id:
            self._tasks[request_id].cancel()

    def answering_for(self) -> set[str]:
        """The users for whom a turn goes on."""
        return {turn.user_id for turn in self._open.values()}

    async def stop_all(self, user_id: str) -> None:
        """Ends every turn of a user, wherever it goes on."""
        await self._signals.send(Signal.STOP_USER, user_id)

    def _end_user(self, user_id: str) -> None:
        for task in [self._tasks[turn.request_id] for turn in self._open.values() if turn.user_id == user_id]:
            task.cancel()

    async def transcribe(self, user: User, audio: AudioData, language: str = "", *, goes_on: bool = False) -> Transcription:
        """What is said in a recording, or in the beginning of one that goes on, without making a turn of it.

        Raises: as the Transcriber port; ServiceUnavailable where nobody listens.
        """
        self._demand_size(audio.data)
        return await self._listener().transcribe(audio, caller=user.caller, language=language or user.preferences.speech_language, goes_on=goes_on)

    async def hear(self, user: User, audio: AudioData, language: str = "") -> Transcription:
        """What is said in a recording that belongs to no turn; it counts as used. Raises: as `transcribe`; QuotaSpent."""
        await self.demand_quota(user)
        heard = await self.transcribe(user, audio, language)
        await self._usage.add(user.id, self._clock(), requests=1, audio_ms=heard.duration_ms)
        return heard

    async def may_read_out(self, user: User) -> None:
        """A program has a text to be read out, which counts as a request. Raises: QuotaSpent."""
        await self.demand_quota(user)
        await self._usage.add(user.id, self._clock(), requests=1)

    async def demand_quota(self, user: User) -> None:
        """Raises: QuotaSpent if the user may say no more today."""
        quota = user.quota.over(self._quota)
        if quota != NO_QUOTA:
            (await self._usage.on_day(user.id, now := self._clock())).demand(quota, now)

    async def prepare(self, user: User) -> None:
        """Somebody is about to speak. Raises: as the Transcriber port; ServiceUnavailable where nobody listens."""
        await self._listener().prepare(caller=user.caller)

    async def say(self, user: User, text: str, *, voice: str = "", speed: float = 1.0, audio_format: AudioFormat = AudioFormat.WAV) -> SynthesizedAudio:
        """A text as it sounds. voice: "" for the user's own. Raises: as the Synthesizer port; ServiceUnavailable where nobody speaks."""
        chosen = voice or user.preferences.voice_id
        return await self._speaker().synthesize(text, caller=user.caller, voice=chosen, speed=speed, audio_format=audio_format)

    def speak(self, user: User, text: str, *, voice: str = "", speed: float = 1.0) -> AsyncIterator[AudioChunk]:
        """The same as it is made, as raw samples."""
        return self._speaker().speak(text, caller=user.caller, voice=voice or user.preferences.voice_id, speed=speed)

    async def voices(self) -> Sequence[Voice]:
        """Who can speak, the usual one first. Raises: ServiceUnavailable where nobody speaks."""
        return await self._speaker().voices()

    async def turn(self, user: User, request_id: str) -> SpokenTurn:
        """A stored turn, without its sound. Raises: NotFound."""
        return await self._turns.turn_for(user.id, request_id)

    async def sound(self, user: User, request_id: str, side: Side) -> AudioData:
        """The sound of a turn. Raises: NotFound, also once its hour is over."""
        turn = await self._turns.turn_for(user.id, request_id)
        uri, form = turn.request.uri, turn.request.format
        if side == "response":
            uri, form = (turn.response.uri, turn.response.audio_format) if turn.response else ("", AudioFormat.WAV)
        if not uri:
            raise NotFound("The sound is not there any more.", hint="Recordings are kept for an hour, their text for longer.")
        return AudioData(await self._objects.get(uri), form)

    async def with_sound(self, response: VoiceResponse) -> VoiceResponse:
        """The response with its bytes, as a program takes it; without them once they are gone, and while their store is away."""
        if not response.uri or response.audio_b64:
            return response
        with suppress(NotFound, ServiceError):
            return replace(response, audio_b64=base64.b64encode(await self._objects.get(response.uri)).decode())
        return response

    def _listener(self) -> Transcriber:
        if self._transcriber is None:
            raise ServiceUnavailable("Listening is switched off here.", service="stt", hint="Write instead; HEARTH_STT_URL is `off`.")
        return self._transcriber

    def _speaker(self) -> Synthesizer:
        if self._synthesizer is None:
            raise ServiceUnavailable("Speaking is switched off here.", service="tts", hint="The answer is in the text; HEARTH_TTS_URL is `off`.")
        return self._synthesizer

    def _demand_size(self, data: bytes) -> None:
        if len(data) > self._max_bytes:
            raise TooLong(f"A recording may have at most {self._max_bytes // 1_000_000} MB.", hint="Send a shorter one, or raise HEARTH_AUDIO_MAX_MB.")

    def _demand_room(self, user: User) -> None:
        if len(self._open) >= OPEN_TURNS or sum(t.user_id == user.id for t in self._open.values()) >= OPEN_TURNS_PER_USER:
            raise ServiceBusy("Too many recordings are being answered at once.", service="stt", hint="Wait until one is finished.", retry_after_s=2)

    async def _go_through(self, who: SignedIn, spoken: SendVoice, turn: VoiceTurn) -> None:
        """One turn, from the recording to its end, however that comes."""
        try:
            with traced(self._traces, "voice turn", {"gen_ai.conversation.id": spoken.conversation_id, "hearth.message.id": spoken.request_id}) as work:
                progress = await self._heard(who, spoken, turn)
                if progress is not None:
                    await self._answered(who, spoken, progress)
                    work.stages(spoken_stages(progress.timing))
        except asyncio.CancelledError:
            turn.add(Refused(ServiceUnavailable("The turn was ended before anything was understood.", service="stt", hint="Speak again.")))
            raise
        except HearthError as error:
            turn.add(Refused(error))
        except Exception:  # a bug ends this turn and no other
            reference = new_id()[-8:]
            log.exception("voice turn %s failed (%s)", turn.request_id, reference)
            turn.add(Refused(HearthError(f"Something went wrong inside Hearth. Its log names the cause under {reference}.")))
        finally:
            self._open.pop(turn.request_id, None)
            self._tasks.pop(turn.request_id, None)

    async def _heard(self, who: SignedIn, spoken: SendVoice, turn: VoiceTurn) -> _Progress | None:
        """The request as it is stored, with what was said; None where it was answered before, which the turn then has told."""
        begun, now = time.monotonic(), self._clock()
        sha256 = await asyncio.to_thread(lambda: hashlib.sha256(spoken.audio.data).hexdigest())
        stored = await self._stored(who.user, spoken, sha256)
        transcription = stored.transcription if stored is not None else None
        events = [self._event(EventType.VOICE_REQUEST_RECEIVED, who.user, spoken, now, format=spoken.audio.format.value, bytes=len(spoken.audio.data))]
        if transcription is None:
            turn.add(Listening())
            events.append(self._event(EventType.TRANSCRIPTION_STARTED, who.user, spoken, self._clock()))
            transcription = await self.transcribe(who.user, spoken.audio, spoken.language)
            heard = {"model": transcription.model, "duration_ms": transcription.duration_ms, "language": transcription.language}
            events.append(self._event(EventType.TRANSCRIPTION_COMPLETED, who.user, spoken, self._clock(), **heard))
        stt_ms = round((time.monotonic() - begun) * 1000, 1)
        keeping = None
        if stored is None:
            session = (await self._users.voice_session(who)).session
            key = f"{SOUND}{spoken.request_id}.{spoken.audio.format}"
            uri = self._objects.uri(key)
            preferences = who.user.preferences
            request = VoiceRequest(
                spoken.request_id,
                who.user.id,
                "",
                spoken.audio.format,
                spoken.language or preferences.speech_language,
                who.user.premium,
                preferences.enable_rag if spoken.enable_rag is None else spoken.enable_rag,
                conversation_id=spoken.conversation_id,
                session_id=session.id,
                created_at=now,
                uri=uri,
                sha256=sha256,
            )
            stored = await self._turns.accept(SpokenTurn(request, transcription), events)
            # The row first: an object that no row names would never be removed. And beside the answer: nobody waits for a store that is slow or away.
            keeping = asyncio.create_task(keep(self._objects, key, spoken.audio.data))
        turn.add(Transcribed(stored.transcription))
        if stored.response is not None:
            turn.add(TextDelta(stored.response.response_text or NOTHING_TO_SAY))
            turn.add(Answered(stored.response))
            return None
        progress = _Progress(begun, turn, stored.request, stored.transcription, spoken.conversation_id, keeping)
        progress.timing = VoiceTiming(stt_ms=stt_ms)
        return progress

    async def _stored(self, user: User, spoken: SendVoice, sha256: str) -> SpokenTurn | None:
        """The same request from before. Raises: AlreadyThere if the id has another recording."""
        try:
            stored = await self._turns.turn_for(user.id, spoken.request_id)
        except NotFound:
            return None
        return await self._turns.accept(replace(stored, request=replace(stored.request, sha256=sha256, conversation_id=spoken.conversation_id)), [])

    async def _answered(self, who: SignedIn, spoken: SendVoice, progress: _Progress) -> None:
        """The chat room's own turn, spoken, and the response stored; also if it is ended on the way, with what was spoken until then."""
        who = SignedIn(who.user, replace(who.session, id=progress.request.session_id, type="voice"))
        answer_id = reply_id(spoken.request_id)
        interrupted = False
        try:
            message = await self._said(who, spoken, progress)
        except asyncio.CancelledError:
            interrupted, message = True, None
            await self._stopped(who.user, spoken, progress, answer_id)
        except HearthError as error:
            # The request is stored, so it gets its one response: what went wrong, in words.
            message = None
            progress.error = str(error)
        response = await self._stored_response(who.user, spoken, progress, message, interrupted=interrupted)
        progress.turn.add(Answered(response))

    async def _stopped(self, user: User, spoken: SendVoice, progress: _Progress, answer_id: str) -> None:
        """Ends the chat turn inside, and waits until it is final: the response must not be there before its message."""
        chat = await self._chat.open_turn(user, answer_id)
        if chat is None:
            return
        await self._chat.stop(user, answer_id)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOPPED_WITHIN_S):
                async with aclosing(chat.follow()) as updates:  # type: ignore[type-var]
                    async for update in updates:
                        if isinstance(update, Finished):
                            progress.turn.add(update)
                            self._model_events(user, spoken, progress, update.message)

    async def _said(self, who: SignedIn, spoken: SendVoice, progress: _Progress) -> ChatMessage:
        """The answer in text and in sound. Raises: ServiceError if the model gave none."""
        collections = await self._collections(who.user, spoken, progress.request)
        content = MessageContent(progress.transcription.text)
        chat = await self._chat.send(who, SendMessage(spoken.conversation_id, spoken.request_id, content, collections, model=spoken.model), detached=True)
        if spoken.streamed:
            voice = _Voice(self._synthesizer, who.user.caller, spoken.voice or who.user.preferences.voice_id, spoken.speed, progress)
            speaking = asyncio.create_task(voice.run())
            try:
                message = await self._followed(who.user, spoken, progress, chat.follow(), voice)
                voice.end()
                await speaking
            finally:
                speaking.cancel()
                await asyncio.gather(speaking, return_exceptions=True)
        else:
            message = await self._followed(who.user, spoken, progress, chat.follow(), None)
            if message.status is not MessageStatus.FAILED:
                await self._spoken_whole(who.user, spoken, progress, message.content)
        if message.status is MessageStatus.FAILED:
            raise ServiceError(message.metadata.error or "The model gave no answer.", service="llm", hint="Ask again.")
        return message

    async def _followed(self, user: User, spoken: SendVoice, progress: _Progress, updates: AsyncIterator[object], voice: "_Voice | None") -> ChatMessage:
        """Passes on what the chat turn tells, and its words to the voice. Returns the finished answer."""
        tell, started = progress.turn.add, False
        async with aclosing(updates) as following:  # type: ignore[type-var]
            async for update in following:
                if isinstance(update, SourcesFound):
                    progress.docs_used = len({source.document_id for source in update.sources})
                if isinstance(update, Stage | SourcesFound | TextDelta | Finished):
                    tell(update)
                if isinstance(update, TextDelta):
                    if not started:
                        started = True
                        progress.timing = replace(progress.timing, llm_first_token_ms=progress.ms())
                    if voice is not None:
                        voice.feed(update.text)
                if isinstance(update, Finished):
                    self._model_events(user, spoken, progress, update.message)
                    return update.message
        raise ServiceUnavailable("The answer broke off.", service="llm", hint="Ask again.")

    def _model_events(self, user: User, spoken: SendVoice, progress: _Progress, message: ChatMessage) -> None:
        """What happened until the answer was written, at the times it took, in the domain's order."""
        meta, now = message.metadata, self._clock()
        progress.timing = replace(progress.timing, rag_ms=meta.timing.retrieval_ms, llm_ms=progress.ms())
        begun = now - timedelta(milliseconds=meta.latency_ms)
        if meta.retrieval is not None:
            found = {"considered": meta.retrieval.get("considered", 0), "documents": progress.docs_used, "ms": meta.timing.retrieval_ms}
            progress.events.append(self._event(EventType.RAG_QUERY_EXECUTED, user, spoken, begun, **found))
        progress.events.append(self._event(EventType.LLM_INFERENCE_STARTED, user, spoken, begun, model=meta.model_used))
        said = {"message_id": message.id, "status": message.status.value, "first_token_ms": progress.timing.llm_first_token_ms}
        progress.events.append(self._event(EventType.LLM_RESPONSE_GENERATED, user, spoken, now, **said))

    async def _spoken_whole(self, user: User, spoken: SendVoice, progress: _Progress, text: str) -> None:
        """The whole answer as one file; without a voice the text is the answer, and why is said."""
        aloud = cut_to_speak(speakable(text) or NOTHING_TO_SAY)
        progress.turn.add(Speaking(aloud))
        try:
            made = await self.say(user, aloud, voice=spoken.voice, speed=spoken.speed, audio_format=spoken.audio_format)
        except HearthError as error:
            progress.error = f"The answer could not be spoken. {error}"
            return
        progress.timing = replace(progress.timing, first_audio_ms=progress.ms())
        progress.spoken.append(aloud)
        progress.sound += made.audio.data

    async def _stored_response(self, user: User, spoken: SendVoice, progress: _Progress, message: ChatMessage | None, *, interrupted: bool) -> VoiceResponse:
        audio_format = AudioFormat.WAV if spoken.streamed else spoken.audio_format
        sound = bytes(progress.sound)
        if spoken.streamed and sound:
            sound = wav(sound, SPEECH_RATE_HZ)
        said = " ".join(progress.spoken) if interrupted else message.content if message is not None else progress.error
        key = f"{SOUND}{spoken.request_id}-answer.{audio_format}"
        trouble = await progress.keeping if progress.keeping is not None else None
        error = progress.error or str(trouble or "")
        response = VoiceResponse(
            reply_id(spoken.request_id),
            spoken.request_id,
            progress.transcription.text,
            said,
            "",
            audio_format,
            progress.ms(),
            progress.docs_used,
            created_at=self._clock(),
            uri=self._objects.uri(key) if sound and trouble is None else "",
            error=error,
            interrupted=interrupted,
            timing=progress.timing,
        )
        events = list(progress.events)
        if sound:
            told = {"first_audio_ms": progress.timing.first_audio_ms, "bytes": len(sound), "interrupted": interrupted}
            events.append(self._event(EventType.TTS_SYNTHESIS_STARTED, user, spoken, self._clock(), chars=sum(map(len, progress.spoken))))
            events.append(self._event(EventType.AUDIO_RESPONSE_READY, user, spoken, self._clock(), **told))
        response = await self._turns.answer(response, events)
        if sound and trouble is None:
            trouble = await keep(self._objects, key, sound)
        if sound and trouble is not None:  # it can be heard now, and not again
            return replace(response, audio_b64=base64.b64encode(sound).decode(), error=error or str(trouble))
        return response

    async def all_collections(self, user: User) -> tuple[str, ...]:
        """The names of the collections that are read where a speaker names none."""
        return tuple(c.name for c, _ in (await self._library.collections(user, limit=ALL_COLLECTIONS)).items)

    async def _collections(self, user: User, spoken: SendVoice, request: VoiceRequest) -> tuple[str, ...]:
        """What is read for the answer. Raises: NotFound for a name that isn't there."""
        if not request.enable_rag:
            return ()
        for name in spoken.collections:
            await self._library.collection(user, name)
        return spoken.collections or await self.all_collections(user)

    def _event(self, kind: EventType, user: User, spoken: SendVoice, at: datetime, **data: object) -> Event:
        return Event(new_id(), kind, user.id, spoken.request_id, at, {"conversation_id": spoken.conversation_id, **data})


class _Voice:
    """Speaks an answer while it is written: piece after piece in order, one at a time, none left out."""

    def __init__(self, synthesizer: Synthesizer | None, caller: Caller, voice: str, speed: float, progress: _Progress) -> None:
        self._synthesizer, self._caller, self._voice, self._speed, self._progress = synthesizer, caller, voice, speed, progress
        self._clauses = Clauses()
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self._sequence = 0

    def feed(self, text: str) -> None:
        """The next words of the answer."""
        for piece in self._clauses.feed(text):
            self._pieces.put_nowait(piece.text)

    def end(self) -> None:
        """There are no more."""
        for piece in self._clauses.flush():
            self._pieces.put_nowait(piece.text)
        self._pieces.put_nowait(None)

    async def run(self) -> None:
        """Speaks until the end. A voice that fails leaves the text, and says why once."""
        while (piece := await self._pieces.get()) is not None:
            await self._say(piece)
        if not self._progress.spoken and not self._progress.error:
            await self._say(NOTHING_TO_SAY)

    async def _say(self, text: str) -> None:
        progress = self._progress
        if progress.error:
            return
        if self._synthesizer is None:
            progress.error = "Speaking is switched off here. The answer is in the text."
            return
        progress.turn.add(Speaking(text))
        try:
            async with aclosing(self._synthesizer.speak(text, caller=self._caller, voice=self._voice, speed=self._speed)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    if not progress.sound:
                        progress.timing = replace(progress.timing, first_audio_ms=progress.ms())
                    progress.sound += chunk.data
                    progress.turn.add(replace(chunk, sequence=self._sequence))
                    self._sequence += 1
        except BadInput as error:  # a piece without a word that the voice can say; the others go on
            log.info("a piece was not spoken: %s", error)
            return
        except HearthError as error:
            progress.error = f"The answer could not be spoken to its end. {error}"
            return
        progress.spoken.append(text)


def cut_to_speak(text: str) -> str:
    """So much of a text as is spoken at once; what is cut off is said to be in the text."""
    if len(text) <= MAX_SPOKEN_CHARS:
        return text
    room = MAX_SPOKEN_CHARS - len(REST)
    end = max(text.rfind(mark, 0, room) for mark in (". ", "! ", "? "))
    return (text[: end + 1] if end > 0 else text[:room]) + REST
