"""Opens calls, and keeps their turns as any spoken turn is kept: how a speaker's wishes become ears and a voice, and what is stored of what they said."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import accumulate

from core.chat.room import ChatRoom
from core.errors import NoSpeech, ServiceError
from core.events import Event, EventType
from core.ids import new_id, reply_id
from core.objects import SOUND
from core.ports import ObjectStore, SpokenTurns, Traces, VoiceActivity
from core.traces import NO_TRACES
from core.users.model import User
from core.users.room import SignedIn, Users
from core.voice.containers import wav
from core.voice.model import SPEECH_RATE_HZ, AudioData, AudioFormat, SpokenTurn, Transcription, VoiceRequest, VoiceResponse, VoiceTiming
from core.voice.room import VoiceRoom
from core.voice.sounds import keep
from core.voice.stages import STAGES
from core.voice.talk import RATE_HZ, Choices, Heard, Line, Talk, Told

SpokenEvent = tuple[EventType, dict[str, object]]


@dataclass(frozen=True, slots=True)
class Wishes:
    """How a speaker wants to be heard and answered. "" and 1.0 are the usual voice, language and speed."""

    voice: str = ""
    speed: float = 1.0
    language: str = ""
    enable_rag: bool = False


class Calls:
    """Calls of every user. Keeps their turns."""

    def __init__(
        self,
        chat: ChatRoom,
        voice: VoiceRoom,
        users: Users,
        turns: SpokenTurns,
        objects: ObjectStore,
        activity: Callable[[], Awaitable[VoiceActivity]],
        clock: Callable[[], datetime],
        traces: Traces = NO_TRACES,
    ) -> None:
        """activity: makes a detector of speech for one stream of sound."""
        self._traces = traces
        self._chat, self._voice, self._users = chat, voice, users
        self._turns, self._objects, self._activity, self._clock = turns, objects, activity, clock

    async def open(self, who: SignedIn, line: Line, wishes: Wishes, *, conversation_id: str = "") -> Talk:
        """A call that goes on with a conversation, or begins one. Raises: ModelMissing without a detector of speech; QuotaSpent."""
        await self._voice.demand_quota(who.user)
        speaker = await self._users.voice_session(who)
        activity = await self._activity()
        choices = await self.choices(who, wishes)
        prepare = partial(self._voice.prepare, who.user)
        return Talk(speaker, self._chat, activity.probability, line, choices, self, prepare=prepare, conversation_id=conversation_id, traces=self._traces)

    async def choices(self, who: SignedIn, wishes: Wishes) -> Choices:
        """What a speaker's wishes mean for the turns that follow."""

        async def hear(pcm: bytes, goes_on: bool) -> str:
            try:
                return (await self._voice.transcribe(who.user, AudioData(wav(pcm, RATE_HZ), AudioFormat.WAV), wishes.language, goes_on=goes_on)).text
            except NoSpeech:
                return ""

        async def speak(text: str) -> AsyncIterator[bytes]:
            async with aclosing(self._voice.speak(who.user, text, voice=wishes.voice, speed=wishes.speed)) as chunks:  # type: ignore[type-var]
                async for chunk in chunks:
                    yield chunk.data

        return Choices(hear, speak, SPEECH_RATE_HZ, await self._voice.all_collections(who.user) if wishes.enable_rag else (), wishes.language)

    async def heard(self, who: SignedIn, heard: Heard) -> ServiceError | None:
        """As the port says."""
        sound, now = wav(heard.pcm, RATE_HZ), self._clock()
        key = f"{SOUND}{heard.request_id}.wav"
        user, language = who.user, heard.language or who.user.preferences.speech_language
        request = VoiceRequest(
            heard.request_id,
            user.id,
            "",
            AudioFormat.WAV,
            language,
            user.premium,
            heard.enable_rag,
            conversation_id=heard.conversation_id,
            session_id=who.session.id,
            created_at=now,
            uri=self._objects.uri(key),
        )
        transcription = Transcription(heard.text, language, duration_ms=len(heard.pcm) / 2 / RATE_HZ * 1000)
        happened: list[SpokenEvent] = [
            (EventType.VOICE_REQUEST_RECEIVED, {"format": AudioFormat.WAV.value, "bytes": len(sound)}),
            (EventType.TRANSCRIPTION_STARTED, {}),
            (EventType.TRANSCRIPTION_COMPLETED, {"duration_ms": transcription.duration_ms, "language": transcription.language}),
        ]
        await self._turns.accept(SpokenTurn(request, transcription), self._events(user, heard, happened))
        # The row first: an object that no row names would never be removed.
        return await keep(self._objects, key, sound)

    async def told(self, who: SignedIn, told: Told) -> ServiceError | None:
        """As the port says. The events describe the whole answer, in the domain's order; that it was spoken while it was written is in their times."""
        heard, latency = told.heard, told.latency_ms
        key = f"{SOUND}{heard.request_id}-answer.wav"
        reached = dict(zip(STAGES, accumulate(latency.get(stage, 0.0) for stage in STAGES), strict=True))
        first_audio_ms = reached["tts_ttfb"] if told.pcm else None
        timing = VoiceTiming(latency.get("stt"), latency.get("rag"), reached["llm_ttft"] if "llm_ttft" in latency else None, None, first_audio_ms)
        response = VoiceResponse(
            reply_id(heard.request_id),
            heard.request_id,
            heard.text,
            told.text,
            "",
            AudioFormat.WAV,
            sum(latency.values()),
            len({source.document_id for source in told.sources}),
            created_at=self._clock(),
            uri=self._objects.uri(key) if told.pcm else "",
            interrupted=told.interrupted,
            timing=timing,
        )
        happened: list[SpokenEvent] = [(EventType.RAG_QUERY_EXECUTED, {"documents": response.rag_docs_used, "ms": timing.rag_ms})] if heard.enable_rag else []
        happened += [(EventType.LLM_INFERENCE_STARTED, {}), (EventType.LLM_RESPONSE_GENERATED, {"first_token_ms": timing.llm_first_token_ms})]
        if told.pcm:
            ready: dict[str, object] = {"first_audio_ms": first_audio_ms, "bytes": len(told.pcm), "interrupted": told.interrupted}
            happened += [(EventType.TTS_SYNTHESIS_STARTED, {"chars": len(told.text)}), (EventType.AUDIO_RESPONSE_READY, ready)]
        await self._turns.answer(response, self._events(who.user, heard, happened))
        return await keep(self._objects, key, wav(told.pcm, told.rate_hz)) if told.pcm else None

    def _events(self, user: User, heard: Heard, happened: list[SpokenEvent]) -> list[Event]:
        now, about = self._clock(), {"conversation_id": heard.conversation_id}
        return [Event(new_id(), kind, user.id, heard.request_id, now, about | data) for kind, data in happened]
