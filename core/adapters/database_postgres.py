"""PostgreSQL as the records. One writer at a time, over all processes: what every store was written for holds here as it does on SQLite (docs/adr/0037)."""

from pathlib import Path
from typing import Any

import anyio
import psycopg
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import Connection, Engine, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError

from core.adapters.database_sql import READERS, Database, translated
from core.errors import SettingsError

WRITERS = 0x48_45_41_52_54_48
"""The advisory lock that a writing transaction holds: "HEARTH" as a number. Its neighbour is held while the tables are made."""
CONNECT_S = 5
STATEMENT_MS = 30_000
LOCK_MS = 10_000
"""How long a writer waits for those of other processes before its callers are told that the database is busy."""
LOST_MS = 10_000
"""After so long without a sign of life a connection counts as lost."""


class _Text(StrDumperUnknown):
    """PostgreSQL's texts can't hold the character NUL, which some files bring: it becomes the sign for an unreadable one."""

    def dump(self, obj: str) -> Any:
        """As psycopg's own."""
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}") if "\0" in obj else obj)


class PostgresDatabase(Database):
    """A database of a PostgreSQL server, 15 or newer, that is Hearth's alone."""

    def __init__(self, url: str, *, home: Path) -> None:
        """url: postgresql://user:password@host:port/database, with libpq's options as a query. Raises: SettingsError for an address that is none."""
        try:
            self._url = make_url(url).set(drivername="postgresql+psycopg")
        except ArgumentError as error:
            raise SettingsError("HEARTH_RECORDS_URL is no address of a database.", hint="It looks like postgresql://user:password@host:5432/hearth.") from error
        reads = self._engine(READERS, STATEMENT_MS, isolation_level="REPEATABLE READ").execution_options(postgresql_readonly=True)
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

        @event.listens_for(engine, "connect")
        def configure(connection: psycopg.Connection[Any], _record: object) -> None:
            connection.adapters.register_dumper(str, _Text)

        return engine

    async def migrate(self) -> None:
        """As on SQLite; of several processes that start at once one does it and the others wait."""
        from core.adapters.migrations.run import upgrade  # alembic is needed only here

        engine = self._engine(2, 0)

        def work() -> None:
            try:
                with engine.begin() as held:
                    held.execute(select(func.pg_advisory_xact_lock(WRITERS + 1)))
                    upgrade(engine)
                    version = held.execute(select(func.current_setting("server_version"))).scalar_one()
                    self.adapter = f"PostgreSQL {version.split()[0]}"
            finally:
                engine.dispose()

        with translated():
            await anyio.to_thread.run_sync(work)
