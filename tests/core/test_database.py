"""Who waits for whom at the database, and what becomes of a write whose server dies."""

import asyncio
import os
import sys
import threading
from datetime import UTC, datetime

import pytest
import servers
from sqlalchemy import event, func, insert, select

from core.adapters.database_postgres import PostgresDatabase
from core.adapters.database_sql import READERS, READERS_ASIDE, SqliteDatabase
from core.adapters.tables_sql import sweeps
from core.courtesy import NICENESS
from core.errors import ServiceUnavailable
from core.ids import new_id
from core.records import aside

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no priority of their own")
async def test_what_the_console_counts_leaves_the_processor_to_who_chats(database):
    def niceness(_connection):
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    usual = await database.read(niceness)
    token = aside.set(True)
    try:
        assert await database.read(niceness) == min(usual + NICENESS, 19)
    finally:
        aside.reset(token)
    assert await database.read(niceness) == usual


@pytest.fixture
async def postgres(tmp_path):
    """(a server that may be killed, the database over it)."""
    with servers.postgres_18(durable=True) as server:
        async with PostgresDatabase(server.url, home=tmp_path) as database:
            await database.migrate()
            yield server, database


def _one(connection):
    connection.execute(insert(sweeps).values(id=new_id(), started_at=NOW, by="test", whole=True, removed={}, error="", lease_until=NOW))


async def count(database):
    return await database.read(lambda c: c.execute(select(func.count()).select_from(sweeps)).scalar_one())


@pytest.mark.services
@pytest.mark.parametrize("leg", ["postgres-18"], ids=lambda leg: f"leg={leg}")
async def test_what_a_server_lost_before_it_committed_is_stored_once_when_it_is_back_soon(leg, postgres):
    server, database = postgres
    tries = []

    def work(connection):
        _one(connection)
        tries.append(1)
        if len(tries) == 1:
            server.kill()
            threading.Timer(1.0, server.start).start()
        _one(connection)

    await database.write(work)
    assert (len(tries), await count(database)) == (2, 2)


@pytest.mark.services
@pytest.mark.parametrize("leg", ["postgres-18"], ids=lambda leg: f"leg={leg}")
async def test_where_nobody_knows_whether_it_was_committed_it_is_told_and_not_done_again(leg, postgres):
    server, database = postgres
    tries = []

    @event.listens_for(database._write_engine, "commit")
    def die(_connection):
        server.kill()

    with pytest.raises(ServiceUnavailable):
        await database.write(lambda c: tries.append(1) or _one(c))
    event.remove(database._write_engine, "commit", die)
    server.start()
    await asyncio.sleep(1.2)
    assert (len(tries), await count(database)) == (1, 0)
