"""A conversation as a file that outlives Hearth: Markdown for people, JSON for programs. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from core.chat.model import ChatMessage, Conversation
from core.rag.model import Source

SPEAKERS = {"user": "You", "assistant": "Hearth", "system": "System"}


def as_markdown(conversation: Conversation, messages: Sequence[ChatMessage]) -> str:
    """The path as one document: who said it and when, and under each answer its sources with the quoted words."""
    lines = [f"# {conversation.title}", "", f"{conversation.created_at:%Y-%m-%d %H:%M} UTC, exported from Hearth.", ""]
    for message in messages:
        lines += [f"## {SPEAKERS[message.role]} · {message.created_at:%Y-%m-%d %H:%M}", "", message.content.strip(), ""]
        if message.metadata.sources:
            lines += [*(_cited(source) for source in message.metadata.sources), ""]
        if message.status.value != "complete":
            lines += [f"*({message.status.value})*", ""]
    return "\n".join(lines).rstrip() + "\n"


def _cited(source: Source) -> str:
    page = f", page {source.page}" if source.page else ""
    return f"> [{source.number}] {source.title}{page}: “{' '.join(source.quote.split())}”"


def as_json(conversation: Conversation, messages: Sequence[ChatMessage]) -> Mapping[str, Any]:
    """The path with everything that is kept of it. `format` changes when a field changes its meaning."""
    return {
        "format": "hearth-conversation-1",
        "id": conversation.id,
        "title": conversation.title,
        "tags": conversation.tags,
        "created_at": conversation.created_at,
        "messages": [
            {
                "id": m.id,
                "parent_id": m.parent_id or None,
                "role": m.role,
                "content": m.content,
                "created_at": m.created_at,
                "status": m.status.value,
                "model": m.metadata.model_used,
                "sources": m.metadata.sources,
            }
            for m in messages
        ],
    }
