"""Python source: a section per top-level function and class, so that a passage is about one thing."""

import ast
import warnings

from core.adapters.parsing import Read
from core.adapters.parsing.plain import clean, decoded
from core.rag.model import Section


def read(data: bytes, name: str) -> Read:
    """Sections by definition; a file that doesn't parse is read as plain text."""
    text = clean(decoded(data, name))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return Read("", (Section(text),))
    lines = text.split("\n")
    sections: list[Section] = []
    done = 0
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.end_lineno is None:
            continue
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
        sections.append(Section("\n".join(lines[done:first])))
        sections.append(Section("\n".join(lines[first : node.end_lineno]), f"{'class' if isinstance(node, ast.ClassDef) else 'def'} {node.name}"))
        done = node.end_lineno
    sections.append(Section("\n".join(lines[done:])))
    return Read("", tuple(s for s in sections if s.text.strip()))
