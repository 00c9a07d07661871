"""When a process counts as gone."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from core.adapters.database_sql import SqliteDatabase
from core.adapters.processes_sql import SqlProcesses
from core.ids import new_id
from core.processes import BEAT_EVERY_S, BEAT_LASTS, Duty, Membership, ProcessRole

pytestmark = pytest.mark.anyio
BEAT = timedelta(seconds=BEAT_EVERY_S)


class House:
    """Records, a clock, and processes on homes of their own."""

    def __init__(self, processes, folder):
        self.processes, self.folder = processes, folder
        self.now = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)

    def member(self, home, role=ProcessRole.WORKER, *, alone=False):
        (self.folder / home).mkdir(exist_ok=True)
        return Membership(self.processes, role, self.folder / home, lambda: self.now, process_id=new_id(), alone=alone)

    async def living(self):
        return len(await self.processes.all())

    @asynccontextmanager
    async def killed(self, home):
        """A member that has joined and will never leave."""
        member = self.member(home)
        await member.__aenter__()
        yield member


@pytest.fixture
async def house(tmp_path):
    async with SqliteDatabase("", home=tmp_path) as database:
        await database.migrate()
        yield House(SqlProcesses(database), tmp_path)


async def beats(house, member, lasts):
    """So many as it makes in that time, and one more."""
    until = house.now + lasts
    while house.now <= until:
        house.now += BEAT
        await member.beat()


async def test_who_leaves_is_not_known_any_more(house):
    async with house.member("a"):
        assert await house.living() == 1
    assert await house.living() == 0


async def test_a_silent_process_is_struck_off_after_its_time_and_its_duties_are_anothers(house):
    async with house.killed("a") as gone, house.member("b") as other:
        assert gone.has(Duty.TRIGGERS)
        await beats(house, other, BEAT_LASTS - 2 * BEAT)
        assert (await house.living(), other.has(Duty.TRIGGERS)) == (2, False)
        await beats(house, other, 2 * BEAT)
        assert (await house.living(), other.has(Duty.TRIGGERS)) == (1, True)


async def test_a_restart_on_the_same_home_takes_the_place_of_the_one_before_at_once(house):
    async with house.killed("a"), house.member("a") as again:
        assert (await house.living(), again.has(Duty.BACKUPS)) == (1, True)


async def test_after_the_records_were_away_nobody_is_struck_off_before_everybody_could_speak(house):
    async with house.member("a") as one, house.member("b") as other:
        house.now += 10 * BEAT_LASTS
        await one.beat()
        assert await house.living() == 2
        await other.beat()
        await beats(house, one, BEAT_LASTS + BEAT)
        assert await house.living() == 1, "by then it has been silent for too long"
        await other.beat()
        assert await house.living() == 2, "a process that was only slow is known again"


async def test_where_the_records_are_in_the_home_every_other_process_is_gone(house):
    async with house.killed("a"), house.killed("b"):
        house.now += BEAT
        async with house.member("c", alone=True):
            assert await house.living() == 1


async def test_a_process_of_pages_has_no_duties(house):
    async with house.member("a", ProcessRole.WEB) as web, house.member("b") as worker:
        assert not any(web.has(duty) for duty in Duty)
        assert all(worker.has(duty) for duty in Duty)
