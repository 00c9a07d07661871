"""A collection's documents, and the chunks of one."""

import streamlit as st

from core.console.collections import Holdings
from ui.admin.bridge import ask, console
from ui.admin.downloads import original_address
from ui.admin.frame import ago, cursor, from_the_start, nothing, pager, size


def documents(held: Holdings) -> None:
    """Its documents, and of one its chunks."""
    page = ask(console().collections.documents, held.collection.id, cursor("documents"))
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
        parts = ask(console().collections.chunks, held.collection.id, chosen, cursor("chunks"))
        st.dataframe(
            [{"Position": c.metadata.position, "Page": c.metadata.page, "Heading": c.metadata.heading, "Passage": c.content} for c in parts.items],
            hide_index=True,
            column_config={"Passage": st.column_config.TextColumn(width="large")},
            key="chunk-list",
        )
        pager(parts, "chunks")
    st.caption("That an admin looked at these documents is noted in the audit log.")
