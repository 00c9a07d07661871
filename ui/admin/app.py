"""The console's script, which Streamlit runs for every visit and every click: who looks, where they can go, and the page they are on."""

import streamlit as st

from ui.admin.bridge import house, me
from ui.admin.frame import receipt, shown

st.set_page_config(page_title="Hearth console", page_icon="🔥", layout="wide")
PAGES = {
    "": [
        st.Page(
            "app_pages/overview.py",
            title="Overview",
            icon=":material/monitor_heart:",
            help="Whether all is well, and what to do where it is not.",
            default=True,
        )
    ],
    "Knowledge": [
        st.Page(
            "app_pages/all_collections.py",
            title="Collections",
            url_path="collections",
            icon=":material/library_books:",
            help="Everybody's collections, counted afresh.",
        ),
        st.Page(
            "app_pages/collection.py",
            title="Collection",
            visibility="hidden",
            icon=":material/menu_book:",
            help="One collection: how it is made, its documents, its end.",
        ),
        st.Page("app_pages/lab.py", title="Retrieval lab", icon=":material/science:", help="What a question finds and why; two settings side by side."),
        st.Page("app_pages/golden.py", title="Golden sets", icon=":material/verified:", help="Questions with the passages that answer them."),
    ],
    "Pipelines": [
        st.Page(
            "app_pages/pipelines.py",
            title="Pipelines",
            icon=":material/account_tree:",
            help="What can be run: definitions with their versions, and starting a run.",
        ),
        st.Page("app_pages/runs.py", title="Runs", icon=":material/play_circle:", help="Every run with its metrics, sorted, filtered and compared."),
        st.Page("app_pages/run.py", title="Run", visibility="hidden", icon=":material/lan:", help="One run: its steps, logs and artifacts."),
        st.Page(
            "app_pages/experiments.py", title="Experiments", icon=":material/experiment:", help="Runs that belong together, against each other and a baseline."
        ),
    ],
    "Models": [st.Page("app_pages/models.py", title="Models", icon=":material/model_training:", help="What there is, what is in memory, and trying it.")],
    "Conversations": [
        st.Page("app_pages/conversations.py", title="Conversations", icon=":material/forum:", help="What was asked and answered; looking into it is noted."),
        st.Page("app_pages/events.py", title="Events", icon=":material/timeline:", help="The durable stream of what happened, and what could not be recorded."),
    ],
    "People": [
        st.Page("app_pages/users.py", title="Users", icon=":material/group:", help="Who has an account, and what they use."),
        st.Page(
            "app_pages/user.py",
            title="User",
            visibility="hidden",
            icon=":material/person:",
            help="One user: rights, quota, keys, sessions, and everything of theirs.",
        ),
    ],
    "System": [
        st.Page("app_pages/retention.py", title="Retention", icon=":material/auto_delete:", help="What is kept how long, and what the sweeps removed."),
        st.Page("app_pages/backups.py", title="Backups", icon=":material/save:", help="Everything in one file, made now or on schedule."),
        st.Page("app_pages/settings.py", title="Settings", icon=":material/tune:", help="Every setting, its value and where it comes from."),
        st.Page("app_pages/audit.py", title="Audit log", icon=":material/history:", help="Who did what, and when."),
    ],
}
with shown():
    who = me()
    page = st.navigation(PAGES, expanded=True)
    with st.sidebar:
        st.caption(f"Signed in as {who.user.username}")
        if house().rooms:
            with st.container(horizontal=True):
                st.link_button("Chat", "/chat/", icon=":material/chat:")
                st.link_button("Voice", "/voice/", icon=":material/mic:")
    st.title(page.title)
    receipt()
    page.run()
