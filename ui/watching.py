"""Which files are meant by paths, what they are called in a collection, and what has changed in them since the last look."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadInput, NotFound

SKIPPED_FOLDERS = frozenset({".git", "__pycache__", "node_modules", ".venv"})


@dataclass(frozen=True, slots=True)
class Source:
    """A file, and the name by which its document is known from one run to the next: its own, or the folder's with the path inside."""

    path: Path
    name: str


def found_files(paths: Sequence[Path]) -> list[Source]:
    """The files named, and those in the folders named; hidden ones, links and tools' own folders are left out.

    Raises: NotFound for a path that isn't there; BadInput if two files would have the same name, because one would replace the other.
    """
    found: dict[str, Source] = {}
    for path in paths:
        if not path.exists():
            raise NotFound(f"{path} is not there.", hint="Check the path.")
        for source in _inside(path) if path.is_dir() else [Source(path, path.name)]:
            other = found.setdefault(source.name, source)
            if other.path.resolve() != source.path.resolve():
                raise BadInput(f"{other.path} and {source.path} would both be called {source.name!r}.", hint="Name a folder that holds both.")
    return list(found.values())


def _inside(folder: Path) -> list[Source]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.is_symlink())
    inside = [(p, p.relative_to(folder)) for p in files]
    home = folder.resolve().name
    return [Source(p, f"{home}/{r.as_posix()}") for p, r in inside if not any(part.startswith(".") or part in SKIPPED_FOLDERS for part in r.parts)]


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
