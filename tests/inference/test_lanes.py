"""Premium first, fair between users, nobody for ever behind; on a clock that the test moves."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ServiceBusy
from core.inference import Priority
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
