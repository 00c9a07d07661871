"""The library: collections and the documents in them, from upload to deletion.

Taking a document in is a saga: original stored → rows → chunks with vectors → published. Every step can be repeated, so a crash anywhere costs time
and nothing else; search sees a document only when all of it is there. Deleting writes the tombstone first and ends with a receipt.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio

from core.crash import crash
from core.errors import AlreadyThere, BadInput, HearthError, ModelError, NotFound, ServiceError, TooLong
from core.ids import new_id
from core.inference import Caller
from core.ports import ChunkIndex, Documents, Embedder, ObjectStore, Parser
from core.rag.chunking import chunk, chunker_name, embedding_text
from core.rag.model import Chunk, Collection, Document, DocumentStatus, FoundChunk, IngestJob, IngestStage, PagePicture
from core.rag.pictures import PagePictures
from core.records import DeleteReceipt, Page
from core.users.model import User

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=60)
EMBED_BATCH = 16
"""Chunks embedded in one request: as fast per chunk as more, and a question waits no longer than this for its turn."""
MAX_ATTEMPTS = 3
POLL_S = 1.0
RETRY_AFTER = timedelta(seconds=5)
MAX_NAME_CHARS = 100
MIN_WIDTH_PX, MAX_WIDTH_PX = 400, 2000
PDF = "application/pdf"


class Library:
    """Everybody's collections. `async with` runs its workers, if it has any."""

    def __init__(
        self,
        documents: Documents,
        objects: ObjectStore,
        parser: Parser,
        pictures: PagePictures,
        embedder: Embedder,
        index: ChunkIndex,
        clock: Callable[[], datetime],
        *,
        chunk_chars: int,
        max_bytes: int,
        workers: int = 1,
    ) -> None:
        """chunk_chars: length of a chunk in new collections.   max_bytes: of one upload.   workers: documents taken in at once; 0 only accepts."""
        self._documents, self._objects, self._parser, self._embedder, self._index = documents, objects, parser, embedder, index
        self._pictures = pictures
        self._clock, self._chunk_chars, self._max_bytes, self._workers = clock, chunk_chars, max_bytes, workers
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Starts the workers: they take up what an earlier process left."""
        self._tasks = [asyncio.create_task(self._work(), name=f"ingest {n}") for n in range(self._workers)]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stops the workers; their jobs go on at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def create(self, user: User, name: str) -> Collection:
        """A new collection, pinned to the present embedding model. Raises: AlreadyThere, BadInput, ServiceError."""
        name = _plain(name)
        if not name or len(name) > MAX_NAME_CHARS or "/" in name or not name.isprintable():
            raise BadInput(f"A collection's name has 1 to {MAX_NAME_CHARS} characters and no slash.", hint="Choose another name.")
        model = await self._embedder.info()
        if model.dimensions is None:
            raise ModelError(f"{model.id} doesn't say how long its vectors are.", model=model.id, hint="Check HEARTH_EMBEDDINGS_URL with `hearth doctor`.")
        collection = Collection(new_id(), user.id, name, model.id, model.dimensions, chunker_name(self._chunk_chars), self._clock())
        await self._documents.add_collection(collection)
        return collection

    async def collections(self, user: User, *, limit: int = 50, cursor: str = "") -> Page[tuple[Collection, Mapping[str, int]]]:
        """The user's collections by name, with their counts."""
        return await self._documents.collections_for(user.id, limit=_bounded(limit), cursor=cursor)

    async def collection(self, user: User, name: str) -> Collection:
        """Raises: NotFound."""
        return await self._documents.collection_for(user.id, name)

    async def upload(self, user: User, collection: str, filename: str, content: Path, *, source_url: str = "") -> tuple[Document, IngestJob]:
        """Accepts a file into a collection, made if it isn't there: when this returns, the original is stored and its job queued.

        The same bytes again give the document that is there. Raises: BadInput for an empty file, TooLong, NoSpace, ServiceError.
        """
        name = _safe_name(filename)
        size_bytes = (await anyio.Path(content).stat()).st_size
        if not size_bytes:
            raise BadInput(f"{name} is empty.", hint="Check the file and upload it again.")
        if size_bytes > self._max_bytes:
            raise TooLong(
                f"{name} has {size_bytes / 1e6:.0f} MB; at most {self._max_bytes / 1e6:.0f} MB are taken.", hint="Split it, or raise HEARTH_UPLOAD_MAX_MB."
            )
        home = await self._home(user, collection)
        now, document_id = self._clock(), new_id()
        sha256 = await anyio.to_thread.run_sync(_sha256, content)
        uri = await self._objects.put(f"originals/{user.id}/{document_id}", content)
        crash("after_object_put")
        wanted = Document(
            id=document_id,
            collection=home.name,
            title=name,
            content="",
            source_url=source_url,
            ingested_at=None,
            owner_id=user.id,
            sha256=sha256,
            size_bytes=size_bytes,
            uri=uri,
            created_at=now,
        )
        queued = IngestJob(new_id(), document_id, user.id, home.name, name, IngestStage.QUEUED, 0.0, created_at=now)
        try:
            document, job = await self._documents.add_document(wanted, home, queued)
        except BaseException:
            await self._objects.drop(uri)
            raise
        if document.id != document_id:
            await self._objects.drop(uri)
        self._arrived.set()
        return document, job

    async def _home(self, user: User, name: str) -> Collection:
        """The collection of that name, made if it isn't there; several uploads may find it missing at the same time."""
        name = _plain(name)
        with suppress(NotFound):
            return await self._documents.collection_for(user.id, name)
        with suppress(AlreadyThere):
            return await self.create(user, name)
        return await self._documents.collection_for(user.id, name)

    async def documents(self, user: User, collection: str, *, limit: int = 50, cursor: str = "") -> Page[Document]:
        """A collection's documents, newest first. Raises: NotFound."""
        return await self._documents.documents_for(user.id, collection, limit=_bounded(limit), cursor=cursor)

    async def document(self, user: User, document_id: str) -> Document:
        """With its text. Raises: NotFound."""
        return await self._documents.document_for(user.id, document_id)

    async def jobs(self, user: User, *, collection: str = "", unfinished: bool = False, limit: int = 50, cursor: str = "") -> Page[IngestJob]:
        """The user's ingest jobs, newest first."""
        return await self._documents.jobs_for(user.id, collection=collection, unfinished=unfinished, limit=_bounded(limit), cursor=cursor)

    async def job(self, user: User, job_id: str) -> IngestJob:
        """Raises: NotFound."""
        return await self._documents.job_for(user.id, job_id)

    async def passage(self, user: User, chunk_id: str) -> FoundChunk:
        """A chunk with where it comes from. Raises: NotFound."""
        return await self._documents.chunk_for(user.id, chunk_id)

    async def chunks(self, user: User, document_id: str, *, limit: int = 50, cursor: str = "") -> Page[Chunk]:
        """A document's chunks in reading order; none before it is ready. cursor: the position before the first. Raises: NotFound, BadInput."""
        return await self._documents.chunks_for(user.id, document_id, limit=_bounded(limit), cursor=cursor)

    async def page_picture(
        self, user: User, document_id: str, number: int, *, chunk_id: str = "", quote: str = "", width_px: int = 1000
    ) -> tuple[Document, PagePicture]:
        """A page of a PDF, counted from 1, with the chunk's passage and the quote marked where they stand on it.

        A chunk that isn't there (any more) marks nothing. Raises: NotFound; BadInput for a document without pages; Unreadable, TooLong, ServiceBusy.
        """
        document = await self._with_pages(user, document_id)
        passage = ""
        if chunk_id:
            with suppress(NotFound):
                chunk = (await self._documents.chunk_for(user.id, chunk_id)).chunk
                if (chunk.document_id, chunk.metadata.page) == (document_id, number):
                    passage = chunk.content
        width_px = max(MIN_WIDTH_PX, min(width_px, MAX_WIDTH_PX))
        where = partial(self._objects.local_path, document.uri)
        return document, await self._pictures.page(document, where, number, passage=passage, quote=quote, width_px=width_px)

    async def page_sizes(self, user: User, document_id: str) -> Sequence[tuple[float, float]]:
        """Width and height of every page of a PDF in points. Raises: as `page_picture`."""
        document = await self._with_pages(user, document_id)
        return await self._pictures.sizes(document, partial(self._objects.local_path, document.uri))

    async def _with_pages(self, user: User, document_id: str) -> Document:
        document = await self._documents.document_for(user.id, document_id)
        if document.status is not DocumentStatus.READY or document.media_type != PDF:
            raise BadInput(f"{document.title} has no pages to show.", hint="Only PDFs that have been taken in have pages.")
        return document

    async def original(self, user: User, document_id: str) -> tuple[Document, Path]:
        """The file as it was uploaded. Raises: NotFound."""
        document = await self._documents.document_for(user.id, document_id)
        return document, await self._objects.local_path(document.uri)

    async def delete_document(self, user: User, document_id: str) -> DeleteReceipt:
        """Removes a document from every store, with the counts. Raises: NotFound."""
        document = await self._documents.bury_for(user.id, document_id)
        self._pictures.forget(document_id)
        crash("after_tombstone")
        return await self._remove(document)

    async def delete_collection(self, user: User, name: str) -> DeleteReceipt:
        """Removes a collection and all its documents from every store, with the counts. Raises: NotFound."""
        await self._documents.collection_for(user.id, name)
        receipts: list[DeleteReceipt] = []
        while (page := await self._documents.documents_for(user.id, name, limit=100)).items:
            for document in page.items:
                with suppress(NotFound):  # somebody deletes the same at the same time
                    receipts.append(await self.delete_document(user, document.id))
        await self.finish_deletions()
        return _sum([*receipts, await self._documents.delete_collection_for(user.id, name)])

    async def finish_deletions(self) -> int:
        """Goes on with deletions that a crash broke off; says how many documents."""
        count = 0
        while buried := await self._documents.buried(100):
            for document in buried:
                await self._remove(document)
                count += 1
        return count

    async def _remove(self, document: Document) -> DeleteReceipt:
        dropped = await self._objects.drop(document.uri) if document.uri else False
        rows = await self._documents.remove(document.id)
        left = bool(document.uri) and await self._objects.exists(document.uri)
        return DeleteReceipt({**rows.removed, "objects": int(dropped)}, {**rows.left, "objects": int(left)})

    async def _work(self) -> None:
        """Takes jobs one after the other; a job that fails is reported and never ends the worker."""
        while True:
            try:
                await self.finish_deletions()
                while await self.ingest_next():
                    pass
            except Exception:  # the store is away: the jobs wait, the worker tries again
                log.exception("the ingest worker could not go on")
                await asyncio.sleep(POLL_S)
            self._arrived.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), POLL_S)

    async def ingest_next(self) -> bool:
        """Takes in the document that waits longest; False if none does."""
        now = self._clock()
        taken = await self._documents.lease_job(now, now + LEASE)
        if taken is None:
            return False
        job, document, collection = taken
        try:
            if job.attempts > MAX_ATTEMPTS:
                raise BadInput(f"Reading this file broke off {MAX_ATTEMPTS} times.", hint="Delete it, and try another form of it.")
            await self._ingest(job, document, collection)
        except ServiceError as error:
            if not error.retryable:
                await self._fail(job, error)
                return True
            # Not the document's fault: it waits for the service, and says so.
            waiting = replace(job, stage=IngestStage.QUEUED, error=f"Waiting: {error.message}", heartbeat_at=self._clock(), attempts=0)
            await self._documents.report(waiting, self._clock() + RETRY_AFTER)
        except NotFound:
            log.info("document %s was deleted while it was taken in", document.id)
        except HearthError as error:
            await self._fail(job, error)
        except Exception as error:  # a bug must end this job and no other
            log.exception("document %s could not be taken in", document.id)
            await self._fail(job, HearthError(f"Something went wrong inside Hearth ({type(error).__name__}).", hint="The log has the cause."))
        return True

    async def _fail(self, job: IngestJob, error: HearthError) -> None:
        await self._documents.fail(replace(job, stage=IngestStage.FAILED, error=str(error), heartbeat_at=self._clock()))

    async def _ingest(self, job: IngestJob, document: Document, collection: Collection) -> None:
        await self._report(job, IngestStage.PARSING, 2)
        path = await self._objects.local_path(document.uri)
        beating = asyncio.create_task(self._beat(replace(job, stage=IngestStage.PARSING, percent=2)))
        try:
            parsed = await self._parser.parse(path, document.title)
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
        content, chunks = await anyio.to_thread.run_sync(chunk, document.id, document.version, parsed, _size_of(collection.chunker))
        if not chunks:
            raise BadInput(f"{document.title} has no text.", hint="If it holds pictures of text, run OCR over it first.")
        titled = replace(document, title=parsed.title or document.title, content=content, media_type=parsed.media_type, chunks=len(chunks))
        await self._store(job, titled, collection, chunks)
        await self._report(job, IngestStage.STORING, 98)
        crash("before_publish")
        await self._documents.publish(replace(titled, status=DocumentStatus.READY, ingested_at=self._clock()), job)

    async def _store(self, job: IngestJob, document: Document, collection: Collection, chunks: Sequence[Chunk]) -> None:
        """Embeds and stores what is not there yet, batch by batch."""
        there = set(await self._documents.stored_positions(document.id, document.version))
        missing = [c for c in chunks if c.metadata.position not in there]
        caller = Caller(user_key=document.owner_id)
        for start in range(0, len(missing), EMBED_BATCH):
            await self._report(job, IngestStage.EMBEDDING, 5 + 92 * (len(there) + start) / len(chunks))
            batch = missing[start : start + EMBED_BATCH]
            embedded = await self._embedder.embed([embedding_text(document.title, c) for c in batch], "document", caller=caller)
            collection.check(embedded.vectors.shape[1], embedded.model)
            crash("before_chunk_insert")
            await self._documents.store_chunks(document, [replace(c, embedding=vector) for c, vector in zip(batch, embedded.vectors, strict=True)])
            crash("after_chunk_insert")

    async def _report(self, job: IngestJob, stage: IngestStage, percent: float) -> None:
        now = self._clock()
        if not await self._documents.report(replace(job, stage=stage, percent=round(percent, 1), error="", heartbeat_at=now), now + LEASE):
            raise NotFound("The document has been deleted.")

    async def _beat(self, job: IngestJob) -> None:
        """Keeps the lease while a parser is busy."""
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 4)
            await self._report(job, job.stage, job.percent)


def _bounded(limit: int) -> int:
    return max(1, min(limit, 500))


def _plain(name: str) -> str:
    """A collection's name as it is kept: spaces around it and doubled ones don't make another collection."""
    return " ".join(name.split())


def _safe_name(filename: str) -> str:
    """The last part of a name, as one printable line: it is shown and never used as a path."""
    name = filename.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(c if c.isprintable() else " " for c in name).strip()
    return name[:200] or "document"


def _size_of(chunker: str) -> int:
    return int(chunker.rpartition("/")[2])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sum(receipts: Sequence[DeleteReceipt]) -> DeleteReceipt:
    removed: dict[str, int] = {}
    left: dict[str, int] = {}
    for receipt in receipts:
        for total, part in ((removed, receipt.removed), (left, receipt.left)):
            for kind, count in part.items():
                total[kind] = total.get(kind, 0) + count
    return DeleteReceipt(removed, left)
