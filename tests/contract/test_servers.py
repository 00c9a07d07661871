"""What a server tells the doctor, held against servers that run."""

from datetime import UTC, datetime, timedelta

import pytest
import servers

from core.adapters import database_postgres
from core.adapters.database_postgres import PostgresDatabase
from core.adapters.objects_s3 import S3ObjectStore
from core.adapters.valkey_server import ValkeyServer
from core.errors import SettingsError

pytestmark = [pytest.mark.anyio, pytest.mark.services]


@pytest.mark.parametrize("postgres", ["postgres-15", "postgres-18"], ids=lambda leg: f"leg={leg}")
async def test_a_database_tells_its_version_and_its_time(postgres, request, tmp_path):
    server = request.getfixturevalue(postgres.replace("-", "_"))
    async with PostgresDatabase(await server.fresh(tmp_path), home=tmp_path) as database:
        facts = await database.facts()
    assert facts.version.split(".")[0] == postgres.partition("-")[2]
    assert facts.oldest == "15"
    assert abs(facts.at - datetime.now(UTC)) < timedelta(seconds=2)


async def test_a_database_server_that_is_too_old_is_refused_before_any_table_is_made(postgres_15, tmp_path, monkeypatch):
    monkeypatch.setattr(database_postgres, "OLDEST", "99")
    async with PostgresDatabase(postgres_15.url("postgres"), home=tmp_path) as database:
        with pytest.raises(SettingsError, match="too old"):
            await database.migrate()


@pytest.mark.parametrize(("made", "name", "oldest"), [("redis_7", "Redis", "7"), ("valkey_8", "Valkey", "8")], ids=["leg=redis-7", "leg=valkey-8"])
async def test_a_server_of_sessions_tells_its_version_and_its_time(made, name, oldest):
    with getattr(servers, made)() as running:
        async with ValkeyServer(running.url) as server:
            facts = await server.facts()
            assert server.adapter == f"{name} {facts.version}"
    assert (facts.version.split(".")[0], facts.oldest) == (oldest, oldest)
    assert abs(facts.at - datetime.now(UTC)) < timedelta(seconds=2)


@pytest.mark.parametrize("made", ["s3_moto", "s3_rclone"], ids=lambda made: f"leg={made.removeprefix('s3_')}")
async def test_a_store_of_objects_tells_its_time_and_keeps_nothing(made, tmp_path):
    with getattr(servers, made)() as server:
        async with S3ObjectStore(server.url, home=tmp_path) as objects:
            facts = await objects.facts()
            assert (await objects.all()).items == []
    assert abs(facts.at - datetime.now(UTC)) < timedelta(seconds=2)
