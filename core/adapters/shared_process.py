"""What the processes of a house share, where there is one process: nothing leaves it."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from core.ports import Sessions
from core.signals import Signal
from inference.lanes import Lanes

MOST_COUNTS = 10_000


class ProcessSignals:
    """Signals within this process."""

    def __init__(self) -> None:
        self._hearers: defaultdict[Signal, list[Callable[..., object]]] = defaultdict(list)

    def on(self, signal: Signal, heard: Callable[..., object]) -> None:
        """As the port says."""
        self._hearers[signal].append(heard)

    async def send(self, signal: Signal, *about: str) -> bool:
        """As the port says."""
        self.hear(signal, *about)
        return True

    def hear(self, signal: Signal, *about: str) -> None:
        """Tells whoever listens in this process."""
        for heard in self._hearers[signal]:
            heard(*about)


@dataclass(slots=True)
class _Count:
    count: int
    until: float


class ProcessLimits:
    """Limits of this process alone."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        """now_s: a clock in seconds."""
        self._now_s = now_s
        self._places: dict[str, dict[str, float]] = {}
        self._counts: dict[str, _Count] = {}
        self._barred: dict[str, float] = {}

    async def take(self, name: str, holder: str, most: int, lasts_s: float) -> bool:
        """As the port says."""
        now = self._now_s()
        held = {who: until for who, until in self._places.get(name, {}).items() if until > now}
        taken = holder in held or len(held) < most
        if taken:
            held[holder] = now + lasts_s
        self._places[name] = held
        return taken

    async def give_back(self, name: str, holder: str) -> None:
        """As the port says."""
        held = self._places.get(name, {})
        held.pop(holder, None)
        if not held:
            self._places.pop(name, None)

    async def count(self, name: str, lasts_s: float) -> int:
        """As the port says."""
        now = self._now_s()
        if len(self._counts) > MOST_COUNTS:  # names are made up by whoever attacks; memory is not theirs to fill
            self._counts.clear()
            self._barred.clear()
        known = self._counts.get(name)
        counted = _Count((known.count if known and known.until > now else 0) + 1, now + lasts_s)
        self._counts[name] = counted
        return counted.count

    async def bar(self, name: str, lasts_s: float) -> None:
        """As the port says."""
        self._barred[name] = self._now_s() + lasts_s

    async def barred_s(self, *names: str) -> float:
        """As the port says."""
        now = self._now_s()
        return max(0.0, *(self._barred.get(name, now) - now for name in names))

    async def clear(self, *names: str) -> None:
        """As the port says."""
        for name in names:
            self._counts.pop(name, None)
            self._barred.pop(name, None)


class ProcessShared:
    """Signals and limits of this process, and sessions as the records have them."""

    adapter = "this process"

    def __init__(self, _url: str, *, sessions: Sessions, clock: Callable[[], datetime]) -> None:
        """sessions: as they are stored."""
        self.sessions = sessions
        self.signals = ProcessSignals()
        self.limits = ProcessLimits(lambda: clock().timestamp())

    async def __aenter__(self) -> Self:
        """Nothing is opened."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is to be closed."""

    async def check(self) -> None:
        """It is always there."""

    def lanes(self, _name: str, places: int, *, queue: int) -> Lanes:
        """Places before a model, and the queue for them."""
        return Lanes(places, queue=queue)

    async def keep_up(self) -> None:
        """Nothing runs out."""
