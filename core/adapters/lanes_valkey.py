"""Lanes over all processes of a house: the places before a model's server and the queue for them lie in Valkey, which admits whoever is next.

Each process says once a second that those it asks for are still there; who isn't heard of any more has lost their place or their position. While Valkey is away
each process has as many places of its own.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from core.adapters.valkey_server import ValkeyServer
from core.errors import ServiceBusy, ServiceUnavailable
from core.inference import Priority, Queue, Standing
from core.ports import Signals
from core.signals import Signal
from inference.lanes import AGE_S, SHOWN, Entered, Lanes, Ticket, Waiting

HELD_S = 10
"""A place or a position of which nothing is heard for so long is free. Many times the second after which it is told again."""
LANES = """
local serving, waiting, turns = KEYS[1], KEYS[2], KEYS[3]
local op, places, queue, age, held = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

redis.call('ZREMRANGEBYSCORE', serving, '-inf', now)
local line = {}  -- who waits, by id
for _, found in ipairs(redis.call('HVALS', waiting)) do
  local one = cjson.decode(found)
  if one.till <= now then redis.call('HDEL', waiting, one.id) else line[one.id] = one end
end
if next(line) == nil then redis.call('DEL', turns) end  -- the counts begin anew

local function keep(one)
  one.till = now + held
  line[one.id] = one
  redis.call('HSET', waiting, one.id, cjson.encode(one))
end

if op == 'leave' then  -- id, lane
  redis.call('ZREM', serving, ARGV[7] .. ARGV[6])
  redis.call('HDEL', waiting, ARGV[6])
  line[ARGV[6]] = nil
elseif op == 'stay' then  -- id, lane and whether it is served, of each
  for n = 6, #ARGV, 3 do
    if line[ARGV[n]] then
      keep(line[ARGV[n]])
    elseif ARGV[n + 2] == '1' or redis.call('ZSCORE', serving, ARGV[n + 1] .. ARGV[n]) then
      redis.call('ZADD', serving, now + held, ARGV[n + 1] .. ARGV[n])
    end
  end
end

local used, standard = 0, 0
for _, member in ipairs(redis.call('ZRANGE', serving, 0, -1)) do
  used = used + 1
  if member:sub(1, 1) == 's' then standard = standard + 1 end
end
local function free(lane, first) return used < places and (first or lane == 'p' or places == 1 or standard < places - 1) end
local function serve(id, lane)
  used = used + 1
  if lane == 's' then standard = standard + 1 end
  redis.call('ZADD', serving, now + held, lane .. id)
end

if op == 'enter' then  -- id, lane, user
  local id, lane, user = ARGV[6], ARGV[7], ARGV[8]
  if line[id] or redis.call('ZSCORE', serving, lane .. id) then
    -- it is there: the answer to its first try was lost
  elseif next(line) == nil and free(lane) then
    serve(id, lane)
  elseif redis.call('HLEN', waiting) >= queue then
    return {{-1}, {}}
  else
    keep({id = id, lane = lane, user = lane .. user, since = now, number = redis.call('HINCRBY', turns, '#', 1)})
  end
end

-- Lane, then how many of the same user's are before it, then whose turn is longest ago, then arrival; who has aged goes by arrival, with the premium ones.
local order, before = {}, {}
for _, one in pairs(line) do order[#order + 1] = one end
table.sort(order, function(a, b) return a.number < b.number end)
for _, one in ipairs(order) do
  before[one.user] = (before[one.user] or 0) + 1
  one.first = one.lane == 'p' or now - one.since >= age
  one.aged = one.first and one.lane == 's'
  one.round, one.last = before[one.user], tonumber(redis.call('HGET', turns, one.user) or 0)
  if one.aged then one.round, one.last = 0, 0 end
end
table.sort(order, function(a, b)
  if a.first ~= b.first then return a.first end
  if a.round ~= b.round then return a.round < b.round end
  if a.last ~= b.last then return a.last < b.last end
  return a.number < b.number
end)
local admitted, position = {}, {}
for _, one in ipairs(order) do
  if free(one.lane, one.first) then
    serve(one.id, one.lane)
    redis.call('HDEL', waiting, one.id)
    redis.call('HSET', turns, one.user, redis.call('HINCRBY', turns, '#', 1))
    admitted[#admitted + 1] = one.id
  else
    position[#position + 1] = one.id
    position[one.id] = #position
  end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 100 * held) end

local asked = {}
for n = 6, #ARGV, op == 'stay' and 3 or #ARGV do
  local id, lane = ARGV[n], ARGV[n + 1]
  asked[#asked + 1] = position[id] or (redis.call('ZSCORE', serving, lane .. id) and 0 or -1)
end
return {asked, admitted}
"""
"""Gives (where each that was asked for is: 0 for a place, its position, or -1 for nowhere; the ids of those who were admitted just now)."""


@dataclass(slots=True, eq=False)
class _Request:
    """A request of this process, while it waits and while it is served."""

    waiting: Waiting
    position: int = 0
    local: ExitStack | None = None
    """What it has in the lanes of this process, where Valkey could not be asked."""

    @property
    def ticket(self) -> Ticket:
        return self.waiting.ticket

    @property
    def lane(self) -> str:
        return "p" if self.ticket.priority is Priority.PREMIUM else "s"

    @property
    def served(self) -> bool:
        return self.waiting.admitted.done()

    def admit(self) -> None:
        if not self.served:
            self.waiting.admitted.set_result(None)


class ValkeyLanes(Lanes):
    """Lanes with the places of all processes. `keep_up` has to be called once a second."""

    def __init__(self, server: ValkeyServer, signals: Signals, name: str, places: int, *, queue: int) -> None:
        """name: what the places are before, for all processes the same."""
        super().__init__(places, queue=queue)
        self._server, self._signals, self._requests = server, signals, dict[str, _Request]()
        self._script, self._keys = server.client.register_script(LANES), [f"hearth:{{lanes:{name}}}:{part}" for part in ("serving", "waiting", "turns")]
        self._settings = (places, queue, int(AGE_S * 1000), HELD_S * 1000)
        signals.on(Signal.ADMITTED, self._admit)

    @asynccontextmanager
    async def entered(self, ticket: Ticket) -> AsyncIterator[Entered]:
        """As of all lanes."""
        request = self._requests[ticket.id] = _Request(Waiting(ticket, self.now(), 0, 0, asyncio.get_running_loop().create_future()))
        entered = Entered(self, ticket, request.waiting)
        try:
            await self._place(request)
            yield entered
        finally:
            del self._requests[ticket.id]
            if entered.begun is not None:
                self._took_s.append(self.now() - entered.begun)
            if request.local is not None:
                request.local.close()
            await self._ask("leave", ticket.id, request.lane)

    def position(self, ticket_id: str) -> int:
        """As of all lanes; up to a second old."""
        request = self._requests.get(ticket_id)
        return super().position(ticket_id) if request is None or request.local is not None else request.position

    def load(self) -> Queue:
        """How it is for the requests of this process; positions are those among all."""
        waiting = sorted((request for request in self._requests.values() if not request.served), key=lambda request: self.position(request.ticket.id))
        premium, now = sum(request.lane == "p" for request in waiting), self.now()
        places = [(self.position(request.ticket.id), request) for request in waiting[:SHOWN]]
        first = tuple(Standing(at, request.ticket.priority, round(now - request.waiting.since, 1), round(self.eta_s(at), 1)) for at, request in places)
        return Queue(len(self._requests) - len(waiting), premium, len(waiting) - premium, first)

    async def keep_up(self) -> None:
        """Says that those who wait and are served here still are, and hears where they stand; while Valkey is away they go on in the lanes of this process."""
        if not (mine := list(self._requests.values())):
            return
        where = await self._ask("stay", *(part for request in mine for part in (request.ticket.id, request.lane, int(request.served))))
        for request, position in zip(mine, where or [-1] * len(mine), strict=True):
            if request.ticket.id not in self._requests or request.served or request.local is not None:
                continue
            request.position = position
            if position == 0:
                request.admit()
            elif position < 0:  # Valkey is away, or has forgotten it
                with suppress(ServiceBusy):  # the next round tries again
                    await self._place(request)

    async def _place(self, request: _Request) -> None:
        """Raises: ServiceBusy if too many wait already."""
        where = await self._ask("enter", request.ticket.id, request.lane, request.ticket.user_key)
        if where is None:
            self._go_on_here(request)
            return
        request.position = where[0]
        if request.position < 0:
            raise self.full(self._queue)
        if request.position == 0:
            request.admit()

    def _go_on_here(self, request: _Request) -> None:
        """Raises: ServiceBusy if too many wait here too."""
        stack = ExitStack()
        stack.enter_context(self.held(request.ticket)).when_placed(request.admit)
        request.local = stack

    async def _ask(self, op: str, *about: str | int) -> list[int] | None:
        """Where those that it is about are; None while Valkey is away. Whoever is admitted by that is told, wherever they are."""
        try:
            where, admitted = await self._server.ask(lambda: self._script(keys=self._keys, args=[op, *self._settings, *about]))
        except ServiceUnavailable:
            return None
        if admitted:
            await self._signals.send(Signal.ADMITTED, *(name.decode() for name in admitted))
        return list(where)

    def _admit(self, *ticket_ids: str) -> None:
        for ticket_id in ticket_ids:
            if (request := self._requests.get(ticket_id)) is not None:
                request.admit()
