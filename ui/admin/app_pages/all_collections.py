"""Everybody's collections: what each holds, counted when the page is drawn."""

import streamlit as st

from ui.admin.bridge import ask, console
from ui.admin.frame import ago, cursor, nothing, pager, size

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
