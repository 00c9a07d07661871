"""HTML: what a reader would read, in sections by heading. Nothing is executed or loaded."""

import warnings
from collections.abc import Iterator

from bs4 import BeautifulSoup, XMLParsedAsHTMLWarning
from bs4.element import NavigableString, Tag

from core.adapters.parsing import Read
from core.adapters.parsing.markdown import PATH_SIGN
from core.adapters.parsing.plain import clean, decoded
from core.rag.model import Section

UNREAD = ("script", "style", "nav", "noscript", "template", "svg", "iframe", "form", "header", "footer", "aside")
BLOCKS = frozenset("p div section article main li ul ol table tr pre blockquote dl dt dd br hr figure figcaption h1 h2 h3 h4 h5 h6".split())


def read(data: bytes, name: str) -> Read:
    """Sections by heading, with tables as rows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XMLParsedAsHTMLWarning)
        soup = BeautifulSoup(clean(decoded(data, name)), "html.parser")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for tag in soup(UNREAD):
        tag.decompose()
    body = soup.find("main") or soup.body or soup
    sections: list[Section] = []
    path: list[tuple[int, str]] = []
    text: list[str] = []

    def close() -> None:
        whole = _tidy("".join(text))
        if whole:
            sections.append(Section(whole, PATH_SIGN.join(t for _, t in path)))
        text.clear()

    for piece in _pieces(body):
        if isinstance(piece, tuple):
            close()
            path = [*(p for p in path if p[0] < piece[0]), piece]
        else:
            text.append(piece)
    close()
    return Read(title or next((t for _, t in path[:1]), ""), tuple(sections))


def _pieces(node: Tag) -> Iterator[str | tuple[int, str]]:
    """Text in reading order, and (level, heading) where a heading stands. A loop instead of recursion: pages may be nested without end."""
    stack: list[Iterator[object]] = [iter(node.children)]
    ends: list[str] = [""]
    while stack:
        child = next(stack[-1], None)
        if child is None:
            stack.pop()
            if end := ends.pop():
                yield end
        elif isinstance(child, Tag):
            if len(child.name) == 2 and child.name[0] == "h" and child.name[1] in "123456":
                yield int(child.name[1]), child.get_text(" ", strip=True)
            elif child.name == "pre":
                yield "\n" + child.get_text() + "\n"
            else:
                block = child.name in BLOCKS
                yield "\n" if block else ""
                stack.append(iter(child.children))
                ends.append(" | " if child.name in ("td", "th") else "\n" if block else "")
        elif type(child) is NavigableString:
            yield " ".join(child.split()) + " " if child.strip() else " "


def _tidy(text: str) -> str:
    lines = [" ".join(line.split()) if not line.startswith("    ") else line.rstrip() for line in text.split("\n")]
    tidy: list[str] = []
    for line in lines:
        if line or (tidy and tidy[-1]):
            tidy.append(line.removesuffix(" |"))
    return "\n".join(tidy).strip()
