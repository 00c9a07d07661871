"""Who waits for whom at the database."""

import asyncio
import threading

import pytest

from core.adapters.database_sql import READERS, READERS_ASIDE, SqliteDatabase
from core.records import aside

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(tmp_path):
    async with SqliteDatabase("", home=tmp_path) as database:
        await database.migrate()
        yield database


async def test_who_chats_does_not_wait_behind_what_the_console_counts(database):
    go_on, counting = threading.Event(), []

    async def count():
        aside.set(True)
        await database.read(lambda _: counting.append(1) or go_on.wait(10))

    console = [asyncio.create_task(count()) for _ in range(2 * READERS)]
    try:
        while len(counting) < READERS_ASIDE:
            await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            await database.check()
        assert len(counting) == READERS_ASIDE
    finally:
        go_on.set()
        await asyncio.gather(*console)
    assert len(counting) == 2 * READERS
