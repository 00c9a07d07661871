"""What the chat page shows, as HTML. Pure functions; everything a person or a document wrote is escaped here, or sanitised by `markdown`."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from urllib.parse import urlencode

from core.chat.model import ChatMessage, Conversation, Feedback, MessageStatus, Thread, Verdict
from core.chat.stages import stages
from core.rag.model import Collection, IngestJob, IngestStage, Source
from core.records import DeleteReceipt
from ui.chat.markdown import render
from ui.icons import icon
from ui.words import LANGUAGES, N_, _, figure, language, ngettext, told

STAGES = {
    "queued": N_("Waiting for its turn"),
    "retrieval": N_("Reading your documents"),
    "summary": N_("Summing up what was said before"),
    "queue": N_("Waiting for its turn"),
    "model": N_("Thinking"),
    "speaking": N_("Reading it out"),
}
BROKEN = {
    MessageStatus.INTERRUPTED: N_("This answer was broken off."),
    MessageStatus.STOPPED: N_("You stopped this answer."),
    MessageStatus.FAILED: N_("There is no answer."),
}
JOB_STAGES = {
    IngestStage.QUEUED: N_("waiting"),
    IngestStage.PARSING: N_("reading"),
    IngestStage.EMBEDDING: N_("understanding"),
    IngestStage.STORING: N_("storing"),
    IngestStage.READY: N_("ready"),
    IngestStage.FAILED: N_("failed"),
    IngestStage.CANCELLED: N_("cancelled"),
}
COUNTED = {
    "conversations": lambda n: ngettext("{count} conversation", "{count} conversations", n),
    "messages": lambda n: ngettext("{count} message", "{count} messages", n),
    "feedback": lambda n: ngettext("{count} verdict", "{count} verdicts", n),
    "shares": lambda n: ngettext("{count} link", "{count} links", n),
    "events": lambda n: ngettext("{count} event", "{count} events", n),
    "documents": lambda n: ngettext("{count} document", "{count} documents", n),
    "chunks": lambda n: ngettext("{count} passage", "{count} passages", n),
    "vectors": lambda n: ngettext("{count} vector", "{count} vectors", n),
    "jobs": lambda n: ngettext("{count} job", "{count} jobs", n),
    "objects": lambda n: ngettext("{count} file", "{count} files", n),
}
"""What a receipt counts."""
FEW_JOBS = 3
"""So many documents on their way are shown one by one."""
MEASURABLE_MS = 100
"""An answer that was written faster has no speed worth telling."""
EXAMPLES = (
    N_("What are the main points of my documents?"),
    N_("Which deadlines are mentioned?"),
    N_("Explain how a hash table works, with a short example in Python."),
)


def thread(shown: Thread, verdicts: Mapping[str, Feedback], *, acting: bool = True) -> list[str]:
    """A path's messages. acting: with what can be done to them; a shared page has only the words."""
    more = [f'<button type="button" class="quiet" data-act="older">{_("Show earlier messages")}</button>'] if shown.older and acting else []
    return [*more, *(_message(m, shown.branches.get(m.id, ()), verdicts.get(m.id), acting) for m in shown.messages)]


def _message(m: ChatMessage, siblings: Sequence[str], verdict: Feedback | None, acting: bool) -> str:
    if m.role == "user":
        return question(m, _mine(m, siblings) if acting else "")
    return answer(m, siblings, verdict, acting=acting)


def question(m: ChatMessage, actions: str = "") -> str:
    """What the user said, as they typed it."""
    return f'<article class="message mine" aria-label="{_("You")}" data-message="{escape(m.id)}"><div class="said">{escape(m.content)}</div>{actions}</article>'


def _mine(m: ChatMessage, siblings: Sequence[str]) -> str:
    named = f'aria-label="{_("Edit and send as a branch")}" title="{_("Edit")}"'
    edit = f'<button type="button" class="icon" data-edit="{escape(m.id)}" {named}>{icon("rename")}</button>'
    return f'<div class="acts">{_branch(m.id, siblings)}{edit}</div>'


def _branch(message_id: str, siblings: Sequence[str]) -> str:
    """The way to the other wordings or answers in this place."""
    if message_id not in siblings:
        return ""
    at = siblings.index(message_id)

    def step(to: int, sign: str, name: str) -> str:
        if not 0 <= to < len(siblings):
            return f'<button type="button" class="icon" disabled aria-label="{name}">{sign}</button>'
        return f'<button type="button" class="icon" data-act="branch" data-id="{escape(siblings[to])}" aria-label="{name}">{sign}</button>'

    return f'<span class="branch">{step(at - 1, "‹", _("The one before"))}{at + 1}/{len(siblings)}{step(at + 1, "›", _("The next one"))}</span>'


def answer(m: ChatMessage, siblings: Sequence[str] = (), verdict: Feedback | None = None, *, acting: bool = True) -> str:
    """A finished answer."""
    body = render(m.content, m.id, [s.number for s in m.metadata.sources])
    about = f"{_trouble(m) if acting else ''}{sources(m)}{_left_out(m)}{_caution(m)}{_figures(m, siblings, verdict, acting=acting)}"
    return f'<article class="message theirs" aria-label="Hearth" data-message="{escape(m.id)}"><div class="text">{body}</div>{about}</article>'


def sent(message_id: str, conversation_id: str) -> str:
    """Tells the browser that its message was taken, and where: its address and its draft follow from that, however soon the answer is whole."""
    return f'<i hidden data-sent="{escape(message_id)}" data-conversation="{escape(conversation_id)}"></i>'


def followed(answer_ids: Sequence[str]) -> str:
    """The place of answers that are being written: the browser follows them there."""
    waiting = beside([growing("", "queued", answer_id, ()) for answer_id in answer_ids])
    return f'<div data-growing="{escape(" ".join(answer_ids))}">{waiting}</div>'


def growing(text: str, stage: str, message_id: str, known: Sequence[Source], *, position: int = 0, eta_s: float | None = None) -> str:
    """An answer while it is written.   position, eta_s: in the queue, as `View` has them."""
    body = render(text, message_id, [s.number for s in known])
    doing = f"{_(STAGES.get(stage, STAGES['model']))}…" if not position else queue_place(position, eta_s)
    waiting = f'<p class="waiting" role="status"><span class="dots"><i></i><i></i><i></i></span>{doing}</p>' if not text else ""
    return f'<article class="message theirs growing" aria-busy="true" aria-label="Hearth"><div class="text">{body}</div>{waiting}</article>'


def beside(articles: Sequence[str]) -> str:
    """Answers to one question side by side; one alone as it is."""
    return articles[0] if len(articles) == 1 else f'<div class="beside">{"".join(articles)}</div>'


def queue_place(position: int, eta_s: float | None) -> str:
    """Where in the queue, in words: 3rd in the queue, about 12 s."""
    ending = "th" if 10 <= position % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(position % 10, "th")  # only English has them
    place = f"{position}{ending}" if language() == "en" else f"{position}."
    if eta_s is None:
        return _("{place} in the queue", place=place)
    return _("{place} in the queue, about {time}", place=place, time=f"{max(1, round(eta_s))} s" if eta_s < 90 else f"{round(eta_s / 60)} min")


def _trouble(m: ChatMessage) -> str:
    if m.status not in BROKEN:
        return ""
    error = f" {escape(told(m.metadata.error))}" if m.metadata.error else ""
    act = _("Try again") if m.status is MessageStatus.FAILED else _("Continue")
    button = f'<button type="button" class="quiet" data-act="continue" data-id="{escape(m.id)}">{act}</button>'
    return f'<div class="trouble" role="status"><span>{_(BROKEN[m.status])}{error}</span>{button}</div>'


def _caution(m: ChatMessage) -> str:
    return f'<p class="caution">{escape(told(m.metadata.caution))}</p>' if m.metadata.caution and m.content else ""


def _left_out(m: ChatMessage) -> str:
    """How much of the conversation had no room in the prompt, and what the model was told instead."""
    meta = m.metadata
    if not meta.dropped:
        return ""
    said = ngettext("{count} earlier message didn't fit", "{count} earlier messages didn't fit", meta.dropped)
    summed = _("; summarised: {summary}", summary=escape(meta.summary)) if meta.summary else "."
    return f'<p class="caution left-out">{said}{summed}</p>'


def sources(m: ChatMessage) -> str:
    """The sources as chips, those that were read and not cited more quietly; and for each a panel that a click shows."""
    if not m.metadata.sources:
        return ""
    cited = {int(n) for n in re.findall(r"\[(\d{1,2})\]", m.content)}
    chips = "".join(
        f'<button type="button" class="chip{"" if s.number in cited else " read"}" data-cite="{escape(m.id)}-{s.number}">'
        f"<b>{s.number}</b><span>{escape(s.title)}{at_page(s.page)}</span></button>"
        for s in m.metadata.sources
    )
    panels = "".join(panel(m, s) for s in m.metadata.sources)
    return f'<div class="chips" aria-label="{_("Sources")}">{chips}</div>{panels}'


def at_page(page: int | None) -> str:
    """The page behind a title; nothing where there are no pages."""
    return f", {_('page {number}', number=page)}" if page else ""


def panel(m: ChatMessage, s: Source) -> str:
    """What the side panel shows for one source: where it stands, the passage with the quote marked, and how it was found. Nothing in it is loaded before."""
    page = f"#page={s.page}" if s.page else ""
    viewer = escape(f"/documents/{s.document_id}?{urlencode({'chunk': s.chunk_id, 'quote': s.quote})}#passage")
    where = " · ".join(part for part in (_("page {number}", number=s.page) if s.page else "", escape(s.heading)) if part)
    unverified = "" if s.verified else f'<p class="unverified">{_("The quoted words do not stand in this passage.")}</p>'
    whole = f'<a class="whole" href="{viewer}" target="_blank" rel="noopener">{_("Open the document")}</a>'
    original = f'<a class="original" href="/files/{escape(s.document_id)}{page}" target="_blank" rel="noopener">{_("Open the original")} ↗</a>'
    return (
        f'<template class="source" id="source-{escape(m.id)}-{s.number}"><p class="number">{_("Source {number}", number=s.number)}</p>'
        f'<h3>{escape(s.title)}</h3><p class="where">{where}</p>{unverified}<blockquote>{marked(s.passage, s.quote)}</blockquote>'
        f'<p class="ways">{whole}{original}</p>{_picture(s, viewer)}{_scores(m, s)}{_searched(m.metadata.retrieval)}{_otherwise(m)}</template>'
    )


def _picture(s: Source, viewer: str) -> str:
    """The page of a PDF with the passage marked; only PDFs have pages. It is loaded when it is seen."""
    if not s.page:
        return ""
    asked = escape(urlencode({"chunk": s.chunk_id, "quote": s.quote, "width": 900}))
    alt = _("Page {number} with the passage marked", number=s.page)
    return (
        f'<a class="page" href="{viewer}" target="_blank" rel="noopener" title="{_("Open the document here")}">'
        f'<img src="/files/{escape(s.document_id)}/pages/{s.page}.png?{asked}" alt="{alt}" loading="lazy" decoding="async"'
        ' width="595" height="842"></a>'
    )


def marked(passage: str, quote: str) -> str:
    """The passage with the quote highlighted, however its lines are broken."""
    words = quote.split()
    match = re.search(r"\s+".join(re.escape(word) for word in words), passage) if words else None
    if match is None:
        return escape(passage)
    return f"{escape(passage[: match.start()])}<mark>{escape(match.group())}</mark>{escape(passage[match.end() :])}"


def _scores(m: ChatMessage, s: Source) -> str:
    candidates = (m.metadata.retrieval or {}).get("candidates")
    found = next((c for c in candidates if c["chunk_id"] == s.chunk_id), None) if isinstance(candidates, list | tuple) else None
    if found is None:
        return ""
    rows = [(N_("by meaning"), found["dense_rank"], found["dense_score"]), (N_("by words"), found["lexical_rank"], found["lexical_score"])]
    rows += [(N_("fused"), found["fused_rank"], found["fused_score"]), (N_("reranked"), found["rerank_rank"], found["rerank_score"])]
    cells = "".join(
        f"<tr><th>{_(name)}</th><td>{f'#{rank}' if rank else '–'}</td><td>{'' if score is None else figure(f'{score:.3f}')}</td></tr>"
        for name, rank, score in rows
    )
    return f'<table class="scores"><caption>{_("How it was found")}</caption>{cells}</table>'


def _otherwise(m: ChatMessage) -> str:
    names = (m.metadata.retrieval or {}).get("collections")
    searched = escape(json.dumps(list(names) if isinstance(names, list | tuple) else []))
    label = _("Ask again with other settings")
    return f'<p><button type="button" class="quiet" data-dialog="again" data-id="{escape(m.id)}" data-collections="{searched}">{label}</button></p>'


def _searched(retrieval: Mapping[str, object] | None) -> str:
    if not retrieval or "considered" not in retrieval:
        return ""
    names = retrieval.get("collections")
    count = len(names) if isinstance(names, list | tuple) else 1
    ms = retrieval.get("ms")
    took = f" · {ms['total']:.0f} ms" if isinstance(ms, dict) and "total" in ms else ""
    degraded = f'<p class="unverified">{escape(told(str(retrieval["degraded"])))}</p>' if retrieval.get("degraded") else ""
    where = ngettext("{count} collection", "{count} collections", count)
    considered = figure(f"{retrieval['considered']:,}")
    found = _("{returned} of {considered} passages from {where}", returned=retrieval["returned"], considered=considered, where=where)
    return f'<p class="searched">{found}{took}</p>{degraded}'


def _figures(m: ChatMessage, siblings: Sequence[str], verdict: Feedback | None, *, acting: bool) -> str:
    """Time to first token, speed, tokens and model, what can be done with the answer, and how its time was spent."""
    timing, tokens = m.metadata.timing, m.metadata.tokens_used
    parts = []
    if timing.first_token_ms is not None:
        parts.append(_("first words after {time}", time=_seconds(timing.first_token_ms)))
    writing_ms = (timing.total_ms or 0) - (timing.first_token_ms or 0)
    if tokens > 1 and timing.first_token_ms is not None and writing_ms >= MEASURABLE_MS:
        parts.append(_("{speed} tokens/s", speed=f"{(tokens - 1) / writing_ms * 1000:.0f}"))
    if tokens:
        estimated = f" ({_('estimated')})" if m.metadata.usage and m.metadata.usage.estimated else ""
        parts.append(ngettext("{count} token", "{count} tokens", tokens) + estimated)
    if timing.queue_ms and timing.queue_ms >= 100:
        parts.append(_("waited {time}", time=_seconds(timing.queue_ms)))
    if m.metadata.model_used:
        parts.append(escape(m.metadata.model_used))
    acts = _theirs(m, siblings, verdict) if acting else ""
    return f'<footer class="figures"><span>{" · ".join(parts)}</span>{acts}</footer>{_waterfall(m, acting=acting)}'


def _theirs(m: ChatMessage, siblings: Sequence[str], verdict: Feedback | None) -> str:
    known = escape(m.id)

    def button(name: str, label: str, attribute: str, *, on: bool = False) -> str:
        pressed = f' aria-pressed="{str(on).lower()}"' if attribute.startswith("data-judge") else ""
        return f'<button type="button" class="icon" {attribute} data-id="{known}" aria-label="{label}" title="{label}"{pressed}>{icon(name)}</button>'

    given = verdict.verdict if verdict else None
    buttons = [
        button("copy", _("Copy this answer"), 'data-copy="message"') if m.content else "",
        button("good", _("A good answer"), 'data-judge="good"', on=given is Verdict.GOOD),
        button("bad", _("A bad answer"), 'data-judge="bad"', on=given is Verdict.BAD),
        button("again", _("Answer again"), 'data-act="again"'),
    ]
    return f'<span class="acts">{_branch(m.id, siblings)}{"".join(buttons)}</span>'


TIMED = {
    "embed": N_("question understood"), "dense": N_("by meaning"), "lexical": N_("by words"), "fuse": N_("fused"), "load": N_("read"),
    "rerank": N_("reranked"), "queue": N_("waiting for a place"), "first_token": N_("first words"), "writing": N_("writing"),
}  # fmt: skip


def _waterfall(m: ChatMessage, *, acting: bool) -> str:
    bars = stages(m)
    whole = max((start + length for _, start, length in bars), default=0.0)
    if not whole:
        return ""
    rows = "".join(
        f'<tr><th>{_(TIMED[stage])}</th><td><svg viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect x="{start / whole * 1000:.0f}" y="0" '
        f'width="{max(3.0, length / whole * 1000):.0f}" height="10" rx="2"></rect></svg></td><td>{_seconds(length)}</td></tr>'
        for stage, start, length in bars
    )
    otherwise = _otherwise(m) if acting and m.metadata.retrieval else ""
    return f'<details class="waterfall"><summary>{_("Where the time went")} · {_seconds(whole)}</summary><table>{rows}</table>{otherwise}</details>'


def _seconds(ms: float) -> str:
    return f"{ms:.0f} ms" if ms < 1000 else figure(f"{ms / 1000:.1f} s")


def notice(title: str, text: str) -> str:
    """Something to be said once, wherever it stands on the page: the browser takes it out and shows it."""
    return f'<i hidden data-notice="{escape(title)}">{escape(text)}</i>'


def conversations(items: Sequence[Conversation], current: str, search: str, *, tag: str = "", more: bool = False, now: datetime | None = None) -> str:
    """The list on the left, the open one marked.   tag: the only one listed, if not ""."""
    again = f'data-act="tag" data-id="" data-chosen="{escape(tag)}" title="{_("Show all")}"'
    chosen = f'<p class="chosen"><button type="button" class="quiet" {again}>{escape(tag)} ×</button></p>' if tag else ""
    if not items:
        return f'{chosen}<p class="none">{_("Nothing found.") if search or tag else _("Your conversations will be listed here.")}</p>'
    moment = now or datetime.now(UTC)
    rows = "".join(_row(c, c.id == current, moment, search) for c in items)
    return f'{chosen}<ul class="list">{rows}</ul>' + (f'<button type="button" class="quiet" data-act="more">{_("Show more")}</button>' if more else "")


def hit(text: str, words: Sequence[str]) -> str:
    """The text with every occurrence of the words marked, however they are written."""
    pattern = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    if not pattern:
        return escape(text)
    parts = re.split(f"({pattern})", text, flags=re.IGNORECASE)
    return "".join(f"<mark>{escape(part)}</mark>" if n % 2 else escape(part) for n, part in enumerate(parts))


def _row(c: Conversation, current: bool, now: datetime, search: str = "") -> str:
    mark = ' aria-current="true"' if current else ""
    title, about = escape(c.title), f'data-id="{escape(c.id)}" data-title="{escape(c.title)}"'
    when = f"<small>{ago(c.updated_at, now)}</small>"
    words = search.split()
    below = f"<em>{hit(c.found, words)}</em>" if c.found else ""
    only = _("Show only this tag")
    tags = "".join(f'<button type="button" data-act="tag" data-id="{escape(tag)}" title="{only}">{escape(tag)}</button>' for tag in c.tags)
    tags = f'<span class="tags">{tags}</span>' if tags else ""
    pin, rename, remove = _("Unpin") if c.pinned else _("Pin"), _("Rename"), _("Delete")
    return (
        f'<li{mark}{" data-pinned" if c.pinned else ""}><button type="button" class="open" data-act="open" {about} title="{title}">'
        f"<span>{hit(c.title, words)}{below}</span>{when}</button>"
        f'<button type="button" class="icon" data-act="pin" {about} aria-label="{pin}: {title}" title="{pin}">{icon("pin")}</button>'
        f'<button type="button" class="icon" data-act="rename" {about} aria-label="{rename}: {title}" title="{rename}">{icon("rename")}</button>'
        f'<button type="button" class="icon" data-act="delete" {about} aria-label="{remove}: {title}" title="{remove}">{icon("delete")}</button>{tags}</li>'
    )


def ago(moment: datetime, now: datetime) -> str:
    """How long ago, in words short enough for a list."""
    seconds = (now - moment).total_seconds()
    for size, name in ((86400 * 365, N_("y")), (86400 * 30, N_("mo")), (86400, N_("d")), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {_(name)}"
    return _("now")


def jobs(items: Sequence[IngestJob], ingesting: int = 0, *, paused: bool = False) -> str:
    """Documents on their way, and those that failed with the reason. Many are a number, with when the last of them is expected.

    items: newest first.   ingesting: how many are on their way, those that are not among the items too.
    """
    many = ingesting > FEW_JOBS
    rows = "".join(_job(j) for j in items if not many or j.running or j.stage is IngestStage.FAILED)
    return f"{_on_their_way(items, ingesting, paused=paused) if ingesting else ''}{rows}"


def _on_their_way(items: Sequence[IngestJob], ingesting: int, *, paused: bool) -> str:
    eta_s = max((j.eta_s for j in items if j.eta_s is not None and not j.done), default=None)
    state = _("paused") if paused else _("about {time}", time=_duration(eta_s)) if eta_s is not None else ""
    act, label = ("resume", _("Go on")) if paused else ("pause", _("Pause"))
    said = ngettext("{count} document on its way", "{count} documents on their way", ingesting)
    return f'<div class="job all"><b>{said}</b><span>{state}</span><button type="button" class="quiet" data-job="{act}">{label}</button></div>'


def _job(j: IngestJob) -> str:
    failed, ready = j.stage in (IngestStage.FAILED, IngestStage.CANCELLED), j.stage is IngestStage.READY
    detail = escape(told(j.error)) if j.error else " · ".join([_(JOB_STAGES[j.stage]), *_outlook(j)])
    bar = "" if failed else f'<progress max="100" value="{j.percent:.0f}" aria-label="{escape(j.title)}"></progress>'
    kind = " failed" if failed else " done" if ready else ""
    act, label = ("retry", _("Try again")) if failed else ("cancel", _("Cancel"))
    button = "" if ready else f'<button type="button" class="quiet" data-job="{act}" data-id="{escape(j.id)}">{label}</button>'
    return f'<div class="job{kind}"><b>{escape(j.title)}</b><span>{detail}</span>{button}{bar}</div>'


def _outlook(j: IngestJob) -> list[str]:
    """How far a document is and how long it still takes; waiting is not standing still."""
    if j.stalled:
        return [_("not heard of for a while; it is taken up again by itself")]
    parts = [] if j.done or j.stage is IngestStage.QUEUED else [f"{j.percent:.0f} %"]
    if j.paused and j.stage is IngestStage.QUEUED:
        parts.append(_("paused"))
    elif j.position:
        parts.append(ngettext("{count} before it", "{count} before it", j.position - 1) if j.position > 1 else _("next"))
    if j.eta_s is not None and not j.done:
        parts.append(_("about {time}", time=_duration(j.eta_s)))
    return parts


def _duration(eta_s: float) -> str:
    return _seconds(max(1000.0, eta_s * 1000)) if eta_s < 90 else f"{eta_s / 60:.0f} min"


def recent(items: Sequence[IngestJob], now: datetime | None = None) -> list[IngestJob]:
    """What is worth showing: everything on its way, and what ended in the last minute (failures: in the last ten)."""
    moment = now or datetime.now(UTC)

    def age_s(job: IngestJob) -> float:
        return (moment - (job.heartbeat_at or job.created_at or moment)).total_seconds()

    return [j for j in items if not j.done or age_s(j) < (600 if j.stage is IngestStage.FAILED else 60)]


def account(username: str) -> str:
    """Who is signed in, the language they read, and the way out."""
    name, spoken = escape(username), language()
    choices = "".join(f'<option value="{code}"{" selected" if code == spoken else ""}>{own}</option>' for code, own in LANGUAGES.items())
    return (
        f'<span title="{name}">{name}</span><form method="post" action="/language">'
        f'<select name="language" aria-label="{_("Language")}">{choices}</select></form>'
        f'<form method="post" action="/logout"><button class="quiet">{_("Sign out")}</button></form>'
    )


def receipt(deleted: DeleteReceipt) -> str:
    """What a delete removed, in a sentence."""
    removed, left = (", ".join(_counted(kind, count) for kind, count in counts.items() if count) for counts in (deleted.removed, deleted.left))
    gone = _("{what} removed.", what=removed) if removed else _("Nothing removed.")
    return f"{gone} {_('Still there: {what}.', what=left) if left else _('Nothing of it is left.')}"


def _counted(kind: str, count: int) -> str:
    return COUNTED[kind](count) if kind in COUNTED else f"{count} {kind}"


def collection_choices(items: Sequence[tuple[Collection, Mapping[str, int]]]) -> list[tuple[str, str]]:
    """The collections as (label, name)."""
    return [(f"{c.name} ({counts['ready']})", c.name) for c, counts in items]


def empty() -> str:
    """The page of a conversation in which nothing has been said."""
    examples = "".join(f'<button type="button" data-act="example" data-text="{_(e)}">{_(e)}</button>' for e in EXAMPLES)
    return (
        f'<section class="empty"><img src="/static/hearth.svg" alt="" width="56" height="56"><h2>{_("Ask your own documents")}</h2>'
        f"<p>{_('Drop a PDF, Office file, e-book, mail, Markdown, web page, source code or a zip of them anywhere on this page.')} "
        f"{_('Then ask: the answer shows the passage it rests on.')}</p>"
        f'<div class="examples">{examples}</div></section>'
    )
