"""Users and API keys in SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from core.adapters.database_sql import Database
from core.adapters.tables_sql import api_keys, users
from core.errors import AlreadyThere, IllegalStep, NotAllowed, NotFound
from core.records import Page
from core.users.model import ApiKey, Preferences, Quota, Role, Scope, User

# Built once, because every request of a program begins with it.
BY_KEY = (
    select(
        users,
        api_keys.c.id.label("key_id"),
        api_keys.c.name,
        api_keys.c.prefix,
        api_keys.c.created_at.label("key_created_at"),
        api_keys.c.last_used_at,
        api_keys.c.scopes,
        api_keys.c.expires_at,
    )
    .join(api_keys, api_keys.c.user_id == users.c.id)
    .where(api_keys.c.key_hash == bindparam("hash"))
)
USER = select(users).where(users.c.id == bindparam("id"))
USABLE_ADMINS = select(func.count()).select_from(users).where(users.c.role == Role.ADMIN.value, users.c.disabled.is_(False))


def _user(row: Row[Any]) -> User:
    return User(
        id=row.id,
        username=row.username,
        premium=row.premium,
        preferences=msgspec.convert(row.preferences, Preferences),
        created_at=row.created_at,
        role=Role(row.role),
        disabled=row.disabled,
        quota=msgspec.convert(row.quota, Quota),
    )


def _values(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "username": user.username,
        "name_key": user.username.casefold(),
        "role": user.role.value,
        "premium": user.premium,
        "disabled": user.disabled,
        "preferences": user.preferences,
        "quota": user.quota,
        "created_at": user.created_at,
    }


def _found(connection: Connection, user_id: str) -> User:
    row = connection.execute(USER, {"id": user_id}).one_or_none()
    if row is None:
        raise NotFound("There is no such user.")
    return _user(row)


def _usable_admin(user: User) -> bool:
    return user.role is Role.ADMIN and not user.disabled


def _scopes(names: Sequence[str]) -> tuple[Scope, ...]:
    return tuple(Scope(name) for name in names)


class SqlAccounts:
    """Accounts over a SQL database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, user: User, password_hash: str | None) -> None:
        """As the port says."""
        await self._insert(user, password_hash, first=False)

    async def add_first(self, user: User, password_hash: str) -> None:
        """As the port says."""
        await self._insert(user, password_hash, first=True)

    async def _insert(self, user: User, password_hash: str | None, *, first: bool) -> None:
        def work(connection: Connection) -> None:
            if first and connection.execute(select(func.count()).select_from(users)).scalar_one():
                raise NotAllowed("Hearth is set up already.", hint="Sign in, or ask the admin for an account.")
            connection.execute(insert(users).values(**_values(user), password_hash=password_hash))

        try:
            await self._database.write(work)
        except IntegrityError as error:
            raise AlreadyThere(f"There is already a user named {user.username!r}.", hint="Take another name.") from error

    async def get(self, user_id: str) -> User:
        """As the port says."""
        return await self._database.read(lambda c: _found(c, user_id))

    async def named(self, username: str) -> tuple[User, str | None]:
        """As the port says."""
        row = await self._database.read(lambda c: c.execute(select(users).where(users.c.name_key == username.casefold())).one_or_none())
        if row is None:
            raise NotFound(f"There is no user named {username!r}.", hint="`hearth user list` shows all.")
        return _user(row), row.password_hash

    async def change(self, user_id: str, changes: Mapping[str, object], password_hash: str | None = None) -> tuple[User, User]:
        """As the port says."""

        def work(connection: Connection) -> tuple[User, User]:
            before = _found(connection, user_id)
            chosen = changes.get("preferences")
            whole = {**changes, "preferences": replace(before.preferences, **chosen)} if isinstance(chosen, Mapping) else changes
            after = replace(before, **whole)  # type: ignore[arg-type]
            values = _values(after) | ({"password_hash": password_hash} if password_hash else {})
            connection.execute(update(users).where(users.c.id == user_id).values(values))
            if _usable_admin(before) and not _usable_admin(after) and not connection.execute(USABLE_ADMINS).scalar_one():
                raise IllegalStep("There must be an admin who can sign in.", hint="Make somebody else an admin first.")
            return before, after

        try:
            return await self._database.write(work)
        except IntegrityError as error:
            username = changes.get("username")
            raise AlreadyThere(f"There is already a user named {username!r}.", hint="Take another name.") from error

    async def everyone(self, limit: int, cursor: str = "") -> Page[User]:
        """As the port says."""
        query = select(users).where(users.c.name_key > cursor).order_by(users.c.name_key).limit(limit + 1)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return Page([_user(r) for r in rows[:limit]], rows[limit - 1].name_key if len(rows) > limit else "")

    async def add_key(self, key: ApiKey, key_hash: str) -> None:
        """As the port says."""
        named = ("id", "user_id", "name", "prefix", "created_at", "expires_at", "scopes")
        values = {name: getattr(key, name) for name in named} | {"key_hash": key_hash}
        await self._database.write(lambda c: c.execute(insert(api_keys).values(values)))

    async def by_key(self, key_hash: str) -> tuple[User, ApiKey]:
        """As the port says."""
        row = await self._database.read(lambda c: c.execute(BY_KEY, {"hash": key_hash}).one_or_none())
        if row is None:
            raise NotFound("There is no such key.")
        return _user(row), ApiKey(row.key_id, row.id, row.name, row.prefix, row.key_created_at, row.last_used_at, _scopes(row.scopes), row.expires_at)

    async def keys_of(self, user_id: str) -> Sequence[ApiKey]:
        """As the port says."""
        rows = await self._database.read(lambda c: c.execute(select(api_keys).where(api_keys.c.user_id == user_id).order_by(api_keys.c.id.desc())).all())
        return [ApiKey(r.id, r.user_id, r.name, r.prefix, r.created_at, r.last_used_at, _scopes(r.scopes), r.expires_at) for r in rows]

    async def key_used(self, key_id: str, at: datetime) -> None:
        """As the port says."""
        await self._database.write(lambda c: c.execute(update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=at)))

    async def drop_key(self, user_id: str, key_id: str) -> None:
        """As the port says."""
        gone = await self._database.write(lambda c: c.execute(delete(api_keys).where(api_keys.c.id == key_id, api_keys.c.user_id == user_id)).rowcount)
        if not gone:
            raise NotFound("There is no such key.")

    async def found(self, search: str, limit: int, cursor: str = "") -> Page[User]:
        """As the port says."""
        within = users.c.name_key.contains(search.casefold(), autoescape=True)
        query = select(users).where(users.c.name_key > cursor, within).order_by(users.c.name_key).limit(limit + 1)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return Page([_user(r) for r in rows[:limit]], rows[limit - 1].name_key if len(rows) > limit else "")
