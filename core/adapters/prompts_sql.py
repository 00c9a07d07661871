"""Saved prompts in SQL."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from core.adapters.database_sql import Database, upsert
from core.adapters.tables_sql import prompts
from core.chat.model import SavedPrompt
from core.errors import NotFound


class SqlPrompts:
    """Prompts over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def save_prompt(self, prompt: SavedPrompt) -> None:
        """As the port says."""
        values = {c.name: getattr(prompt, c.name) for c in prompts.c}
        statement = upsert(prompts).values(values).on_conflict_do_update(index_elements=["user_id", "name"], set_={"text": prompt.text})
        await self._database.write(lambda c: c.execute(statement))

    async def prompts_for(self, user_id: str, limit: int = 200) -> Sequence[SavedPrompt]:
        """As the port says."""
        query = select(prompts).where(prompts.c.user_id == user_id).order_by(prompts.c.name).limit(limit)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [SavedPrompt(row.id, row.user_id, row.name, row.text, row.created_at) for row in rows]

    async def drop_prompt_for(self, user_id: str, prompt_id: str) -> None:
        """As the port says."""
        gone = await self._database.write(lambda c: c.execute(delete(prompts).where(prompts.c.id == prompt_id, prompts.c.user_id == user_id)).rowcount)
        if not gone:
            raise NotFound("There is no such prompt.", hint="It may have been deleted already.")
