"""Growing text, cut where a speaker could draw breath, so that the first words are heard while the rest is still being written. Pure.

The first piece is a clause, because it decides how long the listener waits; then whole sentences, because they are spoken better. Pieces joined are the text.
"""

import re

FIRST_WORDS = 3
"""A first piece of fewer words would be heard sooner and end before the next is ready."""
MAX_CHARS = 240
"""A sentence longer than this is cut at its last clause, or else between two words."""
# The mark, what closes around it, and the space after it: without the space it may be inside a number, a name or an address. Chinese and Japanese have none.
_SENTENCE = re.compile(r"[.!?…]+[\"'”’)\]*_]*(?=\s)|[。！？]|\n+")
_CLAUSE = re.compile(r"[,;:.!?…–—]+[\"'”’)\]*_]*(?=\s)|[，；：。！？、]|\n+")
_WORD = re.compile(r"\w+")
_ABBREVIATION = re.compile(r"(?:\b(?:[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|vs|etc|approx|bzw|ca|Nr|No|Fig)|\b[A-Za-z]\.[A-Za-z])$")


class Clauses:
    """Cuts a text as it comes. `feed` gives what can be spoken now, `flush` the rest."""

    def __init__(self) -> None:
        self._text = ""
        self._begun = False

    def feed(self, text: str) -> list[str]:
        """The pieces that are complete with this."""
        self._text += text
        pieces = []
        while end := self._end():
            pieces.append(self._text[:end])
            self._text = self._text[end:]
            self._begun = True
        return pieces

    def flush(self) -> list[str]:
        """What is left, when no more comes."""
        rest, self._text = self._text, ""
        return [rest] if rest else []

    def _end(self) -> int:
        """Where the next piece ends, its space included; 0 where that isn't known yet."""
        marks = _SENTENCE if self._begun else _CLAUSE
        wanted = 1 if self._begun else FIRST_WORDS
        for mark in marks.finditer(self._text):
            before = self._text[: mark.end()]
            ends = mark[0].startswith("\n") or not (mark[0].startswith(".") and _ABBREVIATION.search(self._text, 0, mark.start()))
            if ends and _speaks(before, wanted):
                return _with_space(self._text, mark.end())
        if len(self._text) <= MAX_CHARS:
            return 0
        cut = max((m.end() for m in _CLAUSE.finditer(self._text, 0, MAX_CHARS)), default=0)
        cut = cut or max((m.end() for m in re.finditer(r"\s", self._text[:MAX_CHARS])), default=MAX_CHARS)
        return _with_space(self._text, cut)


def _speaks(text: str, words: int) -> bool:
    """Whether there is enough in it to be spoken: so many words, or the letters of a script that has no spaces."""
    found = _WORD.findall(text)
    return len(found) >= words or any(len(word) >= words and not word.isascii() and ord(word[0]) > 0x2E7F for word in found)


def _with_space(text: str, end: int) -> int:
    return end + len(text[end:]) - len(text[end:].lstrip())
