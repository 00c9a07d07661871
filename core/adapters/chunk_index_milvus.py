"""Chunks in Milvus: meaning by dense vectors, words by its BM25. The chunk rows stay the truth, and Milvus holds a copy of what they say.

One Milvus collection for each length of vectors; `scope` in it is a version of a Hearth collection, so another version is searched as soon as its rows say so.
A filter keeps every search to what may be found, before anything is ranked. What Milvus has too much or too little is put right by `settle`.
"""

import asyncio
import json
import logging
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

import anyio
import grpc
import numpy as np
from pymilvus import DataType, Function, FunctionType, MilvusClient
from pymilvus.exceptions import MilvusException
from sqlalchemy import ColumnElement, Connection, Select, and_, func, select

from core.adapters.chunk_index_sql import RowChunkIndex, other_length, re_embedded, words_of
from core.adapters.database_sql import Database
from core.adapters.documents_sql import GONE
from core.adapters.tables_sql import chunk_vectors, chunks, collections, documents
from core.errors import ServiceError, ServiceRefused, ServiceUnavailable, SettingsError
from core.inference import Vector
from core.rag.model import Document, Hit
from core.records import DeleteReceipt, Facts

T = TypeVar("T")
log = logging.getLogger(__name__)
logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs a trace for every call that fails, and we say that ourselves

SEARCH_S = 1.5
"""How long a question waits before it is answered without documents."""
WRITE_S = 30.0
AWAY_S = 10.0
"""How long questions are refused at once after one had no answer."""
AGAIN = {"grpc.initial_reconnect_backoff_ms": 200, "grpc.max_reconnect_backoff_ms": 2_000}
"""A server that is back is found again within two seconds; the library's own pauses grow to two minutes."""
AT_ONCE = 16
BATCH = 500
MOST = 16_384
"""Rows that one answer of Milvus may hold."""
COMPARED_AT_ONCE = 5_000
WIDER, ROUNDS = 10, 3
"""How much deeper a search looks, and how often, where what it found is gone from the rows: the next round leaves those documents out."""
MAX_TEXT_BYTES = 60_000
UNREACHED = 2
"""The library's own codes end here: no connection, no answer in time."""
KIND = "vectors in Milvus"
FORM = "It looks like http://user:password@host:19530, or https://…; a path names a database of the server."
_REFUSED = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_CLOSED = re.compile(r"unauthenticated|auth check|permission.?denied", re.IGNORECASE)
_ROWS = chunks.join(chunk_vectors, chunk_vectors.c.chunk_n == chunks.c.n).join(documents, documents.c.id == chunks.c.document_id)
_WANTED = documents.c.status.not_in(GONE)
"""Whose vectors belong into Milvus: also those of documents that are on their way."""


def literal(value: str) -> str:
    """A string as a Milvus filter writes it: the only place that quotes. Raises: ValueError for signs that no filter can hold."""
    if _REFUSED.search(value) or len(value) > MOST:
        raise ValueError("A filter can't hold control characters, or so long a text.")
    return json.dumps(value, ensure_ascii=False)


def _one_of(name: str, values: Sequence[str]) -> str:
    return f"{name} in [{', '.join(map(literal, values))}]"


def _none_of(name: str, values: Sequence[str]) -> str:
    return f"not ({_one_of(name, values)})" if values else ""


def _scope(collection_id: str, version: int) -> str:
    return f"{collection_id}/{version}"


@contextmanager
def _translated() -> Iterator[None]:
    """Turns the library's errors into ours; the password is in none of them."""
    try:
        yield
    except (MilvusException, grpc.RpcError, grpc.FutureTimeoutError) as error:
        if _CLOSED.search(str(error)):
            raise ServiceRefused("Milvus refuses the user or the password.", service="vectors", hint="Check HEARTH_VECTORS_URL.") from error
        code = getattr(error, "code", None)
        if isinstance(code, int) and code > UNREACHED:
            log.warning("Milvus: %s", error)
            raise ServiceUnavailable(f"Milvus answered with an error ({code}).", service="vectors", hint="The log has its words.") from error
        raise _away() from error


def _away() -> ServiceUnavailable:
    return ServiceUnavailable("Milvus, which holds the vectors, doesn't answer.", service="vectors", hint="Is it running? `hearth doctor` checks it.")


class MilvusChunkIndex:
    """The chunk index over a Milvus server: 2.5 or later; an older one finds by meaning, and words are then found in the rows."""

    def __init__(self, url: str, *, rows: RowChunkIndex, database: Database) -> None:
        """rows: the index over the chunk rows.   Raises: SettingsError."""
        try:
            parts = urlsplit(url)
            place = parts.netloc.rpartition("@")[2]
            token = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}" if parts.username else ""
            self._at = {"uri": f"{parts.scheme}://{place}", "token": token, "db_name": unquote(parts.path.strip("/"))}
        except ValueError as error:
            raise SettingsError("HEARTH_VECTORS_URL is no address.", hint=FORM) from error
        if not place:
            raise SettingsError("HEARTH_VECTORS_URL lacks the host.", hint=FORM)
        self.adapter = f"Milvus at {place}"
        self._rows, self._database = rows, database
        self._calls = anyio.CapacityLimiter(AT_ONCE)
        self._connecting = threading.Lock()
        self._connected: MilvusClient | None = None
        self._words = False
        self._lite = False
        self._made: set[int] = set()
        self._whole: set[str] = set()
        self._away_until = 0.0
        self._writing = asyncio.Lock()
        self._compared = False

    async def __aenter__(self) -> Self:
        """Opens also while the server is away: what needs no documents works without it."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Closes the connection."""
        await anyio.to_thread.run_sync(self._disconnect)

    async def check(self) -> None:
        """Asks for something real. Raises: ServiceError."""
        await self._call(lambda client: client.list_collections(timeout=SEARCH_S), SEARCH_S)
        self._away_until = 0.0

    async def facts(self) -> Facts:
        """As the port Server says."""
        return Facts(str(await self._call(lambda client: client.get_server_version(timeout=SEARCH_S), SEARCH_S)))

    async def nearest(self, versions: Mapping[str, int], query: Vector, top_k: int) -> list[Hit]:
        """As the port says."""
        found = await self._database.read(lambda c: _searched(c, list(versions)))
        for collection_id, (version, dimensions) in found.items():
            if version != versions[collection_id]:
                raise re_embedded()
            if dimensions != query.shape[0]:
                raise other_length(query.shape[0], dimensions)
        return await self._search("dense", np.asarray(query, np.float32), query.shape[0], found, top_k) if found else []

    async def matching(self, collection_ids: Sequence[str], text: str, top_k: int) -> list[Hit]:
        """As the port says. A server without full text leaves it to the rows."""
        words = words_of(text)
        found = await self._database.read(lambda c: _searched(c, collection_ids))
        if not words or not found:
            return []
        if not await self._ask(lambda client: self._words):
            return await self._rows.matching(collection_ids, text, top_k)
        rankings = []
        for length in sorted({dimensions for _, dimensions in found.values()}):
            rankings += await self._search("words", " ".join(words), length, {i: f for i, f in found.items() if f[1] == length}, top_k)
        return sorted(rankings, key=lambda hit: (-hit.score, hit.chunk_id))[:top_k]

    async def size(self, collection_ids: Sequence[str]) -> int:
        """As the port says."""
        return await self._rows.size(collection_ids)

    async def add(self, document: Document) -> None:
        """As the port says."""
        await self._copy(and_(chunks.c.document_id == document.id, chunks.c.version == document.version))

    async def fill(self, collection_id: str, version: int) -> None:
        """As the port says."""
        await self._copy(and_(chunks.c.collection_id == collection_id, chunk_vectors.c.version == version))

    async def drop_document(self, document_id: str, *, but: int | None = None) -> DeleteReceipt:
        """As the port says."""
        filtered, mine = f"document like {literal(document_id + '/%')}", chunks.c.document_id == document_id
        if but is not None:
            filtered, mine = f"{filtered} and document != {literal(_scope(document_id, but))}", and_(mine, chunks.c.version != but)
        return await self._drop(filtered, mine)

    async def drop_collection(self, collection_id: str, version: int | None = None) -> DeleteReceipt:
        """As the port says."""
        if version is None:
            return await self._drop(f"scope like {literal(collection_id + '/%')}", chunks.c.collection_id == collection_id)
        this = and_(chunks.c.collection_id == collection_id, chunk_vectors.c.version == version)
        return await self._drop(f"scope == {literal(_scope(collection_id, version))}", this)

    async def settle(self) -> Mapping[str, int]:
        """As the port says. Counts what is searched every time; compares every id where the counts differ, and the first time.

        What is on its way is left to those who bring it.
        """
        done: Counter[str] = Counter()
        wanted, hidden = await self._database.read(lambda c: (_lengths(c), _hidden(c)))
        there = await self._call(_lengths_there, WRITE_S)
        for length in sorted({*wanted, *there}):
            if self._compared and wanted.get(length, 0) == await self._count(length, _none_of("document", hidden)):
                continue
            for low, high in _parts(max(wanted.get(length, 0), await self._count(length))):
                done += await self._settle_part(length, low, high)
        self._compared = True
        if done:
            log.warning("Milvus was brought to what the records hold: %s", ", ".join(f"{count} {kind}" for kind, count in sorted(done.items())))
        return dict(done)

    async def _settle_part(self, length: int, low: str, high: str) -> Counter[str]:
        """Compares the chunks whose ids lie between. Written is under the lock that everything is written under, from what the rows say then."""
        here = f"id >= {literal(low)} and id < {literal(high)}"
        between = and_(chunks.c.id >= low, chunks.c.id < high, func.length(chunk_vectors.c.embedding) == length * 4)
        async with self._writing:
            await self._make(length)
            there = {row["id"] for row in await self._query(length, here, ["id"])}
            rows = await self._database.read(lambda c: c.execute(_select(chunks.c.id, chunk_vectors.c.version, chunks.c.live).where(between)).all())
            extra = sorted(there - {_scope(row.id, row.version) for row in rows})
            for start in range(0, len(extra), BATCH):
                await self._write("delete", length, ids=extra[start : start + BATCH])
        lacking = [row.id for row in rows if row.live and _scope(row.id, row.version) not in there]
        for start in range(0, len(lacking), BATCH):
            await self._copy(chunks.c.id.in_(lacking[start : start + BATCH]))
        return Counter({kind: count for kind, count in (("removed", len(extra)), ("added", len(lacking))) if count})

    async def _search(self, field: str, what: Any, length: int, found: Mapping[str, tuple[int, int]], top_k: int) -> list[Hit]:
        scopes = [_scope(collection_id, version) for collection_id, (version, _) in found.items()]
        if not await self._demand_whole(length, found):
            return []
        hidden = await self._database.read(lambda c: _hidden(c, list(found)))
        for fetch in (top_k, *[min(top_k * WIDER, MOST)] * (ROUNDS - 1)):
            filtered = " and ".join(filter(None, (_one_of("scope", scopes), _none_of("document", hidden))))
            hits = await self._ask(partial(self._searched, length=length, field=field, what=what, filtered=filtered, limit=fetch))
            live, standing = await self._database.read(partial(_live, hits=hits))
            kept = sorted((hit for hit, _ in hits if hit.chunk_id in live), key=lambda hit: (-hit.score, hit.chunk_id))
            if len(kept) >= top_k or len(hits) < fetch:
                break
            hidden += sorted({document for _, document in hits} - standing)
        return kept[:top_k]

    def _searched(self, client: MilvusClient, *, length: int, field: str, what: Any, filtered: str, limit: int) -> list[tuple[Hit, str]]:
        """Hits, each with its version of a document."""
        how = {"metric_type": "COSINE" if field == "dense" else "BM25"}
        options = {"filter": filtered, "limit": limit, "search_params": how, "output_fields": ["document"], "timeout": SEARCH_S}
        (found,) = client.search(_name(length), [what], anns_field=field, **options)

        def score(distance: float) -> float:  # BM25 is negative in Milvus Lite; the order is the same, best first
            return abs(distance) if field == "words" else max(-1.0, min(1.0, distance))

        return [(Hit(hit["id"].partition("/")[0], score(hit["distance"])), hit["entity"]["document"]) for hit in found]

    async def _demand_whole(self, length: int, found: Mapping[str, tuple[int, int]]) -> bool:
        """Looks once whether all that may be found has come to Milvus: an answer from a half would look like a whole one. False if there is nothing.

        Raises: ServiceUnavailable.
        """
        unsure = {_scope(i, version): i for i, (version, _) in found.items()}
        sure = self._whole & set(unsure)
        unsure = {scope: i for scope, i in unsure.items() if scope not in sure}
        if not unsure:
            return True
        needed = await self._database.read(lambda c: _live_count(c, list(unsure.values())))
        count = partial(_counted, name=_name(length), filtered=_one_of("scope", list(unsure)), timeout_s=SEARCH_S)
        there = (await self._ask(count)) if needed else 0
        if there < needed:
            raise ServiceUnavailable(
                f"{needed - there:,} of {needed:,} passages have not come to Milvus yet.", service="vectors", hint="They are being copied; ask again soon."
            )
        if needed:
            self._whole |= set(unsure)
        return bool(needed or sure)

    async def _copy(self, which: ColumnElement[bool]) -> None:
        """Brings chunks to Milvus as the rows have them now, batch by batch; what is there already is replaced."""
        after: tuple[int, int] = (0, 0)
        while True:
            async with self._writing:
                rows = await self._database.read(partial(_batch, which=which, after=after))
                by_length: dict[int, list[dict[str, Any]]] = {}
                for row in rows:
                    vector = np.frombuffer(row.embedding, np.float32)
                    by_length.setdefault(len(vector), []).append(_entity(row, vector))
                for length, entities in by_length.items():
                    await self._make(length)
                    given = entities if self._words else [{k: v for k, v in entity.items() if k != "text"} for entity in entities]
                    await self._write("upsert", length, data=given)
            if len(rows) < BATCH:
                return
            after = (rows[-1].n, rows[-1].of_version)

    async def _drop(self, filtered: str, mine: ColumnElement[bool]) -> DeleteReceipt:
        removed = left = 0
        try:
            async with self._writing:
                for length in await self._call(_lengths_there, WRITE_S):
                    removed += await self._count(length, filtered)
                    await self._write("delete", length, filter=filtered)
                    left += await self._count(length, filtered)
        except ServiceError as error:
            log.warning("Vectors in Milvus are removed later: %s", error)
            self._compared = False
            left = await self._database.read(lambda c: c.execute(select(func.count()).select_from(_ROWS).where(mine)).scalar_one())
        return DeleteReceipt({KIND: removed - left if removed else 0}, {KIND: left})

    async def _count(self, length: int, filtered: str = "") -> int:
        return await self._call(partial(_counted, name=_name(length), filtered=filtered, timeout_s=WRITE_S), WRITE_S)

    async def _query(self, length: int, filtered: str, fields: list[str]) -> list[dict[str, Any]]:
        def ask(client: MilvusClient) -> list[dict[str, Any]]:
            return list(client.query(_name(length), filter=filtered, output_fields=fields, limit=MOST, consistency_level="Strong", timeout=WRITE_S))

        return await self._call(ask, WRITE_S)

    async def _make(self, length: int) -> None:
        """Makes the collection for vectors of that length, where it isn't there yet."""
        if length not in self._made:
            await self._call(lambda client: self._made_now(client, length), WRITE_S)
            self._made.add(length)

    def _made_now(self, client: MilvusClient, length: int) -> None:
        if client.has_collection(_name(length), timeout=WRITE_S):
            client.load_collection(_name(length), timeout=WRITE_S)
            return
        schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
        schema.add_field("scope", DataType.VARCHAR, max_length=64)
        schema.add_field("document", DataType.VARCHAR, max_length=64)
        schema.add_field("dense", DataType.FLOAT_VECTOR, dim=length)
        indexes = client.prepare_index_params()
        indexes.add_index("dense", index_type="FLAT", metric_type="COSINE")  # exact, and as cheap as what the filter leaves is small
        if self._words:
            analyzer = {"tokenizer": "standard"} if self._lite else {"type": "english"}
            schema.add_field("text", DataType.VARCHAR, max_length=65_535, enable_analyzer=True, analyzer_params=analyzer)
            schema.add_field("words", DataType.SPARSE_FLOAT_VECTOR)
            schema.add_function(Function("bm25", FunctionType.BM25, input_field_names=["text"], output_field_names=["words"]))
            indexes.add_index("words", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        client.create_collection(_name(length), schema=schema, index_params=indexes, consistency_level="Session", timeout=WRITE_S)

    async def _ask(self, work: Callable[[MilvusClient], T]) -> T:
        """For somebody who waits: once Milvus had no answer, the next questions are refused without waiting."""
        if time.monotonic() < self._away_until:
            raise _away()
        try:
            found = await self._call(work, SEARCH_S)
        except ServiceUnavailable:
            self._away_until = time.monotonic() + AWAY_S
            raise
        self._away_until = 0.0
        return found

    async def _write(self, what: str, length: int, **given: Any) -> None:
        await self._call(lambda client: getattr(client, what)(_name(length), timeout=WRITE_S, **given), WRITE_S)

    async def _call(self, work: Callable[[MilvusClient], T], within_s: float) -> T:
        """In a thread, which is left behind where it doesn't come back in time. Raises: ServiceError."""

        def run() -> T:
            with _translated():
                return work(self._client())

        try:
            async with asyncio.timeout(within_s):
                return await anyio.to_thread.run_sync(run, limiter=self._calls, abandon_on_cancel=True)
        except (TimeoutError, ServiceUnavailable) as error:
            self._made.clear()  # it may come back empty, or with nothing loaded
            self._whole.clear()
            raise error if isinstance(error, ServiceUnavailable) else _away() from error

    def _client(self) -> MilvusClient:
        if not self._connecting.acquire(timeout=SEARCH_S):
            raise _away()
        try:
            if self._connected is None:
                made = MilvusClient(**self._at, timeout=SEARCH_S, dedicated=True, grpc_options=AGAIN)
                said = str(made.get_server_version(timeout=SEARCH_S))
                self._lite = said.startswith("milvus_lite")
                number = re.search(r"(\d+)\.(\d+)", said)
                self._words = self._lite or (number is not None and (int(number[1]), int(number[2])) >= (2, 5))
                self._connected = made
            return self._connected
        finally:
            self._connecting.release()

    def _disconnect(self) -> None:
        if self._connected is not None:
            self._connected.close()
            self._connected = None


def _name(length: int) -> str:
    return f"hearth_{length}"


def _lengths_there(client: MilvusClient) -> list[int]:
    """The lengths of vectors that Milvus has a collection for."""
    return [int(name[7:]) for name in client.list_collections(timeout=WRITE_S) if re.fullmatch(r"hearth_\d+", name)]


def _counted(client: MilvusClient, *, name: str, filtered: str, timeout_s: float) -> int:
    """How many rows there are; none where there is no such collection. Loads it, which Milvus Lite forgets when it is started again."""
    if not client.has_collection(name, timeout=timeout_s):
        return 0
    client.load_collection(name, timeout=timeout_s)
    return int(client.query(name, filter=filtered, output_fields=["count(*)"], consistency_level="Strong", timeout=timeout_s)[0]["count(*)"])


def _parts(count: int) -> list[tuple[str, str]]:
    """Ranges of ids that hold some thousands each: ids of chunks are hashes, so they are spread evenly."""
    digits = 0
    while count / 16**digits > COMPARED_AT_ONCE:
        digits += 1
    lows = [f"{n:0{digits}x}" for n in range(16**digits)]
    return list(zip(lows, [*lows[1:], "g"], strict=True))


def _select(*what: Any) -> Select[Any]:
    return select(*what).select_from(_ROWS).where(_WANTED)


def _lengths(connection: Connection) -> dict[int, int]:
    """How many vectors of each length there are of chunks that are searched."""
    length = func.length(chunk_vectors.c.embedding)
    return {int(row[0]) // 4: row[1] for row in connection.execute(_select(length, func.count()).where(chunks.c.live > 0).group_by(length))}


def _batch(connection: Connection, which: ColumnElement[bool], after: tuple[int, int]) -> Sequence[Any]:
    n, version = after
    columns = (chunks, chunk_vectors.c.embedding, chunk_vectors.c.version.label("of_version"))
    further = (chunks.c.n > n) | ((chunks.c.n == n) & (chunk_vectors.c.version > version))
    return connection.execute(_select(*columns).where(which, further).order_by(chunks.c.n, chunk_vectors.c.version).limit(BATCH)).all()


def _entity(row: Any, vector: Vector) -> dict[str, Any]:
    text = "\n".join(part for part in (row.title, row.heading, row.content) if part)
    return {
        "id": _scope(row.id, row.of_version),
        "scope": _scope(row.collection_id, row.of_version),
        "document": _scope(row.document_id, row.version),
        "dense": vector,
        "text": text.encode("utf-8", "replace")[:MAX_TEXT_BYTES].decode("utf-8", "ignore"),
    }


def _searched(connection: Connection, collection_ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """(version, dimensions) of these collections as they are searched now; those that are gone are left out."""
    query = select(collections.c.id, collections.c.version, collections.c.dimensions).where(collections.c.id.in_(list(collection_ids)))
    return {row.id: (row.version, row.dimensions) for row in connection.execute(query)}


def _hidden(connection: Connection, collection_ids: Sequence[str] | None = None) -> list[str]:
    """The versions of documents that may be in Milvus and are not to be found, on their way or being deleted: in these collections, or in all."""
    query = select(chunks.c.document_id, chunks.c.version).where(chunks.c.live == 0).distinct()
    if collection_ids is not None:
        query = query.where(chunks.c.collection_id.in_(collection_ids))
    return [_scope(*row) for row in connection.execute(query)]


def _live(connection: Connection, hits: Sequence[tuple[Hit, str]]) -> tuple[set[str], set[str]]:
    """Which of these may be found, and which versions of their documents have anything that may."""
    found = select(chunks.c.id).where(chunks.c.id.in_([hit.chunk_id for hit, _ in hits]), chunks.c.live > 0)
    of = [document.partition("/")[0] for _, document in hits]
    standing = select(chunks.c.document_id, chunks.c.version).where(chunks.c.document_id.in_(of), chunks.c.live > 0).distinct()
    return set(connection.execute(found).scalars()), {_scope(*row) for row in connection.execute(standing)}


def _live_count(connection: Connection, collection_ids: Sequence[str]) -> int:
    return int(connection.execute(select(func.count()).where(chunks.c.collection_id.in_(collection_ids), chunks.c.live > 0)).scalar_one())
