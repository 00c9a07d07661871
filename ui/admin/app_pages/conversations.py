"""Everybody's conversations: found, opened, followed through their stages, exported, pinned, deleted."""

import streamlit as st

from core.chat.model import ChatMessage, Verdict
from core.chat.stages import stages
from core.console.reading import Opened
from ui.admin.bridge import ask, console
from ui.admin.downloads import conversation_address
from ui.admin.frame import ago, cursor, deleting, from_the_start, nothing, pager

reading = console().reading
SPEAKERS = {"user": "user", "assistant": "assistant", "system": "assistant"}


def figures(message: ChatMessage) -> str:
    """What an answer cost, in one line."""
    meta = message.metadata
    parts = [message.status.value, meta.model_used, f"{meta.tokens_used} tokens" if meta.tokens_used else ""]
    if meta.timing.first_token_ms is not None:
        parts.append(f"first word after {meta.timing.first_token_ms:.0f} ms")
    if meta.latency_ms:
        parts.append(f"{meta.latency_ms:.0f} ms in all")
    return " · ".join(part for part in parts if part)


def answer(message: ChatMessage, opened: Opened) -> None:
    """What stands under an answer: its figures, sources, verdict and where its time went."""
    st.caption(figures(message))
    if (verdict := opened.feedback.get(message.id)) is not None:
        st.caption(f"{'👍' if verdict.verdict is Verdict.GOOD else '👎'} {verdict.reason}")
    if message.metadata.error:
        st.warning(message.metadata.error, icon=":material/error:")
    spent = stages(message)
    if not spent and not message.metadata.sources:
        return
    with st.expander("Sources and stages"):
        for source in message.metadata.sources:
            st.text(f"[{source.number}] {source.title}{f', page {source.page}' if source.page else ''}: {source.quote}")
        if spent:
            st.dataframe([{"Stage": name, "Begins at ms": round(at, 1), "Takes ms": round(ms, 1)} for name, at, ms in spent], hide_index=True)
        st.page_link("app_pages/lab.py", label="Replay its retrieval", icon=":material/replay:", query_params={"message": message.id})
        st.page_link("app_pages/events.py", label="Its events", icon=":material/timeline:", query_params={"of": message.conversation_id, "turn": message.id})


def one(conversation_id: str) -> None:
    """A conversation that was opened."""
    opened = ask(reading.open, conversation_id, cursor("messages"))
    talk = opened.conversation
    st.page_link("app_pages/conversations.py", label="All conversations", icon=":material/arrow_back:")
    st.subheader(talk.title, divider="gray")
    st.caption(f"{opened.owner.username} · begun {ago(talk.created_at)} · {talk.id}")
    with st.container(horizontal=True):
        st.link_button("Markdown", conversation_address(talk.id, "md"), icon=":material/download:")
        st.link_button("JSON", conversation_address(talk.id, "json"), icon=":material/download:")
        if st.button("Unpin" if talk.pinned else "Pin", icon=":material/keep:", key="pin", help="A pinned conversation is kept beyond its time."):
            ask(reading.pin, talk.id, pinned=not talk.pinned)
            st.rerun()
    deleting(
        "delete-talk",
        "Delete",
        what=f"this conversation of {opened.owner.username}",
        goes=["its messages, verdicts, links and events, and the sound of what was said in it"],
        act=lambda: ask(reading.delete, talk.id),
    )
    for message in opened.messages.items:
        with st.chat_message(SPEAKERS[message.role]):
            st.text(message.content or "(nothing)")
            if message.role == "assistant":
                answer(message, opened)
    pager(opened.messages, "messages")


def every() -> None:
    """The list."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        words = st.text_input(
            "Find in what was written",
            key="find",
            bind="query-params",
            on_change=from_the_start,
            args=("talks",),
            icon=":material/search:",
            help="Noted in the audit log.",
        )
        who = st.text_input(
            "Of", key="talker", bind="query-params", on_change=from_the_start, args=("talks",), placeholder="the whole name", icon=":material/person:"
        )
    page = ask(reading.talks, words.strip(), who.strip(), cursor("talks"))
    if not page.items:
        nothing("There is no conversation like that." if words or who else "Nobody has asked anything yet.", icon=":material/forum:")
        return
    rows = [
        {
            "Open": f"conversations?talk={t.conversation_id}",
            "Of": t.username,
            "Begun": ago(t.created_at),
            "Messages": t.messages,
            "Pinned": t.pinned,
            "Title": t.title or "shown by a search",
        }
        for t in page.items
    ]
    st.dataframe(rows, hide_index=True, column_config={"Open": st.column_config.LinkColumn(display_text="open", width="small")}, key="talk-list")
    pager(page, "talks")
    st.caption("What people have written is theirs: a search and each conversation that is opened is noted in the audit log.")


if talk_id := st.query_params.get("talk", ""):
    one(talk_id)
else:
    every()
