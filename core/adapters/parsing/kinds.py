"""What kind of file it is. The bytes decide; the name only tells apart what is plain text anyway."""

import io
import zipfile
from pathlib import PurePath

from core.errors import Unreadable

_OFFICE = "application/vnd.openxmlformats-officedocument."
DOCX = _OFFICE + "wordprocessingml.document"
PPTX = _OFFICE + "presentationml.presentation"
XLSX = _OFFICE + "spreadsheetml.sheet"
EPUB = "application/epub+zip"
PICTURES = {
    b"\x89PNG": ("image/png", "a PNG picture"),
    b"\xff\xd8\xff": ("image/jpeg", "a JPEG picture"),
    b"GIF8": ("image/gif", "a GIF picture"),
    b"II*\x00": ("image/tiff", "a TIFF picture"),
    b"MM\x00*": ("image/tiff", "a TIFF picture"),
}
"""What a picture begins with: its media type, and its name in a sentence."""
# What can be told by its first bytes and can't be read, in words.
_FOREIGN = {
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
_READABLE = "Upload PDF, Word, PowerPoint, Excel, CSV, EPUB, e-mails, Markdown, HTML, plain text, source code or pictures of text."
_BY_SUFFIX = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".py": "text/x-python",
    ".pyi": "text/x-python",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".eml": "message/rfc822",
}
_SOURCE = frozenset(
    ".c .h .cc .cpp .hpp .cs .css .go .java .js .jsx .json .kt .lua .php .pl .r .rb .rs .scala .sh .sql .swift .tf .toml .ts .tsx .vue .xml .yaml .yml "
    ".ini .cfg .dockerfile .makefile .mk .bat .ps1 .proto .nix .zig .ex .exs .erl .hs .ml .clj .dart .gradle .cmake .env .conf".split()
)
_ZIPPED = {"word/document.xml": DOCX, "ppt/presentation.xml": PPTX, "xl/workbook.xml": XLSX, "META-INF/container.xml": EPUB}
"""The part that makes a zip container a document."""
_NAMED = {".pdf": "a PDF", ".docx": "a Word file", ".pptx": "a PowerPoint file", ".xlsx": "an Excel file", ".epub": "an EPUB book"}
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
    if media_type := _picture(data):
        return media_type
    _demand_known(data, name)
    suffix = PurePath(name.lower()).suffix
    head = data[:2048].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "text/html"
    if suffix in _NAMED:
        raise Unreadable(f"{name} is not {_NAMED[suffix]}, whatever its name says.", hint="It may be damaged; save it again.")
    return _BY_SUFFIX.get(suffix) or ("text/x-source" if suffix in _SOURCE else "text/plain")


def _picture(data: bytes) -> str:
    """Its media type; "" for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for magic, (media_type, _) in PICTURES.items() if data.startswith(magic)), "")


def _demand_known(data: bytes, name: str) -> None:
    """Raises: Unreadable for what is known not to be text, by its name where it has one."""
    what = "a film or a picture" if data[4:8] == b"ftyp" else next((what for magic, what in _FOREIGN.items() if data.startswith(magic)), "")
    if what:
        raise Unreadable(f"{name} is {what}, which Hearth can't read.", hint=_READABLE)
    if b"\x00" in data[:4096] and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise Unreadable(f"{name} is not text, and no kind of file that Hearth knows.", hint=_READABLE)


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
    if any(e.flag_bits & 1 for e in entries):
        raise Unreadable(f"{name} is encrypted.", hint="Remove the password and upload it again.")
    names = {e.filename for e in entries}
    for part, media_type in _ZIPPED.items():
        if part in names:
            return media_type
    told = f"{name} is an OpenDocument file, which Hearth can't read yet." if "mimetype" in names else f"{name} is an archive, not a document."
    raise Unreadable(told, hint="Save it as PDF, or unpack it and upload the files.")
