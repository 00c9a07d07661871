"""Links to conversations in SQL."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select

from core.adapters.database_sql import Database
from core.adapters.tables_sql import conversations, shares
from core.chat.model import Share
from core.errors import NotFound


def _share(row: Row[Any]) -> Share:
    return Share(row.id, row.user_id, row.conversation_id, row.leaf_id, row.created_at)


class SqlShares:
    """Shares over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_share(self, share: Share, secret_hash: str) -> None:
        """As the port says."""
        values = {name: getattr(share, name) for name in ("id", "user_id", "conversation_id", "leaf_id", "created_at")}

        def work(connection: Connection) -> None:
            mine = select(conversations.c.id).where(conversations.c.id == share.conversation_id, conversations.c.user_id == share.user_id)
            if connection.execute(mine).first() is None:
                raise NotFound("There is no such conversation.", hint="It may have been deleted.")
            connection.execute(insert(shares).values(**values, secret_hash=secret_hash))

        await self._database.write(work)

    async def shares_for(self, user_id: str, conversation_id: str) -> Sequence[Share]:
        """As the port says."""
        query = select(shares).where(shares.c.user_id == user_id, shares.c.conversation_id == conversation_id).order_by(shares.c.created_at)
        return [_share(row) for row in await self._database.read(lambda c: c.execute(query).all())]

    async def shared(self, secret_hash: str) -> Share:
        """As the port says."""
        row = await self._database.read(lambda c: c.execute(select(shares).where(shares.c.secret_hash == secret_hash)).one_or_none())
        if row is None:
            raise NotFound("This link leads nowhere.", hint="It may have been revoked; ask whoever gave it to you.")
        return _share(row)

    async def revoke_for(self, user_id: str, share_id: str) -> None:
        """As the port says."""
        gone = await self._database.write(lambda c: c.execute(delete(shares).where(shares.c.id == share_id, shares.c.user_id == user_id)).rowcount)
        if not gone:
            raise NotFound("There is no such link.", hint="It may have been revoked already.")
