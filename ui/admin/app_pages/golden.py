"""Golden sets: questions with the passages that answer them."""

import streamlit as st

from ui.admin.bridge import ask, console
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
st.link_button("Export as JSON lines", golden_address(name), icon=":material/download:")
gone = st.multiselect("Rows", list(questions), format_func=lambda i: questions[i], key="gone")
if gone:
    deleting("delete-golden", "Delete these", what=f"{len(gone)} rows of the golden set {name}", goes={"rows": len(gone)}, act=lambda: ask(lab.drop, gone))
