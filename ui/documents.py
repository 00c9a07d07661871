"""A document as a page: its text by heading, its passages, the pictures of its pages. Plain HTML; what can be switched is in the address."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from core.app import App
from core.errors import HearthError, NotFound
from core.rag.model import Chunk, Document, DocumentStatus
from core.rag.words import letters
from core.users.model import User
from ui.chat.markdown import render
from ui.chat.render import receipt
from ui.errors import kind, sentence
from ui.gate import signed_in
from ui.highlight import highlight
from ui.icons import icon
from ui.pages import BRAND, page
from ui.words import N_, _, figure, moment, ngettext, told

PART = 100
"""Passages on one page of the viewer: about a hundred thousand characters at most."""
HEAD = '<link rel="stylesheet" href="/static/document.css"><script src="/static/document.js"></script>'
KINDS = {
    "application/pdf": "PDF",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": N_("Word file"),
    "text/html": N_("Web page"),
    "text/markdown": "Markdown",
    "text/x-python": N_("Python source"),
    "text/x-source": N_("Source code"),
    "text/plain": N_("Plain text"),
}
_ALIGNED = re.compile(r' style="text-align:\s*(left|right|center);?"')
"""How Markdown's tables say it; this page allows no styles inside HTML."""
A4 = (595.0, 842.0)
PICTURE_PX = 1000


@dataclass(frozen=True, slots=True)
class Stretch:
    """Text under one heading on one page, with its chunks."""

    heading: str
    page: int | None
    text: str
    start: int
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class View:
    """What of a document is shown, and how."""

    document: Document
    stretches: tuple[Stretch, ...]
    first: int
    """Position of the first chunk shown."""
    sizes: Sequence[tuple[float, float]] = ()
    passage: Chunk | None = None
    quote: str = ""
    as_chunks: bool = False

    def address(self, **changed: object) -> str:
        """This view's address with something changed; None leaves a part out."""
        now: dict[str, object] = {"from": self.first or None, "chunks": 1 if self.as_chunks else None}
        if self.passage is not None:
            now |= {"chunk": self.passage.id, "quote": self.quote or None}
        asked = {name: value for name, value in (now | changed).items() if value is not None}
        return f"/documents/{self.document.id}" + (f"?{urlencode(asked)}" if asked else "")


def routes(app: App) -> list[Route]:
    """The viewer's routes over an opened house."""
    return [
        Route("/documents/{document_id}", partial(show, app)),
        Route("/documents/{document_id}/delete", partial(delete, app), methods=["POST"]),
    ]


async def show(app: App, request: Request) -> Response:
    """A document for its owner. ?from=POSITION &chunks=1 &chunk=ID &quote=WORDS."""
    asked, document_id = request.query_params, request.path_params["document_id"]
    try:
        user = (await signed_in(app, request)).user
        document = await app.library.document(user, document_id)
        if document.status is not DocumentStatus.READY:
            return await _not_ready(app, user, document)
        passage = await _passage(app, user, document_id, asked.get("chunk", ""))
        first = _position(asked.get("from", "")) if "from" in asked else passage.metadata.position if passage else 0
        first -= first % PART
        # One more than is shown: where the next part begins.
        chunks = (await app.library.chunks(user, document_id, limit=PART + 1, cursor=str(first - 1) if first else "")).items
        sizes = await _sizes(app, user, document)
    except NotFound:
        return _failed(NotFound("There is no such document.", hint="It may have been deleted."))
    except HearthError as error:
        return _failed(error)
    stretches = stretched(document.content, chunks[:PART], chunks[PART].metadata.start if len(chunks) > PART else None)
    view = View(document, stretches, first, sizes, passage, asked.get("quote", ""), asked.get("chunks") == "1")
    return page(document.title, viewer(view), head=HEAD)


async def delete(app: App, request: Request) -> Response:
    """Deletes a document and shows the receipt. That it comes from our own page is the gate's to check."""
    try:
        user = (await signed_in(app, request)).user
        document = await app.library.document(user, request.path_params["document_id"])
        deleted = await app.library.delete_document(user, document.id)
    except HearthError as error:
        return _failed(error)
    said = f'<h1>{_("Deleted")}</h1><p class="title" dir="auto">{escape(document.title)}</p><p role="status">{escape(receipt(deleted))}</p>'
    return page(_("Deleted"), _card(f'{said}<a class="button" href="/chat">{_("Back to the chat")}</a>'), head=HEAD)


async def _passage(app: App, user: User, document_id: str, chunk_id: str) -> Chunk | None:
    """The passage that was asked for, if it is this document's and still there."""
    if not chunk_id:
        return None
    try:
        chunk = (await app.library.passage(user, chunk_id)).chunk
    except NotFound:
        return None
    return chunk if chunk.document_id == document_id else None


async def _sizes(app: App, user: User, document: Document) -> Sequence[tuple[float, float]]:
    """The sizes of a PDF's pages; () where there are none, and where they can't be read any more: the text is still good."""
    if document.media_type != "application/pdf":
        return ()
    try:
        return await app.library.page_sizes(user, document.id)
    except HearthError:
        return ()


async def _not_ready(app: App, user: User, document: Document) -> Response:
    jobs = (await app.library.jobs(user, collection=document.collection, limit=500)).items
    job = next((j for j in jobs if j.document_id == document.id), None)
    title = f'<p class="title" dir="auto">{escape(document.title)}</p>'
    if document.status is DocumentStatus.FAILED:
        why = told(job.error) if job and job.error else _("It could not be read.")
        said = f'<h1>{_("This document could not be taken in")}</h1>{title}<p class="error" role="alert">{escape(why)}</p>'
        original = f'<a class="button" href="/files/{escape(document.id)}">{_("Download the original")}</a>'
        return page(document.title, _card(f"{said}{original}{_deletion(document)}"), head=HEAD)
    waiting = told(job.error) if job and job.error else _("Its text will be here in a moment; this page looks again by itself.")
    percent = job.percent if job else 0
    bar = f'<progress max="100" value="{percent:.0f}" aria-label="{_("Progress")}"></progress>'
    said = f'<h1>{_("Still being read")}</h1>{title}{bar}<p role="status">{escape(waiting)}</p>'
    again = '<meta http-equiv="refresh" content="2">'
    return page(document.title, _card(f'{said}<a class="button" href="/chat">{_("To the chat")}</a>'), head=HEAD + again)


def _failed(error: HearthError) -> HTMLResponse:
    status = kind(error)[0]
    title = _("Not found") if status == 404 else _("That did not work")
    return page(
        title, _card(f'<h1>{title}</h1><p role="alert">{escape(sentence(error))}</p><a class="button" href="/chat">{_("To the chat")}</a>'), status, head=HEAD
    )


def _card(inner: str) -> str:
    return f'<main class="card">{BRAND}{inner}</main>'


def _position(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0


def stretched(content: str, chunks: Sequence[Chunk], following: int | None = None) -> tuple[Stretch, ...]:
    """The chunks' text, joined where heading and page are the same. following: where the chunk after these starts; its words are left to it."""
    groups: list[list[Chunk]] = []
    for chunk in chunks:
        place = chunk.metadata
        if groups and (groups[-1][-1].metadata.heading, groups[-1][-1].metadata.page) == (place.heading, place.page):
            groups[-1].append(chunk)
        else:
            groups.append([chunk])
    found: list[Stretch] = []
    for group in groups:
        place = group[0].metadata
        end = max(c.metadata.end for c in group)
        start = content.rfind("\n", 0, place.start) + 1  # with the spaces that code begins with
        start = start if not content[start : place.start].strip() else place.start
        text = content[start : min(end, following) if following is not None and following > place.start else end]
        found.append(Stretch(place.heading, place.page, text, start, tuple(group)))
    return tuple(found)


def viewer(view: View) -> str:
    """The whole page."""
    document = view.document
    body = (
        "".join(_sheet(view, *of) for of in _by_page(view)) if document.media_type == "application/pdf" else "".join(_section(view, s) for s in view.stretches)
    )
    return (
        f'<header class="top">{BRAND}<nav><a href="/chat">{icon("chat")} {_("Chat")}</a></nav></header>'
        f'<main class="viewer">{_about(view)}<div class="columns"><div class="reading">{body}{_parts(view)}</div>{_contents(view)}</div></main>'
    )


def _about(view: View) -> str:
    document = view.document
    pages = len(view.sizes)
    when = document.ingested_at or document.created_at
    facts = [
        _(KINDS[document.media_type]) if document.media_type in KINDS else document.media_type,
        ngettext("{count} page", "{count} pages", pages) if pages else "",
        _size(document.size_bytes),
        ngettext("{count} passage", "{count} passages", document.chunks),
        f'<time datetime="{when.isoformat()}">{moment(when)}</time>' if when else "",
        _("in “{collection}”", collection=escape(document.collection)),
    ]
    named = _("Show the text") if view.as_chunks else _("Show passages")
    switch = view.address(chunks=None if view.as_chunks else 1) + ("#passage" if view.passage else "")
    return (
        f'<section class="about"><h1 dir="auto">{escape(document.title)}</h1><p class="facts">{" · ".join(f for f in facts if f)}</p>'
        f'<div class="actions"><a class="act" href="/files/{escape(document.id)}" download>{_("Download")}</a>'
        f'<a class="act" href="{escape(switch)}" >{named}</a>'
        f"{_deletion(document)}</div></section>"
    )


def _deletion(document: Document) -> str:
    warning = _("The original, its text and all its passages are removed. This can’t be undone.")
    return (
        f'<details class="deletion"><summary class="act">{icon("delete")} {_("Delete")}</summary>'
        f'<form method="post" action="/documents/{escape(document.id)}/delete"><p>{warning}</p><button>{_("Delete it for good")}</button></form></details>'
    )


def _by_page(view: View) -> list[tuple[int, list[Stretch]]]:
    """The PDF pages of this part, those without text too."""
    texts: dict[int, list[Stretch]] = {}
    for stretch in view.stretches:
        texts.setdefault(stretch.page or 1, []).append(stretch)
    first = 1 if view.first == 0 else min(texts, default=1)
    last = max(texts, default=0) if view.first + PART < view.document.chunks else max(len(view.sizes), max(texts, default=0))
    return [(number, texts.get(number, [])) for number in range(first, last + 1)]


def _sheet(view: View, number: int, stretches: list[Stretch]) -> str:
    """A page of a PDF: its picture, and its text beside it."""
    document = view.document
    here = view.passage is not None and view.passage.metadata.page == number
    asked: dict[str, object] = {"width": PICTURE_PX}
    if here and view.passage is not None:
        asked |= {"chunk": view.passage.id} | ({"quote": view.quote} if view.quote else {})
    width, height = view.sizes[number - 1] if number <= len(view.sizes) else A4
    alt = _("Page {number} of {title}", number=number, title=escape(document.title))
    picture = (
        f'<a class="picture" href="/files/{escape(document.id)}#page={number}" target="_blank" rel="noopener" title="{_("Open the original here")}">'
        f'<img src="/files/{escape(document.id)}/pages/{number}.png?{escape(urlencode(asked))}" alt="{alt}" loading="lazy"'
        f' decoding="async" width="{max(1, round(width))}" height="{max(1, round(height))}"></a>'
    )
    # The page itself is the anchor: picture and text are both to be seen.
    text = "".join(_text(view, s) for s in stretches).replace(' id="passage"', "") or f'<p class="none">{_("No text on this page.")}</p>'
    anchor = "passage" if here else f"page-{number}"
    named = _("Page {number}", number=number)
    return f'<article class="sheet" id="{anchor}"><h2>{named}</h2><div class="both">{picture}<div class="words" dir="auto">{text}</div></div></article>'


def _section(view: View, stretch: Stretch) -> str:
    heading = ""
    if stretch.heading:
        *above, last = stretch.heading.split(" › ")
        path = f'<p class="path" dir="auto">{escape(" › ".join(above))}</p>' if above else ""
        heading = f'{path}<h2 dir="auto">{escape(last)}</h2>'
    return f'<article class="section">{heading}{_text(view, stretch)}</article>'


def _text(view: View, stretch: Stretch) -> str:
    """The text as it is read, with the passage marked; or passage by passage, as it is searched."""
    if view.as_chunks:
        return _chunks(view, stretch)
    markdown = view.document.media_type == "text/markdown"
    code = view.document.media_type in ("text/x-python", "text/x-source")
    html = _ALIGNED.sub(r' class="to-\1"', render(stretch.text)) if markdown else escape(stretch.text)
    found = view.passage if view.passage and any(c.id == view.passage.id for c in stretch.chunks) else None
    if found is not None:
        near = len(letters(stretch.text[: found.metadata.start - stretch.start]))
        wanted, quote = (render(t) if markdown else escape(t) for t in (found.content, view.quote))
        html, there = highlight(html, wanted, quote, near=near)
        if not there:
            html = f'<span id="passage"></span>{html}'
    if markdown:
        return f'<div class="text" dir="auto">{html}</div>'
    return f'<pre class="text{" code" if code else ""}" dir="auto">{html}</pre>'


def _chunks(view: View, stretch: Stretch) -> str:
    """Every chunk in a frame of its own; what it repeats of the one before is pale."""
    out: list[str] = []
    done = stretch.start
    for chunk in stretch.chunks:
        chosen = view.passage is not None and view.passage.id == chunk.id
        repeated = max(0, min(done - chunk.metadata.start, len(chunk.content)))
        done = max(done, chunk.metadata.end)
        text = escape(chunk.content[repeated:])
        if repeated:
            text = f'<span class="repeated" title="{_("Also at the end of the passage before")}">{escape(chunk.content[:repeated])}</span>{text}'
        if chosen:
            text = highlight(text, "", escape(view.quote))[0].replace(' id="passage"', "")
        anchor = ' id="passage"' if chosen else ""
        link = view.address(chunk=chunk.id, quote=None) + "#passage"
        named, long = _("Passage {number}", number=chunk.metadata.position + 1), ngettext("{count} character", "{count} characters", len(chunk.content))
        bar = f'<figcaption><a href="{escape(link)}">{named}</a><span>{long}</span></figcaption>'
        out.append(f'<figure class="chunk{" chosen" if chosen else ""}"{anchor}>{bar}<pre class="text" dir="auto">{text}</pre></figure>')
    return "".join(out)


def _contents(view: View) -> str:
    """The list of passages, to go to."""
    rows = []
    for chunk in (c for s in view.stretches for c in s.chunks):
        place = chunk.metadata
        where = " · ".join(part for part in (_("page {number}", number=place.page) if place.page else "", escape(place.heading.split(" › ")[-1])) if part)
        chosen = ' aria-current="true"' if view.passage and view.passage.id == chunk.id else ""
        link = escape(replace(view, passage=chunk, quote="").address() + "#passage")
        begin = escape(" ".join(chunk.content.split())[:90])
        rows.append(
            f'<li{chosen}><a href="{link}"><b>{place.position + 1}</b><span><small dir="auto">{where}</small><span dir="auto">{begin}</span></span></a></li>'
        )
    last = view.first + len(rows)
    count = whole = figure(f"{view.document.chunks:,}")
    if view.document.chunks > PART:
        count = _("{first}–{last} of {whole}", first=figure(f"{view.first + 1:,}"), last=figure(f"{last:,}"), whole=whole)
    head = f"<summary>{_('Passages')} <small>{count}</small></summary>"
    return f'<aside class="contents" aria-label="{_("Passages")}"><details open>{head}<ol>{"".join(rows)}</ol></details></aside>'


def _parts(view: View) -> str:
    """The way to the parts before and after this one."""
    total = view.document.chunks
    if total <= PART:
        return ""
    plain = replace(view, passage=None, quote="")
    before = (
        f'<a class="act" href="{escape(plain.address(**{"from": max(0, view.first - PART)}))}" rel="prev">← {_("Before")}</a>'
        if view.first
        else "<span></span>"
    )
    after = (
        f'<a class="act" href="{escape(plain.address(**{"from": view.first + PART}))}" rel="next">{_("Go on")} →</a>'
        if view.first + PART < total
        else "<span></span>"
    )
    here = _("Part {number} of {count}", number=view.first // PART + 1, count=-(-total // PART))
    return f'<nav class="parts" aria-label="{_("Parts")}">{before}<span>{here}</span>{after}</nav>'


def _size(size_bytes: int) -> str:
    if size_bytes < 1000:
        return ngettext("{count} byte", "{count} bytes", size_bytes)
    return f"{size_bytes / 1000:.0f} KB" if size_bytes < 1_000_000 else figure(f"{size_bytes / 1e6:.1f} MB")
