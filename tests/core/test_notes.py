"""What admins do leaves a row each; what they look at, one for each look."""

from datetime import UTC, datetime

import pytest

from core.adapters.audit_sql import SqlAuditLog
from core.adapters.database_sql import SqliteDatabase
from core.audit import Act
from core.console.begun import Begun
from core.console.notes import ONE_LOOK, Notes
from core.errors import ServiceBusy
from core.users.model import Admin, Preferences, User

pytestmark = pytest.mark.anyio


class Clock:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.now


@pytest.fixture
async def audit(tmp_path):
    async with SqliteDatabase("", home=tmp_path) as database:
        await database.migrate()
        yield SqlAuditLog(database)


async def test_a_look_that_is_repeated_soon_is_one_look_and_another_ones_or_a_later_one_is_another(audit):
    clock = Clock()
    notes, (ada, eve) = Notes(audit, clock), [Admin(User(name, name, False, Preferences(), clock())) for name in ("ada", "eve")]
    for admin, detail in ((ada, "x"), (ada, "x"), (eve, "x"), (ada, "y"), (ada, "x")):
        await notes.look(admin, "conversations", search=detail)
    clock.now += ONE_LOOK
    await notes.look(ada, "conversations", search="x")
    for _ in range(2):
        await notes.note(ada, Act.DELETED, "a thing")
    rows = [(e.actor, e.act, e.detail.get("search")) for e in (await audit.entries()).items][::-1]
    looks = [(name, Act.READ, search) for name, search in (("ada", "x"), ("eve", "x"), ("ada", "y"), ("ada", "x"))]
    assert rows == [*looks, *[("ada", Act.DELETED, None)] * 2]


async def test_what_takes_long_goes_on_when_nobody_waits_and_ends_with_the_house():
    import asyncio

    done, ended = asyncio.Event(), asyncio.Event()

    async def work(gate):
        try:
            await gate.wait()
            done.set()
        finally:
            ended.set()
        return 7

    gate, late = asyncio.Event(), ServiceBusy("It goes on.")
    async with Begun() as begun:
        with pytest.raises(ServiceBusy):
            await begun.within(work(gate), late, 0.01)
        gate.set()
        await asyncio.wait_for(done.wait(), 1)
        assert await begun.within(work(gate), late) == 7
        ended.clear()
        begun.begin(work(asyncio.Event()))
        await asyncio.sleep(0)
    assert ended.is_set()
