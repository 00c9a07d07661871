"""Everybody's conversations and the events of the house, for an admin: what is looked into is noted in the audit log, a title included."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.audit import Act
from core.chat.export import as_json, as_markdown
from core.chat.model import ChatMessage, Conversation, Feedback
from core.chat.room import ChatRoom
from core.console.notes import Notes
from core.errors import BadInput
from core.events import DeadLetter, EventType, RecordedEvent
from core.ports import Accounts, Belongings, EventLog, Talks
from core.records import DeleteReceipt, Page, every_page
from core.users.model import Admin, User


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation in a list. The title is its owner's words: "" unless it was searched for."""

    conversation_id: str
    user_id: str
    username: str
    title: str
    created_at: datetime
    pinned: bool
    messages: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A conversation that was opened, with some of its messages (of every branch, oldest first) and the verdicts on them."""

    owner: User
    conversation: Conversation
    messages: Page[ChatMessage]
    feedback: Mapping[str, Feedback]


class Reading:
    """What people have asked and been told."""

    def __init__(self, talks: Talks, accounts: Accounts, belongings: Belongings, chat: ChatRoom, events: EventLog, notes: Notes) -> None:
        self._talks, self._accounts, self._belongings, self._chat, self._events = talks, accounts, belongings, chat, events
        self._notes = notes

    async def talks(self, admin: Admin, search: str = "", username: str = "", cursor: str = "", *, limit: int = 50) -> Page[Talk]:
        """Conversations, begun last first. A search looks into what people have written, and is noted; without one no title is shown.

        Raises: NotFound for a name that nobody has.
        """
        user_id = (await self._accounts.named(username))[0].id if username else ""
        if search and not cursor:
            await self._notes.look(admin, "conversations", search=search, **({"of": username} if username else {}))
        page = await self._talks.talks(search=search, user_id=user_id, limit=limit, cursor=cursor)
        if search:
            return page
        return Page([Talk(t.conversation_id, t.user_id, t.username, "", t.created_at, t.pinned, t.messages) for t in page.items], page.next_cursor)

    async def open(self, admin: Admin, conversation_id: str, cursor: str = "", *, limit: int = 50) -> Opened:
        """Raises: NotFound."""
        owner, conversation = await self._of(conversation_id)
        messages = await self._belongings.messages(owner.id, conversation_id, limit=limit, cursor=cursor)
        if not cursor:
            await self._notes.look(admin, f"conversation {conversation_id}", of=owner.username)
        return Opened(owner, conversation, messages, await self._chat.feedback(owner, conversation_id))

    async def pin(self, admin: Admin, conversation_id: str, *, pinned: bool) -> None:
        """A pin keeps it beyond its time. Raises: NotFound."""
        owner, _ = await self._of(conversation_id)
        await self._chat.change(owner, conversation_id, pinned=pinned)
        await self._notes.note(admin, Act.CHANGED, f"conversation {conversation_id}", of=owner.username, pinned=pinned)

    async def delete(self, admin: Admin, conversation_id: str) -> DeleteReceipt:
        """Raises: NotFound."""
        owner, _ = await self._of(conversation_id)
        receipt = await self._chat.delete(owner, conversation_id)
        await self._notes.note(admin, Act.DELETED, f"conversation {conversation_id}", of=owner.username)
        return receipt

    async def export(self, admin: Admin, conversation_id: str) -> tuple[str, Mapping[str, Any]]:
        """As Markdown (the newest path) and as what becomes JSON (every branch). Raises: NotFound."""
        owner, conversation = await self._of(conversation_id)
        await self._notes.note(admin, Act.EXPORTED, f"conversation {conversation_id}", of=owner.username)
        written = every_page(lambda cursor: self._belongings.messages(owner.id, conversation_id, cursor=cursor))
        said = [message async for part in written for message in part]
        return as_markdown(conversation, await self._chat.whole_path(owner, conversation_id)), as_json(conversation, said)

    async def events(
        self, admin: Admin, *, aggregate_id: str = "", username: str = "", kind: EventType | None = None, cursor: str = "", limit: int = 50
    ) -> Page[RecordedEvent]:
        """The durable stream, latest first. Raises: NotFound for a name that nobody has."""
        user_id = (await self._accounts.named(username))[0].id if username else ""
        return await self._events.latest(aggregate_id=aggregate_id, user_id=user_id, kind=kind, limit=limit, cursor=cursor)

    async def turn(self, admin: Admin, aggregate_id: str, message_id: str) -> Sequence[RecordedEvent]:
        """The events of one turn in their order. aggregate_id: of its conversation.   message_id: of its answer, or of its question. Raises: BadInput."""
        if not aggregate_id:
            raise BadInput("Of which conversation the turn is, isn't said.", hint="Open it from its conversation.")
        found, after = list[RecordedEvent](), 0
        while part := await self._events.read(after, aggregate_id=aggregate_id, limit=200):
            found += [r for r in part if r.event.data.get("message_id") == message_id]
            after = part[-1].seq
        return found

    async def dead_letters(self, admin: Admin, cursor: str = "", *, limit: int = 50) -> Page[DeadLetter]:
        """Events whose effect was given up, latest first."""
        return await self._events.dead(limit=limit, cursor=cursor)

    async def retry(self, admin: Admin, seqs: Sequence[int]) -> int:
        """Lets the recorder try these again; says how many."""
        count = await self._events.revive(seqs)
        await self._notes.note(admin, Act.CHANGED, "dead letters", tried_again=count)
        return count

    async def _of(self, conversation_id: str) -> tuple[User, Conversation]:
        owner = await self._accounts.get(await self._talks.owner(conversation_id))
        return owner, await self._chat.conversation(owner, conversation_id)
