"""The rankings that are compared, each as an order of the same fused candidates.

One search at the greatest depth holds every score; a ranking is what would have come out with other stages after it.
"""

from core.rag.model import OVER_FETCH, RERANK_DEPTH, Candidate


def by_stage(name):
    """The order of one stage; what that stage didn't see is not in it."""
    return lambda candidates: _ordered([c for c in candidates if getattr(c, name) is not None], lambda c: -getattr(c, name))


def reranked(depth=RERANK_DEPTH, **weights):
    """The first `depth` fused candidates by a weighted sum of scores, each stretched to [0, 1] over those candidates where there is more than one."""

    def order(candidates):
        first = [c for c in candidates if c.fused_rank <= depth]
        parts = {name: stretched([getattr(c, name) for c in first]) for name in weights}
        totals = {c.chunk_id: sum(weight * parts[name][n] for name, weight in weights.items()) for n, c in enumerate(first)}
        return _ordered(first, lambda c: totals[c.chunk_id])

    return order


def stretched(scores):
    """Min–max over the candidates: the best is 1, the worst 0, and what has no score 0 too. All alike are 1."""
    known = [s for s in scores if s is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    return [0.0 if s is None else (s - low) / (high - low) if high > low else 1.0 for s in scores]


def _ordered(candidates, worth):
    return sorted(candidates, key=lambda c: (-worth(c), c.chunk_id))


SHIPPED = f"RRF {RERANK_DEPTH} → MaxSim"
RANKINGS = {
    "BM25": by_stage("lexical_rank"),
    "cosine": by_stage("dense_rank"),
    "RRF of both": by_stage("fused_rank"),
    "RRF 10 → MaxSim": reranked(10, rerank_score=1),
    SHIPPED: reranked(rerank_score=1),
    f"RRF {OVER_FETCH} → MaxSim": reranked(OVER_FETCH, rerank_score=1),
    "RRF 20 → MaxSim + cosine + BM25, 1:1:1": reranked(rerank_score=1, dense_score=1, lexical_score=1),
    "RRF 20 → MaxSim + cosine + BM25, 4:1:1": reranked(rerank_score=4, dense_score=1, lexical_score=1),
    "RRF 20 → MaxSim + cosine, 2:1": reranked(rerank_score=2, dense_score=1),
}
RARE = "RRF 20 → MaxSim, rare tokens weigh more"


def named(ranking, reranker):
    """A ranking's name with the reranker that made it."""
    return ranking if reranker == "maxsim" else ranking.replace("MaxSim", reranker)


def place(order, right):
    """Where the first of the right chunks stands, counted from 1; None where none does."""
    return next((n for n, c in enumerate(order, 1) if c.chunk_id in right), None)


def all_places(candidates: list[Candidate], right: set[str]) -> dict[str, int | None]:
    """The place of the wanted passage in every ranking."""
    return {name: place(order(candidates), right) for name, order in RANKINGS.items()}
