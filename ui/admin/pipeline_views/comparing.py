"""Runs beside each other: parameters, metrics and artifacts, and only what differs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import streamlit as st

from core.workflow.model import PipelineRun, RunStatus, Value
from ui.admin.frame import size

MARKS: Mapping[RunStatus, str] = {RunStatus.PENDING: "○", RunStatus.RUNNING: "▶", RunStatus.SUCCEEDED: "✓", RunStatus.FAILED: "✕"}
NONE = "–"


def status(run: RunStatus) -> str:
    """A symbol and the word."""
    return f"{MARKS[run]} {run.value}"


def tag(run: PipelineRun) -> str:
    """What a run is called in a column or a choice: it never changes, and tells the runs of a pipeline apart."""
    return f"{run.pipeline_id} {run.id[-6:]}"


def lasted(run: PipelineRun, now: datetime) -> float | None:
    """Seconds; None before it began."""
    return None if run.started_at is None else round(((run.completed_at or now) - run.started_at).total_seconds(), 2)


def told(value: Value) -> str:
    """A value as a cell: a text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def table(kind: str, held: Mapping[str, Mapping[str, str]], *, differing: bool) -> list[dict[str, str]]:
    """A row for each name, a column for each run. held: by run, what it has by name.   differing: leaves out the names in which all agree."""
    names = list(dict.fromkeys(name for one in held.values() for name in one))
    lines = [{kind: name, **{run: one.get(name, NONE) for run, one in held.items()}} for name in names]
    return [line for line in lines if not differing or len({cell for column, cell in line.items() if column != kind}) > 1]


def compared(runs: Sequence[PipelineRun]) -> None:
    """Draws the comparison."""
    differing = st.toggle("Differences only", True, key="differences", bind="query-params")
    named = {tag(run): run for run in runs}
    parts: Iterable[tuple[str, dict[str, dict[str, str]]]] = (
        ("Parameter", {name: {p: told(v) for p, v in run.parameters.items()} for name, run in named.items()}),
        ("Metric", {name: {m: f"{v:,.6g}" for m, v in run.metrics.items()} for name, run in named.items()}),
        (
            "Artifact",
            {
                name: {
                    f"{a.step} {a.name}": " ".join(
                        part for part in (a.type.value, _size(a.metadata.get("size_bytes")), str(a.metadata.get("sha256", ""))[:12]) if part
                    )
                    for a in run.artifacts
                }
                for name, run in named.items()
            },
        ),
    )
    for kind, held in parts:
        lines = table(kind, held, differing=differing)
        if lines:
            st.markdown(f"**{kind}s**")
            st.dataframe(lines[:200], hide_index=True, key=f"compared-{kind}")
        else:
            st.caption(f"No {kind.lower()} differs." if differing else f"There is no {kind.lower()}.")


def _size(count: object) -> str:
    return size(count) if isinstance(count, (int, float)) else ""
