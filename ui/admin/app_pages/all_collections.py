"""Everybody's collections: what each holds, counted when the page is drawn."""

import streamlit as st

from ui.admin.bridge import ask, console
from ui.admin.frame import ago, cursor, nothing, pager, size


@st.dialog("New collection")
def create() -> None:
    """A form for a collection of somebody's."""
    with st.form("new-collection", border=False):
        owner = st.text_input("Of", key="new_owner", placeholder="the whole name")
        name = st.text_input("Name", key="new_name", max_chars=100)
        chars = st.number_input("Characters of a chunk (empty: the usual)", 200, 4000, None, key="new_chars", help="For good: it can't be changed later.")
        offered = ask(console().versions.models)
        model = st.selectbox(
            "Embedding model", offered, accept_new_options=True, key="new_model", help="It is pinned to it; a version with another can be made later."
        )
        if st.form_submit_button("Create", type="primary"):
            made = ask(console().collections.create, owner.strip(), name.strip(), chars, model)
            st.switch_page("app_pages/collection.py", query_params={"collection": made.id})


if st.button("New collection", icon=":material/add:", key="create"):
    create()
page = ask(console().collections.every, cursor("collections"))
if not page.items:
    nothing("There is no collection yet.", then="A first upload in the chat makes one.", icon=":material/library_books:")
else:
    rows = [
        {
            "Open": f"collection?collection={held.collection.id}",
            "Collection": held.collection.name,
            "Of": held.owner,
            "Documents": held.documents,
            "Chunks": held.chunks,
            "Failed": held.failed,
            "Orphans": held.orphans,
            "Size": size(held.size_bytes),
            "Last ingest": ago(held.last_ingest),
            "Model": held.collection.embedding_model,
            "Dimensions": held.collection.dimensions,
            "Version": held.collection.version,
        }
        for held in page.items
    ]
    st.dataframe(rows, hide_index=True, column_config={"Open": st.column_config.LinkColumn(display_text="open", width="small")}, key="collection-list")
    pager(page, "collections")
