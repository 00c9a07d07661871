"""What has been asked and answered over all users, in SQL."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import func, literal, select

from core.adapters.conversations_sql import message_of
from core.adapters.database_sql import Database
from core.adapters.tables_sql import EPOCH, messages, usage, voice_requests, voice_responses
from core.adapters.usage_sql import day_of
from core.chat.model import ChatMessage
from core.users.model import Used
from core.voice.model import VoiceTiming


class SqlTraffic:
    """Traffic over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def latest_answers(self, since: datetime, limit: int) -> Sequence[ChatMessage]:
        """As the port says."""
        columns = [literal("").label("content") if c.name == "content" else c for c in messages.c]
        query = select(*columns).where(messages.c.created_at >= since, messages.c.role == "assistant").order_by(messages.c.created_at.desc()).limit(limit)
        return await self._database.read(lambda c: [_lean(message_of(row)) for row in c.execute(query)])

    async def latest_spoken(self, since: datetime, limit: int) -> Sequence[VoiceTiming]:
        """As the port says."""
        query = select(voice_responses.c.timing).join(voice_requests).where(voice_requests.c.created_at >= since)
        query = query.order_by(voice_requests.c.created_at.desc()).limit(limit)
        return await self._database.read(lambda c: [msgspec.convert(timing, VoiceTiming) for timing in c.execute(query).scalars()])

    async def days(self, until: datetime, count: int) -> Sequence[tuple[datetime, Used]]:
        """As the port says."""
        last = day_of(until)
        sums = (func.sum(usage.c.tokens), func.sum(usage.c.requests), func.sum(usage.c.audio_ms))
        query = select(usage.c.day, *sums).where(usage.c.day <= last, usage.c.day > last - count).group_by(usage.c.day)
        rows = {row[0]: Used(*row[1:]) for row in await self._database.read(lambda c: c.execute(query).all())}
        return [(EPOCH + timedelta(days=day), rows.get(day, Used())) for day in range(last - count + 1, last + 1)]


def _lean(message: ChatMessage) -> ChatMessage:
    """Without what was quoted: only figures are asked for."""
    return replace(message, metadata=replace(message.metadata, sources=(), summary=""))
