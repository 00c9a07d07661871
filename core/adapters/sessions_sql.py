"""Sessions in a SQL table with `expires_at`; a row past it is absent, swept or not."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from core.adapters.database_sql import Database
from core.adapters.events_outbox import append
from core.adapters.tables_sql import sessions
from core.errors import NotFound
from core.events import Event
from core.records import Page
from core.users.model import Session

LIVE = select(sessions).where(sessions.c.token_hash == bindparam("token"), sessions.c.expires_at > bindparam("now"))


def _session(row: Row[Any]) -> Session:
    return Session(row.id, row.user_id, row.type, row.started_at, row.last_activity, row.metadata)


class SqlSessions:
    """Sessions over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, session: Session, token_hash: str, events: Sequence[Event]) -> None:
        """As the port says."""

        def work(connection: Connection) -> None:
            connection.execute(delete(sessions).where(sessions.c.token_hash == token_hash))
            connection.execute(
                insert(sessions).values(
                    token_hash=token_hash,
                    id=session.id,
                    user_id=session.user_id,
                    type=session.type,
                    started_at=session.started_at,
                    last_activity=session.last_activity,
                    expires_at=session.expires_at,
                    metadata=session.metadata,
                )
            )
            append(connection, events)

        await self._database.write(work)

    async def find(self, token_hash: str, now: datetime) -> Session | None:
        """As the port says."""
        row = await self._database.read(lambda c: c.execute(LIVE, {"token": token_hash, "now": now}).one_or_none())
        return None if row is None else _session(row)

    async def touch(self, token_hash: str, session: Session) -> bool:
        """As the port says."""
        change = update(sessions).where(sessions.c.token_hash == token_hash).values(last_activity=session.last_activity)
        return bool(await self._database.write(lambda c: c.execute(change).rowcount))

    async def close(self, token_hash: str) -> None:
        """As the port says."""
        await self._database.write(lambda c: c.execute(delete(sessions).where(sessions.c.token_hash == token_hash)))

    async def close_all(self, user_id: str) -> Sequence[str]:
        """As the port says."""
        gone = delete(sessions).where(sessions.c.user_id == user_id).returning(sessions.c.token_hash)
        return await self._database.write(lambda c: c.execute(gone).scalars().all())

    async def of(self, user_id: str, now: datetime, *, limit: int = 50, cursor: str = "") -> Page[Session]:
        """As the port says."""
        query = select(sessions).where(sessions.c.user_id == user_id, sessions.c.expires_at > now).order_by(sessions.c.id.desc()).limit(limit + 1)
        rows = await self._database.read(lambda c: c.execute(query.where(sessions.c.id < cursor) if cursor else query).all())
        return Page([_session(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else "")

    async def close_one(self, user_id: str, session_id: str) -> str:
        """As the port says."""
        gone = delete(sessions).where(sessions.c.id == session_id, sessions.c.user_id == user_id).returning(sessions.c.token_hash)
        token_hash: str | None = await self._database.write(lambda c: c.execute(gone).scalar_one_or_none())
        if token_hash is None:
            raise NotFound("There is no such session.", hint="It may have ended already.")
        return token_hash

    async def drop_expired(self, now: datetime) -> int:
        """As the port says."""
        return await self._database.write(lambda c: c.execute(delete(sessions).where(sessions.c.expires_at <= now)).rowcount)

    async def count_expired(self, now: datetime) -> int:
        """As the port says."""
        return await self._database.read(lambda c: c.execute(select(func.count()).select_from(sessions).where(sessions.c.expires_at <= now)).scalar_one())
