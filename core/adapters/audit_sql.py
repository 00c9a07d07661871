"""The audit log in SQL."""

from datetime import UTC, datetime

from sqlalchemy import BindParameter, insert, literal, select, tuple_

from core.adapters.database_sql import Database
from core.adapters.tables_sql import Moment, audit
from core.audit import Act, AuditEntry
from core.errors import BadInput
from core.records import Page


class SqlAuditLog:
    """AuditLog over a SQL database."""

    def __init__(self, database: Database) -> None:
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
        query = select(audit).order_by(audit.c.at.desc(), audit.c.seq.desc()).limit(limit + 1)
        if cursor:
            query = query.where(tuple_(audit.c.at, audit.c.seq) < tuple_(*_place(cursor)))
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
        return Page(found, f"{rows[limit - 1].at.isoformat()}_{rows[limit - 1].seq}" if len(rows) > limit else "")


def _place(cursor: str) -> tuple[BindParameter[datetime], BindParameter[int]]:
    at, _, seq = cursor.partition("_")
    try:
        return literal(datetime.fromisoformat(at).astimezone(UTC), Moment), literal(int(seq))
    except (ValueError, OverflowError) as error:
        raise BadInput("That is no cursor of this list.", hint="Give `next_cursor` back as it came.") from error
