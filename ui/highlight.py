"""Marking a passage in HTML that is safe already. Only `<mark>` is put in, and only between whole signs of its text: nothing else of it changes."""

import re
from collections.abc import Sequence
from html import unescape
from itertools import takewhile

from core.rag.words import letters

_PIECE = re.compile(r"""(<(?:"[^"]*"|[^">])*>)""")
_SIGN = re.compile(r"&[^;\s&]{1,32};|.", re.DOTALL)
_BAR = re.compile(r'<div class="codebar">.*?</div>', re.DOTALL)
"""What the page adds to a block of code; it is no part of the document."""
PASSAGE, QUOTE = 1, 2
IDENTITY = ' id="passage"'
CLASSES = {PASSAGE: "passage", QUOTE: "quote"}


def highlight(html: str, passage: str, quote: str = "", *, near: int = 0) -> tuple[str, bool]:
    """The HTML with the passage and the quote in it marked, and whether the passage was found. The first mark has the id `passage`.

    passage, quote: as HTML or escaped text; compared by letters and digits.   near: about how many letters stand before it, where it stands more than once.
    """
    pieces = _pieces(html)
    text = "".join(letters(unescape(sign)) for _, signs in pieces for sign in signs)
    wanted = _text_of(passage)
    at = _nearest(text, wanted, near)
    levels = bytearray(len(text))
    if at >= 0:
        levels[at : at + len(wanted)] = bytes([PASSAGE]) * len(wanted)
    words = _text_of(quote)
    start = text.find(words, max(at, 0)) if words else -1
    if start >= 0:
        levels[start : start + len(words)] = bytes([QUOTE]) * len(words)
    return (_with_marks(pieces, levels), True) if any(levels) else (html, False)


def _pieces(html: str) -> list[tuple[str, Sequence[str]]]:
    """(markup, signs of text): one of the two is empty."""
    pieces: list[tuple[str, Sequence[str]]] = []
    done = 0
    for bar in [*_BAR.finditer(html), None]:
        for n, part in enumerate(_PIECE.split(html[done : bar.start() if bar else len(html)])):
            pieces.append((part, ()) if n % 2 else ("", _SIGN.findall(part)))
        if bar:
            pieces.append((bar.group(), ()))
            done = bar.end()
    return pieces


def _text_of(html: str) -> str:
    return letters(unescape("".join("".join(signs) for _, signs in _pieces(html))))


def _nearest(text: str, wanted: str, near: int) -> int:
    """Where it stands; of several places the nearest to `near`. -1 if nowhere."""
    if not wanted:
        return -1
    before, after = text.rfind(wanted, 0, near + len(wanted)), text.find(wanted, near)
    if min(before, after) < 0:
        return max(before, after)
    return before if near - before <= after - near else after


def _with_marks(pieces: Sequence[tuple[str, Sequence[str]]], levels: bytearray) -> str:
    out: list[str] = []
    place, named = 0, False
    for markup, signs in pieces:
        out.append(markup)
        level = 0
        held: list[str] = []  # signs without letters wait until it is known whether a mark goes on after them
        for sign in signs:
            count = len(letters(unescape(sign)))
            held.append(sign)
            if not count:
                continue
            wanted = levels[place]
            place += count
            if wanted != level:
                between = held[:-1]
                inside = between if wanted else _closing(between)  # what ends a sentence belongs to it
                opening = f'<mark class="{CLASSES[wanted]}"{"" if named else IDENTITY}>' if wanted else ""
                if level > wanted > 0:
                    out += ["</mark>", opening, *between]
                else:
                    out += [*inside, "</mark>", *between[len(inside) :], opening] if level else [*between, opening]
                held = held[-1:]
                named, level = named or bool(wanted), wanted
            out += held
            held = []
        out += [*_closing(held), "</mark>", *held[len(_closing(held)) :]] if level else held
    return "".join(out)


def _closing(signs: list[str]) -> list[str]:
    """The signs up to the first space."""
    return list(takewhile(lambda sign: not unescape(sign).isspace(), signs))
