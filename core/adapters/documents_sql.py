"""Collections, documents, chunk rows and ingest jobs in SQL.

Chunk rows hold text and place, and beside each lies its vector of every version of the collection: the truth that every index is made from. A chunk is
searched when `live` is set, which happens for a whole version of a document at once; the full text follows by trigger, in the same transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
from sqlalchemy import ColumnElement, Connection, Row, ScalarSelect, Select, and_, case, delete, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from core.adapters.database_sql import Database, upsert
from core.adapters.processes_sql import is_gone
from core.adapters.tables_sql import chunk_vectors, chunks, collection_versions, collections, documents, ingest_jobs, ingest_pauses, stale_objects
from core.errors import AlreadyThere, BadInput, IllegalStep, NotFound
from core.inference import Vector
from core.rag.model import Chunk, ChunkMetadata, Collection, Document, DocumentStatus, FoundChunk, IngestJob, IngestStage, Pace, VersionState, Waiting
from core.records import DeleteReceipt, Page

READY, FAILED, INGESTING, DELETED, CANCELLED = (DocumentStatus(s).value for s in ("ready", "failed", "ingesting", "deleted", "cancelled"))
GONE = (DELETED, CANCELLED)
"""Documents that nothing lists or opens."""
OPEN = tuple(s.value for s in (IngestStage.QUEUED, IngestStage.PARSING, IngestStage.EMBEDDING, IngestStage.STORING))
"""Jobs that somebody works on, or will."""
PACE_JOBS = 20
"""From how many of the last jobs the pace is taken."""
DOCUMENT: list[Any] = [c for c in documents.c if c.name != "content"]
JOB = select(ingest_jobs, documents.c.owner_id, documents.c.title, documents.c.name, collections.c.name.label("collection")).select_from(
    ingest_jobs.join(documents, ingest_jobs.c.document_id == documents.c.id).join(collections, documents.c.collection_id == collections.c.id)
)


def scope_word(collection_id: str) -> str:
    """A collection as one word of the full text."""
    return "c" + collection_id.replace("-", "")


def collection_of(row: Row[Any]) -> Collection:
    """The collection in a row of its table."""
    return Collection(row.id, row.owner_id, row.name, row.embedding_model, row.dimensions, row.chunker, row.created_at, row.version, row.rerank_depth)


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
        name=row.name,
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
        name=row.name,
        version=row.version,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        uri=row.uri,
        source_url=row.source_url,
        chunks=row.chunks,
        started_at=row.started_at,
    )


def _chunk(row: Row[Any]) -> Chunk:
    return Chunk(row.id, row.document_id, row.content, None, ChunkMetadata(row.position, row.page, row.heading, row.start, row.end))


def found_chunk(row: Row[Any]) -> FoundChunk:
    """The chunk in a row of `FOUND`."""
    return FoundChunk(_chunk(row), row.title, row.collection, row.uri)


FOUND = select(chunks, documents.c.uri, collections.c.name.label("collection")).select_from(
    chunks.join(documents, chunks.c.document_id == documents.c.id).join(collections, documents.c.collection_id == collections.c.id)
)
_with_collection = documents.join(collections, documents.c.collection_id == collections.c.id)


def store_vectors(connection: Connection, version: int, vectors: Mapping[int, Vector]) -> None:
    """Keeps vectors of a collection's version by the number of their chunk."""
    if vectors:
        rows = [{"chunk_n": n, "version": version, "embedding": np.ascontiguousarray(v, dtype=np.float32).tobytes()} for n, v in vectors.items()]
        statement = upsert(chunk_vectors)
        kept = {"embedding": statement.excluded.embedding}
        connection.execute(statement.on_conflict_do_update(index_elements=["chunk_n", "version"], set_=kept), rows)


def vector_of(version: int | ScalarSelect[int]) -> ColumnElement[bool]:
    """Joins chunks to their vectors of that version of their collection."""
    return and_(chunk_vectors.c.chunk_n == chunks.c.n, chunk_vectors.c.version == version)


def lacking(version: int | ScalarSelect[int]) -> ColumnElement[bool]:
    """Of chunks: that they have no such vector."""
    return ~exists().where(vector_of(version))


def _demand_collection(connection: Connection, user_id: str, name: str) -> Row[Any]:
    row = connection.execute(select(collections).where(collections.c.owner_id == user_id, collections.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"There is no collection named {name!r}.", hint="Make it first, or check the name; capital letters count.")
    return row


def _demand_document(connection: Connection, user_id: str, document_id: str, *, gone: Sequence[str] = GONE) -> Row[Any]:
    query = select(documents, collections.c.name.label("collection")).select_from(_with_collection)
    row = connection.execute(query.where(documents.c.id == document_id, documents.c.owner_id == user_id, documents.c.status.not_in(gone))).one_or_none()
    if row is None:
        raise NotFound("There is no such document.", hint="It may have been deleted.")
    return row


def _demand_job(connection: Connection, user_id: str, job_id: str) -> Row[Any]:
    query = JOB.where(ingest_jobs.c.id == job_id, documents.c.owner_id == user_id, documents.c.status != DELETED)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise NotFound("There is no such job.", hint="Its document may have been deleted.")
    return row


def _go_live(connection: Connection, document: Document) -> None:
    """Makes one version of a document searchable and removes the rows of every other."""
    mine = chunks.c.document_id == document.id
    other = and_(mine, or_(chunks.c.version != document.version, chunks.c.position >= document.chunks))
    replaced = connection.execute(select(chunks.c.n).where(other, chunks.c.live > 0).limit(1)).first()
    connection.execute(delete(chunks).where(other))
    at = select(documents.c.collection_id).where(documents.c.id == document.id).scalar_subquery()
    grown = collections.c.added_version + 1
    counters = {"added_version": grown, "removed_version": grown} if replaced else {"added_version": grown}
    connection.execute(update(collections).where(collections.c.id == at).values(counters))
    version = select(collections.c.added_version).where(collections.c.id == at).scalar_subquery()
    connection.execute(update(chunks).where(mine, chunks.c.live == 0).values(live=version))


def _drop_versions(connection: Connection, these: ColumnElement[bool], reason: str) -> None:
    """Cancels unfinished and failed jobs: their chunks go, their originals are stale, the jobs stay and say why."""
    rows = connection.execute(select(ingest_jobs).where(these, ingest_jobs.c.stage.in_((*OPEN, IngestStage.FAILED.value)))).all()
    for row in rows:
        connection.execute(delete(chunks).where(chunks.c.document_id == row.document_id, chunks.c.version == row.version, chunks.c.live == 0))
        _make_stale(connection, row.uri)
        ended = {"stage": IngestStage.CANCELLED.value, "error": reason, "lease_until": None}
        connection.execute(update(ingest_jobs).where(ingest_jobs.c.id == row.id).values(ended))


def _make_stale(connection: Connection, uri: str) -> None:
    if uri:
        connection.execute(upsert(stale_objects).values(uri=uri).on_conflict_do_nothing())


def _hide(connection: Connection, document_id: str) -> None:
    """Takes a document's chunks out of every search."""
    hidden = connection.execute(update(chunks).where(chunks.c.document_id == document_id, chunks.c.live > 0).values(live=0)).rowcount
    if hidden:
        at = select(documents.c.collection_id).where(documents.c.id == document_id).scalar_subquery()
        grown = collections.c.added_version + 1
        connection.execute(update(collections).where(collections.c.id == at).values(added_version=grown, removed_version=grown))


class SqlDocuments:
    """Documents over a SQL database."""

    def __init__(self, database: Database, holder: str = "") -> None:
        """holder: the process that takes jobs; "" for one that only looks."""
        self._database, self._holder = database, holder

    async def add_collection(self, collection: Collection) -> None:
        """As the port says."""
        values = {
            name: getattr(collection, name)
            for name in ("id", "owner_id", "name", "embedding_model", "dimensions", "chunker", "version", "created_at", "rerank_depth")
        }
        first = {"collection_id": collection.id, "state": VersionState.READY.value, "made_at": collection.created_at}
        first |= {name: values[name] for name in ("version", "embedding_model", "dimensions")}

        def work(connection: Connection) -> None:
            connection.execute(insert(collections).values(values))
            connection.execute(insert(collection_versions).values(first))

        try:
            await self._database.write(work)
        except IntegrityError as error:
            raise AlreadyThere(f"You have a collection named {collection.name!r} already.", hint="Use it, or take another name.") from error

    async def collection_for(self, user_id: str, name: str) -> Collection:
        """As the port says."""
        return collection_of(await self._database.read(lambda c: _demand_collection(c, user_id, name)))

    async def collections_for(self, user_id: str, *, limit: int = 50, cursor: str = "") -> Page[tuple[Collection, Mapping[str, int]]]:
        """As the port says."""

        def count(status: str) -> Any:
            return func.coalesce(func.sum(case((documents.c.status == status, 1), else_=0)), 0).label(status)

        alive = and_(documents.c.collection_id == collections.c.id, documents.c.status.not_in(GONE))
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
        items = [(collection_of(row), {name: row._mapping[name] for name in names}) for row in rows[:limit]]
        return Page(items, items[-1][0].name if len(rows) > limit else "")

    async def delete_collection_for(self, user_id: str, name: str) -> DeleteReceipt:
        """As the port says."""

        def work(connection: Connection) -> DeleteReceipt:
            row = _demand_collection(connection, user_id, name)
            cancelled = select(documents.c.id).where(documents.c.collection_id == row.id, documents.c.status == CANCELLED)
            connection.execute(delete(ingest_jobs).where(ingest_jobs.c.document_id.in_(cancelled)))
            connection.execute(delete(documents).where(documents.c.collection_id == row.id, documents.c.status == CANCELLED))
            if connection.execute(select(documents.c.id).where(documents.c.collection_id == row.id)).first():
                raise IllegalStep(f"The collection {name!r} still has documents.", hint="Delete them first.")
            return DeleteReceipt({"collections": connection.execute(delete(collections).where(collections.c.id == row.id)).rowcount}, {"collections": 0})

        return await self._database.write(work)

    async def set_rerank_depth_for(self, user_id: str, name: str, depth: int) -> Collection:
        """As the port says."""

        def work(connection: Connection) -> Collection:
            row = _demand_collection(connection, user_id, name)
            connection.execute(update(collections).where(collections.c.id == row.id).values(rerank_depth=depth))
            return replace(collection_of(row), rerank_depth=depth)

        return await self._database.write(work)

    async def add_document(self, document: Document, collection: Collection, job: IngestJob) -> tuple[Document, IngestJob]:
        """As the port says."""

        def work(connection: Connection) -> tuple[Document, IngestJob]:
            here = and_(documents.c.collection_id == collection.id, documents.c.status != DELETED)
            named = select(documents).where(here, documents.c.name == document.name).order_by(documents.c.id.desc())
            known = connection.execute(named).first() if document.name else None
            job_id = self._same_bytes(connection, document, documents.c.id == known.id if known else here)
            if job_id is None and known is not None:
                job_id = self._next_version(connection, known, document, job)
            if job_id is None:
                values = {c.name: getattr(document, c.name) for c in documents.c if c.name not in ("collection_id", "status")}
                connection.execute(insert(documents).values({**values, "collection_id": collection.id, "status": document.status.value}))
                job_id = _insert_job(connection, job, document)
            stored = connection.execute(JOB.where(ingest_jobs.c.id == job_id)).one()
            return _document(_demand_document(connection, stored.owner_id, stored.document_id)), _job(stored)

        try:
            return await self._database.write(work)
        except IntegrityError as error:
            raise NotFound(f"The collection {collection.name!r} was deleted meanwhile.", hint="Make it anew, then upload the file again.") from error

    def _same_bytes(self, connection: Connection, document: Document, where: ColumnElement[bool]) -> str | None:
        """The job of a version with these bytes that is searched, on its way or failed (it is queued again); other bytes on their way are cancelled."""
        current = and_(ingest_jobs.c.stage == IngestStage.READY.value, ingest_jobs.c.version == documents.c.version)
        counts = or_(current, ingest_jobs.c.stage.in_((*OPEN, IngestStage.FAILED.value)))
        query = JOB.where(where, documents.c.status.not_in(GONE), ingest_jobs.c.sha256 == document.sha256, counts)
        row = connection.execute(query.order_by(ingest_jobs.c.id.desc())).first()
        if row is None:
            return None
        if row.name == document.name:
            others = and_(ingest_jobs.c.document_id == row.document_id, ingest_jobs.c.id != row.id)
            _drop_versions(connection, others, "Replaced by another upload.")
        self._queue_again(connection, row)
        return str(row.id)

    def _queue_again(self, connection: Connection, job: Row[Any]) -> None:
        if job.stage != IngestStage.FAILED.value:
            return
        queued = {"stage": IngestStage.QUEUED.value, "percent": 0.0, "error": "", "attempts": 0, "lease_until": None, "started_at": None}
        connection.execute(update(ingest_jobs).where(ingest_jobs.c.id == job.id).values(queued))
        connection.execute(update(documents).where(documents.c.id == job.document_id, documents.c.status == FAILED).values(status=INGESTING))

    def _next_version(self, connection: Connection, row: Row[Any], document: Document, job: IngestJob) -> str:
        """The job of a new version of that document."""
        mine = ingest_jobs.c.document_id == row.id
        _drop_versions(connection, mine, "Replaced by a newer upload.")
        last = connection.execute(select(func.max(ingest_jobs.c.version)).where(mine)).scalar() or row.version
        new = replace(document, id=row.id, version=last + 1)
        if row.status != READY:  # nothing of it is searched: the document is the new version at once
            fields = ("version", "title", "sha256", "size_bytes", "uri", "source_url")
            values = {name: getattr(new, name) for name in fields} | {"status": INGESTING}
            connection.execute(update(documents).where(documents.c.id == row.id).values(values))
        return _insert_job(connection, job, new)

    async def document_for(self, user_id: str, document_id: str) -> Document:
        """As the port says."""
        return _document(await self._database.read(lambda c: _demand_document(c, user_id, document_id)))

    async def documents_for(self, user_id: str, collection: str, *, limit: int = 50, cursor: str = "") -> Page[Document]:
        """As the port says."""

        def work(connection: Connection) -> Sequence[Row[Any]]:
            row = _demand_collection(connection, user_id, collection)
            query = select(*DOCUMENT, collections.c.name.label("collection")).select_from(_with_collection)
            query = query.where(documents.c.collection_id == row.id, documents.c.status.not_in(GONE))
            return list(connection.execute(_newest_first(query, documents.c.id, limit, cursor)).all())

        rows = await self._database.read(work)
        return Page([_document(r) for r in rows[:limit]], rows[limit - 1].id if len(rows) > limit else "")

    async def job_for(self, user_id: str, job_id: str) -> IngestJob:
        """As the port says."""
        return _job(await self._database.read(lambda c: _demand_job(c, user_id, job_id)))

    async def jobs_for(self, user_id: str, *, collection: str = "", unfinished: bool = False, limit: int = 50, cursor: str = "") -> Page[IngestJob]:
        """As the port says."""
        query = JOB.where(documents.c.owner_id == user_id, documents.c.status != DELETED)
        if collection:
            query = query.where(collections.c.name == collection)
        if unfinished:
            query = query.where(ingest_jobs.c.stage.in_(OPEN))
        rows = await self._database.read(lambda c: c.execute(_newest_first(query, ingest_jobs.c.id, limit, cursor)).all())
        return Page([_job(r) for r in rows[:limit]], rows[limit - 1].id if len(rows) > limit else "")

    async def waiting_for(self, user_id: str, job_ids: Sequence[str]) -> Waiting:
        """As the port says."""
        queued = func.sum(case((ingest_jobs.c.stage == IngestStage.QUEUED.value, 1), else_=0))
        so_far: dict[str, Any] = {"order_by": ingest_jobs.c.id, "rows": (None, 0)}
        paused = select(ingest_pauses.c.user_id)
        line = select(ingest_jobs.c.id, queued.over(**so_far).label("place"), (func.sum(ingest_jobs.c.size_bytes).over(**so_far)).label("upto"))
        line = line.add_columns(ingest_jobs.c.size_bytes).select_from(ingest_jobs.join(documents, ingest_jobs.c.document_id == documents.c.id))
        counted = or_(documents.c.owner_id == user_id, documents.c.owner_id.not_in(paused))
        everyone = line.where(ingest_jobs.c.stage.in_(OPEN), documents.c.status.not_in(GONE), counted).subquery()
        asked = select(everyone).where(everyone.c.id.in_(list(job_ids)))
        done = and_(ingest_jobs.c.stage == IngestStage.READY.value, ingest_jobs.c.started_at.is_not(None))
        last = select(ingest_jobs).where(done).order_by(ingest_jobs.c.id.desc()).limit(PACE_JOBS)

        def work(connection: Connection) -> Waiting:
            places = {row.id: (int(row.place), int(row.upto - row.size_bytes)) for row in connection.execute(asked)} if job_ids else {}
            rows = connection.execute(last).all()
            seconds = sum(((row.heartbeat_at - row.started_at).total_seconds() for row in rows), 0.0)
            pace = Pace(sum(row.chunks for row in rows), sum(row.size_bytes for row in rows), seconds)
            return Waiting(places, pace, connection.execute(paused.where(ingest_pauses.c.user_id == user_id)).first() is not None)

        return await self._database.read(work)

    async def retry_for(self, user_id: str, job_id: str) -> IngestJob:
        """As the port says."""

        def work(connection: Connection) -> IngestJob:
            row = _demand_job(connection, user_id, job_id)
            if row.stage != IngestStage.FAILED.value:
                raise IllegalStep(f"Only a failed job can be tried again; this one is {row.stage}.", hint="Upload the file again if it has changed.")
            self._queue_again(connection, row)
            return _job(_demand_job(connection, user_id, job_id))

        return await self._database.write(work)

    async def cancel_for(self, user_id: str, job_id: str) -> IngestJob:
        """As the port says."""

        def work(connection: Connection) -> IngestJob:
            row = _demand_job(connection, user_id, job_id)
            if row.stage in (IngestStage.READY.value, IngestStage.FAILED.value):
                raise IllegalStep(f"This job has ended already: it is {row.stage}.", hint="Delete its document if you don't want it.")
            _drop_versions(connection, ingest_jobs.c.id == job_id, "Cancelled.")
            first = and_(documents.c.id == row.document_id, documents.c.status == INGESTING, documents.c.version == row.version)
            connection.execute(update(documents).where(first).values(status=CANCELLED))
            return _job(_demand_job(connection, user_id, job_id))

        return await self._database.write(work)

    async def pause(self, user_id: str, since: datetime) -> None:
        """As the port says."""
        await self._database.write(lambda c: c.execute(upsert(ingest_pauses).values(user_id=user_id, since=since).on_conflict_do_nothing()))

    async def resume(self, user_id: str) -> None:
        """As the port says."""
        await self._database.write(lambda c: c.execute(delete(ingest_pauses).where(ingest_pauses.c.user_id == user_id)))

    async def lease_job(self, now: datetime, lease_until: datetime) -> tuple[IngestJob, Document, Collection] | None:
        """As the port says."""
        free = or_(ingest_jobs.c.lease_until.is_(None), ingest_jobs.c.lease_until <= now, is_gone(ingest_jobs.c.holder))
        may = and_(documents.c.status.not_in(GONE), documents.c.owner_id.not_in(select(ingest_pauses.c.user_id)))
        waiting = JOB.where(ingest_jobs.c.stage.in_(OPEN), free, may).order_by(ingest_jobs.c.id).limit(1)
        if not await self._database.read(lambda c: c.execute(waiting).first()):
            return None  # the usual case costs no write

        def work(connection: Connection) -> tuple[IngestJob, Document, Collection] | None:
            row = connection.execute(waiting).first()
            if row is None:
                return None
            taken = {"lease_until": lease_until, "heartbeat_at": now, "attempts": row.attempts + 1, "started_at": row.started_at or now}
            taken |= {"holder": self._holder}
            connection.execute(update(ingest_jobs).where(ingest_jobs.c.id == row.id).values(taken))
            found = _demand_document(connection, row.owner_id, row.document_id)
            collection = connection.execute(select(collections).where(collections.c.id == found.collection_id)).one()
            job = _job(connection.execute(JOB.where(ingest_jobs.c.id == row.id)).one())
            made_from = {name: getattr(job, name) for name in ("version", "sha256", "size_bytes", "uri", "source_url")}
            return job, replace(_document(found), **made_from), collection_of(collection)

        return await self._database.write(work)

    async def report(self, job: IngestJob, lease_until: datetime) -> bool:
        """As the port says."""
        values = {name: getattr(job, name) for name in ("percent", "error", "attempts", "heartbeat_at", "chunks")}
        values |= {"stage": job.stage.value, "lease_until": lease_until}

        def work(connection: Connection) -> bool:
            alive = select(documents.c.id).where(documents.c.id == job.document_id, documents.c.status.not_in(GONE))
            if not connection.execute(alive).first():
                return False
            mine = (ingest_jobs.c.id == job.id, ingest_jobs.c.stage.in_(OPEN), ingest_jobs.c.holder.in_(("", self._holder)))
            return bool(connection.execute(update(ingest_jobs).where(*mine).values(values)).rowcount)

        return await self._database.write(work)

    async def store_chunks(self, document: Document, passages: Sequence[Chunk], version: int) -> None:
        """As the port says."""

        def work(connection: Connection) -> None:
            at = connection.execute(select(documents.c.collection_id).where(documents.c.id == document.id, documents.c.status.not_in(GONE))).scalar()
            this = and_(ingest_jobs.c.document_id == document.id, ingest_jobs.c.version == document.version)
            if at is None or connection.execute(select(ingest_jobs.c.id).where(this, ingest_jobs.c.stage == IngestStage.CANCELLED.value)).first():
                raise NotFound("The document has been deleted, or this version of it cancelled.")
            rows = [_chunk_values(document, at, chunk) for chunk in passages]
            statement = upsert(chunks)
            kept = {c.name: statement.excluded[c.name] for c in chunks.c if c.name not in ("n", "id", "live")}
            connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=kept, where=chunks.c.live == 0), rows)
            of = {chunk.id: _vector(chunk) for chunk in passages}
            numbers = connection.execute(select(chunks.c.n, chunks.c.id).where(chunks.c.id.in_(list(of)))).all()
            store_vectors(connection, version, {row.n: of[row.id] for row in numbers})

        if passages:
            await self._database.write(work)

    async def stored_positions(self, document: Document, version: int) -> Sequence[int]:
        """As the port says."""
        mine = (chunks.c.document_id == document.id, chunks.c.version == document.version)
        query = select(chunks.c.position).where(*mine, ~lacking(version)).order_by(chunks.c.position)
        return await self._database.read(lambda c: c.execute(query).scalars().all())

    async def publish(self, document: Document, job: IngestJob) -> bool:
        """As the port says."""
        searched = select(collections.c.version).where(collections.c.id == chunks.c.collection_id).correlate(chunks).scalar_subquery()
        mine = (chunks.c.document_id == document.id, chunks.c.version == document.version, chunks.c.position < document.chunks)
        gap = select(chunks.c.n).where(*mine, lacking(searched)).limit(1)

        def work(connection: Connection) -> bool:
            fields = ("title", "content", "media_type", "chunks", "version", "sha256", "size_bytes", "uri", "source_url")
            values = {name: getattr(document, name) for name in fields} | {"status": READY, "ingested_at": document.ingested_at or datetime.now(UTC)}
            alive = and_(documents.c.id == document.id, documents.c.status.not_in(GONE))
            before = connection.execute(select(documents.c.uri).where(alive)).scalar()
            stage = connection.execute(select(ingest_jobs.c.stage).where(ingest_jobs.c.id == job.id)).scalar()
            if before is None or stage == IngestStage.CANCELLED.value:
                raise NotFound("The document has been deleted, or this version of it cancelled.")
            if connection.execute(gap).first():
                return False
            if before != document.uri:
                _make_stale(connection, before)
            connection.execute(update(documents).where(alive).values(values))
            _go_live(connection, document)
            done = {"stage": IngestStage.READY.value, "percent": 100.0, "error": "", "heartbeat_at": document.ingested_at, "lease_until": None}
            connection.execute(update(ingest_jobs).where(ingest_jobs.c.id == job.id).values(done | {"chunks": document.chunks}))
            return True

        return await self._database.write(work)

    async def fail(self, job: IngestJob) -> None:
        """As the port says."""

        def work(connection: Connection) -> None:
            ended = {"stage": IngestStage.FAILED.value, "error": job.error, "heartbeat_at": job.heartbeat_at, "lease_until": None}
            going = update(ingest_jobs).where(ingest_jobs.c.id == job.id, ingest_jobs.c.stage.in_(OPEN))
            if not connection.execute(going.values(ended)).rowcount:
                return
            connection.execute(update(documents).where(documents.c.id == job.document_id, documents.c.status == INGESTING).values(status=FAILED))
            this = and_(chunks.c.document_id == job.document_id, chunks.c.version == job.version, chunks.c.live == 0)
            connection.execute(delete(chunks).where(this))

        await self._database.write(work)

    async def bury_for(self, user_id: str, document_id: str) -> Document:
        """As the port says."""

        def work(connection: Connection) -> Document:
            row = _demand_document(connection, user_id, document_id, gone=(DELETED,))
            connection.execute(update(documents).where(documents.c.id == document_id).values(status=DELETED))
            going = select(ingest_jobs.c.uri).where(ingest_jobs.c.document_id == document_id, ingest_jobs.c.uri != row.uri)
            for uri in connection.execute(going.where(ingest_jobs.c.stage.in_((*OPEN, IngestStage.FAILED.value)))).scalars().all():
                _make_stale(connection, uri)
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
            mine = select(chunks.c.n).where(chunks.c.document_id == document_id)
            of = {"vectors": chunk_vectors.c.chunk_n.in_(mine), "chunks": chunks.c.document_id == document_id}
            of |= {"jobs": ingest_jobs.c.document_id == document_id, "documents": documents.c.id == document_id}
            # The full text follows its chunk by trigger and can't be left without it.
            removed = {kind: connection.execute(delete(where.left.table).where(where)).rowcount for kind, where in of.items()}
            left = {kind: connection.execute(select(func.count()).where(where)).scalar_one() for kind, where in of.items()}
            return DeleteReceipt(removed, left)

        return await self._database.write(work)

    async def stale_objects(self, limit: int) -> Sequence[str]:
        """As the port says."""
        return await self._database.read(lambda c: c.execute(select(stale_objects.c.uri).limit(limit)).scalars().all())

    async def count_stale_objects(self) -> int:
        """As the port says."""
        return await self._database.read(lambda c: c.execute(select(func.count()).select_from(stale_objects)).scalar_one())

    async def forget_objects(self, uris: Sequence[str]) -> None:
        """As the port says."""
        await self._database.write(lambda c: c.execute(delete(stale_objects).where(stale_objects.c.uri.in_(list(uris)))))

    async def found(self, hits: Sequence[str]) -> Mapping[str, FoundChunk]:
        """As the port says."""
        query = FOUND.where(chunks.c.id.in_(list(hits)), chunks.c.live > 0)
        return {row.id: found_chunk(row) for row in await self._database.read(lambda c: c.execute(query).all())}

    async def chunks_for(self, user_id: str, document_id: str, *, limit: int = 50, cursor: str = "") -> Page[Chunk]:
        """As the port says."""
        if cursor and not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 10):
            raise BadInput("That cursor is no position in a document.", hint="Leave it empty to begin at the start.")

        def work(connection: Connection) -> Sequence[Row[Any]]:
            _demand_document(connection, user_id, document_id)
            query = FOUND.where(chunks.c.document_id == document_id, chunks.c.live > 0, chunks.c.position > (int(cursor) if cursor else -1))
            return connection.execute(query.order_by(chunks.c.position).limit(limit + 1)).all()

        rows = await self._database.read(work)
        items = [found_chunk(row).chunk for row in rows[:limit]]
        return Page(items, str(items[-1].metadata.position) if len(rows) > limit else "")

    async def chunk_for(self, user_id: str, chunk_id: str) -> FoundChunk:
        """As the port says."""
        query = FOUND.where(chunks.c.id == chunk_id, chunks.c.live > 0, documents.c.owner_id == user_id)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        if row is None:
            raise NotFound("That passage is not there any more.", hint="Its document may have been deleted or replaced.")
        return found_chunk(row)


def _newest_first(query: Select[Any], key: Any, limit: int, cursor: str) -> Select[Any]:
    """Ids sort by time, so they page by themselves."""
    return (query.where(key < cursor) if cursor else query).order_by(key.desc()).limit(limit + 1)


def _insert_job(connection: Connection, job: IngestJob, document: Document) -> str:
    """A job of the version that `document` describes."""
    values = {name: getattr(job, name) for name in ("id", "percent", "error", "attempts", "created_at", "heartbeat_at")}
    values |= {name: getattr(document, name) for name in ("version", "sha256", "size_bytes", "uri", "source_url")}
    connection.execute(insert(ingest_jobs).values({**values, "document_id": document.id, "stage": job.stage.value}))
    return job.id


def _vector(chunk: Chunk) -> Vector:
    assert chunk.embedding is not None, "a chunk is stored with its vector"
    return chunk.embedding


def _chunk_values(document: Document, collection_id: str, chunk: Chunk) -> dict[str, Any]:
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
    }
