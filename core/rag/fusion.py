"""Reciprocal rank fusion: one ranking out of several, by places alone, because scores of different rankings can't be compared."""

from collections.abc import Sequence

from core.rag.model import Hit

RRF_K = 60
"""How much the first places weigh against the later ones; the value of the paper."""


def fuse(rankings: Sequence[Sequence[str]]) -> list[Hit]:
    """The union of the rankings, best first; each id scores the sum of 1 / (60 + place), places counted from 1.

    The order of the rankings doesn't matter; equal scores are ordered by id.
    Source: Cormack, Clarke, Büttcher, "Reciprocal Rank Fusion outperforms Condorcet and individual rank learning methods", SIGIR 2009.
    """
    scores: dict[str, list[float]] = {}
    for ranking in rankings:
        for place, chunk_id in enumerate(ranking, 1):
            scores.setdefault(chunk_id, []).append(1 / (RRF_K + place))
    # Sorted before they are summed: adding floats in another order gives another last digit.
    hits = [Hit(chunk_id, sum(sorted(parts))) for chunk_id, parts in scores.items()]
    return sorted(hits, key=lambda hit: (-hit.score, hit.chunk_id))
