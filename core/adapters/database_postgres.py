"""PostgreSQL as the records. One writer at a time, over all processes: what every store was written for holds here as it does on SQLite (docs/adr/0037)."""

import math
import time
from collections.abc import Generator
from datetime import UTC
from pathlib import Path
from typing import Any

import anyio
import psycopg
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError

from core.adapters.database_sql import READERS, READERS_ASIDE, Database, translated
from core.errors import SettingsError
from core.records import Facts

WRITERS = 0x48_45_41_52_54_48
"""The advisory lock that a writing transaction holds: "HEARTH" as a number. Its neighbour is held while the tables are made."""
CONNECT_S = 5
STATEMENT_MS = 30_000
LOCK_MS = 10_000
"""How long a writer waits for those of other processes before its callers are told that the database is busy."""
OLDEST = "15"
LOST_MS = 10_000
"""After so long without a sign of life a connection counts as lost."""
AGAIN_S = 1.0
"""A server that could not be reached is left alone for so long: who asks meanwhile is told at once, instead of waiting for it one after the other."""


class _Text(StrDumperUnknown):
    """PostgreSQL's texts can't hold the character NUL, which some files bring: it becomes the sign for an unreadable one."""

    def dump(self, obj: str) -> Any:
        """As psycopg's own."""
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in obj else obj)


class _Connection(psycopg.Connection[Any]):
    """A connection whose server may not be silent for ever: a statement has an end there, but a server that hangs, or a way that does, keeps none."""

    answers_within_s: float = CONNECT_S
    """While it is opened, and asked whether it still is there. `_engine` gives its statements longer."""

    def wait(self, gen: Generator[Any, Any, Any], *how: Any, **more: Any) -> Any:
        """As psycopg's own, which asks ten times a second what has come."""
        return super().wait(self._bounded(gen), *how, **more)

    def _bounded(self, gen: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        until = time.monotonic() + self.answers_within_s
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > until:
                    self.pgconn.finish()
                    raise psycopg.OperationalError("the server did not answer in time")
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


class PostgresDatabase(Database):
    """A database of a PostgreSQL server, 15 or newer, that is Hearth's alone."""

    def __init__(self, url: str, *, home: Path) -> None:
        """url: postgresql://user:password@host:port/database, with libpq's options as a query. Raises: SettingsError for an address that is none."""
        try:
            self._url = make_url(url).set(drivername="postgresql+psycopg")
        except ArgumentError as error:
            raise SettingsError("HEARTH_RECORDS_URL is no address of a database.", hint="It looks like postgresql://user:password@host:5432/hearth.") from error
        self._alone_until = 0.0
        reads = self._engine(READERS + READERS_ASIDE, STATEMENT_MS, isolation_level="REPEATABLE READ").execution_options(postgresql_readonly=True)
        super().__init__(reads, self._engine(1, STATEMENT_MS))
        self.adapter = "PostgreSQL"

        @event.listens_for(self._write_engine, "begin")
        def alone(connection: Connection) -> None:
            connection.execute(select(func.pg_advisory_xact_lock(WRITERS)))

    def _engine(self, connections: int, statement_ms: int, **given: Any) -> Engine:
        """statement_ms: how long a statement may take, and about how long a transaction may stand still; 0 for as long as it takes."""
        options = f"-c statement_timeout={statement_ms} -c lock_timeout={min(LOCK_MS, statement_ms)} -c idle_in_transaction_session_timeout={2 * statement_ms}"
        alive = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": LOST_MS}
        connect = {"connect_timeout": CONNECT_S, "application_name": "hearth", "options": options, **alive}
        engine = create_engine(self._url, pool_size=connections, max_overflow=0, pool_timeout=30, pool_pre_ping=True, connect_args=connect, **given)

        @event.listens_for(engine, "do_connect")
        def opened(_dialect: object, _record: object, where: list[Any], how: dict[str, Any]) -> _Connection:
            if time.monotonic() < self._alone_until:
                raise psycopg.OperationalError("could not be reached a moment ago")
            try:
                connection = _Connection.connect(*where, **how)
            except psycopg.OperationalError:
                self._alone_until = time.monotonic() + AGAIN_S
                raise
            self._alone_until = 0.0
            return connection

        @event.listens_for(engine, "connect")
        def configure(connection: _Connection, _record: object) -> None:
            connection.adapters.register_dumper(str, _Text)

        @event.listens_for(engine, "checkout")  # comes after the pool has asked it whether it still is there
        def at_work(connection: _Connection, _record: object, _proxy: object) -> None:
            connection.answers_within_s = statement_ms / 1000 + CONNECT_S if statement_ms else math.inf

        @event.listens_for(engine, "checkin")
        def at_rest(connection: _Connection | None, _record: object) -> None:
            if connection is not None:  # one that was lost is none any more
                connection.answers_within_s = CONNECT_S

        return engine

    async def facts(self) -> Facts:
        """As the port says: a transaction that writes, once it has its turn, and makes a table of its own."""
        scratch = "CREATE TEMPORARY TABLE doctor (n integer) ON COMMIT DROP"

        def work(connection: Connection) -> Facts:
            connection.exec_driver_sql(scratch)
            version, at = connection.execute(select(func.current_setting("server_version"), func.clock_timestamp())).one()
            return Facts(version, OLDEST, at.astimezone(UTC))

        return await self.write(work)

    async def migrate(self) -> None:
        """As on SQLite; of several processes that start at once one does it and the others wait. Raises: SettingsError for a server that is too old."""
        from core.adapters.migrations.run import upgrade  # alembic is needed only here

        engine = self._engine(2, 0)

        def work() -> None:
            try:
                with engine.begin() as held:
                    held.execute(select(func.pg_advisory_xact_lock(WRITERS + 1)))
                    version = held.execute(select(func.current_setting("server_version"))).scalar_one().split()[0]
                    if int(version.partition(".")[0]) < int(OLDEST):
                        raise SettingsError(f"PostgreSQL {version} is too old for Hearth.", hint=f"Take PostgreSQL {OLDEST} or newer.")
                    upgrade(engine)
                    self.adapter = f"PostgreSQL {version}"
            finally:
                engine.dispose()

        with translated():
            await anyio.to_thread.run_sync(work)
