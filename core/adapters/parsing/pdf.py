"""PDF: the text layer, page by page; where there is none at all, the pages are read as pictures."""

import pypdfium2 as pdfium

from core.adapters.parsing import MAX_TEXT_CHARS, Read
from core.adapters.parsing.ocr import Ocr
from core.adapters.parsing.plain import clean
from core.adapters.pdf_file import opened
from core.errors import TooLong, Unreadable
from core.rag.model import Section

MAX_PAGES = 5_000
OCR_SCALE = 2.0
"""Pages are drawn at 144 dots per inch for recognition."""
MAX_PAGE_POINTS = 4_000
"""The longest side of a page that is drawn, in points of 1/72 inch."""


def read(data: bytes, name: str) -> Read:
    """One section per page with text, pages counted from 1. Raises: Unreadable for an encrypted, broken or purely pictorial file."""
    document = opened(data, name)
    try:
        if len(document) > MAX_PAGES:
            raise TooLong(f"{name} has {len(document):,} pages; at most {MAX_PAGES:,} are read.", hint="Split it.")
        sections, total = [], 0
        for number in range(1, len(document) + 1):
            text = _page_text(document, number)
            total += len(text)
            if total > MAX_TEXT_CHARS:
                raise TooLong(f"{name} has more than {MAX_TEXT_CHARS:,} characters.", hint="Split it.")
            if text:
                sections.append(Section(text, "", number))
        if not sections:
            sections = _scanned(document, name)
        title = str(document.get_metadata_dict().get("Title", ""))
        return Read("" if title.lower().startswith(("untitled", "microsoft word", "(anonymous)")) else clean(title).strip()[:200], tuple(sections))
    finally:
        document.close()


def _page_text(document: pdfium.PdfDocument, number: int) -> str:
    """A page's text; a page that is broken by itself is left out, the others are still good."""
    try:
        page = document[number - 1]
    except pdfium.PdfiumError:
        return ""
    try:
        textpage = page.get_textpage()
        text: str = clean(textpage.get_text_range()).replace("\ufffe", "").strip()
        textpage.close()
        return text
    finally:
        page.close()


def _scanned(document: pdfium.PdfDocument, name: str) -> list[Section]:
    """What OCR finds on the pages. Raises: Unreadable if it finds nothing, or isn't installed."""
    ocr = Ocr(name, "a PDF of scanned pages, without text")
    sections = []
    for number in range(1, len(document) + 1):
        try:
            page = document[number - 1]
        except pdfium.PdfiumError:
            continue
        if max(page.get_size()) <= MAX_PAGE_POINTS and (text := clean(ocr.text(page.render(scale=OCR_SCALE).to_pil())).strip()):
            sections.append(Section(text, "", number))
        page.close()
    if not sections:
        raise Unreadable(f"{name} has no text, and none was found in the pictures of its pages.", hint="Check that it is the file you meant.")
    return sections
