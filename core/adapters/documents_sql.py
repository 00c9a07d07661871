"""Collections, documents, chunk rows and ingest jobs in SQL.

Chunk rows hold text, place and vector and are the truth that every index is made from. A chunk is searched when `live` is set, which happens for a
whole version at once; the full text follows by trigger, in the same transaction.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
from sqlalchemy import Connection, Row, Select, and_, case, delete, func, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import IntegrityError

from core.adapters.database_sql import SqliteDatabase
from core.adapters.tables_sql import chunks, collections, documents, ingest_jobs
from core.errors import AlreadyThere, BadInput, IllegalStep, NotFound
from core.rag.model import Chunk, ChunkMetadata, Collection, Document, DocumentStatus, FoundChunk, IngestJob, IngestStage
from core.records import DeleteReceipt, Page

READY, FAILED, INGESTING, DELETED = (s.value for s in (DocumentStatus.READY, DocumentStatus.FAILED, DocumentStatus.INGESTING, DocumentStatus.DELETED))
ENDED = (IngestStage.READY.value, IngestStage.FAILED.value)
DOCUMENT: list[Any] = [c for c in documents.c if c.name != "content"]
JOB = select(ingest_jobs, documents.c.owner_id, documents.c.title, collections.c.name.label("collection")).select_from(
    ingest_jobs.join(documents, ingest_jobs.c.document_id == documents.c.id).join(collections, documents.c.collection_id == collections.c.id)
)


def scope_word(collection_id: str) -> str:
    """A collection as one word of the full text."""
    return "c" + collection_id.replace("-", "")


def _collection(row: Row[Any]) -> Collection:
    return Collection(row.id, row.owner_id, row.name, row.embedding_model, row.dimensions, row.chunker, row.created_at, row.version)


def _document(row: Row[Any]) -> Document:
    return Document(
        id=row.id,
        collection=row.collection,
        title=row.title,
        content=getattr(row, "content", ""),
        source_url=row.source_url,
        ingested_at=row.ingested_at,
        owner_id=row.owner_id,
        status=DocumentStatus(row.status),
        version=row.version,
        sha256=row.sha256,
        media_type=row.media_type,
        size_bytes=row.size_bytes,
        uri=row.uri,
        chunks=row.chunks,
        created_at=row.created_at,
    )


def _job(row: Row[Any]) -> IngestJob:
    return IngestJob(
        id=row.id,
        document_id=row.document_id,
        owner_id=row.owner_id,
        collection=row.collection,
        title=row.title,
        stage=IngestStage(row.stage),
        percent=row.percent,
        error=row.error,
        attempts=row.attempts,
        created_at=row.created_at,
        heartbeat_at=row.heartbeat_at,
    )


def _found(row: Row[Any]) -> FoundChunk:
    place = ChunkMetadata(row.position, row.page, row.heading, row.start, row.end)
    return FoundChunk(Chunk(row.id, row.document_id, row.content, None, place), row.title, row.collection, row.uri)


FOUND = select(chunks, documents.c.uri, collections.c.name.label("collection")).select_from(
    chunks.join(documents, chunks.c.document_id == documents.c.id).join(collections, documents.c.collection_id == collections.c.id)
)
_with_collection = documents.join(collections, documents.c.collection_id == collections.c.id)


def _demand_collection(connection: Connection, user_id: str, name: str) -> Row[Any]:
    row = connection.execute(select(collections).where(collections.c.owner_id == user_id, collections.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"There is no collection named {name!r}.", hint="Make it first, or check the name; capital letters count.")
    return row


def _demand_document(connection: Connection, user_id: str, document_id: str) -> Row[Any]:
    query = select(documents, collections.c.name.label("collection")).select_from(_with_collection)
    row = connection.execute(query.where(documents.c.id == document_id, documents.c.owner_id == user_id, documents.c.status != DELETED)).one_or_none()
    if row is None:
        raise NotFound("There is no such document.", hint="It may have been deleted.")
    return row


def _go_live(connection: Connection, document: Document) -> None:
    """Makes one version of a document searchable and removes the rows of every other."""
    mine = chunks.c.document_id == document.id
    connection.execute(delete(chunks).where(mine, or_(chunks.c.version != document.version, chunks.c.position >= document.chunks)))
    at = select(documents.c.collection_id).where(documents.c.id == document.id).scalar_subquery()
    connection.execute(update(collections).where(collections.c.id == at).values(added_version=collections.c.added_version + 1))
    version = select(collections.c.added_version).where(collections.c.id == at).scalar_subquery()
    connection.execute(update(chunks).where(mine, chunks.c.live == 0).values(live=version))


def _hide(connection: Connection, document_id: str) -> None:
    """Takes a document's chunks out of every search."""
    hidden = connection.execute(update(chunks).where(chunks.c.document_id == document_id, chunks.c.live > 0).values(live=0)).rowcount
    if hidden:
        at = select(documents.c.collection_id).where(documents.c.id == document_id).scalar_subquery()
        grown = collections.c.added_version + 1
        connection.execute(update(collections).where(collections.c.id == at).values(added_version=grown, removed_version=grown))


class SqlDocuments:
    """Documents over a SQL database."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def add_collection(self, collection: Collection) -> None:
        """As the port says."""
        values = {name: getattr(collection, name) for name in ("id", "owner_id", "name", "embedding_model", "dimensions", "chunker", "version", "created_at")}
        try:
            await self._database.write(lambda c: c.execute(insert(collections).values(values)))
        except IntegrityError as error:
            raise AlreadyThere(f"You have a collection named {collection.name!r} already.", hint="Use it, or take another name.") from error

    async def collection_for(self, user_id: str, name: str) -> Collection:
        """As the port says."""
        return _collection(await self._database.read(lambda c: _demand_collection(c, user_id, name)))

    async def collections_for(self, user_id: str, *, limit: int = 50, cursor: str = "") -> Page[tuple[Collection, Mapping[str, int]]]:
        """As the port says."""

        def count(status: str) -> Any:
            return func.coalesce(func.sum(case((documents.c.status == status, 1), else_=0)), 0).label(status)

        alive = and_(documents.c.collection_id == collections.c.id, documents.c.status != DELETED)
        sums = [func.count(documents.c.id).label("documents"), count(READY), count(FAILED), count(INGESTING)]
        sums += [func.coalesce(func.sum(column), 0).label(column.name) for column in (documents.c.chunks, documents.c.size_bytes)]
        query = (
            select(collections, *sums)
            .select_from(collections.outerjoin(documents, alive))
            .where(collections.c.owner_id == user_id, collections.c.name > cursor)
        )
        query = query.group_by(collections.c.id).order_by(collections.c.name).limit(limit + 1)
        rows = await self._database.read(lambda c: c.execute(query).all())
        names = [column.name for column in sums]
        items = [(_collection(row), {name: row._mapping[name] for name in names}) for row in rows[:limit]]
        return Page(items, items[-1][0].name if len(rows) > limit else "")

    async def delete_collection_for(self, user_id: str, name: str) -> DeleteReceipt:
        """As the port says."""

        def work(connection: Connection) -> DeleteReceipt:
            row = _demand_collection(connection, user_id, name)
            if connection.execute(select(documents.c.id).where(documents.c.collection_id == row.id)).first():
                raise IllegalStep(f"The collection {name!r} still has documents.", hint="Delete them first.")
            return DeleteReceipt({"collections": connection.execute(delete(collections).where(collections.c.id == row.id)).rowcount}, {"collections": 0})

        return await self._database.write(work)

    async def add_document(self, document: Document, collection: Collection, job: IngestJob) -> tuple[Document, IngestJob]:
        """As the port says."""

        def work(connection: Connection) -> tuple[Document, IngestJob]:
            same = and_(documents.c.collection_id == collection.id, documents.c.sha256 == document.sha256, documents.c.status != DELETED)
            there = connection.execute(select(documents.c.id, documents.c.owner_id).where(same)).first()
            if there is not None:
                self._queue_again(connection, there.id)
                last = JOB.where(ingest_jobs.c.document_id == there.id).order_by(ingest_jobs.c.created_at.desc())
                return _document(_demand_document(connection, there.owner_id, there.id)), _job(connection.execute(last).first())  # type: ignore[arg-type]
            values = {c.name: getattr(document, c.name) for c in documents.c if c.name not in ("collection_id", "status")}
            connection.execute(insert(documents).values({**values, "collection_id": collection.id, "status": document.status.value}))
            fields = ("id", "document_id", "percent", "error", "attempts", "created_at", "heartbeat_at")
            connection.execute(insert(ingest_jobs).values({**{name: getattr(job, name) for name in fields}, "stage": job.stage.value}))
            return document, job

        return await self._database.write(work)

    def _queue_again(self, connection: Connection, document_id: str) -> None:
        failed = and_(ingest_jobs.c.document_id == document_id, ingest_jobs.c.stage == IngestStage.FAILED.value)
        queued = {"stage": IngestStage.QUEUED.value, "percent": 0.0, "error": "", "attempts": 0, "lease_until": None}
        if connection.execute(update(ingest_jobs).where(failed).values(queued)).rowcount:
            connection.execute(update(documents).where(documents.c.id == document_id).values(status=INGESTING))

    async def document_for(self, user_id: str, document_id: str) -> Document:
        """As the port says."""
        return _document(await self._database.read(lambda c: _demand_document(c, user_id, document_id)))

    async def documents_for(self, user_id: str, collection: str, *, limit: int = 50, cursor: str = "") -> Page[Document]:
        """As the port says."""

        def work(connection: Connection) -> Sequence[Row[Any]]:
            row = _demand_collection(connection, user_id, collection)
            query = select(*DOCUMENT, collections.c.name.label("collection")).select_from(_with_collection)
            query = query.where(documents.c.collection_id == row.id, documents.c.status != DELETED)
            return list(connection.execute(_newest_first(query, documents.c.id, limit, cursor)).all())

        rows = await self._database.read(work)
        return Page([_document(r) for r in rows[:limit]], rows[limit - 1].id if len(rows) > limit else "")

    async def job_for(self, user_id: str, job_id: str) -> IngestJob:
        """As the port says."""
        query = JOB.where(ingest_jobs.c.id == job_id, documents.c.owner_id == user_id, documents.c.status != DELETED)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        if row is None:
            raise NotFound("There is no such job.", hint="Its document may have been deleted.")
        return _job(row)

    async def jobs_for(self, user_id: str, *, collection: str = "", unfinished: bool = False, limit: int = 50, cursor: str = "") -> Page[IngestJob]:
        """As the port says."""
        query = JOB.where(documents.c.owner_id == user_id, documents.c.status != DELETED)
        if collection:
            query = query.where(collections.c.name == collection)
        if unfinished:
            query = query.where(ingest_jobs.c.stage.not_in(ENDED))
        rows = await self._database.read(lambda c: c.execute(_newest_first(query, ingest_jobs.c.id, limit, cursor)).all())
        return Page([_job(r) for r in rows[:limit]], rows[limit - 1].id if len(rows) > limit else "")

    async def lease_job(self, now: datetime, lease_until: datetime) -> tuple[IngestJob, Document, Collection] | None:
        """As the port says."""
        free = or_(ingest_jobs.c.lease_until.is_(None), ingest_jobs.c.lease_until <= now)
        waiting = JOB.where(ingest_jobs.c.stage.not_in(ENDED), free, documents.c.status != DELETED).order_by(ingest_jobs.c.id).limit(1)
        if not await self._database.read(lambda c: c.execute(waiting).first()):
            return None  # the usual case costs no write

        def work(connection: Connection) -> tuple[IngestJob, Document, Collection] | None:
            row = connection.execute(waiting).first()
            if row is None:
                return None
            taken = {"lease_until": lease_until, "heartbeat_at": now, "attempts": row.attempts + 1}
            connection.execute(update(ingest_jobs).where(ingest_jobs.c.id == row.id).values(taken))
            document = _demand_document(connection, row.owner_id, row.document_id)
            collection = connection.execute(select(collections).where(collections.c.id == document.collection_id)).one()
            return _job(connection.execute(JOB.where(ingest_jobs.c.id == row.id)).one()), _document(document), _collection(collection)

        return await self._database.write(work)

    async def release_jobs(self) -> int:
        """As the port says."""
        change = update(ingest_jobs).where(ingest_jobs.c.lease_until.is_not(None)).values(lease_until=None)
        return await self._database.write(lambda c: c.execute(change).rowcount)

    async def report(self, job: IngestJob, lease_until: datetime) -> bool:
        """As the port says."""
        values = {name: getattr(job, name) for name in ("percent", "error", "attempts", "heartbeat_at")}
        values |= {"stage": job.stage.value, "lease_until": lease_until}

        def work(connection: Connection) -> bool:
            alive = select(documents.c.id).where(documents.c.id == job.document_id, documents.c.status != DELETED)
            if not connection.execute(alive).first():
                return False
            connection.execute(update(ingest_jobs).where(ingest_jobs.c.id == job.id).values(values))
            return True

        return await self._database.write(work)

    async def store_chunks(self, document: Document, passages: Sequence[Chunk]) -> None:
        """As the port says."""

        def work(connection: Connection) -> None:
            at = connection.execute(select(documents.c.collection_id).where(documents.c.id == document.id, documents.c.status != DELETED)).scalar()
            if at is None:
                raise NotFound("The document has been deleted.")
            rows = [_chunk_values(document, at, chunk) for chunk in passages]
            statement = upsert(chunks)
            kept = {c.name: statement.excluded[c.name] for c in chunks.c if c.name not in ("n", "id", "live")}
            connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=kept, where=chunks.c.live == 0), rows)

        if passages:
            await self._database.write(work)

    async def stored_positions(self, document_id: str, version: int) -> Sequence[int]:
        """As the port says."""
        query = select(chunks.c.position).where(chunks.c.document_id == document_id, chunks.c.version == version).order_by(chunks.c.position)
        return await self._database.read(lambda c: c.execute(query).scalars().all())

    async def publish(self, document: Document, job: IngestJob) -> None:
        """As the port says."""

        def work(connection: Connection) -> None:
            values = {
                "title": document.title,
                "content": document.content,
                "status": READY,
                "media_type": document.media_type,
                "chunks": document.chunks,
                "version": document.version,
                "ingested_at": document.ingested_at or datetime.now(UTC),
            }
            alive = and_(documents.c.id == document.id, documents.c.status != DELETED)
            if not connection.execute(update(documents).where(alive).values(values)).rowcount:
                raise NotFound("The document has been deleted.")
            _go_live(connection, document)
            done = {"stage": IngestStage.READY.value, "percent": 100.0, "error": "", "heartbeat_at": document.ingested_at, "lease_until": None}
            connection.execute(update(ingest_jobs).where(ingest_jobs.c.id == job.id).values(done))

        await self._database.write(work)

    async def fail(self, job: IngestJob) -> None:
        """As the port says."""

        def work(connection: Connection) -> None:
            ended = {"stage": IngestStage.FAILED.value, "error": job.error, "heartbeat_at": job.heartbeat_at, "lease_until": None}
            connection.execute(update(ingest_jobs).where(ingest_jobs.c.id == job.id).values(ended))
            ingesting = and_(documents.c.id == job.document_id, documents.c.status == INGESTING)
            if connection.execute(update(documents).where(ingesting).values(status=FAILED)).rowcount:
                connection.execute(delete(chunks).where(chunks.c.document_id == job.document_id))

        await self._database.write(work)

    async def bury_for(self, user_id: str, document_id: str) -> Document:
        """As the port says."""

        def work(connection: Connection) -> Document:
            row = _demand_document(connection, user_id, document_id)
            connection.execute(update(documents).where(documents.c.id == document_id).values(status=DELETED))
            _hide(connection, document_id)
            return _document(row)

        return await self._database.write(work)

    async def buried(self, limit: int) -> Sequence[Document]:
        """As the port says."""
        query = select(*DOCUMENT, collections.c.name.label("collection")).select_from(_with_collection).where(documents.c.status == DELETED).limit(limit)
        return await self._database.read(lambda c: [_document(cast(Row[Any], row)) for row in c.execute(query)])

    async def remove(self, document_id: str) -> DeleteReceipt:
        """As the port says."""

        def work(connection: Connection) -> DeleteReceipt:
            status = connection.execute(select(documents.c.status).where(documents.c.id == document_id)).scalar()
            if status not in (None, DELETED):
                raise IllegalStep("Only a deleted document's rows can be removed.")
            of = {"chunks": chunks.c.document_id, "jobs": ingest_jobs.c.document_id, "documents": documents.c.id}
            removed = {kind: connection.execute(delete(column.table).where(column == document_id)).rowcount for kind, column in of.items()}
            left = {kind: connection.execute(select(func.count()).where(column == document_id)).scalar_one() for kind, column in of.items()}
            # A vector is a column of its chunk's row and the full text follows by trigger: neither can be left without it.
            return DeleteReceipt(removed | {"vectors": removed["chunks"]}, left | {"vectors": left["chunks"]})

        return await self._database.write(work)

    async def found(self, hits: Sequence[str]) -> Mapping[str, FoundChunk]:
        """As the port says."""
        query = FOUND.where(chunks.c.id.in_(list(hits)), chunks.c.live > 0)
        return {row.id: _found(row) for row in await self._database.read(lambda c: c.execute(query).all())}

    async def chunks_for(self, user_id: str, document_id: str, *, limit: int = 50, cursor: str = "") -> Page[Chunk]:
        """As the port says."""
        if cursor and not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 10):
            raise BadInput("That cursor is no position in a document.", hint="Leave it empty to begin at the start.")

        def work(connection: Connection) -> Sequence[Row[Any]]:
            _demand_document(connection, user_id, document_id)
            query = FOUND.where(chunks.c.document_id == document_id, chunks.c.live > 0, chunks.c.position > (int(cursor) if cursor else -1))
            return connection.execute(query.order_by(chunks.c.position).limit(limit + 1)).all()

        rows = await self._database.read(work)
        items = [_found(row).chunk for row in rows[:limit]]
        return Page(items, str(items[-1].metadata.position) if len(rows) > limit else "")

    async def chunk_for(self, user_id: str, chunk_id: str) -> FoundChunk:
        """As the port says."""
        query = FOUND.where(chunks.c.id == chunk_id, chunks.c.live > 0, documents.c.owner_id == user_id)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        if row is None:
            raise NotFound("That passage is not there any more.", hint="Its document may have been deleted or replaced.")
        return _found(row)


def _newest_first(query: Select[Any], key: Any, limit: int, cursor: str) -> Select[Any]:
    """Ids sort by time, so they page by themselves."""
    return (query.where(key < cursor) if cursor else query).order_by(key.desc()).limit(limit + 1)


def _chunk_values(document: Document, collection_id: str, chunk: Chunk) -> dict[str, Any]:
    assert chunk.embedding is not None, "a chunk is stored with its vector"
    return {
        "id": chunk.id,
        "document_id": document.id,
        "collection_id": collection_id,
        "version": document.version,
        "position": chunk.metadata.position,
        "page": chunk.metadata.page,
        "start": chunk.metadata.start,
        "end": chunk.metadata.end,
        "live": 0,
        "scope": scope_word(collection_id),
        "title": document.title,
        "heading": chunk.metadata.heading,
        "content": chunk.content,
        "embedding": np.ascontiguousarray(chunk.embedding, dtype=np.float32).tobytes(),
    }
