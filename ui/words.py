"""What the pages say, in the language of whoever reads it: `_("…")` at the place where it is said, and gettext catalogues under ui/locale.

English is the key and needs no catalogue. The language belongs to a request and is set once where its reader becomes known (`speak`); nothing here belongs to a
user. A language is added with its folder under ui/locale and one line in LANGUAGES; `make words` brings its catalogue up to date.
"""

import json
from contextvars import ContextVar
from datetime import datetime
from functools import cache
from pathlib import Path

from ui.catalogue import Catalogue

LANGUAGES = {"en": "English", "de": "Deutsch"}
"""Each by its own name."""
LOCALE = Path(__file__).parent / "locale"
SCRIPTS = ("ui/static/chat.js", "ui/static/voice.js")
"""The scripts with texts of their own."""

_language: ContextVar[str] = ContextVar("language", default="en")


def speak(*wanted: str) -> None:
    """Sets the language of what this request says from now on: the first wish that can be met, or English.

    wanted: language codes or whole Accept-Language headers (RFC 9110, 12.5.4), the most important first; "" wishes nothing.
    """
    _language.set(next((code for wish in wanted for code in _wishes(wish) if code in LANGUAGES), "en"))


def _wishes(header: str) -> list[str]:
    """The languages of an Accept-Language header, best first, without regions. One that says nonsense says nothing."""
    ranked = []
    for part in header[:500].split(","):
        code, _q, weight = part.partition(";q=")
        try:
            ranked.append((float(weight or 1), code.strip().partition("-")[0].lower()))
        except ValueError:
            continue
    return [code for weight, code in sorted(ranked, key=lambda r: -r[0]) if weight > 0]


def language() -> str:
    """The language of this request: a key of LANGUAGES."""
    return _language.get()


@cache
def catalogue(code: str) -> Catalogue:
    """A language's texts, read when somebody first speaks it."""
    return Catalogue(LOCALE / code / "LC_MESSAGES/hearth.po" if code != "en" else None)


def _(text: str, /, **values: object) -> str:
    """The text in the reader's language, with its values in their places. Values go into HTML as they are: escape them first."""
    found = catalogue(language()).gettext(text)
    return found.format(**values) if values else found


def ngettext(one: str, many: str, count: int, /, **values: object) -> str:
    """The same for what is counted; {count} is the number as it is written."""
    return catalogue(language()).ngettext(one, many, count).format(count=figure(f"{count:,}"), **values)


def N_(text: str) -> str:  # noqa: N802  # gettext's own name for it
    """Marks a text that is said elsewhere, by `_`."""
    return text


def told(sentences: str) -> str:
    """What the core said, in the reader's language; as it is where no catalogue has it (docs/adr/0016)."""
    return catalogue(language()).sentence(sentences)


def figure(text: str) -> str:
    """A number formatted as in English, as the reader writes it: 1,234.5 is 1.234,5 in German."""
    return catalogue(language()).figure(text)


MONTHS = (
    *(N_("January"), N_("February"), N_("March"), N_("April"), N_("May"), N_("June")),
    *(N_("July"), N_("August"), N_("September"), N_("October"), N_("November"), N_("December")),
)


def moment(when: datetime) -> str:
    """A day and a time, written out."""
    return _("{day} {month} {year}, {time}", day=when.day, month=_(MONTHS[when.month - 1]), year=when.year, time=f"{when:%H:%M} UTC")


def script() -> str:
    """A script that gives the browser its language and the texts of `SCRIPTS`."""
    texts = json.dumps(catalogue(language()).texts_of(*SCRIPTS), ensure_ascii=False, separators=(",", ":"))
    return f'document.documentElement.lang="{language()}";window.hearthWords={texts};'
