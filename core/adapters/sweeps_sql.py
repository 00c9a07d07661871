"""The sweeps of retention and their receipts in SQL."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, update

from core.adapters.database_sql import Database
from core.adapters.tables_sql import sweeps
from core.errors import BadInput
from core.records import Page
from core.retention import Sweep

BROKEN_OFF = "It was broken off; the next sweep went on."


def _sweep(row: Row[Any]) -> Sweep:
    return Sweep(row.id, row.started_at, row.by, row.whole, row.removed, row.ended_at, row.error)


def _values(sweep: Sweep, lease_until: datetime) -> dict[str, object]:
    return {"removed": dict(sweep.removed), "ended_at": sweep.ended_at, "error": sweep.error, "lease_until": lease_until}


def _past(moment: datetime) -> tuple[ColumnElement[bool], ...]:
    return sweeps.c.started_at < moment, sweeps.c.ended_at.is_not(None)


class SqlSweeps:
    """Sweeps over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, sweep: Sweep, lease_until: datetime) -> bool:
        """As the port says."""
        running = sweeps.c.ended_at.is_(None)

        def work(connection: Connection) -> bool:
            if connection.execute(select(sweeps.c.id).where(running, sweeps.c.lease_until > sweep.started_at)).first():
                return False
            connection.execute(update(sweeps).where(running).values(ended_at=sweeps.c.lease_until, error=BROKEN_OFF))
            new = {"id": sweep.id, "started_at": sweep.started_at, "by": sweep.by, "whole": sweep.whole}
            connection.execute(insert(sweeps).values(new | _values(sweep, lease_until)))
            return True

        return await self._database.write(work)

    async def report(self, sweep: Sweep, lease_until: datetime) -> bool:
        """As the port says."""
        change = update(sweeps).where(sweeps.c.id == sweep.id, sweeps.c.ended_at.is_(None)).values(_values(sweep, lease_until))
        return bool(await self._database.write(lambda c: c.execute(change).rowcount))

    async def last_whole(self) -> Sweep | None:
        """As the port says."""
        query = select(sweeps).where(sweeps.c.whole, sweeps.c.error == "").order_by(sweeps.c.started_at.desc()).limit(1)
        row = await self._database.read(lambda c: c.execute(query).first())
        return _sweep(row) if row else None

    async def all(self, *, limit: int = 50, cursor: str = "") -> Page[Sweep]:
        """As the port says."""
        query = select(sweeps).order_by(sweeps.c.seq.desc()).limit(limit + 1)
        if cursor:
            if not cursor.isdecimal():
                raise BadInput("That is no cursor of this list.", hint="Give `next_cursor` back as it came.")
            query = query.where(sweeps.c.seq < int(cursor))
        rows = await self._database.read(lambda c: c.execute(query).all())
        return Page([_sweep(row) for row in rows[:limit]], str(rows[limit - 1].seq) if len(rows) > limit else "")

    async def count_before(self, moment: datetime) -> int:
        """As the port says."""
        return await self._database.read(lambda c: c.execute(select(func.count()).select_from(sweeps).where(*_past(moment))).scalar_one())

    async def drop_before(self, moment: datetime) -> int:
        """As the port says."""
        return await self._database.write(lambda c: c.execute(delete(sweeps).where(*_past(moment))).rowcount)
