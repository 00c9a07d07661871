"""Work that can wait a moment lets go first what somebody waits for."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

LOOK_S = 0.01
MOST_S = 0.4
"""How long one is given way to at a time."""

NICENESS = 10


def step_back() -> None:
    """Lets this thread have the processor mostly when no other wants it: for one that works for long without Python's lock. It can't be taken back."""
    if sys.platform == "linux":  # elsewhere it would be the whole process that steps back
        me = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, me, min(os.getpriority(os.PRIO_PROCESS, me) + NICENESS, 19))


class Courtesy:
    """Gives way in one process, whose event loop and whose Python lock everything in it shares."""

    def __init__(self, wanted: Callable[[], bool]) -> None:
        """wanted: whether somebody waits for this process just now; asked from any thread."""
        self._wanted = wanted
        self._owed_until_s = 0.0

    async def give_way(self) -> None:
        """Returns once nobody waits, or after `MOST_S`; then nothing is held up for as long again, so that it gets on where somebody always waits."""
        for look_s in self._looks():
            await asyncio.sleep(look_s)

    def stand_still(self) -> None:
        """The same for a thread."""
        for look_s in self._looks():
            time.sleep(look_s)

    def _looks(self) -> Iterator[float]:
        """How long to wait before the next look, each time that somebody waits. Looking is cheap, and nobody has to tell when they begin or have their word."""
        begun_s = time.monotonic()
        if begun_s < self._owed_until_s:
            return
        while self._wanted():
            yield LOOK_S
            if time.monotonic() - begun_s >= MOST_S:
                self._owed_until_s = time.monotonic() + MOST_S
                return
