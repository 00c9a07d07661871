"""The versions of collections' vectors in SQL: rows beside the chunks, and one number in the collection that says which of them are searched."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, case, delete, func, insert, or_, select, update

from core.adapters.database_sql import Database
from core.adapters.documents_sql import FOUND, collection_of, found_chunk, lacking, store_vectors
from core.adapters.processes_sql import is_gone
from core.adapters.tables_sql import chunk_vectors, chunks, collection_versions, collections
from core.errors import IllegalStep, NotFound
from core.inference import Vector
from core.rag.model import MOST_VERSIONS, Collection, CollectionVersion, FoundChunk, VersionState
from core.records import DeleteReceipt

V = collection_versions.c
BUILDING, READY, FAILED = VersionState.BUILDING.value, VersionState.READY.value, VersionState.FAILED.value
UNTOLD = ("lease_until", "holder")
"""Columns that only say who works on a version."""
DROPPED_AT_ONCE = 5_000
"""Vectors that are deleted in one transaction: others write in between."""


class SqlCollectionVersions:
    """CollectionVersions over a SQL database."""

    def __init__(self, database: Database, holder: str = "") -> None:
        """holder: the process that builds versions; "" for one that only looks."""
        self._database, self._holder = database, holder

    async def versions(self, collection_id: str) -> Sequence[CollectionVersion]:
        """As the port says."""
        query = select(collection_versions).where(V.collection_id == collection_id).order_by(V.version.desc())
        return [_version(row) for row in await self._database.read(lambda c: c.execute(query).all())]

    async def begin(self, collection_id: str, embedding_model: str, dimensions: int, at: datetime) -> CollectionVersion:
        """As the port says."""

        def work(connection: Connection) -> CollectionVersion:
            last, count = connection.execute(select(func.max(V.version), func.count()).where(V.collection_id == collection_id)).one()
            if last is None:
                raise NotFound("There is no such collection.", hint="It may have been deleted meanwhile.")
            if count >= MOST_VERSIONS:
                raise IllegalStep(f"{count} versions of this collection are kept, which is the most.", hint="Remove one that you won't go back to.")
            _demand_nothing_building(connection, collection_id)
            made = CollectionVersion(collection_id, last + 1, embedding_model, dimensions, at, VersionState.BUILDING, 0, _searched(connection, collection_id))
            connection.execute(insert(collection_versions).values({c.name: getattr(made, c.name) for c in V if c.name not in UNTOLD}))
            return made

        return await self._database.write(work)

    async def again(self, collection_id: str, version: int) -> None:
        """As the port says."""

        def work(connection: Connection) -> None:
            _demand(connection, collection_id, version)
            _demand_nothing_building(connection, collection_id)
            _build_on(connection, collection_id, version)

        await self._database.write(work)

    async def lease(self, now: datetime, lease_until: datetime) -> CollectionVersion | None:
        """As the port says."""
        free = (V.state == BUILDING, or_(V.lease_until.is_(None), V.lease_until <= now, is_gone(V.holder)))
        waiting = select(collection_versions).where(*free).order_by(V.made_at).limit(1)
        if not await self._database.read(lambda c: c.execute(waiting).first()):
            return None  # the usual case costs no write

        def work(connection: Connection) -> CollectionVersion | None:
            row = connection.execute(waiting).first()
            if row is None:
                return None
            taken = {"lease_until": lease_until, "holder": self._holder}
            connection.execute(update(collection_versions).where(*_this(row.collection_id, row.version)).values(taken))
            return _version(row)

        return await self._database.write(work)

    async def bare(self, collection_id: str, version: int, limit: int, after: int = 0) -> Sequence[tuple[int, FoundChunk]]:
        """As the port says."""
        query = FOUND.where(chunks.c.collection_id == collection_id, chunks.c.live > 0, chunks.c.n > after, lacking(version)).order_by(chunks.c.n).limit(limit)
        return [(row.n, found_chunk(row)) for row in await self._database.read(lambda c: c.execute(query).all())]

    async def store(self, version: CollectionVersion, vectors: Sequence[tuple[int, Vector]], lease_until: datetime, error: str = "") -> bool:
        """As the port says."""
        this = _this(version.collection_id, version.version)

        def work(connection: Connection) -> bool:
            if connection.execute(select(V.state).where(*this)).scalar() != BUILDING:
                return False
            numbers = select(chunks.c.n).where(chunks.c.n.in_([n for n, _ in vectors]), chunks.c.collection_id == version.collection_id)
            there = set(connection.execute(numbers).scalars())  # a passage may have gone meanwhile
            store_vectors(connection, version.version, {n: vector for n, vector in vectors if n in there})
            total = _searched(connection, version.collection_id)
            done = case((V.done + len(there) < total, V.done + len(there)), else_=total)
            connection.execute(update(collection_versions).where(*this).values(done=done, total=total, error=error, lease_until=lease_until))
            return True

        return await self._database.write(work)

    async def end(self, version: CollectionVersion) -> None:
        """As the port says."""

        def work(connection: Connection) -> None:
            values: dict[str, Any] = {"state": version.state.value, "error": version.error, "lease_until": None}
            if version.state is VersionState.READY:
                values |= dict.fromkeys(("done", "total"), _searched(connection, version.collection_id))
            this = _this(version.collection_id, version.version)
            connection.execute(update(collection_versions).where(*this, V.state == BUILDING).values(values))

        await self._database.write(work)

    async def serve(self, collection_id: str, version: int) -> Collection:
        """As the port says."""
        gap = select(chunks.c.n).where(chunks.c.collection_id == collection_id, chunks.c.live > 0, lacking(version)).limit(1)

        def work(connection: Connection) -> Collection | None:
            row = _demand(connection, collection_id, version)
            if connection.execute(gap).first():
                if row.state != BUILDING:
                    _build_on(connection, collection_id, version)
                return None
            connection.execute(update(collection_versions).where(*_this(collection_id, version)).values(state=READY, error="", lease_until=None))
            grown = collections.c.added_version + 1  # whoever holds the vectors reads them again
            pinned = {"version": version, "embedding_model": row.embedding_model, "dimensions": row.dimensions}
            here = collections.c.id == collection_id
            connection.execute(update(collections).where(here).values(**pinned, added_version=grown, removed_version=grown))
            return collection_of(connection.execute(select(collections).where(here)).one())

        served = await self._database.write(work)
        if served is None:
            raise IllegalStep(
                "Some passages have no vector of that version yet.", hint="They are being embedded; it can be searched as soon as the version is ready."
            )
        return served

    async def drop(self, collection_id: str, version: int) -> DeleteReceipt:
        """As the port says."""
        mine = select(chunks.c.n).where(chunks.c.collection_id == collection_id)
        here = (chunk_vectors.c.version == version, chunk_vectors.c.chunk_n.in_(mine))
        some = select(chunk_vectors.c.chunk_n).where(*here).limit(DROPPED_AT_ONCE)

        def stop(connection: Connection) -> None:
            _demand(connection, collection_id, version)
            if connection.execute(select(collections.c.version).where(collections.c.id == collection_id)).scalar() == version:
                raise IllegalStep("This version is the one that is searched.", hint="Let another one be searched first.")
            ended = {"state": FAILED, "error": "It is being removed.", "lease_until": None}
            connection.execute(update(collection_versions).where(*_this(collection_id, version)).values(ended))

        def part(connection: Connection) -> int:
            return connection.execute(delete(chunk_vectors).where(chunk_vectors.c.version == version, chunk_vectors.c.chunk_n.in_(some))).rowcount

        def last(connection: Connection) -> tuple[int, int]:
            gone = connection.execute(delete(collection_versions).where(*_this(collection_id, version))).rowcount
            return gone, connection.execute(select(func.count()).select_from(chunk_vectors).where(*here)).scalar_one()

        await self._database.write(stop)
        removed = 0
        while some_went := await self._database.write(part):
            removed += some_went
        gone, left = await self._database.write(last)
        return DeleteReceipt({"vectors": removed, "versions": gone}, {"vectors": left, "versions": 0})


def _this(collection_id: str, version: int) -> tuple[Any, Any]:
    return V.collection_id == collection_id, V.version == version


def _demand(connection: Connection, collection_id: str, version: int) -> Row[Any]:
    row = connection.execute(select(collection_versions).where(*_this(collection_id, version))).one_or_none()
    if row is None:
        raise NotFound("There is no such version of that collection.", hint="It may have been removed meanwhile.")
    return row


def _demand_nothing_building(connection: Connection, collection_id: str) -> None:
    if connection.execute(select(V.version).where(V.collection_id == collection_id, V.state == BUILDING)).first():
        raise IllegalStep("A version of this collection is being built already.", hint="Wait until it is ready, or remove it.")


def _build_on(connection: Connection, collection_id: str, version: int) -> None:
    bare = select(func.count()).where(chunks.c.collection_id == collection_id, chunks.c.live > 0, lacking(version))
    total = _searched(connection, collection_id)
    counted = {"done": total - connection.execute(bare).scalar_one(), "total": total}
    connection.execute(update(collection_versions).where(*_this(collection_id, version)).values(state=BUILDING, error="", lease_until=None, **counted))


def _searched(connection: Connection, collection_id: str) -> int:
    """How many passages a whole version has."""
    return connection.execute(select(func.count()).where(chunks.c.collection_id == collection_id, chunks.c.live > 0)).scalar_one()


def _version(row: Row[Any]) -> CollectionVersion:
    given = {c.name: row._mapping[c.name] for c in V if c.name not in UNTOLD}
    return CollectionVersion(**given | {"state": VersionState(row.state)})
