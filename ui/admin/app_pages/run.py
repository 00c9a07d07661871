"""One run: how far it is, its steps with their logs, what it has made, and doing it again."""

from datetime import UTC, datetime

import streamlit as st

from core.errors import BadInput
from core.records import DeleteReceipt
from core.workflow.model import ArtifactType, GraphNode, PipelineRun, RunStatus
from ui.admin.bridge import ask_room, pipelines
from ui.admin.frame import ago, deleting, live, moment, nothing
from ui.admin.pipeline_views.artifacts import artifacts
from ui.admin.pipeline_views.comparing import lasted, status, told
from ui.admin.pipeline_views.steps import PICKED, steps

LIVE_S = 2
room = pipelines()
run_id = st.query_params.get("run", "")
if not run_id:
    nothing("No run is chosen.", then="Choose one on the page of runs.", icon=":material/lan:")
    st.page_link("app_pages/runs.py", label="Runs", icon=":material/play_circle:")
    st.stop()
first = ask_room(room.run, run_id)


def planned(run: PipelineRun) -> tuple[GraphNode, ...]:
    """The tasks of its definition; none if it can't be read here any more."""
    try:
        return ask_room(room.spec, ask_room(room.pipeline, run.pipeline_id)).graph
    except BadInput:
        return ()


def heading(run: PipelineRun) -> None:
    """How the run stands, and where it comes from."""
    st.subheader(run.pipeline_id, divider="gray")
    seconds = lasted(run, datetime.now(UTC))
    st.caption(f"made {ago(run.created_at)} · by {run.cause.value} · {run.id}")
    if run.status is RunStatus.FAILED:
        st.error(f"{status(run.status)}: {run.reason or 'no reason was given.'}", icon=":material/cancel:")
    else:
        text = status(run.status)
        if run.status is RunStatus.PENDING:
            ahead = ask_room(room.ahead_of, run)
            text += f": {ahead} ahead of it" if ahead else ": it is the next"
        if seconds is not None:
            text += f" · {seconds:,.1f} s"
        (st.success if run.status is RunStatus.SUCCEEDED else st.info)(text, icon=":material/task_alt:" if run.status.over else ":material/hourglass_top:")
    if run.unreachable_since is not None:
        since = f"{ago(run.unreachable_since)}, {moment(run.unreachable_since)}"
        st.warning(f"Its cluster is unreachable; it was last heard of {since}. It is asked again and again.", icon=":material/cloud_off:")


def links(run: PipelineRun) -> None:
    """Where else one may look."""
    with st.container(horizontal=True):
        st.page_link("app_pages/pipelines.py", label=run.pipeline_id, icon=":material/account_tree:", query_params={"pipeline": run.pipeline_name})
        if run.experiment_id:
            st.page_link("app_pages/experiments.py", label="Its experiment", icon=":material/experiment:", query_params={"experiment": run.experiment_id})
        if run.rerun_of:
            st.page_link("app_pages/run.py", label=f"Rerun of …{run.rerun_of[-6:]}", icon=":material/history:", query_params={"run": run.rerun_of})
        if run.external_url.startswith(("https://", "http://")):
            st.link_button("On its cluster", run.external_url, icon=":material/open_in_new:")


def again(run: PipelineRun) -> None:
    """Ending it, or doing it once more."""
    with st.container(horizontal=True):
        if not run.status.over:
            if st.button("Terminate", icon=":material/stop_circle:", key="terminate"):
                ask_room(room.terminate, run.id)
                st.rerun()
        elif st.button("Retry", icon=":material/replay:", key="retry", help="The same version with the same parameters, as a new run."):
            made = ask_room(room.rerun, run.id, {})
            st.switch_page("app_pages/run.py", query_params={"run": made.id})
        if st.button("Rerun with changes", icon=":material/edit:", key="edit"):
            st.switch_page("app_pages/pipelines.py", query_params={"pipeline": run.pipeline_name, "version": run.pipeline_id, "rerun": run.id})


def gone() -> DeleteReceipt:
    """Deletes the run; the page is nobody's from then on."""
    given = ask_room(room.delete_run, first.id)
    for name in ("run", "artifact", *PICKED):
        st.query_params.pop(name, None)
    return given


graph = planned(first)


@live(None if first.status.over else LIVE_S)
def following() -> None:
    """What changes while the run goes on."""
    run = ask_room(room.run, run_id)
    if run.status.over and not first.status.over:
        st.rerun()
    heading(run)
    again(run)
    steps(run, graph)


links(first)
following()
st.subheader("Artifacts", divider="gray")
artifacts(first)
st.subheader("Parameters", divider="gray")
if first.parameters:
    st.dataframe([{"Parameter": name, "Value": told(value)} for name, value in first.parameters.items()], hide_index=True, key="parameters")
else:
    st.caption("It was given none.")
if first.metrics:
    st.subheader("Metrics", divider="gray")
    st.dataframe([{"Metric": name, "Value": value} for name, value in list(first.metrics.items())[:200]], hide_index=True, key="metrics")
if first.status.over:
    logs = sum(a.type is ArtifactType.LOGS for a in first.artifacts)
    deleting(
        "delete-run",
        "Delete this run",
        what=f"the run {first.id} of {first.pipeline_id}",
        goes={"artifacts": len(first.artifacts) - logs, "logs": logs, "metrics": len(first.metrics)},
        act=gone,
    )
