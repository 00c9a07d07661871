"""What is kept how long, what the next sweep removes, what pins hold, and what the last sweeps did."""

from datetime import timedelta

import streamlit as st

from core.console.leftovers import Leftovers
from core.retention import Policy, Sweep
from ui.admin.bridge import ask, console
from ui.admin.frame import ago, cursor, deleting, live, nothing, pager, size, underway

keeping = console().keeping


def kept(policy: Policy) -> str:
    """For how long, in words."""
    if policy.keep is None:
        return "until somebody deletes it"
    if not policy.keep:
        return "not at all"
    return f"{policy.keep.days} days" if policy.keep >= timedelta(days=1) else f"{policy.keep.total_seconds() / 3600:.0f} hour"


def outcome(sweep: Sweep) -> str:
    """What a sweep removed, or what became of it."""
    gone = ", ".join(f"{count:,} {kind}" for kind, count in sweep.removed.items() if count) or "nothing"
    if sweep.error:
        return f"{gone}. {sweep.error}"
    return gone if sweep.ended_at else f"{gone} so far, still at work"


@live(30)
def rules() -> None:
    """The policies beside what the next sweep would remove."""
    found = ask(keeping.rules)
    st.caption(f"The next sweep of everything comes {ago(found.due.at)}. Sound and deleted originals are swept every minute.")
    counts = found.due.counts
    rows = [
        {"What": p.kind, "Kept": kept(p), "The next sweep removes": f"{counts[p.kind]:,}" if p.kind in counts else "–", "Note": p.note} for p in found.policies
    ]
    st.table(rows, hide_index=True)


rules()
due = {kind: count for kind, count in ask(keeping.rules).due.counts.items() if count}
deleting("sweep", "Sweep now", what="everything that is past its time", goes=due or ["nothing is past its time now"], act=lambda: ask(keeping.sweep))

st.subheader("Pinned conversations", help="A pin of its owner's keeps a conversation beyond its time, but not its sound. What is in it is theirs alone.")
pins = ask(keeping.pins, cursor("pins"))
if pins.items:
    st.dataframe(
        [{"Of": p.username, "Messages kept by the pin": p.messages, "Oldest of them": ago(p.oldest_at), "Conversation": p.conversation_id} for p in pins.items],
        hide_index=True,
        key="pinned",
    )
    pager(pins, "pins")
else:
    nothing("Nobody has pinned a conversation.", icon=":material/keep:")


@live(5)
def sweeps() -> None:
    """The receipts; a sweep at work shows how far it is."""
    page = ask(keeping.sweeps, cursor("sweeps"))
    if not page.items:
        nothing("There has been no sweep yet.", then="The first comes within a minute of the start of `hearth up`.", icon=":material/mop:")
        return
    rows = [
        {
            "Started": ago(s.started_at),
            "Removed": outcome(s),
            "Asked for by": s.by or "the house",
            "Of": "everything" if s.whole else "sound and originals",
            "Took": f"{(s.ended_at - s.started_at).total_seconds():.1f} s" if s.ended_at else "",
            "At": s.started_at,
        }
        for s in page.items
    ]
    st.dataframe(rows, hide_index=True, column_config={"At": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm:ss")}, key="receipts")
    pager(page, "sweeps")


st.subheader("Sweeps")
sweeps()


def leftovers(now: Leftovers) -> None:
    """What a look through the object store has found."""
    count, count_bytes = now.found
    st.text(f"{now.looked_at:,} objects were looked at {ago(now.at)}; no row names {count:,} of them ({size(count_bytes)}).")
    if now.dropped[0]:
        st.text(f"{now.dropped[0]:,} of these are removed.")
    if now.problem:
        st.error(now.problem, icon=":material/error:")
    elif now.stopped:
        st.info("The look was stopped before it came to its end.", icon=":material/stop_circle:")
    if now.over and now.first:
        st.dataframe([{"Of": kind, "Objects": n, "Size": size(b)} for kind, (n, b) in now.kinds.items()], hide_index=True, key="leftover-kinds")
        rows = [{"Object": stored.uri, "Bytes": stored.size_bytes, "Put there": ago(stored.put_at)} for stored in now.first]
        st.dataframe(rows, hide_index=True, key="leftover-list")
        if count > len(rows):
            st.caption(f"The first {len(rows)} of {count:,}.")


st.subheader(
    "Objects that no row names",
    help="A crash can leave a file in the object store whose row was never written. What is younger than an hour is not counted: its row may be on its way. "
    "What other programs have put there is theirs, and not looked at.",
)
room = console().leftovers
found = underway("stop-leftovers", lambda: ask(room.found), leftovers, lambda: ask(room.stop))
if found is None or found.over:
    if st.button("Look for them", icon=":material/search:", key="look-leftovers"):
        ask(room.look)
        st.rerun()
    if found and found.first:
        count, count_bytes = found.found
        goes = [f"{count:,} objects, {size(count_bytes)}", "they are looked for again before they are deleted"]
        deleting("leftovers", "Delete them", what="the objects that no row names", goes=goes, act=lambda: ask(room.drop))
