"""What happens in the course of something, kept in order: any number of followers read it from the start, at any time. Knows nothing of what it is."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Generic, TypeVar

ABANDONED_AFTER_S = 1.2
"""How long something that only one program wanted goes on when that program is gone; long enough for a retry to find it, short enough to free its places
within two seconds."""
U = TypeVar("U")


class Updates(Generic[U]):
    """A list that grows until its last update, and wakes whoever waits for more."""

    def __init__(self, last: type[U] | tuple[type[U], ...]) -> None:
        """last: the kind of update with which it ends."""
        self.followers = 0
        self._last = last
        self._updates: list[U] = []
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def finished(self) -> bool:
        """Whether the last update is there."""
        return bool(self._updates) and isinstance(self._updates[-1], self._last)

    def add(self, update: U) -> None:
        """Appends an update and wakes whoever follows."""
        self._updates.append(update)
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for future in waiting:
                if not future.done():
                    future.set_result(None)

    async def follow(self) -> AsyncIterator[U]:
        """Every update from the first to the last; may be called any number of times, at any time."""
        seen = 0
        self.followers += 1
        try:
            while True:
                while seen < len(self._updates):
                    update = self._updates[seen]
                    seen += 1
                    yield update
                    if isinstance(update, self._last):
                        return
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._waiting.append(future)
                await future
        finally:
            self.followers -= 1

    async def follow_or(self, abandoned: Callable[[], None]) -> AsyncIterator[U]:
        """The same for a program: `abandoned` is called soon after the last follower has left before the end."""
        try:
            async with aclosing(self.follow()) as updates:  # type: ignore[type-var]
                async for update in updates:
                    yield update
        finally:
            if not self.finished:
                asyncio.get_running_loop().call_later(ABANDONED_AFTER_S, self._unless_wanted, abandoned)

    def _unless_wanted(self, abandoned: Callable[[], None]) -> None:
        if not self.followers and not self.finished:
            abandoned()
