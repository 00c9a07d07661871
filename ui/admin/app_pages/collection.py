"""One collection: what it is made with, its documents and chunks, its map, its near-duplicates, its orphans, its end."""

import tempfile
from pathlib import Path

import pandas as pd
import plotly.express as px
import streamlit as st

from core.console.collections import Holdings
from core.console.folders import Kind, Sync
from ui.admin.bridge import ask, console
from ui.admin.downloads import collection_address, original_address
from ui.admin.frame import ago, cursor, deleting, from_the_start, live, nothing, pager, shown, size, underway

collections, folders = console().collections, console().folders
st.page_link("app_pages/all_collections.py", label="All collections", icon=":material/arrow_back:")


def head(held: Holdings) -> None:
    """What it is made with, and its counts."""
    made = held.collection
    st.subheader(made.name, divider="gray")
    st.caption(f"of {held.owner} · made {ago(made.created_at)} · {made.id}")
    with st.container(horizontal=True):
        st.metric("Documents", f"{held.documents:,}", border=True)
        st.metric("Chunks", f"{held.chunks:,}", border=True, help=f"{held.live_chunks:,} of them are searched.")
        st.metric("Failed", f"{held.failed:,}", border=True)
        st.metric("Originals", size(held.size_bytes), border=True)
    st.text(f"Model {made.embedding_model}, {made.dimensions} dimensions; chunker {made.chunker}; version {made.version}; last ingest {ago(held.last_ingest)}")
    with st.container(horizontal=True):
        st.link_button("Searched rows as JSON lines", collection_address(made.id, "jsonl"), icon=":material/download:")
        st.link_button("As Parquet", collection_address(made.id, "parquet"), icon=":material/download:")
    deleting(
        "delete-collection",
        "Delete",
        what=f"a collection of {held.owner}",
        goes={"documents": held.documents, "chunks": held.chunks},
        act=lambda: ask(collections.delete, made.id),
    )


def documents(held: Holdings) -> None:
    """Its documents, and of one its chunks."""
    page = ask(collections.documents, held.collection.id, cursor("documents"))
    if not page.items:
        nothing("There is no document in it.", then="Add some above, or its owner does in the chat.")
        return
    rows = [
        {
            "Title": d.title,
            "State": d.status.value,
            "Chunks": d.chunks,
            "Size": size(d.size_bytes),
            "Ingested": ago(d.ingested_at),
            "Version": d.version,
            "Original": original_address(d.id),
            "Id": d.id,
        }
        for d in page.items
    ]
    st.dataframe(rows, hide_index=True, column_config={"Original": st.column_config.LinkColumn(display_text="download")}, key="document-list")
    pager(page, "documents")
    titles = {d.id: d.title for d in page.items}
    chosen = st.selectbox(
        "Show the chunks of",
        [None, *titles],
        format_func=lambda i: titles.get(i, "no document") if i else "no document",
        key="document",
        on_change=from_the_start,
        args=("chunks",),
    )
    if chosen:
        parts = ask(collections.chunks, held.collection.id, chosen, cursor("chunks"))
        st.dataframe(
            [{"Position": c.metadata.position, "Page": c.metadata.page, "Heading": c.metadata.heading, "Passage": c.content} for c in parts.items],
            hide_index=True,
            column_config={"Passage": st.column_config.TextColumn(width="large")},
            key="chunk-list",
        )
        pager(parts, "chunks")
    st.caption("That an admin looked at these documents is noted in the audit log.")


@live(2)
def jobs(collection_id: str) -> None:
    """What is on its way."""
    page = ask(collections.jobs, collection_id)
    for job in page.items:
        state = f"place {job.position} in the queue" if job.position else "stalled" if job.stalled else job.stage.value
        st.progress(min(1.0, job.percent / 100), f"{job.title}: {state}{f', about {job.eta_s:.0f} s left' if job.eta_s else ''}")


def adding(held: Holdings) -> None:
    """Files into it, as its owner would add them."""
    files = st.file_uploader("Add files or zip archives", accept_multiple_files=True, key="files")
    if files and st.button("Take in", type="primary", icon=":material/upload:", key="take-in"):
        with tempfile.TemporaryDirectory(prefix="hearth-console-", ignore_cleanup_errors=True) as scratch:
            for number, file in enumerate(files):
                path = Path(scratch) / str(number)
                path.write_bytes(file.getbuffer())
                ask(collections.upload, held.collection.id, file.name, path)
        st.toast(f"{len(files)} taken in.", icon=":material/check:")
    jobs(held.collection.id)


def folder(held: Holdings) -> None:
    """A folder of the server against it."""
    place = ask(folders.place)
    if not place.inside:
        nothing(
            "No folder of the server may be read.",
            then="Set HEARTH_SYNC_FOLDERS to those that may: none by default, because whoever owns a collection can read what is taken into it.",
            icon=":material/folder_off:",
        )
        return
    with shown():
        place = ask(folders.place, st.query_params.get("folder", ""))
    around = [place.folder, place.above or "all folders"] if place.folder else []
    st.selectbox("Folder", [*around, *place.inside], 0 if around else None, placeholder="Choose one", key="place", on_change=_go_to, accept_new_options=True)
    collection_id = held.collection.id
    now = underway("stop-sync", lambda: ask(folders.sync, collection_id), sync, lambda: ask(folders.stop, collection_id))
    if (now is None or now.over) and place.folder and st.button("Look what is new", icon=":material/difference:", key="compare"):
        ask(folders.compare, collection_id, place.folder)
        st.rerun()
    if now is not None and now.over and now.compared and place.folder in ("", str(now.folder)):
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
        ask(folders.take_in, collection_id)
        st.rerun()
    if vanished and vanished == now.counts.total():
        st.warning("The folder is empty: is its disk there?", icon=":material/hard_drive:")
    if vanished:
        deleting(
            "delete-vanished",
            f"Delete {vanished:,} that have vanished",
            what=f"documents of {held.owner} that are not in the folder any more",
            goes={"documents": vanished},
            act=lambda: ask(folders.delete_vanished, collection_id),
        )
    there = [kind.value for kind in Kind if now.counts[kind]]
    kind = st.pills("Show", there, key="what", bind="query-params", on_change=from_the_start, args=("synced",))
    page = ask(folders.items, collection_id, Kind(kind) if kind else None, cursor("synced"))
    if page.items:
        rows = [{"File": i.name, "Is": i.kind.value, "Size": size(i.size_bytes) if i.size_bytes else "", "Why": i.why} for i in page.items]
        st.dataframe(rows, hide_index=True, column_config={"Why": st.column_config.TextColumn(width="large")}, key="synced-list")
        pager(page, "synced")


def landscape(held: Holdings) -> None:
    """Its passages as points: near means alike."""
    found = ask(collections.landscape, held.collection.id)
    if len(found.passages) < 3:
        nothing("There are too few passages for a map.", icon=":material/map:")
        return
    titles, texts = [p.document for p in found.passages], [p.content[:80] for p in found.passages]
    frame = pd.DataFrame({"x": found.points[:, 0], "y": found.points[:, 1], "document": titles, "passage": texts})
    many = frame["document"].nunique() > 20
    figure = px.scatter(frame, x="x", y="y", color=None if many else "document", hover_name="passage", render_mode="webgl", height=520)
    figure.update_layout(xaxis_title=None, yaxis_title=None, margin={"l": 0, "r": 0, "t": 0, "b": 0})
    if many:
        figure.update_traces(marker={"color": pd.factorize(frame["document"])[0], "colorscale": "Turbo", "size": 4})
    event = st.plotly_chart(figure, on_select="rerun", selection_mode=("lasso", "box", "points"), key="map")
    st.caption(f"{len(found.passages):,} of {held.live_chunks:,} passages, on the two axes along which they differ most. Circle some to read them.")
    picked = [found.passages[n] for n in _picked(event, many, frame)][:200]
    if picked:
        st.dataframe([{"Document": p.document, "Passage": p.content, "Chunk": p.chunk_id} for p in picked], hide_index=True, key="picked")


def _picked(event: object, many: bool, frame: pd.DataFrame) -> list[int]:
    """The places of the selected points; with a colour per document each document is a trace of its own."""
    points = getattr(getattr(event, "selection", None), "points", [])
    if many:
        return [int(p["point_index"]) for p in points]
    order = {n: list(group.index) for n, (_, group) in enumerate(frame.groupby("document", sort=False))}
    return [int(order[p["curve_number"]][p["point_index"]]) for p in points]


def duplicates(held: Holdings) -> None:
    """Pairs that say nearly the same."""
    threshold = st.slider("Alike from", 0.5, 1.0, 0.95, 0.01, key="alike", bind="query-params")
    if not st.toggle("Compare", key="compare", help="Every passage with every other; takes a moment."):
        return
    compared, pairs = ask(collections.duplicates, held.collection.id, threshold)
    st.caption(f"{compared:,} of {held.live_chunks:,} passages were compared with each other.")
    if not pairs:
        nothing("No two passages are so much alike.", icon=":material/content_copy:")
        return
    rows = [
        {"Alike": round(similarity, 3), "One": one.content, "In": one.document, "Other": other.content, "In too": other.document}
        for one, other, similarity in pairs
    ]
    st.dataframe(rows, hide_index=True, key="pairs")


def orphans(held: Holdings) -> None:
    """What belongs to nothing any more."""
    found = ask(collections.orphans, held.collection.id)
    every = {**found.removable, **found.broken}
    st.caption(f"The originals of {found.originals:,} documents were looked for.")
    if not any(every.values()):
        nothing("There are no orphans.", icon=":material/task_alt:")
        return
    st.dataframe([{"Kind": kind, "How many": count} for kind, count in every.items() if count], hide_index=True, key="orphan-list")
    if any(found.broken.values()):
        st.warning("What lacks its original or its chunks can't be repaired: upload it again, or delete it.", icon=":material/broken_image:")
    if any(found.removable.values()):
        deleting("repair", "Repair", what="what belongs to nothing any more", goes=found.removable, act=lambda: ask(collections.repair, held.collection.id))


if collection_id := st.query_params.get("collection", ""):
    held = ask(collections.one, collection_id)
    head(held)
    view = st.segmented_control(
        "View",
        ["documents", "add", "folder", "map", "duplicates", "orphans"],
        default="documents",
        key="view",
        bind="query-params",
        label_visibility="collapsed",
    )
    {"add": adding, "folder": folder, "map": landscape, "duplicates": duplicates, "orphans": orphans}.get(view or "", documents)(held)
else:
    nothing("No collection is chosen.", then="Open one from the list.", icon=":material/library_books:")
