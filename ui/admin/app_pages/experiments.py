"""Experiments: runs that belong together, against each other and against a baseline."""

from urllib.parse import urlencode

import plotly.express as px
import streamlit as st

from core.records import DeleteReceipt
from core.workflow.evaluation import EVALUATIONS, RE_EMBED
from core.workflow.model import Experiment, PipelineRun
from core.workflow.shelf import RunFilter
from ui.admin.bridge import ask_room, evaluation, pipelines
from ui.admin.frame import ago, cursor, deleting, nothing, pager
from ui.admin.pipeline_views.comparing import NONE, status, tag, told

room = pipelines()
MOST_RUNS = 200
PROMOTED = "promoted"


def every() -> None:
    """The list."""
    page = ask_room(room.experiments, cursor=cursor("experiments"))
    if not page.items:
        nothing("There is no experiment yet.", then="Name one when you start a run.", icon=":material/experiment:")
        return
    st.dataframe(
        [
            {
                "Open": f"experiments?{urlencode({'experiment': one.id})}",
                "Experiment": one.name,
                "Runs": len(one.runs),
                "Made": ago(one.created_at),
                "Baseline": one.baseline or NONE,
                "Latest metrics": ", ".join(f"{name} {value:.4g}" for name, value in list(one.metrics.items())[:8]),
            }
            for one in page.items
        ],
        hide_index=True,
        column_config={"Open": st.column_config.LinkColumn(display_text="open", width="small")},
        key="experiment-list",
    )
    pager(page, "experiments")


def back() -> None:
    """To the list."""
    st.query_params.pop("experiment", None)


def removed(experiment: Experiment) -> DeleteReceipt:
    """Deletes the experiment; the page is of the list from then on."""
    given = ask_room(room.delete_experiment, experiment.id)
    back()
    return given


def table(experiment: Experiment, runs: list[PipelineRun], metrics: list[str]) -> None:
    """The runs with parameters and metrics as columns, and how far each metric is from the baseline's."""
    differing = st.toggle("Differences only", True, key="differences", bind="query-params")
    parameters = list(dict.fromkeys(name for run in runs for name in run.parameters))
    cells = {name: [told(run.parameters[name]) if name in run.parameters else NONE for run in runs] for name in parameters}
    if differing and len(runs) > 1:
        cells = {name: column for name, column in cells.items() if len(set(column)) > 1}
        metrics = [m for m in metrics if len({run.metrics.get(m) for run in runs}) > 1]
    base = next((run for run in runs if run.id == experiment.baseline), None)
    rows = []
    for n, run in enumerate(runs):
        row: dict[str, object] = {"Open": f"run?{urlencode({'run': run.id})}", "Run": ("★ " if run is base else "") + tag(run), "Status": status(run.status)}
        row |= {f"{name} (given)" if name in metrics else name: column[n] for name, column in cells.items()}
        for metric in metrics:
            row[metric] = run.metrics.get(metric)
            if base is not None and metric in base.metrics:
                row[f"Δ {metric}"] = run.metrics[metric] - base.metrics[metric] if metric in run.metrics else None
        rows.append(row | {"Made": ago(run.created_at)})
    st.dataframe(rows, hide_index=True, column_config={"Open": st.column_config.LinkColumn(display_text="open", width="small")}, key="experiment-runs")
    if base is not None:
        st.caption("★ is the baseline; Δ is how far a run is from it.")


def best_run(runs: list[PipelineRun], metrics: list[str]) -> None:
    """The best run by a metric, and its settings for the collection that was evaluated."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = st.selectbox("Best by", metrics, key="best", bind="query-params")
        lowest = st.toggle("Less is better", False, key="less", bind="query-params")
    having = [run for run in runs if metric in run.metrics]
    if not having or metric is None:
        return
    best = (min if lowest else max)(having, key=lambda run: run.metrics[metric])
    st.success(f"{tag(best)}: {metric} {best.metrics[metric]:,.6g}", icon=":material/trophy:")
    with st.container(horizontal=True):
        st.page_link("app_pages/run.py", label="Open it", icon=":material/open_in_new:", query_params={"run": best.id})
        if best.pipeline_name in EVALUATIONS and st.button("Take over its settings", icon=":material/publish:", key="promote"):
            st.session_state[PROMOTED] = (best.id, ask_room(evaluation().promote, best.id))
    run_id, promoted = st.session_state.get(PROMOTED, ("", None))
    if promoted is not None and run_id == best.id:
        changed = ", ".join(f"{name.replace('_', ' ')} is now {value}" for name, value in promoted.changed.items()) or "nothing had to be changed at once"
        st.success(f"The collection {promoted.collection}: {changed}.", icon=":material/task_alt:")
        for sentence in promoted.left:
            st.caption(sentence)
        if promoted.re_embed:
            st.page_link("app_pages/pipelines.py", label=f"Run {RE_EMBED}", icon=":material/play_arrow:", query_params={"pipeline": RE_EMBED})


def plots(runs: list[PipelineRun], metrics: list[str]) -> None:
    """A metric by run, and two against each other."""
    by_age = runs[::-1]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        x = st.selectbox("Across", ["run", *metrics], key="x", bind="query-params")
        y = st.selectbox("Up", metrics, key="y", bind="query-params")
    if y is None:
        return
    having = [run for run in by_age if y in run.metrics and (x == "run" or x in run.metrics)]
    if not having:
        nothing("No run has both.", icon=":material/scatter_plot:")
        return
    names = [run.id[-6:] if x == "run" else run.metrics[x or ""] for run in having]
    figure = px.scatter(x=names, y=[run.metrics[y] for run in having], hover_name=[tag(run) for run in having], labels={"x": x, "y": y})
    figure.update_traces(marker={"size": 10}, mode="lines+markers" if x == "run" else "markers")
    if x == "run":
        figure.update_xaxes(type="category")
    figure.update_layout(height=340, margin={"t": 10, "b": 10, "l": 10, "r": 10})
    st.plotly_chart(figure, key="plot")


def beside(runs: list[PipelineRun]) -> None:
    """Chosen runs with parameters, metrics and artifacts side by side, on the page of runs."""
    names = {run.id: tag(run) for run in runs}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        marked = st.multiselect("Side by side", list(names), format_func=lambda i: names.get(i, i), key="beside", max_selections=8)
        if st.button("Compare", icon=":material/compare:", key="compare", disabled=len(marked) < 2, help="With their artifacts."):
            st.switch_page("app_pages/runs.py", query_params={"compare": ",".join(marked)})


def one(experiment_id: str) -> None:
    """One experiment."""
    st.button("All experiments", icon=":material/arrow_back:", key="back", on_click=back)
    experiment = ask_room(room.experiment, experiment_id)
    st.subheader(experiment.name, divider="gray")
    wanted = RunFilter(experiment_id=experiment.id)
    page = ask_room(room.runs, wanted, limit=MOST_RUNS, cursor=cursor("experiment_runs"))
    runs, metrics = list(page.items), list(ask_room(room.metric_names, wanted))
    st.caption(f"made {ago(experiment.created_at)} · {experiment.id}")
    if runs:
        table(experiment, runs, metrics)
        pager(page, "experiment_runs")
        names = {"": "none", **({experiment.baseline: f"…{experiment.baseline[-6:]}"} if experiment.baseline else {}), **{run.id: tag(run) for run in runs}}
        with st.container(horizontal=True, vertical_alignment="bottom"):
            base = st.selectbox(
                "Baseline", list(names), list(names).index(experiment.baseline), format_func=lambda i: names.get(i, i), key=f"baseline-{experiment.id}"
            )
        if base is not None and base != experiment.baseline:
            ask_room(room.set_baseline, experiment.id, base)
            st.rerun()
        beside(runs)
        if metrics:
            best_run(runs, metrics)
            plots(runs, metrics)
    else:
        nothing("It has no run any more.", then="Name it when you start one.", icon=":material/experiment:")
    deleting(
        "delete-experiment",
        f"Delete {experiment.name}",
        what=f"the experiment {experiment.name}",
        goes=[f"Its {len(experiment.runs):,} runs stay, without an experiment."],
        act=lambda: removed(experiment),
    )


wanted_id = st.query_params.get("experiment", "")
if wanted_id:
    one(wanted_id)
else:
    every()
