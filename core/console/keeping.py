"""How long things are kept: what the next sweep removes, what pins hold, the receipts, and the backups that keep a copy of everything."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from core.audit import Act
from core.backups import Backup, Backups
from core.console.begun import PATIENCE_S, Begun
from core.console.notes import Notes
from core.errors import HearthError, ServiceBusy
from core.records import DeleteReceipt, Page
from core.retention import Due, Pin, Policy, Retention, Sweep
from core.users.model import Admin


@dataclass(frozen=True, slots=True)
class Rules:
    """The policies, with a dry run of the next sweep."""

    policies: Sequence[Policy]
    due: Due


@dataclass(frozen=True, slots=True)
class BackupState:
    """The schedule of the backups and the one that is being made. done: 0 to 1, None if none is."""

    next_at: datetime | None
    every_h: float
    keep: int
    folder: str
    done: float | None
    problem: str


class Keeping:
    """Retention and backups, for admins. A sweep that is ended is simply repeated; a backup leaves nothing half made."""

    def __init__(self, retention: Retention, backups: Backups, notes: Notes, begun: Begun, *, folder: Path) -> None:
        """folder: where the backups lie, to be told."""
        self._retention, self._backups, self._notes, self._begun, self._folder = retention, backups, notes, begun, folder
        self._problem = ""

    async def rules(self, admin: Admin) -> Rules:
        """What is kept how long, and what the next sweep would remove."""
        return Rules(self._retention.policies, await self._retention.due())

    async def pins(self, admin: Admin, cursor: str = "", *, limit: int = 50) -> Page[Pin]:
        """Everybody's pinned conversations, by whose they are and how much they hold; their words and titles are nobody else's."""
        return await self._retention.pins(limit=limit, cursor=cursor)

    async def sweeps(self, admin: Admin, cursor: str = "", *, limit: int = 50) -> Page[Sweep]:
        """The receipts of all sweeps, latest first."""
        return await self._retention.sweeps(limit=limit, cursor=cursor)

    async def sweep(self, admin: Admin, *, patience_s: float = PATIENCE_S) -> DeleteReceipt:
        """Sweeps now. Raises: ServiceBusy where another sweep is at work, or where this one takes long: it then goes on by itself."""
        await self._notes.note(admin, Act.DELETED, "what is past its time")
        late = ServiceBusy("There is much to remove, and the sweep goes on.", hint="Its row in the list of sweeps shows how far it is.")
        swept = await self._begun.within(self._retention.sweep(admin.user.username), late, patience_s)
        if swept is None:
            raise ServiceBusy("Another sweep is at work.", hint="Its row in the list of sweeps shows how far it is.")
        return DeleteReceipt(swept.removed, await self._retention.left())

    async def backups(self, admin: Admin) -> Sequence[Backup]:
        """Those in the folder, latest first."""
        return await self._backups.all()

    async def backup_state(self, admin: Admin) -> BackupState:
        """The schedule, and how far the one is that is being made."""
        plan, progress = self._backups.plan, self._backups.progress
        done = None if progress is None else min(1.0, progress.done_bytes / progress.total_bytes) if progress.total_bytes else 0.0
        every_h = plan.every.total_seconds() / 3600 if plan.every else 0
        return BackupState(await self._backups.next_at(), every_h, plan.keep, str(self._folder), done, self._problem or plan.problem)

    async def back_up(self, admin: Admin) -> None:
        """Begins a backup, which goes on by itself; `backup_state` says how far it is. Raises: ServiceBusy while one is made."""
        if self._backups.progress is not None:
            raise ServiceBusy("A backup is being made already.", hint="Wait until it is there.")
        await self._notes.note(admin, Act.EXPORTED, "backup of the house")
        self._begun.begin(self._make())
        await asyncio.sleep(0)  # it has begun, and shows in `backup_state`, when this returns

    async def delete_backup(self, admin: Admin, name: str) -> DeleteReceipt:
        """Raises: NotFound."""
        receipt = await self._backups.delete(name)
        await self._notes.note(admin, Act.DELETED, f"backup {name}")
        return receipt

    async def backup_file(self, admin: Admin, name: str) -> Path:
        """To be handed out. Raises: NotFound."""
        path = await self._backups.path(name)
        await self._notes.note(admin, Act.EXPORTED, f"backup {name}")
        return path

    async def _make(self) -> None:
        try:
            await self._backups.make()
            self._problem = ""
        except HearthError as error:
            self._problem = str(error)
