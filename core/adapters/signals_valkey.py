"""Signals over one channel of Valkey that every process of a house listens to."""

import asyncio
import logging
from contextlib import suppress
from typing import Any

import msgspec

from core.adapters.shared_process import ProcessSignals
from core.adapters.valkey_server import ASK_S, FAILURES, RETURN_EVERY_S, ValkeyServer
from core.ids import new_id
from core.signals import Signal

log = logging.getLogger(__name__)

CHANNEL = "hearth:signals"
QUIET_S = 1.0
"""After so long without a word the server is asked whether it is still there: so the loss of it is noticed where nobody asks for anything."""


class ValkeySignals(ProcessSignals):
    """The Signals port. `async with` listens to the others."""

    def __init__(self, server: ValkeyServer) -> None:
        super().__init__()
        self._server, self._me = server, new_id()
        self._listens = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "ValkeySignals":
        """Waits for a moment until it is heard from then on; a server that is away is listened to when it is back."""
        self._listening = asyncio.create_task(self._listen(), name="signals")
        with suppress(TimeoutError):
            await asyncio.wait_for(self._listens.wait(), 2 * ASK_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stops listening."""
        assert self._listening is not None
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def send(self, signal: Signal, *about: str) -> bool:
        """As the port says."""
        await super().send(signal, *about)
        word = msgspec.json.encode((self._me, signal, *about))
        return await self._server.ask_or(-1, lambda: self._server.client.publish(CHANNEL, word)) >= 0

    async def _listen(self) -> None:
        while True:
            try:
                async with self._server.client.pubsub() as words:
                    await words.subscribe(CHANNEL)
                    while True:
                        self._take(await _next(words))
            except FAILURES as error:
                self._server.lost(error)
            await asyncio.sleep(RETURN_EVERY_S)

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":
            self._listens.set()
        if message["type"] != "message":
            return
        try:
            sender, word, *about = msgspec.json.decode(message["data"], type=list[str])
            signal = Signal(word)
        except ValueError:
            log.warning("a signal that this version doesn't know was passed over")
            return
        if sender != self._me:  # its own it has heard already
            self.hear(signal, *about)


async def _next(words: Any) -> dict[str, Any]:
    """Raises: TimeoutError if the server says nothing, and doesn't answer either."""
    message: dict[str, Any] | None = await words.get_message(timeout=QUIET_S)
    if message is None:
        await words.ping()
        message = await words.get_message(timeout=ASK_S)
    if message is None:
        raise TimeoutError
    return message
