"""What every store of sweeps keeps to, and what retention asks of the others before it sweeps."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.adapters.sweeps_sql import SqlSweeps
from core.errors import BadInput
from core.ids import new_id
from core.retention import Sweep

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def sweeps(database):
    return SqlSweeps(database)


def a_sweep(minute=0, **given):
    return Sweep(new_id(), NOON + minute * MINUTE, **given)


async def ended(sweeps, sweep):
    assert await sweeps.begin(sweep, sweep.started_at + MINUTE)
    done = replace(sweep, ended_at=sweep.started_at, removed={"messages": 1})
    assert await sweeps.report(done, sweep.started_at)
    return done


async def test_one_sweep_at_a_time_holds_the_lease(sweeps):
    first, second = a_sweep(), a_sweep(0.5)
    assert await sweeps.begin(first, NOON + MINUTE)
    assert not await sweeps.begin(second, NOON + 2 * MINUTE)
    assert await sweeps.report(first, NOON + 10 * MINUTE), "every batch renews it"
    assert not await sweeps.begin(a_sweep(5), NOON + 20 * MINUTE)
    assert await sweeps.report(replace(first, ended_at=NOON + 6 * MINUTE), NOON)
    assert await sweeps.begin(a_sweep(7), NOON + 20 * MINUTE)


async def test_a_sweep_that_was_broken_off_is_kept_as_that_and_its_place_is_taken(sweeps):
    lost, next_one = a_sweep(), a_sweep(2)
    assert await sweeps.begin(lost, NOON + MINUTE)
    assert await sweeps.begin(next_one, NOON + 3 * MINUTE)
    assert not await sweeps.report(replace(lost, removed={"messages": 5}), NOON + 9 * MINUTE), "who comes back later finds that it is over"
    kept = {sweep.id: sweep for sweep in (await sweeps.all()).items}
    assert kept[lost.id].ended_at == NOON + MINUTE
    assert "broken off" in kept[lost.id].error
    assert kept[next_one.id].ended_at is None
    assert (await sweeps.last_whole()).id == next_one.id


async def test_receipts_come_back_latest_first_page_by_page_and_go_when_they_are_old(sweeps):
    rows = [await ended(sweeps, a_sweep(n, by="ada", whole=n < 4)) for n in range(5)][::-1]
    first = await sweeps.all(limit=3)
    rest = await sweeps.all(limit=3, cursor=first.next_cursor)
    assert [*first.items, *rest.items] == rows
    assert not rest.next_cursor
    assert await sweeps.last_whole() == rows[1]
    assert await sweeps.count_before(NOON + 2 * MINUTE) == await sweeps.drop_before(NOON + 2 * MINUTE) == 2
    assert (await sweeps.all()).items == rows[:3]
    with pytest.raises(BadInput):
        await sweeps.all(cursor="nonsense")
