"""Everybody's conversations in SQL, for the console's rooms alone."""

from sqlalchemy import and_, exists, func, or_, select

from core.adapters.conversations_sql import has
from core.adapters.database_sql import Database
from core.adapters.tables_sql import conversations, messages, users
from core.console.reading import Talk
from core.errors import NotFound
from core.records import Page

SAID = select(func.count()).where(messages.c.conversation_id == conversations.c.id).scalar_subquery()


class SqlTalks:
    """Talks over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def talks(self, *, search: str = "", user_id: str = "", limit: int = 50, cursor: str = "") -> Page[Talk]:
        """As the port says."""
        c = conversations.c
        query = select(c.id, c.user_id, users.c.username, c.title, c.created_at, c.pinned, SAID).join(users, users.c.id == c.user_id)
        for word in search.split()[:10]:
            said = exists().where(and_(messages.c.conversation_id == c.id, has(messages.c.content, word)))
            query = query.where(or_(has(c.title, word), said))
        if user_id:
            query = query.where(c.user_id == user_id)
        if cursor:
            query = query.where(c.id < cursor)
        query = query.order_by(c.id.desc()).limit(limit + 1)
        found = [Talk(*row) for row in await self._database.read(lambda connection: connection.execute(query).all())]
        return Page(found[:limit], found[limit - 1].conversation_id if len(found) > limit else "")

    async def owner(self, conversation_id: str) -> str:
        """As the port says."""
        query = select(conversations.c.user_id).where(conversations.c.id == conversation_id)
        owner = await self._database.read(lambda c: c.execute(query).scalar())
        if owner is None:
            raise NotFound("There is no such conversation.", hint="It may have been deleted.")
        return str(owner)

    async def owner_of_answer(self, message_id: str) -> str:
        """As the port says."""
        owner = await self._database.read(lambda c: c.execute(select(messages.c.user_id).where(messages.c.id == message_id)).scalar())
        if owner is None:
            raise NotFound("There is no such message.", hint="It may have been deleted.")
        return str(owner)
