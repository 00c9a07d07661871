"""Backups of the house: made when somebody asks or when they are due, listed, rotated. Knows no file format: a port writes and reads them.

A backup keeps what is deleted after it was made, until it is rotated out or deleted itself: nothing reaches into one.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from core.errors import HearthError, ServiceBusy
from core.ports import BackupStore
from core.records import DeleteReceipt

log = logging.getLogger(__name__)

RETRY_AFTER = timedelta(minutes=15)
"""After a backup on schedule has failed."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup says of itself."""

    format: int
    hearth: str
    """The version that wrote it."""
    revision: str
    """Of the database's tables. A newer Hearth brings them up to date; an older one refuses."""
    made_at: datetime
    rows: Mapping[str, int]
    """By table."""
    files: int
    content_bytes: int
    """Of the database and all files, as they are when restored."""
    missing: int
    """Originals that the database names and that were not there when the backup was made."""
    files_sha256: str
    """Of the list of files, which has the checksum of each."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One file. `manifest` is None where it can't be read; `problem` then says why."""

    name: str
    made_at: datetime
    size_bytes: int
    manifest: Manifest | None
    problem: str = ""


@dataclass(slots=True)
class Progress:
    """How far a backup or a restore is. `stop` ends it at the next block; nothing half made is left."""

    total_bytes: int = 0
    done_bytes: int = 0
    stop: bool = False


@dataclass(slots=True)
class Plan:
    """The schedule. every: None for none."""

    every: timedelta | None
    keep: int
    problem: str = ""
    """Why the last one on schedule failed; "" once one has worked."""
    retry_at: datetime | None = field(default=None)


class Backups:
    """The backups of one house, one made at a time."""

    def __init__(self, store: BackupStore, clock: Callable[[], datetime], *, every_h: float, keep: int) -> None:
        """every_h: 0 for none on schedule.   keep: how many stay; the oldest goes once a newer one is whole."""
        self._store, self._clock = store, clock
        self.plan = Plan(timedelta(hours=every_h) if every_h else None, keep)
        self.progress: Progress | None = None
        """Of the one that is being made now."""

    async def all(self) -> Sequence[Backup]:
        """Those in the folder, latest first."""
        return await self._store.all()

    async def next_at(self) -> datetime | None:
        """When the next is due by the schedule; None without one."""
        if self.plan.every is None:
            return None
        latest = await self._store.latest_at()
        due = latest + self.plan.every if latest else self._clock()
        return max(due, self.plan.retry_at) if self.plan.retry_at else due

    async def make(self, progress: Progress | None = None) -> Backup:
        """A new one, then the oldest beyond those to keep are deleted. Raises: ServiceBusy while one is made; NoSpace, NotFound."""
        if self.progress is not None:
            raise ServiceBusy("A backup is being made already.", hint="Wait until it is there.")
        self.progress = progress or Progress()
        try:
            made = await self._store.write(self._clock(), self.progress)
        finally:
            self.progress = None
        for old in (await self._store.names())[self.plan.keep :]:
            await self._store.drop(old)
        return made

    async def keep_up(self) -> None:
        """Makes one if it is due."""
        due = await self.next_at()
        if due is None or due > self._clock() or self.progress is not None:
            return
        try:
            await self.make()
            self.plan.problem, self.plan.retry_at = "", None
        except HearthError as error:
            log.error("the backup that was due could not be made: %s", error)
            self.plan.problem, self.plan.retry_at = str(error), self._clock() + RETRY_AFTER

    async def path(self, name: str) -> Path:
        """Where that one lies. Raises: NotFound."""
        return await self._store.path(name)

    async def delete(self, name: str) -> DeleteReceipt:
        """Raises: NotFound."""
        await self._store.path(name)
        removed = await self._store.drop(name)
        return DeleteReceipt({"backups": int(removed)}, {"backups": int(name in await self._store.names())})
