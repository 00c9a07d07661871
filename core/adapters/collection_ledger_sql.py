"""Everybody's collections in SQL, for the console's room alone. Counted per shown collection over its indexes, never over the whole table."""

from typing import Any

from sqlalchemy import Row, Select, case, func, select

from core.adapters.database_sql import SqliteDatabase
from core.adapters.documents_sql import collection_of
from core.adapters.tables_sql import chunks, collections, documents, users
from core.console.collections import Holdings
from core.errors import NotFound
from core.rag.model import DocumentStatus
from core.records import Page

HELD = documents.c.status.not_in([DocumentStatus.DELETED.value, DocumentStatus.CANCELLED.value])
OF_CHUNKS = chunks.c.collection_id == collections.c.id
OF_DOCUMENTS = (documents.c.collection_id == collections.c.id) & HELD


class SqlCollectionLedger:
    """CollectionLedger over a SQL database."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def holdings(self, *, limit: int = 50, cursor: str = "") -> Page[Holdings]:
        """As the port says."""
        query = _holdings().order_by(collections.c.id.desc()).limit(limit + 1)
        if cursor:
            query = query.where(collections.c.id < cursor)
        found = [_held(row) for row in await self._database.read(lambda c: c.execute(query).all())]
        return Page(found[:limit], found[limit - 1].collection.id if len(found) > limit else "")

    async def holding(self, collection_id: str) -> Holdings:
        """As the port says."""
        query = _holdings().where(collections.c.id == collection_id)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        if row is None:
            raise NotFound("There is no such collection.", hint="It may have been deleted meanwhile.")
        return _held(row)


def _holdings() -> Select[Any]:
    def counted(what: Any, where: Any) -> Any:
        return select(what).where(where).scalar_subquery()

    return select(
        collections,
        users.c.username,
        counted(func.count(), OF_DOCUMENTS).label("document_count"),
        counted(func.count(), OF_CHUNKS).label("chunk_count"),
        counted(func.count(), OF_CHUNKS & (chunks.c.live > 0)).label("live_count"),
        counted(func.coalesce(func.sum(documents.c.size_bytes), 0), OF_DOCUMENTS).label("size_bytes"),
        counted(func.coalesce(func.sum(case((documents.c.status == DocumentStatus.FAILED.value, 1), else_=0)), 0), OF_DOCUMENTS).label("failed"),
        counted(func.max(documents.c.ingested_at), OF_DOCUMENTS).label("last_ingest"),
    ).join(users, users.c.id == collections.c.owner_id)


def _held(row: Row[Any]) -> Holdings:
    return Holdings(
        collection_of(row), row.username, row.document_count, row.chunk_count, row.live_count, int(row.size_bytes), int(row.failed), row.last_ingest
    )
