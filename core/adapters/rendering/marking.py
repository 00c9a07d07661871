"""Where a passage stands on a page. Only letters and digits are compared: line breaks, hyphens at the end of a line, ligatures and spaces may differ."""

from collections.abc import Sequence

from core.rag.words import letters

MIN_LINE_LETTERS = 12
"""A line with fewer letters and digits is not looked for by itself: it could stand anywhere."""
HIGH_SURROGATES, LOW_SURROGATES = range(0xD800, 0xDC00), range(0xDC00, 0xE000)

Span = tuple[int, int]
"""First sign, and the one after the last."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom; y grows downwards."""


def keyed(codes: Sequence[int]) -> tuple[str, list[int]]:
    """The letters of a page given as UTF-16 or UTF-32 signs, and for each the sign it comes from."""
    found: list[str] = []
    places: list[int] = []
    high = 0
    for place, code in enumerate(codes):
        if code in HIGH_SURROGATES:
            high = code
            continue
        if code in LOW_SURROGATES:
            code = 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00) if high else 0
        high = 0
        for letter in letters(chr(code)) if 0 < code < 0x110000 else "":
            found.append(letter)
            places.append(place)
    return "".join(found), places


def spans(page: tuple[str, list[int]], wanted: str, within: Sequence[Span] = ()) -> list[Span]:
    """Where `wanted` stands on the page: as a whole, inside `within` rather than elsewhere; else those of its lines that are found. [] if it isn't there."""
    text, places = page
    needle = letters(wanted)
    if not needle:
        return []
    if found := _all(text, needle):
        at = next((a for a in found if any(start <= places[a] < end for start, end in within)), found[0])
        return [(places[at], places[at + len(needle) - 1] + 1)]
    lines = [part for part in map(letters, wanted.splitlines()) if len(part) >= MIN_LINE_LETTERS]
    starts = [(text.find(part), len(part)) for part in lines] if len(lines) > 1 else []
    return [(places[at], places[at + length - 1] + 1) for at, length in starts if at >= 0]


def _all(text: str, needle: str) -> list[int]:
    found: list[int] = []
    at = text.find(needle)
    while at >= 0 and len(found) < 100:
        found.append(at)
        at = text.find(needle, at + 1)
    return found


def strips(boxes: Sequence[Box]) -> list[Box]:
    """The boxes of signs in reading order as strips, one per line and column."""
    joined: list[Box] = []
    for left, top, right, bottom in boxes:
        if joined:
            l0, t0, r0, b0 = joined[-1]
            height = max(b0 - t0, bottom - top, 1)
            beside = min(bottom, b0) - max(top, t0) > 0.5 * min(b0 - t0, bottom - top)
            if beside and left - r0 < 1.5 * height and l0 - right < 1.5 * height:
                joined[-1] = (min(l0, left), min(t0, top), max(r0, right), max(b0, bottom))
                continue
        joined.append((left, top, right, bottom))
    return joined
