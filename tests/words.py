"""What the code says to people, found in its source; and `make words`, which brings the catalogues up to date with it.

Python is read as a tree, since most texts stand inside f-strings, where Babel's own reader doesn't look; scripts are read by Babel's. Errors of the core are
ordinary f-strings: `f"{name} is empty."` becomes the text "{name} is empty.", which is how ui/catalogue.py knows the sentence again.
"""

import ast
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

import core.errors
from ui.catalogue import SENTENCE
from ui.words import LANGUAGES, LOCALE, SCRIPTS

ROOT = Path(__file__).parent.parent
PACKAGES = ("core", "inference", "ui")
TERMINAL = (
    "ui/cli.py",
    "ui/commands.py",
    "inference/fetch.py",
    "core/settings.py",
    "core/app.py",
    "core/doctor.py",
    "core/moving.py",
    "core/adapters/__init__.py",
    "core/adapters/moving_sql.py",
    "core/adapters/migrations/run.py",
)
PROGRAMS = ("inference/server.py", "ui/api/auth.py", "ui/api/chat.py")
UNTOLD = TERMINAL + PROGRAMS
"""What is said in a terminal, or to programs, stays English."""
ERRORS = {name for name, found in vars(core.errors).items() if isinstance(found, type) and issubclass(found, core.errors.HearthError)}
SENTENCES = ERRORS | {"interrupted", "Skipped", "skipped"}
"""Calls whose texts are sentences for people."""
SPOKEN = {
    "core/chat/answering.py": {"CAUTION"},
    "core/adapters/parsing/picture.py": {"what"},
    "ui/limits.py": {"_HINTS"},
    "core/rag/library.py": {"ingest_next"},
    "core/rag/retrieval.py": {"_dense", "_rerank"},
    "core/rag/archives.py": {"_refused", "_unpack"},
    "core/chat/room.py": {"_finish"},
    "core/adapters/parsing/kinds.py": {"PICTURES", "_FOREIGN", "_NAMED", "_of_zip", "_demand_known", "_READABLE"},
}
"""Constants and functions of the core that hold further ones: whatever in them has several words."""

LEAST_LETTERS = 7
HEADER = r"""# Hearth in {language}. `make words` keeps this file in step with the code; an editor for PO files helps to fill it in.
msgid ""
msgstr ""
"Language: {code}\n"
"Content-Type: text/plain; charset=UTF-8\n"
"Content-Transfer-Encoding: 8bit\n"
"Plural-Forms: {plural}\n"

"""


@dataclass
class Text:
    """Where a text stands, and whether it is a sentence that the pages know again by its words."""

    places: set[str] = field(default_factory=set)
    sentence: bool = False


def texts():
    """Every text that people read: {(singular, plural) or (text,): Text}."""
    found = defaultdict(Text)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            place = path.relative_to(ROOT).as_posix()
            tree = ast.parse(path.read_text("utf-8"))
            for ids in _marked(tree):
                found[ids].places.add(place)
            for text in [] if place in UNTOLD else _told(tree, SPOKEN.get(place, set())):
                found[(text,)].places.add(place)
                found[(text,)].sentence = True
    for script in SCRIPTS:
        for _line, said, _comments, _context in extract("javascript", BytesIO((ROOT / script).read_bytes()), keywords={"_": None}):
            found[(said,)].places.add(script)
    return found


def _calls(tree):
    """(name, call) of everything that is called."""
    return [(getattr(n.func, "id", getattr(n.func, "attr", "")), n) for n in ast.walk(tree) if isinstance(n, ast.Call)]


def _marked(tree):
    """What the pages say: `_`, `N_` and `ngettext` around strings."""
    for name, call in _calls(tree):
        strings = [a.value for a in call.args[:2] if isinstance(a, ast.Constant)]
        if name in ("_", "N_", "gettext") and strings:
            yield (strings[0],)
        elif name == "ngettext" and len(strings) == 2:
            yield tuple(strings)


def _told(tree, spoken):
    """The sentences of errors and their like."""
    for name, call in _calls(tree):
        if name in SENTENCES:
            for part in (*call.args, *(k.value for k in call.keywords if k.arg == "hint")):
                yield from _templates(part)
    for node in ast.walk(tree):
        if spoken & _names(node):
            yield from _sentences(node)


def _names(node):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return {node.name}
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return {t.id for t in (node.targets if isinstance(node, ast.Assign) else [node.target]) if isinstance(t, ast.Name)}
    return set()


def _sentences(node):
    """Whatever in a function or constant has several words and is neither a docstring nor a line for the log."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log."):
        return
    if isinstance(node, ast.JoinedStr | ast.Constant):
        yield from _templates(node)
        return
    for child in ast.iter_child_nodes(node):
        yield from _sentences(child)


def _templates(node):
    """The texts that an expression may be: a string, an f-string, a sum of them, one or another."""
    if isinstance(node, ast.IfExp):
        return [*_templates(node.body), *_templates(node.orelse)]
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in _templates(value)]
    parts, seen = [], {}
    for part in _parts(node):
        if isinstance(part, str):
            parts.append(part)
            continue
        name = _name(part)
        seen[name] = seen.get(name, 0) + 1
        parts.append("{" + name + (str(seen[name]) if seen[name] > 1 else "") + "}")
    text = "".join(parts)
    return [text] if _tells(text) else []


def _parts(node):
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.JoinedStr):
        return [part for value in node.values for part in ([value.value] if isinstance(value, ast.FormattedValue) else _parts(value))]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [part for side in (node.left, node.right) for part in (_parts(side) or [side])]
    return []


def _name(node):
    """A short name for a value in a sentence: what it is called, or what it is made of."""
    if isinstance(node, ast.Name):
        return node.id.strip("_").lower()
    if isinstance(node, ast.Attribute):
        return node.attr.strip("_").lower()
    if isinstance(node, ast.Call):
        return _name(node.args[0] if node.args else node.func)
    inner = {ast.Subscript: "value", ast.BinOp: "left", ast.IfExp: "test", ast.Compare: "left", ast.UnaryOp: "operand"}.get(type(node))
    return _name(getattr(node, inner)) if inner else _name(node.values[0]) if isinstance(node, ast.BoolOp) else "value"


def _tells(text):
    """Whether it has words: several, or between its values enough letters to be known again by."""
    own = re.sub(r"\{\w+\}", "", text)
    return " " in text and (own == text or len(re.findall(r"[^\W\d_]", own)) >= LEAST_LETTERS)


def updated(code):
    """A language's catalogue as `make words` writes it: what is new is empty, what is gone is gone."""
    path = catalogue_of(code)
    catalogue = read_po(BytesIO(path.read_bytes()), locale=code) if path.exists() else Catalog(locale=code)
    template = Catalog(fuzzy=False)
    for ids, text in texts().items():
        template.add(ids if len(ids) > 1 else ids[0], locations=[(p, 0) for p in sorted(text.places)], auto_comments=[SENTENCE] if text.sentence else [])
    catalogue.update(template, no_fuzzy_matching=True, update_creation_date=False)
    out = BytesIO()
    write_po(out, catalogue, width=160, omit_header=True, sort_output=True, ignore_obsolete=True, include_lineno=False)
    return HEADER.format(language=LANGUAGES[code], code=code, plural=catalogue.plural_forms).encode() + out.getvalue()


def catalogue_of(code):
    return LOCALE / code / "LC_MESSAGES/hearth.po"


def main():
    """Rewrites every catalogue; says what is still to be translated."""
    for code in LANGUAGES.keys() - {"en"}:
        path = catalogue_of(code)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(updated(code))
        empty = [m.id for m in read_po(BytesIO(path.read_bytes()), locale=code) if m.id and not all([m.string] if isinstance(m.string, str) else m.string)]
        sys.stdout.write(f"{path.relative_to(ROOT)}: {len(empty)} to translate\n" + "".join(f"  {text}\n" for text in empty))


if __name__ == "__main__":
    main()
