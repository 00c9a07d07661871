"""Who did what to whose things, and when."""

import json
from datetime import UTC, date, datetime, time, timedelta

import streamlit as st

from core.audit import Act
from core.console.logbook import Asked
from ui.admin.bridge import ask, console
from ui.admin.downloads import audit_address
from ui.admin.frame import ago, cursor, from_the_start, nothing, pager


def midnight(day: date | None, *, after_days: int = 0) -> datetime | None:
    """When a day begins, in UTC; None for no day."""
    return datetime.combine(day, time(), UTC) + timedelta(days=after_days) if day else None


with st.container(horizontal=True, vertical_alignment="bottom"):
    who = st.text_input(
        "Who", key="audit_who", bind="query-params", on_change=from_the_start, args=("audit",), placeholder="the whole name", icon=":material/person:"
    )
    act = st.selectbox(
        "What",
        [None, *Act],
        key="audit_act",
        bind="query-params",
        on_change=from_the_start,
        args=("audit",),
        format_func=lambda a: a.value if a else "everything",
    )
    since = st.date_input("From", None, key="audit_from", bind="query-params", on_change=from_the_start, args=("audit",), help="Days in UTC.")
    until = st.date_input("To", None, key="audit_to", bind="query-params", on_change=from_the_start, args=("audit",), help="That day too.")
asked = Asked(who.strip(), act, midnight(since), midnight(until, after_days=1))
page = ask(console().logbook.entries, asked, cursor("audit"))
if page.items:
    st.dataframe(
        [
            {
                "When": ago(e.at),
                "Who": e.actor or "the house",
                "What": e.act.value,
                "Of what": e.subject,
                "Detail": json.dumps(dict(e.detail)) if e.detail else "",
                "At": e.at,
            }
            for e in page.items
        ],
        hide_index=True,
        column_config={"At": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss")},
        key="entries",
    )
    pager(page, "audit")
    with st.container(horizontal=True):
        st.link_button("Export as CSV", audit_address("csv", asked), icon=":material/download:")
        st.link_button("Export as JSON lines", audit_address("jsonl", asked), icon=":material/download:")
    st.caption("An export has every row that is asked for above, and is itself a row.")
else:
    nothing("Nothing was noted that is like that.", then="Widen the question." if asked != Asked() else "", icon=":material/history:")
