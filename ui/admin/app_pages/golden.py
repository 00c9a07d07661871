"""Golden sets: questions with the passages that answer them."""

import streamlit as st

from core.workflow.evaluation import combined
from core.workflow.model import Cause
from ui.admin.bridge import ask, ask_room, console, evaluation
from ui.admin.downloads import golden_address
from ui.admin.frame import ago, cursor, deleting, from_the_start, nothing, pager

lab = console().lab
sets = ask(lab.golden_sets)
if not sets:
    nothing("There is no golden set.", then="Keep a question with its right passages in the retrieval lab.", icon=":material/verified:")
    st.stop()
name = st.selectbox("Golden set", list(sets), key="set", bind="query-params", on_change=from_the_start, args=("golden",))
st.caption(f"{sets[name]:,} rows. One that comes from an answer goes when its conversation is deleted; the others stay until they are deleted here.")
page = ask(lab.golden_rows, name, cursor("golden"))
questions = {r.id: r.question for r in page.items}
st.dataframe(
    [
        {
            "Question": r.question,
            "In": ", ".join(r.collections),
            "Right passages": len(r.chunk_ids),
            "Expected": "a refusal" if r.refuse else "an answer" if r.chunk_ids else "not judged yet",
            "From": {"lab": "the lab", "good": "a good answer", "bad": "a bad answer"}[r.origin],
            "Made": ago(r.made_at),
            "Id": r.id,
        }
        for r in page.items
    ],
    hide_index=True,
    column_config={"Question": st.column_config.TextColumn(width="large")},
    key="golden-list",
)
pager(page, "golden")


@st.dialog("Evaluate retrieval")
def evaluate(golden_set: str, offered: list[str]) -> None:
    """A form: which settings are compared with these questions."""
    with st.form("evaluate-rag", border=False):
        collection = st.selectbox("Your collection", offered, accept_new_options=True, key="evaluated")
        top_k = st.multiselect("Passages that a question gets", [1, 3, 5, 10], [3, 5], key="evaluated_top_k")
        rerank = st.multiselect("Reranked", [True, False], [True, False], format_func=lambda on: "yes" if on else "no", key="evaluated_rerank")
        chars = st.multiselect(
            "Characters of a passage", [400, 700, 1000, 1400], key="evaluated_chars", help="Another size is measured on a copy; none: as it is."
        )
        answers = st.toggle("Ask for answers too", False, key="evaluated_answers", help="Takes longer: how much of each answer is quoted word for word.")
        st.caption("Each combination is a run of the pipeline evaluate-rag; all of them are one experiment.")
        if st.form_submit_button("Start", type="primary"):
            settings = combined(top_k=top_k, rerank=rerank, chunk_chars=chars or (None,))
            made = ask_room(evaluation().evaluate, golden_set, (collection or "").strip(), settings, answers=answers, cause=Cause.CONSOLE)
            st.switch_page("app_pages/experiments.py", query_params={"experiment": made.id})


if st.button("Evaluate retrieval", icon=":material/science:", key="evaluate", help="Compares settings of a collection by these questions."):
    evaluate(name, sorted({collection for row in page.items for collection in row.collections}))
st.link_button("Export as JSON lines", golden_address(name), icon=":material/download:")
gone = st.multiselect("Rows", list(questions), format_func=lambda i: questions[i], key="gone")
if gone:
    deleting("delete-golden", "Delete these", what=f"{len(gone)} rows of the golden set {name}", goes={"rows": len(gone)}, act=lambda: ask(lab.drop, gone))
