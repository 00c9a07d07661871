"""Everybody's collections, for an admin: what is in each, counted afresh, and its documents, which are noted when they are looked at."""  # noqa: A005

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from core.audit import Act, AuditEntry
from core.errors import BadInput, ServiceBusy
from core.inference import Vector
from core.ports import Accounts, AuditLog, CollectionLedger
from core.rag.landscape import near_pairs, plane
from core.rag.library import Library
from core.rag.model import Chunk, Collection, Document, IngestJob, TakenIn
from core.records import DeleteReceipt, Page
from core.users.model import Admin, User

MAPPED = 20_000
COMPARED = 10_000
MOST_PAIRS = 200
EXPORTED_AT_ONCE = 500
DELETED_WITHIN_S = 8.0


@dataclass(frozen=True, slots=True)
class Holdings:
    """A collection with its owner's name and what the rows themselves say now: no count is kept.

    documents: without deleted and cancelled ones.   chunks: rows, searched or not; live_chunks: those that are searched.   size_bytes: of the originals.
    failed: documents that could not be taken in.   last_ingest: None for never.
    """

    collection: Collection
    owner: str
    documents: int
    chunks: int
    live_chunks: int
    size_bytes: int
    failed: int
    last_ingest: datetime | None


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk in a landscape or a pair."""

    chunk_id: str
    document_id: str
    document: str
    content: str


@dataclass(frozen=True, slots=True)
class Landscape:
    """Passages and where they lie: points is (n, 2) float32."""

    passages: Sequence[Passage]
    points: Vector


@dataclass(frozen=True, slots=True)
class Row:
    """A searched chunk as it is exported."""

    chunk_id: str
    document_id: str
    document: str
    heading: str
    page: int | None
    position: int
    content: str
    embedding: Vector


class Collections:
    """What the house knows, whoever's it is."""

    def __init__(self, ledger: CollectionLedger, accounts: Accounts, library: Library, audit: AuditLog, clock: Callable[[], datetime]) -> None:
        self._ledger, self._accounts, self._library, self._audit, self._clock = ledger, accounts, library, audit, clock
        self._landscapes: dict[str, tuple[int, Landscape]] = {}
        """The last one that was asked for, with how many chunks the collection had then."""
        self._deleting: set[asyncio.Task[DeleteReceipt]] = set()

    async def every(self, admin: Admin, cursor: str = "", *, limit: int = 50) -> Page[Holdings]:
        """All collections, made last first."""
        return await self._ledger.holdings(limit=limit, cursor=cursor)

    async def one(self, admin: Admin, collection_id: str) -> Holdings:
        """Raises: NotFound."""
        return await self._ledger.holding(collection_id)

    async def documents(self, admin: Admin, collection_id: str, cursor: str = "", *, limit: int = 50) -> Page[Document]:
        """A collection's documents as its owner sees them; that they were looked at is noted. Raises: NotFound; BadInput for a cursor that no page gave."""
        held = await self._ledger.holding(collection_id)
        if not cursor:
            await self._note(admin, Act.READ, held)
        return await self._library.documents(await self._accounts.get(held.collection.owner_id), held.collection.name, limit=limit, cursor=cursor)

    async def chunks(self, admin: Admin, collection_id: str, document_id: str, cursor: str = "", *, limit: int = 50) -> Page[Chunk]:
        """A document's chunks in reading order. Raises: NotFound; BadInput for a cursor that no page gave."""
        held = await self._ledger.holding(collection_id)
        if not cursor:
            await self._note(admin, Act.READ, held, document=document_id)
        return await self._library.chunks(await self._owner(held), document_id, limit=limit, cursor=cursor)

    async def original(self, admin: Admin, document_id: str) -> tuple[Document, Path]:
        """A document's original file. Raises: NotFound."""
        owner = await self._accounts.get(await self._ledger.owner_of_document(document_id))
        document, path = await self._library.original(owner, document_id)
        await self._audit.write(AuditEntry(self._clock(), admin.user.id, admin.user.username, Act.EXPORTED, f"document {document_id}", {"of": owner.username}))
        return document, path

    async def landscape(self, admin: Admin, collection_id: str) -> Landscape:
        """Where the passages lie, of `MAPPED` of them at most; kept until the collection changes. Raises: NotFound."""
        held = await self._ledger.holding(collection_id)
        known = self._landscapes.get(collection_id)
        if known is None or known[0] != held.live_chunks:
            passages, vectors = await self._ledger.sample(collection_id, MAPPED)
            points = await asyncio.to_thread(plane, vectors)
            await self._note(admin, Act.READ, held, map=len(passages))
            self._landscapes = {collection_id: (held.live_chunks, Landscape(passages, points))}  # one at a time: it is some megabytes
        return self._landscapes[collection_id][1]

    async def duplicates(self, admin: Admin, collection_id: str, threshold: float) -> tuple[int, Sequence[tuple[Passage, Passage, float]]]:
        """(how many passages were compared, the pairs that are nearly alike, most alike first). Raises: NotFound; BadInput for a threshold outside 0.5 to 1."""
        if not 0.5 <= threshold <= 1:
            raise BadInput("Passages are nearly alike from 0.5 to 1.", hint="0.95 is a good beginning.")
        held = await self._ledger.holding(collection_id)
        passages, vectors = await self._ledger.sample(collection_id, COMPARED)
        pairs = await asyncio.to_thread(near_pairs, vectors, threshold, MOST_PAIRS)
        await self._note(admin, Act.READ, held, duplicates=threshold)
        return len(passages), [(passages[p.first], passages[p.second], p.similarity) for p in pairs]

    async def export(self, admin: Admin, collection_id: str) -> tuple[Holdings, AsyncIterator[Sequence[Row]]]:
        """Every searched row with its vector, some at a time. Raises: NotFound."""
        held = await self._ledger.holding(collection_id)
        await self._note(admin, Act.EXPORTED, held, rows=held.live_chunks)
        return held, self._rows(collection_id)

    async def _rows(self, collection_id: str) -> AsyncIterator[Sequence[Row]]:
        after = ""
        while rows := await self._ledger.rows(collection_id, EXPORTED_AT_ONCE, after):
            yield rows
            after = rows[-1].chunk_id

    async def orphans(self, admin: Admin, collection_id: str) -> Mapping[str, int]:
        """What belongs to nothing any more, by kind. Raises: NotFound."""
        await self._ledger.holding(collection_id)
        return await self._ledger.orphans(collection_id)

    async def repair(self, admin: Admin, collection_id: str) -> DeleteReceipt:
        """Removes the orphans. Raises: NotFound."""
        held = await self._ledger.holding(collection_id)
        receipt = await self._ledger.drop_orphans(collection_id)
        await self._note(admin, Act.DELETED, held, orphans=dict(receipt.removed))
        return receipt

    async def create(self, admin: Admin, username: str, name: str, chunk_chars: int | None) -> Collection:
        """A new one of somebody's, pinned to the present embedding model and a chunk size. Raises: NotFound, AlreadyThere, BadInput, ServiceError."""
        owner, _ = await self._accounts.named(username)
        made = await self._library.create(owner, name, chunk_chars=chunk_chars)
        await self._note(admin, Act.MADE, await self._ledger.holding(made.id))
        return made

    async def upload(self, admin: Admin, collection_id: str, filename: str, content: Path) -> TakenIn:
        """Takes a file or an archive in, as its owner would. Raises: as Library.take_in; NotFound."""
        held = await self._ledger.holding(collection_id)
        taken = await self._library.take_in(await self._owner(held), held.collection.name, filename, content)
        await self._note(admin, Act.CHANGED, held, uploaded=filename)
        return taken

    async def jobs(self, admin: Admin, collection_id: str, *, limit: int = 50) -> Page[IngestJob]:
        """What is on its way into the collection, with its place and remaining time. Raises: NotFound."""
        held = await self._ledger.holding(collection_id)
        return await self._library.jobs(await self._owner(held), collection=held.collection.name, unfinished=True, limit=limit)

    async def delete(self, admin: Admin, collection_id: str) -> DeleteReceipt:
        """Removes a collection from every store, with the counts. Raises: NotFound; ServiceBusy where that takes long: it then goes on by itself."""
        held = await self._ledger.holding(collection_id)
        await self._note(admin, Act.DELETED, held, documents=held.documents, chunks=held.chunks)
        work = asyncio.create_task(self._library.delete_collection(await self._owner(held), held.collection.name))
        self._deleting.add(work)
        work.add_done_callback(self._deleting.discard)
        done, _ = await asyncio.wait([work], timeout=DELETED_WITHIN_S)
        if not done:
            raise ServiceBusy("There is much to delete, and it goes on.", hint="The collection is gone from the list once nothing is left of it.")
        return work.result()

    async def _owner(self, held: Holdings) -> User:
        return await self._accounts.get(held.collection.owner_id)

    async def _note(self, admin: Admin, act: Act, held: Holdings, **detail: object) -> None:
        of = {"name": held.collection.name, "of": held.owner}
        await self._audit.write(AuditEntry(self._clock(), admin.user.id, admin.user.username, act, f"collection {held.collection.id}", {**of, **detail}))
