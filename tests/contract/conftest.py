"""The stores under contract. Each leg is an adapter; embedded always runs."""

from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import cache
from itertools import count

import psycopg
import pytest
import servers

from core.adapters.accounts_sql import SqlAccounts
from core.adapters.audit_sql import SqlAuditLog
from core.adapters.chunk_index_sql import row_index
from core.adapters.database_postgres import PostgresDatabase
from core.adapters.database_sql import SqliteDatabase
from core.ids import new_id
from core.users.model import Preferences, User

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@asynccontextmanager
async def open_database(home):
    async with SqliteDatabase("", home=home) as database:
        await database.migrate()
        yield database


class Postgres:
    """A server of the session, and a fresh database of it for each test: a copy of one that has its tables, which takes a tenth of a second."""

    def __init__(self, server):
        self.server, self._numbers, self._made = server, count(), False

    def _asked(self, statement):
        with psycopg.connect(self.server.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(statement)

    async def fresh(self, home):
        """The url of a database with empty tables."""
        if not self._made:
            self._asked("CREATE DATABASE made")
            async with PostgresDatabase(self.url("made"), home=home) as database:
                await database.migrate()
            self._made = True
        self._asked(f"CREATE DATABASE {(name := f't{next(self._numbers)}')} TEMPLATE made")
        return self.url(name)

    def url(self, name):
        return self.server.url.rpartition("/")[0] + f"/{name}"


@pytest.fixture(scope="session")
def postgres_15():
    with servers.postgres_15() as server:
        yield Postgres(server)


@pytest.fixture(scope="session")
def postgres_18():
    with servers.postgres_18() as server:
        yield Postgres(server)


@pytest.fixture(scope="session")
def redis_7():
    with servers.redis_7() as server:
        yield server


@pytest.fixture(scope="session")
def valkey_8():
    with servers.valkey_8() as server:
        yield server


RECORDS = ["sqlite", *(pytest.param(name, marks=pytest.mark.services) for name in ("postgres-15", "postgres-18"))]


@pytest.fixture(params=RECORDS, ids=lambda leg: f"leg={leg}")
async def database(request, tmp_path):
    if request.param == "sqlite":
        async with open_database(tmp_path) as opened:
            yield opened
        return
    server = request.getfixturevalue(request.param.replace("-", "_"))
    async with PostgresDatabase(await server.fresh(tmp_path), home=tmp_path) as opened:
        await opened.migrate()
        yield opened


@pytest.fixture(scope="session")
def milvus(request):
    """Starts a server of Milvus by its name, once."""
    with ExitStack() as stack:
        yield cache(lambda name: stack.enter_context(servers.milvus(name)))


@pytest.fixture(params=["rows", *servers.MILVUS], ids=lambda leg: leg if leg == "rows" else f"leg={leg}")
async def index(request, database, milvus):
    """What searches the chunk rows: they themselves, or a copy of them elsewhere."""
    if request.param == "rows":
        yield row_index(database)
        return
    if request.node.callspec.params["database"] == "postgres-18":
        pytest.skip("what the index reads of the rows is asked of one PostgreSQL")
    from milvus_index import Settled, emptied, opened

    async with opened(emptied(milvus(request.param).url), database, Settled) as made:
        yield made


def a_user(name="ada", **given):
    return User(new_id(), name, False, Preferences(), NOW, **given)


@pytest.fixture
async def ada(database):
    user = a_user("ada")
    await SqlAccounts(database).add(user, None)
    return user


@pytest.fixture
async def bob(database):
    user = a_user("bob")
    await SqlAccounts(database).add(user, None)
    return user


@pytest.fixture
def audit(database):
    return SqlAuditLog(database)
