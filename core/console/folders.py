"""Folders of the server and collections: what is new, changed and vanished in one against the other, and taking it in.

What was accepted is in the queue of the library: a sync that breaks off is simply repeated. Files are read off the event loop, a few at a time.
"""

import asyncio
import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from heapq import nsmallest
from itertools import islice
from pathlib import Path, PurePosixPath

from core.audit import Act
from core.console.begun import Begun
from core.console.collections import Holdings
from core.console.notes import Notes
from core.errors import BadInput, HearthError, IllegalStep, NoSpace, NotAllowed, NotFound, ServiceBusy, ServiceUnavailable, TooLong, Unreadable
from core.ports import Accounts, CollectionLedger
from core.rag.archives import is_archive
from core.rag.folders import hidden, inside, opened, source_name
from core.rag.library import Library
from core.rag.model import Collection
from core.records import DeleteReceipt, Page, summed
from core.users.model import Admin, User

MOST = 100_000
"""Files in one folder with all that is below it."""
LISTED_AT_ONCE, READ_AT_ONCE, KNOWN_AT_ONCE = 500, 16, 2_000
SKIPPED_TOLD = 3
SHOWN = 200
"""Folders to choose from."""


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
    """A file of the folder, or a document that has vanished from it. why: it was left out."""

    name: str
    kind: Kind
    path: str = ""
    size_bytes: int = 0
    why: str = ""
    document_id: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an admin chooses. folder: "" above all that may be read.   above: the folder around it.   inside: those in it, `SHOWN` at most."""

    folder: str = ""
    above: str = ""
    inside: Sequence[str] = ()


@dataclass(slots=True)
class Sync:
    """How far the look at a folder, or taking it in, is. counts: by what the files and documents are.   total: None while it isn't known.

    compared: it is known what is new, changed and vanished.   problem: why it broke off.   stopped: somebody ended it.
    """

    collection_id: str
    folder: Path
    at: datetime
    doing: str = "listing"
    done: int = 0
    total: int | None = None
    counts: Counter[Kind] = field(default_factory=Counter)
    compared: bool = False
    problem: str = ""
    stopped: bool = False
    over: bool = False

    @property
    def wanted(self) -> int:
        """How many files are to be taken in."""
        return sum(self.counts[kind] for kind in WANTED)


class FolderRoom:
    """One folder at a time in the whole house; what is known of the last one stays until the next."""

    def __init__(
        self,
        ledger: CollectionLedger,
        accounts: Accounts,
        library: Library,
        notes: Notes,
        begun: Begun,
        clock: Callable[[], datetime],
        *,
        roots: Sequence[Path],
        closed: Sequence[Path],
    ) -> None:
        """roots: folders that may be read.   closed: those in them that may not, being the house's own."""
        self._ledger, self._accounts, self._library, self._notes, self._begun, self._clock = ledger, accounts, library, notes, begun, clock
        self._roots, self._closed = roots, closed
        self._sync: Sync | None = None
        self._items: list[Item] = []

    async def place(self, admin: Admin, folder: str = "") -> Place:
        """What can be chosen from there. Raises: NotAllowed outside of the folders of the setting, also through a link; NotFound, Unreadable."""
        if not folder:
            return Place(inside=[str(root) for root in self._roots])
        await self._notes.look(admin, f"folder {folder}")
        return await asyncio.to_thread(self._place, folder)

    async def sync(self, admin: Admin, collection_id: str) -> Sync | None:
        """The one that goes on, or the last one, if it is of this collection."""
        now = self._sync
        return replace(now, counts=Counter(now.counts)) if now is not None and now.collection_id == collection_id else None

    async def items(self, admin: Admin, collection_id: str, kind: Kind | None = None, cursor: str = "", *, limit: int = 50) -> Page[Item]:
        """The files and documents of the last look, of all kinds or one. Raises: BadInput for a cursor that no page gave."""
        if cursor and not cursor.isdecimal():
            raise BadInput("That is no cursor of this list.", hint="Give `next_cursor` back as it came.")
        if await self.sync(admin, collection_id) is None:
            return Page([])
        start = int(cursor or 0)
        found = [replace(item) for item in islice((i for i in self._items if kind in (None, i.kind)), start, start + limit + 1)]
        return Page(found[:limit], str(start + limit) if len(found) > limit else "")

    async def compare(self, admin: Admin, collection_id: str, folder: str) -> None:
        """Begins to look at a folder, which goes on by itself. Raises: as `place`; ServiceBusy while a folder is looked at or taken in."""
        held = await self._ledger.holding(collection_id)
        await self._notes.look(admin, f"collection {collection_id}", name=held.collection.name, of=held.owner, folder=folder)
        chosen = await asyncio.to_thread(self._demand, folder)
        self._demand_quiet()
        self._items, self._sync = [], Sync(collection_id, chosen, self._clock())
        self._begun.begin(self._go(self._sync, partial(self._compare, self._sync, self._items)))

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
        if self._sync is None or self._sync.over or self._sync.collection_id != collection_id:
            raise IllegalStep("No folder is being read.", hint="The page shows what was found.")
        self._sync.stopped = True
        await self._notes.note(admin, Act.CHANGED, f"collection {collection_id}", folder=str(self._sync.folder), stopped=self._sync.doing)

    def _demand(self, folder: str) -> Path:
        """Where it really lies. What is outside is refused whether it is there or not."""
        closed = [path.resolve() for path in self._closed]
        try:
            real, roots = Path(folder).resolve(), [root.resolve() for root in self._roots]
        except (OSError, ValueError, RuntimeError) as error:  # a link to itself, a name that no file can have
            raise NotFound("That folder is not there.", hint="Choose another.") from error
        root = next((root for root in roots if real.is_relative_to(root)), None)
        ours = any(real.is_relative_to(path) for path in closed)
        if not Path(folder).is_absolute() or root is None or ours or any(hidden(part) for part in real.relative_to(root).parts):
            raise NotAllowed("That folder may not be read.", hint="HEARTH_SYNC_FOLDERS names those that may, with what is in them.")
        if not real.is_dir():
            raise NotFound("That folder is not there.", hint="Choose another.")
        return real

    def _place(self, folder: str) -> Place:
        real = self._demand(folder)
        try:
            with os.scandir(real) as entries:
                names = nsmallest(SHOWN, (e.name for e in entries if e.is_dir(follow_symlinks=False) and not hidden(e.name)))
        except OSError as error:
            raise Unreadable(_unreadable(error), hint="Check its rights.") from error
        above = "" if real in [root.resolve() for root in self._roots] else str(real.parent)
        return Place(str(real), above, [str(real / name) for name in names])

    async def _compared(self, collection_id: str) -> tuple[Holdings, User, Sync]:
        """The collection, its owner and what it was compared with."""
        self._demand_quiet()
        held, sync = await self._ledger.holding(collection_id), self._sync
        if sync is None or sync.collection_id != collection_id or not sync.compared:
            raise IllegalStep("The folder has not been compared with this collection.", hint="Look at it first.")
        return held, await self._accounts.get(held.collection.owner_id), sync

    def _claim(self, sync: Sync, doing: str, kinds: Sequence[Kind]) -> list[Item]:
        """These kinds, which something is done with from now on."""
        self._demand_quiet()
        these = [item for item in self._items if item.kind in kinds]
        sync.doing, sync.done, sync.total, sync.problem, sync.stopped, sync.over = doing, 0, len(these), "", False, False
        return these

    def _demand_quiet(self) -> None:
        if self._sync is not None and not self._sync.over:
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

    async def _compare(self, sync: Sync, items: list[Item]) -> None:
        unread: list[OSError] = []
        files, known = await self._listed(sync, unread), await self._known(sync)
        if sync.stopped:
            return
        sync.doing, sync.done, sync.total = "comparing", 0, len(files)
        held, found = {document.sha256 for document in known.values()}, set[str]()
        opaque = [_name(sync.folder, Path(error.filename)) for error in unread]
        """Names below which documents may lie whose files are not seen."""
        for part in (files[start : start + READ_AT_ONCE] for start in range(0, len(files), READ_AT_ONCE)):
            read = await asyncio.to_thread(lambda part: [self._read(item) for item in part if not sync.stopped], part)
            if sync.stopped:
                return
            for item, sha256 in zip(part, read, strict=True):
                if item.kind is not Kind.NEW:
                    opaque.append(str(PurePosixPath(item.name).with_suffix("")))
                elif item.name in known:
                    item.kind = Kind.THERE if known[item.name].sha256 == sha256 else Kind.CHANGED
                elif sha256 in held or sha256 in found:
                    item.kind = Kind.THERE
                found.add(sha256)
            self._add(sync, items, part)
            sync.done += len(part)
        self._add(sync, items, [Item(_name(sync.folder, Path(e.filename)), Kind.LEFT_OUT, e.filename, why=_unreadable(e)) for e in unread])
        names, seen = {item.name for item in files}, tuple(f"{name}/" for name in opaque)
        gone = [d for d in known.values() if _is_of(d, sync.folder) and d.name not in names and d.sha256 not in found and not d.name.startswith(seen)]
        self._add(sync, items, [Item(d.name, Kind.VANISHED, str(sync.folder / d.name.partition("/")[2]), document_id=d.document_id) for d in gone])
        sync.compared = True

    async def _listed(self, sync: Sync, unread: list[OSError]) -> list[Item]:
        """Every file, not yet read; where two have the same name, the first."""
        files: dict[str, Item] = {}
        sources = inside(sync.folder, closed={path.resolve() for path in self._closed}, unread=unread.append)
        while not sync.stopped and (part := await asyncio.to_thread(lambda: list(islice(sources, LISTED_AT_ONCE)))):
            for source in part:
                name = source_name(source.name)
                files.setdefault(name, Item(name, Kind.NEW, str(source.path)))
            sync.done += len(part)
            if len(files) > MOST:
                raise TooLong(f"There are more than {MOST:,} files in that folder.", hint="Choose a folder inside it.")
        return list(files.values())

    async def _known(self, sync: Sync) -> dict[str, Known]:
        known, after = dict[str, Known](), ""
        while not sync.stopped and (part := await self._ledger.known(sync.collection_id, KNOWN_AT_ONCE, after)):
            known |= {document.name: document for document in part}
            after = part[-1].document_id
        return known

    def _read(self, item: Item) -> str:
        """The sha256 of a file's bytes; "" where it is an archive or can't be taken in, and is marked as that."""
        try:
            with opened(Path(item.path)) as file:
                item.size_bytes = os.fstat(file.fileno()).st_size
                self._library.demand_size(item.name, item.size_bytes)
                if is_archive(Path(item.path), item.name):
                    item.kind = Kind.ARCHIVE
                    return ""
                return hashlib.file_digest(file, "sha256").hexdigest()
        except BadInput as error:
            item.kind, item.why = Kind.LEFT_OUT, str(error)
        except OSError as error:
            item.kind, item.why = Kind.LEFT_OUT, _unreadable(error)
        return ""

    def _add(self, sync: Sync, items: list[Item], these: Sequence[Item]) -> None:
        items += these
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
                    await asyncio.to_thread(self._copy, item, copy)
                    taken = await self._library.take_in(owner, collection.name, item.name, copy, source_url=Path(item.path).as_uri())
                    self._mark(sync, item, Kind.TAKEN, " ".join(f"{left_out.name}: {left_out.reason}" for left_out in taken.skipped[:SKIPPED_TOLD]))
                except BadInput as error:
                    self._mark(sync, item, Kind.LEFT_OUT, str(error))
                if sync.stopped:
                    return

    def _copy(self, item: Item, copy: Path) -> None:
        with opened(Path(item.path)) as source:
            self._library.demand_size(item.name, os.fstat(source.fileno()).st_size)
            try:
                with copy.open("wb") as out:
                    shutil.copyfileobj(source, out, 1 << 20)
            except OSError as error:
                raise NoSpace(f"{item.name} can't be copied: {_said(error)}.", hint="Free some space for temporary files.") from error

    async def _delete(self, sync: Sync, owner: User, gone: Sequence[Item]) -> DeleteReceipt:
        receipts: list[DeleteReceipt] = []

        async def each() -> None:
            for item in gone:
                if sync.stopped:
                    return
                if await asyncio.to_thread(os.path.lexists, item.path):
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
    return {"name": held.collection.name, "of": held.owner, "folder": str(sync.folder)}


def _name(folder: Path, path: Path) -> str:
    """What a file or folder in that folder is called in a collection."""
    return source_name(f"{folder.name}/{path.relative_to(folder).as_posix()}")


def _is_of(document: Known, folder: Path) -> bool:
    """Whether a document came by that folder's name, and from no other folder that is called the same."""
    elsewhere = document.source_url.startswith("file:") and not document.source_url.startswith(f"{folder.as_uri()}/")
    return document.name.startswith(f"{source_name(folder.name)}/") and not elsewhere


def _unreadable(error: OSError) -> str:
    return f"It can't be read: {_said(error)}."


def _said(error: OSError) -> str:
    return error.strerror or "the system refused it"
