"""Whether all is well: the parts, the traffic, the queue, the storage, the last errors, the backups."""

import streamlit as st

from core.console.overview import Now
from ui.admin.bridge import ask, console
from ui.admin.frame import ago, live, nothing, size

REFRESH_S = 15
STAGES = {
    "stt": "heard", "embed": "question embedded", "dense": "searched by meaning", "lexical": "searched by words", "fuse": "fused", "load": "passages read",
    "rerank": "reranked", "queue": "waited for a place", "first_token": "first word", "writing": "written", "whole": "whole answer",
    "tts_ttfb": "first sound",
}  # fmt: skip


def health(now: Now) -> None:
    """Every part; what doesn't work stands above."""
    red = [p for p in now.health if not p.ready]
    for part in red:
        st.error(f"{part.part}: {part.detail}", icon=":material/error:")
    if not red:
        st.success(f"All {len(now.health)} parts work.", icon=":material/check_circle:")
    rows = [
        {"Part": p.part, "State": "works" if p.ready else "does not work", "By": p.adapter, "Model": p.detail if p.ready else "", "Answers in ms": p.ms}
        for p in now.health
    ]
    st.dataframe(rows, hide_index=True, height="content", key="health")


def figures(now: Now) -> None:
    """The house in four figures."""
    today = now.days[-1][1]
    waiting = sum(q.waiting_premium + q.waiting_standard for q in now.queues.values())
    row = st.container(horizontal=True)
    row.metric("Answers being written", now.open_answers, border=True)
    row.metric("Waiting for a model", waiting, border=True)
    row.metric("Requests today", f"{today.requests:,}", border=True)
    row.metric("Tokens today", f"{today.tokens:,}", border=True)


def traffic(now: Now) -> None:
    """The last 30 days, by day in UTC."""
    if not any(used.requests for _, used in now.days):
        return
    rows = [{"day": day.date(), "requests": used.requests, "tokens": used.tokens} for day, used in now.days]
    left, right = st.columns(2)
    left.caption("Requests by day")
    left.bar_chart(rows, x="day", y="requests", x_label="", y_label="", height=160)
    right.caption("Tokens by day")
    right.bar_chart(rows, x="day", y="tokens", x_label="", y_label="", height=160)


def latency(now: Now) -> None:
    """Where the time of the last day's answers went."""
    if not now.latency:
        nothing("Nobody has asked anything in the last 24 hours.", icon=":material/timer:")
        return
    rows = [{"Stage": STAGES.get(p.stage, p.stage), "p50 ms": p.p50_ms, "p95 ms": p.p95_ms, "Answers": p.count} for p in now.latency]
    numbers = {name: st.column_config.NumberColumn(format="%.1f") for name in ("p50 ms", "p95 ms")}
    st.dataframe(rows, hide_index=True, column_config=numbers, key="latency")


def queues(now: Now) -> None:
    """The lanes in front of every model, here or elsewhere, and who is next in them."""
    local = now.local.models.values() if now.local else ()
    rows = [
        {
            "Lane": lane,
            "Serving": queue.serving,
            "Premium waiting": queue.waiting_premium,
            "Standard waiting": queue.waiting_standard,
            "Models": ", ".join(r.model for r in local if r.lane == lane),
        }
        for lane, queue in now.queues.items()
    ]
    narrow = {name: st.column_config.NumberColumn(width="small") for name in ("Serving", "Premium waiting", "Standard waiting")}
    st.dataframe(rows, hide_index=True, column_config=narrow, key="queues")
    if now.local is None:
        st.caption("No model runs here, or the inference process doesn't answer.")
    else:
        st.caption(f"The inference process holds {size(now.local.resident_bytes)}; its models may use {now.local.threads} threads.")
    standing = [
        {
            "Lane": lane,
            "Position": s.position,
            "Priority": s.priority.value,
            "Waits": f"{s.waited_s:,.0f} s",
            "About to come": f"in {s.eta_s:,.0f} s",
        }
        for lane, queue in now.queues.items()
        for s in queue.first
    ]
    if standing:
        st.dataframe(standing, hide_index=True, key="standing")


def storage(now: Now) -> None:
    """What takes how much room."""
    st.dataframe([{"Kind": kind, "Size": size(count)} for kind, count in now.storage.items()], hide_index=True, key="storage")
    st.caption(f"{size(now.free_bytes)} are free on that disk.")


def troubles(now: Now) -> None:
    """The last errors, which the log has with their traces."""
    if not now.troubles:
        nothing("No error was logged.", icon=":material/task_alt:")
        return
    rows = [{"When": ago(t.at), "What": t.what, "Where": t.where} for t in now.troubles]
    st.dataframe(rows, hide_index=True, column_config={"What": st.column_config.TextColumn(width="large")}, key="troubles")


@live(REFRESH_S)
def overview() -> None:
    """All of it, from one answer of the house."""
    now = ask(console().overview.now)
    health(now)
    figures(now)
    traffic(now)
    left, right = st.columns(2)
    with left:
        st.subheader("Latency, last 24 hours")
        latency(now)
        st.subheader("Storage")
        storage(now)
    with right:
        st.subheader("Models and their lanes")
        queues(now)
        st.subheader("Last errors")
        troubles(now)
    state = ask(console().keeping.backup_state)
    found = ask(console().keeping.backups)
    said = f"The last backup was made {ago(found[0].made_at)}." if found else "There is no backup."
    st.caption(said + (f" The next comes {ago(state.next_at)}." if state.next_at else " None is made on schedule (HEARTH_BACKUP_EVERY_H)."))


overview()
