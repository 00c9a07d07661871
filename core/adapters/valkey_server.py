"""A Valkey or Redis server as the house asks it: within half a second, or not at all while it is away.

Nothing is kept there alone. Whoever asks has an answer of their own for when it is away; the first failure makes it so, for everybody in this process, until it
has answered again.
"""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError

from core.errors import ServiceRefused, ServiceUnavailable, SettingsError
from core.records import Facts

log = logging.getLogger(__name__)

ASK_S = 0.5
"""How long an answer may take, with connecting."""
RETURN_EVERY_S = 1.0
"""How often one that is away is asked whether it is back. Nobody waits for that."""
CONNECTIONS = 32
PROBE = "hearth:probe"
FAILURES = (RedisError, OSError, TimeoutError)
T = TypeVar("T")


class ValkeyServer:
    """One server, Valkey 8 or Redis 7 or newer, over one pool of connections."""

    def __init__(self, url: str) -> None:
        """url: valkey:// or redis://user:password@host:6379/0; valkeys:// or rediss:// for TLS. Raises: SettingsError for an address that is none."""
        try:
            pool = BlockingConnectionPool.from_url(
                url.replace("valkey", "redis", 1) if url.startswith("valkey") else url,
                max_connections=CONNECTIONS,
                timeout=ASK_S,
                socket_connect_timeout=ASK_S,
                socket_timeout=ASK_S,
                retry=Retry(NoBackoff(), 0),
                client_name="hearth",
                protocol=2,
            )
        except ValueError as error:
            raise SettingsError("HEARTH_SESSIONS_URL is no address of a server.", hint="It looks like redis://user:password@host:6379/0.") from error
        self.client: Redis = Redis.from_pool(pool)
        self.adapter = "Valkey or Redis"
        self.back_at = -math.inf
        """When it came back the last time, on the monotonic clock in seconds."""
        self._returning: asyncio.Task[None] | None = None
        self._before_return: list[Callable[[], Awaitable[None]]] = []

    async def __aenter__(self) -> Self:
        """Asks it once; one that is away keeps nobody from starting."""
        try:
            await self._greet()
        except FAILURES as error:
            self.lost(error)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes every connection."""
        if self._returning is not None:
            self._returning.cancel()
            await asyncio.gather(self._returning, return_exceptions=True)
        await self.client.aclose()

    @property
    def away(self) -> bool:
        """Whether it did not answer the last time, and has not been heard of since."""
        return self._returning is not None

    def before_return(self, work: Callable[[], Awaitable[None]]) -> None:
        """What has to be done first when it is there again: until that has worked it counts as away."""
        self._before_return.append(work)

    async def ask(self, work: Callable[[], Awaitable[T]]) -> T:
        """Does something with `client`. Raises: ServiceUnavailable, at once while it is away."""
        if self.away:
            raise _unavailable()
        try:
            async with asyncio.timeout(ASK_S):
                return await work()
        except FAILURES as error:
            self.lost(error)
            raise _unavailable() from error

    async def ask_or(self, otherwise: T, work: Callable[[], Awaitable[Any]]) -> T:
        """The same, for who has an answer of their own while it is away."""
        try:
            answer: T = await self.ask(work)
        except ServiceUnavailable:
            return otherwise
        return answer

    async def check(self) -> None:
        """Asks it now: version, and that it can be written to. Raises: ServiceUnavailable; ServiceRefused for a wrong password."""
        try:
            await self._greet()
        except AuthenticationError as error:
            raise ServiceRefused("Valkey refuses the name or the password.", service="sessions", hint="Check HEARTH_SESSIONS_URL.") from error
        except FAILURES as error:
            raise _unavailable() from error

    async def facts(self) -> Facts:
        """As the port Server says: what Hearth asks of it is tried by `check`."""
        await self.check()
        seconds, microseconds = await self.ask(self.client.time)
        name, _, version = self.adapter.partition(" ")
        at = datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)
        return Facts(version, "8" if name == "Valkey" else "7", at)

    def lost(self, error: Exception) -> None:
        """It has failed somebody: it is away until it answers."""
        if self._returning is None:
            log.warning("Valkey is away (%s): sessions are asked of the records, limits are this process's own", type(error).__name__)
            self._returning = asyncio.create_task(self._return(), name="valkey returns")

    async def _greet(self) -> None:
        async with asyncio.timeout(ASK_S):
            told: dict[str, Any] = await self.client.info("server")
            await self.client.set(PROBE, 1, px=1000)
        name, version = ("Valkey", told["valkey_version"]) if "valkey_version" in told else ("Redis", told.get("redis_version", ""))
        self.adapter = f"{name} {version}".strip()

    async def _return(self) -> None:
        while True:
            await asyncio.sleep(RETURN_EVERY_S)
            try:
                await self._greet()
                for work in self._before_return:
                    async with asyncio.timeout(ASK_S):
                        await work()
            except FAILURES:
                continue
            self.back_at, self._returning = time.monotonic(), None
            log.warning("%s is back", self.adapter)
            return


def _unavailable() -> ServiceUnavailable:
    return ServiceUnavailable(
        "Valkey did not answer.", service="sessions", hint="Check HEARTH_SESSIONS_URL and that the server runs; Hearth goes on without it."
    )
