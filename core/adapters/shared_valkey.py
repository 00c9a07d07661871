"""What the processes of a house share, in one Valkey or Redis server. While it is away they keep to the records and to themselves (docs/adr/0040)."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Self

from core.adapters.lanes_valkey import ValkeyLanes
from core.adapters.limits_valkey import ValkeyLimits
from core.adapters.sessions_valkey import ValkeySessions
from core.adapters.shared_process import ProcessLimits
from core.adapters.signals_valkey import ValkeySignals
from core.adapters.valkey_server import ValkeyServer
from core.ports import Sessions


class ValkeyShared:
    """Sessions, signals, limits and lanes over one server."""

    def __init__(self, url: str, *, sessions: Sessions, clock: Callable[[], datetime]) -> None:
        """sessions: as they are stored. Raises: SettingsError for an address that is none."""
        self._server = ValkeyServer(url)
        self.check, self.facts = self._server.check, self._server.facts
        self.sessions = ValkeySessions(self._server, sessions)
        self.signals = ValkeySignals(self._server)
        self.limits = ValkeyLimits(self._server, ProcessLimits(lambda: clock().timestamp()))
        self._lanes: list[ValkeyLanes] = []
        self._opened = AsyncExitStack()

    @property
    def adapter(self) -> str:
        """Which server it is, once it has answered."""
        return self._server.adapter

    async def __aenter__(self) -> Self:
        """Connects; a server that is away keeps nobody from starting."""
        await self._opened.enter_async_context(self._server)
        await self._opened.enter_async_context(self.signals)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Closes every connection."""
        await self._opened.aclose()

    def lanes(self, name: str, places: int, *, queue: int) -> ValkeyLanes:
        """Places before a model, and the queue for them. name: of the model's service."""
        self._lanes.append(made := ValkeyLanes(self._server, self.signals, name, places, queue=queue))
        return made

    async def keep_up(self) -> None:
        """Once a second: what isn't told again runs out."""
        for lanes in self._lanes:
            await lanes.keep_up()
