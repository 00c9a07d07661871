"""The library: collections and the documents in them, from upload to deletion.

Taking a document in is a saga: original stored → rows → chunks with vectors → published. Every step can be repeated, so a crash anywhere costs time
and nothing else; search sees a document only when all of it is there. Deleting writes the tombstone first and ends with a receipt.
"""

import asyncio
import hashlib
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

import anyio

from core.crash import crash
from core.errors import AlreadyThere, BadInput, HearthError, NoSpace, NotAllowed, NotFound, ServiceError, TooLong
from core.ids import new_id
from core.inference import Caller
from core.objects import ORIGINALS
from core.ports import ChunkIndex, Documents, Embedder, ObjectStore, Pages, Parser, Traces
from core.rag.archives import is_archive, unpacked
from core.rag.chunking import chunk, chunker_name, embedding_text
from core.rag.folders import source_name
from core.rag.model import (
    MAX_CHUNK_CHARS,
    MAX_RERANK_DEPTH,
    MIN_CHUNK_CHARS,
    RERANK_DEPTH,
    Chunk,
    Collection,
    Document,
    DocumentStatus,
    FoundChunk,
    IngestJob,
    IngestStage,
    PagePicture,
    Skipped,
    TakenIn,
)
from core.rag.pace import EMBEDDING_FROM, EMBEDDING_SHARE, with_outlook
from core.rag.pictures import PagePictures
from core.records import DeleteReceipt, Page, summed
from core.traces import NO_TRACES, Attributes, traced
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
MAX_TITLE_CHARS = 200


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
        pages: Pages | None = None,
        traces: Traces = NO_TRACES,
    ) -> None:
        """chunk_chars: length of a chunk in new collections.   max_bytes: of one upload.   workers: documents taken in at once; 0 only accepts.

        pages: where addresses are fetched; None refuses them.
        """
        self._documents, self._objects, self._parser, self._embedder, self._index = documents, objects, parser, embedder, index
        self._pictures = pictures
        self._clock, self._chunk_chars, self._max_bytes, self._workers = clock, chunk_chars, max_bytes, workers
        self._pages, self._traces = pages, traces
        self._arrived = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._running: dict[str, asyncio.Task[None]] = {}

    async def __aenter__(self) -> Self:
        """Starts the workers: they take up what an earlier process left."""
        self._tasks = [asyncio.create_task(self._work(), name=f"ingest {n}") for n in range(self._workers)]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stops the workers; their jobs go on at the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def create(self, user: User, name: str, *, chunk_chars: int | None = None, rerank_depth: int = RERANK_DEPTH, model: str = "") -> Collection:
        """A new collection, pinned to an embedding model and to a chunk size. model: "" for the present one.

        chunk_chars: about how long its passages are, for good; None takes the house's.   rerank_depth: candidates read together with a question.
        Raises: AlreadyThere, BadInput; ServiceError, ModelError for a model that is not there.
        """
        name = _plain(name)
        if not name or len(name) > MAX_NAME_CHARS or "/" in name or not name.isprintable():
            raise BadInput(f"A collection's name has 1 to {MAX_NAME_CHARS} characters and no slash.", hint="Choose another name.")
        size = self._chunk_chars if chunk_chars is None else chunk_chars
        if not MIN_CHUNK_CHARS <= size <= MAX_CHUNK_CHARS:
            raise BadInput(f"A chunk has {MIN_CHUNK_CHARS} to {MAX_CHUNK_CHARS} characters, not {size}.")
        _demand_depth(rerank_depth)
        pinned_to = await (self._embedder.of(model) if model else self._embedder).info()
        pinned = (pinned_to.id, pinned_to.length(), chunker_name(size))
        collection = Collection(new_id(), user.id, name, *pinned, self._clock(), rerank_depth=rerank_depth)
        await self._documents.add_collection(collection)
        return collection

    async def collections(self, user: User, *, limit: int = 50, cursor: str = "") -> Page[tuple[Collection, Mapping[str, int]]]:
        """The user's collections by name, with their counts."""
        return await self._documents.collections_for(user.id, limit=_bounded(limit), cursor=cursor)

    async def collection(self, user: User, name: str) -> Collection:
        """Raises: NotFound."""
        return await self._documents.collection_for(user.id, name)

    async def set_rerank_depth(self, user: User, name: str, depth: int) -> Collection:
        """Changes how many candidates are read together with a question. Raises: NotFound, BadInput."""
        _demand_depth(depth)
        return await self._documents.set_rerank_depth_for(user.id, name, depth)

    async def take_in(self, user: User, collection: str, filename: str, content: Path, *, source_url: str = "") -> TakenIn:
        """Accepts what somebody sends: a file as one document, a zip archive as its files, each a document with a job of its own.

        What is in an archive is named by the archive and its path inside, so sending it again changes only what has changed. If this breaks off, what was
        accepted stays, and sending it again takes the rest. Raises: as `upload`; BadInput for an archive without a file that can be taken, or a bomb.
        """
        name = source_name(filename)
        if not await anyio.to_thread.run_sync(is_archive, content, name):
            return TakenIn(((await self.upload(user, collection, filename, content, source_url=source_url))[1],))
        self.demand_size(name, (await anyio.Path(content).stat()).st_size)
        jobs: list[IngestJob] = []
        skipped: list[Skipped] = []
        folder = PurePosixPath(name).with_suffix("")
        try:
            with tempfile.TemporaryDirectory(prefix="hearth-unpack-", ignore_cleanup_errors=True) as scratch:
                entry = Path(scratch) / "entry"
                with closing(unpacked(content, name, entry, max_bytes=self._max_bytes)) as entries:  # type: ignore[type-var]
                    while (found := await anyio.to_thread.run_sync(next, entries, None)) is not None:
                        if isinstance(found, Skipped):
                            skipped.append(found)
                        else:
                            jobs.append((await self.upload(user, collection, f"{folder}/{found}", entry, source_url=source_url))[1])
        except OSError as error:
            raise NoSpace(f"{name} can't be unpacked: {error.strerror or 'the system refused it'}.", hint="Free some space for temporary files.") from error
        if not jobs:
            raise BadInput(f"{name} holds no file that can be taken in.", hint=" ".join(f"{s.name}: {s.reason}" for s in skipped[:3]))
        return TakenIn(tuple(jobs), tuple(skipped), archive=True)

    async def paste(self, user: User, collection: str, title: str, text: str) -> IngestJob:
        """Accepts a text as a document of that title; the same title again is its next version. Raises: as `upload`."""
        name = " ".join(title.replace("/", " ").replace("\\", " ").split())
        if not name:
            raise BadInput("A pasted text needs a title.", hint="Give it one; it is how you will find it again.")
        if not name.lower().endswith((".md", ".txt")):
            name = f"{name[: MAX_TITLE_CHARS - 4]}.txt"
        with tempfile.TemporaryDirectory(prefix="hearth-paste-", ignore_cleanup_errors=True) as scratch:
            path = anyio.Path(scratch) / "text"
            await path.write_text(text, "utf-8")
            return (await self.upload(user, collection, name, Path(path)))[1]

    async def fetch(self, user: User, collection: str, url: str) -> IngestJob:
        """Accepts a page of the public internet; fetched again, other content is its next version. Raises: NotAllowed where it is off; as Pages, `upload`."""
        if self._pages is None:
            raise NotAllowed("Taking in pages by their address is switched off.", hint="Whoever runs this Hearth can set HEARTH_URL_INGEST=true.")
        with tempfile.TemporaryDirectory(prefix="hearth-fetch-", ignore_cleanup_errors=True) as scratch:
            path = Path(scratch) / "page"
            page = await self._pages.fetch(url, path)
            return (await self.upload(user, collection, page.name, path, source_url=page.url))[1]

    async def upload(self, user: User, collection: str, filename: str, content: Path, *, source_url: str = "") -> tuple[Document, IngestJob]:
        """Accepts a file into a collection, made if it isn't there: when this returns, the original is stored and its job queued.

        filename: as the uploader knows it, with folders if it has some. Changed bytes under the same name are the next version of that document; the same
        bytes again change nothing. Raises: BadInput for an empty file, TooLong, NoSpace, ServiceError.
        """
        name = source_name(filename)
        title = PurePosixPath(name).name[:MAX_TITLE_CHARS]
        size_bytes = (await anyio.Path(content).stat()).st_size
        self.demand_size(title, size_bytes)
        home = await self._home(user, collection)
        now, document_id = self._clock(), new_id()
        sha256 = await anyio.to_thread.run_sync(_sha256, content)
        uri = await self._objects.put(f"{ORIGINALS}{user.id}/{document_id}", content)
        crash("after_object_put")
        wanted = Document(
            id=document_id,
            collection=home.name,
            title=title,
            content="",
            source_url=source_url,
            ingested_at=None,
            owner_id=user.id,
            sha256=sha256,
            size_bytes=size_bytes,
            uri=uri,
            created_at=now,
            name=name,
        )
        queued = IngestJob(new_id(), document_id, user.id, home.name, title, IngestStage.QUEUED, 0.0, created_at=now)
        try:
            document, job = await self._documents.add_document(wanted, home, queued)
        except BaseException:
            await self._objects.drop(uri)
            raise
        if job.uri != uri:
            await self._objects.drop(uri)
        self._arrived.set()
        return document, job

    def demand_size(self, name: str, size_bytes: int) -> None:
        """Raises: BadInput for an empty file, TooLong for one that is too large to be taken in."""
        if not size_bytes:
            raise BadInput(f"{name} is empty.", hint="Check the file and upload it again.")
        if size_bytes > self._max_bytes:
            raise TooLong(
                f"{name} has {size_bytes / 1e6:.0f} MB; at most {self._max_bytes / 1e6:.0f} MB are taken.", hint="Split it, or raise HEARTH_UPLOAD_MAX_MB."
            )

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
        """The user's ingest jobs, newest first, each with its place, remaining time and whether it has stalled."""
        page = await self._documents.jobs_for(user.id, collection=collection, unfinished=unfinished, limit=_bounded(limit), cursor=cursor)
        return Page(await self._with_outlook(user, page.items), page.next_cursor)

    async def job(self, user: User, job_id: str) -> IngestJob:
        """Raises: NotFound."""
        return (await self._with_outlook(user, [await self._documents.job_for(user.id, job_id)]))[0]

    async def _with_outlook(self, user: User, jobs: Sequence[IngestJob]) -> list[IngestJob]:
        if not (going := [j.id for j in jobs if not j.done]):
            return list(jobs)
        waiting, now = await self._documents.waiting_for(user.id, going), self._clock()
        return [with_outlook(j, waiting, now, lease=LEASE, workers=self._workers) for j in jobs]

    async def retry(self, user: User, job_id: str) -> IngestJob:
        """Queues a failed job again. Raises: NotFound, IllegalStep."""
        job = await self._documents.retry_for(user.id, job_id)
        self._arrived.set()
        return (await self._with_outlook(user, [job]))[0]

    async def cancel(self, user: User, job_id: str) -> IngestJob:
        """Ends a queued or running job and drops its version; an earlier ready one stays. Raises: NotFound, IllegalStep for one that has ended."""
        job = await self._documents.cancel_for(user.id, job_id)
        if (task := self._running.get(job_id)) is not None:
            task.cancel()
        await self._drop_stale()
        return job

    async def pause(self, user: User) -> None:
        """Begins no more of the user's documents until `resume`; the one that is being taken in is finished."""
        await self._documents.pause(user.id, self._clock())

    async def paused(self, user: User) -> bool:
        """Whether the user's queue is paused."""
        return (await self._documents.waiting_for(user.id, [])).paused

    async def resume(self, user: User) -> None:
        """Goes on after `pause`."""
        await self._documents.resume(user.id)
        self._arrived.set()

    async def passage(self, user: User, chunk_id: str) -> FoundChunk:
        """A chunk with where it comes from. Raises: NotFound."""
        return await self._documents.chunk_for(user.id, chunk_id)

    async def passages(self, user: User, chunk_ids: Sequence[str]) -> Mapping[str, FoundChunk]:
        """Those of these chunks that are the user's and are still there, by id."""
        held = {}
        for chunk_id in dict.fromkeys(chunk_ids):
            with suppress(NotFound):
                held[chunk_id] = await self._documents.chunk_for(user.id, chunk_id)
        return held

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
        receipt = await self._remove(document)
        await self._drop_stale()
        return receipt

    async def delete_collection(self, user: User, name: str) -> DeleteReceipt:
        """Removes a collection and all its documents from every store, with the counts. Raises: NotFound."""
        await self._documents.collection_for(user.id, name)
        receipts: list[DeleteReceipt] = []
        while (page := await self._documents.documents_for(user.id, name, limit=100)).items:
            for document in page.items:
                with suppress(NotFound):  # somebody deletes the same at the same time
                    receipts.append(await self.delete_document(user, document.id))
        await self.finish_deletions()
        return summed([*receipts, await self._documents.delete_collection_for(user.id, name)])

    async def finish_deletions(self) -> int:
        """Goes on with deletions that a crash broke off; says how many documents."""
        count = 0
        while buried := await self._documents.buried(100):
            for document in buried:
                await self._remove(document)
                count += 1
        await self._drop_stale()
        return count

    async def _drop_stale(self) -> None:
        """Drops the originals of versions that are gone; what a crash leaves is dropped in the next round."""
        while uris := await self._documents.stale_objects(100):
            for uri in uris:
                await self._objects.drop(uri)
            await self._documents.forget_objects(uris)

    async def _remove(self, document: Document) -> DeleteReceipt:
        dropped = await self._objects.drop(document.uri) if document.uri else False
        indexed = await self._index.drop_document(document.id)
        rows = await self._documents.remove(document.id)
        left = bool(document.uri) and await self._objects.exists(document.uri)
        return summed([rows, indexed, DeleteReceipt({"objects": int(dropped)}, {"objects": int(left)})])

    async def _work(self) -> None:
        """Takes jobs one after the other; a job that fails is reported and never ends the worker."""
        while True:
            try:
                await self.finish_deletions()
                while await self.ingest_next():
                    pass
            except Exception as error:  # the store is away: the jobs wait, the worker tries again
                log.error("the ingest worker could not go on: %s", error, exc_info=not isinstance(error, HearthError))
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
            await self._stoppable(job, document, collection)
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

    async def _stoppable(self, job: IngestJob, document: Document, collection: Collection) -> None:
        """Takes a document in as a task of its own, which `cancel` can end without ending the worker."""
        task = self._running[job.id] = asyncio.create_task(self._ingest(job, document, collection), name=f"ingest {document.id}")
        try:
            await task
        except asyncio.CancelledError:
            worker = asyncio.current_task()
            if worker is None or worker.cancelling():
                raise
            log.info("job %s was cancelled while it was worked on", job.id)
        finally:
            del self._running[job.id]

    async def _fail(self, job: IngestJob, error: HearthError) -> None:
        await self._documents.fail(replace(job, stage=IngestStage.FAILED, error=str(error), heartbeat_at=self._clock()))

    async def _ingest(self, job: IngestJob, document: Document, collection: Collection) -> None:
        told: Attributes = {"hearth.job.id": job.id, "hearth.document.id": document.id, "hearth.document.bytes": document.size_bytes}
        with traced(self._traces, "ingest", told) as work:
            with traced(self._traces, IngestStage.PARSING.value):
                titled, chunks = await self._parsed(job, document, collection)
            job = replace(job, chunks=len(chunks))
            published = False
            while not published:  # again if the collection was re-embedded meanwhile: the passages then need vectors of the model that is searched now
                with traced(self._traces, IngestStage.EMBEDDING.value):
                    await self._store(job, titled, collection, chunks)
                with traced(self._traces, IngestStage.STORING.value):
                    await self._report(job, IngestStage.STORING, 98)
                    await self._index.add(titled)
                    crash("before_publish")
                    published = await self._documents.publish(replace(titled, status=DocumentStatus.READY, ingested_at=self._clock()), job)
                collection = collection if published else await self._documents.collection_for(document.owner_id, collection.name)
            if document.version > 1:
                await self._index.drop_document(document.id, but=document.version)
            work.end({"hearth.document.chunks": len(chunks)})

    async def _parsed(self, job: IngestJob, document: Document, collection: Collection) -> tuple[Document, Sequence[Chunk]]:
        """The document with its text, and its chunks. Raises: BadInput if it has none; as the parser."""
        await self._report(job, IngestStage.PARSING, 2)
        path = await self._objects.local_path(document.uri)
        beating = asyncio.create_task(self._beat(replace(job, stage=IngestStage.PARSING, percent=2)))
        try:
            parsed = await self._parser.parse(path, PurePosixPath(document.name).name or document.title)
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)
        content, chunks = await anyio.to_thread.run_sync(chunk, document.id, document.version, parsed, collection.chunk_chars)
        if not chunks:
            raise BadInput(f"{document.title} has no text.", hint="If it holds pictures of text, run OCR over it first.")
        return replace(document, title=parsed.title or document.title, content=content, media_type=parsed.media_type, chunks=len(chunks)), chunks

    async def _store(self, job: IngestJob, document: Document, collection: Collection, chunks: Sequence[Chunk]) -> None:
        """Embeds and stores what is not there yet, batch by batch."""
        there = set(await self._documents.stored_positions(document, collection.version))
        embedder = self._embedder.of(collection.embedding_model)
        missing = [c for c in chunks if c.metadata.position not in there]
        caller = Caller(user_key=document.owner_id)
        for start in range(0, len(missing), EMBED_BATCH):
            await self._report(job, IngestStage.EMBEDDING, EMBEDDING_FROM + EMBEDDING_SHARE * (len(there) + start) / len(chunks))
            batch = missing[start : start + EMBED_BATCH]
            embedded = await embedder.embed([embedding_text(document.title, c) for c in batch], "document", caller=caller)
            collection.check(embedded.vectors.shape[1], embedded.model)
            crash("before_chunk_insert")
            passages = [replace(c, embedding=vector) for c, vector in zip(batch, embedded.vectors, strict=True)]
            await self._documents.store_chunks(document, passages, collection.version)
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


def _demand_depth(rerank_depth: int) -> None:
    if not 1 <= rerank_depth <= MAX_RERANK_DEPTH:
        raise BadInput(f"The rerank depth is between 1 and {MAX_RERANK_DEPTH}, not {rerank_depth}.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
