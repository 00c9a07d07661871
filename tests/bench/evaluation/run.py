"""Measures retrieval and quoting over the corpora, and prints JSON lines: one per corpus and ranking, one per chunk size, and the answers.

`run.py` takes the tuning half, at the chunk size that ships. `--sizes` adds the other sizes. `--half test --write` is for the final measurement: it adds the
sizes and writes docs/retrieval.md. Needs the fetched models; on two free cores a size takes about six minutes. `--reranker NAME` takes another one of the
catalogue, or a folder by file:///; the thresholds that are tried are then quantiles of its scores.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[3]))

import numpy as np
import torch
from bench.evaluation.corpora import CORPORA
from bench.evaluation.metrics import interval, ndcg, recall, reciprocal_rank
from bench.evaluation.page import PAGE, page
from bench.evaluation.rankings import RARE, SHIPPED, all_places, named, place, reranked
from bench.house import MODELS, fresh_home

from core.adapters.accounts_sql import SqlAccounts
from core.adapters.chunk_index_sql import SqliteChunkIndex
from core.adapters.database_sql import SqliteDatabase
from core.adapters.documents_sql import SqlDocuments
from core.chat.followups import standalone
from core.chat.grounding import shown
from core.ids import new_id
from core.inference import Embedded, Message, Model, Service
from core.rag.chunking import chunk, chunker_name, embedding_text
from core.rag.model import OVER_FETCH, RERANK_DEPTH, Collection, Document, IngestJob, IngestStage, RAGQuery, Section
from core.rag.quoting import MAX_SENTENCE_CHARS, best_quotes
from core.rag.retrieval import Retrieval
from core.settings import Settings
from core.users.model import Preferences, User
from inference.catalog import demand, entry
from inference.engine import ENGINES, EngineSettings
from inference.engines import reranker_maxsim
from inference.engines.embeddings_transformers import TransformersEmbeddings

QUESTIONS = Path(__file__).parent / "questions.jsonl"
MEASURES = {"ndcg@10": ndcg, "recall@5": recall, "mrr": reciprocal_rank}
SIZES = (400, 700, 1000, 1400)
THRESHOLDS = {"maxsim": tuple(n / 100 for n in range(36, 64, 2))}
"""What is tried as the threshold of quotes; of other rerankers every twentieth of the scores that were seen."""
ALWAYS = float("-inf")
"""The threshold that every score reaches."""
PASSAGES = RAGQuery("", "").rerank_top_k
"""How many passages an answer may quote."""
TOKEN_CACHE_BYTES = 2 << 30
"""Room for the token vectors of the corpora, so that each passage is read once."""


class Models:
    """The embedding model and a reranker of the catalogue as ports, in this process."""

    def __init__(self, threads, reranker):
        self._embeddings = TransformersEmbeddings(EngineSettings(MODELS / "minilm-l6", threads, 512))
        self.entry = entry(reranker, Service.RERANKER)
        reranker_maxsim.CACHE_BYTES = TOKEN_CACHE_BYTES
        module, _, name = ENGINES[self.entry.engine].partition(":")
        self.reranker = getattr(import_module(module), name)(EngineSettings(demand(self.entry, MODELS), threads, self.entry.max_tokens or 512))
        self._read = {}
        """Scores by question and text: rankings and thresholds ask for the same ones again."""

    async def info(self):
        """As the port says; without a threshold, so that every candidate keeps its place."""
        return Model(self.entry.name, Service.RERANKER)

    def of(self, model):
        """The only model."""
        return self

    async def embed(self, texts, kind, *, caller=None):
        """As the port says."""
        return Embedded(await self._embeddings.embed(texts, kind), "minilm-l6")

    async def rerank(self, query, documents, *, caller=None):
        """As the port says."""
        unread = [text for text in dict.fromkeys(documents) if (query, text) not in self._read]
        for text, score in zip(unread, await self.reranker.rerank(query, unread), strict=True):
            self._read[query, text] = score
        return [self._read[query, text] for text in documents]


class RareFirst:
    """MaxSim in which a question's token weighs the logarithm of its number in the vocabulary, which begins with the frequent ones."""

    def __init__(self, models):
        self._maxsim, self.info = models.reranker, models.info

    async def rerank(self, query, documents, *, caller=None):
        """As the port says."""
        numbers = self._maxsim.token_ids(query)
        weights = torch.log(torch.tensor([max(number, 1000) for number in numbers], dtype=torch.float32))
        return [float((near * weights).sum() / weights.sum()) for near in self._maxsim.nearest(query, documents)]


def windows(parsed):
    """The rival way of cutting: the text as one stretch, whose headings and pages are no borders and are not embedded with a passage."""
    return replace(parsed, sections=(Section("\n\n".join(s.text for s in parsed.sections if s.text.strip())),))


async def taken_in(documents, models, collection, cut=lambda parsed: parsed):
    """Stores a corpus as ready documents; returns how many documents and passages it has. cut: what is done to a document before it is cut."""
    sources, count = CORPORA[collection.name](), 0
    for source in sources:
        now = datetime.now(UTC)
        row = Document(new_id(), collection.name, source.name, "", "", now, collection.owner_id, sha256=new_id(), uri="s3://hearth/none", created_at=now)
        _, chunks = chunk(row.id, 1, cut(source.parsed), collection.chunk_chars)
        row = replace(row, chunks=len(chunks))
        job = IngestJob(new_id(), row.id, collection.owner_id, collection.name, row.title, IngestStage.QUEUED, 0.0, created_at=now)
        await documents.add_document(row, collection, job)
        vectors = (await models.embed([embedding_text(source.parsed.title, c) for c in chunks], "document")).vectors
        await documents.store_chunks(row, [replace(c, embedding=v) for c, v in zip(chunks, vectors, strict=True)], 1)
        await documents.publish(row, job)
        count += len(chunks)
    return len(sources), count


def holds(found, question):
    """Whether the passage has the text that is wanted."""
    return _in_document(found, question) and _has(found.chunk.content, question["target"])


def _in_document(found, question):
    heading = found.chunk.metadata.heading
    if not heading and question["document"].startswith(f"{found.title}."):  # a window doesn't know under which heading it stands
        return True
    return question["document"] in (found.title, f"{found.title}.{heading}")


def _has(text, wanted):
    return " ".join(wanted.split()) in " ".join(text.split())


CUTS = {"structure": lambda parsed: parsed, "windows": windows}
"""Ways of cutting, by name; the first one ships."""


class Asking:
    """What is asked of one corpus at one chunk size."""

    def __init__(self, documents, index, models, user, threshold):
        self._documents, self._models, self._user, self._threshold = documents, models, user, threshold
        self._retrieval = Retrieval(documents, index, models, models)
        self._rare = Retrieval(documents, index, models, RareFirst(models)) if models.entry.engine == "maxsim" else None

    async def outcome(self, question, whole):
        """The question's outcome: its place in the rankings where a passage is wanted, and what was quoted.

        whole: as deep as the deepest ranking looks, and with the answers; otherwise as deep as the shipped ranking.
        """
        searched = standalone(question["question"], [Message("user", text) for text in question.get("previous", ())])
        depth = OVER_FETCH if whole else RERANK_DEPTH
        query = RAGQuery(searched, question["corpus"], top_k=depth, rerank_top_k=depth)
        result = await self._retrieval.search(self._user, query)
        places = {}
        if "target" in question:
            found = await self._documents.found([c.chunk_id for c in result.trace.candidates])
            right = {chunk_id for chunk_id, passage in found.items() if holds(passage, question)}
            places = all_places(result.trace.candidates, right)
            if whole and self._rare is not None:
                rare = await self._rare.search(self._user, query)
                places[RARE] = place(reranked(rerank_score=1)(rare.trace.candidates), right)
        quoted = await self._quoted(question, searched, result) if whole and ("answer" in question or "unanswerable" in question) else None
        return {"question": question, "places": places} | (quoted or {})

    async def _quoted(self, question, searched, result):
        first = {c.chunk_id for c in result.trace.candidates if c.fused_rank <= RERANK_DEPTH}
        kept = [(c, s) for c, s in zip(result.chunks, result.scores, strict=True) if c.chunk.id in first][:PASSAGES]
        read = replace(result, chunks=tuple(c for c, _ in kept), scores=tuple(s for _, s in kept))
        quoted = await best_quotes(searched, read, self._models, self._user.caller, self._threshold)
        anyway = await best_quotes(searched, read, self._models, self._user.caller, ALWAYS)
        lead = [(c.chunk.content[:MAX_SENTENCE_CHARS], c) for c in read.chunks[:1]]
        return {
            "quotes": [quote.text for quote in shown(quoted.quotes)],
            "best_score": ALWAYS if quoted.best_score is None else quoted.best_score,
            "right": _right(question, [(q.text, read.chunks[q.chunk_index]) for q in shown(quoted.quotes)]),
            "right_first": _right(question, [(q.text, read.chunks[q.chunk_index]) for q in quoted.quotes[:1]]),
            "right_anyway": _right(question, [(q.text, read.chunks[q.chunk_index]) for q in shown(anyway.quotes)]),
            "right_lead": _right(question, lead),
            "reachable": any(holds(c, question) for c in read.chunks) if "target" in question else False,
        }


def _right(question, quotes):
    """Whether a quote has the answer, word for word, out of the right document."""
    return "answer" in question and any(_in_document(passage, question) and _has(text, question["answer"]) for text, passage in quotes)


async def measured(names, half, sizes, reranker, threads, cuts=("structure",)):
    """Yields the lines. Of the first size and cut, which count as the shipped ones, every ranking and the answers; of the others the shipped ranking."""
    models = Models(threads, reranker)
    threshold = ALWAYS if models.entry.quote_threshold is None else models.entry.quote_threshold
    questions = [q for q in map(json.loads, QUESTIONS.read_text("utf-8").splitlines()) if q["half"] == half]
    for size, way in [*((size, cuts[0]) for size in sizes), *((sizes[0], way) for way in cuts[1:])]:
        shipped = (size, way) == (sizes[0], cuts[0])
        outcomes = []
        with fresh_home() as home:
            async with SqliteDatabase("", home=home) as database:
                await database.migrate()
                user = User(new_id(), "ada", False, Preferences(), datetime.now(UTC))
                await SqlAccounts(database).add(user, None)
                documents = SqlDocuments(database)
                asking = Asking(documents, SqliteChunkIndex(database), models, user, threshold)
                for name in names:
                    collection = Collection(new_id(), user.id, name, "minilm-l6", 384, chunker_name(size), datetime.now(UTC))
                    await documents.add_collection(collection)
                    count, passages = await taken_in(documents, models, collection, CUTS[way])
                    mine = [await asking.outcome(q, shipped) for q in questions if q["corpus"] == name]
                    outcomes += mine
                    about = {"corpus": name, "half": half, "chunk_chars": size, "cut": way, "documents": count, "passages": passages}
                    for line in rankings_of(mine):
                        if shipped or line["ranking"] == SHIPPED:
                            yield about | line | {"ranking": named(line["ranking"], reranker)}
        if shipped:
            for line in answers_of(outcomes, models.entry):
                yield {"half": half} | line


def _interval(values):
    return [round(v, 3) for v in interval(values)]


def rankings_of(outcomes):
    """A line per ranking; `less` is the paired difference of nDCG@10 to the shipped ranking."""
    placed = [o["places"] for o in outcomes if o["places"]]
    for name in placed[0] if placed else ():
        places = [p[name] for p in placed]
        line = {"ranking": name, "questions": len(places)} | {measure: _interval([of(p) for p in places]) for measure, of in MEASURES.items()}
        yield line | {"less": _interval([ndcg(p[name]) - ndcg(p[SHIPPED]) for p in placed])}


def answers_of(outcomes, reranker):
    """Answers and refusals by kind and together, and the trade-off between the two. reranker: its entry."""
    threshold = reranker.quote_threshold
    answered = [o for o in outcomes if "answer" in o["question"]]
    refused = [o for o in outcomes if "unanswerable" in o["question"]]
    for what, group in _groups(answered, lambda o: o["question"]["corpus"]):
        mean_chars = round(sum(sum(map(len, o["quotes"])) for o in group) / max(1, sum(bool(o["quotes"]) for o in group)))
        line = {"answers": what, "questions": len(group), "right": _interval([o["right"] for o in group]), "threshold": threshold, "mean_chars": mean_chars}
        yield line | {name: _interval([o[name] for o in group]) for name in ("right_first", "right_anyway", "right_lead", "reachable")}
    for what, group in _groups(refused, lambda o: "fact missing" if "-missing-" in o["question"]["id"] else "off topic or near it"):
        yield {"unanswerable": what, "questions": len(group), "refused": _interval([not o["quotes"] for o in group]), "threshold": threshold}
    if answered and refused:
        seen = [o["best_score"] for o in (*answered, *refused) if o["best_score"] > ALWAYS]
        for value in THRESHOLDS.get(reranker.name) or np.unique(np.quantile(seen, np.arange(0, 1, 0.05)).round(2)).tolist():
            right = sum(o["right_anyway"] and o["best_score"] >= value for o in answered) / len(answered)
            yield {"trade_off": value, "right": round(right, 3), "refused": round(sum(o["best_score"] < value for o in refused) / len(refused), 3)}


def _groups(outcomes, kind):
    kinds = sorted({kind(o) for o in outcomes})
    return [*((k, [o for o in outcomes if kind(o) == k]) for k in kinds), *([("all", outcomes)] if outcomes else [])]


async def main():
    """Prints what was asked for, and writes it where that was asked for too."""
    settings, parser = Settings(), argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--half", choices=("tuning", "test"), default="tuning")
    parser.add_argument("--corpus", choices=tuple(CORPORA), action="append")
    parser.add_argument("--chars", type=int, default=settings.chunk_chars, help="a chunk size instead of the shipped one")
    parser.add_argument("--sizes", action="store_true", help="measure the other chunk sizes too")
    parser.add_argument("--windows", action="store_true", help="measure the rival way of cutting too, at the shipped size")
    parser.add_argument("--write", action="store_true", help="with the other sizes, and into docs/retrieval.md")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reranker", default=settings.reranker_model, help="another one than the shipped one")
    given = parser.parse_args()
    if given.write and given.reranker != settings.reranker_model:
        parser.error("--write is for what ships")
    others = [size for size in SIZES if size != given.chars] if given.sizes or given.write else []
    lines = []
    async for line in measured(
        given.corpus or CORPORA,
        given.half,
        [given.chars, *others],
        given.reranker,
        given.threads,
        tuple(CUTS) if given.windows or given.write else ("structure",),
    ):
        print(json.dumps(line, ensure_ascii=False), flush=True)
        lines.append(line)
    if given.write:
        PAGE.write_text(page(lines), "utf-8")


if __name__ == "__main__":
    asyncio.run(main())
