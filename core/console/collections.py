"""Everybody's collections, for an admin: what is in each, counted afresh, and its documents, which are noted when they are looked at."""  # noqa: A005

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from core.audit import Act
from core.console.begun import Begun
from core.console.notes import Notes
from core.errors import BadInput, NotFound, ServiceBusy
from core.inference import Vector
from core.ports import Accounts, CollectionLedger, ObjectStore
from core.rag.landscape import near_pairs, plane
from core.rag.library import Library
from core.rag.model import Chunk, Collection, Document, IngestJob, TakenIn
from core.records import DeleteReceipt, Page
from core.users.model import Admin, User

MAPPED = 20_000
COMPARED = 10_000
MOST_PAIRS = 200
LOOKED_FOR = 5_000
"""How many originals are looked for while somebody waits."""
EXPORTED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Holdings:
    """A collection with its owner's name and what the rows themselves say now: no count is kept.

    documents: without deleted and cancelled ones.   chunks: rows, searched or not; live_chunks: those that are searched.   size_bytes: of the originals.
    failed: documents that could not be taken in.   last_ingest: None for never.   state: another number after every change of what is searched.
    orphans: rows that belong to nothing any more.
    """

    collection: Collection
    owner: str
    documents: int
    chunks: int
    live_chunks: int
    size_bytes: int
    failed: int
    last_ingest: datetime | None
    state: int
    orphans: int


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk in a landscape or a pair."""

    chunk_id: str
    document_id: str
    document: str
    content: str


@dataclass(frozen=True, slots=True)
class Landscape:
    """Passages and where they lie: points is (n, 2) float32. state: the collection's, as in `Holdings`."""

    state: int
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


@dataclass(frozen=True, slots=True)
class Orphans:
    """removable: what belongs to nothing any more, by kind.   broken: documents that lack something, by kind; to be uploaded again or deleted.

    originals: how many were looked for, `LOOKED_FOR` at most.
    """

    removable: Mapping[str, int]
    broken: Mapping[str, int]
    originals: int


class Collections:
    """What the house knows, whoever's it is."""

    def __init__(self, ledger: CollectionLedger, accounts: Accounts, library: Library, objects: ObjectStore, notes: Notes, begun: Begun) -> None:
        self._ledger, self._accounts, self._library, self._objects, self._notes, self._begun = ledger, accounts, library, objects, notes, begun
        self._landscapes: dict[str, Landscape] = {}
        """The last one that was asked for."""

    async def every(self, admin: Admin, cursor: str = "", *, limit: int = 50) -> Page[Holdings]:
        """All collections, made last first."""
        return await self._ledger.holdings(limit=limit, cursor=cursor)

    async def one(self, admin: Admin, collection_id: str) -> Holdings:
        """Raises: NotFound."""
        return await self._ledger.holding(collection_id)

    async def documents(self, admin: Admin, collection_id: str, cursor: str = "", *, limit: int = 50) -> Page[Document]:
        """A collection's documents as its owner sees them; that they were looked at is noted. Raises: NotFound; BadInput for a cursor that no page gave."""
        held = await self._ledger.holding(collection_id)
        await self._notes.look(admin, _named(held), **_of(held))
        return await self._library.documents(await self._owner(held), held.collection.name, limit=limit, cursor=cursor)

    async def chunks(self, admin: Admin, collection_id: str, document_id: str, cursor: str = "", *, limit: int = 50) -> Page[Chunk]:
        """A document's chunks in reading order. Raises: NotFound, also for a document of another collection; BadInput for a cursor that no page gave."""
        held = await self._ledger.holding(collection_id)
        await self._notes.look(admin, _named(held), **_of(held), document=document_id)
        owner = await self._owner(held)
        if (await self._library.document(owner, document_id)).collection != held.collection.name:
            raise NotFound("There is no such document in this collection.", hint="Choose one from its list.")
        return await self._library.chunks(owner, document_id, limit=limit, cursor=cursor)

    async def original(self, admin: Admin, document_id: str) -> tuple[Document, Path]:
        """A document's original file. Raises: NotFound."""
        owner = await self._accounts.get(await self._ledger.owner_of_document(document_id))
        await self._notes.note(admin, Act.EXPORTED, f"document {document_id}", of=owner.username)
        return await self._library.original(owner, document_id)

    async def landscape(self, admin: Admin, collection_id: str) -> Landscape:
        """Where the passages lie, of `MAPPED` of them at most; kept until the collection changes. Raises: NotFound."""
        held = await self._ledger.holding(collection_id)
        await self._notes.look(admin, _named(held), **_of(held), map=True)
        known = self._landscapes.get(collection_id)
        if known is None or known.state != held.state:
            passages, vectors = await self._ledger.sample(collection_id, MAPPED)
            known = Landscape(held.state, passages, await asyncio.to_thread(plane, vectors))
            self._landscapes = {collection_id: known}  # one at a time: it is some megabytes
        return known

    async def duplicates(self, admin: Admin, collection_id: str, threshold: float) -> tuple[int, Sequence[tuple[Passage, Passage, float]]]:
        """(how many passages were compared, the pairs that are nearly alike, most alike first). Raises: NotFound; BadInput for a threshold outside 0.5 to 1."""
        if not 0.5 <= threshold <= 1:
            raise BadInput("Passages are nearly alike from 0.5 to 1.", hint="0.95 is a good beginning.")
        held = await self._ledger.holding(collection_id)
        await self._notes.look(admin, _named(held), **_of(held), duplicates=threshold)
        passages, vectors = await self._ledger.sample(collection_id, COMPARED)
        pairs = await asyncio.to_thread(near_pairs, vectors, threshold, MOST_PAIRS)
        return len(passages), [(passages[p.first], passages[p.second], p.similarity) for p in pairs]

    async def export(self, admin: Admin, collection_id: str) -> tuple[Holdings, AsyncIterator[Sequence[Row]]]:
        """Every searched row with its vector, some at a time. Raises: NotFound."""
        held = await self._ledger.holding(collection_id)
        await self._notes.note(admin, Act.EXPORTED, _named(held), **_of(held), rows=held.live_chunks)
        return held, self._rows(collection_id)

    async def _rows(self, collection_id: str) -> AsyncIterator[Sequence[Row]]:
        after = ""
        while rows := await self._ledger.rows(collection_id, EXPORTED_AT_ONCE, after):
            yield rows
            after = rows[-1].chunk_id

    async def orphans(self, admin: Admin, collection_id: str) -> Orphans:
        """What belongs to nothing any more, and what lacks something. Raises: NotFound."""
        await self._ledger.holding(collection_id)
        originals = await self._ledger.originals(collection_id, LOOKED_FOR)
        missing = sum([not await self._objects.exists(uri) for uri in originals])
        broken = {"documents without a chunk": await self._ledger.bare_documents(collection_id), "documents whose original is missing": missing}
        return Orphans(await self._ledger.orphans(collection_id), broken, len(originals))

    async def repair(self, admin: Admin, collection_id: str) -> DeleteReceipt:
        """Removes what belongs to nothing; what lacks something stays. Raises: NotFound."""
        held = await self._ledger.holding(collection_id)
        await self._notes.note(admin, Act.DELETED, _named(held), **_of(held), orphans=dict(await self._ledger.orphans(collection_id)))
        return await self._ledger.drop_orphans(collection_id)

    async def create(self, admin: Admin, username: str, name: str, chunk_chars: int | None, model: str = "") -> Collection:
        """A new one of somebody's, pinned to an embedding model ("": the present one) and a chunk size.

        Raises: NotFound, AlreadyThere, BadInput; ServiceError, ModelError for a model that is not there.
        """
        owner, _ = await self._accounts.named(username)
        made = await self._library.create(owner, name, chunk_chars=chunk_chars, model=model)
        await self._notes.note(admin, Act.MADE, f"collection {made.id}", name=made.name, of=username)
        return made

    async def upload(self, admin: Admin, collection_id: str, filename: str, content: Path) -> TakenIn:
        """Takes a file or an archive in, as its owner would. Raises: as Library.take_in; NotFound."""
        held = await self._ledger.holding(collection_id)
        await self._notes.note(admin, Act.CHANGED, _named(held), **_of(held), uploaded=filename)
        return await self._library.take_in(await self._owner(held), held.collection.name, filename, content)

    async def jobs(self, admin: Admin, collection_id: str, *, limit: int = 50) -> Page[IngestJob]:
        """What is on its way into the collection, with its place and remaining time. Raises: NotFound."""
        held = await self._ledger.holding(collection_id)
        return await self._library.jobs(await self._owner(held), collection=held.collection.name, unfinished=True, limit=limit)

    async def delete(self, admin: Admin, collection_id: str) -> DeleteReceipt:
        """Removes a collection from every store, with the counts. Raises: NotFound; ServiceBusy where that takes long: it then goes on by itself."""
        held = await self._ledger.holding(collection_id)
        await self._notes.note(admin, Act.DELETED, _named(held), **_of(held), documents=held.documents, chunks=held.chunks)
        late = ServiceBusy("There is much to delete, and it goes on.", hint="The collection is gone from the list once nothing is left of it.")
        return await self._begun.within(self._library.delete_collection(await self._owner(held), held.collection.name), late)

    async def _owner(self, held: Holdings) -> User:
        return await self._accounts.get(held.collection.owner_id)


def _named(held: Holdings) -> str:
    """As the audit log has it."""
    return f"collection {held.collection.id}"


def _of(held: Holdings) -> dict[str, object]:
    return {"name": held.collection.name, "of": held.owner}
