"""One collection: what it is made with, its documents and chunks, its map, its near-duplicates, its orphans, its versions, its end."""

import tempfile
from pathlib import Path

import pandas as pd
import plotly.express as px
import streamlit as st

from core.console.collections import Holdings
from core.rag.model import CollectionVersion, VersionState
from ui.admin.bridge import ask, console
from ui.admin.downloads import collection_address, original_address
from ui.admin.frame import ago, cursor, deleting, from_the_start, live, nothing, pager, size

collections, kept = console().collections, console().versions
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


def versions(held: Holdings) -> None:
    """Its vectors by the model that made them: one version is searched, another is made beside it, compared, served, or removed."""
    collection_id, searched = held.collection.id, held.collection.version
    listed(collection_id, searched)
    others = [v for v in ask(kept.of, collection_id) if v.version != searched]
    if others:
        chosen = st.selectbox("Another version", others, format_func=lambda v: f"version {v.version}, {v.embedding_model}", key="another")
        beside(held, chosen)
    with st.container(border=True):
        st.text("Re-embed every passage with another model, in the background. What is searched stays as it is until you let the new version be searched.")
        model = st.selectbox("Model", ask(kept.models), index=None, accept_new_options=True, placeholder="Choose one, or write its name", key="model")
        if st.button("Re-embed", icon=":material/model_training:", key="re-embed", disabled=not model):
            begun = ask(kept.begin, collection_id, model or "")
            st.toast(f"Version {begun.version} is being made.", icon=":material/check:")
            st.rerun()


@live(2)
def listed(collection_id: str, searched: int) -> None:
    """All versions, and how far the one has come that is being made."""
    found = ask(kept.of, collection_id)
    st.dataframe(
        [
            {
                "Version": v.version,
                "State": "searched" if v.version == searched else v.state.value,
                "Model": v.embedding_model,
                "Dimensions": v.dimensions,
                "Made": ago(v.made_at),
                "Note": v.error,
            }
            for v in found
        ],
        hide_index=True,
        key="version-list",
    )
    for version in found:
        if version.state is VersionState.BUILDING:
            st.progress(version.done / max(1, version.total), f"Version {version.version}: {version.done:,} of {version.total:,} passages")


def beside(held: Holdings, other: CollectionVersion) -> None:
    """What can be done with a version that is not searched."""
    collection_id, searched, number = held.collection.id, held.collection.version, other.version
    if st.toggle("Compare it with the one that is searched", key="compare-versions") and other.state is not VersionState.BUILDING:
        found = ask(kept.compare, collection_id, searched, number)
        rows = [(searched, found.first), (number, found.second)]
        st.dataframe(
            [{"Version": n, "Found among the first 5": f"{f.recall:.0%}", "Mean reciprocal rank": round(f.mrr, 3)} for n, f in rows],
            hide_index=True,
            key="compared",
        )
        asked = "questions of golden sets" if found.golden else "first sentences of passages, each of which should find its own; golden sets would say more"
        st.caption(f"By meaning alone, {found.questions:,} {asked}, among {found.passages:,} passages.")
    with st.container(horizontal=True):
        if other.state is VersionState.FAILED:
            if st.button("Go on with it", icon=":material/replay:", key="again"):
                ask(kept.again, collection_id, number)
                st.rerun()
        elif st.button(f"Let version {number} be searched", icon=":material/swap_horiz:", type="primary", key="serve"):
            ask(kept.serve, collection_id, number)
            st.toast(f"Version {number} is searched from now on; version {searched} is kept to go back to.", icon=":material/check:")
            st.rerun()
    deleting(
        "drop-version",
        "Remove this version",
        what=f"version {number} of {held.collection.name}",
        goes=[f"the vectors that {other.embedding_model} made; the documents and the version that is searched stay"],
        act=lambda: ask(kept.drop, collection_id, number),
    )


if collection_id := st.query_params.get("collection", ""):
    held = ask(collections.one, collection_id)
    head(held)
    views = {"documents": documents, "add": adding, "map": landscape, "duplicates": duplicates, "orphans": orphans, "versions": versions}
    view = st.segmented_control("View", list(views), default="documents", key="view", bind="query-params", label_visibility="collapsed")
    views[view or "documents"](held)
else:
    nothing("No collection is chosen.", then="Open one from the list.", icon=":material/library_books:")
