"""What a question finds and why: every stage's ranks, two settings side by side, a past answer searched again."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.console.lab import Depth, Run
from core.rag.model import Candidate, FoundChunk, RetrievalTrace
from ui.admin.bridge import ask, console
from ui.admin.frame import nothing

lab = console().lab


def moved(candidate: Candidate) -> str:
    """How reranking moved a passage."""
    if candidate.rerank_rank is None or candidate.fused_rank is None:
        return ""
    up = candidate.fused_rank - candidate.rerank_rank
    return f"▲ {up}" if up > 0 else f"▼ {-up}" if up < 0 else "="


def table(trace: RetrievalTrace, passages: dict[str, FoundChunk]) -> list[dict[str, object]]:
    """Every candidate through every stage, in its final order."""
    last = len(trace.candidates) + 1
    order = sorted(trace.candidates, key=lambda c: (c.rerank_rank or last, c.fused_rank or last))
    return [
        {
            "Used": c.returned,
            "Final": n,
            "Moved": moved(c),
            "Words": c.lexical_rank,
            "Meaning": c.dense_rank,
            "Fused": c.fused_rank,
            "Reranked": c.rerank_rank,
            "Score": c.rerank_score if c.rerank_score is not None else c.fused_score,
            "Below the threshold": trace.threshold is not None and c.rerank_score is not None and c.rerank_score < trace.threshold,
            "Document": c.title,
            "Passage": passages[c.chunk_id].chunk.content if c.chunk_id in passages else "(deleted since)",
            "Chunk": c.chunk_id,
        }
        for n, c in enumerate(order, 1)
    ]


def shown(where: DeltaGenerator, title: str, trace: RetrievalTrace, passages: dict[str, FoundChunk], key: str) -> None:
    """One search."""
    where.subheader(title)
    spent = " · ".join(f"{stage} {ms:.1f} ms" for stage, ms in trace.ms.items())
    threshold = f"; the threshold is {trace.threshold:g}" if trace.threshold is not None else ""
    where.caption(f"{trace.returned} of {trace.considered:,} passages from {', '.join(trace.collections)}{threshold} · {spent}")
    if trace.degraded:
        where.warning(trace.degraded, icon=":material/warning:")
    if not trace.candidates:
        where.info("Nothing was found.", icon=":material/search_off:")
        return
    columns = {"Score": st.column_config.NumberColumn(format="%.3f"), "Passage": st.column_config.TextColumn(width="large")}
    where.dataframe(table(trace, passages), hide_index=True, column_config=columns, key=key)


def depth(where: DeltaGenerator, name: str, usual: Depth) -> Depth:
    """The settings of one side; in the URL."""
    top_k = where.number_input("Candidates", 1, 50, usual.top_k, key=f"{name}_k", bind="query-params")
    rerank = where.toggle("Rerank", usual.rerank, key=f"{name}_rerank", bind="query-params")
    keep = where.number_input("Kept after reranking", 1, 50, usual.rerank_top_k, key=f"{name}_keep", bind="query-params")
    return Depth(int(top_k), rerank, int(keep))


def searched(name: str, who: str, question: str, chosen: tuple[str, ...], wanted: Depth) -> Run:
    """What a setting finds; searched again only when something else is asked, not with every click."""
    asked = (who, question, chosen, wanted)
    known = st.session_state.get(f"{name}-run")
    if known is None or known[0] != asked:
        known = st.session_state[f"{name}-run"] = asked, ask(lab.run, *asked)
    run: Run = known[1]
    return run


def side(where: DeltaGenerator, name: str, title: str, who: str, question: str, chosen: list[str], usual: Depth) -> Run:
    """One setting and what it finds."""
    found = searched(name, who, question, tuple(chosen), depth(where, name, usual))
    shown(where, title, found.trace, dict(found.passages), f"{name}-table")
    with where.expander("The prompt a model is given, without a conversation before it"):
        if not found.prompt:
            st.caption("None: the embedded model quotes from the passages.")
        for message in found.prompt:
            st.caption(message.role)
            st.code(message.content, language=None, wrap_lines=True)
    return found


def keeping(run: Run, who: str, question: str, chosen: list[str]) -> None:
    """A row of a golden set out of what was found."""
    with st.form("keep"):
        name = st.text_input("Golden set", "first", key="golden_set", max_chars=60)
        titles = {c.chunk_id: f"{c.title}: {run.passages[c.chunk_id].chunk.content[:80]}" for c in run.trace.candidates if c.chunk_id in run.passages}
        right = st.multiselect("Right passages", list(titles), format_func=lambda i: titles[i], key="right")
        refuse = st.toggle("It should be refused: nothing answers it", key="refuse")
        if st.form_submit_button("Keep as a golden row", icon=":material/verified:"):
            ask(lab.keep, name.strip(), who, question, chosen, right, refuse=refuse, message_id=message_id)
            st.toast("Kept.", icon=":material/check:")


message_id = st.query_params.get("message", "")
past = ask(lab.past, message_id) if message_id else None
if past is not None:
    st.info(f"An answer of {past.owner.username} is searched again: what it found then is below what it finds now.", icon=":material/replay:")
with st.container(horizontal=True, vertical_alignment="bottom"):
    who = st.text_input("Documents of", past.owner.username if past else "", key="lab_of", bind="query-params", icon=":material/person:")
    question = st.text_input("Question", past.searched if past else "", key="lab_q", bind="query-params", icon=":material/help:")
if not who:
    nothing("Nobody is chosen.", then="Write whose documents are to be searched; it is noted in the audit log.", icon=":material/science:")
    st.stop()
known = list(ask(lab.collections, who.strip()))
if not known:
    nothing(f"{who} has no collection.", icon=":material/library_books:")
    st.stop()
before = [name for name in (past.trace.collections if past and past.trace else ()) if name in known]
chosen = st.pills("Collections", known, selection_mode="multi", default=before or known[:1], key="lab_in", bind="query-params")
if not question.strip() or not chosen:
    nothing("Nothing is asked.", then="Write a question, and choose where to look.", icon=":material/help:")
    st.stop()
left, right = st.columns(2)
run = side(left, "a", "One setting", who.strip(), question, chosen, Depth())
side(right, "b", "Another", who.strip(), question, chosen, Depth(20, True, 5))
if past is not None and past.trace is not None:
    shown(st.container(), f"As it was {past.answer.created_at:%Y-%m-%d %H:%M}", past.trace, dict(past.passages), "past-table")
if past is not None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        into = st.text_input("Golden set", "verdicts", key="verdict_set", max_chars=60)
        if st.button("Keep with its owner's verdict", icon=":material/thumbs_up_down:", key="keep-answer"):
            ask(lab.keep_answer, into.strip(), message_id)
            st.toast("Kept.", icon=":material/check:")
st.subheader("For a golden set")
keeping(run, who.strip(), question, chosen)
