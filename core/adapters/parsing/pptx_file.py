"""PowerPoint files: a section per slide, with tables as rows and the speaker's notes at the end."""

import io
from collections.abc import Iterator
from typing import Any
from zipfile import BadZipFile

from lxml.etree import XMLSyntaxError
from pptx import Presentation
from pptx.exc import PythonPptxError

from core.adapters.parsing import Read
from core.adapters.parsing.plain import clean
from core.adapters.parsing.table import row_text
from core.errors import Unreadable
from core.rag.model import Section

MAX_NESTED_GROUPS = 20


def read(data: bytes, name: str) -> Read:
    """One section per slide with text; its heading is the slide's title, its page the slide's number from 1. Raises: Unreadable for a damaged file."""
    try:
        deck = Presentation(io.BytesIO(data))
        slides = list(deck.slides)
        sections = [Section(clean(text).strip(), clean(title).strip(), n) for n, (title, text) in enumerate(map(_slide, slides), 1) if text.strip()]
    except (PythonPptxError, BadZipFile, KeyError, ValueError, AttributeError, XMLSyntaxError) as error:
        raise Unreadable(f"{name} is damaged and can't be opened as a PowerPoint file.", hint="Save or download it again.") from error
    return Read(clean(deck.core_properties.title or "").strip(), tuple(sections))


def _slide(slide: Any) -> tuple[str, str]:
    """Its title and its text, in the order in which it is drawn; a slide that has only a title is its title."""
    titled = slide.shapes.title
    title = " ".join(titled.text_frame.text.split()) if titled is not None else ""
    lines = [text for shape in slide.shapes if titled is None or shape.shape_id != titled.shape_id for text in _texts(shape, 0)]
    if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None and notes.text.strip():
        lines.append(f"Notes: {notes.text.strip()}")
    return title, "\n\n".join(lines) or title


def _texts(shape: Any, depth: int) -> Iterator[str]:
    if depth > MAX_NESTED_GROUPS:
        return
    for inner in getattr(shape, "shapes", ()):  # a group
        yield from _texts(inner, depth + 1)
    if getattr(shape, "has_table", False):
        yield "\n".join(filter(None, (row_text(cell.text for cell in row.cells) for row in shape.table.rows)))
    elif getattr(shape, "has_text_frame", False) and shape.text_frame.text.strip():
        yield shape.text_frame.text.replace("\v", "\n").strip()
