"""Objects as files: written to a temporary name, synced, renamed, and the folder synced; so an object is there whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

import anyio

from core.adapters.object_keys import key_of, parts_of
from core.errors import NoSpace, NotFound
from core.objects import written
from core.records import Page, Stored

BUCKET = "hearth"


class FolderObjectStore:
    """The embedded object store: s3://hearth/<key> lies at <home>/objects/<key>."""

    def __init__(self, url: str, *, home: Path) -> None:
        """`url` is empty."""
        self.adapter = "folder"
        self._folder = home / "objects"

    async def __aenter__(self) -> Self:
        """Makes the folder. Raises: NoSpace if it can't."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise NoSpace("The folder for originals can't be made.", hint="Check the rights of the home folder.") from error
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Nothing to close."""

    async def check(self) -> None:
        """As the port says."""

        def write() -> None:
            with tempfile.TemporaryFile(dir=self._folder) as file:
                file.write(b"?")

        try:
            await anyio.to_thread.run_sync(write)
        except OSError as error:
            raise NoSpace("The folder for originals can't be written.", hint="Free some space or check the home folder's rights.") from error

    async def put(self, key: str, content: bytes | Path) -> str:
        """As the port says."""
        target = self._path(key)
        await anyio.to_thread.run_sync(_store, target, content)
        return self.uri(key)

    def uri(self, key: str) -> str:
        """As the port says."""
        self._path(key)
        return f"s3://{BUCKET}/{key}"

    async def get(self, uri: str) -> bytes:
        """As the port says."""
        path = await self.local_path(uri)
        return await anyio.to_thread.run_sync(path.read_bytes)

    async def local_path(self, uri: str) -> Path:
        """As the port says."""
        path = self._path(key_of(uri, BUCKET))
        if not await anyio.to_thread.run_sync(path.is_file):
            raise NotFound("The original is not there any more.")
        return path

    async def lent(self, uri: str, *, name: str) -> str:
        """As the port says: a folder has no addresses."""
        await self.local_path(uri)
        return ""

    async def fetch(self, uri: str, to: Path, demand: Callable[[int], None] | None = None) -> None:
        """As the port says."""
        path = await self.local_path(uri)

        def copy() -> None:
            try:
                source = path.open("rb")
            except FileNotFoundError as error:
                raise NotFound("The original is not there any more.") from error
            with source:
                if demand is not None:
                    demand(os.fstat(source.fileno()).st_size)
                written(source, to, path.name)

        await anyio.to_thread.run_sync(copy)

    async def drop(self, uri: str) -> bool:
        """As the port says."""
        path = self._path(key_of(uri, BUCKET))

        def remove() -> bool:
            try:
                path.unlink()
            except FileNotFoundError:
                return False
            for folder in path.parents:
                if folder == self._folder:
                    break
                try:
                    folder.rmdir()
                except OSError:
                    break
            return True

        return await anyio.to_thread.run_sync(remove)

    async def exists(self, uri: str) -> bool:
        """As the port says."""
        return await anyio.to_thread.run_sync(self._path(key_of(uri, BUCKET)).is_file)

    async def all(self, *, prefix: str = "", limit: int = 1000, cursor: str = "") -> Page[Stored]:
        """As the port says. What a `put` broke off left lies beside the objects under a name that begins with `.put-`."""

        def look() -> list[Stored]:
            found = islice(_files(self._folder, PurePosixPath(cursor).parts, prefix=prefix), limit + 1)
            return [Stored(self.uri(key), status.st_size, datetime.fromtimestamp(status.st_mtime, UTC)) for key, status in found]

        found = await anyio.to_thread.run_sync(look)
        return Page(found[:limit], key_of(found[limit - 1].uri, BUCKET) if len(found) > limit else "")

    def _path(self, key: str) -> Path:
        return self._folder.joinpath(*parts_of(key))


def _files(folder: Path, after: tuple[str, ...], above: str = "", prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """(key, status) of every file below, folder by folder and by name; those after the one with these parts. One folder's names at a time are in memory.

    prefix: what keys begin with; folders that can hold none of these are not entered.
    """
    first, rest = (after[0], after[1:]) if after else ("", ())
    with suppress(FileNotFoundError, NotADirectoryError):  # dropped meanwhile, or the folder with its last one; a prefix may name a file
        for entry in sorted((e for e in os.scandir(folder) if e.name >= first), key=lambda e: e.name):
            key = above + entry.name
            if entry.is_dir(follow_symlinks=False):
                if f"{key}/".startswith(prefix[: len(key) + 1]):
                    yield from _files(folder / entry.name, rest if entry.name == first else (), f"{key}/", prefix)
            elif entry.name != first and key.startswith(prefix) and entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):
                    yield key, entry.stat()


def _store(target: Path, content: bytes | Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".put-")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as out:
                if isinstance(content, bytes):
                    out.write(content)
                else:
                    with content.open("rb") as source:
                        shutil.copyfileobj(source, out, 1 << 20)
                out.flush()
                os.fsync(out.fileno())
            temporary.rename(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES):
            raise NoSpace(
                "The file can't be stored: " + (error.strerror or "the disk refused it") + ".",
                hint="Free some space or check the home folder's rights, then upload it again.",
            ) from error
        raise
