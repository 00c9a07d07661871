"""Who is served next: premium before standard, fair between users inside a lane, and nobody for ever behind.

Knows no model. A place is held with `async with`; it comes back whatever happens. The clock is given, so that waiting can be tested.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from core.errors import ServiceBusy
from core.inference import Priority, Queue, Queued, Standing

AGE_S = 20.0
"""After waiting so long a standard request counts as premium."""
FIRST_GUESS_S = 5.0
REMEMBERED = 50
QUIET_S = 0.1
"""A wait that is over so soon is not told."""
TOLD_EVERY_S = 0.5
"""How often a changed position is told at most."""
SHOWN = 20
"""How many of those who wait an operator is shown."""
REPEATED_S = 15.0
"""An unchanged position is told again after so long, so that whoever listens knows that the request still waits."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who asks. `user_key` is opaque; requests without one share a turn."""

    id: str
    user_key: str = ""
    priority: Priority = Priority.STANDARD


@dataclass(slots=True, eq=False)
class Waiting:
    """A request in the queue."""

    ticket: Ticket
    since: float
    turn: int
    """The round in which it is served: a user's second request is in the round after their first, and nobody's is in a round that is over."""
    number: int
    admitted: asyncio.Future[None] = field(repr=False)


class Entered:
    """A request inside the lanes: first it may wait, then it has a place."""

    def __init__(self, lanes: "Lanes", ticket: Ticket, waiting: Waiting | None) -> None:
        """waiting: None where there was a place at once."""
        self._lanes, self._ticket, self._waiting = lanes, ticket, waiting
        self._asked = lanes.now()
        self.begun: float | None = None if waiting else self._asked

    @property
    def queue_ms(self) -> float:
        """The wait so far, or as it was, in milliseconds."""
        return ((self._lanes.now() if self.begun is None else self.begun) - self._asked) * 1000

    @property
    def has_place(self) -> bool:
        """Whether a place was given to it; it may not have noticed yet."""
        return self._waiting is None or self._waiting.admitted.done()

    async def admitted(self) -> None:
        """Waits for the place."""
        if self._waiting is not None:
            await asyncio.wait([self._waiting.admitted])  # not the future itself: whoever leaves would cancel it under the lanes' hands
        self._begin()

    def when_placed(self, do: Callable[[], None]) -> None:
        """Calls that with the place; at once where it is there."""
        if self._waiting is None or self.has_place:
            do()
        else:
            self._waiting.admitted.add_done_callback(lambda _: do())

    async def changes(self) -> AsyncIterator[Queued]:
        """The position and about how long it lasts, when they change; ends with the place. After at least one, the last is position 0: served now."""
        if self._waiting is not None:
            told: Queued | None = None
            told_at, pause_s = 0.0, QUIET_S
            while not (await asyncio.wait([self._waiting.admitted], timeout=pause_s))[0]:
                pause_s, position = TOLD_EVERY_S, self._lanes.position(self._ticket.id)
                now = Queued(position, round(self._lanes.eta_s(position), 1))
                if now != told or time.monotonic() - told_at >= REPEATED_S:
                    told, told_at = now, time.monotonic()
                    yield now
            if told is not None:
                self._begin()
                yield Queued(0, 0.0)
        self._begin()

    def _begin(self) -> None:
        if self.begun is None:
            self.begun = self._lanes.now()


class Lanes:
    """A fixed number of places and a bounded queue in front of them."""

    def __init__(self, places: int, *, queue: int = 256, age_s: float = AGE_S, clock: Callable[[], float] = time.monotonic) -> None:
        """places: requests served at once; where there are two or more, one is kept for premium.   queue: how many may wait."""
        self._places, self._queue, self._age_s, self._clock = places, queue, age_s, clock
        self._waiting: list[Waiting] = []
        self._serving: dict[str, int] = {"premium": 0, "standard": 0}
        self._round: dict[Priority, int] = {Priority.PREMIUM: 0, Priority.STANDARD: 0}
        self._last_turn: dict[tuple[Priority, str], int] = {}
        self._number = 0
        self._took_s: deque[float] = deque(maxlen=REMEMBERED)
        self._positions: dict[str, int] | None = None
        """The order of the queue, made once for all who ask; None after it has changed."""
        self._positions_at = 0.0

    def load(self) -> Queue:
        """How full it is now, and who comes next: `SHOWN` of them at most."""
        premium, now = sum(w.ticket.priority is Priority.PREMIUM for w in self._waiting), self._clock()
        first = tuple(
            Standing(position, waiting.ticket.priority, round(now - waiting.since, 1), round(self.eta_s(position), 1))
            for position, waiting in enumerate(self._ordered()[:SHOWN], 1)
        )
        return Queue(sum(self._serving.values()), premium, len(self._waiting) - premium, first)

    def position(self, ticket_id: str) -> int:
        """The place in the queue, 1 is next; 0 when it isn't waiting."""
        now = self._clock()
        if self._positions is None or now - self._positions_at >= TOLD_EVERY_S:  # ageing changes the order without anybody coming or going
            self._positions, self._positions_at = {w.ticket.id: n for n, w in enumerate(self._ordered(), 1)}, now
        return self._positions.get(ticket_id, 0)

    def eta_s(self, position: int) -> float:
        """About how long somebody at that position still waits: the median time of service, for each round of places before it."""
        usual = sorted(self._took_s)[len(self._took_s) // 2] if self._took_s else FIRST_GUESS_S
        return usual * position / self._places

    def full(self, waiting: int) -> ServiceBusy:
        """What is told to one before whom so many wait."""
        wait_s = self.eta_s(waiting + 1)
        return ServiceBusy(f"{waiting} requests are waiting already.", service="inference", hint=f"Try again in about {wait_s:.0f} s.", retry_after_s=wait_s)

    def now(self) -> float:
        """The clock, in seconds."""
        return self._clock()

    @asynccontextmanager
    async def place(self, ticket: Ticket) -> AsyncIterator[float]:
        """Waits for a place, holds it, gives it back; yields the milliseconds waited. Raises: ServiceBusy at once if the queue is full."""
        async with self.entered(ticket) as entered:
            await entered.admitted()
            yield entered.queue_ms

    @asynccontextmanager
    async def entered(self, ticket: Ticket) -> AsyncIterator[Entered]:
        """Takes a place or a position in the queue, for who wants to see how the wait goes; leaving gives back whichever it has.

        Raises: ServiceBusy at once if the queue is full.
        """
        with self.held(ticket) as entered:
            yield entered

    @contextmanager
    def held(self, ticket: Ticket) -> Iterator[Entered]:
        """The same among the requests of this process."""
        waiting = self._enter(ticket)
        entered = Entered(self, ticket, waiting)
        try:
            yield entered
        finally:
            if entered.has_place:
                self._serving[ticket.priority.value] -= 1
                if entered.begun is not None:  # not one who left in the moment in which the place came
                    self._took_s.append(self._clock() - entered.begun)
            elif waiting is not None:
                self._leave(waiting)
            self._next()

    def _enter(self, ticket: Ticket) -> Waiting | None:
        """None: it has a place."""
        if not self._waiting and self._free_for(ticket.priority):
            self._serving[ticket.priority.value] += 1
            return None
        if len(self._waiting) >= self._queue:
            raise self.full(len(self._waiting))
        self._number += 1
        waiting = Waiting(ticket, self._clock(), self._turn_of(ticket), self._number, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._positions = None
        self._next()
        return waiting

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

    def _lane(self, waiting: Waiting) -> int:
        aged = self._clock() - waiting.since >= self._age_s
        return 0 if waiting.ticket.priority is Priority.PREMIUM or aged else 1

    def _ordered(self) -> list[Waiting]:
        """Lane, then turn among the users of the lane, then arrival; who has aged takes its turn at once."""

        def key(waiting: Waiting) -> tuple[int, int, int]:
            lane = self._lane(waiting)
            aged = lane == 0 and waiting.ticket.priority is Priority.STANDARD
            return lane, 0 if aged else waiting.turn, waiting.number

        return sorted(self._waiting, key=key)

    def _leave(self, waiting: Waiting) -> None:
        """Out of the queue without having been served; the same user's later requests move up."""
        self._waiting.remove(waiting)
        self._positions = None
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
                self._positions = None
                lane = waiting.ticket.priority
                self._round[lane] = max(self._round[lane], waiting.turn)
                self._serving[waiting.ticket.priority.value] += 1
                waiting.admitted.set_result(None)
