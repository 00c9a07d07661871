"""Everything a user has in the records: counted, listed for an export, and erased in one transaction."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, cast, delete, func, literal, select, tuple_, union_all

from core.adapters.conversations_sql import message_of
from core.adapters.database_sql import Database, upsert
from core.adapters.events_outbox import forget
from core.adapters.tables_sql import (
    api_keys,
    artifacts,
    chunk_vectors,
    chunks,
    collection_versions,
    collections,
    conversations,
    documents,
    feedback,
    golden_rows,
    ingest_jobs,
    ingest_pauses,
    messages,
    metadata,
    outbox,
    pipeline_runs,
    prompts,
    run_metrics,
    run_steps,
    sessions,
    shares,
    stale_objects,
    triggers,
    usage,
    users,
    voice_requests,
    voice_responses,
)
from core.adapters.voice_sql import spoken_turn
from core.chat.model import ChatMessage
from core.errors import NotFound
from core.records import DeleteReceipt, Page
from core.voice.model import SpokenTurn

SLICED, SLICE_ROWS = ("events", "vectors", "chunks"), 2_000
"""What there can be very much of, and how many of them one transaction removes."""
NAMING = [table for table in metadata.sorted_tables if "uri" in table.c]
"""Whatever names objects."""


def _theirs(user_id: str) -> dict[str, ColumnElement[bool]]:
    """What belongs to a user, by kind, in an order in which it can be removed."""
    talks = select(conversations.c.id).where(conversations.c.user_id == user_id)
    shelves = select(collections.c.id).where(collections.c.owner_id == user_id)
    papers = select(documents.c.id).where(documents.c.collection_id.in_(shelves))
    spoken = select(voice_requests.c.id).where(voice_requests.c.user_id == user_id)
    runs = select(pipeline_runs.c.id).where(pipeline_runs.c.user_id == user_id)
    return {
        "feedback": feedback.c.user_id == user_id,
        "shares": shares.c.user_id == user_id,
        "prompts": prompts.c.user_id == user_id,
        "golden rows": golden_rows.c.owner_id == user_id,
        "voice responses": voice_responses.c.request_id.in_(spoken),
        "voice requests": voice_requests.c.user_id == user_id,
        "artifacts": artifacts.c.run_id.in_(runs),
        "steps": run_steps.c.run_id.in_(runs),
        "metrics": run_metrics.c.run_id.in_(runs),
        "runs": pipeline_runs.c.user_id == user_id,
        "triggers": triggers.c.user_id == user_id,
        "events": outbox.c.user_id == user_id,
        "messages": messages.c.conversation_id.in_(talks),
        "conversations": conversations.c.user_id == user_id,
        "vectors": chunk_vectors.c.chunk_n.in_(select(chunks.c.n).where(chunks.c.collection_id.in_(shelves))),
        "chunks": chunks.c.collection_id.in_(shelves),
        "jobs": ingest_jobs.c.document_id.in_(papers),
        "documents": documents.c.collection_id.in_(shelves),
        "pauses": ingest_pauses.c.user_id == user_id,
        "versions of collections": collection_versions.c.collection_id.in_(shelves),
        "collections": collections.c.owner_id == user_id,
        "days of usage": usage.c.user_id == user_id,
        "keys": api_keys.c.user_id == user_id,
        "sessions": sessions.c.user_id == user_id,
        "users": users.c.id == user_id,
    }


def _objects(user_id: str) -> Select[Any]:
    """(name, uri) of each of a user's objects."""
    papers = select((literal("documents/") + documents.c.id + "/" + func.coalesce(func.nullif(documents.c.name, ""), documents.c.title)), documents.c.uri)
    versions = select((literal("documents/") + documents.c.id + "/v" + cast(ingest_jobs.c.version, Text)), ingest_jobs.c.uri).join_from(ingest_jobs, documents)
    asked = select(literal("voice/") + voice_requests.c.id + "." + voice_requests.c.format, voice_requests.c.uri)
    answers = select(literal("voice/") + voice_requests.c.id + "-answer." + voice_responses.c.audio_format, voice_responses.c.uri).join_from(
        voice_responses, voice_requests
    )
    made = select(literal("runs/") + artifacts.c.run_id + "/" + artifacts.c.id + "-" + artifacts.c.name, artifacts.c.uri).join_from(artifacts, pipeline_runs)
    every = union_all(
        papers.where(documents.c.owner_id == user_id),
        versions.where(documents.c.owner_id == user_id),
        asked.where(voice_requests.c.user_id == user_id),
        answers.where(voice_requests.c.user_id == user_id),
        made.where(pipeline_runs.c.user_id == user_id),
    ).subquery()
    name, uri = every.c
    return select(func.min(name), uri).where(uri != "").group_by(uri).order_by(uri)


class SqlBelongings:
    """Belongings over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def counts(self, user_id: str) -> Mapping[str, int]:
        """As the port says."""
        return await self._database.read(lambda c: _counted(c, user_id))

    async def erase(self, user_id: str) -> tuple[DeleteReceipt, Sequence[str]]:
        """As the port says."""

        def work(connection: Connection) -> tuple[DeleteReceipt, Sequence[str]]:
            if connection.execute(select(users.c.id).where(users.c.id == user_id)).first() is None:
                raise NotFound("There is no such user.")
            uris = [str(row[1]) for row in connection.execute(_objects(user_id))]
            if uris:
                connection.execute(upsert(stale_objects).on_conflict_do_nothing(), [{"uri": uri} for uri in uris])
            forget(connection, user_id=user_id)
            left = {}
            for kind, where in _theirs(user_id).items():
                removed[kind] += connection.execute(delete(where.left.table).where(where)).rowcount
                left[kind] = _count(connection, where)  # now: once what it belongs to is gone, nothing would be found any more
            return DeleteReceipt(dict(removed), left), uris

        removed = Counter[str]()
        for kind in SLICED:
            part = partial(_slice, where=_theirs(user_id)[kind])
            while gone := await self._database.write(part):
                removed[kind] += gone
        return await self._database.write(work)

    async def objects(self, user_id: str, *, limit: int = 50, cursor: str = "") -> Page[tuple[str, str]]:
        """As the port says."""
        query = _objects(user_id).limit(limit + 1)
        rows = await self._database.read(lambda c: c.execute(query.having(query.selected_columns[1] > cursor) if cursor else query).all())
        return Page([(row[0], row[1]) for row in rows[:limit]], rows[limit - 1][1] if len(rows) > limit else "")

    async def named(self, *, limit: int = 1000, cursor: str = "") -> Page[str]:
        """As the port says."""
        number, _, after = cursor.partition(" ")
        at = int(number or 0)
        (key,) = NAMING[at].primary_key
        query = select(key, NAMING[at].c.uri).where(key > after).order_by(key).limit(limit)
        rows = await self._database.read(lambda c: c.execute(query).all())
        more = f"{at} {rows[-1][0]}" if len(rows) == limit else f"{at + 1} " if at + 1 < len(NAMING) else ""
        return Page([row[1] for row in rows if row[1]], more)

    async def spoken(self, user_id: str, *, limit: int = 200, cursor: str = "") -> Page[SpokenTurn]:
        """As the port says."""
        query = select(voice_requests).where(voice_requests.c.user_id == user_id, voice_requests.c.id > cursor).order_by(voice_requests.c.id).limit(limit + 1)
        turns = await self._database.read(lambda c: [spoken_turn(c, row) for row in c.execute(query).all()])
        return Page(turns[:limit], turns[limit - 1].request.id if len(turns) > limit else "")

    async def messages(self, user_id: str, conversation_id: str, *, limit: int = 200, cursor: str = "") -> Page[ChatMessage]:
        """As the port says."""
        query = select(messages).join(conversations).where(messages.c.conversation_id == conversation_id, conversations.c.user_id == user_id)
        query = query.order_by(messages.c.id).limit(limit + 1)
        rows = await self._database.read(lambda c: c.execute(query.where(messages.c.id > cursor) if cursor else query).all())
        return Page([message_of(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else "")


def _counted(connection: Connection, user_id: str) -> dict[str, int]:
    return {kind: _count(connection, where) for kind, where in _theirs(user_id).items()}


def _count(connection: Connection, where: ColumnElement[bool]) -> int:
    return int(connection.execute(select(func.count()).where(where)).scalar_one())


def _slice(connection: Connection, where: ColumnElement[bool]) -> int:
    """Removes some of it; says how many."""
    table = where.left.table
    return connection.execute(delete(table).where(tuple_(*table.primary_key).in_(select(*table.primary_key).where(where).limit(SLICE_ROWS)))).rowcount
