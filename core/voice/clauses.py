"""Growing text, cut into what can be spoken: the first clause as soon as it is there, then sentences.

Markdown, code, addresses and the numbers of citations are never spoken; they stay in the text that is read. The cuts depend on the text alone, never on the
pieces in which it came: a word is looked at once what follows it is there.
"""

import re
from dataclasses import dataclass

FIRST_WORDS = 3
"""The first segment is spoken at the first comma after so many words, so that the voice begins early."""
MOST_WORDS = 40
"""A sentence that is longer is cut here: a segment is synthesised as a whole."""
BRACKET_CHARS = 300
"""A bracket that is longer is no link."""

_FENCE = re.compile(r"(`{3,}|~{3,})")
_LINE_MARK = re.compile(r"#{1,6}|>+|[-+*•]|\d{1,3}[.)]")
_RULE = re.compile(r"[-*_=|:+]{3,}")
_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\n]*\)")
_CITATION = re.compile(r"\[\d+(?:\s*,\s*\d+)*\]")
_ADDRESS = re.compile(r"<?(?:https?://|www\.)[^\s<>]*>?")
_TAG = re.compile(r"</?[A-Za-z][^<>\s]*>")
_MARK = re.compile(r"\*+|`+|~~|(?<!\w)_+|_+(?!\w)|[|\[\]]|\\(?=\W)")
_CLOSING = "\"'”’»)]"
_ABBREVIATIONS = frozenset("e.g. i.e. etc. cf. vs. dr. mr. mrs. ms. st. no. fig. approx. z.b. d.h. u.a. bzw. ca. nr. usw. s.".split())


@dataclass(frozen=True, slots=True)
class Segment:
    """Something to say in one breath. `end`: how far into the text that was fed it reaches."""

    text: str
    end: int


class Clauses:
    """Cuts one answer. Joined with spaces, the segments are all that is speakable in it."""

    def __init__(self) -> None:
        self._rest = ""
        """What can't be decided yet."""
        self._at = 0
        """Where the rest begins in the whole text."""
        self._words: list[str] = []
        self._first = True
        self._line_start, self._fence = True, ""

    def feed(self, text: str) -> list[Segment]:
        """The segments that this piece completes."""
        self._rest += text
        return self._cut(final=False)

    def flush(self) -> list[Segment]:
        """What is left when no more text comes."""
        return [*self._cut(final=True), *self._spoken()]

    def _cut(self, *, final: bool) -> list[Segment]:
        segments: list[Segment] = []
        start = 0
        while start < len(self._rest):
            if self._rest[start].isspace():
                if self._rest[start] == "\n":
                    segments += self._line_ended()
                start += 1
                self._at += 1
                continue
            end = _word_end(self._rest, start, final=final)
            if end is None:
                break
            word = self._rest[start:end]
            self._at += end - start
            start = end
            segments += self._word(word)
        self._rest = self._rest[start:]
        return segments

    def _line_ended(self) -> list[Segment]:
        """A blank line ends what is said, also where nothing else does."""
        blank, self._line_start = self._line_start, True
        return self._spoken() if blank else []

    def _word(self, raw: str) -> list[Segment]:
        """Takes one word of the text; gives the segment that ends with it or before it."""
        first, self._line_start = self._line_start, False
        if first and (fence := _FENCE.match(raw)) and (not self._fence or raw.startswith(self._fence)):
            self._fence = "" if self._fence else fence[1]
            return self._spoken()
        if self._fence:
            return []
        if first and _LINE_MARK.fullmatch(raw):
            self._line_start = True  # "> - x"
            return self._spoken()
        word = _spoken_word(raw)
        if not word:
            return []
        if self._words and not any(c.isalnum() for c in word) and all(c in ".,;:!?…" + _CLOSING for c in word):
            self._words[-1] += word  # what is left of "[1]." belongs to the word before it
        else:
            self._words.append(word)
        return self._spoken() if self._complete(self._words[-1]) else []

    def _complete(self, last: str) -> bool:
        """Whether what has been gathered can be said."""
        bare = last.rstrip(_CLOSING)
        many = len(self._words) >= FIRST_WORDS
        if len(self._words) >= MOST_WORDS:
            return True
        if bare.endswith((".", "!", "?", "…")):
            return (many or not self._first) and bare.lower() not in _ABBREVIATIONS and not re.fullmatch(r"\w\.", bare)
        return self._first and many and bare.endswith((",", ";", ":"))

    def _spoken(self) -> list[Segment]:
        if not any(c.isalnum() for word in self._words for c in word):
            self._words = []
            return []
        words, self._words, self._first = self._words, [], False
        return [Segment(" ".join(words), self._at)]


def speakable(text: str) -> str:
    """All of a text that can be spoken."""
    clauses = Clauses()
    return " ".join(segment.text for segment in [*clauses.feed(text), *clauses.flush()])


def _word_end(text: str, start: int, *, final: bool) -> int | None:
    """Where the word ends that begins there; None while that can't be known. What stands in brackets is one word, so that a link is seen whole."""
    blank = closing = 0
    for at in range(start, len(text)):
        char = text[at]
        if char == "\n" or (char.isspace() and not closing):
            return at if char != "\n" else (blank or at)
        if char.isspace():
            blank = blank or at
            if at - start > BRACKET_CHARS:
                return blank
        elif char == "[" and not closing:
            closing, blank = 1, 0
        elif closing == 1 and char == "]":
            closing, blank = 0, 0
        elif not closing and char == "(" and text[at - 1] == "]" and at > start:
            closing = 2
        elif closing == 2 and char == ")":
            closing, blank = 0, 0
    return (blank or len(text)) if final else None


def _spoken_word(raw: str) -> str:
    """A word as it is said; "" where it isn't."""
    if _RULE.fullmatch(raw):
        return ""
    word = _LINK.sub(r"\1", raw)
    for unspoken in (_CITATION, _TAG):
        word = unspoken.sub("", word)
    word = _ADDRESS.sub(lambda found: "".join(c for c in found[0][-1:] if c in ".,;:!?"), word)
    return " ".join(_MARK.sub("", word).split())
