"""A gettext catalogue as its `.po` file has it: nothing is compiled beforehand, so nothing can be stale.

The file becomes a `.mo` in memory and the standard library's `gettext` reads that: plurals are its business. What the file says about where a text stands
(`#:`) tells which texts the browser's scripts need.
"""

import re
import struct
from ast import literal_eval
from dataclasses import dataclass
from functools import cached_property
from gettext import GNUTranslations, NullTranslations
from io import BytesIO
from pathlib import Path

MAX_SENTENCE_CHARS = 1000
"""What is longer is no sentence of ours, and would take long to compare with all of them."""
SENTENCE = "sentence"
"""The comment by which `make words` marks what is known again."""
_LINE = re.compile(r'(?:(msgid|msgid_plural|msgstr)(?:\[\d+\])? )?(".*")')
_PLACE = re.compile(r"\{(\w+)\}")
_FIGURE = re.compile(r"[\d,]+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Entry:
    """One text. ids: singular and, where it counts something, plural.   texts: its translations, one or one for each plural form."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    places: tuple[str, ...] = ()
    """The files it stands in, from the root of the source."""
    sentence: bool = False
    """Whether it is made elsewhere, with its values in it, and is known again by its words."""


def entries(po: str) -> list[Entry]:
    """What a `.po` file says, the header (id "") too. Fuzzy and obsolete entries are left out, as msgfmt does.

    Source: https://www.gnu.org/software/gettext/manual/html_node/PO-Files.html. Contexts (msgctxt) are not used here.
    """
    found = []
    for block in po.split("\n\n"):
        said: dict[str, list[str]] = {"msgid": [], "msgid_plural": [], "msgstr": []}
        places: list[str] = []
        into, fuzzy, sentence = said["msgid"], False, False
        for line in block.splitlines():
            if line.startswith("#:"):
                places += line[2:].split()
            elif line.startswith("#."):
                sentence = sentence or line[2:].strip() == SENTENCE
            elif line.startswith("#,"):
                fuzzy = fuzzy or "fuzzy" in line
            elif match := _LINE.fullmatch(line):
                if match[1]:
                    into = said[match[1]]
                    into.append("")
                into[-1] += literal_eval(match[2])  # C's escapes are Python's
        if said["msgid"] and not fuzzy:
            found.append(Entry((*said["msgid"], *said["msgid_plural"]), tuple(said["msgstr"]), tuple(places), sentence))
    return found


def _mo(found: list[Entry]) -> bytes:
    """The entries as a `.mo` file. Source: https://www.gnu.org/software/gettext/manual/html_node/MO-Files.html."""
    pairs = sorted(("\0".join(e.ids).encode(), "\0".join(e.texts).encode()) for e in found if any(e.texts))
    head, table = 28, 8 * len(pairs)
    at, tables, strings = head + 2 * table, [b"", b""], b""
    for side in (0, 1):
        for pair in pairs:
            tables[side] += struct.pack("<II", len(pair[side]), at + len(strings))
            strings += pair[side] + b"\0"
    return struct.pack("<7I", 0x950412DE, 0, len(pairs), head, head + table, 0, at) + b"".join(tables) + strings


class Catalogue:
    """One language. English has no file: its texts are the ids."""

    def __init__(self, path: Path | None = None) -> None:
        """path: of the `.po` file."""
        self.entries = entries(path.read_text("utf-8")) if path else []
        self._texts: NullTranslations = GNUTranslations(BytesIO(_mo(self.entries))) if path else NullTranslations()
        self.gettext, self.ngettext = self._texts.gettext, self._texts.ngettext

    def texts_of(self, *places: str) -> dict[str, str]:
        """The texts that stand in these files, by their ids."""
        return {e.ids[0]: e.texts[0] for e in self.entries if not set(places).isdisjoint(e.places)}

    def sentence(self, text: str) -> str:
        """Whole sentences that were made elsewhere, with their values already in them: in the core, in another process, a month ago. Unknown ones stay."""
        if not self.entries or not 0 < len(text) <= MAX_SENTENCE_CHARS:
            return text
        for end in re.finditer(r"[.!?] ", text):  # several, one after the other
            if (first := self._whole(text[: end.end() - 1])) is not None:
                return f"{first} {self.sentence(text[end.end() :])}"
        return self._whole(text) or text

    def _whole(self, text: str) -> str | None:
        if (known := self.gettext(text)) != text:
            return known
        for pattern, translation in self._patterns:
            if found := pattern.fullmatch(text):
                return translation.format(**{name: self._value(value) for name, value in found.groupdict().items()})
        return None

    def _value(self, value: str) -> str:
        """A value inside a sentence: a figure, a sentence of its own, or a name that nobody translates."""
        if _FIGURE.fullmatch(value):
            return self.figure(value)
        return self.sentence(value) if " " in value else value

    def figure(self, text: str) -> str:
        """A number written as in English (1,234.5) as this language writes it."""
        return text.translate(str.maketrans(",.", self.gettext(",.")))

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], str]]:
        """The texts with places for values, those with the most words of their own first: the most particular one fits."""
        templates = [(e.ids[0], e.texts[0]) for e in self.entries if e.sentence and _PLACE.search(e.ids[0])]
        templates.sort(key=lambda t: len(_PLACE.sub("", t[0])), reverse=True)
        return [(_pattern(template), translation) for template, translation in templates]


def _pattern(template: str) -> re.Pattern[str]:
    parts = _PLACE.split(template)  # what is said and what is filled in, by turns
    return re.compile("".join(f"(?P<{part}>.*)" if n % 2 else re.escape(part) for n, part in enumerate(parts)), re.DOTALL)
