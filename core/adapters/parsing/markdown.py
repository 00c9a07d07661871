"""Markdown: sections by heading, the text as it was written."""

from markdown_it import MarkdownIt

from core.adapters.parsing import Read
from core.adapters.parsing.plain import clean, decoded
from core.rag.model import Section

PATH_SIGN = " › "


def read(data: bytes, name: str) -> Read:
    """One section per heading; its heading is the path from the top. Headings inside code blocks are code."""
    text = clean(decoded(data, name))
    lines = text.split("\n")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    heads = [
        (token.map[0], token.map[1], int(token.tag[1]), tokens[n + 1].content.strip())
        for n, token in enumerate(tokens)
        if token.type == "heading_open" and token.map and token.level == 0
    ]
    sections = [Section("\n".join(lines[: heads[0][0]] if heads else lines).strip())]
    path: list[tuple[int, str]] = []
    for n, (_, body, level, title) in enumerate(heads):
        path = [*(p for p in path if p[0] < level), (level, title)]
        end = heads[n + 1][0] if n + 1 < len(heads) else len(lines)
        sections.append(Section("\n".join(lines[body:end]).strip(), PATH_SIGN.join(t for _, t in path)))
    title = heads[0][3] if heads and heads[0][2] == 1 else ""
    with_text = tuple(s for s in sections if s.text)
    return Read(title, with_text or tuple(Section(s.heading, s.heading) for s in sections if s.heading))
