"""The local models as the console sees them: what is in memory, asked of the inference process; what is on the disk, and fetching it."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
import anyio
import msgspec

from core.errors import IllegalStep
from core.inference import Caller, CatalogueEntry, Priority, Residences, Service
from inference.catalog import Entry, folder_of, load, state
from inference.client import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, ModelServer
from inference.fetch import fetch

NOBODY = Caller("console", Priority.PREMIUM)


class LocalResidency:
    """The Residency port over the local inference process."""

    def __init__(self, server: ModelServer) -> None:
        self._server = server

    async def status(self) -> Residences:
        """As the port says."""
        return msgspec.convert(await self._server.get("status"), Residences)

    async def load(self, service: Service) -> Residences:
        """As the port says."""
        return await self._post("load", service)

    async def unload(self, service: Service) -> Residences:
        """As the port says."""
        return await self._post("unload", service)

    async def _post(self, what: str, service: Service) -> Residences:
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        async with self._server.post(what, {"service": service.value}, NOBODY, timeout) as response:
            return msgspec.json.decode(await response.read(), type=Residences)


class ModelShelf:
    """The Catalogue port over the models' folder."""

    def __init__(self, models_folder: Path) -> None:
        self._folder = models_folder

    async def entries(self) -> Sequence[CatalogueEntry]:
        """As the port says."""
        return await anyio.to_thread.run_sync(lambda: [self._shown(e) for e in sorted(load().values(), key=lambda e: (e.service, e.name))])

    def _shown(self, e: Entry) -> CatalogueEntry:
        known, folder = state(e.name, self._folder, e.service), folder_of(e, self._folder)
        there = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) if known == "ready" else 0
        source = e.source or (f"the files of {e.weights}" if e.weights else "")
        return CatalogueEntry(e.name, e.service, e.licence, known, e.download_bytes, e.dimensions, e.context_tokens, e.languages, e.note, source, there)

    async def fetch(self, name: str, on_progress: Callable[[int, int | None, str], None]) -> None:
        """As the port says."""
        stopped = threading.Event()

        def told(done: int, total: int | None, what: str) -> None:
            if stopped.is_set():
                raise IllegalStep("It was stopped.")
            on_progress(done, total, what)

        work = asyncio.create_task(asyncio.to_thread(fetch, name, self._folder, told))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            stopped.set()
            await asyncio.gather(work, return_exceptions=True)  # it tidies up
            raise
