"""Which models are in memory: loaded on first use, kept while somebody uses them, unloaded after idle time."""

import asyncio
import gc
import logging
import os
import resource
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio

from core.errors import HearthError, ModelError, ModelMissing
from inference.catalog import Entry, demand
from inference.engine import ENGINES, EngineSettings

log = logging.getLogger(__name__)

_ONE_LOAD = threading.Lock()
"""transformers changes torch's defaults for the whole process while it loads: two models loaded at once break each other."""


class Resident:
    """One model that may be in memory. `async with resident.used() as engine` loads it if need be and keeps it meanwhile."""

    def __init__(self, wanted: Entry, models_folder: Path, *, threads: int, idle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """idle_s: unload after so long without use; −1 never, 0 at once."""
        self.entry, self._models_folder, self._threads, self._idle_s, self._clock = wanted, models_folder, threads, idle_s, clock
        self._engine: Any = None
        self._users = 0
        self._last_used = clock()
        self._loading = asyncio.Lock()
        self.load_ms: float | None = None
        self._grown_bytes = 0

    @property
    def loaded(self) -> bool:
        """Whether it is in memory."""
        return self._engine is not None

    @property
    def device(self) -> str:
        """The processor it runs on, as torch names it; "" while it isn't in memory."""
        return getattr(self._engine, "device", "cpu") if self.loaded else ""

    @property
    def grown_bytes(self) -> int | None:
        """By how much the process grew while it was loaded, which on a graphics card is not where its weights are; None while it isn't in memory."""
        return self._grown_bytes if self.loaded else None

    @asynccontextmanager
    async def used(self) -> AsyncIterator[Any]:
        """The engine. Raises: ModelMissing, ModelError if it can't be loaded."""
        self._users += 1
        try:
            async with self._loading:
                if self._engine is None:
                    begun, before = self._clock(), resident_bytes()
                    self._engine = await self._load()
                    self.load_ms, self._grown_bytes = (self._clock() - begun) * 1000, max(0, resident_bytes() - before)
            yield self._engine
        finally:
            self._users -= 1
            self._last_used = self._clock()
            if self._idle_s == 0:
                await self.unload_if_idle()

    async def _load(self) -> Any:
        folder = demand(self.entry, self._models_folder) if self.entry.source or self.entry.weights else self._models_folder
        settings = EngineSettings(folder, self._threads, self.entry.max_tokens or self.entry.context_tokens or 4096)
        module, _, name = ENGINES[self.entry.engine].partition(":")

        def make() -> Any:
            with _ONE_LOAD:
                return getattr(import_module(module), name)(settings)

        try:
            return await anyio.to_thread.run_sync(make)
        except ImportError as error:
            raise ModelMissing(
                f"The model {self.entry.name} needs software that is not installed ({error.name}).",
                model=self.entry.name,
                hint=f"Install it with `pip install 'hearth[{self.entry.extra}]'`, or point HEARTH_{self.entry.service.upper()}_URL at a server.",
            ) from error
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            log.exception("the model %s can't be loaded", self.entry.name)
            first = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise ModelError(
                f"The model {self.entry.name} can't be loaded: {first}", model=self.entry.name, hint="Fetch it again with `hearth models fetch`."
            ) from error

    async def unload_if_idle(self) -> bool:
        """Frees the memory if nobody uses it and its time is over; says whether it did."""
        if self._engine is None or self._idle_s < 0 or self.idle_s < self._idle_s:
            return False
        return await self.unload()

    async def unload(self) -> bool:
        """Frees the memory unless somebody uses it; says whether nothing of it is there now."""
        if self._users:
            return False
        if self._engine is not None:
            await self.close()
            log.info("unloaded %s", self.entry.name)
        return True

    @property
    def idle_s(self) -> float:
        """How long nobody has used it; 0 while somebody does."""
        return 0.0 if self._users else self._clock() - self._last_used

    @property
    def unload_after_s(self) -> float:
        """After how long without use it is unloaded; -1 never."""
        return self._idle_s

    async def close(self) -> None:
        """Frees the memory."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.close()
        del engine
        gc.collect()

    async def preload(self) -> None:
        """Loads it before it is needed; a failure is kept for whoever needs it."""
        try:
            async with self.used():
                pass
        except HearthError as error:
            log.warning("%s", error)


def resident_bytes() -> int:
    """How much memory this process holds; where the system doesn't say, the most it has held."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
