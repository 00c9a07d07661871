"""Everybody's collections, for an admin: what is in each, counted afresh, and its documents, which are noted when they are looked at."""  # noqa: A005

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from core.audit import Act, AuditEntry
from core.ports import Accounts, AuditLog, CollectionLedger
from core.rag.library import Library
from core.rag.model import Collection, Document
from core.records import DeleteReceipt, Page
from core.users.model import Admin


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


class Collections:
    """What the house knows, whoever's it is."""

    def __init__(self, ledger: CollectionLedger, accounts: Accounts, library: Library, audit: AuditLog, clock: Callable[[], datetime]) -> None:
        self._ledger, self._accounts, self._library, self._audit, self._clock = ledger, accounts, library, audit, clock

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

    async def delete(self, admin: Admin, collection_id: str) -> DeleteReceipt:
        """Removes a collection from every store, with the counts. Raises: NotFound."""
        held = await self._ledger.holding(collection_id)
        receipt = await self._library.delete_collection(await self._accounts.get(held.collection.owner_id), held.collection.name)
        await self._note(admin, Act.DELETED, held, removed=dict(receipt.removed), left=dict(receipt.left))
        return receipt

    async def _note(self, admin: Admin, act: Act, held: Holdings, **detail: object) -> None:
        of = {"name": held.collection.name, "of": held.owner}
        await self._audit.write(AuditEntry(self._clock(), admin.user.id, admin.user.username, act, f"collection {held.collection.id}", {**of, **detail}))
