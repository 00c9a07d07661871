"""Word files: paragraphs by heading and tables as rows, in the order of the document."""

import io
import re
from zipfile import BadZipFile

from docx import Document
from docx.opc.exceptions import PackageNotFoundError
from docx.table import Table
from docx.text.paragraph import Paragraph
from lxml.etree import XMLSyntaxError

from core.adapters.parsing import Read
from core.adapters.parsing.markdown import PATH_SIGN
from core.adapters.parsing.plain import clean
from core.errors import Unreadable
from core.rag.model import Section

_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)


def read(data: bytes, name: str) -> Read:
    """Sections by heading style. Word knows no pages before it prints. Raises: Unreadable for a damaged file."""
    try:
        document = Document(io.BytesIO(data))
        parts = list(document.iter_inner_content())
    except (PackageNotFoundError, BadZipFile, KeyError, ValueError, XMLSyntaxError) as error:
        raise Unreadable(f"{name} is damaged and can't be opened as a Word file.", hint="Save or download it again.") from error
    sections: list[Section] = []
    path: list[tuple[int, str]] = []
    lines: list[str] = []
    title = clean(document.core_properties.title or "").strip()

    def close() -> None:
        text = "\n\n".join(lines).strip()
        if text:
            sections.append(Section(text, PATH_SIGN.join(t for _, t in path)))
        lines.clear()

    for part in parts:
        if isinstance(part, Table):
            lines.append(_rows(part))
            continue
        text = clean(part.text).strip()
        style = part.style.name if isinstance(part, Paragraph) and part.style is not None else ""
        level = 0 if style == "Title" else int(m[1]) if (m := _HEADING.match(style or "")) else None
        if text and level is not None:
            close()
            title = title or text
            path = [*(p for p in path if p[0] < level), (level, text)]
        elif text:
            lines.append(text)
    close()
    return Read(title, tuple(sections))


def _rows(table: Table) -> str:
    """One line per row; a cell that spans several columns stands once."""
    rows = []
    for row in table.rows:
        cells: list[str] = []
        for cell in row.cells:
            text = " ".join(clean(cell.text).split())
            if not cells or cells[-1] != text:
                cells.append(text)
        rows.append(" | ".join(cells))
    return "\n".join(rows)
