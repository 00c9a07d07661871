"""A run's steps: the picture to click at, and the step that is looked into, with the log of each of its attempts."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import urlencode

import streamlit as st

from core.workflow.model import GraphNode, PipelineRun, Step, StepStatus
from ui.admin.bridge import ask_room, pipelines
from ui.admin.downloads import log_address
from ui.admin.frame import nothing, size
from ui.admin.pipeline_views.comparing import told
from ui.admin.pipeline_views.graph import SYMBOLS, Node, chart, counted, gantt, height_px, nodes

MOST_STEPS = 2000
LOG_TAIL_BYTES = 8 << 10
ROWS = 50
PICKED = ("step", "task", "attempt", "log_at", "steps_page")
"""What of the URL belongs to the step that is looked into."""


def all_steps(run_id: str) -> tuple[list[Step], bool]:
    """The first `MOST_STEPS` in the order in which they began, and whether there are more."""
    found: list[Step] = []
    after = ""
    while len(found) < MOST_STEPS:
        page = ask_room(pipelines().steps, run_id, limit=1000, cursor=after)
        found += page.items
        after = page.next_cursor
        if not after:
            break
    return found, bool(after)


def look_at(node: Node) -> None:
    """Puts a node into the URL: its step, or the task whose steps are many."""
    for name in PICKED:
        st.query_params.pop(name, None)
    if len(node.keys) == 1:
        st.query_params["step"] = node.keys[0]
    else:
        st.query_params["task"] = node.name


def picked(drawn: Sequence[Node], steps: Sequence[Step]) -> Node | None:
    """The node that the URL names; else that of the first step that failed by itself, of one that runs, or the first."""
    key, task = st.query_params.get("step", ""), st.query_params.get("task", "")
    if key or task:
        return next((node for node in drawn if (key in node.keys if key else task == node.name)), None)
    failed = [s for s in steps if s.status is StepStatus.FAILED]
    parents = {s.parent for s in failed}
    first = next((s for s in failed if s.key not in parents), None) or next((s for s in steps if s.status is StepStatus.RUNNING), None)
    key = first.key if first is not None else steps[0].key if steps else ""
    return next((node for node in drawn if key in node.keys), None)


def steps(run: PipelineRun, graph: Sequence[GraphNode]) -> None:
    """Draws the picture, the bars, and the step that is looked into."""
    found, more = all_steps(run.id)
    drawn, by_key = nodes(graph, found), {step.key: step for step in found}
    if not drawn:
        nothing("No step has begun.", then="" if run.status.over else "It appears here as soon as it does.", icon=":material/hourglass_empty:")
        return
    current = picked(drawn, found)
    if more:
        st.caption(f"The first {MOST_STEPS:,} steps are shown.")

    picture(run, drawn, by_key, current, counted(found))
    key = st.query_params.get("step", "")
    if current is None:
        st.warning("There is no such step in this run. Choose one above.", icon=":material/help:")
    elif key or len(current.keys) == 1:
        one_step(run, by_key[key or current.keys[0]])
    elif current.keys:
        many_steps(run, current, [by_key[k] for k in current.keys])
    else:
        nothing(f"{current.label} did not run." if run.status.over else f"{current.label} has not begun.", icon=":material/hourglass_empty:")


def picture(run: PipelineRun, drawn: Sequence[Node], by_key: Mapping[str, Step], current: Node | None, told_of: str) -> None:
    """Draws the graph, which is clicked at, a list of the same nodes for whoever has no mouse, and the bars."""

    def clicked() -> None:
        for group in st.session_state["dag"]["selection"]["selected"]:
            for index in group["data_indices"]:
                if group["data_type"] == "node" and index < len(drawn):
                    look_at(drawn[index])

    def chosen() -> None:
        if (place := st.session_state["node"]) is not None:
            look_at(drawn[place])

    alt = f"The steps of the run: {told_of or 'none has begun'}."
    st.echarts_chart(
        chart(drawn, by_key, current.name if current else "", over=run.status.over), height=height_px(drawn), key="dag", on_select=clicked, alt=alt
    )
    st.caption(f"{alt} Click a node to look into it; drag and scroll to move the picture.")
    bars = gantt(drawn, by_key, datetime.now(UTC))
    if bars:
        with st.expander("When each step ran", expanded=run.status.over):
            st.echarts_chart(bars, height=28 * len(bars["yAxis"]["data"]) + 60, key="gantt", alt="When each step began and ended, in seconds.")
    st.session_state["node"] = drawn.index(current) if current is not None else None
    st.selectbox("Step", range(len(drawn)), None, format_func=lambda n: f"{SYMBOLS[drawn[n].state]} {drawn[n].label}", key="node", on_change=chosen)


def many_steps(run: PipelineRun, node: Node, found: Sequence[Step]) -> None:
    """Draws the steps that one node stands for, those that failed first."""
    st.subheader(f"{node.label} ×{len(found)}")
    st.caption(counted(found))
    order = list(SYMBOLS)
    found = sorted(found, key=lambda s: order.index(s.status))
    pages = -(-len(found) // ROWS)
    place = min(st.pagination(pages, key="steps_page", bind="query-params"), pages) if pages > 1 else 1
    st.dataframe(
        [
            {
                "Open": f"run?{urlencode({'run': run.id, 'step': s.key})}",
                "Step": s.name,
                "Status": f"{SYMBOLS[s.status]} {s.status.value}",
                "Seconds": _seconds(s.started_at, s.ended_at),
                "Attempts": len(s.attempts),
                "Inputs": told(s.inputs) if s.inputs else "",
                "Error": s.error,
            }
            for s in found[(place - 1) * ROWS : place * ROWS]
        ],
        hide_index=True,
        column_config={"Open": st.column_config.LinkColumn(display_text="open", width="small")},
        key="step-list",
    )


def one_step(run: PipelineRun, step: Step) -> None:
    """Draws a step: what went in, what came out, and what each attempt said."""
    st.subheader(f"{SYMBOLS[step.status]} {step.name}")
    lasted = _seconds(step.started_at, step.ended_at)
    st.caption(" · ".join(part for part in (step.status.value, f"{lasted:,.2f} s" if lasted is not None else "", f"task {step.task}", step.key) if part))
    if step.error:
        st.error(step.error[:2000], icon=":material/error:")
    for title, held in (("Inputs", step.inputs), ("Outputs", step.outputs)):
        if held:
            st.dataframe([{title: name, "Value": told(value)} for name, value in list(held.items())[:200]], hide_index=True, key=f"step-{title}")
    if step.cached_from:
        st.caption(f"It did not run: the run {step.cached_from} had made this from the same already.")
        return
    if not step.attempts:
        st.caption("No attempt of it is kept.")
        return
    numbers = [a.number for a in step.attempts]
    asked = st.query_params.get("attempt", "")
    number = int(asked) if asked.isdecimal() and int(asked) in numbers else numbers[-1]
    if len(numbers) > 1:
        st.session_state["attempt_choice"] = number
        st.segmented_control("Attempt", numbers, key="attempt_choice", on_change=_attempt)
    attempt = next(a for a in step.attempts if a.number == number)
    if attempt.error and attempt.error != step.error:
        st.warning(attempt.error[:2000], icon=":material/error:")
    if attempt.log:
        log(run.id, step.key, number)
    else:
        st.caption("This attempt has no log.")


def _attempt() -> None:
    st.query_params["attempt"] = str(st.session_state["attempt_choice"])
    st.query_params.pop("log_at", None)


def log(run_id: str, key: str, attempt: int) -> None:
    """Draws a part of a log: its end, or from the byte on that the URL names."""
    at = st.query_params.get("log_at", "")
    offset = int(at) if at.isdecimal() and len(at) < 16 else -LOG_TAIL_BYTES
    part = ask_room(pipelines().log, run_id, key, attempt, offset=offset, limit=LOG_TAIL_BYTES)
    st.code(part.text or ("The log is empty." if part.over else "Nothing was said yet."), language=None, wrap_lines=True, height=320)
    st.caption(f"Bytes {part.offset:,} to {part.next_offset:,} of {size(part.size_bytes)}." + ("" if part.over else " More may come."))
    with st.container(horizontal=True):
        before = max(0, part.offset - LOG_TAIL_BYTES)
        st.button("Earlier", icon=":material/expand_less:", key="log-earlier", disabled=not part.offset, on_click=_to, args=(before,))
        st.button("Later", icon=":material/expand_more:", key="log-later", disabled=part.next_offset >= part.size_bytes, on_click=_to, args=(part.next_offset,))
        st.button("End", icon=":material/vertical_align_bottom:", key="log-end", disabled=not at, on_click=_to, args=(None,))
        st.link_button("Download the log", log_address(run_id, key, attempt), icon=":material/download:")


def _to(offset: int | None) -> None:
    if offset is None:
        st.query_params.pop("log_at", None)
    else:
        st.query_params["log_at"] = str(offset)


def _seconds(begun: datetime | None, ended: datetime | None) -> float | None:
    return None if begun is None else round(((ended or datetime.now(UTC)) - begun).total_seconds(), 3)
