"""Three kinds of text that every machine with the tests has: reference entries, a manual in prose, and a team's handbook.

docstrings: of Python's standard library, read from its source, one document per module and one section per function or class.
manual: Python's language reference, as `pydoc` carries it; one document per topic.
handbook: Markdown files written for this evaluation; they lie beside this module, and five of them are German.
The first two differ a little between Python's versions; a question whose target isn't in the text of the running version counts as one that was missed.
"""

import ast
import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from pydoc_data import topics

from core.adapters.parsing import markdown
from core.rag.model import ParsedDocument, Section

HANDBOOK = Path(__file__).parent / "handbook"
MODULES = tuple(
    "argparse asyncio.locks asyncio.tasks base64 bisect calendar collections concurrent.futures._base configparser contextlib copy csv dataclasses difflib "
    "fileinput fnmatch fractions functools glob gzip heapq hmac html http.server imaplib inspect ipaddress json logging mimetypes os pickle platform pprint "
    "queue random sched secrets shelve shlex shutil smtplib socket socketserver statistics string subprocess tarfile tempfile textwrap threading timeit "
    "traceback unittest.case urllib.parse urllib.request uuid weakref webbrowser zipapp zipfile".split()
)
TOPICS = tuple(
    "assert assignment async atom-identifiers attribute-access augassign binary bitwise booleans break callable-types calls class comparisons context-managers "
    "continue conversions customization debugger del dict exceptions execmodel exprlists for formatstrings function global id-classes identifiers if import in "
    "integers lambda nonlocal numeric-types objects pass power raise return sequence-types shifting slicings strings string-methods subscriptions truth try "
    "typesmapping typesseq unary while with yield".split()
)
"""Without those that repeat others whole, like `compound` and `specialnames`."""
SHORTEST_ENTRY = 40
"""Characters; docstrings below it say nothing that could be asked for."""
_UNDERLINED = re.compile(r"^(?P<title>\S.*)\n(?P<line>\*{4,}|={4,}|-{4,})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """A document of a corpus, as a parser would hand it over."""

    name: str
    parsed: ParsedDocument


def docstrings() -> list[Source]:
    """One document per module that is there."""
    return [Source(name, ParsedDocument(name, "text/x-python", sections)) for name in MODULES if (sections := tuple(_entries(name)))]


def _entries(module):
    """A module's public functions, classes and methods with their docstrings, in the order of the source."""
    path = _source_of(module)
    if path is not None:
        yield from _documented(ast.parse(path.read_text("utf-8")), "")


def _source_of(module):
    if (loaded := sys.modules.get(module)) is not None and getattr(loaded, "__file__", None):
        return Path(loaded.__file__)  # a frozen module's spec has no path
    found = importlib.util.find_spec(module)
    return Path(found.origin) if found is not None and found.origin and found.origin.endswith(".py") else None


def _documented(node, prefix):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.If, ast.Try)):
            yield from _documented(child, prefix)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not child.name.startswith("_"):
            text = ast.get_docstring(child) or ""
            if len(text) >= SHORTEST_ENTRY:
                yield Section(text, prefix + child.name)
            if isinstance(child, ast.ClassDef):
                yield from _documented(child, f"{prefix}{child.name}.")


def manual() -> list[Source]:
    """One document per topic; a section starts at every underlined title."""
    return [Source(name, _topic(topics.topics[name])) for name in TOPICS if name in topics.topics]


def _topic(text):
    titles = list(_UNDERLINED.finditer(text))
    ends = [title.start() for title in titles[1:]] + [len(text)]
    sections = tuple(Section(text[title.end() : end].strip(), title["title"]) for title, end in zip(titles, ends, strict=True))
    return ParsedDocument(titles[0]["title"] if titles else "", "text/plain", sections or (Section(text),))


def handbook() -> list[Source]:
    """One document per Markdown file, read by the product's own parser."""
    return [Source(path.stem, _read(path)) for path in sorted(HANDBOOK.glob("*.md"))]


def _read(path):
    read = markdown.read(path.read_bytes(), path.name)
    return ParsedDocument(read.title, "text/markdown", tuple(read.sections))


CORPORA = {"docstrings": docstrings, "manual": manual, "handbook": handbook}
