"""The models of the house: which there are, what is in memory, fetching, loading and trying them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from core.audit import Act
from core.console.begun import PATIENCE_S, Begun
from core.console.notes import Notes
from core.errors import HearthError, IllegalStep, ServiceBusy, ServiceUnavailable
from core.inference import CatalogueEntry, Message, Residences, Service, TextDelta
from core.ports import Catalogue, ChatModel, Embedder, Reranker, Residency, Synthesizer, Transcriber
from core.records import Health
from core.users.model import Admin
from core.voice.model import AudioData, AudioFormat

TRIED_S = 60.0
TRIED_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Fetching:
    """How far a model is on its way here. problem: why it didn't come.   stopped: somebody ended it."""

    name: str
    done_bytes: int = 0
    total_bytes: int | None = None
    what: str = ""
    problem: str = ""
    stopped: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of trying a model: what it said, and how long it took."""

    said: str
    first_ms: float | None
    whole_ms: float
    sound: bytes = b""


class ModelRoom:
    """Every model that Hearth knows or uses."""

    def __init__(
        self,
        catalogue: Catalogue,
        residency: Residency | None,
        llm: ChatModel,
        embedder: Embedder,
        reranker: Reranker | None,
        transcriber: Transcriber | None,
        synthesizer: Synthesizer | None,
        check: Callable[[], Awaitable[Sequence[Health]]],
        notes: Notes,
        begun: Begun,
    ) -> None:
        """residency: None where every model is elsewhere; the others None where they are switched off.   check: asks each where it is served."""
        self._catalogue, self._residency, self._check, self._notes, self._begun = catalogue, residency, check, notes, begun
        self._llm, self._embedder, self._reranker, self._transcriber, self._synthesizer = llm, embedder, reranker, transcriber, synthesizer
        self._fetching: Fetching | None = None
        self._task: asyncio.Task[None] | None = None

    async def catalogue(self, admin: Admin) -> Sequence[CatalogueEntry]:
        """Every model that is known by name."""
        return await self._catalogue.entries()

    async def residences(self, admin: Admin) -> Residences | None:
        """What is in memory; None where no model runs here. Raises: ServiceError."""
        return await self._residency.status() if self._residency is not None else None

    async def checked(self, admin: Admin) -> Sequence[Health]:
        """Where each service is, asked now: whether it answers, how fast, and with which model."""
        return await self._check()

    async def load(self, admin: Admin, service: Service) -> Residences:
        """Raises: ServiceError, ModelError."""
        loaded = await self._local().load(service)
        await self._notes.note(admin, Act.CHANGED, f"model of {service.value}", loaded=True)
        return loaded

    async def unload(self, admin: Admin, service: Service) -> Residences:
        """Raises: ServiceBusy while somebody uses it; ServiceError, ModelError."""
        unloaded = await self._local().unload(service)
        await self._notes.note(admin, Act.CHANGED, f"model of {service.value}", loaded=False)
        return unloaded

    async def fetch(self, admin: Admin, name: str) -> None:
        """Begins to bring a model here; it goes on by itself, and `fetching` says how far it is. Raises: ServiceBusy while one is on its way."""
        if self._task is not None and not self._task.done():
            raise ServiceBusy("A model is on its way already.", hint="One comes at a time: wait until it is there.")
        self._fetching = Fetching(name)
        self._task = self._begun.begin(self._fetch(name))
        await self._notes.note(admin, Act.CHANGED, f"model {name}", fetched=True)

    async def stop(self, admin: Admin) -> None:
        """Ends the fetch that goes on: nothing of it is left. Raises: IllegalStep where none does."""
        if self._task is None or self._task.done() or self._fetching is None:
            raise IllegalStep("No model is on its way.", hint="Its row in the catalogue says whether it is here.")
        await self._notes.note(admin, Act.CHANGED, f"model {self._fetching.name}", fetched=False)
        self._task.cancel()
        await asyncio.wait([self._task], timeout=PATIENCE_S)

    async def fetching(self, admin: Admin) -> Fetching | None:
        """The fetch that goes on, or the last one."""
        return self._fetching

    async def _fetch(self, name: str) -> None:
        def told(done: int, total: int | None, what: str) -> None:
            self._fetching = Fetching(name, done, total, what)

        try:
            await self._catalogue.fetch(name, told)
            self._fetching = Fetching(name, over=True)
        except HearthError as error:
            self._fetching = Fetching(name, problem=str(error), over=True)
        except asyncio.CancelledError:
            self._fetching = Fetching(name, stopped=True, over=True)
            raise

    async def chat(self, admin: Admin, text: str) -> Tried:
        """Raises: ServiceError, ModelError, TooLong."""
        begun, first_ms, said = time.perf_counter(), None, ""
        stream = self._llm.stream([Message("user", text)], caller=admin.user.caller, max_tokens=TRIED_TOKENS)
        async with asyncio.timeout(TRIED_S), aclosing(stream) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                if isinstance(delta, TextDelta):
                    first_ms = _since(begun) if first_ms is None else first_ms
                    said += delta.text
        return Tried(said, first_ms, _since(begun))

    async def embed(self, admin: Admin, texts: Sequence[str]) -> Tried:
        """How near the texts are to the first one. Raises: ServiceError, ModelError."""
        begun = time.perf_counter()
        vectors = (await self._embedder.embed(texts, "document", caller=admin.user.caller)).vectors
        near = vectors @ vectors[0]
        return Tried("\n".join(f"{score:.3f}  {text}" for score, text in zip(near, texts, strict=True)), None, _since(begun))

    async def rerank(self, admin: Admin, query: str, texts: Sequence[str]) -> Tried:
        """Raises: ServiceError, ModelError; ServiceUnavailable where there is none."""
        if self._reranker is None:
            raise ServiceUnavailable("Nothing reranks here.", service="reranker", hint="Set HEARTH_RERANKER_URL, or leave it empty for the local one.")
        begun = time.perf_counter()
        scores = await self._reranker.rerank(query, texts, caller=admin.user.caller)
        best = sorted(zip(scores, texts, strict=True), reverse=True)
        return Tried("\n".join(f"{score:.3f}  {text}" for score, text in best), None, _since(begun))

    async def speak(self, admin: Admin, text: str) -> Tried:
        """A WAV file. Raises: ServiceError, ModelError; ServiceUnavailable where nobody speaks."""
        if self._synthesizer is None:
            raise ServiceUnavailable("Nobody speaks here.", service="tts", hint="Set HEARTH_TTS_URL, or leave it empty for the local voice.")
        begun = time.perf_counter()
        made = await self._synthesizer.synthesize(text, caller=admin.user.caller, audio_format=AudioFormat.WAV)
        return Tried("", None, _since(begun), made.audio.data)

    async def hear(self, admin: Admin, text: str) -> Tried:
        """What the listening model understands of the text when the speaking model says it. Raises: as `speak`; NoSpeech."""
        if self._transcriber is None:
            raise ServiceUnavailable("Nobody listens here.", service="stt", hint="Set HEARTH_STT_URL, or leave it empty for the local one.")
        spoken, begun = await self.speak(admin, text), time.perf_counter()
        heard = await self._transcriber.transcribe(AudioData(spoken.sound, AudioFormat.WAV), caller=admin.user.caller)
        return Tried(heard.text, None, _since(begun), spoken.sound)

    def _local(self) -> Residency:
        if self._residency is None:
            raise ServiceUnavailable("No model runs here.", service="inference", hint="Every model has a URL of its own.")
        return self._residency


def _since(begun: float) -> float:
    return round((time.perf_counter() - begun) * 1000, 1)
