"""Markdown to HTML that may be shown: raw HTML is text, outside pictures are not loaded, and the outcome is sanitised last.

Citations like [1] become buttons where the source exists; inside code they stay what they are.
"""

import re
from collections.abc import Collection, MutableMapping
from functools import lru_cache
from html import escape
from typing import Any
from urllib.parse import urlsplit

import nh3
from latex2mathml import exceptions
from latex2mathml.converter import convert
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from ui.words import _

MAX_HIGHLIGHT_CHARS = 20_000
MAX_FORMULA_CHARS = 2_000
DIAGRAM = "mermaid"
LATEX_ERRORS: tuple[type[Exception], ...] = (
    *(kind for kind in vars(exceptions).values() if isinstance(kind, type) and issubclass(kind, Exception)),
    *(IndexError, KeyError, ValueError, TypeError, AttributeError, RecursionError),
)
"""What the converter raises for a formula that it can't read, its own errors and those it doesn't expect."""
_CITATION = re.compile(r"\[([1-9][0-9]?)\]")
_FORMATTER = HtmlFormatter(nowrap=True)
_MATHML = set(
    "math mrow mi mo mn ms mtext mspace mfrac msqrt mroot msup msub msubsup munder mover munderover mtable mtr mtd mstyle mpadded mphantom menclose".split()
)
_TAGS = _MATHML | set("p br hr em strong s del code pre span div a button blockquote ul ol li table thead tbody tr th td h1 h2 h3 h4 h5 h6 sub sup".split())
_ATTRIBUTES = {
    "*": {"class"},
    "a": {"href", "target", "title"},
    "button": {"type", "data-cite", "data-copy", "aria-label"},
    "ol": {"start"},
    "th": {"style"},
    "td": {"style"},
    "math": {"display"},
    "mo": {"stretchy", "fence", "separator", "form", "minsize", "maxsize", "lspace", "rspace"},
    "mi": {"mathvariant"},
    "mspace": {"width"},
    "mfrac": {"linethickness"},
    "mtable": {"columnalign"},
    "mover": {"accent"},
}


def render(text: str, message_id: str = "", sources: Collection[int] = ()) -> str:
    """Safe HTML. message_id and sources: which [n] become buttons, and whose sources they open."""
    html: str = _MARKDOWN.render(text, {"message_id": message_id, "sources": frozenset(sources)})
    return nh3.clean(html, tags=_TAGS, attributes=_ATTRIBUTES, url_schemes={"http", "https", "mailto"}, link_rel="noopener noreferrer")


def _cite(state: StateCore) -> None:
    """Splits citations out of plain text; code is another kind of token and is left alone."""
    known = state.env.get("sources", ())
    if not known:
        return
    for block in state.tokens:
        if block.type != "inline" or not block.children:
            continue
        children: list[Token] = []
        for token in block.children:
            children += _split(token, known) if token.type == "text" and "[" in token.content else [token]
        block.children = children


def _split(token: Token, known: Collection[int]) -> list[Token]:
    parts: list[Token] = []
    done = 0
    for match in _CITATION.finditer(token.content):
        if int(match[1]) in known:
            parts += [_text(token.content[done : match.start()]), Token("citation", "", 0, content=match[1])]
            done = match.end()
    return [*parts, _text(token.content[done:])]


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _citation(_self: RendererHTML, tokens: list[Token], n: int, _options: Any, env: MutableMapping[str, Any]) -> str:
    number = tokens[n].content
    named = _("Source {number}", number=number)
    return f'<button type="button" class="cite" data-cite="{escape(str(env["message_id"]))}-{number}" aria-label="{named}">{number}</button>'


def _fence(_self: RendererHTML, tokens: list[Token], n: int, _options: Any, _env: MutableMapping[str, Any]) -> str:
    language = (tokens[n].info.split() or [""])[0]
    code = tokens[n].content
    body = escape(code)
    if language and len(code) <= MAX_HIGHLIGHT_CHARS:
        try:
            body = highlight(code, get_lexer_by_name(language), _FORMATTER)
        except ClassNotFound:
            pass
    kind = "codeblock diagram" if language == DIAGRAM else "codeblock"  # drawn in the browser; its text stays where drawing fails
    copying = f'<button type="button" data-copy="code" aria-label="{_("Copy this code")}">{_("Copy")}</button>'
    bar = f'<div class="codebar"><span>{escape(language)}</span>{copying}</div>'
    return f'<div class="{kind}">{bar}<pre class="highlight"><code>{body}</code></pre></div>'


def _image(self: RendererHTML, tokens: list[Token], n: int, options: Any, env: MutableMapping[str, Any]) -> str:
    """A link with the host's name: loading a picture would tell its host that somebody reads this."""
    source = str(tokens[n].attrs.get("src", ""))
    alt = self.renderInlineAsText(tokens[n].children or [], options, env) or "picture"
    host = urlsplit(source).hostname or "unknown place"
    return f'<a class="outside" href="{escape(source)}">Picture: {escape(alt)} ({escape(host)})</a>'


def _link(self: RendererHTML, tokens: list[Token], n: int, options: Any, env: MutableMapping[str, Any]) -> str:
    tokens[n].attrSet("target", "_blank")
    return self.renderToken(tokens, n, options, env)


def _table_open(_self: RendererHTML, _tokens: list[Token], _n: int, _options: Any, _env: MutableMapping[str, Any]) -> str:
    return '<div class="table"><table>'


def _table_close(_self: RendererHTML, _tokens: list[Token], _n: int, _options: Any, _env: MutableMapping[str, Any]) -> str:
    return "</table></div>"


@lru_cache(maxsize=512)
def formula(source: str, display: str) -> str:
    """A formula in LaTeX as MathML; its source as code where it can't be read, as while it is still being written. display: block or inline."""
    if len(source) <= MAX_FORMULA_CHARS:
        try:
            # Signs of HTML are signs of the formula: the converter would let them through inside of text.
            return str(convert(source.replace("<", r"\lt ").replace(">", r"\gt "), display=display))
        except LATEX_ERRORS:
            pass
    return f"<code>{escape(source)}</code>"


def _formula(_self: RendererHTML, tokens: list[Token], n: int, _options: Any, _env: MutableMapping[str, Any]) -> str:
    inline = tokens[n].type == "math_inline"
    return formula(tokens[n].content.strip(), "inline") if inline else f'<p class="formula">{formula(tokens[n].content.strip(), "block")}</p>'


def _parser() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    # Prices are no formulas: a dollar sign opens one only before a sign that is no space, and not between digits.
    markdown.use(dollarmath_plugin, allow_space=False, allow_digits=False, double_inline=True)
    markdown.use(amsmath_plugin)
    markdown.core.ruler.push("cite", _cite)
    rules = {
        "citation": _citation,
        "fence": _fence,
        "code_block": _fence,
        "image": _image,
        "link_open": _link,
        "table_open": _table_open,
        "table_close": _table_close,
        **dict.fromkeys(("math_inline", "math_inline_double", "math_block", "math_block_label", "amsmath"), _formula),
    }
    for name, rule in rules.items():
        markdown.add_render_rule(name, rule)
    return markdown


_MARKDOWN = _parser()
