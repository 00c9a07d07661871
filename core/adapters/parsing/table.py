"""Rows and columns as text: one line per row, cells parted by a bar, and the first row in the heading, so that every passage knows its columns."""

from collections.abc import Iterable, Iterator

from core.adapters.parsing import MAX_TEXT_CHARS
from core.adapters.parsing.markdown import PATH_SIGN
from core.adapters.parsing.plain import clean
from core.errors import TooLong
from core.rag.model import Section

MAX_HEADING_CHARS = 200


def row_text(cells: Iterable[object]) -> str:
    """A row as "a | b"; "" if no cell has anything. Empty cells at the end are left out, those between keep their place."""
    texts = ["" if cell is None else " ".join(clean(str(cell)).split()) for cell in cells]
    while texts and not texts[-1]:
        texts.pop()
    return " | ".join(texts)


def section_of(rows: Iterable[Iterable[object]], heading: str, name: str) -> Section:
    """All rows as one section. Raises: TooLong as soon as they are more text than is read."""
    lines = list(_limited(filter(None, map(row_text, rows)), name))
    columns = lines[0][:MAX_HEADING_CHARS] if len(lines) > 1 else ""
    return Section("\n".join(lines), PATH_SIGN.join(filter(None, (heading, columns))))


def _limited(lines: Iterator[str], name: str) -> Iterator[str]:
    total = 0
    for line in lines:
        total += len(line) + 1
        if total > MAX_TEXT_CHARS:
            raise TooLong(f"{name} has more than {MAX_TEXT_CHARS:,} characters.", hint="Split it.")
        yield line
