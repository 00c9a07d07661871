"""Every setting the house runs with: its value, where that comes from, and what it means."""

import streamlit as st

from ui.admin.bridge import ask, console
from ui.admin.frame import nothing

ROW_HEIGHT_PX = 92  # room for a meaning of four lines
WIDTH_PX = {"Setting": 240, "Value": 130, "From": 95, "Meaning": 350}

with st.container(horizontal=True, vertical_alignment="bottom"):
    wanted = st.text_input("Find", key="setting", bind="query-params", placeholder="a name, or a word of the meaning", icon=":material/search:")
    changed = st.toggle("Only what is set", key="settings_set", bind="query-params", help="By a flag or in the environment, not by default.")
every = ask(console().logbook.settings)
found = [s for s in every if wanted.casefold() in f"{s.name} {s.meaning}".casefold() and not (changed and s.source == "default")]
st.caption(f"{len(found)} of {len(every)} settings. They are read when Hearth starts: change the variable, then restart it.")
if found:
    st.dataframe(
        [{"Setting": s.name, "Value": s.value, "From": s.source, "Meaning": s.meaning} for s in found],
        hide_index=True,
        column_config={name: st.column_config.TextColumn(width=width) for name, width in WIDTH_PX.items()},
        row_height=ROW_HEIGHT_PX,
        height="content",
        key="settings",
    )
else:
    nothing("No setting is like that.", then="Clear the search.", icon=":material/search_off:")
