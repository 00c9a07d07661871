"""Golden sets in SQL."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, delete, func, insert, select

from core.adapters.database_sql import Database
from core.adapters.tables_sql import golden_rows
from core.errors import AlreadyThere
from core.rag.golden import GoldenRow
from core.records import DeleteReceipt, Page


class SqlGoldenSets:
    """GoldenSets over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: GoldenRow) -> None:
        """As the port says."""
        same = select(golden_rows.c.id).where(
            golden_rows.c.golden_set == row.golden_set, golden_rows.c.message_id == row.message_id, golden_rows.c.origin == row.origin
        )

        def work(connection: Connection) -> None:
            if row.origin != "lab" and connection.execute(same).first():
                raise AlreadyThere("That answer is in this golden set already.", hint="Delete its row first if the verdict has changed.")
            connection.execute(insert(golden_rows).values({c.name: getattr(row, c.name) for c in golden_rows.c}))

        await self._database.write(work)

    async def sets(self, owner_id: str = "") -> Mapping[str, int]:
        """As the port says."""
        query = select(golden_rows.c.golden_set, func.count()).group_by(golden_rows.c.golden_set).order_by(golden_rows.c.golden_set)
        if owner_id:
            query = query.where(golden_rows.c.owner_id == owner_id)
        return {name: count for name, count in await self._database.read(lambda c: c.execute(query).all())}

    async def rows(self, golden_set: str, owner_id: str = "", *, limit: int = 50, cursor: str = "") -> Page[GoldenRow]:
        """As the port says."""
        query = select(golden_rows).where(golden_rows.c.golden_set == golden_set, golden_rows.c.id > cursor).order_by(golden_rows.c.id).limit(limit + 1)
        if owner_id:
            query = query.where(golden_rows.c.owner_id == owner_id)
        found = await self._database.read(lambda c: c.execute(query).all())
        rows = [
            GoldenRow(r.id, r.golden_set, r.question, r.owner_id, tuple(r.collections), tuple(r.chunk_ids), r.refuse, r.origin, r.message_id, r.made_at)
            for r in found[:limit]
        ]
        return Page(rows, rows[-1].id if len(found) > limit else "")

    async def drop(self, ids: Sequence[str]) -> DeleteReceipt:
        """As the port says."""
        here = golden_rows.c.id.in_(list(ids))

        def work(connection: Connection) -> DeleteReceipt:
            removed = connection.execute(delete(golden_rows).where(here)).rowcount
            left = connection.execute(select(func.count()).where(here)).scalar_one()
            return DeleteReceipt({"golden rows": removed}, {"golden rows": left})

        return await self._database.write(work)
