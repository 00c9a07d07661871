"""Work that a room of the console has begun and that goes on by itself, until it is done or the house closes."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from core.errors import HearthError

T = TypeVar("T")
PATIENCE_S = 8.0
"""How long an admin is kept waiting for a result; a page's question has ten seconds in all."""


class Begun:
    """`async with` ends what is still at work when it is left: whatever is begun here must bear that."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        """Nothing is begun yet."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """The house closes."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """It goes on whoever waits."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def within(self, work: Coroutine[Any, Any, T], late: HearthError, patience_s: float = PATIENCE_S) -> T:
        """The result. Raises: `late` where that takes longer, and it goes on."""
        return await self.patiently(self.begin(work), late, patience_s)

    async def patiently(self, task: asyncio.Task[T], late: HearthError, patience_s: float = PATIENCE_S) -> T:
        """As `within`, for what was begun before."""
        await asyncio.wait([task], timeout=patience_s)
        if not task.done():
            raise late
        return task.result()
