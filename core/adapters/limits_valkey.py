"""Limits over all processes of a house, counted in Valkey by its own clock. Each process counts its own too, and goes by that while Valkey is away."""

import hashlib
from typing import Any

from core.adapters.shared_process import ProcessLimits
from core.adapters.valkey_server import ValkeyServer

TAKE = """
local time = redis.call('TIME')
local now, lasts = time[1] * 1000 + math.floor(time[2] / 1000), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now + lasts, ARGV[1])
redis.call('PEXPIRE', KEYS[1], math.max(lasts, redis.call('PTTL', KEYS[1])))
return 1
"""
"""A place is a member of a sorted set, with the moment at which it is over."""


class ValkeyLimits:
    """The Limits port."""

    def __init__(self, server: ValkeyServer, here: ProcessLimits) -> None:
        """here: of this process alone."""
        self._server, self._client, self._here = server, server.client, here
        self._take = server.client.register_script(TAKE)

    async def take(self, name: str, holder: str, most: int, lasts_s: float) -> bool:
        """As the port says."""
        if not await self._here.take(name, holder, most, lasts_s):
            return False
        key = _key("places", name)
        taken = await self._server.ask_or(1, lambda: self._take(keys=[key], args=[holder, most, _ms(lasts_s)]))
        if not taken:
            await self._here.give_back(name, holder)
        return bool(taken)

    async def give_back(self, name: str, holder: str) -> None:
        """As the port says."""
        await self._here.give_back(name, holder)
        await self._server.ask_or(0, lambda: self._client.zrem(_key("places", name), holder))

    async def count(self, name: str, lasts_s: float) -> int:
        """As the port says."""
        mine, key = await self._here.count(name, lasts_s), _key("count", name)

        async def one_more() -> int:
            async with self._client.pipeline() as both:
                both.incr(key)
                both.pexpire(key, _ms(lasts_s))
                counted, _ = await both.execute()
                return int(counted)

        return await self._server.ask_or(mine, one_more)

    async def bar(self, name: str, lasts_s: float) -> None:
        """As the port says."""
        await self._here.bar(name, lasts_s)
        await self._server.ask_or(None, lambda: self._client.set(_key("bar", name), 1, px=_ms(lasts_s)))

    async def barred_s(self, *names: str) -> float:
        """As the port says."""

        async def left_s() -> Any:
            async with self._client.pipeline(transaction=False) as all_of_them:
                for name in names:
                    all_of_them.pttl(_key("bar", name))
                return max(0.0, *await all_of_them.execute()) / 1000

        return max(await self._here.barred_s(*names), await self._server.ask_or(0.0, left_s))

    async def clear(self, *names: str) -> None:
        """As the port says."""
        await self._here.clear(*names)
        await self._server.ask_or(0, lambda: self._client.delete(*(_key(kind, name) for kind in ("count", "bar") for name in names)))


def _key(kind: str, name: str) -> str:
    """Names hold what users write, which is never a part of a key."""
    return f"hearth:{kind}:{hashlib.sha256(name.encode()).hexdigest()[:32]}"


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
