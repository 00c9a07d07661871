"""Whether all is well, and what to do where it is not: the parts, the traffic, the queue, the storage, the last errors."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import quantiles

from core.chat.model import ChatMessage
from core.chat.stages import stages
from core.errors import HearthError
from core.inference import Queue, Residences, Service
from core.ports import Residency, Traffic
from core.records import Health, Trouble
from core.users.model import Admin, Used
from core.voice.model import VoiceTiming
from core.voice.stages import spoken_stages

FRESH_S = 4.0
"""How old figures may be: every console that is open asks for them again and again, and one answer serves all."""
STORAGE_FRESH_S = 60.0
LATEST_ANSWERS = 1000
"""Percentiles are of so many answers at most, the latest."""
WITHIN = timedelta(hours=24)
DAYS = 30


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of one stage, in milliseconds."""

    stage: str
    count: int
    p50_ms: float
    p95_ms: float


@dataclass(frozen=True, slots=True)
class Now:
    """The house at one moment. local: None where no model runs here, or its process doesn't answer.   queues: by lane, of models here and elsewhere."""

    at: datetime
    health: Sequence[Health]
    open_answers: int
    latency: Sequence[Percentiles]
    days: Sequence[tuple[datetime, Used]]
    local: Residences | None
    queues: Mapping[str, Queue]
    storage: Mapping[str, int]
    free_bytes: int
    troubles: Sequence[Trouble]


class Overview:
    """What an operator looks at first."""

    def __init__(
        self,
        check: Callable[[], Awaitable[Sequence[Health]]],
        traffic: Traffic,
        residency: Residency | None,
        queues: Callable[[], Mapping[Service, Queue]],
        troubles: Callable[[], Sequence[Trouble]],
        open_answers: Callable[[], int],
        folders: Mapping[str, Path],
        clock: Callable[[], datetime],
    ) -> None:
        """residency: None where every model is elsewhere.   queues: of the models that are.   folders: what is kept where, by kind."""
        self._check, self._traffic, self._residency, self._queues, self._troubles = check, traffic, residency, queues, troubles
        self._open_answers = open_answers
        self._folders, self._clock = folders, clock
        self._known: Now | None = None
        self._known_at = self._stored_at = float("-inf")
        self._stored: tuple[Mapping[str, int], int] = ({}, 0)
        self._asking = asyncio.Lock()

    async def now(self, admin: Admin) -> Now:
        """The house as it was at most `FRESH_S` ago."""
        async with self._asking:
            if self._known is None or time.monotonic() - self._known_at > FRESH_S:
                self._known = await self._look()
                self._known_at = time.monotonic()
            return self._known

    async def _look(self) -> Now:
        now = self._clock()
        health, latency, days, local = await asyncio.gather(self._check(), waits(self._traffic, now), self._traffic.days(now, DAYS), self._local())
        if time.monotonic() - self._stored_at > STORAGE_FRESH_S:
            self._stored, self._stored_at = await asyncio.to_thread(self._measure), time.monotonic()
        queues = {r.lane: r.queue for r in local.models.values()} if local else {}
        queues |= {f"{service.value}, elsewhere": queue for service, queue in self._queues().items()}
        return Now(now, health, self._open_answers(), latency, days, local, queues, *self._stored, self._troubles())

    async def _local(self) -> Residences | None:
        try:
            return await self._residency.status() if self._residency is not None else None
        except HearthError:  # the part that is red says why
            return None

    def _measure(self) -> tuple[Mapping[str, int], int]:
        import shutil

        sizes = {kind: _size(path) for kind, path in self._folders.items()}
        return sizes, shutil.disk_usage(next(iter(self._folders.values())).parent).free


async def waits(traffic: Traffic, now: datetime) -> Sequence[Percentiles]:
    """Of each stage of the last day's answers and spoken turns: what the console shows, and /metrics under the same names."""
    since = now - WITHIN
    told = await asyncio.gather(traffic.latest_answers(since, LATEST_ANSWERS), traffic.latest_spoken(since, LATEST_ANSWERS))
    return await asyncio.to_thread(percentiles, *told)  # a thousand answers: longer than a chat should stand still


def percentiles(answers: Sequence[ChatMessage], spoken: Sequence[VoiceTiming] = ()) -> list[Percentiles]:
    """Of each stage, in the order in which stages follow each other; of spoken turns what their answers don't know: hearing, and the first sound."""
    heard = [dict((stage, length_ms) for stage, _, length_ms in spoken_stages(timing)) for timing in spoken]
    spent: dict[str, list[float]] = {"stt": [turn["stt"] for turn in heard if "stt" in turn]}
    for answer in answers:
        for stage, _, length_ms in stages(answer):
            spent.setdefault(stage, []).append(length_ms)
        if answer.metadata.latency_ms:
            spent.setdefault("whole", []).append(answer.metadata.latency_ms)
    spent["tts_ttfb"] = [turn["tts_ttfb"] for turn in heard if "tts_ttfb" in turn]
    return [Percentiles(stage, len(times), *_p50_p95(times)) for stage, times in spent.items() if times]


def _p50_p95(times: Sequence[float]) -> tuple[float, float]:
    if len(times) == 1:
        return times[0], times[0]
    cuts = quantiles(times, n=20, method="inclusive")
    return cuts[9], cuts[18]


def _size(path: Path) -> int:
    """Of a file with its companions, or of everything in a folder."""
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return sum(p.stat().st_size for p in path.parent.glob(f"{path.name}*") if p.is_file())
