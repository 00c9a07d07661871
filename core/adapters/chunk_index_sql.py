"""Search over the chunk rows: numpy for meaning, the database's own full text for words. Exact, and nothing is built per query.

Each collection's vectors stay in memory as one matrix. A counter in the collection's row says whether chunks came (they are appended) or went
(the matrix is read again), so that several processes on one database see the same.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, case, func, select, text
from threadpoolctl import threadpool_limits

from core.adapters.database_sql import Database
from core.adapters.documents_sql import READY, scope_word, vector_of
from core.adapters.tables_sql import chunk_vectors, chunks, collections, documents
from core.errors import WrongShape
from core.inference import Vector
from core.rag.model import Document, Hit
from core.rag.words import content_words
from core.records import DeleteReceipt

MAX_WORDS = 40
MAX_QUESTION_CHARS = 20_000
COMMON_SHARE = 0.2
"""A word that stands in more than this share of the chunks says nothing about which one is meant, and costs the most to rank."""
COMMON_FROM = 200
"""Below so many chunks no word counts as common."""
RECOUNT_SHARE = 0.1
"""How much the number of chunks may change before words are counted again."""
MAX_REMEMBERED = 20_000
# bm25 is negative in FTS5, smaller is better; the scope's own weight is 0. The join comes after the cut, because every live chunk has its row.
BEST = text("""
    SELECT chunks.id, cost FROM (
        SELECT rowid, bm25(chunk_text, 0.0, 1.0, 1.0, 1.0) AS cost FROM chunk_text WHERE chunk_text MATCH :match ORDER BY cost, rowid LIMIT :top_k)
    JOIN chunks ON chunks.n = rowid ORDER BY cost, chunks.n""")

# 1 + 4: a long passage doesn't win by its length, nor one where the words stand far apart. Quoted words are texts to it, whatever signs are in them.
RANKED = text("""
    SELECT id, ts_rank_cd(words, query, 1 + 4) AS score FROM chunks, websearch_to_tsquery('english', :words) AS query
    WHERE words @@ query AND collection_id = ANY(:collections) ORDER BY score DESC, n LIMIT :top_k""")


@dataclass(slots=True)
class _Matrix:
    """The live vectors of one collection in the version that is searched, and the counters they were read at."""

    ids: list[str] = field(default_factory=list)
    rows: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    added_version: int = -1
    removed_version: int = -1
    version: int = 0


class RowChunkIndex:
    """Search by meaning over the vectors of the rows; each database finds words in its own way."""

    adapter = "the records"

    def __init__(self, database: Database) -> None:
        """Keeps numpy to one core from now on, in the whole process: a second one brings little to one product and takes it from the streams."""
        threadpool_limits(limits=1, user_api="blas")
        self._database = database
        self._matrices: dict[str, _Matrix] = {}
        self._refreshing = asyncio.Lock()

    async def nearest(self, versions: Mapping[str, int], query: Vector, top_k: int) -> list[Hit]:
        """As the port says."""
        await self._refresh(list(versions))
        found = {c: self._matrices[c] for c in versions if c in self._matrices and self._matrices[c].ids}
        if any(matrix.version != versions[c] for c, matrix in found.items()):
            raise re_embedded()
        matrices = list(found.values())
        for matrix in matrices:
            if matrix.rows.shape[1] != query.shape[0]:
                raise other_length(query.shape[0], matrix.rows.shape[1])
        return await anyio.to_thread.run_sync(_nearest, matrices, query, top_k) if matrices else []

    async def matching(self, collection_ids: Sequence[str], question: str, top_k: int) -> list[Hit]:
        """As the port says."""
        words = words_of(question)
        if not words or not collection_ids:
            return []
        return await self._database.read(lambda c: self._matching(c, collection_ids, words, top_k))

    def _matching(self, connection: Connection, collection_ids: Sequence[str], words: Sequence[str], top_k: int) -> list[Hit]:
        raise NotImplementedError

    async def size(self, collection_ids: Sequence[str]) -> int:
        """As the port says."""
        return await self._database.read(lambda c: _searchable(c, collection_ids)[0])

    async def check(self) -> None:
        """As the port says: the records are asked by themselves."""

    async def add(self, document: Document) -> None:
        """As the port says: the rows are the index."""

    async def fill(self, collection_id: str, version: int) -> None:
        """As the port says: the rows are the index."""

    async def drop_document(self, document_id: str, *, but: int | None = None) -> DeleteReceipt:
        """As the port says: it goes with the rows, which are counted there."""
        return DeleteReceipt({}, {})

    async def drop_collection(self, collection_id: str, version: int | None = None) -> DeleteReceipt:
        """As the port says: it goes with the rows, which are counted there."""
        return DeleteReceipt({}, {})

    async def settle(self) -> Mapping[str, int]:
        """As the port says: nothing can differ."""
        return {}

    async def _refresh(self, collection_ids: Sequence[str]) -> None:
        """Brings the matrices of these collections to what the database holds now; forgets those of collections that are gone."""
        async with self._refreshing:
            fresh = await self._database.read(lambda c: {i: _read_matrix(c, i, self._matrices.get(i, _Matrix())) for i in collection_ids})
            for collection_id, matrix in fresh.items():
                if matrix is None:
                    self._matrices.pop(collection_id, None)
                else:
                    self._matrices[collection_id] = matrix


class SqliteChunkIndex(RowChunkIndex):
    """The embedded chunk index: words by FTS5, ranked by BM25."""

    def __init__(self, database: Database) -> None:
        """As its base."""
        super().__init__(database)
        self._vocabulary = _Vocabulary()

    def _matching(self, connection: Connection, collection_ids: Sequence[str], words: Sequence[str], top_k: int) -> list[Hit]:
        mine, total = _searchable(connection, collection_ids)
        wanted = " OR ".join(f'"{w}"' for w in self._vocabulary.telling(connection, words, total))
        match = f"{{title heading content}} : ({wanted})"
        if mine < total:  # where the collections hold every chunk, keeping to them would only read another list of all rows
            scope = " OR ".join(f'"{scope_word(c)}"' for c in collection_ids)
            match = f"scope : ({scope}) AND {match}"
        rows = connection.execute(BEST, {"match": match, "top_k": top_k})
        return [Hit(row.id, -row.cost) for row in rows]


class PostgresChunkIndex(RowChunkIndex):
    """Words by PostgreSQL's full text. It knows no frequencies over all passages, so its ranking isn't BM25: rare words count as much as common ones."""

    def _matching(self, connection: Connection, collection_ids: Sequence[str], words: Sequence[str], top_k: int) -> list[Hit]:
        rows = connection.execute(RANKED, {"words": " or ".join(f'"{w}"' for w in words), "collections": list(collection_ids), "top_k": top_k})
        return [Hit(row.id, row.score) for row in rows]


def words_of(question: str) -> list[str]:
    """The words of a question that are looked for."""
    return list(dict.fromkeys(content_words(question[:MAX_QUESTION_CHARS])))[:MAX_WORDS]


def re_embedded() -> WrongShape:
    """The question was embedded for a version that isn't searched any more."""
    return WrongShape("The collection was re-embedded just now.", hint="Ask again.")


def other_length(question: int, collection: int) -> WrongShape:
    """The question's vector has another length than the collection's."""
    return WrongShape(
        f"The question's vector has {question} dimensions, the collection's have {collection}.",
        hint="Use the embedding model that the collection was made with.",
    )


def row_index(database: Database) -> RowChunkIndex:
    """The index over the rows of that database."""
    return PostgresChunkIndex(database) if database.dialect == "postgresql" else SqliteChunkIndex(database)


def _read_matrix(connection: Connection, collection_id: str, known: _Matrix) -> _Matrix | None:
    state = connection.execute(
        select(collections.c.added_version, collections.c.removed_version, collections.c.dimensions, collections.c.version).where(
            collections.c.id == collection_id
        )
    ).first()
    if state is None:
        return None
    if state.added_version == known.added_version:
        return known
    grown = known.added_version >= state.removed_version and known.added_version >= 0
    since = known.added_version if grown else 0
    query = select(chunks.c.id, chunk_vectors.c.embedding).select_from(chunks.join(chunk_vectors, vector_of(state.version)))
    query = query.where(chunks.c.collection_id == collection_id, chunks.c.live > since).order_by(chunks.c.live, chunks.c.n)
    rows = connection.execute(query).all()
    vectors = np.frombuffer(b"".join(row.embedding for row in rows), np.float32).reshape(len(rows), state.dimensions)
    if grown:
        return _Matrix(
            [*known.ids, *(row.id for row in rows)],
            np.concatenate((known.rows, vectors)) if len(known.rows) else vectors,
            state.added_version,
            state.removed_version,
            state.version,
        )
    return _Matrix([row.id for row in rows], vectors, state.added_version, state.removed_version, state.version)


def _nearest(matrices: Sequence[_Matrix], query: Vector, top_k: int) -> list[Hit]:
    hits: list[Hit] = []
    for matrix in matrices:
        scores = matrix.rows @ query
        best = np.argpartition(scores, -top_k)[-top_k:] if len(scores) > top_k else np.arange(len(scores))
        hits += [Hit(matrix.ids[i], float(scores[i])) for i in best]
    hits.sort(key=lambda hit: (-hit.score, hit.chunk_id))
    return hits[:top_k]


def _searchable(connection: Connection, collection_ids: Sequence[str]) -> tuple[int, int]:
    """How many chunks can be found in these collections, and in all, by the documents' own counts: counting all the rows would cost more than the search."""
    here = case((documents.c.collection_id.in_(list(collection_ids)), documents.c.chunks), else_=0)
    query = select(func.coalesce(func.sum(here), 0), func.coalesce(func.sum(documents.c.chunks), 0)).where(documents.c.status == READY)
    mine, total = connection.execute(query).one()
    return int(mine), int(total)


class _Vocabulary:
    """Which words stand in so many chunks that they tell nothing. What was counted is remembered until the number of chunks has changed by a tenth."""

    def __init__(self) -> None:
        self._common: dict[str, bool] = {}
        self._counted_at = 0

    def telling(self, connection: Connection, words: Sequence[str], total: int) -> Sequence[str]:
        """The words that are not in almost every chunk; all of them if none is left. Rare words decide a BM25 ranking, common ones only slow it."""
        if total < COMMON_FROM:
            return words
        if abs(total - self._counted_at) > total * RECOUNT_SHARE or len(self._common) > MAX_REMEMBERED:
            self._common, self._counted_at = {}, total
        known = self._common  # another thread may begin a new one meanwhile
        for word in words:
            if word not in known:
                most = int(total * COMMON_SHARE)
                known[word] = _chunks_with(connection, word, most) > most
        return [w for w in words if not known[w]] or words


def _chunks_with(connection: Connection, word: str, enough: int) -> int:
    """In how many chunks the word stands, counted to a little more than `enough`. The tokenizer's stems are the vocabulary's terms, so it is asked itself."""
    counted = "SELECT count(*) FROM (SELECT 1 FROM chunk_text WHERE chunk_text MATCH :word LIMIT :enough)"
    return int(connection.execute(text(counted), {"word": f'"{word}"', "enough": enough + 1}).scalar_one())
