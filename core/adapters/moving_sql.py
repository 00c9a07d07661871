"""All rows of one database of records, copied into another, of whichever kind each is.

Nothing is changed in the source, and nothing is replaced in the target: what is there already must be alike, so that a copy which broke off goes on, and two
houses are never mixed. In the end both databases are read again and compared, row by row.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, LargeBinary, Row, Select, Table, bindparam, func, insert, literal, select, text, tuple_, update

from core.adapters.database_sql import Database
from core.adapters.migrations.run import HEAD
from core.adapters.tables_sql import Json, chunks, documents, metadata
from core.errors import AlreadyThere, ServiceUnavailable, SettingsError
from core.moving import Moved, Moving, Tally

BATCH = 2_000
BATCH_LARGE = 500
"""Of rows that hold messages, passages or vectors."""
BATCH_DOCUMENTS = 20
"""Each holds the whole text of its document."""
MOST_KEYS = 400
"""How many keys are asked for in one statement."""
OF_THE_MOMENT = frozenset({"processes", "duties"})
"""Tables that say what runs just now, which is nothing while a house moves."""
ADDRESSES = {"uri", "object_uri", "source_url", "watched"}
"""Columns with an address, of an object or a prefix or of something else."""
MENTIONS = {
    ("run_steps", "attempts"), ("run_steps", "outputs"), ("step_results", "result"), ("artifacts", "metadata"),
    ("pipeline_runs", "parameters"), ("triggers", "parameters"),
}  # fmt: skip
"""Columns of JSON with the addresses of objects in them."""
_PACKED = msgspec.msgpack.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows of a table, and how they read where objects have other addresses."""

    table: Table
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Beginnings of addresses: as they are, and as they become."""

    @property
    def key(self) -> list[Column[Any]]:
        return list(self.table.primary_key.columns)

    @property
    def batch(self) -> int:
        if self.table is documents:
            return BATCH_DOCUMENTS
        return BATCH_LARGE if any(isinstance(c.type, (LargeBinary, Json)) or c.name == "content" for c in self.table.columns) else BATCH

    def after(self, last: Row[Any] | None) -> Select[Any]:
        query = select(self.table).order_by(*self.key).limit(self.batch)
        return query if last is None else query.where(tuple_(*self.key) > tuple_(*(literal(getattr(last, c.name), c.type) for c in self.key)))

    def values(self, row: Row[Any]) -> dict[str, Any]:
        given = {column.name: value for column, value in zip(self.table.columns, row, strict=True)}
        if self.addresses:
            for name, value in given.items():
                if name in ADDRESSES or (self.table.name, name) in MENTIONS:
                    given[name] = self._readdressed(value)
        return given

    def _readdressed(self, value: Any) -> Any:
        if isinstance(value, str):
            return next((new + value.removeprefix(old) for old, new in self.addresses.items() if value.startswith(old)), value)
        if isinstance(value, dict):
            return {key: self._readdressed(inner) for key, inner in value.items()}
        return [self._readdressed(inner) for inner in value] if isinstance(value, list) else value

    def key_of(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(values[c.name] for c in self.key)


async def of_this_hearth(source: Database) -> None:
    """Raises: SettingsError for a database whose tables are of another Hearth, or that nobody has ever used."""
    revision = await source.revision()
    if revision != HEAD:
        state = "holds no house yet" if revision is None else f"is of another Hearth (revision {revision}; this one knows {HEAD})"
        raise SettingsError(f"The database to move from {state}.", hint="Start this Hearth on it once, and stop it; then move.")


async def move_rows(source: Database, target: Database, addresses: Mapping[str, str], moving: Moving) -> list[Moved]:
    """Copies what the target lacks, then compares everything.

    addresses: beginnings of objects' addresses, as they are and as they become.
    Raises: AlreadyThere where the target holds something else; ServiceUnavailable if the two differ in the end; BadInput for what it can't hold.
    """
    tables = [_Rows(table, addresses) for table in metadata.sorted_tables if table.name not in OF_THE_MOMENT]
    counts = [(await _count(source, rows.table), await _count(target, rows.table)) for rows in tables]
    moving.total = 2 * sum(here for here, _ in counts)
    for rows, (_, there) in zip(tables, counts, strict=True):
        if there:
            await _refuse_others(source, target, rows)
    moved = []
    for rows, (_, there) in zip(tables, counts, strict=True):
        moving.doing = rows.table.name
        moved.append(await _copy(source, target, rows, moving, look=there > 0))
    for rows, had in zip(tables, moved, strict=True):
        moving.doing = rows.table.name
        has = await _read(target, rows.table, moving)
        if has != had:
            raise ServiceUnavailable(
                f"After the move the rows differ ({had.what}: {had.count:,} here, {has.count:,} there).",
                service="records",
                hint="Somebody else writes to one of them. Stop every Hearth on both, and move again.",
            )
    return moved


async def _count(database: Database, table: Table) -> int:
    return await database.read(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one())


async def _batches(database: Database, rows: _Rows) -> AsyncIterator[list[dict[str, Any]]]:
    last: Row[Any] | None = None
    while batch := await database.read(lambda c: c.execute(rows.after(last)).all()):  # noqa: B023  it is run before the next is read
        yield [rows.values(row) for row in batch]
        last = batch[-1]


async def _found(database: Database, rows: _Rows, keys: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The rows with these keys, by key."""

    def look(connection: Connection) -> list[Row[Any]]:
        return [row for some in _parts(keys, MOST_KEYS) for row in connection.execute(select(rows.table).where(tuple_(*rows.key).in_(some)))]

    values = [rows.values(row) for row in await database.read(look)]
    return {rows.key_of(v): v for v in values}


async def _refuse_others(source: Database, target: Database, rows: _Rows) -> None:
    """Raises: AlreadyThere where the target has a row that the source hasn't, or has otherwise."""
    async for batch in _batches(target, _Rows(rows.table)):
        ours = await _found(source, rows, [rows.key_of(there) for there in batch])
        if any(ours.get(rows.key_of(there)) != there for there in batch):
            raise AlreadyThere(
                f"Where it is to be moved to, another house is kept, or this one as it was used since (see {rows.table.name}).",
                hint="Move into an empty database or home; nothing was changed.",
            )


async def _copy(source: Database, target: Database, rows: _Rows, moving: Moving, *, look: bool) -> Moved:
    """look: some of the rows may be there. While a batch is written the next is read."""
    sums, writing = Tally(), asyncio.create_task(asyncio.sleep(0))
    try:
        async for batch in _batches(source, rows):
            _add(sums, batch)
            there = await _found(target, rows, [rows.key_of(v) for v in batch]) if look else {}
            missing = [v for v in batch if rows.key_of(v) not in there]
            await writing
            if missing:
                writing = asyncio.create_task(target.write(partial(_insert, table=rows.table, values=missing)))
            moving.done += len(batch)
    finally:
        await writing
    await target.write(lambda c: _finish(c, rows.table))
    return sums.of(rows.table.name)


async def _read(database: Database, table: Table, moving: Moving) -> Moved:
    sums = Tally()
    async for batch in _batches(database, _Rows(table)):
        _add(sums, batch)
        moving.done += len(batch)
    return sums.of(table.name)


def _add(sums: Tally, batch: Sequence[Mapping[str, Any]]) -> None:
    for row in batch:
        sums.add(_PACKED.encode(list(row.values())))


def _parts(of: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (of[n : n + size] for n in range(0, len(of), size))


def _insert(connection: Connection, table: Table, values: Sequence[Mapping[str, Any]]) -> None:
    if table is chunks and connection.dialect.name == "sqlite":  # its full text takes in a chunk when that goes live
        connection.execute(insert(table), [{**v, "live": 0} for v in values])
        if live := [{"number": v["n"], "since": v["live"]} for v in values if v["live"]]:
            connection.execute(update(table).where(table.c.n == bindparam("number")).values(live=bindparam("since")), live)
        return
    if table is chunks:
        connection.execute(text("SET LOCAL gin_pending_list_limit = '1GB'"))  # their words are sorted into the index once, in the end
    connection.execute(insert(table), list(values))


def _finish(connection: Connection, table: Table) -> None:
    """Lets PostgreSQL number the next row after those that brought their numbers, which SQLite does by itself; and sorts the words of chunks in."""
    column = table.autoincrement_column
    if connection.dialect.name != "postgresql":
        return
    if table is chunks:
        connection.execute(text("SELECT gin_clean_pending_list('ix_chunks_words')"))
    if column is not None:
        connection.execute(select(func.setval(func.pg_get_serial_sequence(table.name, column.name), func.max(column))))
