"""EPUB books: the chapters in reading order, each read as the HTML that it is."""

import io
import posixpath
import zipfile
import zlib
from urllib.parse import unquote

from lxml import etree

from core.adapters.parsing import MAX_TEXT_CHARS, Read, html_page
from core.adapters.parsing.plain import clean
from core.errors import TooLong, Unreadable
from core.rag.model import Section

CONTAINER = "META-INF/container.xml"
ENCRYPTION = "META-INF/encryption.xml"
PAGES = ("application/xhtml+xml", "text/html")
_NAMES = {
    "c": "urn:oasis:names:tc:opendocument:xmlns:container",
    "o": "http://www.idpf.org/2007/opf",
    "dc": "http://purl.org/dc/elements/1.1/",
    "e": "http://www.w3.org/2001/04/xmlenc#",
}


def read(data: bytes, name: str) -> Read:
    """Sections by heading over the spine. Raises: Unreadable for a damaged or copy-protected book, TooLong for one with too much text."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            package = _found(_tree(book.read(CONTAINER)), "string(//c:rootfile/@full-path)")
            opf = _tree(book.read(package))
            chapters = _chapters(opf, posixpath.dirname(package))
            there = set(book.namelist())
            if ENCRYPTION in there and set(chapters) & set(_encrypted(_tree(book.read(ENCRYPTION)))):
                raise Unreadable(f"{name} is protected against copying.", hint="Upload a copy without protection.")
            sections: list[Section] = []
            total = 0
            for chapter in chapters:
                if chapter in there and (page := book.read(chapter)).strip():
                    sections += html_page.read(page, chapter).sections
                total = sum(len(s.text) for s in sections)
                if total > MAX_TEXT_CHARS:
                    raise TooLong(f"{name} has more than {MAX_TEXT_CHARS:,} characters.", hint="Split it.")
            return Read(clean(_found(opf, "string(//dc:title)")).strip(), tuple(sections))
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, etree.XMLSyntaxError) as error:
        raise Unreadable(f"{name} is damaged and can't be opened as an EPUB book.", hint="Download it again.") from error


def _tree(data: bytes) -> etree._Element:
    """XML without entities, foreign files or the network."""
    return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))


def _found(tree: etree._Element, path: str) -> str:
    return str(tree.xpath(path, namespaces=_NAMES))


def _chapters(opf: etree._Element, folder: str) -> list[str]:
    """The entries of the spine in their order."""
    of = {i.get("id"): i for i in opf.iterfind(".//o:manifest/o:item", _NAMES)}
    spine = [of[ref] for item in opf.iterfind(".//o:spine/o:itemref", _NAMES) if (ref := item.get("idref")) in of]
    hrefs = [unquote(i.get("href", "").partition("#")[0]) for i in spine if i.get("media-type") in PAGES]
    return [posixpath.normpath(posixpath.join(folder, href)) for href in hrefs]


def _encrypted(tree: etree._Element) -> list[str]:
    return [unquote(reference.get("URI", "")) for reference in tree.iterfind(".//e:CipherReference", _NAMES)]
