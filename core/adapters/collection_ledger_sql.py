"""Everybody's collections in SQL, for the console's room alone. Counted per shown collection over its indexes, never over the whole table."""

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np
from sqlalchemy import Connection, Row, ScalarSelect, Select, case, delete, exists, func, select

from core.adapters.database_sql import Database
from core.adapters.documents_sql import GONE, OPEN, collection_of, vector_of
from core.adapters.tables_sql import chunk_vectors, chunks, collections, documents, ingest_jobs, users
from core.console.collections import Holdings, Passage
from core.console.collections import Row as ExportedRow
from core.console.folders import Known
from core.errors import NotFound
from core.inference import Vector
from core.rag.model import DocumentStatus, IngestStage
from core.records import DeleteReceipt, Page

SHOWN_CHARS = 300
HELD = documents.c.status.not_in([DocumentStatus.DELETED.value, DocumentStatus.CANCELLED.value])
OF_CHUNKS = chunks.c.collection_id == collections.c.id
OF_DOCUMENTS = (documents.c.collection_id == collections.c.id) & HELD


class SqlCollectionLedger:
    """CollectionLedger over a SQL database."""

    def __init__(self, database: Database) -> None:
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

    async def owner_of_document(self, document_id: str) -> str:
        """As the port says."""
        owner = await self._database.read(lambda c: c.execute(select(documents.c.owner_id).where(documents.c.id == document_id, HELD)).scalar())
        if owner is None:
            raise NotFound("There is no such document.", hint="It may have been deleted meanwhile.")
        return str(owner)

    async def sample(self, collection_id: str, limit: int, version: int | None = None) -> tuple[Sequence[Passage], Vector]:
        """As the port says."""
        here = (chunks.c.collection_id == collection_id, chunks.c.live > 0)

        def work(connection: Connection) -> tuple[Sequence[Passage], Vector]:
            every = connection.execute(select(func.count()).where(*here)).scalar_one()
            step = max(1, -(-every // limit))
            named = (chunks.c.id, chunks.c.document_id, chunks.c.title, func.substr(chunks.c.content, 1, SHOWN_CHARS), chunk_vectors.c.embedding)
            of = version if version is not None else _searched(collection_id)
            rows = connection.execute(
                select(*named).select_from(chunks.join(chunk_vectors, vector_of(of))).where(*here, chunks.c.n % step == 0).order_by(chunks.c.n).limit(limit)
            ).all()
            vectors = np.frombuffer(b"".join(row[4] for row in rows), np.float32).reshape(len(rows), -1) if rows else np.zeros((0, 0), np.float32)
            return [Passage(*row[:4]) for row in rows], vectors  # made here, in the thread: they may be tens of thousands

        return await self._database.read(work)

    async def rows(self, collection_id: str, limit: int, after: str = "") -> Sequence[ExportedRow]:
        """As the port says."""
        c = chunks.c
        named = (c.id, c.document_id, c.title, c.heading, c.page, c.position, c.content, chunk_vectors.c.embedding)
        query = (
            select(*named)
            .select_from(chunks.join(chunk_vectors, vector_of(_searched(collection_id))))
            .where(c.collection_id == collection_id, c.live > 0, c.id > after)
            .order_by(c.id)
            .limit(limit)
        )
        found = await self._database.read(lambda connection: connection.execute(query).all())
        return [ExportedRow(*row[:7], np.frombuffer(row[7], np.float32)) for row in found]

    async def known(self, collection_id: str, limit: int, after: str = "") -> Sequence[Known]:
        """As the port says."""
        d, j = documents.c, ingest_jobs.c
        coming = select(j.sha256).where(j.document_id == d.id, j.stage.in_((*OPEN, IngestStage.FAILED.value))).order_by(j.id.desc()).limit(1).scalar_subquery()
        query = select(d.id, d.name, func.coalesce(coming, d.sha256), d.source_url).where(d.collection_id == collection_id, HELD, d.id > after)
        return [Known(*row) for row in await self._database.read(lambda c: c.execute(query.order_by(d.id).limit(limit)).all())]

    async def bare_documents(self, collection_id: str) -> int:
        """As the port says."""
        none = ~exists().where(chunks.c.document_id == documents.c.id, chunks.c.live > 0)
        query = select(func.count()).where(documents.c.collection_id == collection_id, documents.c.status == DocumentStatus.READY.value, none)
        return int(await self._database.read(lambda c: c.execute(query).scalar_one()))

    async def originals(self, collection_id: str, limit: int) -> Sequence[str]:
        """As the port says."""
        ready = (documents.c.collection_id == collection_id, documents.c.status == DocumentStatus.READY.value, documents.c.uri != "")
        query = select(documents.c.uri).where(*ready).order_by(documents.c.id).limit(limit)
        return await self._database.read(lambda c: c.execute(query).scalars().all())

    async def orphans(self, collection_id: str) -> Mapping[str, int]:
        """As the port says."""
        return await self._database.read(lambda c: _counted(c, collection_id))

    async def drop_orphans(self, collection_id: str) -> DeleteReceipt:
        """As the port says."""

        def work(connection: Connection) -> DeleteReceipt:
            removed = {kind: connection.execute(delete(chunks).where(chunks.c.n.in_(found))).rowcount for kind, found in _orphans(collection_id).items()}
            return DeleteReceipt(removed, _counted(connection, collection_id))

        return await self._database.write(work)


def _searched(collection_id: str) -> ScalarSelect[int]:
    """The version of a collection that is searched."""
    return select(collections.c.version).where(collections.c.id == collection_id).scalar_subquery()


def _orphans(of: Any) -> dict[str, Select[Any]]:
    """The numbers of chunks of a version that its document has left behind, and of a document that is gone. A failed one's stay: a retry goes on from them.

    of: a collection's id, or the column with it. They are found document by document, in an index: the list of collections asks for them too.
    """
    theirs = select(chunks.c.n).join(documents, documents.c.id == chunks.c.document_id).where(documents.c.collection_id == of)
    ready, gone = documents.c.status == DocumentStatus.READY.value, documents.c.status.in_(GONE)
    going = exists().where(ingest_jobs.c.document_id == documents.c.id, ingest_jobs.c.stage.in_(OPEN))
    behind = theirs.where(ready, documents.c.version != chunks.c.version, ~going)
    return {"chunks of a version that was left behind": behind, "chunks of a document that is gone": theirs.where(gone)}


def _counted(connection: Connection, collection_id: str) -> dict[str, int]:
    return {kind: connection.execute(_count(found)).scalar_one() for kind, found in _orphans(collection_id).items()}


def _count(found: Select[Any]) -> Select[Any]:
    return found.with_only_columns(func.count())


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
        reduce(add, (_count(found).scalar_subquery() for found in _orphans(collections.c.id).values())).label("orphans"),
    ).join(users, users.c.id == collections.c.owner_id)


def _held(row: Row[Any]) -> Holdings:
    counts = (row.document_count, row.chunk_count, row.live_count, int(row.size_bytes), int(row.failed))
    return Holdings(collection_of(row), row.username, *counts, row.last_ingest, row.added_version, row.orphans)
