"""The audit log as admins read it and take it away, and the settings the house runs with."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from core.audit import Act, AuditEntry
from core.console.notes import Notes
from core.ports import AuditLog
from core.records import Page, every_page
from core.settings import Setting, Settings
from core.users.model import Admin

EXPORT_ROWS = 500
"""How many rows are in memory at a time while the log is exported."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which rows of the audit log are wanted. actor: the whole name, case does not count.   since, until: from that moment, and before that one."""

    actor: str = ""
    act: Act | None = None
    since: datetime | None = None
    until: datetime | None = None


class Logbook:
    """What happened in the house, and how it is set up."""

    def __init__(self, audit: AuditLog, settings: Settings, notes: Notes) -> None:
        self._audit, self._settings, self._notes = audit, settings, notes

    async def entries(self, admin: Admin, asked: Asked, cursor: str = "", *, limit: int = 50) -> Page[AuditEntry]:
        """The rows, latest first. Raises: BadInput for a cursor that no page gave."""
        return await self._audit.entries(actor=asked.actor, act=asked.act, since=asked.since, until=asked.until, limit=limit, cursor=cursor)

    async def export(self, admin: Admin, asked: Asked) -> AsyncIterator[Sequence[AuditEntry]]:
        """All rows, latest first, some at a time; that they were exported is the first of them."""
        detail = {key: str(value) for key, value in asdict(asked).items() if value}
        await self._notes.note(admin, Act.EXPORTED, "audit log", **detail)
        return every_page(lambda cursor: self.entries(admin, asked, cursor, limit=EXPORT_ROWS))

    async def settings(self, admin: Admin) -> Sequence[Setting]:
        """Every setting with its value, where that comes from and what it means; secrets masked."""
        return self._settings.explained()
