"""Folders and collections: what is new, changed and vanished in one against the other, and taking it in. A folder is one of the server or of the object store.

What was accepted is in the queue of the library: a sync that breaks off is simply repeated. Files are read off the event loop, a few at a time.
"""

import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from io import BufferedReader
from itertools import islice
from pathlib import Path, PurePosixPath

from core.audit import Act
from core.console.begun import Begun
from core.console.collections import Holdings
from core.console.notes import Notes
from core.console.trees import IN_STORE, Leaf, Place, Tree, Trees
from core.errors import BadInput, HearthError, IllegalStep, NotFound, ServiceBusy, ServiceUnavailable, TooLong
from core.ports import Accounts, CollectionLedger
from core.rag.archives import is_archive
from core.rag.library import Library
from core.rag.model import Collection
from core.records import DeleteReceipt, Page, summed
from core.users.model import Admin, User

MOST = 100_000
"""Files in one folder with all that is below it."""
KNOWN_AT_ONCE = 2_000
SKIPPED_TOLD = 3
REMEMBERED = 4
"""Of how many collections it is known what the last look has found: two pipelines that take folders in take turns, and neither forgets."""


class Kind(StrEnum):
    """What a file of the folder is to the collection, or a document to the folder."""

    NEW = "new"
    CHANGED = "changed"
    ARCHIVE = "archive"
    """Its files are compared when it is taken in."""
    THERE = "there already"
    """By its name and bytes, or by its bytes under another name."""
    LEFT_OUT = "left out"
    TAKEN = "taken in"
    VANISHED = "vanished"
    """A document that came by this folder's name, and neither its name nor its bytes are in the folder any more."""
    DELETED = "deleted"


WANTED = (Kind.NEW, Kind.CHANGED, Kind.ARCHIVE)


@dataclass(frozen=True, slots=True)
class Known:
    """A document as a sync compares it; sha256: of the bytes that it has or is getting."""

    document_id: str
    name: str
    sha256: str
    source_url: str


@dataclass(slots=True)
class Item:
    """A file of the folder, or a document that has vanished from it. at: its path or address.   why: it was left out."""

    name: str
    kind: Kind
    at: str = ""
    size_bytes: int = 0
    why: str = ""
    document_id: str = ""

    @property
    def leaf(self) -> Leaf:
        """As its tree knows it."""
        return Leaf(self.name, self.at)


@dataclass(slots=True)
class Sync:
    """How far the look at a folder, or taking it in, is. counts: by what the files and documents are.   total: None while it isn't known.

    compared: it is known what is new, changed and vanished.   problem: why it broke off.   stopped: somebody ended it.
    """

    collection_id: str
    tree: Tree
    at: datetime
    doing: str = "listing"
    done: int = 0
    total: int | None = None
    counts: Counter[Kind] = field(default_factory=Counter)
    items: list[Item] = field(default_factory=list, repr=False)
    compared: bool = False
    problem: str = ""
    stopped: bool = False
    over: bool = False

    @property
    def folder(self) -> str:
        """What was chosen, in full."""
        return self.tree.place

    @property
    def wanted(self) -> int:
        """How many files are to be taken in."""
        return sum(self.counts[kind] for kind in WANTED)


class FolderRoom:
    """One folder at a time in the whole house; what is known of the last ones stays, of each collection the latest."""

    def __init__(
        self,
        ledger: CollectionLedger,
        accounts: Accounts,
        library: Library,
        notes: Notes,
        begun: Begun,
        clock: Callable[[], datetime],
        trees: Trees,
    ) -> None:
        """trees: what may be read."""
        self._ledger, self._accounts, self._library, self._notes, self._begun, self._clock = ledger, accounts, library, notes, begun, clock
        self._trees = trees
        self._syncs: dict[str, Sync] = {}
        """By collection, the latest last."""

    async def place(self, admin: Admin, folder: str = "") -> Place:
        """What can be chosen from there. Raises: as `Trees.around`."""
        if folder:
            await self._notes.look(admin, f"folder {folder}")
        return await self._trees.around(folder)

    async def sync(self, admin: Admin, collection_id: str) -> Sync | None:
        """The one that goes on, or the last one, if it is of this collection."""
        now = self._syncs.get(collection_id)
        return replace(now, counts=Counter(now.counts)) if now is not None else None

    async def items(self, admin: Admin, collection_id: str, kind: Kind | None = None, cursor: str = "", *, limit: int = 50) -> Page[Item]:
        """The files and documents of the last look, of all kinds or one. Raises: BadInput for a cursor that no page gave."""
        if cursor and not cursor.isdecimal():
            raise BadInput("That is no cursor of this list.", hint="Give `next_cursor` back as it came.")
        if (sync := self._syncs.get(collection_id)) is None:
            return Page([])
        start = int(cursor or 0)
        found = [replace(item) for item in islice((i for i in sync.items if kind in (None, i.kind)), start, start + limit + 1)]
        return Page(found[:limit], str(start + limit) if len(found) > limit else "")

    async def compare(self, admin: Admin, collection_id: str, folder: str) -> None:
        """Begins to look at a folder, which goes on by itself. Raises: as `Trees.tree`; ServiceBusy while a folder is looked at or taken in."""
        held = await self._ledger.holding(collection_id)
        await self._notes.look(admin, f"collection {collection_id}", name=held.collection.name, of=held.owner, folder=folder)
        chosen = await self._trees.tree(folder)
        self._demand_quiet()
        self._syncs.pop(collection_id, None)
        for oldest in list(self._syncs)[: 1 - REMEMBERED]:
            del self._syncs[oldest]
        self._syncs[collection_id] = sync = Sync(collection_id, chosen, self._clock())
        self._begun.begin(self._go(sync, partial(self._compare, sync)))

    async def take_in(self, admin: Admin, collection_id: str) -> None:
        """Begins to take in what is new and changed, which goes on by itself. Raises: IllegalStep where nothing was compared; as `compare`."""
        held, owner, sync = await self._compared(collection_id)
        found = {kind.value: sync.counts[kind] for kind in WANTED}
        await self._notes.note(admin, Act.CHANGED, f"collection {collection_id}", **_of(held, sync), **found)
        wanted = self._claim(sync, "taking in", WANTED)
        self._begun.begin(self._go(sync, partial(self._take_in, sync, owner, held.collection, wanted)))

    async def delete_vanished(self, admin: Admin, collection_id: str) -> DeleteReceipt:
        """Deletes the documents that have vanished from the folder, unless their file has come back. Raises: as `take_in`; ServiceBusy: it then goes on."""
        held, owner, sync = await self._compared(collection_id)
        await self._notes.note(admin, Act.DELETED, f"documents of collection {collection_id}", **_of(held, sync), vanished=sync.counts[Kind.VANISHED])
        gone = self._claim(sync, "deleting", (Kind.VANISHED,))
        late = ServiceBusy("There is much to delete, and it goes on.", hint="The page shows how far it is.")
        return await self._begun.within(self._delete(sync, owner, gone), late)

    async def stop(self, admin: Admin, collection_id: str) -> None:
        """Ends what goes on, after the file that is read now; what is taken in by then stays. Raises: IllegalStep where nothing does."""
        sync = self._syncs.get(collection_id)
        if sync is None or sync.over:
            raise IllegalStep("No folder is being read.", hint="The page shows what was found.")
        sync.stopped = True
        await self._notes.note(admin, Act.CHANGED, f"collection {collection_id}", folder=sync.folder, stopped=sync.doing)

    async def _compared(self, collection_id: str) -> tuple[Holdings, User, Sync]:
        """The collection, its owner and what it was compared with."""
        self._demand_quiet()
        held, sync = await self._ledger.holding(collection_id), self._syncs.get(collection_id)
        if sync is None or not sync.compared:
            raise IllegalStep("The folder has not been compared with this collection.", hint="Look at it first.")
        return held, await self._accounts.get(held.collection.owner_id), sync

    def _claim(self, sync: Sync, doing: str, kinds: Sequence[Kind]) -> list[Item]:
        """These kinds, which something is done with from now on."""
        self._demand_quiet()
        these = [item for item in sync.items if item.kind in kinds]
        sync.doing, sync.done, sync.total, sync.problem, sync.stopped, sync.over = doing, 0, len(these), "", False, False
        return these

    def _demand_quiet(self) -> None:
        if any(not sync.over for sync in self._syncs.values()):
            raise ServiceBusy("A folder is being read already.", hint="One is read at a time: wait until that is over.")

    async def _go(self, sync: Sync, *work: Callable[[], Awaitable[None]]) -> None:
        """One after the other, to the end or the first problem."""
        try:
            for part in work:
                await part()
        except HearthError as error:
            sync.problem = str(error)
        finally:
            sync.over = True

    async def _compare(self, sync: Sync) -> None:
        unseen: list[Item] = []
        files, known = await self._listed(sync, unseen), await self._known(sync)
        if sync.stopped:
            return
        sync.doing, sync.done, sync.total = "comparing", 0, len(files)
        held, found = {document.sha256 for document in known.values()}, set[str]()
        opaque = [item.name for item in unseen]
        """Names below which documents may lie whose files are not seen."""
        for part in (files[start : start + sync.tree.at_once] for start in range(0, len(files), sync.tree.at_once)):
            looks = await sync.tree.read([item.leaf for item in part], partial(_looked, sync))
            if sync.stopped:
                return
            for item, look in zip(part, looks, strict=True):
                if isinstance(look, BadInput):
                    item.kind, item.why = Kind.LEFT_OUT, str(look)
                else:
                    item.size_bytes = look.size_bytes
                    item.kind = Kind.ARCHIVE if not look.sha256 else _kind(known.get(item.name), look.sha256, there=look.sha256 in held or look.sha256 in found)
                    found.add(look.sha256)
                if item.kind in (Kind.LEFT_OUT, Kind.ARCHIVE):
                    opaque.append(str(PurePosixPath(item.name).with_suffix("")))
            self._add(sync, part)
            sync.done += len(part)
        self._add(sync, unseen)
        names, seen = {item.name for item in files}, tuple(f"{name}/" for name in opaque)
        gone = [d for d in known.values() if _is_of(d, sync.tree) and d.name not in names and d.sha256 not in found and not d.name.startswith(seen)]
        self._add(sync, [Item(d.name, Kind.VANISHED, sync.tree.leaf(d.name).at, document_id=d.document_id) for d in gone])
        sync.compared = True

    async def _listed(self, sync: Sync, unseen: list[Item]) -> list[Item]:
        """Every file, not yet read; where two have the same name, the first."""
        files: dict[str, Item] = {}
        async with aclosing(sync.tree.leaves(lambda leaf, why: unseen.append(Item(leaf.name, Kind.LEFT_OUT, leaf.at, why=why)))) as parts:
            async for part in parts:
                for leaf in part:
                    files.setdefault(leaf.name, Item(leaf.name, Kind.NEW, leaf.at))
                sync.done += len(part)
                if len(files) > MOST:
                    raise TooLong(f"There are more than {MOST:,} files in that folder.", hint="Choose a folder inside it.")
                if sync.stopped:
                    break
        return list(files.values())

    async def _known(self, sync: Sync) -> dict[str, Known]:
        known, after = dict[str, Known](), ""
        while not sync.stopped and (part := await self._ledger.known(sync.collection_id, KNOWN_AT_ONCE, after)):
            known |= {document.name: document for document in part}
            after = part[-1].document_id
        return known

    def _add(self, sync: Sync, these: Sequence[Item]) -> None:
        sync.items += these
        sync.counts.update(item.kind for item in these)

    def _mark(self, sync: Sync, item: Item, kind: Kind, why: str = "") -> None:
        sync.counts[item.kind] -= 1
        sync.counts[kind] += 1
        sync.done += 1
        item.kind, item.why = kind, why

    async def _take_in(self, sync: Sync, owner: User, collection: Collection, wanted: Sequence[Item]) -> None:
        """Each file is copied first: what is stored are the bytes that were compared by their hash, and no link's."""
        with tempfile.TemporaryDirectory(prefix="hearth-sync-", ignore_cleanup_errors=True) as scratch:
            copy = Path(scratch) / "file"
            for item in wanted:
                if (await self._library.collection(owner, collection.name)).id != collection.id:
                    raise NotFound("There is no such collection.", hint="It may have been deleted meanwhile.")
                try:
                    await sync.tree.copy(item.leaf, copy)
                    taken = await self._library.take_in(owner, collection.name, item.name, copy, source_url=sync.tree.source_url(item.leaf))
                    self._mark(sync, item, Kind.TAKEN, " ".join(f"{left_out.name}: {left_out.reason}" for left_out in taken.skipped[:SKIPPED_TOLD]))
                except BadInput as error:
                    self._mark(sync, item, Kind.LEFT_OUT, str(error))
                if sync.stopped:
                    return

    async def _delete(self, sync: Sync, owner: User, gone: Sequence[Item]) -> DeleteReceipt:
        receipts: list[DeleteReceipt] = []

        async def each() -> None:
            for item in gone:
                if sync.stopped:
                    return
                if await sync.tree.exists(item.leaf):
                    self._mark(sync, item, Kind.LEFT_OUT, "Its file has come back: look again.")
                    continue
                with suppress(NotFound):  # somebody has deleted it meanwhile
                    receipts.append(await self._library.delete_document(owner, item.document_id))
                self._mark(sync, item, Kind.DELETED)

        await self._go(sync, each)
        if sync.problem:
            raise ServiceUnavailable(sync.problem)
        return summed(receipts)


def _of(held: Holdings, sync: Sync) -> dict[str, object]:
    """As the audit log has it."""
    return {"name": held.collection.name, "of": held.owner, "folder": sync.folder}


@dataclass(frozen=True, slots=True)
class _Look:
    """What the bytes of a file say. sha256: "" of an archive."""

    size_bytes: int
    sha256: str


def _looked(sync: Sync, name: str, file: BufferedReader) -> _Look:
    size_bytes = os.fstat(file.fileno()).st_size
    archive = sync.stopped or is_archive(Path(file.name), name)  # of a sync that was stopped nobody asks any more
    return _Look(size_bytes, "" if archive else hashlib.file_digest(file, "sha256").hexdigest())


def _kind(known: Known | None, sha256: str, *, there: bool) -> Kind:
    """What a file is, whose name has that document, or none. there: whether its bytes are, under any name."""
    if known is not None:
        return Kind.THERE if known.sha256 == sha256 else Kind.CHANGED
    return Kind.THERE if there else Kind.NEW


def _is_of(document: Known, tree: Tree) -> bool:
    """Whether a document came by that folder's name, and from no other folder that is called the same."""
    elsewhere = document.source_url.startswith(("file:", IN_STORE)) and not document.source_url.startswith(tree.url)
    return document.name.startswith(f"{tree.name}/") and not elsewhere
