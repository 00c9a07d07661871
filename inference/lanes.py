"""Who is served next: premium before standard, fair between users inside a lane, and nobody for ever behind.

Knows no model. A place is held with `async with`; it comes back whatever happens. The clock is given, so that waiting can be tested.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from core.errors import ServiceBusy
from core.inference import Priority

AGE_S = 20.0
"""After waiting so long a standard request counts as premium."""
FIRST_GUESS_S = 5.0
REMEMBERED = 50


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who asks. `user_key` is opaque; requests without one share a turn."""

    id: str
    user_key: str = ""
    priority: Priority = Priority.STANDARD


@dataclass(slots=True, eq=False)
class _Waiting:
    ticket: Ticket
    since: float
    turn: int
    """The round in which it is served: a user's second request is in the round after their first, and nobody's is in a round that is over."""
    number: int
    admitted: asyncio.Future[None] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Load:
    """How full it is: requests being served and waiting, by lane."""

    serving: int
    waiting_premium: int
    waiting_standard: int


class Lanes:
    """A fixed number of places and a bounded queue in front of them."""

    def __init__(self, places: int, *, queue: int = 256, age_s: float = AGE_S, clock: Callable[[], float] = time.monotonic) -> None:
        """places: requests served at once; where there are two or more, one is kept for premium.   queue: how many may wait."""
        self._places, self._queue, self._age_s, self._clock = places, queue, age_s, clock
        self._waiting: list[_Waiting] = []
        self._serving: dict[str, int] = {"premium": 0, "standard": 0}
        self._round: dict[Priority, int] = {Priority.PREMIUM: 0, Priority.STANDARD: 0}
        self._last_turn: dict[tuple[Priority, str], int] = {}
        self._number = 0
        self._took_s: deque[float] = deque(maxlen=REMEMBERED)

    def load(self) -> Load:
        """How full it is now."""
        premium = sum(w.ticket.priority is Priority.PREMIUM for w in self._waiting)
        return Load(sum(self._serving.values()), premium, len(self._waiting) - premium)

    def position(self, ticket_id: str) -> int:
        """The place in the queue, 1 is next; 0 when it isn't waiting."""
        order = [w.ticket.id for w in self._ordered()]
        return order.index(ticket_id) + 1 if ticket_id in order else 0

    def eta_s(self, position: int) -> float:
        """About how long somebody at that position still waits: the median time of service, for each round of places before it."""
        usual = sorted(self._took_s)[len(self._took_s) // 2] if self._took_s else FIRST_GUESS_S
        return usual * position / self._places

    @asynccontextmanager
    async def place(self, ticket: Ticket) -> AsyncIterator[float]:
        """Waits for a place, holds it, gives it back; yields the milliseconds waited. Raises: ServiceBusy at once if the queue is full."""
        asked = self._clock()
        await self._admit(ticket)
        begun = self._clock()
        try:
            yield (begun - asked) * 1000
        finally:
            self._serving[ticket.priority.value] -= 1
            self._took_s.append(self._clock() - begun)
            self._next()

    async def _admit(self, ticket: Ticket) -> None:
        if not self._waiting and self._free_for(ticket.priority):
            self._serving[ticket.priority.value] += 1
            return
        if len(self._waiting) >= self._queue:
            wait_s = self.eta_s(len(self._waiting) + 1)
            raise ServiceBusy(
                f"{len(self._waiting)} requests are waiting already.", service="inference", hint=f"Try again in about {wait_s:.0f} s.", retry_after_s=wait_s
            )
        self._number += 1
        waiting = _Waiting(ticket, self._clock(), self._turn_of(ticket), self._number, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._next()
        try:
            await waiting.admitted
        except asyncio.CancelledError:
            if waiting.admitted.done() and not waiting.admitted.cancelled():
                self._serving[ticket.priority.value] -= 1  # the place came in the same moment as the cancellation
            else:
                self._leave(waiting)
            self._next()
            raise

    def _turn_of(self, ticket: Ticket) -> int:
        """The user's next round. Source: Goyal, Vin, Cheng, "Start-time Fair Queueing", SIGCOMM 1996, with every request of the same length."""
        if not self._waiting:
            self._last_turn.clear()
        user = (ticket.priority, ticket.user_key)
        turn = max(self._round[ticket.priority], self._last_turn.get(user, -1) + 1)
        self._last_turn[user] = turn
        return turn

    def _free_for(self, priority: Priority) -> bool:
        used = sum(self._serving.values())
        if priority is Priority.PREMIUM or self._places == 1:
            return used < self._places
        return used < self._places and self._serving["standard"] < self._places - 1

    def _lane(self, waiting: _Waiting) -> int:
        aged = self._clock() - waiting.since >= self._age_s
        return 0 if waiting.ticket.priority is Priority.PREMIUM or aged else 1

    def _ordered(self) -> list[_Waiting]:
        """Lane, then turn among the users of the lane, then arrival; who has aged takes its turn at once."""

        def key(waiting: _Waiting) -> tuple[int, int, int]:
            lane = self._lane(waiting)
            aged = lane == 0 and waiting.ticket.priority is Priority.STANDARD
            return lane, 0 if aged else waiting.turn, waiting.number

        return sorted(self._waiting, key=key)

    def _leave(self, waiting: _Waiting) -> None:
        """Out of the queue without having been served; the same user's later requests move up."""
        self._waiting.remove(waiting)
        ticket = waiting.ticket
        for later in self._waiting:
            if later.ticket.user_key == ticket.user_key and later.ticket.priority is ticket.priority and later.turn > waiting.turn:
                later.turn -= 1
        user = (ticket.priority, ticket.user_key)
        if user in self._last_turn:
            self._last_turn[user] -= 1

    def _next(self) -> None:
        """Admits whoever is next, as long as there are places."""
        for waiting in self._ordered():
            if sum(self._serving.values()) >= self._places:
                return
            if self._lane(waiting) == 0 or self._free_for(waiting.ticket.priority):
                self._waiting.remove(waiting)
                lane = waiting.ticket.priority
                self._round[lane] = max(self._round[lane], waiting.turn)
                self._serving[waiting.ticket.priority.value] += 1
                waiting.admitted.set_result(None)
