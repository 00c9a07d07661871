"""The stores under contract. Each leg is an adapter; embedded always runs."""

from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from core.adapters.accounts_sql import SqlAccounts
from core.adapters.audit_sql import SqlAuditLog
from core.adapters.database_sql import SqliteDatabase
from core.ids import new_id
from core.users.model import Preferences, User

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@asynccontextmanager
async def open_database(home):
    async with SqliteDatabase("", home=home) as database:
        await database.migrate()
        yield database


@pytest.fixture(params=["sqlite"], ids=lambda leg: f"leg={leg}")
async def database(request, tmp_path):
    async with open_database(tmp_path) as opened:
        yield opened


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
