"""The audit log in SQL."""

from datetime import datetime

from sqlalchemy import insert, select

from core.adapters.database_sql import SqliteDatabase
from core.adapters.tables_sql import audit
from core.audit import Act, AuditEntry
from core.errors import BadInput
from core.records import Page


class SqlAuditLog:
    """AuditLog over a SQL database."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def write(self, entry: AuditEntry) -> None:
        """As the port says."""
        values = {
            "id": entry.id,
            "at": entry.at,
            "actor_id": entry.actor_id,
            "actor": entry.actor,
            "actor_key": entry.actor.casefold(),
            "act": entry.act.value,
            "subject": entry.subject,
            "detail": entry.detail,
        }
        await self._database.write(lambda c: c.execute(insert(audit).values(values)))

    async def entries(
        self, *, actor: str = "", act: Act | None = None, since: datetime | None = None, until: datetime | None = None, limit: int = 50, cursor: str = ""
    ) -> Page[AuditEntry]:
        """As the port says."""
        query = select(audit).order_by(audit.c.seq.desc()).limit(limit + 1)
        if cursor:
            if not cursor.isdecimal():
                raise BadInput("That is no cursor of this list.", hint="Give `next_cursor` back as it came.")
            query = query.where(audit.c.seq < int(cursor))
        if actor:
            query = query.where(audit.c.actor_key == actor.casefold())
        if act:
            query = query.where(audit.c.act == act.value)
        if since:
            query = query.where(audit.c.at >= since)
        if until:
            query = query.where(audit.c.at < until)
        rows = await self._database.read(lambda c: c.execute(query).all())
        found = [AuditEntry(r.at, r.actor_id, r.actor, Act(r.act), r.subject, r.detail, r.id) for r in rows[:limit]]
        return Page(found, str(rows[limit - 1].seq) if len(rows) > limit else "")
