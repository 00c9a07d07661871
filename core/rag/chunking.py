"""Cutting a document into passages that can be found, read and cited.

Pure. A passage never crosses a section or a page, so that its heading and page are true; inside a section it ends at the best border there is:
paragraph before line before sentence before word. A passage's text is exactly the document's text between its two offsets.
"""

import re
from collections.abc import Iterator

from core.ids import chunk_id
from core.rag.model import Chunk, ChunkMetadata, ParsedDocument

BETWEEN_SECTIONS = "\n\n"
OVERLAP_SHARE = 0.15
"""How much of a passage the next one repeats, where one section needs several: an answer across a border is whole in one of them."""
SHORT_SHARE = 0.25
"""A rest shorter than this share of a passage is left to the passage before it."""
# The borders, best first; each matches where a passage may end.
_BORDERS = (re.compile(r"\n[ \t]*\n"), re.compile(r"\n"), re.compile(r"(?<=[.!?…])[\"')\]]*\s"), re.compile(r"\s"))


def chunker_name(size_chars: int) -> str:
    """What a collection pins: this way of cutting, at that size."""
    return f"structure-1/{size_chars}"


def chunk(document_id: str, version: int, parsed: ParsedDocument, size_chars: int = 700) -> tuple[str, list[Chunk]]:
    """The document's whole text, and its passages in reading order with `content[start:end] == passage`.

    size_chars: about how long a passage is; none is longer than 1.25 times that. Sections without text give no passage, so an empty document gives [].
    The same document, version and text always give the same ids.
    """
    pieces: list[str] = []
    chunks: list[Chunk] = []
    offset = 0
    for section in parsed.sections:
        if not section.text.strip():
            continue
        if pieces:
            pieces.append(BETWEEN_SECTIONS)
            offset += len(BETWEEN_SECTIONS)
        for start, end in _spans(section.text, size_chars):
            place = ChunkMetadata(len(chunks), section.page, section.heading, offset + start, offset + end)
            chunks.append(Chunk(chunk_id(document_id, version, place.position), document_id, section.text[start:end], None, place))
        pieces.append(section.text)
        offset += len(section.text)
    return "".join(pieces), chunks


def embedding_text(title: str, passage: Chunk) -> str:
    """What is embedded for a passage: title and heading before the text, because a passage rarely repeats what it is about."""
    return "\n".join(part for part in (title, passage.metadata.heading, passage.content) if part)


def _spans(text: str, size_chars: int) -> Iterator[tuple[int, int]]:
    """The passages of one section as offsets without surrounding space; together they cover everything but space."""
    start, end = _trimmed(text, 0, len(text))
    while end - start > size_chars * (1 + SHORT_SHARE):
        cut = _border(text, start, start + size_chars)
        yield _trimmed(text, start, cut)
        start = _trimmed(text, _overlap(text, start, cut, size_chars), end)[0]
    yield start, end


def _border(text: str, start: int, limit: int) -> int:
    """Where a passage from `start` should end: the last good border in its second half, or at `limit` where there is none."""
    floor = start + (limit - start) // 2
    for border in _BORDERS:
        ends = [match.end() for match in border.finditer(text, floor, limit)]
        if ends:
            return ends[-1]
    return limit


def _overlap(text: str, start: int, cut: int, size_chars: int) -> int:
    """Where the next passage begins: a sentence or a word before the cut, always after `start`."""
    floor = max(start + 1, cut - int(size_chars * OVERLAP_SHARE))
    for border in (*_BORDERS[1:],):
        if match := border.search(text, floor, cut):
            return match.end() if match.end() < cut else cut
    return cut


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end
