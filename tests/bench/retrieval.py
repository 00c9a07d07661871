"""Hybrid search over many chunks in the embedded store: meaning and words side by side, then fusion; no reranking, and no model server in between."""

import time
from datetime import UTC, datetime

import numpy as np
import uvloop
from bench.corpus import Corpus
from bench.house import fresh_home
from bench.load import percentile

from core.adapters.accounts_sql import SqlAccounts
from core.adapters.chunk_index_sql import SqliteChunkIndex
from core.adapters.database_sql import SqliteDatabase
from core.adapters.documents_sql import SqlDocuments
from core.ids import chunk_id, new_id
from core.inference import Embedded
from core.rag.model import Chunk, ChunkMetadata, Collection, Document, IngestJob, IngestStage, RAGQuery
from core.rag.retrieval import Retrieval
from core.users.model import Preferences, User
from inference.echo import EchoEmbeddings

MODEL = "echo-embed"
CHUNKS_PER_DOCUMENT = 500
STAGES = ("embed", "dense", "lexical", "fuse", "load", "total")


class EchoEmbedder:
    """The echo engine as the embedder port, in this process."""

    def __init__(self):
        self._engine = EchoEmbeddings(None)

    def of(self, model):
        """The only model."""
        return self

    async def embed(self, texts, kind, *, caller=None):
        """As the port says."""
        return Embedded(await self._engine.embed(texts, kind), MODEL)


def measure(chunk_counts, queries):
    """Yields one line per size; the sizes grow, and the collection with them."""
    with fresh_home() as home:
        yield from uvloop.run(_measure(home, chunk_counts, queries))


async def _measure(home, chunk_counts, queries):
    corpus, lines, there = Corpus(), [], 0
    async with SqliteDatabase("", home=home) as database:
        await database.migrate()
        documents, index = SqlDocuments(database), SqliteChunkIndex(database)
        user, collection = await empty_collection(database)
        meanings = await EchoEmbeddings(None).embed(corpus.words, "document")
        for count in chunk_counts:
            begun_s = time.monotonic()
            for _ in range(there, count, CHUNKS_PER_DOCUMENT):
                await add_document(documents, collection, corpus, meanings)
            build_s, there = time.monotonic() - begun_s, count
            retrieval = Retrieval(documents, index, EchoEmbedder(), None)
            lines.append({"figure": "retrieval", "build_s": round(build_s, 1)} | await _asked(retrieval, user, corpus, queries))
    return lines


async def empty_collection(database):
    """(whose it is, the collection)."""
    now = datetime.now(UTC)
    user = User(new_id(), "ada", False, Preferences(), now)
    await SqlAccounts(database).add(user, None)
    collection = Collection(new_id(), user.id, "lab", MODEL, EchoEmbeddings.DIMENSIONS, "structure-1/700", now)
    await SqlDocuments(database).add_collection(collection)
    return user, collection


async def add_document(documents, collection, corpus, meanings):
    """A ready document of CHUNKS_PER_DOCUMENT chunks. A chunk's vector is the sum of its words', as the echo engine makes it."""
    now = datetime.now(UTC)
    document = Document(
        new_id(),
        collection.name,
        "Notes",
        "",
        "",
        now,
        collection.owner_id,
        sha256=new_id(),
        uri="s3://hearth/none",
        chunks=CHUNKS_PER_DOCUMENT,
        created_at=now,
    )
    job = IngestJob(new_id(), document.id, collection.owner_id, collection.name, document.title, IngestStage.QUEUED, 0.0, created_at=now)
    await documents.add_document(document, collection, job)
    passages = corpus.passages(CHUNKS_PER_DOCUMENT)
    vectors = np.stack([meanings[p].sum(axis=0) for p in passages])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = [
        Chunk(chunk_id(document.id, 1, n), document.id, corpus.text(p), vector, ChunkMetadata(n))
        for n, (p, vector) in enumerate(zip(passages, vectors, strict=True))
    ]
    await documents.store_chunks(document, rows, 1)
    await documents.publish(document, job)


async def _asked(retrieval, user, corpus, queries):
    """The first query reads the vectors into memory, so it is reported by itself."""
    questions = [corpus.question(p) for p in corpus.passages(queries + 1)]
    first, *rest = [(await retrieval.search(user, RAGQuery(q, "lab", rerank=False))).trace for q in questions]
    assert all(t.returned for t in rest), "a search found nothing"
    line = {"chunks": first.considered, "dimensions": EchoEmbeddings.DIMENSIONS, "queries": len(rest), "first_query_ms": first.ms["total"]}
    for stage in STAGES:
        ms = [t.ms[stage] for t in rest]
        line |= {f"{stage}_p50_ms": percentile(ms, 50), f"{stage}_p95_ms": percentile(ms, 95)}
    return line
