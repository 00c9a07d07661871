"""Who has an account, and what they use."""

import streamlit as st

from core.users.model import Role
from ui.admin.bridge import ask, console
from ui.admin.frame import ago, cursor, from_the_start, nothing, pager

people = console().people


def limit(used: float, most: int | None) -> str:
    """What is used of what may be."""
    return f"{used:,.0f}" if most is None else f"{used:,.0f} of {most:,}"


@st.dialog("Add a user")
def add() -> None:
    """A form for a new account."""
    with st.form("new-user", border=False):
        name = st.text_input("Name", key="new_name", max_chars=60)
        password = st.text_input("First password", type="password", key="new_password", help="Tell it to them; they can change it.")
        admin = st.toggle("Admin", key="new_admin")
        premium = st.toggle("Premium", key="new_premium", help="Their requests go first.")
        if st.form_submit_button("Add", type="primary"):
            user = ask(people.add, name, password, role=Role.ADMIN if admin else Role.USER, premium=premium)
            st.switch_page("app_pages/user.py", query_params={"user": user.id})


with st.container(horizontal=True, vertical_alignment="bottom"):
    search = st.text_input(
        "Find", key="who", bind="query-params", on_change=from_the_start, args=("users",), placeholder="part of a name", icon=":material/search:"
    )
    if st.button("Add a user", icon=":material/person_add:", key="add"):
        add()
page = ask(people.list, search, cursor("users"))
if page.items:
    rows = [
        {
            "Open": f"user?user={user.id}",
            "Name": user.username,
            "Role": user.role.value,
            "Premium": user.premium,
            "State": "disabled" if user.disabled else "active",
            "Tokens today": used.tokens,
            "Requests today": used.requests,
            "Sound today": f"{used.audio_ms / 1000:.0f} s",
            "Since": ago(user.created_at),
        }
        for user, used in page.items
    ]
    st.dataframe(rows, hide_index=True, column_config={"Open": st.column_config.LinkColumn(display_text="open", width="small")}, key="list")
    pager(page, "users")
else:
    nothing("Nobody has a name like that.", then="Widen the search.", icon=":material/person_search:")
