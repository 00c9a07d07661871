"""Excel files: a section per sheet. Cells are read as their stored values; formulas are not computed."""

import io
import zlib
from zipfile import BadZipFile

from lxml.etree import XMLSyntaxError
from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from core.adapters.parsing import MAX_TEXT_CHARS, Read
from core.adapters.parsing.plain import clean
from core.adapters.parsing.table import section_of
from core.errors import TooLong, Unreadable
from core.rag.model import Section

BROKEN = (InvalidFileException, BadZipFile, zlib.error, KeyError, ValueError, TypeError, AttributeError, SyntaxError, XMLSyntaxError, EOFError)
"""What a damaged workbook makes openpyxl raise (its XML parser's ParseError is a SyntaxError)."""


def read(data: bytes, name: str) -> Read:
    """One section per sheet with rows; hidden sheets too. Raises: Unreadable for a damaged file, TooLong for one with too much text."""
    sections: list[Section] = []
    try:
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
        for sheet in book.worksheets:
            sheet.reset_dimensions()  # what the file says of its size may be wrong
            section = section_of(sheet.iter_rows(values_only=True), clean(sheet.title).strip(), name)
            if section.text:
                sections.append(section)
            if sum(len(s.text) for s in sections) > MAX_TEXT_CHARS:
                raise TooLong(f"{name} has more than {MAX_TEXT_CHARS:,} characters.", hint="Split it.")
        title = clean(book.properties.title or "").strip()
    except BROKEN as error:
        raise Unreadable(f"{name} is damaged and can't be opened as an Excel file.", hint="Save or download it again.") from error
    return Read(title, tuple(sections))
