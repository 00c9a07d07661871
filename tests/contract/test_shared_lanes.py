"""Lanes over a server, shared by two processes: what holds in one process holds over both."""

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime

import pytest
from proxy import Proxy
from servers import CACHES, emptied

from core.adapters import lanes_valkey, valkey_server
from core.adapters.shared_valkey import ValkeyShared
from core.errors import ServiceBusy
from core.inference import Priority, Queue
from inference.lanes import Ticket

pytestmark = [pytest.mark.anyio, pytest.mark.services]


class House:
    """Two processes with places before one model; `order` is who was served."""

    def __init__(self, shared, lanes):
        self.shared, self.lanes, self.order, self.tasks, self.release = shared, lanes, [], [], asyncio.Event()

    async def ask(self, process, name, user="", priority=Priority.STANDARD, hold=False):
        placed = asyncio.Event()

        async def asked():
            async with self.lanes[process].place(Ticket(name, user or name, priority)):
                self.order.append(name)
                placed.set()
                if hold:
                    await self.release.wait()

        self.tasks.append(asyncio.create_task(asked()))
        while not placed.is_set() and not (self.lanes[process].position(name) or self.tasks[-1].done()):
            await asyncio.sleep(0.002)
        return self.tasks[-1]

    async def finish(self):
        self.release.set()
        async with asyncio.timeout(15):
            await asyncio.gather(*self.tasks, return_exceptions=True)
        assert [lanes.load().serving for lanes in self.lanes] == [0] * len(self.lanes)
        return self.order


@asynccontextmanager
async def two_processes(urls, places, queue=256):
    async with AsyncExitStack() as stack:
        shared = [await stack.enter_async_context(ValkeyShared(url, sessions=None, clock=lambda: datetime.now(UTC))) for url in urls]
        house = House(shared, [each.lanes("llm", places, queue=queue) for each in shared])

        async def kept_up(each):
            while True:
                await asyncio.sleep(0.2)
                await each.keep_up()

        house.loops = [asyncio.create_task(kept_up(each)) for each in shared]
        try:
            yield house
        finally:
            for task in [*house.loops, *house.tasks]:
                task.cancel()
            await asyncio.gather(*house.loops, *house.tasks, return_exceptions=True)


@pytest.fixture(params=CACHES, ids=lambda leg: f"leg={leg}")
def server(request):
    server = request.getfixturevalue(request.param.replace("-", "_"))
    emptied(server)
    return server


@pytest.fixture
async def one_place(server):
    async with two_processes([server.url] * 2, places=1) as house:
        yield house


async def test_premium_goes_before_standard_wherever_they_ask(one_place):
    await one_place.ask(0, "holder", hold=True)
    await one_place.ask(0, "standard")
    await one_place.ask(1, "premium", priority=Priority.PREMIUM)
    assert one_place.lanes[1].position("premium") == 1
    await asyncio.sleep(0.3)
    assert one_place.lanes[0].position("standard") == 2
    assert one_place.lanes[0].load() == Queue(1, 0, 1, one_place.lanes[0].load().first)
    assert await one_place.finish() == ["holder", "premium", "standard"]


async def test_one_users_flood_at_one_process_delays_anothers_first_request_at_the_other_by_one(one_place):
    await one_place.ask(0, "holder", hold=True)
    for n in range(6):
        await one_place.ask(0, f"flood {n}", "ada")
    await one_place.ask(1, "bob 1", "bob")
    await one_place.ask(1, "bob 2", "bob")
    assert await one_place.finish() == ["holder", "flood 0", "bob 1", "flood 1", "bob 2", *(f"flood {n}" for n in range(2, 6))]


async def test_a_standard_request_that_waited_long_goes_before_new_premium_ones(one_place, monkeypatch):
    for lanes in one_place.lanes:
        lanes._settings = (*lanes._settings[:2], 200, lanes._settings[3])
    await one_place.ask(0, "holder", hold=True)
    await one_place.ask(0, "aged")
    await asyncio.sleep(0.25)
    await one_place.ask(1, "premium", priority=Priority.PREMIUM)
    assert await one_place.finish() == ["holder", "aged", "premium"]


async def test_of_several_places_one_is_kept_for_premium(server):
    async with two_processes([server.url] * 2, places=3) as house:
        for n in range(3):
            await house.ask(n % 2, f"standard {n}", hold=True)
        await house.ask(1, "premium", priority=Priority.PREMIUM, hold=True)
        assert house.order == ["standard 0", "standard 1", "premium"]
        assert await house.finish() == ["standard 0", "standard 1", "premium", "standard 2"]


async def test_a_full_queue_refuses_at_once_with_a_time(server):
    async with two_processes([server.url] * 2, places=1, queue=1) as house:
        await house.ask(0, "holder", hold=True)
        await house.ask(0, "waits")
        with pytest.raises(ServiceBusy) as refused:
            await (await house.ask(1, "too many"))
        assert refused.value.retry_after_s > 0
        assert await house.finish() == ["holder", "waits"]


async def test_who_leaves_makes_room(one_place):
    await one_place.ask(0, "holder", hold=True)
    leaves = await one_place.ask(1, "leaves")
    await one_place.ask(0, "stays")
    leaves.cancel()
    assert await one_place.finish() == ["holder", "stays"]


async def test_a_freed_place_is_taken_at_the_other_process_within_a_tenth_of_a_second(one_place):
    await one_place.ask(0, "holder", hold=True)
    waits = await one_place.ask(1, "waits")
    begun = time.monotonic()
    one_place.release.set()
    await waits
    print(f"a place is handed on after {(time.monotonic() - begun) * 1000:.1f} ms")
    assert time.monotonic() - begun < 0.1


async def test_what_a_killed_process_had_comes_back(server, monkeypatch):
    monkeypatch.setattr(lanes_valkey, "HELD_S", 1)
    async with two_processes([server.url] * 2, places=1) as house:
        await house.ask(0, "holder", hold=True)
        await house.ask(0, "waits", hold=True)
        house.loops[0].cancel()  # nothing is heard of it any more, and it gives nothing back
        await (await house.ask(1, "other"))
        assert house.order == ["holder", "other"]


async def test_without_the_server_each_process_goes_on_with_its_own_and_afterwards_they_share_again(server):
    with Proxy(server.port) as way:
        async with two_processes([server.url.replace(str(server.port), str(way.port)), server.url], places=1) as house:
            await house.ask(1, "holder", hold=True)
            await house.ask(0, "waits", hold=True)
            way.mode = "down"
            async with asyncio.timeout(5):
                while "waits" not in house.order:
                    await asyncio.sleep(0.05)
            await house.ask(0, "here too")
            assert house.order == ["holder", "waits"], "a place of its own is one place"
            way.mode = ""
            await asyncio.sleep(2)
            await house.ask(1, "after")
            assert await house.finish() == ["holder", "waits", "here too", "after"] or house.order == ["holder", "waits", "after", "here too"]
            await (await house.ask(0, "again"))


async def test_nobody_is_lost_and_never_more_are_served_than_there_are_places(server, monkeypatch):
    monkeypatch.setattr(valkey_server, "ASK_S", 10.0)  # two hundred at once on a busy machine are no sign of a server that is away
    async with two_processes([server.url] * 2, places=4) as house:
        served, most = 0, 0

        async def one(n):
            nonlocal served, most
            async with house.lanes[n % 2].place(Ticket(str(n), f"user {n % 7}", Priority.PREMIUM if n % 5 == 0 else Priority.STANDARD)):
                served += 1
                most = max(most, served)
                await asyncio.sleep(0.01)
                served -= 1

        begun = time.monotonic()
        async with asyncio.timeout(20):
            await asyncio.gather(*(one(n) for n in range(200)))
        print(f"200 requests of 10 ms through 4 places in {time.monotonic() - begun:.2f} s")
        assert most == 4
