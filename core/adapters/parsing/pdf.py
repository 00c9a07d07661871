"""PDF: the text layer, page by page."""

import pypdfium2 as pdfium

from core.adapters.parsing import MAX_TEXT_CHARS, Read
from core.adapters.parsing.plain import clean
from core.adapters.pdf_file import opened
from core.errors import TooLong, Unreadable
from core.rag.model import Section

MAX_PAGES = 5_000


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
            raise Unreadable(f"{name} has no text, only pictures of pages.", hint="Run OCR over it first; Hearth doesn't do that yet.")
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
