"""Which files are meant by paths, what they are called in a collection, and what has changed in them since the last look."""

import hashlib
import os
import stat
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from core.errors import BadInput, NotFound, Unreadable

MAX_SOURCE_NAME_CHARS = 1000
SKIPPED_FOLDERS = frozenset({".git", "__pycache__", "node_modules", ".venv"})


@dataclass(frozen=True, slots=True)
class Source:
    """A file, and the name by which its document is known from one run to the next: its own, or the folder's with the path inside."""

    path: Path
    name: str


def found_files(paths: Sequence[Path]) -> list[Source]:
    """The files named, and those in the folders named, as `inside` finds them.

    Raises: NotFound for a path that isn't there; BadInput if two files would have the same name, because one would replace the other.
    """
    found: dict[str, Source] = {}
    for path in paths:
        if not path.exists():
            raise NotFound(f"{path} is not there.", hint="Check the path.")
        for source in inside(path) if path.is_dir() else [Source(path, path.name)]:
            other = found.setdefault(source.name, source)
            if other.path.resolve() != source.path.resolve():
                raise BadInput(f"{other.path} and {source.path} would both be called {source.name!r}.", hint="Name a folder that holds both.")
    return list(found.values())


def inside(folder: Path, *, closed: Collection[Path] = (), unread: Callable[[OSError], None] | None = None) -> Iterator[Source]:
    """The files in a folder and in those below, one after the other: hidden ones, links and tools' own folders are left out.

    closed: folders that are not gone into.   unread: is told of those that can't be read.
    """
    home = folder.resolve().name
    for at, folders, files in os.walk(folder, onerror=unread):
        folders[:] = sorted(name for name in folders if not hidden(name) and Path(at, name) not in closed)
        for path in (Path(at, name) for name in sorted(files) if not hidden(name)):
            if path.is_file() and not path.is_symlink():
                yield Source(path, f"{home}/{path.relative_to(folder).as_posix()}")


def hidden(name: str) -> bool:
    """Whether a file or folder of that name is nobody's document."""
    return name.startswith(".") or name in SKIPPED_FOLDERS


def source_name(filename: str) -> str:
    """A name or relative path as one printable line, without anything that could lead elsewhere: it is shown and compared, and never used as a path."""
    parts = ("".join(c if c.isprintable() else " " for c in part).strip() for part in filename.replace("\\", "/").split("/"))
    name = "/".join(part for part in parts if part not in ("", ".", "..")) or "document"
    if len(name) <= MAX_SOURCE_NAME_CHARS:
        return name
    end = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]  # two long names that begin alike stay two
    return f"{name[: MAX_SOURCE_NAME_CHARS - 9]}~{end}"


def opened(path: Path) -> BufferedReader:
    """A file that `inside` has found, to be read. Raises: Unreadable if it can't be, or if it or a folder on its way has become a link meanwhile."""
    try:
        with ExitStack() as stack:
            flags = os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe is opened too, and doesn't wait for its writer
            file = stack.enter_context(open(path, "rb", opener=lambda name, reading: os.open(name, reading | flags)))
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode) and path.resolve() == path and os.path.samestat(status, path.lstat()):
                stack.pop_all()
                return file
    except OSError as error:
        raise Unreadable(f"It can't be read: {error.strerror or 'the system refused it'}.", hint="Check its rights.") from error
    raise Unreadable("It has become something else meanwhile.", hint="Look at the folder again.")


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look showed: files to take in, and names that were there before and are not any more."""

    changed: list[Source]
    vanished: list[str]


@dataclass(slots=True)
class _File:
    """What is known of a file: how it looked last time, and the bytes (as a hash) that were handed out."""

    look: tuple[int, int] = (0, -1)
    handed_out: tuple[int, int] | None = None
    sha256: str = ""


class Watch:
    """Looks at paths again and again: time and size say where to look closer, the bytes say whether anything changed."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths
        self._files: dict[str, _File] = {}

    def look(self) -> Seen:
        """What is new or has other bytes than before. A file that changes between two looks is still being written, and waits for the next."""
        there = {source.name: source for source in found_files([p for p in self._paths if p.exists()])}
        vanished = sorted(self._files.keys() - there.keys())
        for name in vanished:
            del self._files[name]
        return Seen([source for source in there.values() if self._has_changed(source)], vanished)

    def forget(self, sources: Sequence[Source]) -> None:
        """These could not be taken in: they are handed out again at the next look."""
        for source in sources:
            known = self._files.get(source.name, _File())
            known.handed_out, known.sha256 = None, ""

    def _has_changed(self, source: Source) -> bool:
        try:
            status = source.path.stat()
            known = self._files.setdefault(source.name, _File())
            look = (status.st_mtime_ns, status.st_size)
            settled, known.look = known.look == look, look
            if not settled or known.handed_out == look:
                return False
            with source.path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:  # it went or may not be read: the next look tells
            return False
        known.handed_out = look
        changed, known.sha256 = known.sha256 != sha256, sha256
        return changed
