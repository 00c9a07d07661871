"""Spoken requests and responses in SQL. The bytes of their sound are in the object store; a row whose sound is gone has an empty uri."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, CompoundSelect, Connection, Row, delete, func, insert, select, union_all, update
from sqlalchemy.exc import IntegrityError

from core.adapters.database_sql import Database
from core.adapters.events_outbox import append, forget
from core.adapters.tables_sql import PINNED, outbox, voice_requests, voice_responses
from core.adapters.usage_sql import count
from core.errors import AlreadyThere, NotFound
from core.events import Event
from core.voice.model import AudioFormat, SpokenTurn, Transcription, VoiceRequest, VoiceResponse, VoiceTiming

SOUNDING = (voice_requests, voice_responses)


def spoken_turn(connection: Connection, row: Row[Any]) -> SpokenTurn:
    """The turn of a row of the requests."""
    transcription = msgspec.convert(row.transcription, Transcription)
    request = VoiceRequest(
        row.id,
        row.user_id,
        "",
        AudioFormat(row.format),
        row.language,
        row.premium,
        row.enable_rag,
        conversation_id=row.conversation_id,
        session_id=row.session_id,
        created_at=row.created_at,
        uri=row.uri,
        sha256=row.sha256,
    )
    found = connection.execute(select(voice_responses).where(voice_responses.c.request_id == row.id)).one_or_none()
    return SpokenTurn(request, transcription, None if found is None else _response(found, transcription.text))


def _response(row: Row[Any], transcription: str) -> VoiceResponse:
    return VoiceResponse(
        row.id,
        row.request_id,
        transcription,
        row.response_text,
        "",
        AudioFormat(row.audio_format),
        row.latency_ms,
        row.rag_docs_used,
        created_at=row.created_at,
        uri=row.uri,
        error=row.error,
        interrupted=row.interrupted,
        timing=msgspec.convert(row.timing, VoiceTiming),
    )


class SqlSpokenTurns:
    """Spoken turns over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def accept(self, turn: SpokenTurn, events: Sequence[Event]) -> SpokenTurn:
        """As the port says."""
        request = turn.request

        def work(connection: Connection) -> SpokenTurn:
            row = connection.execute(select(voice_requests).where(voice_requests.c.id == request.id)).one_or_none()
            if row is None:
                named = [c.name for c in voice_requests.c if c.name != "transcription"]
                connection.execute(insert(voice_requests).values({n: getattr(request, n) for n in named} | {"transcription": turn.transcription}))
                append(connection, events)
                if request.created_at is not None:
                    count(connection, request.user_id, request.created_at, audio_ms=turn.transcription.duration_ms)
                return turn
            if row.user_id != request.user_id:
                raise NotFound("There is no such request.", hint="Make a new id for each.")
            if row.sha256 != request.sha256 or row.conversation_id != request.conversation_id:
                raise AlreadyThere("That id was used for another recording.", hint="Make a new id for each recording.")
            return spoken_turn(connection, row)

        return await self._database.write(work)

    async def answer(self, response: VoiceResponse, events: Sequence[Event]) -> VoiceResponse:
        """As the port says."""
        values = {c.name: getattr(response, c.name) for c in voice_responses.c}

        def work(connection: Connection) -> VoiceResponse:
            row = connection.execute(select(voice_responses).where(voice_responses.c.request_id == response.request_id)).one_or_none()
            if row is not None:
                return _response(row, response.transcription)
            connection.execute(insert(voice_responses).values(values))
            append(connection, events)
            return response

        try:
            return await self._database.write(work)
        except IntegrityError as error:
            raise NotFound("There is no such request.", hint="It may have been deleted.") from error

    async def turn_for(self, user_id: str, request_id: str) -> SpokenTurn:
        """As the port says."""
        query = select(voice_requests).where(voice_requests.c.id == request_id, voice_requests.c.user_id == user_id)

        def work(connection: Connection) -> SpokenTurn:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise NotFound("There is no such request.", hint="It may have been deleted.")
            return spoken_turn(connection, row)

        return await self._database.read(work)

    async def audio_before(self, moment: datetime, limit: int) -> Sequence[str]:
        """As the port says."""
        return await self._database.read(lambda c: c.execute(_sounds_before(moment).limit(limit)).scalars().all())

    async def count_audio_before(self, moment: datetime) -> int:
        """As the port says."""
        query = select(func.count()).select_from(_sounds_before(moment).subquery())
        return await self._database.read(lambda c: c.execute(query).scalar_one())

    async def forget_audio(self, uris: Sequence[str]) -> None:
        """As the port says."""

        def work(connection: Connection) -> None:
            for table in SOUNDING:
                connection.execute(update(table).where(table.c.uri.in_(uris)).values(uri=""))

        await self._database.write(work)

    async def drop_before(self, moment: datetime, limit: int) -> int:
        """As the port says."""
        old = select(voice_requests.c.id).where(*_past(moment)).order_by(voice_requests.c.created_at).limit(limit)

        def work(connection: Connection) -> int:
            ids = connection.execute(old).scalars().all()
            forget(connection, ids)
            connection.execute(delete(outbox).where(outbox.c.aggregate_id.in_(ids)))
            connection.execute(delete(voice_responses).where(voice_responses.c.request_id.in_(ids)))
            return connection.execute(delete(voice_requests).where(voice_requests.c.id.in_(ids))).rowcount

        if not await self._database.read(lambda c: c.execute(old.limit(1)).first()):
            return 0
        return await self._database.write(work)

    async def count_before(self, moment: datetime) -> int:
        """As the port says."""
        return await self._database.read(lambda c: c.execute(select(func.count()).select_from(voice_requests).where(*_past(moment))).scalar_one())


def _past(moment: datetime) -> tuple[ColumnElement[bool], ...]:
    """Which requests a sweep up to that moment removes: old ones, but no pinned conversation's."""
    return voice_requests.c.created_at < moment, voice_requests.c.conversation_id.not_in(PINNED)


def _sounds_before(moment: datetime) -> CompoundSelect[Any]:
    return union_all(*(select(t.c.uri).where(t.c.uri != "", t.c.created_at < moment) for t in SOUNDING))
