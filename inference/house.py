"""The models of one inference process, and who is served next."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from core.errors import ModelError, ModelMissing
from core.inference import Service
from core.ports import Traces, Work
from core.settings import SERVICES, Settings
from core.traces import NO_TRACES, ending, in_order
from inference.catalog import Entry, chosen, detector, entry
from inference.device import threads
from inference.lanes import Lanes, Ticket
from inference.residency import Resident, resident_bytes

WORK_PLACES = 1
IDLE_CHECK_S = 5.0
OPERATIONS = {Service.LLM: "chat", Service.EMBEDDINGS: "embeddings", Service.RERANKER: "rerank", Service.STT: "transcription", Service.TTS: "speech"}
"""What a trace calls that which a service does; the first two as OpenTelemetry's conventions for generative AI have them."""


class ModelHouse:
    """The models of this process: what each service's is, and the lanes in front of it."""

    def __init__(self, settings: Settings, traces: Traces = NO_TRACES) -> None:
        self.settings, self._traces = settings, traces
        services = [Service(name) for name in SERVICES if name in settings.local_services()]
        self.entries: dict[Service, Entry] = {s: chosen(getattr(settings, f"{s}_model"), s) for s in services}
        count = threads(settings.inference_threads)

        self._resident = partial(Resident, models_folder=settings.models_folder, threads=count, idle_s=settings.inference_idle_s)
        self.residents = {s: self._resident(e) for s, e in self.entries.items()}
        self.voice_activity = self._resident(detector(settings.vad_model))
        self._others: dict[str, Resident] = {}
        """Embedding models that collections were made with, or are being made with, beside the one that is set."""
        chat = Lanes(settings.inference_chat_places, queue=settings.inference_queue)
        # Embedding and reranking share the same cores: one lane for both.
        work = Lanes(WORK_PLACES, queue=settings.inference_queue)
        places = settings.inference_audio_places
        listening, speaking = (Lanes(places, queue=settings.inference_queue) for _ in range(2))
        self.lanes = {Service.LLM: chat, Service.EMBEDDINGS: work, Service.RERANKER: work, Service.STT: listening, Service.TTS: speaking}
        self._named = {chat: "chat", work: "search", listening: "listening", speaking: "speaking"}

    def resident(self, service: Service, named: str) -> Resident:
        """The service's model; of embedding models also any other that the catalogue names or that was fetched. Raises: ModelMissing for another name."""
        resident = self.residents.get(service)
        if resident is not None and named in ("", "default", resident.entry.name):
            return resident
        if resident is not None and service is Service.EMBEDDINGS and (other := self._other(named)) is not None:
            return other
        known = ", ".join(e.name for e in self.entries.values())
        raise ModelMissing(f"This server doesn't have {named!r} as its {service} model.", model=named, hint=f"It has: {known}.")

    def _other(self, named: str) -> Resident | None:
        """None for what nobody knows as an embedding model, and for a folder: only a setting may name one."""
        if named not in self._others:
            try:
                found = entry(named, Service.EMBEDDINGS)
            except ModelError:
                return None
            if found.service is not Service.EMBEDDINGS or found.source.startswith("file:///"):
                return None
            self._others[named] = self._resident(found)
        return self._others[named]

    def asked(self, resident: Resident) -> Work:
        """A request to a model, as a trace tells of it."""
        operation, model = OPERATIONS[resident.entry.service], resident.entry.name
        named = {"gen_ai.operation.name": operation, "gen_ai.provider.name": "hearth", "gen_ai.request.model": model}
        return self._traces.begin(f"{operation} {model}", named, served=True)

    @asynccontextmanager
    async def served(self, resident: Resident, who: Ticket) -> AsyncIterator[Any]:
        """The engine, as soon as there is a place. Raises: ServiceBusy; as the resident."""
        with ending(self.asked(resident)) as work:
            async with self.lanes[resident.entry.service].place(who) as queue_ms:
                begun = time.perf_counter()
                async with resident.used() as engine:
                    yield engine
            work.stages(in_order([("queue", queue_ms), ("model", (time.perf_counter() - begun) * 1000)]))

    def status(self) -> dict[str, object]:
        """What is loaded, how full the lanes are, and the memory of this process."""
        models = {
            s.value: {
                "model": r.entry.name,
                "loaded": r.loaded,
                "load_ms": r.load_ms,
                "idle_s": round(r.idle_s, 1),
                "unload_after_s": r.unload_after_s,
                "queue": self.lanes[s].load(),
                "lane": self._named[self.lanes[s]],
                "device": r.device,
                "grown_bytes": r.grown_bytes,
            }
            for s, r in self.residents.items()
        }
        return {"models": models, "resident_bytes": resident_bytes(), "threads": threads(self.settings.inference_threads)}

    async def preload(self) -> None:
        """Loads what every question needs, the smallest first, so that the first finds it ready. Voices are loaded when somebody speaks."""
        for service in (Service.EMBEDDINGS, Service.RERANKER, Service.LLM):
            if service in self.residents:
                await self.residents[service].preload()
        # What has been loaded stays: it need not be looked at by every collection.
        gc.collect()
        gc.freeze()

    async def keep_idle(self) -> None:
        """Unloads what has not been used for long."""
        while True:
            await asyncio.sleep(IDLE_CHECK_S)
            for resident in self._all():
                await resident.unload_if_idle()

    async def close(self) -> None:
        """Frees everything."""
        for resident in self._all():
            await resident.close()

    def _all(self) -> list[Resident]:
        return [*self.residents.values(), *self._others.values(), self.voice_activity]
