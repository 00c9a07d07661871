"""The event log as a table: the outbox itself, written in the same transaction as what it tells of.

What Hearth does itself is recorded by that transaction. Events that another program publishes wait until the recorder has written their effect; effect
and record are one transaction, so an event delivered twice has one effect.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, insert, select, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from core.adapters.database_sql import Database, upsert
from core.adapters.tables_sql import outbox, relay, stream_purges
from core.errors import BadInput, HearthError
from core.events import DeadLetter, Event, EventType, RecordedEvent
from core.records import Page

MAX_ATTEMPTS = 5
"""After so many an effect is given up: the event is set aside as a dead letter."""
UNREADABLE = "unreadable bytes"
"""Under this key the data of an event has what another program sent instead of data, for whoever looks at the dead letter."""
Effect = Callable[[Connection, Event], None]
# Built once, because every turn appends a few times.
APPEND = upsert(outbox).on_conflict_do_nothing(index_elements=["event_id"])


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


def forget(connection: Connection, aggregate_ids: Sequence[str] = (), *, user_id: str = "") -> None:
    """Has a server of events forget too what the caller's transaction deletes here, now or when it is there again; nothing where there never was one."""
    rows = [{"user_id": user_id, "aggregate_id": of, "at": datetime.now(UTC)} for of in (aggregate_ids if not user_id else [""])]
    if rows and connection.execute(select(relay)).first():
        connection.execute(insert(stream_purges), rows)


class OutboxEventLog:
    """The embedded event log; `effects` says what the recorder does for which published event."""

    adapter = "the records"

    def __init__(self, database: Database, effects: Mapping[EventType, Effect]) -> None:
        self._database, self._effects = database, effects

    async def check(self) -> None:
        """As the port says."""
        await self._database.check()

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
        return [RecordedEvent(row.seq, event_of(row)) for row in await self._database.read(lambda c: c.execute(query).all())]

    async def record(self, limit: int = 100) -> int:
        """As the port says."""
        waiting = select(outbox).where(outbox.c.recorded_at.is_(None), outbox.c.dead_at.is_(None)).order_by(outbox.c.seq).limit(limit)
        if not await self._database.read(lambda c: c.execute(waiting.limit(1)).first()):
            return 0
        return await self._database.write(lambda c: self._recorded(c, c.execute(waiting).all()))

    def _recorded(self, connection: Connection, rows: Sequence[Row[Any]]) -> int:
        """Writes their effects; one that can't be written holds up no other, and is given up after some attempts. Says how many were written."""
        try:
            with connection.begin_nested():
                for row in rows:
                    self._affect(connection, row)
                connection.execute(update(outbox).where(outbox.c.seq.in_([row.seq for row in rows])).values(recorded_at=datetime.now(UTC)))
        except OperationalError:  # the database's trouble, not the event's: the next round tries again
            raise
        except (HearthError, SQLAlchemyError, ValueError, TypeError, KeyError) as error:  # another program made the event: anything may be in it
            if len(rows) > 1:
                return sum([self._recorded(connection, [row]) for row in rows])
            (row,) = rows
            dead_at = datetime.now(UTC) if row.attempts + 1 >= MAX_ATTEMPTS else None
            failed = {"attempts": row.attempts + 1, "error": f"{type(error).__name__}: {error}"[:500], "dead_at": dead_at}
            connection.execute(update(outbox).where(outbox.c.seq == row.seq).values(failed))
            return 0
        return len(rows)

    def _affect(self, connection: Connection, row: Row[Any]) -> None:
        if UNREADABLE in row.data:
            raise BadInput(f"What came can't be read: {row.data.get('reason')}.", hint="docs/events.md says what it has to be.")
        if effect := self._effects.get(EventType(row.type)):
            effect(connection, event_of(row))

    async def latest(
        self, *, aggregate_id: str = "", user_id: str = "", kind: EventType | None = None, limit: int = 50, cursor: str = ""
    ) -> Page[RecordedEvent]:
        """As the port says."""
        query = select(outbox).order_by(outbox.c.seq.desc()).limit(limit + 1)
        for column, wanted in ((outbox.c.aggregate_id, aggregate_id), (outbox.c.user_id, user_id), (outbox.c.type, kind.value if kind else "")):
            if wanted:
                query = query.where(column == wanted)
        rows = await self._database.read(lambda c: c.execute(_before(query, cursor)).all())
        return Page([RecordedEvent(row.seq, event_of(row)) for row in rows[:limit]], str(rows[limit - 1].seq) if len(rows) > limit else "")

    async def dead(self, *, limit: int = 50, cursor: str = "") -> Page[DeadLetter]:
        """As the port says."""
        query = select(outbox).where(outbox.c.dead_at.is_not(None)).order_by(outbox.c.seq.desc()).limit(limit + 1)
        rows = await self._database.read(lambda c: c.execute(_before(query, cursor)).all())
        letters = [DeadLetter(row.seq, event_of(row), row.attempts, row.error, row.dead_at) for row in rows[:limit]]
        return Page(letters, str(rows[limit - 1].seq) if len(rows) > limit else "")

    async def revive(self, seqs: Sequence[int]) -> int:
        """As the port says."""
        again = update(outbox).where(outbox.c.seq.in_(list(seqs)), outbox.c.dead_at.is_not(None)).values(attempts=0, error="", dead_at=None)
        return await self._database.write(lambda c: c.execute(again).rowcount)


def _before(query: Select[Any], cursor: str) -> Select[Any]:
    """The page of events that a cursor stands for. Raises: BadInput for one that no page gave."""
    if cursor and not cursor.isdecimal():
        raise BadInput("That is no cursor of this list.", hint="Give `next_cursor` back as it came.")
    return query.where(outbox.c.seq < int(cursor)) if cursor else query


def event_of(row: Any) -> Event:
    """A row of the outbox."""
    return Event(row.event_id, EventType(row.type), row.user_id, row.aggregate_id, row.at, row.data)
