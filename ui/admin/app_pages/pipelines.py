"""Pipelines: what can be run, its versions, and starting a run of it."""

from collections.abc import Mapping
from urllib.parse import urlencode

import streamlit as st

from core.errors import BadInput
from core.records import DeleteReceipt
from core.workflow.inputs import put_down
from core.workflow.model import Cause, Engine, Pipeline, Value
from ui.admin.bridge import ask_room, pipelines
from ui.admin.frame import ago, cursor, deleting, nothing, pager
from ui.admin.pipeline_views.comparing import status, told
from ui.admin.pipeline_views.definitions import editor, explained, versions
from ui.admin.pipeline_views.form import run_form
from ui.admin.pipeline_views.starters import listed, starters
from ui.errors import sentence

room = pipelines()
OWN = ("pipeline", "version", "rerun", "versions", "part", "triggers")


def every() -> None:
    """The list, and a new one."""
    page = ask_room(room.pipelines, cursor=cursor("pipelines"))
    if page.items:
        st.dataframe(
            [
                {
                    "Open": f"pipelines?{urlencode({'pipeline': one.pipeline.name})}",
                    "Pipeline": one.pipeline.name,
                    "Engine": one.pipeline.engine.value,
                    "Versions": one.versions,
                    "Runs": one.runs,
                    "Last run": ago(one.last_run_at),
                    "It": status(one.last_status) if one.last_status else "–",
                    "Shared": "yes" if one.pipeline.shared else "no",
                }
                for one in page.items
            ],
            hide_index=True,
            column_config={
                "Open": st.column_config.LinkColumn(display_text="open", width="small"),
                "It": st.column_config.TextColumn("How it ended", help="How the last run stands."),
            },
            key="pipeline-list",
        )
        pager(page, "pipelines")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.selectbox("Pipeline", [one.pipeline.name for one in page.items], key="to")
            st.button("Open", icon=":material/open_in_new:", key="open", on_click=lambda: st.query_params.update({"pipeline": st.session_state["to"]}))
    else:
        nothing("There is no pipeline yet.", then="Write one below: it is checked before it is kept.", icon=":material/account_tree:")
    with st.expander("New pipeline", expanded=not page.items, icon=":material/add:"):
        editor("", None, "")
    st.subheader("What starts runs by itself", divider="gray")
    listed()


def back() -> None:
    """To the list."""
    for name in OWN:
        st.query_params.pop(name, None)


def one(name: str) -> None:
    """One pipeline: the version that the URL names, or its latest."""
    st.button("All pipelines", icon=":material/arrow_back:", key="back", on_click=back)
    chosen = ask_room(room.pipeline, st.query_params.get("version", name))
    page = ask_room(room.versions, chosen.name, cursor=cursor("versions"))
    st.subheader(chosen.id, divider="gray")
    st.caption(f"{chosen.engine.value} · made {ago(chosen.created_at)} · " + ("shared with everybody" if chosen.shared else "for admins alone"))
    run_tab, triggers_tab, versions_tab, edit_tab, rights_tab = st.tabs(
        ["Run", "Triggers", "Versions", "New version", "Sharing and deleting"], key="part", bind="query-params"
    )
    with run_tab:
        starting(chosen)
    with triggers_tab:
        starters(chosen.name)
    with versions_tab:
        with st.container(horizontal=True, vertical_alignment="bottom"):
            ids = list(dict.fromkeys([chosen.id, *(p.id for p in page.items)]))
            ids.sort(key=lambda i: -int(i.rpartition("@")[2]))
            st.session_state["version_choice"] = chosen.id
            st.selectbox("Version", ids, key="version_choice", on_change=lambda: st.query_params.update({"version": st.session_state["version_choice"]}))
        st.dataframe(
            [{"Version": p.id, "Made": ago(p.created_at), "Lines": len(p.definition.splitlines()), "By": p.owner_id} for p in page.items],
            hide_index=True,
            key="version-list",
        )
        pager(page, "versions")
        versions([*page.items, *before_page(page.next_cursor, chosen)], chosen)
    with edit_tab:
        editor(chosen.name, chosen.engine, chosen.definition)
    with rights_tab:
        shared = st.toggle("Shared: others than admins may run it, all its versions", chosen.shared, key=f"shared-{chosen.name}")
        if shared != chosen.shared:
            ask_room(room.share, chosen.name, shared)
            st.rerun()
        st.caption("A pipeline runs code on this machine. Whoever may run it chooses its parameters and nothing else.")
        deleting(
            "delete-version",
            f"Delete {chosen.id}",
            what=f"the version {chosen.id}",
            goes=["Its runs have to be deleted first.", "With the last version go the pipeline's triggers."],
            act=lambda: removed(chosen),
        )


def before_page(after: str, chosen: Pipeline) -> list[Pipeline]:
    """The first version of the next page, which the last of this one is compared with."""
    return list(ask_room(room.versions, chosen.name, limit=1, cursor=after).items) if after else []


def removed(chosen: Pipeline) -> DeleteReceipt:
    """Deletes a version; the page is of the list from then on."""
    given = ask_room(room.delete_pipeline, chosen.id)
    back()
    return given


def starting(chosen: Pipeline) -> None:
    """What the version takes, its graph, and the form; filled in as another run was, where the URL names one."""
    again = st.query_params.get("rerun", "")
    run = ask_room(room.run, again) if again else None
    before: Mapping[str, Value] = {}
    try:
        spec = ask_room(room.spec, chosen)
        if run is not None:
            begins = ask_room(room.again, run.id, chosen.id)
            before = begins.parameters
            st.info(f"Filled in as in the run {run.id}.", icon=":material/history:")
            for name, why in begins.dropped.items():
                st.warning(f"{name} was left out, {told(run.parameters[name])}: {why}", icon=":material/playlist_remove:")
    except BadInput as error:
        st.error(sentence(error), icon=":material/error:")
        return
    experiment = ask_room(room.experiment, run.experiment_id).name if run is not None and run.experiment_id else ""
    cache = chosen.engine is not Engine.KUBEFLOW or st.toggle(
        "Take over what earlier runs have made", True, key=f"cache-{chosen.id}-{again}", help="Steps that would do the same with the same don't run again."
    )
    try:
        sent = run_form(f"{chosen.id}-{again}", spec.parameters, before, experiment)
        if sent is not None:
            cause, of = (Cause.RERUN, run.id) if run is not None else (Cause.CONSOLE, "")
            with put_down({name: (file, file.name) for name, file in sent.files.items()}) as files:
                made = ask_room(room.start, chosen.id, sent.values, files=files, cause=cause, experiment=sent.experiment, rerun_of=of, cache=cache)
            st.switch_page("app_pages/run.py", query_params={"run": made.id})
    except BadInput as error:
        st.error(sentence(error), icon=":material/error:")
    explained(spec)


name = st.query_params.get("pipeline", "")
if name:
    one(name)
else:
    every()
