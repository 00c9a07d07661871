"""Whether all is well."""

import streamlit as st

from ui.admin.bridge import ask, console
from ui.admin.frame import live


@live(5)
def health() -> None:
    """Every part of the house, asked again every few seconds."""
    st.dataframe(
        [{"Part": p.part, "State": "works" if p.ready else "does not work", "Detail": p.detail} for p in ask(console().overview.health)], hide_index=True
    )


health()
