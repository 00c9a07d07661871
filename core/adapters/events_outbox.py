"""The event log as a table: the outbox itself, written in the same transaction as what it tells of.

What Hearth does itself is recorded by that transaction. Events that another program publishes wait until the recorder has written their effect; effect
and record are one transaction, so an event delivered twice has one effect.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.sqlite import insert

from core.adapters.database_sql import SqliteDatabase
from core.adapters.tables_sql import outbox
from core.events import Event, EventType, RecordedEvent

Effect = Callable[[Connection, Event], None]
# Built once, because every turn appends a few times.
APPEND = insert(outbox).on_conflict_do_nothing(index_elements=["event_id"])


def append(connection: Connection, events: Sequence[Event], *, recorded: bool = True) -> None:
    """Writes events in the caller's transaction; ids that are there already change nothing."""
    if events:
        rows = [
            {
                "event_id": e.id,
                "type": e.type.value,
                "user_id": e.user_id,
                "aggregate_id": e.aggregate_id,
                "at": e.at,
                "data": e.data,
                "recorded_at": e.at if recorded else None,
            }
            for e in events
        ]
        connection.execute(APPEND, rows)


class OutboxEventLog:
    """The embedded event log; `effects` says what the recorder does for which published event."""

    def __init__(self, database: SqliteDatabase, effects: Mapping[EventType, Effect]) -> None:
        self._database, self._effects = database, effects

    async def publish(self, events: Sequence[Event]) -> None:
        """As the port says."""
        await self._database.write(lambda c: append(c, events, recorded=False))

    async def read(self, after_seq: int = 0, *, limit: int = 100, aggregate_id: str = "", user_id: str = "") -> Sequence[RecordedEvent]:
        """As the port says."""
        query = select(outbox).where(outbox.c.seq > after_seq).order_by(outbox.c.seq).limit(limit)
        if aggregate_id:
            query = query.where(outbox.c.aggregate_id == aggregate_id)
        if user_id:
            query = query.where(outbox.c.user_id == user_id)
        return [RecordedEvent(row.seq, _event(row)) for row in await self._database.read(lambda c: c.execute(query).all())]

    async def record(self, limit: int = 100) -> int:
        """As the port says."""
        waiting = select(outbox).where(outbox.c.recorded_at.is_(None)).order_by(outbox.c.seq).limit(limit)
        if not await self._database.read(lambda c: c.execute(waiting.limit(1)).first()):
            return 0

        def work(connection: Connection) -> int:
            rows = connection.execute(waiting).all()
            for row in rows:
                if effect := self._effects.get(EventType(row.type)):
                    effect(connection, _event(row))
                connection.execute(update(outbox).where(outbox.c.seq == row.seq).values(recorded_at=datetime.now(UTC)))
            return len(rows)

        return await self._database.write(work)


def _event(row: Any) -> Event:
    return Event(row.event_id, EventType(row.type), row.user_id, row.aggregate_id, row.at, row.data)
