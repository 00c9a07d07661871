"""What is kept how long, and the one sweep that enforces it. Permanent things are named too, so that nothing is kept by oversight."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from core.errors import HearthError
from core.ids import new_id
from core.ports import Conversations, Documents, ObjectStore, Sessions, SpokenTurns, Sweeps
from core.records import Page

BATCH = 500
AUDIO_KEPT = timedelta(hours=1)
RECEIPTS_KEPT = timedelta(days=90)
SWEEP_EVERY = timedelta(hours=1)
LEASE = timedelta(minutes=1)
"""How long a sweep may be silent before another takes its place; every batch renews it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How long one kind of thing is kept; None: until somebody deletes it. `kind` is also the key under which sweeps count it."""

    kind: str
    keep: timedelta | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One sweep and its receipt: what it has removed so far, by kind. Without `ended_at` it is still at work."""

    id: str
    started_at: datetime
    by: str = ""
    """Who asked for it; "" for the house itself."""
    whole: bool = True
    """Whether it looked at everything, or at sound and deleted originals alone."""
    removed: Mapping[str, int] = field(default_factory=dict)
    ended_at: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Due:
    """A dry run: what a sweep at that moment would remove, by kind, by the very conditions that it removes by."""

    at: datetime
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Pin:
    """A conversation that is kept beyond its time because its owner pinned it. `messages`: how many only the pin keeps."""

    conversation_id: str
    username: str
    messages: int
    oldest_at: datetime | None


class Retention:
    """The sweep: idempotent, in batches, on a given clock, one at a time over all processes. What its owner has pinned stays."""

    def __init__(
        self,
        conversations: Conversations,
        sessions: Sessions,
        spoken: SpokenTurns,
        documents: Documents,
        objects: ObjectStore,
        sweeps: Sweeps,
        clock: Callable[[], datetime],
        *,
        message_days: int,
    ) -> None:
        """message_days: of messages, and of the text of spoken turns, which are messages too."""
        self._conversations, self._sessions, self._spoken, self._clock = conversations, sessions, spoken, clock
        self._documents, self._objects, self._sweeps = documents, objects, sweeps
        self._messages = timedelta(days=message_days)
        self._alone = asyncio.Lock()
        self.policies = (
            Policy("messages", self._messages, "With their events; a conversation goes with its last message. Those of pinned conversations stay."),
            Policy("spoken turns", self._messages, "The text of voice requests and responses. Those of pinned conversations stay."),
            Policy("sounds", AUDIO_KEPT, "Recordings and spoken answers, also of pinned conversations; looked for every minute."),
            Policy("sessions", timedelta(days=7), "Sign-ins, from their start."),
            Policy("deleted originals", timedelta(0), "The files of what was deleted; looked for every minute."),
            Policy("receipts of sweeps", RECEIPTS_KEPT, "The list below."),
            Policy("documents, chunks and embeddings", None),
            Policy("golden rows", None, "Questions to judge retrieval by. One that comes from an answer goes when its conversation is deleted."),
            Policy("audit log", None),
        )

    async def due(self) -> Due:
        """What the next whole sweep would remove, and when it comes."""
        at = await self._next_at()
        return Due(
            at,
            {
                "messages": await self._conversations.count_before(at - self._messages),
                "spoken turns": await self._spoken.count_before(at - self._messages),
                "sounds": await self._spoken.count_audio_before(at - AUDIO_KEPT),
                "sessions": await self._sessions.count_expired(at),
                "deleted originals": await self._documents.count_stale_objects(),
                "receipts of sweeps": await self._sweeps.count_before(at - RECEIPTS_KEPT),
            },
        )

    async def left(self) -> Mapping[str, int]:
        """How many messages and spoken turns are past their time now: after a sweep none."""
        before = self._clock() - self._messages
        return {"messages": await self._conversations.count_before(before), "spoken turns": await self._spoken.count_before(before)}

    async def pins(self, *, limit: int = 50, cursor: str = "") -> Page[Pin]:
        """The pinned conversations, with how many messages each pin keeps from the next sweep. Raises: BadInput for a cursor that no page gave."""
        return await self._conversations.pinned(await self._next_at() - self._messages, limit=limit, cursor=cursor)

    async def sweeps(self, *, limit: int = 50, cursor: str = "") -> Page[Sweep]:
        """The sweeps, latest first. Raises: BadInput for a cursor that no page gave."""
        return await self._sweeps.all(limit=limit, cursor=cursor)

    async def keep_up(self) -> None:
        """What is done every minute: sound is kept for an hour, so a sweep that comes every hour would keep it for two. Everything, once its hour is over."""
        if await self._next_at() <= self._clock():
            await self.sweep()
        else:
            await self.sweep_audio()

    async def sweep(self, by: str = "") -> Sweep | None:
        """Removes everything that is past its time; None where another process is at it."""
        return await self._run(Sweep(new_id(), self._clock(), by), self._everything())

    async def sweep_audio(self) -> int:
        """Removes sound that is past its hour, and the objects of what was deleted; says how many sounds. Cheap: to be called often."""
        before = self._clock() - AUDIO_KEPT
        if not await self._spoken.audio_before(before, 1) and not await self._documents.stale_objects(1):
            return 0
        done = await self._run(Sweep(new_id(), self._clock(), whole=False), self._sound())
        return done.removed.get("sounds", 0) if done else 0

    async def _next_at(self) -> datetime:
        last = await self._sweeps.last_whole()
        return max(self._clock(), last.started_at + SWEEP_EVERY) if last else self._clock()

    async def _run(self, sweep: Sweep, batches: AsyncIterator[tuple[str, int]]) -> Sweep | None:
        """Goes through the batches, and keeps the receipt after each; stops where its lease was taken."""
        async with self._alone:
            if not await self._sweeps.begin(sweep, sweep.started_at + LEASE):
                return None
            removed: Counter[str] = Counter()
            try:
                async for kind, count in batches:
                    removed[kind] += count
                    sweep = replace(sweep, removed=dict(removed))
                    if not await self._sweeps.report(sweep, self._clock() + LEASE):
                        return sweep
            except HearthError as error:
                await self._sweeps.report(replace(sweep, ended_at=self._clock(), error=str(error)), self._clock())
                raise
            sweep = replace(sweep, ended_at=self._clock())
            await self._sweeps.report(sweep, self._clock())
            return sweep

    async def _everything(self) -> AsyncIterator[tuple[str, int]]:
        async for batch in self._sound():
            yield batch
        now = self._clock()
        while removed := await self._conversations.drop_before(now - self._messages, BATCH):
            yield "messages", removed
        while removed := await self._spoken.drop_before(now - self._messages, BATCH):
            yield "spoken turns", removed
        yield "sessions", await self._sessions.drop_expired(now)
        yield "receipts of sweeps", await self._sweeps.drop_before(now - RECEIPTS_KEPT)

    async def _sound(self) -> AsyncIterator[tuple[str, int]]:
        """The object goes first: what a crash leaves is a row that names nothing, and the next sweep forgets it."""
        while uris := await self._spoken.audio_before(self._clock() - AUDIO_KEPT, BATCH):
            for uri in uris:
                await self._objects.drop(uri)
            await self._spoken.forget_audio(uris)
            yield "sounds", len(uris)
        while stale := await self._documents.stale_objects(BATCH):
            for uri in stale:
                await self._objects.drop(uri)
            await self._documents.forget_objects(stale)
            yield "deleted originals", len(stale)
