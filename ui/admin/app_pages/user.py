"""One user: what they may do, what they use, their keys and sessions, and everything of theirs."""

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.records import DeleteReceipt
from core.users.model import Preferences, Quota, Role, Scope, Session
from ui.admin.bridge import ask, console, me
from ui.admin.downloads import user_address
from ui.admin.frame import ago, cursor, deleting, nothing, pager

people = console().people
user_id = st.query_params.get("user", "")
if not user_id:
    nothing("No user is chosen.", then="Choose one on the page of users.", icon=":material/person:")
    st.page_link("app_pages/users.py", label="Users", icon=":material/group:")
    st.stop()
person = ask(people.person, user_id)
user = person.user


def share(column: DeltaGenerator, what: str, used: float, most: int | None) -> None:
    """What is used of a quota, and what remains."""
    column.metric(
        what,
        f"{used:,.0f}",
        f"{max(0, most - used):,.0f} of {most:,} left" if most is not None else "no limit",
        delta_color="off",
        delta_arrow="off",
        border=True,
    )


def key_secret() -> None:
    """The secret of a key that was just made, once."""
    if secret := st.session_state.pop("secret", ""):
        st.success("This key is shown once. Hearth keeps only its hash.", icon=":material/key:")
        st.code(secret, language=None)


def named(session: Session) -> str:
    """A session's label in a choice. It never changes, for Streamlit knows by it what was chosen: with "3 s ago" in it another one would be ended."""
    return f"{session.type}, {session.started_at:%Y-%m-%d %H:%M:%S} UTC, {session.id[-6:]}"


def gone_for_good() -> DeleteReceipt:
    """Deletes the user; the page is nobody's from then on."""
    given = ask(people.delete, user.id)
    del st.query_params["user"]  # not all of them: the open tab is the widget's
    return given


st.subheader(user.username, divider="gray")
st.caption(f"{user.role.value} · since {user.created_at:%Y-%m-%d} · {user.id}")
left, middle, right = st.columns(3)
share(left, "Tokens today", person.today.tokens, person.quota.tokens)
share(middle, "Requests today", person.today.requests, person.quota.requests)
share(right, "Seconds of sound today", person.today.audio_ms / 1000, person.quota.audio_s)
if any(used.requests for _, used in person.days):
    st.bar_chart([{"day": day.date(), "tokens": used.tokens} for day, used in person.days], x="day", y="tokens", height=160)

account, limits, keys_tab, sessions_tab, everything = st.tabs(
    ["Account", "Quota", "API keys", "Sessions", "Everything of theirs"], key="tab", bind="query-params"
)
with account:
    with st.form("account"):
        role = st.selectbox("Role", list(Role), list(Role).index(user.role), format_func=lambda r: r.value, key="role")
        premium = st.toggle("Premium", user.premium, key="premium", help="Their requests go first.")
        disabled = st.toggle("Disabled", user.disabled, key="disabled", help="They are out at once; everything of theirs is kept.")
        chosen = user.preferences
        model = st.text_input("Preferred model", chosen.model_preference, key="model")
        voice = st.text_input("Voice", chosen.voice_id, key="voice")
        rag = st.toggle("Read documents by default", chosen.enable_rag, key="rag")
        if st.form_submit_button("Save", type="primary"):
            wanted = Preferences(voice.strip(), model.strip() or "default", rag, chosen.language, chosen.speech_language)
            ask(people.change, user.id, role=role, premium=premium, disabled=disabled, preferences=wanted)
            st.toast("Saved.", icon=":material/check:")
            st.rerun()
    with st.form("password"):
        fresh = st.text_input("New password", type="password", key="password", help="Ends every session of theirs.")
        if st.form_submit_button("Set the password"):
            ask(people.set_password, user.id, fresh)
            st.toast("The password is set.", icon=":material/check:")
with limits, st.form("quota"):
    st.caption("A day begins at 00:00 UTC. An empty field is the usual limit (HEARTH_QUOTA_TOKENS, HEARTH_QUOTA_REQUESTS, HEARTH_QUOTA_AUDIO_S).")
    tokens = st.number_input("Tokens a day", 0, None, user.quota.tokens, key="tokens")
    requests = st.number_input("Requests a day", 0, None, user.quota.requests, key="requests")
    audio_s = st.number_input("Seconds of sound a day", 0, None, user.quota.audio_s, key="audio")
    if st.form_submit_button("Save the quota", type="primary"):
        ask(people.change, user.id, quota=Quota(tokens, requests, audio_s))
        st.rerun()
with keys_tab:
    key_secret()
    keys = ask(people.keys, user.id)
    if keys:
        st.caption("Programs sign in with these. What a key opens never changes: make another one.")
        st.dataframe(
            [
                {
                    "Name": k.name,
                    "Begins with": f"{k.prefix}…",
                    "Opens": ", ".join(k.scopes),
                    "Made": ago(k.created_at),
                    "Last used": ago(k.last_used_at),
                    "Until": f"{k.expires_at:%Y-%m-%d}" if k.expires_at else "for ever",
                }
                for k in keys[:200]
            ],
            hide_index=True,
            key="keys",
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            gone = st.selectbox("Key", keys, format_func=lambda k: f"{k.name} ({k.prefix}…)", key="revoke")
        deleting(
            "revoke-key",
            "Revoke",
            what=f"the key {gone.name} ({gone.prefix}…) of {user.username}",
            goes=["Programs that hold it are refused from their next request on."],
            act=lambda: ask(people.revoke_key, user.id, gone.id),
        )
    else:
        nothing("There is no key.", icon=":material/key:")
    with st.form("key"):
        name = st.text_input("What the key is for", key="key_name")
        scopes = st.pills("Opens", list(Scope), selection_mode="multi", default=list(Scope), format_func=lambda s: s.value, key="scopes")
        days = st.number_input("Days until it ends (empty: for ever)", 1, 3650, None, key="key_days")
        if st.form_submit_button("Make a key", type="primary"):
            st.session_state["secret"] = ask(people.make_key, user.id, name, scopes, days)
            st.rerun()
with sessions_tab:
    page = ask(people.sessions, user.id, cursor("sessions"))
    if page.items:
        st.caption("Where they are signed in, and what programs do with their keys.")
        st.dataframe(
            [
                {
                    "Of": "a key" if "api_key" in s.metadata else s.type,
                    "From": str(s.metadata.get("address") or s.metadata.get("api_key") or ""),
                    "Started": ago(s.started_at),
                    "Last seen": ago(s.last_activity),
                    "Ends": ago(s.expires_at),
                    "Id": s.id,
                }
                for s in page.items
            ],
            hide_index=True,
            key="open-sessions",
        )
        pager(page, "sessions")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            ended = st.selectbox("Session", page.items, format_func=named, key="session")
        deleting(
            "end-session",
            "End this one",
            what=f"the session of {user.username} that was last seen {ago(ended.last_activity)}",
            goes=["Whoever has it signs in again; a program's begins again with its next request, until its key is revoked."],
            act=lambda: ask(people.end_session, user.id, ended.id),
        )
        deleting(
            "end-sessions",
            "End all",
            what=f"every session of {user.username}",
            goes=["They sign in again everywhere. API keys stay."],
            act=lambda: ask(people.end_sessions, user.id),
        )
    else:
        nothing("Nobody is signed in with this account.", icon=":material/logout:")
with everything:
    st.caption("What is stored of theirs, and in how many rows.")
    st.dataframe([{"Kind": kind, "How many": count} for kind, count in person.has.items() if count], hide_index=True, key="has")
    st.link_button("Download everything as a zip", user_address(user.id), icon=":material/download:")
    st.caption("Account, prompts, conversations with every branch, originals, recordings and their words. The download is noted in the audit log.")
    if me().user.id != user.id:
        deleting(
            "delete-user",
            f"Delete {user.username}",
            what=f"the user {user.username} and everything of theirs",
            goes={k: n for k, n in person.has.items() if n},
            act=gone_for_good,
        )
        st.caption("Backups that were made before keep a copy until they are rotated out. The audit log keeps what was done.")
    else:
        st.caption("That is you: somebody else has to delete this account.")
