import asyncio
import time

import pytest

from core import courtesy
from core.courtesy import Courtesy

pytestmark = pytest.mark.anyio


async def test_nothing_is_held_up_while_nobody_waits():
    giving = asyncio.ensure_future(Courtesy(lambda: False).give_way())
    await asyncio.sleep(0)
    assert giving.done()


async def test_who_waits_is_let_go_first(monkeypatch):
    monkeypatch.setattr(courtesy, "MOST_S", 60)
    waiting = [1]
    giving = asyncio.create_task(Courtesy(lambda: bool(waiting)).give_way())
    await asyncio.sleep(3 * courtesy.LOOK_S)
    assert not giving.done()
    waiting.clear()
    await asyncio.wait_for(giving, 1)


async def test_a_thread_stands_still_as_long(monkeypatch):
    monkeypatch.setattr(courtesy, "MOST_S", 60)
    waiting = [1]
    standing = asyncio.create_task(asyncio.to_thread(Courtesy(lambda: bool(waiting)).stand_still))
    await asyncio.sleep(3 * courtesy.LOOK_S)
    assert not standing.done()
    waiting.clear()
    await asyncio.wait_for(standing, 1)


async def test_where_somebody_always_waits_half_of_the_time_is_left(monkeypatch):
    monkeypatch.setattr(courtesy, "MOST_S", 0.1)
    always, begun_s, held_up = Courtesy(lambda: True), time.monotonic(), 0
    while time.monotonic() - begun_s < 1:
        before_s = time.monotonic()
        await always.give_way()
        held_up += time.monotonic() - before_s > courtesy.LOOK_S / 2
        await asyncio.sleep(courtesy.LOOK_S)
    assert 1 <= held_up <= 5
