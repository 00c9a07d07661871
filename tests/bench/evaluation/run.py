"""Measures retrieval and quoting over the corpora, and prints JSON lines: one per corpus, half and ranking, and one per corpus and half for the answers.

`run.py --half tuning` is for tuning; the test half is for the final measurement. Needs the fetched models.
"""

import argparse
import asyncio
import json
import sys
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[3]))

from bench.evaluation.corpora import CORPORA
from bench.evaluation.metrics import interval, ndcg, recall, reciprocal_rank
from bench.house import MODELS, fresh_home

from core.adapters.accounts_sql import SqlAccounts
from core.adapters.chunk_index_sql import SqliteChunkIndex
from core.adapters.database_sql import SqliteDatabase
from core.adapters.documents_sql import SqlDocuments
from core.chat.followups import standalone
from core.ids import new_id
from core.inference import Embedded, Message, Model, Service
from core.rag.chunking import chunk, chunker_name, embedding_text
from core.rag.model import Collection, Document, IngestJob, IngestStage, RAGQuery
from core.rag.quoting import best_quotes
from core.rag.retrieval import Retrieval
from core.settings import Settings
from core.users.model import Preferences, User
from inference.engine import EngineSettings
from inference.engines import reranker_maxsim
from inference.engines.embeddings_transformers import TransformersEmbeddings

QUESTIONS = Path(__file__).parent / "questions.jsonl"
MEASURES = {"ndcg@10": ndcg, "recall@5": recall, "mrr": reciprocal_rank}
STAGES = {"bm25": "lexical_rank", "dense": "dense_rank", "rrf": "fused_rank", "rrf 20, maxsim": "rerank_rank"}
TOKEN_CACHE_BYTES = 1 << 30
"""Room for the token vectors of a whole corpus, so that each passage is read once."""


class Models:
    """The embedding model and the reranker of the catalogue as ports, in this process."""

    def __init__(self, threads):
        settings = EngineSettings(MODELS / "minilm-l6", threads, 512)
        reranker_maxsim.CACHE_BYTES = TOKEN_CACHE_BYTES
        self._embeddings, self._maxsim = TransformersEmbeddings(settings), reranker_maxsim.MaxSimReranker(settings)

    async def info(self):
        """As the port says; without a threshold, so that every candidate keeps its place."""
        return Model("maxsim", Service.RERANKER)

    async def embed(self, texts, kind, *, caller=None):
        """As the port says."""
        return Embedded(await self._embeddings.embed(texts, kind), "minilm-l6")

    async def rerank(self, query, documents, *, caller=None):
        """As the port says."""
        return await self._maxsim.rerank(query, documents)


async def taken_in(documents, models, collection, size_chars):
    """Stores a corpus as ready documents; returns how many passages it has."""
    count = 0
    for source in CORPORA[collection.name]():
        now = datetime.now(UTC)
        row = Document(new_id(), collection.name, source.name, "", "", now, collection.owner_id, sha256=new_id(), uri="s3://hearth/none", created_at=now)
        _, chunks = chunk(row.id, 1, source.parsed, size_chars)
        row = replace(row, chunks=len(chunks))
        job = IngestJob(new_id(), row.id, collection.owner_id, collection.name, row.title, IngestStage.QUEUED, 0.0, created_at=now)
        await documents.add_document(row, collection, job)
        vectors = (await models.embed([embedding_text(source.parsed.title, c) for c in chunks], "document")).vectors
        await documents.store_chunks(row, [replace(c, embedding=v) for c, v in zip(chunks, vectors, strict=True)])
        await documents.publish(row, job)
        count += len(chunks)
    return count


def holds(found, question):
    """Whether the passage has the text that is wanted."""
    name, wanted = question["document"], " ".join(question["target"].split())
    inside = found.title == name or name == f"{found.title}.{found.chunk.metadata.heading}"
    return inside and wanted in " ".join(found.chunk.content.split())


async def asked(question, retrieval, documents, models, user, threshold):
    """(rank by stage, the quoted text or None) of one question."""
    history = [Message("user", text) for text in question.get("previous", ())]
    searched = standalone(question["question"], history)
    result = await retrieval.search(user, RAGQuery(searched, question["corpus"], top_k=20, rerank_top_k=20))
    trace = result.trace
    ranks = {}
    if "target" in question:
        found = await documents.found([c.chunk_id for c in trace.candidates])
        right = [c for c in trace.candidates if c.chunk_id in found and holds(found[c.chunk_id], question)]
        for stage, name in STAGES.items():
            ranks[stage] = min((getattr(c, name) for c in right if getattr(c, name) is not None), default=None)
    quoted = await best_quotes(searched, result.chunks[:3], models, user.caller, threshold)
    return ranks, quoted


async def measured(names, half, size_chars, threshold, threads):
    """Yields the lines."""
    models = Models(threads)
    questions = [json.loads(line) for line in QUESTIONS.read_text("utf-8").splitlines()]
    with fresh_home() as home:
        async with SqliteDatabase("", home=home) as database:
            await database.migrate()
            user = User(new_id(), "ada", False, Preferences(), datetime.now(UTC))
            await SqlAccounts(database).add(user, None)
            documents, index = SqlDocuments(database), SqliteChunkIndex(database)
            retrieval = Retrieval(documents, index, models, models)
            for name in names:
                collection = Collection(new_id(), user.id, name, "minilm-l6", 384, chunker_name(size_chars), datetime.now(UTC))
                await documents.add_collection(collection)
                passages = await taken_in(documents, models, collection, size_chars)
                mine = [q for q in questions if q["corpus"] == name and q["half"] == half]
                outcomes = [(q, *await asked(q, retrieval, documents, models, user, threshold)) for q in mine]
                for line in lines(outcomes, threshold):
                    yield {"corpus": name, "half": half, "chunk_chars": size_chars, "passages": passages} | line


def lines(outcomes, threshold):
    """The figures of one corpus and half."""
    ranks = defaultdict(list)
    for _, by_stage, _ in outcomes:
        for stage, rank in by_stage.items():
            ranks[stage].append(rank)
    for stage, places in ranks.items():
        yield {"ranking": stage, "questions": len(places)} | {m: [round(v, 3) for v in interval([f(p) for p in places])] for m, f in MEASURES.items()}
    answered = [(q, quoted) for q, _, quoted in outcomes if "answer" in q]
    right = [bool(quoted.quotes) and " ".join(q["answer"].split()) in " ".join(quoted.quotes[0].text.split()) for q, quoted in answered]
    refused = [not quoted.quotes for q, _, quoted in outcomes if q.get("unanswerable")]
    yield {"answers": len(right), "right": sum(right), "unanswerable": len(refused), "refused": sum(refused), "quote_threshold": threshold}


async def main():
    """Prints what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("tuning", "test"), default="tuning")
    parser.add_argument("--corpus", choices=tuple(CORPORA), action="append")
    parser.add_argument("--threads", type=int, default=2)
    given, settings = parser.parse_args(), Settings()
    async for line in measured(given.corpus or CORPORA, given.half, settings.chunk_chars, settings.quote_threshold, given.threads):
        print(json.dumps(line, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
