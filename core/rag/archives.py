"""Zip archives: which they are, and their files one after the other. Nothing is ever written under a name that an archive gives.

An archive that would grow beyond measure is refused as a whole before anything is unpacked; an entry that is no plain file, has a name that leads
out of the archive or can't be unpacked is left out with a sentence, and the others are taken.
"""

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from core.errors import BadInput, TooLong, Unreadable
from core.rag.model import Skipped

MAX_ENTRIES = 5_000
MAX_BYTES = 1_000_000_000
MAX_RATIO = 200
MIN_COMPRESSED = 1024
"""So much may grow by any ratio: it stays small."""
MAX_DIRECTORY_BYTES = 4 << 20
"""Of the archive's table of contents, which is read into memory as a whole."""
COPY_BYTES = 1 << 20
FIRST = (b"PK\x03\x04", b"PK\x05\x06")
_END, _END64, _LOCATOR64 = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_DOCUMENTS = ("[Content_Types].xml", "mimetype", "META-INF/container.xml")
"""What only documents that happen to be zip files contain: Office, OpenDocument and EPUB."""
_SKIPPED_FOLDERS = frozenset({"__MACOSX", "__pycache__", "node_modules"})
_DRIVE = re.compile(r"^[A-Za-z]:")


def is_archive(path: Path, name: str) -> bool:
    """Whether a file is a zip archive and not a document in zip's clothes; a damaged one is left to its reader. Raises: TooLong for an immense one."""
    with path.open("rb") as file:
        head = file.read(1024)
    if not head.startswith(FIRST) or b"%PDF-" in head:
        return False
    try:
        with _opened(path, name) as archive:
            return not any(part in archive.NameToInfo for part in _DOCUMENTS)
    except Unreadable:
        return False


def unpacked(path: Path, name: str, target: Path, *, max_bytes: int) -> Iterator[str | Skipped]:
    """For each entry that is a file: its name in the archive, with its bytes in `target` until the next is asked for; or why it is left out.

    max_bytes: of one file.   Raises: Unreadable for a damaged archive, TooLong for one with too many entries or one that would grow too much.
    """
    with _opened(path, name) as archive:
        entries = archive.infolist()
        total = sum(entry.file_size for entry in entries)
        if total > MAX_BYTES or any(e.file_size > MAX_RATIO * max(MIN_COMPRESSED, e.compress_size) for e in entries):
            raise TooLong(f"{name} would grow to {total / 1e6:,.0f} MB when it is unpacked; it was not.", hint="Split it, or unpack it and upload the files.")
        for entry in entries:
            if entry.is_dir():
                continue
            shown = "".join(c if c.isprintable() else "?" for c in entry.orig_filename)[:200]
            if reason := _refused(entry, max_bytes) or _unpack(archive, entry, target):
                yield Skipped(shown, reason)
            else:
                yield entry.filename


def _opened(path: Path, name: str) -> zipfile.ZipFile:
    """Raises: Unreadable if it is damaged; TooLong if its table of contents alone is beyond measure."""
    try:
        if _directory_bytes(path) > MAX_DIRECTORY_BYTES:
            raise TooLong(f"{name} has too long a table of contents; it was not unpacked.", hint=f"At most {MAX_ENTRIES:,} files are taken at once.")
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, OSError, struct.error) as error:
        raise Unreadable(f"{name} is damaged: it breaks off in the middle.", hint="Save or download it again.") from error
    if len(archive.filelist) > MAX_ENTRIES:
        archive.close()
        raise TooLong(f"{name} holds {len(archive.filelist):,} files; at most {MAX_ENTRIES:,} are taken at once.", hint="Split it.")
    return archive


def _directory_bytes(path: Path) -> int:
    """How long the central directory says it is (APPNOTE.TXT 4.3.14 to 4.3.16), read without reading it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - (1 << 16) - 22))
        tail = file.read()
        at = tail.rfind(_END)
        if at < 0 or len(tail) < at + 22:
            raise zipfile.BadZipFile("no end record")
        length = int(struct.unpack_from("<L", tail, at + 12)[0])
        if at >= 76 and tail[at - 20 : at - 16] == _LOCATOR64 and tail[at - 76 : at - 72] == _END64:
            length = max(length if length != 0xFFFFFFFF else 0, int(struct.unpack_from("<Q", tail, at - 76 + 40)[0]))
    return length


def _refused(entry: zipfile.ZipInfo, max_bytes: int) -> str:
    """Why an entry isn't even unpacked; "" if it may be."""
    name = entry.orig_filename.replace("\\", "/")
    parts = name.split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if "\0" in name:
        return "Its name is broken."
    if name.startswith("/") or _DRIVE.match(name) or ".." in parts:
        return "Its name leads out of the archive."
    if kind not in (0, stat.S_IFREG):
        return "It is a link or a device, not a file."
    if any(part.startswith(".") or part in _SKIPPED_FOLDERS for part in parts):
        return "It is hidden, or belongs to a tool."
    if entry.flag_bits & 1:
        return "It is encrypted."
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "It is packed in a way that can't be read."
    if entry.file_size > max_bytes:
        return f"It has {entry.file_size / 1e6:,.0f} MB; at most {max_bytes / 1e6:,.0f} MB are taken."
    return "" if entry.file_size else "It is empty."


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path) -> str:
    """Writes an entry's bytes; says why it could not, or why they are not wanted. Raises: OSError if they can't be put down."""
    try:
        with archive.open(entry) as source, target.open("wb") as out:
            left = entry.file_size
            while left > 0 and (piece := source.read(min(COPY_BYTES, left))):
                out.write(piece)
                left -= len(piece)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError):
        return "It is damaged."
    try:
        return "An archive inside an archive is not opened; upload it by itself." if is_archive(target, entry.filename) else ""
    except BadInput as error:
        return error.message
