"""The same hybrid questions to the embedded index and to a Milvus over the same rows. Prints JSON lines.

.venv/bin/python tests/bench/vectors.py [milvus-lite|milvus-2.3] [CHUNKS…]

Says how long the copy takes, how long to see that nothing differs, and how many of its ten nearest are as near as the ten of the embedded
index, which are exact.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import servers
from bench.corpus import Corpus
from bench.house import fresh_home
from bench.load import percentile
from bench.retrieval import CHUNKS_PER_DOCUMENT, STAGES, EchoEmbedder, add_document, empty_collection
from milvus_index import opened

from core.adapters import chunk_index_milvus
from core.adapters.chunk_index_sql import row_index
from core.adapters.database_sql import SqliteDatabase
from core.adapters.documents_sql import SqlDocuments
from core.rag.model import RAGQuery
from core.rag.retrieval import Retrieval
from inference.echo import EchoEmbeddings

QUERIES = 50
NEAREST, SAME = 10, 1e-5


async def main(kind, sizes):
    """The sizes grow, and the collection with them."""
    chunk_index_milvus.SEARCH_S = 30.0  # what is slow is to be measured, not refused
    corpus, there = Corpus(), 0
    meanings = await EchoEmbeddings(None).embed(corpus.words, "document")
    with fresh_home() as home, servers.milvus(kind) as server:
        async with SqliteDatabase("", home=home) as database, opened(server.url, database) as milvus:
            await database.migrate()
            documents, rows = SqlDocuments(database), row_index(database)
            user, collection = await empty_collection(database)
            for size in sizes:
                for _ in range(there, size, CHUNKS_PER_DOCUMENT):
                    await add_document(documents, collection, corpus, meanings)
                new, there = size - there, size
                copied_s = await _timed(milvus.settle)
                same_s = await _timed(milvus.settle)
                questions = [corpus.question(p) for p in corpus.passages(QUERIES)]
                found = {}
                for name, index in (("embedded", rows), (kind, milvus)):
                    line, found[name] = await _asked(Retrieval(documents, index, EchoEmbedder(), None), index, user, collection, questions)
                    if name == kind:
                        shared = sum(score >= min(exact) - SAME for exact, scores in zip(*found.values(), strict=True) for score in scores)
                        line |= {
                            "copied_per_s": round(new / copied_s),
                            "counted_ms": round(same_s * 1000, 1),
                            "recall_at_10": round(shared / NEAREST / QUERIES, 4),
                        }
                    figures = {"figure": "vectors", "index": name, "chunks": size, "dimensions": EchoEmbeddings.DIMENSIONS, "queries": QUERIES}
                    print(json.dumps(figures | line), flush=True)


async def _timed(work):
    begun_s = time.monotonic()
    await work()
    return time.monotonic() - begun_s


async def _asked(retrieval, index, user, collection, questions):
    """(milliseconds by stage, the scores of the nearest of each question). The first question reads what is searched into memory and isn't counted."""
    await retrieval.search(user, RAGQuery(questions[0], "lab", rerank=False))
    traces = [(await retrieval.search(user, RAGQuery(q, "lab", rerank=False))).trace for q in questions]
    assert not any(t.degraded for t in traces)
    line = {f"{stage}_p{p}_ms": percentile([t.ms[stage] for t in traces], p) for stage in STAGES for p in (50, 95)}
    vectors = [(await EchoEmbedder().embed([q], "query")).vectors[0] for q in questions]
    return line, [[h.score for h in await index.nearest({collection.id: 1}, v, NEAREST)] for v in vectors]


if __name__ == "__main__":
    named, sizes = [a for a in sys.argv[1:] if not a.isdecimal()], [int(a) for a in sys.argv[1:] if a.isdecimal()]
    asyncio.run(main(named[0] if named else "milvus-lite", sizes or [1_000, 5_000]))
