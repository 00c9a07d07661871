"""The processes of the house: each says again and again that it lives, and what one held is free for the others once it doesn't (docs/adr/0043)."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from core.ports import Processes

BEAT_EVERY_S = 3.0
BEAT_LASTS = timedelta(seconds=15)
"""After so long without a sign of life a process counts as gone."""
FILE = "process"
"""In the home folder: the id of the process that serves it, so that the next one there knows whose place it takes."""


class ProcessRole(StrEnum):
    """What a process does, as its command is called."""

    UP = "up"
    WEB = "web"
    CHAT = "chat"
    VOICE = "voice"
    WORKER = "worker"

    @property
    def answers(self) -> bool:
        """Whether people reach it."""
        return self is not ProcessRole.WORKER

    @property
    def works(self) -> bool:
        """Whether it takes documents in, runs pipelines, and does what is due."""
        return self in (ProcessRole.UP, ProcessRole.WORKER)


class Duty(StrEnum):
    """What one process at a time does, whichever; another takes it over when that one is gone."""

    BACKUPS = "backups"
    TRIGGERS = "triggers"
    VECTORS = "vectors"


@dataclass(frozen=True, slots=True)
class Process:
    """A process that serves. beat_at: when it last said that it lives."""

    id: str
    role: ProcessRole
    host: str
    started_at: datetime
    beat_at: datetime

    def lives(self, now: datetime) -> bool:
        """Whether it has said so not long ago; who alone has the records need not."""
        return now - self.beat_at < BEAT_LASTS


class Membership:
    """This process among the others. `async with` joins and leaves them: what the one before it on this home held is free at once.

    `beat` is to be called every BEAT_EVERY_S where other processes share the records.
    """

    def __init__(self, processes: "Processes", role: ProcessRole, home: Path, clock: Callable[[], datetime], *, process_id: str, alone: bool) -> None:
        """process_id: by which the stores know what this process holds.   alone: whether the records lie in the home, so that nobody else serves them."""
        self._processes, self._clock, self._file, self._alone = processes, clock, home / FILE, alone
        now = self._beaten_at = self._steady_since = clock()
        self._process = Process(process_id, role, socket.gethostname(), now, now)
        self._duties: Sequence[Duty] = ()

    async def __aenter__(self) -> Self:
        """Joins."""
        before = self._file.read_text("utf-8").strip() if self._file.exists() else ""
        await self.beat(before)
        self._file.write_text(self._process.id, "utf-8")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leaves: what it still held is free."""
        await self._processes.leave(self._process.id)

    async def beat(self, before: str = "") -> None:
        """Says that this process lives, counts those as gone that have been silent for too long, and takes the duties that are free.

        before: one that is known to be gone.
        """
        now = self._clock()
        if now - self._beaten_at > BEAT_LASTS / 2:
            self._steady_since = now  # the records were away: nobody could say anything
        silent_since = now if self._alone else now - BEAT_LASTS if now - self._steady_since >= BEAT_LASTS else None
        wanted = tuple(Duty) if self._process.role.works else ()
        self._duties = await self._processes.beat(self._process, now, silent_since=silent_since, gone=before, duties=wanted)
        self._beaten_at = now

    def has(self, duty: Duty) -> bool:
        """Whether it is this process that does it."""
        return duty in self._duties
