"""Trees of files that may be taken into a collection: a folder of the server with what is below it, or what lies under a prefix in the object store."""

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import nsmallest
from io import BufferedReader
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol, TypeVar

from core.errors import BadInput, NotAllowed, NotFound, Unreadable
from core.objects import beginning, prefix_of, written
from core.ports import ObjectStore
from core.rag.folders import hidden, inside, opened, source_name
from core.records import every_page

T = TypeVar("T")
IN_STORE = "s3://"
"""How the address of a prefix begins; that of a folder is its whole path."""
LISTED_AT_ONCE = 500
SHOWN = 200
"""Folders to choose from."""


class Leaf(NamedTuple):
    """A file of a tree. name: by which its document is known, the tree's own with the path inside.   at: its path or address."""

    name: str
    at: str


DemandSize = Callable[[str, int], None]
"""Refuses a file by its name and its size in bytes, before they are read. Raises: BadInput."""
Look = Callable[[str, BufferedReader], T]
"""What a file's bytes are asked, given its name too. Raises: BadInput."""


class Tree(Protocol):
    """Files under one place. What raises BadInput says why one of them can't be read; NotFound: it is gone."""

    place: str
    """What was chosen, in full."""
    name: str
    """What the names of its files begin with, before a slash."""
    url: str
    """What the addresses of its files begin with."""
    at_once: int
    """How many files are best read together."""

    def leaves(self, unseen: Callable[[Leaf, str], None]) -> AsyncGenerator[Sequence[Leaf], None]:
        """Every file, some at a time; hidden ones are left out. unseen: is told of what can't be looked into, and why."""

    async def read(self, leaves: Sequence[Leaf], look: Look[T]) -> Sequence[T | BadInput]:
        """Looks at the bytes of each, in a thread; instead of what that gives, why one can't be read or was refused for its size. Raises: ServiceError."""

    async def copy(self, leaf: Leaf, to: Path) -> None:
        """Raises: BadInput; NoSpace, ServiceError."""

    async def exists(self, leaf: Leaf) -> bool:
        """Whether anything is there now."""

    def leaf(self, name: str) -> Leaf:
        """Where a file of that name in this tree would be."""

    def source_url(self, leaf: Leaf) -> str:
        """Its address."""


class FolderTree:
    """A folder of the server. Links are not followed, and each file is checked to be where it was found."""

    at_once = 16

    def __init__(self, folder: Path, closed: Sequence[Path], demand_size: DemandSize) -> None:
        """folder: where it really lies.   closed: what in it is not gone into."""
        self.place, self.name, self.url = str(folder), source_name(folder.name), f"{folder.as_uri()}/"
        self._folder, self._closed, self._demand_size = folder, set(closed), demand_size

    async def leaves(self, unseen: Callable[[Leaf, str], None]) -> AsyncGenerator[Sequence[Leaf], None]:
        """As the protocol says."""

        def unread(error: OSError) -> None:
            path = Path(error.filename)
            unseen(Leaf(source_name(f"{self._folder.name}/{path.relative_to(self._folder).as_posix()}"), str(path)), _unreadable(error))

        sources = inside(self._folder, closed=self._closed, unread=unread)
        while part := await asyncio.to_thread(lambda: list(islice(sources, LISTED_AT_ONCE))):
            yield [Leaf(source_name(source.name), str(source.path)) for source in part]

    async def read(self, leaves: Sequence[Leaf], look: Look[T]) -> Sequence[T | BadInput]:
        """As the protocol says."""
        return await asyncio.to_thread(lambda: [self._looked(leaf, look) for leaf in leaves])

    def _looked(self, leaf: Leaf, look: Look[T]) -> T | BadInput:
        try:
            with opened(Path(leaf.at)) as file:
                self._demand_size(leaf.name, os.fstat(file.fileno()).st_size)
                return look(leaf.name, file)
        except BadInput as error:
            return error
        except OSError as error:
            return Unreadable(_unreadable(error))

    async def copy(self, leaf: Leaf, to: Path) -> None:
        """As the protocol says."""

        def copied() -> None:
            with opened(Path(leaf.at)) as source:
                self._demand_size(leaf.name, os.fstat(source.fileno()).st_size)
                written(source, to, leaf.name)

        await asyncio.to_thread(copied)

    async def exists(self, leaf: Leaf) -> bool:
        """As the protocol says."""
        return await asyncio.to_thread(os.path.lexists, leaf.at)

    def leaf(self, name: str) -> Leaf:
        """As the protocol says."""
        return Leaf(name, str(self._folder / name.partition("/")[2]))

    def source_url(self, leaf: Leaf) -> str:
        """As the protocol says."""
        return Path(leaf.at).as_uri()


class PrefixTree:
    """What lies under a prefix in the object store, as if that were a folder. A few objects at a time are fetched, and none is kept."""

    at_once = 4

    def __init__(self, objects: ObjectStore, prefix: str, demand_size: DemandSize) -> None:
        """prefix: ends with a slash."""
        self.place = self.url = beginning(objects) + prefix
        self.name = source_name(PurePosixPath(prefix).name)
        self._objects, self._prefix, self._demand_size = objects, prefix, demand_size

    async def leaves(self, unseen: Callable[[Leaf, str], None]) -> AsyncGenerator[Sequence[Leaf], None]:
        """As the protocol says. Nothing under the prefix is a tree without files: the store knows no folders."""
        async for page in every_page(lambda cursor: self._objects.all(prefix=self._prefix, limit=LISTED_AT_ONCE, cursor=cursor)):
            below = ((stored.uri, stored.uri.removeprefix(self.url)) for stored in page)
            yield [Leaf(source_name(f"{self.name}/{path}"), uri) for uri, path in below if not any(hidden(part) for part in path.split("/"))]

    async def read(self, leaves: Sequence[Leaf], look: Look[T]) -> Sequence[T | BadInput]:
        """As the protocol says."""
        with tempfile.TemporaryDirectory(prefix="hearth-prefix-", ignore_cleanup_errors=True) as scratch:
            looking = (self._looked(leaf, look, Path(scratch) / str(number)) for number, leaf in enumerate(leaves))
            looks = await asyncio.gather(*looking, return_exceptions=True)
        if broken := next((look for look in looks if isinstance(look, BaseException) and not isinstance(look, BadInput)), None):
            raise broken
        return [look for look in looks if isinstance(look, BadInput) or not isinstance(look, BaseException)]

    async def _looked(self, leaf: Leaf, look: Look[T], scratch: Path) -> T:
        def looked() -> T:
            with scratch.open("rb") as file:
                return look(leaf.name, file)

        await self.copy(leaf, scratch)
        return await asyncio.to_thread(looked)

    async def copy(self, leaf: Leaf, to: Path) -> None:
        """As the protocol says."""
        try:
            await self._objects.fetch(leaf.at, to, partial(self._demand_size, leaf.name))
        except NotFound as error:
            raise Unreadable("It is not there any more.", hint="Look again.") from error

    async def exists(self, leaf: Leaf) -> bool:
        """As the protocol says."""
        return await self._objects.exists(leaf.at)

    def leaf(self, name: str) -> Leaf:
        """As the protocol says."""
        return Leaf(name, self.url + name.partition("/")[2])

    def source_url(self, leaf: Leaf) -> str:
        """As the protocol says."""
        return leaf.at


@dataclass(frozen=True, slots=True)
class Place:
    """Where an admin chooses. folder: "" above all that may be read.   above: the folder around it.   inside: those in it, `SHOWN` at most; none of a prefix.

    store: what the addresses in the object store begin with.
    """

    folder: str = ""
    above: str = ""
    inside: Sequence[str] = ()
    store: str = ""


class Trees:
    """What may be taken in of the server and of the object store."""

    def __init__(self, objects: ObjectStore, demand_size: DemandSize, *, roots: Sequence[Path], closed: Sequence[Path]) -> None:
        """roots: folders of the server that may be read.   closed: those in them that may not, being the house's own."""
        self._objects, self._demand_size, self._roots, self._closed = objects, demand_size, roots, closed

    async def tree(self, place: str) -> Tree:
        """The files under a place.

        Raises: NotAllowed for a folder outside of the setting's, also through a link; NotFound; BadInput for a prefix that isn't to be taken in.
        """
        if place.startswith(IN_STORE):
            return PrefixTree(self._objects, prefix_of(self._objects, place if place.endswith("/") else f"{place}/"), self._demand_size)
        real = await asyncio.to_thread(self._demand, place)
        return FolderTree(real, [path.resolve() for path in self._closed], self._demand_size)

    async def around(self, place: str) -> Place:
        """What can be chosen from there; "" for the first choice. Raises: as `tree`; Unreadable."""
        if not place:
            return Place(inside=[str(root) for root in self._roots], store=beginning(self._objects))
        if place.startswith(IN_STORE):
            return Place((await self.tree(place)).place)
        return await asyncio.to_thread(self._around, place)

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

    def _around(self, folder: str) -> Place:
        real = self._demand(folder)
        try:
            with os.scandir(real) as entries:
                names = nsmallest(SHOWN, (e.name for e in entries if e.is_dir(follow_symlinks=False) and not hidden(e.name)))
        except OSError as error:
            raise Unreadable(_unreadable(error), hint="Check its rights.") from error
        above = "" if real in [root.resolve() for root in self._roots] else str(real.parent)
        return Place(str(real), above, [str(real / name) for name in names])


def _unreadable(error: OSError) -> str:
    return f"It can't be read: {error.strerror or 'the system refused it'}."
