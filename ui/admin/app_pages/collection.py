"""One collection: what it is made with, its end, and its views."""

from collections.abc import Callable

import streamlit as st

from core.console.collections import Holdings
from ui.admin.bridge import ask, console
from ui.admin.collection_views.documents import documents
from ui.admin.collection_views.landscape import duplicates, landscape
from ui.admin.collection_views.orphans import orphans
from ui.admin.collection_views.taking_in import adding, folder
from ui.admin.collection_views.versions import versions
from ui.admin.downloads import collection_address
from ui.admin.frame import ago, deleting, nothing, size

collections = console().collections
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


if collection_id := st.query_params.get("collection", ""):
    held = ask(collections.one, collection_id)
    head(held)
    views: dict[str, Callable[[Holdings], None]] = {
        "documents": documents,
        "add": adding,
        "folder": folder,
        "map": landscape,
        "duplicates": duplicates,
        "orphans": orphans,
        "versions": versions,
    }
    view = st.segmented_control("View", list(views), default="documents", key="view", bind="query-params", label_visibility="collapsed")
    views[view or "documents"](held)
else:
    nothing("No collection is chosen.", then="Open one from the list.", icon=":material/library_books:")
