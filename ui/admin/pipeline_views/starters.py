"""What starts runs of pipelines by itself: the triggers there are, and adding one."""

import json
from datetime import UTC, datetime
from enum import StrEnum
from urllib.parse import urlencode

import streamlit as st

from core.errors import BadInput, HearthError
from core.events import EventType
from core.workflow.model import PipelineSpec, Trigger, TriggerKind
from core.workflow.triggers import URI, next_times
from ui.admin.bridge import ask_room, me, pipelines, triggers
from ui.admin.frame import ago, cursor, deleting, moment, nothing, pager
from ui.admin.pipeline_views.comparing import told
from ui.admin.pipeline_views.form import experiment_field, fields
from ui.errors import sentence

ROWS = 10
"""Each is a box with its own switch."""
SHOWN_TIMES = 3


class Waits(StrEnum):
    """What a run is to wait for, as the page offers it. An event needs no trigger: it names its pipeline itself."""

    TIMES = "times"
    FILES = "files"
    EVENTS = "events"


OFFERED = {Waits.TIMES: "Times", Waits.FILES: "Files that arrive", Waits.EVENTS: "Another program"}


def waits_for(trigger: Trigger) -> str:
    """What it waits for, as a sentence's beginning."""
    return f"At the times {trigger.watched} (UTC)" if trigger.kind is TriggerKind.SCHEDULE else f"When a file arrives under {trigger.watched}"


def listed() -> None:
    """Draws those of all pipelines, each with the way to its own."""
    page = ask_room(triggers().triggers, cursor=cursor("triggers"))
    if not page.items:
        nothing("Nothing starts runs by itself.", then="Open a pipeline and look under Triggers.", icon=":material/alarm:")
        return
    st.dataframe(
        [
            {
                "Open": f"pipelines?{urlencode({'pipeline': one.pipeline_name, 'part': 'Triggers'})}",
                "Starts": one.pipeline_name,
                "When": waits_for(one),
                "At work": "yes" if one.enabled else "no",
                "Last": ago(one.last_at),
                "Next": ago(one.next_at),
                "Problem": one.problem,
            }
            for one in page.items
        ],
        hide_index=True,
        column_config={"Open": st.column_config.LinkColumn(display_text="open", width="small")},
        key="trigger-list",
    )
    pager(page, "triggers")


def starters(pipeline_name: str) -> None:
    """Draws those of a pipeline, and the form for another. They run its latest version, whichever the page is of."""
    page = ask_room(triggers().triggers, pipeline_name=pipeline_name, limit=ROWS, cursor=cursor("triggers"))
    if not page.items:
        nothing("Nothing starts this pipeline by itself.", then="Add what should.", icon=":material/alarm:")
    for trigger in page.items:
        with st.container(border=True):
            _one(trigger)
    pager(page, "triggers")
    with st.expander("Add a trigger", expanded=not page.items, icon=":material/add_alarm:"):
        try:
            _adding(pipeline_name, ask_room(pipelines().spec, ask_room(pipelines().pipeline, pipeline_name)))
        except BadInput as error:
            st.error(sentence(error), icon=":material/error:")


def _one(trigger: Trigger) -> None:
    st.text(waits_for(trigger))
    came = f"next {ago(trigger.next_at)}, {moment(trigger.next_at)}" if trigger.next_at is not None else ""
    last = f"last {ago(trigger.last_at)}" if trigger.last_at else "it has started nothing yet"
    whose = "" if trigger.user_id == me().user.id else f"in the name of {trigger.user_id}"
    st.caption(" · ".join(part for part in (last, came, whose, trigger.id) if part))
    if trigger.parameters:
        st.text("\n".join(f"{name}: {told(value)[:200]}" for name, value in trigger.parameters.items()))
    if trigger.problem:
        st.warning(f"The last time it started nothing: {trigger.problem}", icon=":material/error:")
    key = f"enabled-{trigger.id}"
    st.session_state[key] = trigger.enabled
    st.toggle("At work", key=key, on_change=_switch, args=(trigger.id, key))
    if trigger.experiment_id:
        st.page_link("app_pages/experiments.py", label="Its experiment", icon=":material/experiment:", query_params={"experiment": trigger.experiment_id})
    deleting(
        f"delete-{trigger.id}",
        "Delete this trigger",
        what=f"a trigger of {trigger.pipeline_name}",
        goes=["The runs that it has started stay."],
        act=lambda: ask_room(triggers().delete, trigger.id),
    )


def _switch(trigger_id: str, key: str) -> None:
    try:
        ask_room(triggers().enable, trigger_id, bool(st.session_state[key]))
    except HearthError as error:
        st.toast(sentence(error), icon=":material/error:")


def _adding(pipeline_name: str, spec: PipelineSpec) -> None:
    """The form. What is waited for stands before it, because the rest follows from that. Raises: BadInput for what can't be a trigger."""
    waits = st.segmented_control("It waits for", list(Waits), default=Waits.TIMES, format_func=lambda w: OFFERED[w], key="waits", required=True)
    if waits is Waits.EVENTS:
        _told_of_events(pipeline_name, spec)
        return
    watched = (_times if waits is Waits.TIMES else _files)()
    taken = [p for p in spec.parameters if waits is Waits.TIMES or p.name != URI]
    with st.form(f"trigger-{pipeline_name}", border=False):
        read = fields(f"{pipeline_name}-trigger", taken, {})
        if len(taken) < len(spec.parameters):
            st.caption(f"{URI} gets the address of the file.")
        within = experiment_field(f"{pipeline_name}-trigger", "")
        st.caption("It runs the latest version, in your name.")
        if not st.form_submit_button("Add", type="primary", icon=":material/add_alarm:"):
            return
    kind = TriggerKind.SCHEDULE if waits is Waits.TIMES else TriggerKind.FILE
    ask_room(triggers().add, pipeline_name, kind, watched, read(), experiment=within.strip())
    st.toast("It is at work.", icon=":material/check:")
    st.rerun()


def _times() -> str:
    """Asks for a cron expression, and says when it holds next or why it never does."""
    typed = st.text_input("Times (a cron expression, in UTC)", "30 2 * * 1", key="cron", help="Minute, hour, day of month, month, day of week.")
    try:
        times = next_times(typed or "", datetime.now(UTC), SHOWN_TIMES)
    except BadInput as error:
        st.error(sentence(error), icon=":material/error:")
    else:
        st.caption("Next: " + " · ".join(moment(at) for at in times))
    return typed or ""


def _files() -> str:
    """Asks for a prefix in the object store."""
    typed = st.text_input("Folder in the object store", key="prefix", placeholder="incoming/", help="What lies there already starts nothing.")
    st.caption("Each new or changed object whose key begins so starts a run. It is looked for every five seconds.")
    return typed or ""


def _told_of_events(pipeline_name: str, spec: PipelineSpec) -> None:
    """What another program publishes to start a run; there is nothing to add."""
    needed = {p.name: p.default for p in spec.parameters if p.required or p.default is not None}
    data = {"pipeline": pipeline_name, "parameters": needed}
    st.text(f"A program that may publish events starts a run with one of the type {EventType.PIPELINE_TRIGGER_RECEIVED}. Nothing has to be added here.")
    st.code(json.dumps({"type": EventType.PIPELINE_TRIGGER_RECEIVED, "user_id": me().user.id, "data": data}, indent=2, ensure_ascii=False), language="json")
    st.caption("It runs in the name of the event's user, with their rights. One event starts one run, however often it arrives.")
