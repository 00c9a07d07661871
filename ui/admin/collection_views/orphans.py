"""What of a collection belongs to nothing any more, and what lacks something."""

import streamlit as st

from core.console.collections import Holdings
from ui.admin.bridge import ask, console
from ui.admin.frame import deleting, nothing


def orphans(held: Holdings) -> None:
    """What belongs to nothing any more."""
    found = ask(console().collections.orphans, held.collection.id)
    every = {**found.removable, **found.broken}
    st.caption(f"The originals of {found.originals:,} documents were looked for.")
    if not any(every.values()):
        nothing("There are no orphans.", icon=":material/task_alt:")
        return
    st.dataframe([{"Kind": kind, "How many": count} for kind, count in every.items() if count], hide_index=True, key="orphan-list")
    if any(found.broken.values()):
        st.warning("What lacks its original or its chunks can't be repaired: upload it again, or delete it.", icon=":material/broken_image:")
    if any(found.removable.values()):
        deleting(
            "repair", "Repair", what="what belongs to nothing any more", goes=found.removable, act=lambda: ask(console().collections.repair, held.collection.id)
        )
