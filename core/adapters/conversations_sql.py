"""Conversations and messages in SQL. A conversation's last activity is its newest message's time, not a column of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from core.adapters.database_sql import Database
from core.adapters.events_outbox import append, forget
from core.adapters.processes_sql import is_gone
from core.adapters.tables_sql import PINNED, Moment, conversations, golden_rows, messages, outbox, shares, stale_objects, users, voice_requests, voice_responses
from core.adapters.tables_sql import feedback as feedback_table
from core.adapters.usage_sql import count, demand
from core.chat.model import (
    Accepted,
    ChatMessage,
    ChatSettings,
    Checkpoint,
    Conversation,
    Feedback,
    MessageContent,
    MessageMetadata,
    MessageStatus,
    NewTurn,
    Thread,
    Verdict,
)
from core.errors import AlreadyThere, BadInput, NotFound
from core.events import Event
from core.ids import is_id
from core.inference import estimated_tokens
from core.records import DeleteReceipt, Page
from core.retention import Pin

FOUND_CHARS = 140
"""How much is shown around what a search found."""
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
TOLD = select(
    select(conversations.c.user_id).where(conversations.c.id == bindparam("conversation")).scalar_subquery().label("owner"),
    exists().where(messages.c.id == bindparam("id")).label("here"),
    select(messages.c.created_at).where(messages.c.id == bindparam("parent")).scalar_subquery().label("before"),
    select(func.min(messages.c.created_at)).where(messages.c.parent_id == bindparam("id")).scalar_subquery().label("after"),
)
"""What is known of a message that another program tells of."""
OWNER = select(conversations.c.user_id, conversations.c.settings).where(conversations.c.id == bindparam("id"))
NEWEST = select(messages.c.id).where(messages.c.conversation_id == bindparam("id")).order_by(messages.c.created_at.desc(), messages.c.id.desc()).limit(1)
GENERATING = messages.c.status == MessageStatus.GENERATING.value
SAVE_TEXT = update(messages).where(messages.c.id == bindparam("message_id"), GENERATING).values(content=bindparam("text"), lease_until=bindparam("until"))
FINISH = (
    update(messages)
    .where(messages.c.id == bindparam("message_id"), GENERATING)
    .values(content=bindparam("text"), metadata=bindparam("meta", type_=messages.c.metadata.type), status=bindparam("final"), lease_until=None)
)


_above = select(messages.c.id, messages.c.parent_id, literal(1).label("depth")).where(
    messages.c.id == bindparam("leaf"), messages.c.conversation_id == bindparam("conversation")
)
_above_cte = _above.cte("above", recursive=True)
_above_cte = _above_cte.union_all(
    select(messages.c.id, messages.c.parent_id, _above_cte.c.depth + 1)
    .join(_above_cte, messages.c.id == _above_cte.c.parent_id)
    # Another program says itself what its message follows: never a message of another conversation.
    .where(_above_cte.c.depth < bindparam("deep"), messages.c.conversation_id == bindparam("conversation"))
)
PATH = select(messages).join(_above_cte, messages.c.id == _above_cte.c.id).order_by(_above_cte.c.depth)
"""From a leaf up, nearest first."""
_below = select(messages.c.id, messages.c.created_at).where(messages.c.id == bindparam("from"), messages.c.conversation_id == bindparam("conversation"))
_below_cte = _below.cte("below", recursive=True)
_below_cte = _below_cte.union_all(
    select(messages.c.id, messages.c.created_at)
    .join(_below_cte, messages.c.parent_id == _below_cte.c.id)
    .where(messages.c.conversation_id == bindparam("conversation"))
)
NEWEST_BELOW = select(_below_cte.c.id).order_by(_below_cte.c.created_at.desc(), _below_cte.c.id.desc()).limit(1)
"""The newest message that follows a message, directly or not; itself where none does."""


def message_of(row: Row[Any]) -> ChatMessage:
    """A row of the messages."""
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
        parent_id=row.parent_id,
    )


def _values(message: ChatMessage, lease_until: datetime | None, holder: str = "") -> dict[str, Any]:
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
        "parent_id": message.parent_id,
        "created_at": message.created_at,
        "lease_until": lease_until,
        "holder": holder,
    }


def _conversation(row: Row[Any]) -> Conversation:
    return Conversation(
        row.id,
        row.user_id,
        row.title,
        row.created_at,
        row.updated_at or row.created_at,
        pinned=row.pinned,
        tags=tuple(row.tags),
        settings=msgspec.convert(row.settings, ChatSettings),
    )


def _owned(user_id: str, conversation_id: str) -> Select[Any]:
    return select(conversations, LAST_ACTIVITY).where(conversations.c.id == conversation_id, conversations.c.user_id == user_id)


def _demand(connection: Connection, user_id: str, conversation_id: str) -> Row[Any]:
    row = connection.execute(_owned(user_id, conversation_id)).one_or_none()
    if row is None:
        raise NotFound("There is no such conversation.", hint="It may have been deleted; start a new one.")
    return row


def _accept(connection: Connection, turn: NewTurn, holder: str) -> Accepted:
    stored = connection.execute(MESSAGE, {"id": turn.answer.id}).one_or_none()
    if stored is not None:
        return Accepted(_same_turn(connection, turn, stored))
    demand(connection, turn.answer.user_id, turn.quota, turn.answer.created_at)
    if turn.question is not None and connection.execute(MESSAGE, {"id": turn.question.id}).first():
        raise AlreadyThere("That message id is taken.", hint="Make a new id for each message.")
    there = connection.execute(OWNER, {"id": turn.conversation.id}).one_or_none()
    settings = turn.conversation.settings
    if there is None:
        c = turn.conversation
        connection.execute(INSERT_CONVERSATION, {n: getattr(c, n) for n in ("id", "user_id", "title", "created_at", "pinned", "tags", "settings")})
        if turn.parent_id:
            raise NotFound("There is no such message to follow.", hint="It may have been deleted.")
    elif there.user_id != turn.conversation.user_id:
        raise NotFound("There is no such conversation.", hint="It may have been deleted; start a new one.")
    else:
        settings = msgspec.convert(there.settings, ChatSettings)
    path = _path(connection, turn.conversation.id, turn.parent_id, max(turn.history, 1)) if there is not None else []
    parent_id = path[0].id if path else ""
    answer = turn.answer
    rows = []
    if turn.question is not None:
        rows.append(_values(replace(turn.question, parent_id=parent_id), None))
        parent_id = turn.question.id
    rows.append(_values(replace(answer, parent_id=parent_id), turn.lease_until, holder))
    connection.execute(INSERT_MESSAGE, rows)
    append(connection, turn.events)
    count(connection, answer.user_id, answer.created_at, requests=1)
    return Accepted(None, tuple(message_of(row) for row in reversed(path)) if turn.history else (), settings, parent_id)


def _used_tokens(answer: ChatMessage) -> int:
    """As the model counted them. It counts at the end: what was broken off before is guessed, or a quota would never be spent by who always stops."""
    if (used := answer.metadata.usage) is not None:
        return used.prompt_tokens + used.completion_tokens
    return 0 if answer.status is MessageStatus.COMPLETE else estimated_tokens(answer.content)


def _path(connection: Connection, conversation_id: str, leaf_id: str | None, limit: int) -> Sequence[Row[Any]]:
    """The messages from the leaf up to the beginning, nearest first, at most `limit`. leaf_id: None for the newest message, "" for none at all.

    Raises: NotFound if the leaf is not in the conversation.
    """
    if leaf_id == "":
        return []
    if leaf_id is None:
        leaf_id = connection.execute(NEWEST, {"id": conversation_id}).scalar()
        if leaf_id is None:
            return []
    rows = connection.execute(PATH, {"leaf": leaf_id, "conversation": conversation_id, "deep": limit}).all()
    if not rows:
        raise NotFound("There is no such message in this conversation.", hint="It may have been deleted.")
    return rows


def _same_turn(connection: Connection, turn: NewTurn, stored: Row[Any]) -> ChatMessage:
    """The answer of a turn that is sent again. Raises: NotFound for somebody else's; AlreadyThere if the question was another."""
    if stored.user_id != turn.answer.user_id:
        raise NotFound("There is no such conversation.", hint="Make new ids for a new message.")
    if turn.question is not None:
        question = connection.execute(select(messages.c.content).where(messages.c.id == turn.question.id)).scalar()
        if question != turn.question.content or stored.conversation_id != turn.conversation.id:
            raise AlreadyThere("That message id was used for another message.", hint="Make a new id for each message.")
    return message_of(stored)


def _branches(connection: Connection, conversation_id: str, path: Sequence[ChatMessage]) -> dict[str, tuple[str, ...]]:
    """For each message of the path that has siblings: all of them, oldest first."""
    query = select(messages.c.id, messages.c.parent_id).where(
        messages.c.conversation_id == conversation_id, messages.c.parent_id.in_({m.parent_id for m in path})
    )
    siblings: dict[str, list[str]] = {}
    for row in connection.execute(query.order_by(messages.c.created_at, messages.c.id)):
        siblings.setdefault(row.parent_id, []).append(row.id)
    return {m.id: tuple(siblings[m.parent_id]) for m in path if len(siblings.get(m.parent_id, ())) > 1}


def _found(connection: Connection, conversation_id: str, words: Sequence[str]) -> str:
    """The words around the newest place where one of the words stands in a message; "" where only the title has them."""
    for word in words:
        query = select(messages.c.content).where(messages.c.conversation_id == conversation_id, has(messages.c.content, word))
        content = connection.execute(query.order_by(messages.c.created_at.desc()).limit(1)).scalar()
        if content is not None:
            start = max(0, content.lower().find(word.lower()) - FOUND_CHARS // 3)
            return ("…" if start else "") + " ".join(content[start : start + FOUND_CHARS].split())
    return ""


def _place(cursor: str) -> tuple[bool, datetime, str]:
    """Where a page of conversations begins. Raises: BadInput for a cursor that no page gave."""
    pinned, _, rest = cursor.partition("/")
    moment, _, last = rest.partition("/")
    try:
        return pinned == "1", datetime.fromisoformat(moment).astimezone(UTC), last
    except (ValueError, OverflowError) as error:
        raise BadInput("That is no cursor of this list.", hint="Give `next_cursor` back as it came.") from error


class _Within(FunctionElement[bool]):
    """SQLite's LIKE passes over the case of letters (of ASCII's); PostgreSQL's that does so is called ILIKE."""

    name = "within"
    type = Boolean()
    inherit_cache = True


@compiles(_Within)
def _like(element: _Within, compiler: SQLCompiler, **given: Any) -> str:
    return " LIKE ".join(compiler.process(part, **given) for part in element.clauses) + " ESCAPE '\\'"


@compiles(_Within, "postgresql")
def _ilike(element: _Within, compiler: SQLCompiler, **given: Any) -> str:
    return " ILIKE ".join(compiler.process(part, **given) for part in element.clauses) + " ESCAPE '\\'"


def has(column: ColumnElement[str], word: str) -> ColumnElement[bool]:
    """Whether a text has that in it somewhere."""
    escaped = word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return _Within(column, literal(f"%{escaped}%"))


class SqlConversations:
    """Conversations over a SQL database."""

    def __init__(self, database: Database, holder: str = "") -> None:
        """holder: the process that answers; "" for one that only looks."""
        self._database, self._holder = database, holder

    async def accept(self, turn: NewTurn) -> Accepted:
        """As the port says."""
        return await self._database.write(lambda c: _accept(c, turn, self._holder))

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
                if tokens := _used_tokens(answer):
                    count(connection, answer.user_id, answer.created_at, tokens=tokens)
            return changed

        return await self._database.write(work)

    async def expire_leases(self, now: datetime) -> int:
        """As the port says."""
        over = and_(GENERATING, or_(messages.c.lease_until <= now, is_gone(messages.c.holder)))
        change = update(messages).where(over).values(status=MessageStatus.INTERRUPTED.value, lease_until=None)
        if not await self._database.read(lambda c: c.execute(select(messages.c.id).where(over).limit(1)).first()):
            return 0
        return await self._database.write(lambda c: c.execute(change).rowcount)

    async def ask_to_stop(self, user_id: str, answer_id: str) -> None:
        """As the port says."""
        mine = (messages.c.id == answer_id, messages.c.user_id == user_id, GENERATING)
        await self._database.write(lambda c: c.execute(update(messages).where(*mine).values(stopping=True)))

    async def going_on(self, answer_ids: Sequence[str]) -> set[str]:
        """As the port says."""
        query = select(messages.c.id).where(messages.c.id.in_(list(answer_ids)), GENERATING, messages.c.stopping.is_(False))
        return set(await self._database.read(lambda c: c.execute(query).scalars().all()))

    async def get_for(self, user_id: str, conversation_id: str) -> Conversation:
        """As the port says."""
        return _conversation(await self._database.read(lambda c: _demand(c, user_id, conversation_id)))

    async def list_for(self, user_id: str, *, search: str = "", tag: str = "", limit: int = 50, cursor: str = "") -> Page[Conversation]:
        """As the port says."""
        words = search.split()[:10]
        query = select(conversations, LAST_ACTIVITY).where(conversations.c.user_id == user_id)
        for word in words:
            said = exists().where(messages.c.conversation_id == conversations.c.id, has(messages.c.content, word))
            query = query.where(or_(has(conversations.c.title, word), said))
        if tag:
            query = query.where(has(cast(conversations.c.tags, Text), msgspec.json.encode(tag).decode()))
        found = query.subquery()
        page = select(found).order_by(found.c.pinned.desc(), found.c.updated_at.desc(), found.c.id.desc()).limit(limit + 1)
        if cursor:
            pinned, at, last = _place(cursor)
            page = page.where(tuple_(found.c.pinned, found.c.updated_at, found.c.id) < tuple_(literal(pinned, Boolean), literal(at, Moment), literal(last)))

        def work(connection: Connection) -> tuple[list[Conversation], bool]:
            rows = connection.execute(page).all()
            items = [_conversation(row) for row in rows[:limit]]
            return [replace(c, found=_found(connection, c.id, words)) for c in items] if words else items, len(rows) > limit

        items, more = await self._database.read(work)
        return Page(items, f"{items[-1].pinned:d}/{items[-1].updated_at.isoformat()}/{items[-1].id}" if more else "")

    async def thread_for(self, user_id: str, conversation_id: str, *, at: str = "", limit: int = 100, before: str = "") -> Thread:
        """As the port says."""

        def work(connection: Connection) -> Thread:
            _demand(connection, user_id, conversation_id)
            leaf: str | None = None
            if before:
                mark = connection.execute(select(messages.c.parent_id).where(messages.c.id == before, messages.c.conversation_id == conversation_id)).scalar()
                leaf = mark or ""
            elif at:
                leaf = connection.execute(NEWEST_BELOW, {"from": at, "conversation": conversation_id}).scalar() or at
            rows = _path(connection, conversation_id, leaf, limit + 1)
            shown = [message_of(row) for row in reversed(rows[:limit])]
            return Thread(tuple(shown), _branches(connection, conversation_id, shown), older=len(rows) > limit)

        return await self._database.read(work)

    async def message_for(self, user_id: str, message_id: str) -> ChatMessage:
        """As the port says."""
        query = select(messages).where(messages.c.id == message_id, messages.c.user_id == user_id)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        if row is None:
            raise NotFound("There is no such message.", hint="It may have been deleted.")
        return message_of(row)

    async def change_for(self, user_id: str, conversation: Conversation) -> None:
        """As the port says."""
        values = {name: getattr(conversation, name) for name in ("title", "pinned", "tags", "settings")}

        def work(connection: Connection) -> None:
            _demand(connection, user_id, conversation.id)
            connection.execute(update(conversations).where(conversations.c.id == conversation.id).values(values))

        await self._database.write(work)

    async def tags_for(self, user_id: str) -> Sequence[str]:
        """As the port says."""
        query = select(conversations.c.tags).where(conversations.c.user_id == user_id).distinct()
        rows = await self._database.read(lambda c: c.execute(query).scalars().all())
        return sorted({tag for tags in rows for tag in tags}, key=str.casefold)

    async def judge(self, feedback: Feedback | None, message_id: str, user_id: str) -> None:
        """As the port says."""

        def work(connection: Connection) -> None:
            mine = select(messages.c.id).where(messages.c.id == message_id, messages.c.user_id == user_id, messages.c.role == "assistant")
            if connection.execute(mine).first() is None:
                raise NotFound("There is no such answer.", hint="It may have been deleted.")
            connection.execute(delete(feedback_table).where(feedback_table.c.message_id == message_id))
            if feedback is not None:
                connection.execute(insert(feedback_table).values({c.name: getattr(feedback, c.name) for c in feedback_table.c}))

        await self._database.write(work)

    async def feedback_for(self, user_id: str, conversation_id: str) -> Mapping[str, Feedback]:
        """As the port says."""
        query = select(feedback_table).join(messages, messages.c.id == feedback_table.c.message_id)
        query = query.where(messages.c.conversation_id == conversation_id, feedback_table.c.user_id == user_id)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return {r.message_id: Feedback(r.message_id, r.user_id, Verdict(r.verdict), r.reason, r.created_at) for r in rows}

    async def delete_for(self, user_id: str, conversation_id: str) -> DeleteReceipt:
        """As the port says."""

        def work(connection: Connection) -> DeleteReceipt:
            _demand(connection, user_id, conversation_id)
            said = select(messages.c.id).where(messages.c.conversation_id == conversation_id)
            spoken = connection.execute(select(voice_requests.c.id).where(voice_requests.c.conversation_id == conversation_id)).scalars().all()
            sounds = (
                select(voice_requests.c.uri).where(voice_requests.c.conversation_id == conversation_id),
                select(voice_responses.c.uri).where(voice_responses.c.request_id.in_(spoken)),
            )
            uris = [{"uri": uri} for query in sounds for uri in connection.execute(query).scalars() if uri]
            if uris:
                connection.execute(insert(stale_objects), uris)
            of = {
                "events": outbox.c.aggregate_id == conversation_id,
                "voice events": outbox.c.aggregate_id.in_(spoken),
                "voice responses": voice_responses.c.request_id.in_(spoken),
                "voice requests": voice_requests.c.conversation_id == conversation_id,
                "feedback": feedback_table.c.message_id.in_(said),
                "shares": shares.c.conversation_id == conversation_id,
                "golden rows": golden_rows.c.message_id.in_(said),
                "messages": messages.c.conversation_id == conversation_id,
                "conversations": conversations.c.id == conversation_id,
            }
            forget(connection, [conversation_id, *spoken])
            removed, left = dict[str, int](), dict[str, int]()
            for kind, where in of.items():
                removed[kind] = connection.execute(delete(where.left.table).where(where)).rowcount
                left[kind] = connection.execute(select(func.count()).where(where)).scalar_one()  # now: without its messages nothing of them would be found
            return DeleteReceipt(removed, left)

        return await self._database.write(work)

    async def drop_before(self, moment: datetime, limit: int) -> int:
        """As the port says."""

        def work(connection: Connection) -> int:
            old = select(messages.c.id, messages.c.conversation_id).where(*_past(moment)).order_by(messages.c.created_at).limit(limit)
            rows = connection.execute(old).all()
            threads = {row.conversation_id for row in rows}
            connection.execute(delete(messages).where(messages.c.id.in_([row.id for row in rows])))
            connection.execute(delete(outbox).where(outbox.c.aggregate_id.in_(threads), outbox.c.at < moment))
            empty = ~exists().where(messages.c.conversation_id == conversations.c.id)
            gone = connection.execute(delete(conversations).where(conversations.c.id.in_(threads), empty).returning(conversations.c.id))
            forget(connection, gone.scalars().all())
            return len(rows)

        if not await self._database.read(lambda c: c.execute(select(messages.c.id).where(*_past(moment)).limit(1)).first()):
            return 0
        return await self._database.write(work)

    async def count_before(self, moment: datetime) -> int:
        """As the port says."""
        return await self._database.read(lambda c: c.execute(select(func.count()).select_from(messages).where(*_past(moment))).scalar_one())

    async def pinned(self, moment: datetime, *, limit: int = 50, cursor: str = "") -> Page[Pin]:
        """As the port says."""
        if cursor and not is_id(cursor):
            raise BadInput("That is no cursor of this list.", hint="Give `next_cursor` back as it came.")
        old = and_(messages.c.conversation_id == conversations.c.id, messages.c.created_at < moment)
        query = (
            select(
                conversations.c.id,
                users.c.username,
                select(func.count()).select_from(messages).where(old).scalar_subquery(),
                select(func.min(messages.c.created_at)).where(old).scalar_subquery(),
            )
            .join(users, users.c.id == conversations.c.user_id)
            .where(conversations.c.pinned, conversations.c.id > cursor)
            .order_by(conversations.c.id)
            .limit(limit + 1)
        )
        found = [Pin(*row) for row in await self._database.read(lambda c: c.execute(query).all())]
        return Page(found[:limit], found[limit - 1].conversation_id if len(found) > limit else "")


def _past(moment: datetime) -> tuple[ColumnElement[bool], ...]:
    """Which messages a sweep up to that moment removes: old ones, but no pinned conversation's."""
    return messages.c.created_at < moment, messages.c.conversation_id.not_in(PINNED)


def record_message(connection: Connection, event: Event) -> None:
    """The recorder's effect of a MessageStored that another program published: the message is in its conversation, once.

    `event.data` has id, role, content and optionally session_id, title and parent_id; the aggregate is the conversation. parent_id: of the message that it
    follows, which has an earlier time and may come later; "" for none; without it it follows the newest that is there. An event for somebody else's
    conversation has no effect. Raises: BadInput for one without the fields, and for a message that is not later than the one it follows.
    """
    role: Literal["user", "assistant", "system"] | None = {"user": "user", "assistant": "assistant", "system": "system"}.get(str(event.data.get("role")))  # type: ignore[assignment]
    message_id, content, parent_id = event.data.get("id"), event.data.get("content"), event.data.get("parent_id")
    if role is None or not (isinstance(message_id, str) and is_id(message_id)) or not isinstance(content, str):
        raise BadInput("The event holds no message.", hint='Its data has to have "id" (a UUID), "role" (user, assistant or system) and "content".')
    MessageContent(content)  # as long as one may be
    at, following = event.at.astimezone(UTC), parent_id if isinstance(parent_id, str) else None
    known = connection.execute(TOLD, {"conversation": event.aggregate_id, "id": message_id, "parent": following}).one()
    if known.owner not in (None, event.user_id) or known.here:
        return
    if following == message_id or (known.before and known.before >= at) or (known.after and known.after <= at):  # so that no message can come before itself
        raise BadInput("The message is not later than the one it follows.", hint='"parent_id" is the message before it; each has a time of its own.')
    if known.owner is None:
        title = str(event.data.get("title") or content[:60])
        connection.execute(INSERT_CONVERSATION, {"id": event.aggregate_id, "user_id": event.user_id, "title": title, "created_at": at})
    if following is None:
        following = connection.execute(NEWEST, {"id": event.aggregate_id}).scalar() or ""
    session_id = str(event.data.get("session_id") or "")
    message = ChatMessage(message_id, event.aggregate_id, session_id, event.user_id, role, content, at, parent_id=following)
    connection.execute(INSERT_MESSAGE, [_values(message, None)])
