"""Moves every row of a house from one database to another: table by table, parents first, in slices that can be broken off and repeated.

Compared afterwards are the rows themselves: their number, and a sum of their digests that doesn't depend on an order, because two databases need not agree
on one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy import Column, Connection, MetaData, Row, Table, TypeDecorator, bindparam, func, insert, select, text, tuple_, update

from core.adapters.database_sql import Database
from core.adapters.tables_sql import metadata
from core.errors import AlreadyThere, ServiceUnavailable

SLICE_ROWS = 2_000
SLICE_TEXTS = 50
"""Of documents, whose whole text is in their row."""
_ENCODED = msgspec.msgpack.Encoder()
Rewrite = tuple[str, str]
"""How the uris of objects begin before and after."""
Told = Callable[[str, int, int], Awaitable[None]]
"""(table, rows done, rows in all)"""


@dataclass(frozen=True, slots=True)
class Content:
    """What a table holds: how many rows, and the sum of their digests (BLAKE2b of 128 bits) modulo 2**128."""

    rows: int = 0
    checksum: int = 0

    def __add__(self, digest: bytes) -> "Content":
        return Content(self.rows + 1, (self.checksum + int.from_bytes(digest)) % (1 << 128))


async def move_rows(source: Database, target: Database, told: Told, rewrite: Rewrite = ("", "")) -> Mapping[str, Content]:
    """Brings all rows over and says what each table holds now. Broken off, it is repeated: rows that are there already are passed over.

    The source is only read. Nobody may write to either meanwhile.   rewrite: for uris of objects that begin otherwise in the target.
    Raises: AlreadyThere if the target holds what the source doesn't, and nothing is changed; ServiceUnavailable if the two differ afterwards.
    """
    tables = [_bare(table) for table in metadata.sorted_tables]
    there = {table.name: {_digest(row) async for rows in _slices(target, table) for row in rows} for table in tables}
    for table in tables:
        if foreign := there[table.name].copy():
            async for rows in _slices(source, table, rewrite):
                foreign.difference_update(map(_digest, rows))
            if foreign:
                raise AlreadyThere(
                    f"The place to move to holds {len(foreign)} rows of {table.name} that are not of this house. Nothing was changed.",
                    hint="Give it an empty database, or finish the move with the house that it was begun with.",
                )
    moved = {table.name: await _moved(source, target, table, there[table.name], told, rewrite) for table in tables}
    for table in tables:
        found = Content()
        async for rows in _slices(target, table):
            for row in rows:
                found += _digest(row)
        if found != moved[table.name]:
            raise ServiceUnavailable(
                f"The two differ in {table.name}: {moved[table.name].rows} rows here, {found.rows} there, or the same number with other content.",
                service="records",
                hint="Somebody wrote to one of them meanwhile? Stop every Hearth on both and move again.",
            )
    return moved


def _bare(table: Table) -> Table:
    """The table as the database has it: JSON is text and moments are numbers, so that nothing that is moved is interpreted on the way."""
    columns = [Column(c.name, c.type.impl if isinstance(c.type, TypeDecorator) else c.type, primary_key=c.primary_key) for c in table.columns]
    return Table(table.name, MetaData(), *columns)


async def _slices(database: Database, table: Table, rewrite: Rewrite = ("", "")) -> AsyncIterator[list[tuple[Any, ...]]]:
    """All rows in the order of their keys, some at a time, each as its values."""
    key = list(table.primary_key.columns)
    places = [list(table.columns).index(column) for column in key]
    query, last = select(table).order_by(*key).limit(SLICE_TEXTS if table.name == "documents" else SLICE_ROWS), None
    while True:
        following = query if last is None else query.where(tuple_(*key) > tuple_(*last))
        rows: Sequence[Row[Any]] = await database.read(lambda c, q=following: c.execute(q).all())  # type: ignore[misc]
        if not rows:
            return
        last = [rows[-1][place] for place in places]
        yield [tuple(_rewritten(value, rewrite) for value in row) for row in rows]


def _rewritten(value: Any, rewrite: Rewrite) -> Any:
    before, after = rewrite
    return after + value[len(before) :] if before and isinstance(value, str) and value.startswith(before) else value


def _digest(row: tuple[Any, ...]) -> bytes:
    return blake2b(_ENCODED.encode(row), digest_size=16).digest()


async def _moved(source: Database, target: Database, table: Table, there: set[bytes], told: Told, rewrite: Rewrite) -> Content:
    total = await source.read(lambda c: c.execute(select(func.count()).select_from(table)).scalar_one())
    names, content = [column.name for column in table.columns], Content()
    async for rows in _slices(source, table, rewrite):
        new = []
        for row in rows:
            digest = _digest(row)
            content += digest
            if digest not in there:
                new.append(dict(zip(names, row, strict=True)))
        if new:
            await target.write(lambda c, new=new: _insert(c, table, new))  # type: ignore[misc]
        await told(table.name, content.rows, total)
    await target.write(lambda c: _numbered_on(c, table))
    return content


def _insert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if table.name != "chunks":
        connection.execute(insert(table), rows)
        return
    # The full text takes a passage in when it becomes live, and not before.
    connection.execute(insert(table), [row | {"live": 0} for row in rows])
    if live := [{"number": row["n"], "since": row["live"]} for row in rows if row["live"]]:
        connection.execute(update(table).where(table.c.n == bindparam("number")).values(live=bindparam("since")), live)


def _numbered_on(connection: Connection, table: Table) -> None:
    """A database that counts rows by itself goes on after those that came with their numbers; SQLite does so anyway."""
    counted = [c for c in metadata.tables[table.name].primary_key.columns if c.autoincrement is True]
    if counted and connection.dialect.name == "postgresql":
        name = counted[0].name
        last = (
            f"SELECT setval(pg_get_serial_sequence('{table.name}', '{name}'), (SELECT max({name}) FROM {table.name})) WHERE EXISTS (SELECT 1 FROM {table.name})"  # noqa: S608
        )
        connection.execute(text(last))
