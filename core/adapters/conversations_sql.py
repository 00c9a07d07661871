"""Conversations and messages in SQL. A conversation's last activity is its newest message's time, not a column of its own."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Row, Select, and_, bindparam, delete, exists, func, insert, or_, select, update

from core.adapters.database_sql import SqliteDatabase
from core.adapters.events_outbox import append
from core.adapters.tables_sql import conversations, messages, outbox
from core.chat.model import Accepted, ChatMessage, Checkpoint, Conversation, MessageMetadata, MessageStatus, NewTurn
from core.errors import AlreadyThere, BadInput, NotFound
from core.events import Event
from core.records import DeleteReceipt, Page

LAST_ACTIVITY = (
    select(func.max(messages.c.created_at))
    .where(messages.c.conversation_id == conversations.c.id)
    .correlate(conversations)
    .scalar_subquery()
    .label("updated_at")
)

# Built once: a statement's SQL is cached by what it is made of, and making it costs more than running it.
INSERT_MESSAGE = insert(messages)
INSERT_CONVERSATION = insert(conversations)
MESSAGE = select(messages).where(messages.c.id == bindparam("id"))
OWNER = select(conversations.c.user_id).where(conversations.c.id == bindparam("id"))
LATEST = (
    select(messages).where(messages.c.conversation_id == bindparam("id")).order_by(messages.c.created_at.desc(), messages.c.id.desc()).limit(bindparam("most"))
)
SAVE_TEXT = (
    update(messages)
    .where(messages.c.id == bindparam("message_id"), messages.c.status == MessageStatus.GENERATING.value)
    .values(content=bindparam("text"), lease_until=bindparam("until"))
)
FINISH = (
    update(messages)
    .where(messages.c.id == bindparam("message_id"), messages.c.status == MessageStatus.GENERATING.value)
    .values(content=bindparam("text"), metadata=bindparam("meta", type_=messages.c.metadata.type), status=bindparam("final"), lease_until=None)
)


def _message(row: Row[Any]) -> ChatMessage:
    return ChatMessage(
        id=row.id,
        conversation_id=row.conversation_id,
        session_id=row.session_id,
        user_id=row.user_id,
        role=row.role,
        content=row.content,
        created_at=row.created_at,
        metadata=msgspec.convert(row.metadata, MessageMetadata),
        status=MessageStatus(row.status),
        reply_to=row.reply_to,
    )


def _values(message: ChatMessage, lease_until: datetime | None) -> dict[str, Any]:
    return {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "session_id": message.session_id,
        "user_id": message.user_id,
        "role": message.role,
        "content": message.content,
        "metadata": message.metadata,
        "status": message.status.value,
        "reply_to": message.reply_to,
        "created_at": message.created_at,
        "lease_until": lease_until,
    }


def _conversation(row: Row[Any]) -> Conversation:
    return Conversation(row.id, row.user_id, row.title, row.created_at, row.updated_at or row.created_at)


def _owned(user_id: str, conversation_id: str) -> Select[Any]:
    return select(conversations, LAST_ACTIVITY).where(conversations.c.id == conversation_id, conversations.c.user_id == user_id)


def _demand(connection: Connection, user_id: str, conversation_id: str) -> Row[Any]:
    row = connection.execute(_owned(user_id, conversation_id)).one_or_none()
    if row is None:
        raise NotFound("There is no such conversation.", hint="It may have been deleted; start a new one.")
    return row


def _accept(connection: Connection, turn: NewTurn) -> Accepted:
    stored = connection.execute(MESSAGE, {"id": turn.answer.id}).one_or_none()
    if stored is not None:
        return Accepted(_same_turn(connection, turn, stored))
    if turn.question is not None and connection.execute(MESSAGE, {"id": turn.question.id}).first():
        raise AlreadyThere("That message id is taken.", hint="Make a new id for each message.")
    owner = connection.execute(OWNER, {"id": turn.conversation.id}).scalar()
    if owner is None:
        c = turn.conversation
        connection.execute(INSERT_CONVERSATION, {"id": c.id, "user_id": c.user_id, "title": c.title, "created_at": c.created_at})
    elif owner != turn.conversation.user_id:
        raise NotFound("There is no such conversation.", hint="It may have been deleted; start a new one.")
    history: tuple[ChatMessage, ...] = ()
    if owner is not None and turn.history:
        rows_before = connection.execute(LATEST, {"id": turn.conversation.id, "most": turn.history}).all()
        history = tuple(_message(row) for row in reversed(rows_before))
    rows = [_values(turn.answer, turn.lease_until)]
    if turn.question is not None:
        rows.insert(0, _values(turn.question, None))
    connection.execute(INSERT_MESSAGE, rows)
    append(connection, turn.events)
    return Accepted(None, history)


def _same_turn(connection: Connection, turn: NewTurn, stored: Row[Any]) -> ChatMessage:
    """The answer of a turn that is sent again. Raises: NotFound for somebody else's; AlreadyThere if the question was another."""
    if stored.user_id != turn.answer.user_id:
        raise NotFound("There is no such conversation.", hint="Make new ids for a new message.")
    if turn.question is not None:
        question = connection.execute(select(messages.c.content).where(messages.c.id == turn.question.id)).scalar()
        if question != turn.question.content or stored.conversation_id != turn.conversation.id:
            raise AlreadyThere("That message id was used for another message.", hint="Make a new id for each message.")
    return _message(stored)


def _like(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _place(cursor: str) -> tuple[datetime, str]:
    """Where a page of conversations begins. Raises: BadInput for a cursor that no page gave."""
    moment, _, last = cursor.partition("/")
    try:
        return datetime.fromisoformat(moment).astimezone(UTC), last
    except (ValueError, OverflowError) as error:
        raise BadInput("That is no cursor of this list.", hint="Give `next_cursor` back as it came.") from error


class SqlConversations:
    """Conversations over a SQL database."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    async def accept(self, turn: NewTurn) -> Accepted:
        """As the port says."""
        return await self._database.write(lambda c: _accept(c, turn))

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> None:
        """As the port says."""
        rows = [{"message_id": c.message_id, "text": c.text, "until": c.lease_until} for c in checkpoints]
        events = [event for c in checkpoints for event in c.events]

        def work(connection: Connection) -> None:
            if rows:
                connection.execute(SAVE_TEXT, rows)
            append(connection, events)

        await self._database.write(work)

    async def finish(self, answer: ChatMessage, events: Sequence[Event]) -> bool:
        """As the port says."""
        row = {"message_id": answer.id, "text": answer.content, "meta": answer.metadata, "final": answer.status.value}

        def work(connection: Connection) -> bool:
            changed = connection.execute(FINISH, row).rowcount > 0
            if changed:
                append(connection, events)
            return changed

        return await self._database.write(work)

    async def expire_leases(self, now: datetime, *, everything: bool = False) -> int:
        """As the port says."""
        over = messages.c.status == MessageStatus.GENERATING.value
        if not everything:
            over = and_(over, messages.c.lease_until <= now)
        change = update(messages).where(over).values(status=MessageStatus.INTERRUPTED.value, lease_until=None)
        if not await self._database.read(lambda c: c.execute(select(messages.c.id).where(over).limit(1)).first()):
            return 0
        return await self._database.write(lambda c: c.execute(change).rowcount)

    async def get_for(self, user_id: str, conversation_id: str) -> Conversation:
        """As the port says."""
        return _conversation(await self._database.read(lambda c: _demand(c, user_id, conversation_id)))

    async def list_for(self, user_id: str, *, search: str = "", limit: int = 50, cursor: str = "") -> Page[Conversation]:
        """As the port says."""
        query = select(conversations, LAST_ACTIVITY).where(conversations.c.user_id == user_id)
        for word in search.split()[:10]:
            said = exists().where(messages.c.conversation_id == conversations.c.id, messages.c.content.like(_like(word), escape="\\"))
            query = query.where(or_(conversations.c.title.like(_like(word), escape="\\"), said))
        found = query.subquery()
        page = select(found).order_by(found.c.updated_at.desc(), found.c.id.desc()).limit(limit + 1)
        if cursor:
            at, last = _place(cursor)
            page = page.where(or_(found.c.updated_at < at, and_(found.c.updated_at == at, found.c.id < last)))
        rows = await self._database.read(lambda c: c.execute(page).all())
        items = [_conversation(row) for row in rows[:limit]]
        return Page(items, f"{items[-1].updated_at.isoformat()}/{items[-1].id}" if len(rows) > limit else "")

    async def messages_for(self, user_id: str, conversation_id: str, *, limit: int = 100, before: str = "") -> Page[ChatMessage]:
        """As the port says."""

        def work(connection: Connection) -> Sequence[Row[Any]]:
            _demand(connection, user_id, conversation_id)
            query = select(messages).where(messages.c.conversation_id == conversation_id)
            if before:
                mark = connection.execute(select(messages.c.created_at).where(messages.c.id == before, messages.c.conversation_id == conversation_id)).scalar()
                if mark is not None:
                    query = query.where(or_(messages.c.created_at < mark, and_(messages.c.created_at == mark, messages.c.id < before)))
            return connection.execute(query.order_by(messages.c.created_at.desc(), messages.c.id.desc()).limit(limit + 1)).all()

        rows = await self._database.read(work)
        items = [_message(row) for row in reversed(rows[:limit])]
        return Page(items, items[0].id if len(rows) > limit else "")

    async def message_for(self, user_id: str, message_id: str) -> ChatMessage:
        """As the port says."""
        query = select(messages).where(messages.c.id == message_id, messages.c.user_id == user_id)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        if row is None:
            raise NotFound("There is no such message.", hint="It may have been deleted.")
        return _message(row)

    async def rename_for(self, user_id: str, conversation_id: str, title: str) -> None:
        """As the port says."""

        def work(connection: Connection) -> None:
            _demand(connection, user_id, conversation_id)
            connection.execute(update(conversations).where(conversations.c.id == conversation_id).values(title=title))

        await self._database.write(work)

    async def delete_for(self, user_id: str, conversation_id: str) -> DeleteReceipt:
        """As the port says."""

        def work(connection: Connection) -> DeleteReceipt:
            _demand(connection, user_id, conversation_id)
            of = {
                "events": outbox.c.aggregate_id == conversation_id,
                "messages": messages.c.conversation_id == conversation_id,
                "conversations": conversations.c.id == conversation_id,
            }
            removed = {kind: connection.execute(delete(where.left.table).where(where)).rowcount for kind, where in of.items()}
            left = {kind: connection.execute(select(func.count()).where(where)).scalar_one() for kind, where in of.items()}
            return DeleteReceipt(removed, left)

        return await self._database.write(work)

    async def drop_before(self, moment: datetime, limit: int) -> int:
        """As the port says."""

        def work(connection: Connection) -> int:
            old = select(messages.c.id, messages.c.conversation_id).where(messages.c.created_at < moment).order_by(messages.c.created_at).limit(limit)
            rows = connection.execute(old).all()
            threads = {row.conversation_id for row in rows}
            connection.execute(delete(messages).where(messages.c.id.in_([row.id for row in rows])))
            connection.execute(delete(outbox).where(outbox.c.aggregate_id.in_(threads), outbox.c.at < moment))
            empty = ~exists().where(messages.c.conversation_id == conversations.c.id)
            connection.execute(delete(conversations).where(conversations.c.id.in_(threads), empty))
            return len(rows)

        return await self._database.write(work)


def record_message(connection: Connection, event: Event) -> None:
    """The recorder's effect of a MessageStored that another program published: the message is in its conversation, once.

    `event.data` has id, role, content and optionally session_id and title; the aggregate is the conversation. An event for somebody else's
    conversation, or one without the fields, has no effect.
    """
    role: Literal["user", "assistant", "system"] | None = {"user": "user", "assistant": "assistant", "system": "system"}.get(str(event.data.get("role")))  # type: ignore[assignment]
    message_id, content = event.data.get("id"), event.data.get("content")
    if role is None or not isinstance(message_id, str) or not isinstance(content, str):
        return
    owner = connection.execute(select(conversations.c.user_id).where(conversations.c.id == event.aggregate_id)).scalar()
    if owner not in (None, event.user_id) or connection.execute(select(messages.c.id).where(messages.c.id == message_id)).first():
        return
    if owner is None:
        title = str(event.data.get("title") or content[:60])
        connection.execute(insert(conversations).values(id=event.aggregate_id, user_id=event.user_id, title=title, created_at=event.at))
    message = ChatMessage(message_id, event.aggregate_id, str(event.data.get("session_id") or ""), event.user_id, role, content, event.at)
    connection.execute(INSERT_MESSAGE, [_values(replace(message, created_at=event.at.astimezone(UTC)), None)])
