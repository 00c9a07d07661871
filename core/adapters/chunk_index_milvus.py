"""Chunks in Milvus: meaning by dense vectors, words by its BM25. The chunk rows stay the truth, and Milvus holds a copy of what they say.

What is searched is an alias for each length of vectors (`hearth_384`). Behind it stands a generation, a Milvus collection whose name says its form; where this
house makes another form, `settle` fills that beside the old one and moves the alias. `tenant` in it is whose a passage is, and parts the collection; `scope` is
a version of a Hearth collection, so another version is searched as soon as its rows say so. A filter keeps every search to what may be found, before anything
is ranked. What Milvus has too much or too little is put right by `settle`.
"""

import asyncio
import hashlib
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
from typing import Any, NamedTuple, Self, TypeVar
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
BATCH = 2_000
"""At most some 50 MB of the longest passages; Milvus takes 64 MB at once."""
PARTITIONS = 16
"""By a hash of the tenant, so a question of one looks through a part. Each costs Milvus memory."""
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
_OURS = re.compile(r"hearth_\d+(_[0-9a-f]{8})?")
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


class _Of(NamedTuple):
    """A collection as it is searched now, and whose it is."""

    version: int
    dimensions: int
    tenant: str


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
        self._made: dict[int, str] = {}
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
        for collection_id, (version, dimensions, _) in found.items():
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
        for length in sorted({of.dimensions for of in found.values()}):
            these = {i: of for i, of in found.items() if of.dimensions == length}
            rankings += await self._search("words", " ".join(words), length, these, top_k)
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

        What is on its way is left to those who bring it. A generation that has everything is searched from then on.
        """
        done: Counter[str] = Counter()
        wanted, hidden = await self._database.read(lambda c: (_lengths(c), _hidden(c)))
        there = {_length(name) for name in await self._call(_there, WRITE_S)}
        for length in sorted({*wanted, *there}):
            done += await self._settle_length(length, wanted.get(length, 0), hidden)
        self._compared = True
        if done:
            log.warning("Milvus was brought to what the records hold: %s", ", ".join(f"{count} {kind}" for kind, count in sorted(done.items())))
        return dict(done)

    async def _settle_length(self, length: int, wanted: int, hidden: Sequence[str]) -> Counter[str]:
        done: Counter[str] = Counter()
        name = await self._make(length)
        held = await self._count(name)
        if not held:
            await self._copy(and_(chunks.c.live > 0, func.length(chunk_vectors.c.embedding) == length * 4))
            done["added"] += wanted
        elif not self._compared or wanted != (await self._count(name, _none_of("document", hidden)) if hidden else held):
            for low, high in _parts(max(wanted, held)):
                done += await self._settle_part(name, length, low, high)
        if name != _alias(length):
            await self._call(lambda client: _serve(client, length, name), WRITE_S)
            self._made[length] = _alias(length)
            log.warning("Milvus answers from %s now.", name)
        return +done

    async def _settle_part(self, name: str, length: int, low: str, high: str) -> Counter[str]:
        """Compares the chunks whose ids lie between. Written is under the lock that everything is written under, from what the rows say then."""
        here = f"id >= {literal(low)} and id < {literal(high)}"
        between = and_(chunks.c.id >= low, chunks.c.id < high, func.length(chunk_vectors.c.embedding) == length * 4)
        async with self._writing:
            found, counted = await asyncio.gather(self._query(name, here, ["id"]), self._count(name, here))
            there = {row["id"] for row in found}
            twice = counted > len(there)  # rows of one id are told as one, and counted as they lie there
            rows = await self._database.read(lambda c: c.execute(_select(chunks.c.id, chunk_vectors.c.version, chunks.c.live).where(between)).all())
            extra = sorted(there - {_scope(row.id, row.version) for row in rows})
            for start in range(0, len(extra), BATCH):
                await self._write("delete", name, ids=extra[start : start + BATCH])
        lacking = [row.id for row in rows if row.live and (twice or _scope(row.id, row.version) not in there)]
        for start in range(0, len(lacking), BATCH):
            await self._copy(chunks.c.id.in_(lacking[start : start + BATCH]))
        return Counter({kind: count for kind, count in (("removed", len(extra)), ("added", len(lacking))) if count})

    async def _search(self, field: str, what: Any, length: int, found: Mapping[str, _Of], top_k: int) -> list[Hit]:
        if not await self._demand_whole(length, found):
            return []
        hidden = await self._database.read(lambda c: _hidden(c, list(found)))
        for fetch in (top_k, *[min(top_k * WIDER, MOST)] * (ROUNDS - 1)):
            filtered = " and ".join(filter(None, (_within(found), _none_of("document", hidden))))
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
        (found,) = client.search(_alias(length), [what], anns_field=field, **options)

        def score(distance: float) -> float:  # BM25 is negative in Milvus Lite; the order is the same, best first
            return abs(distance) if field == "words" else max(-1.0, min(1.0, distance))

        return [(Hit(hit["id"].partition("/")[0], score(hit["distance"])), hit["entity"]["document"]) for hit in found]

    async def _demand_whole(self, length: int, found: Mapping[str, _Of]) -> bool:
        """Looks once whether all that may be found has come to Milvus: an answer from a half would look like a whole one. False if there is nothing.

        Raises: ServiceUnavailable.
        """
        unsure = {i: of for i, of in found.items() if _scope(i, of.version) not in self._whole}
        if not unsure:
            return True
        needed = await self._database.read(lambda c: _live_count(c, list(unsure)))
        there, stays = await self._ask(partial(self._come, length=length, filtered=_within(unsure))) if needed else (0, False)
        if there < needed:
            raise ServiceUnavailable(
                f"{needed - there:,} of {needed:,} passages have not come to Milvus yet.", service="vectors", hint="They are being copied; ask again soon."
            )
        if stays:
            self._whole |= {_scope(i, of.version) for i, of in unsure.items()}
        return bool(needed or len(unsure) < len(found))

    def _come(self, client: MilvusClient, *, length: int, filtered: str) -> tuple[int, bool]:
        """How much of it is searched, and whether that is the generation to which all that is new comes. One that lacks a field can't be searched."""
        form, behind = self._form(length), _behind(client, length, SEARCH_S)
        mine = behind == _generation(length, form)
        if not behind or not (mine or _names(form) <= {field["name"] for field in client.describe_collection(behind, timeout=SEARCH_S)["fields"]}):
            return 0, False
        return _counted(client, name=_alias(length), filtered=filtered, timeout_s=SEARCH_S), mine

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
                    name = await self._make(length)
                    given = entities if self._words else [{k: v for k, v in entity.items() if k != "text"} for entity in entities]
                    # An upsert would be one call; by Milvus 2.3.5 it is put into a partition where its tenant isn't looked for.
                    await self._write("delete", name, ids=[entity["id"] for entity in entities])
                    await self._write("insert", name, data=given)
            if len(rows) < BATCH:
                return
            after = (rows[-1].n, rows[-1].of_version)

    async def _drop(self, filtered: str, mine: ColumnElement[bool]) -> DeleteReceipt:
        removed = left = 0
        try:
            async with self._writing:
                for name in await self._call(_there, WRITE_S):
                    removed += await self._count(name, filtered)
                    await self._write("delete", name, filter=filtered)
                    left += await self._count(name, filtered)
        except ServiceError as error:
            log.warning("Vectors in Milvus are removed later: %s", error)
            self._compared = False
            left = await self._database.read(lambda c: c.execute(select(func.count()).select_from(_ROWS).where(mine)).scalar_one())
        return DeleteReceipt({KIND: removed - left if removed else 0}, {KIND: left})

    async def _count(self, name: str, filtered: str = "") -> int:
        return await self._call(partial(_counted, name=name, filtered=filtered, timeout_s=WRITE_S), WRITE_S)

    async def _query(self, name: str, filtered: str, fields: list[str]) -> list[dict[str, Any]]:
        def ask(client: MilvusClient) -> list[dict[str, Any]]:
            return list(client.query(name, filter=filtered, output_fields=fields, limit=MOST, consistency_level="Strong", timeout=WRITE_S))

        return await self._call(ask, WRITE_S)

    async def _make(self, length: int) -> str:
        """Where vectors of that length are written, made where it isn't there yet: the alias, or the next generation while another one is searched."""
        if length not in self._made:
            self._made[length] = await self._call(lambda client: self._made_now(client, length), WRITE_S)
        return self._made[length]

    def _made_now(self, client: MilvusClient, length: int) -> str:
        form = self._form(length)
        name = _generation(length, form)
        if not client.has_collection(name, timeout=WRITE_S):
            schema, indexes = client.create_schema(auto_id=False, enable_dynamic_field=False), client.prepare_index_params()
            for field in form["fields"]:
                schema.add_field(**field)
            if self._words:
                schema.add_function(Function("bm25", FunctionType.BM25, input_field_names=["text"], output_field_names=["words"]))
            for index in form["indexes"]:
                indexes.add_index(**index)
            how = {"consistency_level": "Session", "num_partitions": form["partitions"], "timeout": WRITE_S}
            client.create_collection(name, schema=schema, index_params=indexes, **how)
        client.load_collection(name, timeout=WRITE_S)
        if _behind(client, length) not in ("", name):
            return name
        _serve(client, length, name)
        return _alias(length)

    def _form(self, length: int) -> dict[str, Any]:
        """How passages lie in Milvus. Whatever is changed here makes another generation, which the house fills."""
        key = {"datatype": DataType.VARCHAR, "max_length": 64}
        fields: list[dict[str, Any]] = [
            {"field_name": "id", "is_primary": True} | key,
            {"field_name": "tenant", "is_partition_key": True} | key,
            {"field_name": "scope"} | key,
            {"field_name": "document"} | key,
            {"field_name": "dense", "datatype": DataType.FLOAT_VECTOR, "dim": length},
        ]
        # FLAT is exact, and as cheap as what the filter leaves is small.
        indexes = [{"field_name": "dense", "index_type": "FLAT", "metric_type": "COSINE"}]
        if self._words:
            analyzed = {"enable_analyzer": True, "analyzer_params": {"tokenizer": "standard"} if self._lite else {"type": "english"}}
            fields.append({"field_name": "text", "datatype": DataType.VARCHAR, "max_length": 65_535} | analyzed)
            fields.append({"field_name": "words", "datatype": DataType.SPARSE_FLOAT_VECTOR})
            indexes.append({"field_name": "words", "index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25"})
        return {"fields": fields, "indexes": indexes, "partitions": PARTITIONS}

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

    async def _write(self, what: str, name: str, **given: Any) -> None:
        await self._call(lambda client: getattr(client, what)(name, timeout=WRITE_S, **given), WRITE_S)

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


def _within(found: Mapping[str, _Of]) -> str:
    """Only these versions, and only what is those tenants': so Milvus looks through their partitions alone, and a wrong scope shows nothing of anybody else."""
    tenants = _one_of("tenant", sorted({of.tenant for of in found.values()}))
    return f"{tenants} and {_one_of('scope', [_scope(i, of.version) for i, of in found.items()])}"


def _alias(length: int) -> str:
    return f"hearth_{length}"


def _generation(length: int, form: Mapping[str, Any]) -> str:
    return f"{_alias(length)}_{hashlib.sha256(json.dumps(form).encode()).hexdigest()[:8]}"


def _names(form: Mapping[str, Any]) -> set[str]:
    return {field["field_name"] for field in form["fields"]}


def _length(name: str) -> int:
    return int(name.split("_")[1])


def _there(client: MilvusClient, timeout_s: float = WRITE_S) -> list[str]:
    """The collections of this house, of every length and generation."""
    return [name for name in client.list_collections(timeout=timeout_s) if _OURS.fullmatch(name)]


def _behind(client: MilvusClient, length: int, timeout_s: float = WRITE_S) -> str:
    """The collection that the alias stands for; "" where there is none."""
    names = [name for name in _there(client, timeout_s) if _length(name) == length]
    return next((name for name in names if _alias(length) in client.list_aliases(name, timeout=timeout_s)["aliases"]), "")


def _serve(client: MilvusClient, length: int, name: str) -> None:
    """Has the alias stand for that collection, in one step, and drops the others: also one that has the alias's own name, from before there were aliases."""
    alias, others = _alias(length), {other for other in _there(client) if _length(other) == length} - {name}
    if alias in others:
        client.drop_collection(alias, timeout=WRITE_S)
    try:
        client.alter_alias(name, alias, timeout=WRITE_S)
    except MilvusException:  # there was none yet
        client.create_alias(name, alias, timeout=WRITE_S)
    for other in others - {alias}:
        client.drop_collection(other, timeout=WRITE_S)


def _counted(client: MilvusClient, *, name: str, filtered: str, timeout_s: float) -> int:
    """How many rows there are; none where there is no such collection. Loads it, which Milvus Lite forgets when it is started again."""
    if not client.has_collection(name, timeout=timeout_s):
        return 0
    client.load_collection(name, timeout=timeout_s)
    return int(client.query(name, filter=filtered, output_fields=["count(*)"], consistency_level="Strong", timeout=timeout_s)[0]["count(*)"])


def _parts(count: int) -> list[tuple[str, str]]:
    """Ranges of ids that hold some thousands each: ids of chunks are hashes, so they are spread evenly."""
    parts = count // COMPARED_AT_ONCE + 1
    lows = ["0", *(f"{n * 16**4 // parts:04x}" for n in range(1, parts))]
    return list(zip(lows, [*lows[1:], "g"], strict=True))


def _select(*what: Any) -> Select[Any]:
    return select(*what).select_from(_ROWS).where(_WANTED)


def _lengths(connection: Connection) -> dict[int, int]:
    """How many vectors of each length there are of chunks that are searched."""
    length = func.length(chunk_vectors.c.embedding)
    return {int(row[0]) // 4: row[1] for row in connection.execute(_select(length, func.count()).where(chunks.c.live > 0).group_by(length))}


def _batch(connection: Connection, which: ColumnElement[bool], after: tuple[int, int]) -> Sequence[Any]:
    n, version = after
    columns = (chunks, chunk_vectors.c.embedding, chunk_vectors.c.version.label("of_version"), collections.c.owner_id)
    query = _select(*columns).join(collections, collections.c.id == documents.c.collection_id)
    further = (chunks.c.n >= n) & ((chunks.c.n > n) | (chunk_vectors.c.version > version))
    return connection.execute(query.where(which, further).order_by(chunks.c.n, chunk_vectors.c.version).limit(BATCH)).all()


def _entity(row: Any, vector: Vector) -> dict[str, Any]:
    text = "\n".join(part for part in (row.title, row.heading, row.content) if part)
    return {
        "id": _scope(row.id, row.of_version),
        "tenant": row.owner_id,
        "scope": _scope(row.collection_id, row.of_version),
        "document": _scope(row.document_id, row.version),
        "dense": vector,
        "text": text.encode("utf-8", "replace")[:MAX_TEXT_BYTES].decode("utf-8", "ignore"),
    }


def _searched(connection: Connection, collection_ids: Sequence[str]) -> dict[str, _Of]:
    """These collections as they are searched now; those that are gone are left out."""
    query = select(collections).where(collections.c.id.in_(list(collection_ids)))
    return {row.id: _Of(row.version, row.dimensions, row.owner_id) for row in connection.execute(query)}


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
