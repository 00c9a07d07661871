"""Runs: every metric a column, sorted and filtered by the store, two or more beside each other."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from core.workflow.model import RunStatus
from core.workflow.shelf import CREATED, DURATION, RunFilter
from ui.admin.bridge import ask_room, pipelines
from ui.admin.frame import ago, cursor, from_the_start, nothing, pager
from ui.admin.pipeline_views.comparing import compared, lasted, status, tag

MOST_COMPARED = 8
room = pipelines()
chosen = [run for run in st.query_params.get("compare", "").split(",") if run]
if len(chosen) > 1:
    st.subheader("Compared")
    found = [ask_room(room.run, run) for run in chosen[:MOST_COMPARED]]
    compared(found)
    if len(chosen) > MOST_COMPARED:
        st.caption(f"The first {MOST_COMPARED} of {len(chosen)}.")

    def alone() -> None:
        """Back to the list."""
        del st.query_params["compare"]

    with st.container(horizontal=True):
        st.button("Back to the list", icon=":material/arrow_back:", key="back", on_click=alone)
        shared = {run.experiment_id for run in found}
        if len(shared) == 1 and (of := shared.pop()):
            st.page_link("app_pages/experiments.py", label="Their experiment", icon=":material/experiment:", query_params={"experiment": of})
    st.stop()

new_first: dict[str, Any] = {"on_change": from_the_start, "args": ("runs",), "bind": "query-params"}
with st.container(horizontal=True, vertical_alignment="bottom"):
    pipeline = st.text_input("Pipeline", key="of_pipeline", placeholder="a name, or name@version", **new_first)
    state = st.selectbox("Status", ["", *(s.value for s in RunStatus)], format_func=lambda s: s or "any", key="status", **new_first)
    experiment = st.text_input("Experiment", key="of_experiment", placeholder="its name", **new_first)
within = ask_room(room.experiment, experiment.strip()).id if experiment.strip() else ""
narrowed = RunFilter(pipeline.strip(), RunStatus(state) if state else None, within)
metrics = list(ask_room(room.metric_names, narrowed))
with st.container(horizontal=True, vertical_alignment="bottom"):
    by = st.selectbox("Sorted by", list(dict.fromkeys([CREATED, DURATION, *metrics])), key="sort", **new_first)
    direction = st.selectbox("Order", ["descending", "ascending"], key="direction", **new_first)
wanted = RunFilter(narrowed.pipeline, narrowed.status, within, sort=by or CREATED, descending=direction != "ascending")
page = ask_room(room.runs, wanted, cursor=cursor("runs"))
if not page.items:
    filtered = bool(pipeline or state or experiment)
    nothing("There is no such run." if filtered else "There is no run yet.", then="Widen the filters." if filtered else "Start one on the page of pipelines.")
    st.stop()
if by not in (CREATED, DURATION):
    metrics.sort(key=lambda name: name != by)  # what they are sorted by is seen without scrolling
    st.caption(f"Runs without {by} are left out.")
now = datetime.now(UTC)
rows = [
    {
        "Open": f"run?{urlencode({'run': run.id})}",
        "Pipeline": run.pipeline_id,
        "Status": status(run.status),
        "Made": ago(run.created_at),
        "Seconds": lasted(run, now),
        **{name: run.metrics.get(name) for name in metrics},
        "Cause": run.cause.value,
        "Reason": run.reason,
        "Run": run.id,
    }
    for run in page.items
]
picked = st.dataframe(
    rows,
    hide_index=True,
    column_config={"Open": st.column_config.LinkColumn(display_text="open", width="small")},
    on_select="rerun",
    selection_mode="multi-row",
    key="run-list",
)
marked = [page.items[row].id for row in picked["selection"]["rows"] if row < len(page.items)]


def compare() -> None:
    """Puts the marked ones beside each other."""
    st.query_params["compare"] = ",".join(marked)


st.button("Compare the marked runs", icon=":material/compare:", key="compare", disabled=len(marked) < 2, on_click=compare)
st.caption(f"Mark two to {MOST_COMPARED} rows at their left edge to compare them.")
pager(page, "runs")
names = {run.id: tag(run) for run in page.items}
with st.container(horizontal=True, vertical_alignment="bottom"):
    to = st.selectbox("Run", list(names), format_func=lambda i: names.get(i, i), key="to")
    if st.button("Open", icon=":material/open_in_new:", key="open"):
        st.switch_page("app_pages/run.py", query_params={"run": to})
