"""The durable stream of what happened: filtered, one turn replayed, and what could not be recorded."""

import json

import streamlit as st

from core.events import EventType, RecordedEvent
from ui.admin.bridge import ask, console
from ui.admin.frame import ago, cursor, from_the_start, nothing, pager

reading = console().reading


def row(recorded: RecordedEvent) -> dict[str, object]:
    """An event in a table."""
    event = recorded.event
    return {
        "Seq": recorded.seq,
        "When": ago(event.at),
        "At": event.at,
        "Type": event.type.value,
        "Of": event.aggregate_id,
        "User": event.user_id,
        "Data": json.dumps(dict(event.data)),
    }


def turn(aggregate_id: str, message_id: str) -> None:
    """The events of one turn, in their order."""
    found = ask(reading.turn, aggregate_id, message_id)
    st.page_link("app_pages/events.py", label="All events", icon=":material/arrow_back:")
    st.subheader("One turn", divider="gray")
    if not found:
        nothing("No events are kept of that turn.", icon=":material/timeline:")
        return
    begun = found[0].event.at
    rows = [row(r) | {"When": f"+{(r.event.at - begun).total_seconds() * 1000:.1f} ms"} for r in found]
    st.dataframe(rows, hide_index=True, column_config=COLUMNS, key="turn-events")


COLUMNS = {
    "At": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss.SSS"),
    "Seq": st.column_config.NumberColumn(format="%d"),
    "Data": st.column_config.TextColumn(width="large"),
}


def stream() -> None:
    """The log, latest first."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        of = st.text_input(
            "Of",
            key="of",
            bind="query-params",
            on_change=from_the_start,
            args=("events",),
            placeholder="id of a conversation or session",
            icon=":material/tag:",
        )
        who = st.text_input(
            "User", key="by", bind="query-params", on_change=from_the_start, args=("events",), placeholder="the whole name", icon=":material/person:"
        )
        kind = st.selectbox(
            "Type",
            [None, *EventType],
            key="type",
            bind="query-params",
            on_change=from_the_start,
            args=("events",),
            format_func=lambda k: k.value if k else "every type",
        )
    page = ask(reading.events, aggregate_id=of.strip(), username=who.strip(), kind=kind, cursor=cursor("events"))
    if page.items:
        st.dataframe([row(r) for r in page.items], hide_index=True, column_config=COLUMNS, key="stream")
        pager(page, "events")
    else:
        nothing("Nothing like that has happened.", icon=":material/timeline:")


def dead() -> None:
    """Events whose effect was given up."""
    page = ask(reading.dead_letters, cursor("dead"))
    if not page.items:
        nothing("There is no dead letter: every event that came was recorded.", icon=":material/mark_email_read:")
        return
    rows = [row(RecordedEvent(d.seq, d.event)) | {"Given up": ago(d.dead_at), "Attempts": d.attempts, "Error": d.error} for d in page.items]
    st.dataframe(rows, hide_index=True, column_config=COLUMNS, column_order=("Seq", "Given up", "Type", "Error", "Attempts", "Of", "Data"), key="dead-list")
    pager(page, "dead")
    if st.button("Try these again", icon=":material/refresh:", key="retry"):
        count = ask(reading.retry, [d.seq for d in page.items])
        st.toast(f"{count} will be tried again.", icon=":material/check:")
        st.rerun()


if turn_id := st.query_params.get("turn", ""):
    turn(st.query_params.get("of", ""), turn_id)
else:
    everything, letters = st.tabs(["Events", "Dead letters"])
    with everything:
        stream()
    with letters:
        dead()
