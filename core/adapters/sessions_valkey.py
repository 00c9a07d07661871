"""Sessions as the records have them, with copies in Valkey that are asked instead (docs/adr/0040)."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from core.adapters.valkey_server import RETURN_EVERY_S, ValkeyServer
from core.errors import ServiceUnavailable
from core.events import Event
from core.ports import Sessions
from core.records import Page
from core.users.model import SESSION_LIFETIME, Session

CLOSED = b"closed"
"""What stands in place of a copy whose session was ended; no copy is put over it."""
SETTLED_S = 2 * RETURN_EVERY_S
"""So long after Valkey came back the records are still asked: other processes may have ended sessions meanwhile, and are about to say so there."""
UNLESS_CLOSED = "if redis.call('GET', KEYS[1]) ~= 'closed' then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end"


class ValkeySessions:
    """The Sessions port: every change goes into the records first, every question to Valkey, and to the records where that has no answer."""

    def __init__(self, server: ValkeyServer, records: Sessions) -> None:
        """records: where sessions are stored."""
        self._server, self._records = server, records
        self._keep = server.client.register_script(UNLESS_CLOSED)
        self._owed: set[str] = set()
        """Hashes of sessions that were ended while Valkey could not be told. It is told before it is asked again."""
        server.before_return(self._tell_owed)

    async def open(self, session: Session, token_hash: str, events: Sequence[Event]) -> None:
        """As the port says. The copy is put like any other: a command that was given up may still arrive, after the session has been ended."""
        await self._records.open(session, token_hash, events)
        await self._put(token_hash, session, session.expires_at - session.started_at)

    async def find(self, token_hash: str, now: datetime) -> Session | None:
        """As the port says."""
        if token_hash in self._owed or time.monotonic() - self._server.back_at < SETTLED_S:
            return await self._records.find(token_hash, now)
        try:
            copy = await self._server.ask(lambda: self._server.client.get(_key(token_hash)))
        except ServiceUnavailable:
            return await self._records.find(token_hash, now)
        if copy == CLOSED:
            return None
        if copy is not None and (session := _session(copy)) is not None:
            return session if session.expires_at > now else None
        found = await self._records.find(token_hash, now)
        if found is not None:
            await self._put(token_hash, found, found.expires_at - now)
        return found

    async def touch(self, token_hash: str, session: Session) -> bool:
        """As the port says. This is also where a copy meets the truth: one that was ended without Valkey's knowledge is found out when it is touched."""
        if await self._records.touch(token_hash, session):
            await self._put(token_hash, session, session.expires_at - session.last_activity)
            return True
        await self._close([token_hash])
        return False

    async def close(self, token_hash: str) -> None:
        """As the port says."""
        await self._records.close(token_hash)
        await self._close([token_hash])

    async def close_all(self, user_id: str) -> Sequence[str]:
        """As the port says."""
        closed = await self._records.close_all(user_id)
        await self._close(closed)
        return closed

    async def of(self, user_id: str, now: datetime, *, limit: int = 50, cursor: str = "") -> Page[Session]:
        """As the port says."""
        return await self._records.of(user_id, now, limit=limit, cursor=cursor)

    async def close_one(self, user_id: str, session_id: str) -> str:
        """As the port says."""
        closed = await self._records.close_one(user_id, session_id)
        await self._close([closed])
        return closed

    async def drop_expired(self, now: datetime) -> int:
        """As the port says."""
        return await self._records.drop_expired(now)

    async def count_expired(self, now: datetime) -> int:
        """As the port says."""
        return await self._records.count_expired(now)

    async def _put(self, token_hash: str, session: Session, lasts: timedelta) -> None:
        key, copy = _key(token_hash), msgspec.json.encode(session)
        await self._server.ask_or(None, lambda: self._keep(keys=[key], args=[copy, _ms(lasts)]))

    async def _close(self, token_hashes: Sequence[str]) -> None:
        """Puts the marks; where that fails they are owed."""
        self._owed.update(token_hashes)
        if token_hashes:
            await self._server.ask_or(None, self._tell_owed)

    async def _tell_owed(self) -> None:
        if owed := list(self._owed):
            async with self._server.client.pipeline(transaction=False) as marks:
                for token_hash in owed:
                    marks.set(_key(token_hash), CLOSED, px=_ms(SESSION_LIFETIME))
                await marks.execute()
            self._owed.difference_update(owed)


def _session(copy: bytes | str) -> Session | None:
    """None for a copy of another version of Hearth."""
    try:
        return msgspec.json.decode(copy, type=Session)
    except msgspec.MsgspecError:
        return None


def _key(token_hash: str) -> str:
    return f"hearth:session:{token_hash}"


def _ms(lasts: timedelta) -> int:
    return max(1, int(lasts / timedelta(milliseconds=1)))
