"""Finding the passages that answer a question: the same stages in the same order every time, each of them written down.

dense and BM25 side by side → reciprocal rank fusion → reranking → threshold. A stage that can't be reached is left out and that is said; a collection that
doesn't fit the embedding model is an error and never an empty answer.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from core.errors import ModelError, ServiceError, WrongShape
from core.ports import ChunkIndex, Documents, Embedder, Reranker, Traces
from core.rag.fusion import fuse
from core.rag.model import OVER_FETCH, RERANK_DEPTH, Candidate, Collection, FoundChunk, Hit, RAGQuery, RAGResult, RetrievalTrace
from core.rag.stages import search_stages
from core.traces import NO_TRACES, traced
from core.users.model import User

Ranked: TypeAlias = tuple[FoundChunk, float]


@dataclass(slots=True)
class _Stages:
    """What one search has done so far, and how deep it looks. dense: a ranking for each embedding model of the collections."""

    fetch: int = OVER_FETCH
    rerank_depth: int = RERANK_DEPTH
    ms: dict[str, float] = field(default_factory=dict)
    degraded: list[str] = field(default_factory=list)
    dense: list[list[Hit]] = field(default_factory=list)
    lexical: list[Hit] = field(default_factory=list)
    fused: list[Hit] = field(default_factory=list)
    found: Mapping[str, FoundChunk] = field(default_factory=dict)
    reranked: dict[str, float] = field(default_factory=dict)
    returned: set[str] = field(default_factory=set)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Adds to the milliseconds of a stage."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.ms[name] = round(self.ms.get(name, 0.0) + (time.perf_counter() - begun) * 1000, 2)


class Retrieval:
    """Searches the collections of a user."""

    def __init__(
        self,
        documents: Documents,
        index: ChunkIndex,
        embedder: Embedder,
        reranker: Reranker | None,
        threshold: float | None = None,
        traces: Traces = NO_TRACES,
    ) -> None:
        """threshold: the rerank score below which a passage is not relevant; None takes the reranker's own, where it has one."""
        self._traces = traces
        self._documents, self._index, self._embedder, self._reranker, self._threshold = documents, index, embedder, reranker, threshold

    async def search(self, user: User, query: RAGQuery, collections: Sequence[str] = ()) -> RAGResult:
        """What answers the question, best first: `rerank_top_k` passages, or `top_k` without reranking.

        collections: names to search together instead of the query's own.
        Raises: NotFound for a collection the user doesn't have; WrongShape; ServiceError if neither meaning nor words can be searched.
        """
        stages = _Stages()
        with traced(self._traces, "retrieval") as work, stages.timed("total"):
            chosen = [await self._documents.collection_for(user.id, name) for name in dict.fromkeys(collections or (query.collection,))]
            ids = [c.id for c in chosen]
            stages.rerank_depth = max(query.top_k, *(query.rerank_depth or c.rerank_depth for c in chosen))
            stages.fetch = max(OVER_FETCH, stages.rerank_depth)
            considered, _, _ = await asyncio.gather(self._index.size(ids), self._dense_now(stages, user, query, chosen), self._lexical(stages, query, ids))
            with stages.timed("fuse"):
                stages.fused = fuse([[h.chunk_id for h in ranking] for ranking in (*stages.dense, stages.lexical)])[: stages.fetch]
            with stages.timed("load"):
                stages.found = await self._documents.found([h.chunk_id for h in stages.fused])
            order = [(stages.found[h.chunk_id], h.score) for h in stages.fused if h.chunk_id in stages.found]
            reranked, threshold = False, None
            if query.rerank and self._reranker is not None and order:
                order, reranked = await self._rerank(stages, user, query, order)
                threshold = await self._needed() if reranked else None
            work.stages(search_stages(stages.ms))
        shown = order[: query.rerank_top_k] if reranked else order[: query.top_k]
        kept = [(f, s) for f, s in shown if threshold is None or s >= threshold]
        stages.returned = {f.chunk.id for f, _ in kept}
        trace = _trace(stages, query, chosen, considered, order, threshold)
        return RAGResult(tuple(f for f, _ in kept), tuple(round(s, 6) for _, s in kept), reranked, trace)

    async def _dense(self, stages: _Stages, user: User, query: RAGQuery, chosen: Sequence[Collection]) -> None:
        """By meaning: the question is embedded once by each model that the collections were made with."""
        stages.dense = []
        for model in dict.fromkeys(c.embedding_model for c in chosen):
            made_so = [c for c in chosen if c.embedding_model == model]
            try:
                with stages.timed("embed"):
                    embedded = await self._embedder.of(model).embed([query.query], "query", caller=user.caller)
            except (ServiceError, ModelError) as error:
                stages.degraded.append(f"Only words were searched, not meaning: {error.message}")
                continue
            for collection in made_so:
                collection.check(embedded.vectors.shape[1], embedded.model)
            with stages.timed("dense"):
                stages.dense.append(await self._index.nearest({c.id: c.version for c in made_so}, embedded.vectors[0], stages.fetch))

    async def _dense_now(self, stages: _Stages, user: User, query: RAGQuery, chosen: Sequence[Collection]) -> None:
        """Once more where another version came to be searched between the look at the collections and the search."""
        try:
            await self._dense(stages, user, query, chosen)
        except WrongShape:
            now = [await self._documents.collection_for(user.id, c.name) for c in chosen]
            if [c.version for c in now] == [c.version for c in chosen]:
                raise
            await self._dense(stages, user, query, now)

    async def _lexical(self, stages: _Stages, query: RAGQuery, ids: Sequence[str]) -> None:
        with stages.timed("lexical"):
            stages.lexical = await self._index.matching(ids, query.query, stages.fetch)

    async def _rerank(self, stages: _Stages, user: User, query: RAGQuery, order: list[Ranked]) -> tuple[list[Ranked], bool]:
        """The first candidates in the reranker's order; the fused order, and a sentence about it, where it can't be reached."""
        assert self._reranker is not None
        first = order[: stages.rerank_depth]
        try:
            with stages.timed("rerank"):
                scores = await self._reranker.rerank(query.query, [_passage(f) for f, _ in first], caller=user.caller)
        except (ServiceError, ModelError) as error:
            stages.degraded.append(f"The passages could not be reranked: {error.message}")
            return order, False
        stages.reranked = {f.chunk.id: score for (f, _), score in zip(first, scores, strict=True)}
        ranked = sorted(first, key=lambda pair: (-stages.reranked[pair[0].chunk.id], pair[0].chunk.id))
        return [(f, stages.reranked[f.chunk.id]) for f, _ in ranked][: query.top_k], True

    async def _needed(self) -> float | None:
        if self._threshold is not None or self._reranker is None:
            return self._threshold
        return (await self._reranker.info()).relevance_threshold


def _trace(stages: _Stages, query: RAGQuery, chosen: Sequence[Collection], considered: int, order: Sequence[Ranked], threshold: float | None) -> RetrievalTrace:
    """Every fused candidate with its place and score in each stage."""
    dense = {i: place for ranking in stages.dense for i, place in _places(ranking).items()}
    lexical = _places(stages.lexical)
    reranked = _places([Hit(i, s) for i, s in sorted(stages.reranked.items(), key=lambda item: (-item[1], item[0]))])
    nothing: tuple[int | None, float | None] = (None, None)
    candidates = []
    for place, hit in enumerate(stages.fused, 1):
        found = stages.found.get(hit.chunk_id)
        if found is None:
            continue  # deleted while it was searched
        d, w, r = dense.get(hit.chunk_id, nothing), lexical.get(hit.chunk_id, nothing), reranked.get(hit.chunk_id, nothing)
        candidates.append(
            Candidate(hit.chunk_id, found.chunk.document_id, found.title, *d, *w, place, round(hit.score, 6), *r, returned=hit.chunk_id in stages.returned)
        )
    best = max((score for _, score in order), default=None)
    return RetrievalTrace(
        query=query.query,
        collections=tuple(c.name for c in chosen),
        considered=considered,
        returned=len(stages.returned),
        candidates=tuple(candidates),
        ms=stages.ms,
        best_score=None if best is None else round(best, 4),
        threshold=threshold,
        degraded=" ".join(stages.degraded),
    )


def _places(hits: Sequence[Hit]) -> dict[str, tuple[int | None, float | None]]:
    return {hit.chunk_id: (place, round(hit.score, 6)) for place, hit in enumerate(hits, 1)}


def _passage(found: FoundChunk) -> str:
    """What is read together with the question: the passage under its heading."""
    heading = found.chunk.metadata.heading
    return f"{heading}\n{found.chunk.content}" if heading else found.chunk.content
