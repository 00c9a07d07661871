"""Embedding a collection's passages with another model: version N+1 is made in the background, version N is searched until one number changes."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from core.errors import HearthError, IllegalStep, ModelError, NotFound, ServiceError
from core.inference import Caller
from core.ports import ChunkIndex, CollectionVersions, Embedder
from core.rag.chunking import embedding_text
from core.rag.model import Collection, CollectionVersion, VersionState
from core.records import DeleteReceipt, summed

log = logging.getLogger(__name__)
BATCH = 32
"""Passages that are embedded at once: questions are embedded in between."""
LEASE = timedelta(seconds=30)
RETRY_AFTER = timedelta(seconds=10)
POLL_S = 5.0
CATCH_UP_S = 5.0
"""How long `serve` waits for passages that have come since the version was ready."""
LOOK_S = 0.1


class Reembedding:
    """Makes, serves and removes versions. `async with` runs the worker, which takes up what an earlier process left."""

    def __init__(self, versions: CollectionVersions, embedder: Embedder, index: ChunkIndex, clock: Callable[[], datetime]) -> None:
        self._versions, self._embedder, self._index, self._clock = versions, embedder, index, clock
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Starts the worker."""
        self._task = asyncio.create_task(self._work(), name="re-embedding")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Stops it; what it was at goes on at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def versions(self, collection_id: str) -> Sequence[CollectionVersion]:
        """All there are, latest first."""
        return await self._versions.versions(collection_id)

    async def begin(self, collection_id: str, model: str) -> CollectionVersion:
        """The next version, with that model.

        Raises: NotFound; IllegalStep while another is being built; ModelError, ServiceError for a model that is not there.
        """
        length = (await self._embedder.of(model).info()).length()
        begun = await self._versions.begin(collection_id, model, length, self._clock())
        self._arrived.set()
        return begun

    async def again(self, collection_id: str, version: int) -> None:
        """Goes on with one that has failed. Raises: NotFound; IllegalStep while another is being built."""
        await self._versions.again(collection_id, version)
        self._arrived.set()

    async def serve(self, collection_id: str, version: int) -> Collection:
        """From now on this version is searched; what came since it was ready is embedded first. Raises: NotFound; IllegalStep if that takes longer."""
        try:
            return await self._versions.serve(collection_id, version)
        except IllegalStep:
            self._arrived.set()
            if not await self._ready_soon(collection_id, version):
                raise
        return await self._versions.serve(collection_id, version)

    async def _ready_soon(self, collection_id: str, version: int) -> bool:
        """Looks at its row alone: to look for gaps holds up everybody who writes."""
        for _ in range(int(CATCH_UP_S / LOOK_S)):
            await asyncio.sleep(LOOK_S)
            found = next((v for v in await self._versions.versions(collection_id) if v.version == version), None)
            if found is None or found.state is not VersionState.BUILDING:
                return found is not None and found.state is VersionState.READY
        return False

    async def drop(self, collection_id: str, version: int) -> DeleteReceipt:
        """Removes a version, also one that is being built. Raises: NotFound; IllegalStep for the one that is searched."""
        receipt = await self._versions.drop(collection_id, version)
        return summed([receipt, await self._index.drop_collection(collection_id, version)])

    async def _work(self) -> None:
        """Builds one version after the other; one that fails says so and never ends the worker."""
        while True:
            try:
                while await self.build_next():
                    pass
            except Exception:  # the store is away: the versions wait, the worker tries again
                log.exception("re-embedding could not go on")
                await asyncio.sleep(POLL_S)
            self._arrived.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), POLL_S)

    async def build_next(self) -> bool:
        """Builds the version that waits longest, to its end; False if none does."""
        now = self._clock()
        version = await self._versions.lease(now, now + LEASE)
        if version is None:
            return False
        try:
            await self._build(version)
        except NotFound:
            log.info("version %d of collection %s was removed while it was built", version.version, version.collection_id)
        except ServiceError as error:
            if not error.retryable:
                await self._fail(version, error)
                return True
            log.warning("version %d of collection %s waits: %s", version.version, version.collection_id, error)
            await self._versions.store(version, (), self._clock() + RETRY_AFTER, error=f"Waiting: {error.message}")
        except HearthError as error:
            await self._fail(version, error)
        except Exception as error:  # a bug must end this version and no other
            log.exception("version %d of collection %s could not be built", version.version, version.collection_id)
            await self._fail(version, HearthError(f"Something went wrong inside Hearth ({type(error).__name__}).", hint="The log has the cause."))
        return True

    async def _build(self, version: CollectionVersion) -> None:
        """Embeds every passage that has no vector yet. One that comes meanwhile has a higher number and is met on the way, or by `serve`."""
        embedder, after = self._embedder.of(version.embedding_model), 0
        while found := await self._versions.bare(version.collection_id, version.version, BATCH, after):
            texts = [embedding_text(passage.title, passage.chunk) for _, passage in found]
            embedded = await embedder.embed(texts, "document", caller=Caller(user_key=version.collection_id))
            if embedded.vectors.shape[1] != version.dimensions:
                raise ModelError(
                    f"{version.embedding_model} gave {embedded.vectors.shape[1]} numbers for a passage, not {version.dimensions} as before.",
                    model=version.embedding_model,
                    hint="Remove the version and begin it again.",
                )
            pairs = [(number, vector) for (number, _), vector in zip(found, embedded.vectors, strict=True)]
            if not await self._versions.store(version, pairs, self._clock() + LEASE):
                raise NotFound("The version has been removed.")
            after = found[-1][0]
        await self._index.fill(version.collection_id, version.version)
        await self._versions.end(replace(version, state=VersionState.READY, error=""))

    async def _fail(self, version: CollectionVersion, error: HearthError) -> None:
        await self._versions.end(replace(version, state=VersionState.FAILED, error=str(error)))
