"""Premium first, fair between users, nobody for ever behind; on a clock that the test moves."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ServiceBusy
from core.inference import Priority, Queue, Queued, Standing
from inference import lanes
from inference.lanes import Lanes, Ticket

pytestmark = pytest.mark.anyio


class Busy:
    """Lanes of one place that somebody holds; `order` is who came in after that."""

    def __init__(self, places=1, **given):
        self.now = 0.0
        self.lanes = Lanes(places, clock=lambda: self.now, **given)
        self.order, self.tasks, self.release = [], [], asyncio.Event()

    async def hold(self, name="holder", priority=Priority.PREMIUM):
        async def held():
            async with self.lanes.place(Ticket(name, name, priority)):
                await self.release.wait()

        self.tasks.append(asyncio.create_task(held()))
        await asyncio.sleep(0)

    async def ask(self, name, user="", priority=Priority.STANDARD):
        async def asked():
            async with self.lanes.place(Ticket(name, user, priority)):
                self.order.append(name)

        self.tasks.append(asyncio.create_task(asked()))
        await asyncio.sleep(0)
        return self.tasks[-1]

    async def finish(self):
        self.release.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        assert self.lanes.load().serving == 0, "a place was lost"
        return self.order


async def test_premium_goes_before_standard():
    busy = Busy()
    await busy.hold()
    await busy.ask("standard", "a")
    await busy.ask("premium", "b", Priority.PREMIUM)
    assert await busy.finish() == ["premium", "standard"]


async def test_an_operator_sees_who_comes_next_with_how_long_they_have_waited():
    busy = Busy()
    await busy.hold()
    await busy.ask("standard", "a")
    busy.now = 3.0
    await busy.ask("premium", "b", Priority.PREMIUM)
    busy.now = 4.0
    assert busy.lanes.load() == Queue(1, 1, 1, (Standing(1, Priority.PREMIUM, 1.0, 5.0), Standing(2, Priority.STANDARD, 4.0, 10.0)))
    await busy.finish()
    assert busy.lanes.load() == Queue()


async def test_users_take_turns_inside_a_lane():
    busy = Busy()
    await busy.hold()
    for name, user in (("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("b2", "b")):
        await busy.ask(name, user)
    assert await busy.finish() == ["a1", "b1", "a2", "b2", "a3"]


async def test_one_who_asks_again_and_again_does_not_pass_one_who_has_waited():
    busy = Busy()
    await busy.hold()
    for name in ("a1", "a2"):
        await busy.ask(name, "a")
    busy.release.set()

    async def eager():
        for n in range(4):
            async with busy.lanes.place(Ticket(f"c{n}", "c")):
                busy.order.append(f"c{n}")

    busy.tasks.append(asyncio.create_task(eager()))
    order = await busy.finish()
    assert order.index("a2") < order.index("c1")


async def test_a_standard_request_that_waited_long_goes_before_new_premium_ones():
    busy = Busy(age_s=20)
    await busy.hold()
    await busy.ask("old", "a")
    busy.now = 20
    await busy.ask("new premium", "b", Priority.PREMIUM)
    assert await busy.finish() == ["old", "new premium"]


async def test_with_two_places_one_is_kept_for_premium():
    busy = Busy(places=2)
    await busy.hold("standard", Priority.STANDARD)
    await busy.ask("second standard", "a")
    await busy.ask("premium", "b", Priority.PREMIUM)
    for _ in range(3):
        await asyncio.sleep(0)
    assert busy.order == ["premium"]
    await busy.finish()


async def test_a_full_queue_refuses_at_once_with_a_time():
    busy = Busy(queue=2)
    await busy.hold()
    await busy.ask("1")
    await busy.ask("2")
    with pytest.raises(ServiceBusy, match="2 requests are waiting") as error:
        async with busy.lanes.place(Ticket("3")):
            pass
    assert error.value.retry_after_s > 0
    await busy.finish()


async def test_whoever_leaves_the_queue_makes_room_and_positions_move_up():
    busy = Busy()
    await busy.hold()
    first = await busy.ask("first", "a")
    await busy.ask("second", "b")
    assert busy.lanes.position("second") == 2
    first.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert busy.lanes.position("second") == 1
    assert busy.lanes.position("first") == 0
    assert await busy.finish() == ["second"]


async def test_one_users_flood_delays_anothers_first_request_by_one_at_most():
    busy = Busy()
    await busy.hold()
    for n in range(20):
        await busy.ask(f"flood {n}", "a")
    await busy.ask("first", "b")
    assert busy.lanes.position("first") <= 2
    assert (await busy.finish()).index("first") <= 1


async def test_a_premium_request_goes_before_everybody_elses_flood():
    busy = Busy()
    await busy.hold()
    for n in range(20):
        await busy.ask(f"flood {n}", "a")
    await busy.ask("premium", "b", Priority.PREMIUM)
    assert busy.lanes.position("premium") == 1
    assert (await busy.finish())[0] == "premium"


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(lanes, "QUIET_S", 0.01)
    monkeypatch.setattr(lanes, "TOLD_EVERY_S", 0.01)


async def told(busy, name, user, into):
    async with busy.lanes.entered(Ticket(name, user)) as entered:
        async for change in entered.changes():
            into.append(change)


async def test_who_waits_sees_its_position_count_down_to_its_place(at_once):
    busy, seen = Busy(), []
    await busy.hold()
    ahead = [await busy.ask(name, name) for name in ("a", "b")]
    watching = asyncio.create_task(told(busy, "me", "me", seen))
    await asyncio.sleep(0.05)
    for task in ahead:
        task.cancel()
        await asyncio.sleep(0.05)
    await busy.finish()
    await watching
    assert [q.position for q in seen] == [3, 2, 1, 0]
    assert [q.eta_s for q in seen] == [15.0, 10.0, 5.0, 0.0]
    assert busy.lanes.load().serving == 0


async def test_a_position_that_stays_is_told_once_and_again_after_a_while(at_once, monkeypatch):
    busy, seen = Busy(), []
    await busy.hold()
    watching = asyncio.create_task(told(busy, "me", "me", seen))
    await asyncio.sleep(0.1)
    assert seen == [Queued(1, 5.0)]
    monkeypatch.setattr(lanes, "REPEATED_S", 0.0)
    await asyncio.sleep(0.05)
    assert len(seen) > 1
    await busy.finish()
    await watching


async def test_a_wait_that_is_soon_over_is_not_told():
    busy, seen = Busy(), []
    await busy.hold()
    watching = asyncio.create_task(told(busy, "me", "me", seen))
    await asyncio.sleep(0.02)
    await busy.finish()
    await watching
    assert seen == []


async def test_who_leaves_in_the_moment_in_which_its_place_comes_gives_it_back():
    busy = Busy()
    await busy.hold()
    leaving = await busy.ask("leaving", "a")
    busy.release.set()
    busy.tasks[0].add_done_callback(lambda _: leaving.cancel())
    await busy.ask("next", "b")
    assert "next" in await busy.finish()


async def test_the_time_is_the_usual_time_of_service_for_each_round_before_it():
    busy = Busy(places=2)
    for _ in range(3):
        async with busy.lanes.place(Ticket("x")):
            busy.now += 12
    assert busy.lanes.eta_s(3) == 18


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), max_size=14), st.integers(1, 3))
def test_whatever_comes_and_goes_every_place_comes_back_and_everybody_is_served(requests, places):
    async def run():
        busy = Busy(places)
        await busy.hold()
        leaving = []
        for n, (user, premium, leaves) in enumerate(requests):
            task = await busy.ask(str(n), user, Priority.PREMIUM if premium else Priority.STANDARD)
            if leaves:
                task.cancel()
                leaving.append(str(n))
        served = await busy.finish()
        assert set(served) | set(leaving) == {str(n) for n in range(len(requests))}
        assert len(served) == len(set(served))

    asyncio.run(run())
