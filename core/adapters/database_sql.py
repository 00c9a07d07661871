"""SQL behind one door: reads in worker threads, and one writer that commits together what is waiting.

A unit of work is a plain function of a connection, run as a whole in a thread: one hop between loop and thread per transaction instead of one per
statement (docs/adr/0007). Units that wait while the disk is busy share the next commit; each is its own savepoint, so one that fails takes no other along.

SQLite is here; PostgreSQL (`database_postgres`) differs in how its connections are made, and keeps to one writer at a time too (docs/adr/0037).
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from core.courtesy import step_back
from core.errors import BadInput, HearthError, NoSpace, ServiceBusy, ServiceUnavailable
from core.records import aside

__all__ = ["Database", "SqliteDatabase", "Work", "translated", "upsert"]
"""`upsert` is an INSERT that can say ON CONFLICT: SQLite has the clause from PostgreSQL, and its compiler takes this form; the contracts hold both to it."""

T = TypeVar("T")
Work = Callable[[Connection], T]
FULL = ("disk is full", "disk I/O", "readonly", "unable to open", "No space left on device")
BUSY = ("locked", "busy", "lock timeout", "too many clients", "connection slots")
UNREACHED = {
    "authentication failed": "Check the user and the password in HEARTH_RECORDS_URL.",
    "FATAL:  database": "Make it with the server's `createdb`, for the user in HEARTH_RECORDS_URL.",
    "could not be reached a moment ago": "Try again in a moment.",
    "Connection refused": "Start the server, or check the host and the port in HEARTH_RECORDS_URL.",
}
"""What to do about a server that lets nobody in, by a sign in what it says."""

READERS = 6
READERS_ASIDE = 2
"""Beside them, for what the console asks: it counts over whole tables, and who begins a chat would wait behind that."""
MAX_WAITING = 2000
BACK_WITHIN_S = 4.0
"""So long what is to be stored waits for a server that was lost in the middle of it; one that could not be reached to begin with is told at once."""
LOOK_AGAIN_S = 0.5
BATCH = 128


@contextmanager
def translated() -> Iterator[None]:
    """Turns the library's errors into ours, most specific first; a broken constraint passes, because only the caller knows what it means."""
    try:
        yield
    except IntegrityError:
        raise
    except PoolTimeoutError as error:
        raise ServiceBusy("The database has no connection free.", service="records", hint="Try again in a moment.") from error
    except DataError as error:
        raise BadInput(f"The database can't hold a value: {error.orig}.", hint="Nothing was stored.") from error
    except DBAPIError as error:
        text = str(error.orig)
        if any(sign in text for sign in FULL):
            raise NoSpace(
                "The database can't be written: " + text + ".", hint="Free some space or check the home folder's rights; nothing that was stored is lost."
            ) from error
        if any(sign in text for sign in BUSY):
            raise ServiceBusy("The database is busy.", service="records", hint="Try again in a moment.") from error
        hint = next((hint for sign, hint in UNREACHED.items() if sign in text), "`hearth doctor` checks it.")
        raise ServiceUnavailable(f"The database failed: {text}.", service="records", hint=hint) from error
    except SQLAlchemyError as error:
        raise ServiceUnavailable("The database failed.", service="records", hint="`hearth doctor` checks it.") from error


class _Unit:
    """One unit of work on its way through the writer."""

    def __init__(self, work: Work[Any], loop: asyncio.AbstractEventLoop) -> None:
        self.work, self.loop, self.future = work, loop, loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None

    def settle(self, error: BaseException | None = None) -> None:
        """Tells the waiting task; a caller that has gone is not an error."""
        self.error = self.error or error
        self.loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        if self.future.done():
            return
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Database:
    """A database with its readers and its one writer. `async with` opens and closes it; `migrate` brings its tables up to date."""

    def __init__(self, read_engine: Engine, write_engine: Engine) -> None:
        """The engines differ in what their transactions may do: a read is one consistent view, a write excludes every other writer."""
        self.adapter = ""
        """What it is, for people."""
        self.writes = 0
        """Statements that wrote, since the start."""
        self.commits = 0
        """Transactions that wrote, since the start."""
        self._read_engine, self._write_engine = read_engine, write_engine
        self._units: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._readers = anyio.CapacityLimiter(READERS)
        self._aside = ThreadPoolExecutor(READERS_ASIDE, "records-aside", step_back)
        self._thread = threading.Thread(target=self._write_loop, name="records-writer", daemon=True)

        @event.listens_for(write_engine, "before_cursor_execute")
        def count(_conn: Connection, _cursor: object, statement: str, *_rest: object) -> None:
            if statement.startswith(("INSERT", "UPDATE", "DELETE")):
                self.writes += 1

    async def __aenter__(self) -> Self:
        """Connects. Raises: NoSpace if a file can't be made or written; ServiceUnavailable if a server doesn't answer."""
        with translated():
            await anyio.to_thread.run_sync(lambda: self._write_engine.connect().close())
        self._thread.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Finishes what is waiting, then closes."""
        self._units.put(None)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._thread.join)
            await anyio.to_thread.run_sync(self._aside.shutdown)
        self._read_engine.dispose()
        self._write_engine.dispose()

    async def migrate(self) -> None:
        """Brings the tables to the newest form. Raises: ServiceUnavailable if they are newer than this program."""
        from core.adapters.migrations.run import upgrade  # alembic is needed only here

        with translated():
            await anyio.to_thread.run_sync(upgrade, self._write_engine)

    async def revision(self) -> str | None:
        """Of which form its tables are; None where it holds no house yet. Raises: ServiceError, NoSpace."""
        from core.adapters.migrations.run import current

        with translated():
            return await anyio.to_thread.run_sync(current, self._write_engine)

    async def check(self) -> None:
        """Asks the database for something. Raises: ServiceError, NoSpace."""
        await self.read(lambda c: c.exec_driver_sql("SELECT 1 FROM alembic_version").scalar())

    @property
    def dialect(self) -> str:
        """Sqlite or postgresql."""
        return self._write_engine.dialect.name

    async def read(self, work: Work[T]) -> T:
        """Runs `work` in a read transaction: one consistent view."""

        def run() -> T:
            with translated(), self._read_engine.connect() as connection:
                return work(connection)

        if aside.get():
            return await asyncio.get_running_loop().run_in_executor(self._aside, run)
        return await anyio.to_thread.run_sync(run, limiter=self._readers)

    async def write(self, work: Work[T]) -> T:
        """Runs `work` in a write transaction; when this returns it is on the disk.

        Cancelling the caller does not undo what the writer has begun. A server that is lost in the middle of a commit leaves it open whether that was
        stored; the caller is told of a failure, and what they do again has the same ids. Raises: what `work` raises; ServiceBusy when too many are waiting;
        NoSpace; ServiceUnavailable.
        """
        if self._units.qsize() > MAX_WAITING:
            raise ServiceBusy("Too many changes are waiting to be stored.", service="records", hint="Try again in a moment.")
        unit = _Unit(work, asyncio.get_running_loop())
        self._units.put(unit)
        with translated():
            return await unit.future  # type: ignore[no-any-return]

    def _write_loop(self) -> None:
        while (unit := self._units.get()) is not None:
            batch, last = [unit], False
            while len(batch) < BATCH:
                try:
                    following = self._units.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    last = True
                    break
                batch.append(following)
            self._commit(batch)
            if last:
                return

    def _commit(self, batch: list[_Unit]) -> None:
        """One transaction for all; a full disk or a lost file fails them all, because none is stored.

        A server that went away before it was to commit has stored nothing: where it is back soon, all is done again, and nobody notices.
        """
        error, away = self._tried(batch)
        if away and isinstance(error, DBAPIError) and error.connection_invalidated:
            until = time.monotonic() + BACK_WITHIN_S
            while away and time.monotonic() < until:
                time.sleep(LOOK_AGAIN_S)
                error, away = self._tried(batch)
        for unit in batch:
            unit.settle(error)

    def _tried(self, batch: list[_Unit]) -> tuple[Exception | None, bool]:
        """(what went wrong, whether the server was away before it was to commit)."""
        committing = False
        try:
            with self._write_engine.connect() as connection, connection.begin() as transaction:
                for unit in batch:
                    unit.error = None
                    try:
                        with connection.begin_nested():
                            unit.result = unit.work(connection)
                    except (IntegrityError, DataError, HearthError) as error:
                        unit.error = error
                committing = True
                transaction.commit()
        except Exception as error:  # noqa: BLE001  the writer must outlive every unit; each caller gets the error
            return error, isinstance(error, OperationalError) and not committing
        self.commits += 1
        return None, False


class SqliteDatabase(Database):
    """One SQLite file in WAL mode."""

    def __init__(self, url: str, *, home: Path) -> None:
        """`url` is empty: the file is `<home>/hearth.db`."""
        self.path = home / "hearth.db"
        super().__init__(_sqlite(self.path, read=True), _sqlite(self.path, read=False))
        self.adapter = f"SQLite {sqlite3.sqlite_version}"


def _sqlite(path: Path, *, read: bool) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}", pool_size=READERS + READERS_ASIDE if read else 1, max_overflow=0, pool_timeout=30, connect_args={"check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # SQLAlchemy says BEGIN, the driver doesn't
        cursor = connection.cursor()
        # FULL: an accepted message survives a power cut. secure_delete: what is deleted is overwritten.
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "busy_timeout=5000",
            "foreign_keys=ON",
            "secure_delete=ON",
            f"query_only={'ON' if read else 'OFF'}",
        ):
            cursor.execute("PRAGMA " + pragma)
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A read transaction that turns into a write can't wait for the lock: "database is locked" in spite of busy_timeout.
        connection.exec_driver_sql("BEGIN" if read else "BEGIN IMMEDIATE")

    return engine
