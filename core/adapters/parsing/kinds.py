"""What kind of file it is. The bytes decide; the name only tells apart what is plain text anyway."""

import io
import zipfile
from pathlib import PurePath

from core.errors import Unreadable

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
# What can be told by its first bytes and can't be read (yet), in words.
_FOREIGN = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"II*\x00": "a TIFF picture",
    b"MM\x00*": "a TIFF picture",
    b"\x1f\x8b": "a gzip archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ": "an xz archive",
    b"\xd0\xcf\x11\xe0": "an old Office file or an encrypted one",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"OggS": "a sound",
    b"ID3": "a sound",
    b"RIFF": "a sound or a film",
    b"fLaC": "a sound",
    b"SQLite format 3": "a database",
    b"\x1aE\xdf\xa3": "a film",
}
_BY_SUFFIX = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".py": "text/x-python",
    ".pyi": "text/x-python",
}
_SOURCE = frozenset(
    ".c .h .cc .cpp .hpp .cs .css .go .java .js .jsx .json .kt .lua .php .pl .r .rb .rs .scala .sh .sql .swift .tf .toml .ts .tsx .vue .xml .yaml .yml "
    ".ini .cfg .dockerfile .makefile .mk .bat .ps1 .proto .nix .zig .ex .exs .erl .hs .ml .clj .dart .gradle .cmake .env .conf".split()
)
_ZIPPED = {"xl/": "an Excel file", "ppt/": "a PowerPoint file", "mimetype": "an OpenDocument or EPUB file"}
MAX_ZIP_ENTRIES = 5_000
MAX_ZIP_BYTES = 300_000_000
MAX_ZIP_RATIO = 200


def kind_of(data: bytes, name: str) -> str:
    """The media type of a file. Raises: Unreadable for an empty file or one that can't be read, naming what it is."""
    if not data.strip(b"\x00 \t\r\n"):
        raise Unreadable(f"{name} is empty.", hint="Check the file and upload it again.")
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:5] == b"%PDF-" or b"%PDF-" in data[:1024]:
        return "application/pdf"
    if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _of_zip(data, name)
    for magic, what in _FOREIGN.items():
        if data.startswith(magic):
            raise Unreadable(f"{name} is {what}, which Hearth can't read.", hint="Upload PDF, Word, Markdown, HTML, plain text or source code.")
    suffix = PurePath(name.lower()).suffix
    if data[4:8] == b"ftyp":
        raise Unreadable(f"{name} is a film or a picture, which Hearth can't read.", hint="Upload PDF, Word, Markdown, HTML, plain text or source code.")
    if b"\x00" in data[:4096] and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise Unreadable(f"{name} is not text, and no kind of file that Hearth knows.", hint="Upload PDF, Word, Markdown, HTML, plain text or source code.")
    head = data[:2048].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "text/html"
    if suffix in (".pdf", ".docx"):
        raise Unreadable(f"{name} is not {'a PDF' if suffix == '.pdf' else 'a Word file'}, whatever its name says.", hint="It may be damaged; save it again.")
    return _BY_SUFFIX.get(suffix) or ("text/x-source" if suffix in _SOURCE else "text/plain")


def _of_zip(data: bytes, name: str) -> str:
    """What a zip container holds; one that would grow beyond measure is refused before anything is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as package:
            entries = package.infolist()
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise Unreadable(f"{name} is damaged: it breaks off in the middle.", hint="Save or download it again.") from error
    unpacked = sum(e.file_size for e in entries)
    if len(entries) > MAX_ZIP_ENTRIES or unpacked > MAX_ZIP_BYTES or any(e.file_size > MAX_ZIP_RATIO * max(1024, e.compress_size) for e in entries):
        raise Unreadable(f"{name} would grow to {unpacked / 1e6:,.0f} MB when it is opened; it was not.", hint="Save it anew, without what makes it so large.")
    names = {e.filename for e in entries}
    if "word/document.xml" in names:
        return DOCX
    if any(e.flag_bits & 1 for e in entries):
        raise Unreadable(f"{name} is encrypted.", hint="Remove the password and upload it again.")
    what = next((kind for part, kind in _ZIPPED.items() if any(n.startswith(part) for n in names)), "a zip archive")
    raise Unreadable(f"{name} is {what}, which Hearth can't read yet.", hint="Save it as PDF, or unpack it and upload the files.")
