"""One collection: what it is made with, its documents, and its deletion."""

import streamlit as st

from ui.admin.bridge import ask, console
from ui.admin.frame import ago, cursor, deleting, nothing, pager, size

collections = console().collections
st.page_link("app_pages/all_collections.py", label="All collections", icon=":material/arrow_back:")


def one(collection_id: str) -> None:
    """A collection that was opened."""
    held = ask(collections.one, collection_id)
    made = held.collection
    st.text(f"{made.name}, of {held.owner}")
    st.caption(f"made {ago(made.created_at)}")
    st.code(made.id, language=None)
    with st.container(horizontal=True):
        st.metric("Documents", f"{held.documents:,}", border=True)
        st.metric("Chunks", f"{held.chunks:,}", border=True, help=f"{held.live_chunks:,} of them are searched.")
        st.metric("Failed", f"{held.failed:,}", border=True)
        st.metric("Originals", size(held.size_bytes), border=True)
    st.text(f"Model {made.embedding_model}, {made.dimensions} dimensions; chunker {made.chunker}; version {made.version}; last ingest {ago(held.last_ingest)}")
    deleting(
        "delete-collection",
        "Delete",
        what=f"a collection of {held.owner}",
        goes={"documents": held.documents, "chunks": held.chunks},
        act=lambda: ask(collections.delete, made.id),
    )
    page = ask(collections.documents, made.id, cursor("documents"))
    if not page.items:
        nothing("There is no document in it.", then="Its owner adds some in the chat.")
        return
    rows = [
        {
            "Title": d.title,
            "State": d.status.value,
            "Chunks": d.chunks,
            "Size": size(d.size_bytes),
            "Ingested": ago(d.ingested_at),
            "Version": d.version,
            "Id": d.id,
        }
        for d in page.items
    ]
    st.dataframe(rows, hide_index=True, key="document-list")
    pager(page, "documents")
    st.caption("That an admin looked at these documents is noted in the audit log.")


if collection_id := st.query_params.get("collection", ""):
    one(collection_id)
else:
    nothing("No collection is chosen.", then="Open one from the list.", icon=":material/library_books:")
