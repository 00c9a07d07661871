"""Files and folders into a collection."""

import tempfile
from pathlib import Path

import streamlit as st

from core.console.collections import Holdings
from core.console.folders import Kind, Sync
from ui.admin.bridge import ask, console
from ui.admin.frame import ago, cursor, deleting, from_the_start, live, pager, shown, size, underway


def adding(held: Holdings) -> None:
    """Files into it, as its owner would add them."""
    files = st.file_uploader("Add files or zip archives", accept_multiple_files=True, key="files")
    if files and st.button("Take in", type="primary", icon=":material/upload:", key="take-in"):
        with tempfile.TemporaryDirectory(prefix="hearth-console-", ignore_cleanup_errors=True) as scratch:
            for number, file in enumerate(files):
                path = Path(scratch) / str(number)
                path.write_bytes(file.getbuffer())
                ask(console().collections.upload, held.collection.id, file.name, path)
        st.toast(f"{len(files)} taken in.", icon=":material/check:")
    jobs(held.collection.id)


def folder(held: Holdings) -> None:
    """A folder of the server or of the object store against it."""
    place = start = ask(console().folders.place)
    with shown():
        place = ask(console().folders.place, st.query_params.get("folder", ""))
    around = [place.folder, place.above or "all folders"] if place.folder else []
    st.selectbox("Folder", [*around, *place.inside], 0 if around else None, placeholder="Choose one", key="place", on_change=_go_to, accept_new_options=True)
    if not place.folder:
        st.caption(f"Or type the address of one in the object store, such as {start.store}incoming/.")
    if not start.inside:
        st.caption("Folders of the server are read once HEARTH_SYNC_FOLDERS names them: whoever owns a collection can read what is taken into it.")
    collection_id = held.collection.id
    now = underway("stop-sync", lambda: ask(console().folders.sync, collection_id), sync, lambda: ask(console().folders.stop, collection_id))
    if (now is None or now.over) and place.folder and st.button("Look what is new", icon=":material/difference:", key="compare"):
        ask(console().folders.compare, collection_id, place.folder)
        st.rerun()
    if now is not None and now.over and now.compared and place.folder in ("", now.folder):
        compared(held, now)
    jobs(collection_id)


def _go_to() -> None:
    to = st.session_state["place"]
    st.query_params["folder"] = "" if to == "all folders" else to or ""


def sync(now: Sync) -> None:
    """How far it is, and what has been found."""
    counts = " · ".join(f"{count:,} {kind.value}" for kind in Kind if (count := now.counts[kind]))
    if now.over:
        st.text(f"{now.folder}, {ago(now.at)}: {counts or 'no file'}")
    else:
        st.progress(
            now.done / now.total if now.total else 0.0, f"{now.folder}: {now.doing}, {now.done:,}{f' of {now.total:,}' if now.total else ''} · {counts}"
        )
    if now.problem:
        st.error(now.problem, icon=":material/error:")
    elif now.stopped:
        st.info("It was stopped: what was taken in stays, and looking again finds the rest.", icon=":material/stop_circle:")


def compared(held: Holdings, now: Sync) -> None:
    """Taking it in, deleting what has vanished, and the files."""
    collection_id, vanished = held.collection.id, now.counts[Kind.VANISHED]
    if now.wanted and st.button(f"Take in {now.wanted:,}", type="primary", icon=":material/create_new_folder:", key="take-in-folder"):
        ask(console().folders.take_in, collection_id)
        st.rerun()
    if vanished and vanished == now.counts.total():
        st.warning("The folder is empty: is its disk there?", icon=":material/hard_drive:")
    if vanished:
        deleting(
            "delete-vanished",
            f"Delete {vanished:,} that have vanished",
            what=f"documents of {held.owner} that are not in the folder any more",
            goes={"documents": vanished},
            act=lambda: ask(console().folders.delete_vanished, collection_id),
        )
    there = [kind.value for kind in Kind if now.counts[kind]]
    kind = st.pills("Show", there, key="what", bind="query-params", on_change=from_the_start, args=("synced",))
    page = ask(console().folders.items, collection_id, Kind(kind) if kind else None, cursor("synced"))
    if page.items:
        rows = [{"File": i.name, "Is": i.kind.value, "Size": size(i.size_bytes) if i.size_bytes else "", "Why": i.why} for i in page.items]
        st.dataframe(rows, hide_index=True, column_config={"Why": st.column_config.TextColumn(width="large")}, key="synced-list")
        pager(page, "synced")


@live(2)
def jobs(collection_id: str) -> None:
    """What is on its way."""
    page = ask(console().collections.jobs, collection_id)
    for job in page.items:
        state = f"place {job.position} in the queue" if job.position else "stalled" if job.stalled else job.stage.value
        st.progress(min(1.0, job.percent / 100), f"{job.title}: {state}{f', about {job.eta_s:.0f} s left' if job.eta_s else ''}")
