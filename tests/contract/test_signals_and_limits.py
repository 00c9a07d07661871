"""The contracts of Signals and Limits: within a process, and over a server between two. Times are real and short: servers have clocks of their own."""

import asyncio
import time
from datetime import UTC, datetime

import pytest
from servers import CACHES, emptied

from core.adapters.shared_process import ProcessShared
from core.adapters.shared_valkey import ValkeyShared
from core.signals import Signal

pytestmark = pytest.mark.anyio


def clock():
    return datetime.now(UTC)


@pytest.fixture(params=["process", *CACHES], ids=lambda leg: f"leg={leg}")
async def two(request):
    """What two processes of a house share; of the embedded kind there is one."""
    if request.param == "process":
        async with ProcessShared("", sessions=None, clock=clock) as opened:
            yield opened, opened
        return
    server = request.getfixturevalue(request.param.replace("-", "_"))
    emptied(server)
    async with ValkeyShared(server.url, sessions=None, clock=clock) as here, ValkeyShared(server.url, sessions=None, clock=clock) as there:
        yield here, there


async def until(true, within_s=3):
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_signal_is_heard_once_with_what_it_is_about_wherever_it_is_sent(two):
    here, there = two
    heard = []
    here.signals.on(Signal.STOP_ANSWER, lambda *about: heard.append(about))
    assert await here.signals.send(Signal.STOP_ANSWER, "ada", "first")
    assert heard == [("ada", "first")], "one's own is heard at once"
    assert await there.signals.send(Signal.STOP_ANSWER, "ada", "second")
    await until(lambda: len(heard) == 2)
    await asyncio.sleep(0.1)
    assert heard == [("ada", "first"), ("ada", "second")]


async def test_a_signal_of_another_kind_is_not_heard(two):
    heard = []
    two[0].signals.on(Signal.STOP_ANSWER, lambda *about: heard.append(about))
    await two[1].signals.send(Signal.GROWN, "first")
    await two[1].signals.send(Signal.STOP_ANSWER, "ada", "second")
    await until(lambda: heard)
    assert heard == [("ada", "second")]


async def test_only_so_many_hold_a_place_wherever_they_take_it(two):
    here, there = two
    assert await here.limits.take("ada", "first", 2, 5)
    assert await there.limits.take("ada", "second", 2, 5)
    assert not await here.limits.take("ada", "third", 2, 5)
    assert not await there.limits.take("ada", "third", 2, 5)
    assert await there.limits.take("bob", "third", 2, 5), "another name has places of its own"
    assert await here.limits.take("ada", "first", 2, 5), "who has one keeps it"
    await here.limits.give_back("ada", "first")
    await here.limits.give_back("ada", "first")
    assert await there.limits.take("ada", "third", 2, 5)


async def test_a_place_that_is_not_taken_again_comes_back(two):
    here, there = two
    assert await here.limits.take("ada", "first", 1, 0.3)
    assert await here.limits.take("ada", "first", 1, 0.6)
    await asyncio.sleep(0.4)
    assert not await there.limits.take("ada", "second", 1, 0.3)
    await asyncio.sleep(0.3)
    assert await there.limits.take("ada", "second", 1, 0.3)


async def test_of_many_at_once_only_so_many_get_a_place(two):
    taken = await asyncio.gather(*(two[n % 2].limits.take("ada", str(n), 5, 5) for n in range(40)))
    assert sum(taken) == 5


async def test_what_is_counted_is_counted_together_until_none_has_come_for_a_while(two):
    here, there = two
    assert [await each.limits.count("ada/10.0.0.1", 0.3) for each in (here, there, here)] == [1, 2, 3]
    assert await here.limits.count("bob/10.0.0.1", 0.3) == 1
    await asyncio.sleep(0.4)
    assert await there.limits.count("ada/10.0.0.1", 0.3) == 1
    await here.limits.clear("ada/10.0.0.1", "nobody")
    assert await there.limits.count("ada/10.0.0.1", 0.3) == 1


async def test_who_is_barred_is_barred_everywhere_for_so_long(two):
    here, there = two
    assert await there.limits.barred_s("ada", "bob") == 0
    await here.limits.bar("ada", 0.4)
    await here.limits.bar("bob", 30)
    assert 29 < await there.limits.barred_s("ada", "bob") <= 30
    assert 0 < await there.limits.barred_s("ada") <= 0.4
    await asyncio.sleep(0.5)
    assert await there.limits.barred_s("ada") == 0
    await here.limits.clear("bob")
    assert await there.limits.barred_s("bob") == 0


@pytest.mark.parametrize("name", ["a b", "*", "a\nb", "hearth:places:x", "名前", "x" * 5000, ""])
async def test_a_name_may_be_anything_that_users_write(two, name):
    here, there = two
    assert await here.limits.take(name, name, 1, 5)
    assert not await there.limits.take(name, name + "b", 1, 5)
    assert await here.limits.count(name, 5) == 1
