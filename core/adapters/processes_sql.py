"""The processes of the house in SQL. Whoever holds something is named in its row; a name that isn't in this table any more holds nothing."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, or_, select

from core.adapters.database_sql import Database, upsert
from core.adapters.tables_sql import duties as duties_table
from core.adapters.tables_sql import processes
from core.processes import Duty, Process, ProcessRole

P, D = processes.c, duties_table.c
MOST = 200


def is_gone(holder: ColumnElement[str]) -> ColumnElement[bool]:
    """Of a row that somebody works on: that its process is gone. Of a row that names none, only its lease tells."""
    return and_(holder != "", holder.not_in(select(P.id)))


class SqlProcesses:
    """Processes over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def beat(self, process: Process, now: datetime, *, silent_since: datetime | None, gone: str = "", duties: Sequence[Duty] = ()) -> Sequence[Duty]:
        """As the port says."""
        row = {"id": process.id, "role": process.role.value, "host": process.host, "started_at": process.started_at, "beat_at": now}

        def work(connection: Connection) -> Sequence[Duty]:
            over = P.id == gone if silent_since is None else or_(P.id == gone, P.beat_at < silent_since)
            connection.execute(delete(processes).where(over, P.id != process.id))
            connection.execute(upsert(processes).values(row).on_conflict_do_update(index_elements=["id"], set_={"beat_at": now}))
            for duty in duties:
                taken = upsert(duties_table).values(name=duty.value, holder=process.id)
                connection.execute(taken.on_conflict_do_update(index_elements=["name"], set_={"holder": process.id}, where=is_gone(D.holder)))
            held = select(D.name).where(D.holder == process.id)
            return [Duty(name) for name in connection.execute(held).scalars()] if duties else ()

        return await self._database.write(work)

    async def leave(self, process_id: str) -> None:
        """As the port says."""

        def work(connection: Connection) -> None:
            connection.execute(delete(processes).where(P.id == process_id))
            connection.execute(delete(duties_table).where(D.holder == process_id))

        await self._database.write(work)

    async def all(self) -> Sequence[Process]:
        """As the port says."""
        query = select(processes).order_by(P.role, P.id).limit(MOST)
        return [_process(row) for row in await self._database.read(lambda c: c.execute(query).all())]


def _process(row: Row[Any]) -> Process:
    return Process(row.id, ProcessRole(row.role), row.host, row.started_at, row.beat_at)
