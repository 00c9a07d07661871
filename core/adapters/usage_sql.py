"""What each user uses on each day, counted in the transaction that stores what was used."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, bindparam, select

from core.adapters.database_sql import Database, upsert
from core.adapters.tables_sql import EPOCH, usage
from core.users.model import NO_QUOTA, Quota, Used

# Built once, because every turn counts.
_ADD = upsert(usage).values({name: bindparam(name) for name in ("user_id", "day", "tokens", "requests", "audio_ms")})
ADD = _ADD.on_conflict_do_update(
    index_elements=["user_id", "day"], set_={name: usage.c[name] + _ADD.excluded[name] for name in ("tokens", "requests", "audio_ms")}
)
ON_A_DAY = select(usage.c.tokens, usage.c.requests, usage.c.audio_ms).where(usage.c.user_id == bindparam("user_id"), usage.c.day == bindparam("day"))


def day_of(moment: datetime) -> int:
    """Days since 1970 in UTC."""
    return (moment.astimezone(UTC) - EPOCH) // timedelta(days=1)


def count(connection: Connection, user_id: str, at: datetime, *, tokens: int = 0, requests: int = 0, audio_ms: float = 0.0) -> None:
    """Adds to a user's day, in the caller's transaction."""
    connection.execute(ADD, {"user_id": user_id, "day": day_of(at), "tokens": tokens, "requests": requests, "audio_ms": audio_ms})


def used_on(connection: Connection, user_id: str, at: datetime) -> Used:
    """What a user has used on the day of that moment."""
    row = connection.execute(ON_A_DAY, {"user_id": user_id, "day": day_of(at)}).one_or_none()
    return Used(*row) if row else Used()


def demand(connection: Connection, user_id: str, quota: Quota, at: datetime) -> None:
    """Raises: QuotaSpent if nothing is left of something on that day."""
    if quota != NO_QUOTA:
        used_on(connection, user_id, at).demand(quota, at)


class SqlUsage:
    """Usage over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def on_day(self, user_id: str, at: datetime) -> Used:
        """As the port says."""
        return await self._database.read(lambda c: used_on(c, user_id, at))

    async def days(self, user_id: str, until: datetime, count: int) -> Sequence[tuple[datetime, Used]]:
        """As the port says."""
        last = day_of(until)
        query = select(usage).where(usage.c.user_id == user_id, usage.c.day <= last, usage.c.day > last - count).order_by(usage.c.day)
        rows = {row.day: Used(row.tokens, row.requests, row.audio_ms) for row in await self._database.read(lambda c: c.execute(query).all())}
        return [(EPOCH + timedelta(days=day), rows.get(day, Used())) for day in range(last - count + 1, last + 1)]

    async def add(self, user_id: str, at: datetime, *, requests: int = 0, audio_ms: float = 0.0) -> None:
        """As the port says."""
        await self._database.write(lambda c: count(c, user_id, at, requests=requests, audio_ms=audio_ms))
