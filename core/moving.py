"""Moving a house between what is embedded and servers: what is moved, how far it is, and the objects. The rows are the business of their adapter."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Literal

from core.errors import AlreadyThere, ServiceUnavailable
from core.objects import beginning
from core.ports import ObjectStore
from core.records import Stored, every_page

Where = Literal["servers", "home"]
"""To what the settings name, or back into the home folder."""
WHOLE_BYTES = 64 << 20
"""What is larger is compared as a file, without being in memory whole."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What has been moved of one kind. sha256: of all of it, in hexadecimal, the same for source and target."""

    what: str
    count: int
    sha256: str


@dataclass(slots=True)
class Tally:
    """Counts what is moved, with a checksum that doesn't depend on the order, because stores sort differently: the SHA-256 of each are added up."""

    count: int = 0
    total: int = 0

    def add(self, one: bytes) -> None:
        """One more."""
        self.count += 1
        self.total = (self.total + int.from_bytes(sha256(one).digest())) % (1 << 256)

    def of(self, what: str) -> Moved:
        """All of them so far."""
        return Moved(what, self.count, f"{self.total:064x}")


@dataclass(slots=True)
class Moving:
    """How far a move is: what is being moved, and how many of its rows or objects were read; rows are read twice. total: 0 where unknown."""

    doing: str = ""
    done: int = 0
    total: int = 0


async def move_objects(source: ObjectStore, target: ObjectStore, moving: Moving) -> Moved:
    """Copies what the target lacks, then compares every object.

    Raises: AlreadyThere where the target has another under the same key; ServiceUnavailable if a copy differs; NoSpace; ServiceError.
    """
    begins = len(beginning(source))
    moving.doing, moving.done, moving.total = "objects", 0, 0
    tally = Tally()
    async for stored in _all(source):
        key = stored.uri[begins:]
        there, had = target.uri(key), await _digest(source, stored.uri, stored.size_bytes)
        if not await target.exists(there):
            await target.put(key, await _content(source, stored))
            if await _digest(target, there, stored.size_bytes) != had:
                raise ServiceUnavailable(f"The copy of {key} differs from it.", service="objects", hint="Move again: what differs is found again.")
        elif await _digest(target, there, stored.size_bytes) != had:
            raise AlreadyThere(
                f"What it is to be moved to has another object under {key}.", hint="Move into an empty bucket or home; nothing of it was changed."
            )
        tally.add(key.encode() + b"\0" + had)
        moving.done += 1
    return tally.of("objects")


async def _all(store: ObjectStore) -> AsyncIterator[Stored]:
    async for stored in every_page(lambda cursor: store.all(cursor=cursor)):
        for one in stored:
            yield one


async def _content(store: ObjectStore, stored: Stored) -> bytes | Path:
    return await store.get(stored.uri) if stored.size_bytes <= WHOLE_BYTES else await store.local_path(stored.uri)


async def _digest(store: ObjectStore, uri: str, size_bytes: int) -> bytes:
    if size_bytes <= WHOLE_BYTES:
        return sha256(await store.get(uri)).digest()
    path = await store.local_path(uri)

    def read() -> bytes:
        with path.open("rb") as file:
            return file_digest(file, "sha256").digest()

    return await asyncio.to_thread(read)
