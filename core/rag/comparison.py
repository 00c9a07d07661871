"""How well two versions of a collection's vectors find what is right. Pure numpy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.inference import Vector

DEPTH = 5
BLOCK = 64
"""Questions that are compared with every passage at once."""


@dataclass(frozen=True, slots=True)
class Found:
    """Over some questions. recall: the share whose right passage is among the first `DEPTH`.   mrr: mean reciprocal rank of the first right one. Both in 0..1.

    Source of both: Manning, Raghavan and Schütze, "Introduction to Information Retrieval", 2008, chapter 8; Voorhees, "The TREC-8 QA Track Report", 1999.
    """

    recall: float
    mrr: float


def found(vectors: Vector, questions: Vector, right: Sequence[Sequence[int]]) -> Found:
    """What searching by meaning alone finds.

    vectors: (n, d) unit vectors of the passages.   questions: (q, d), q at least 1.   right: for each question the places of its right passages, at least one.
    """
    ranks = np.concatenate([_ranks(vectors, questions[n : n + BLOCK], right[n : n + BLOCK]) for n in range(0, len(questions), BLOCK)])
    return Found(float((ranks <= DEPTH).mean()), float((1 / ranks).mean()))


def _ranks(vectors: Vector, questions: Vector, right: Sequence[Sequence[int]]) -> Vector:
    """Of each question the place of its best right passage, from 1; a tie counts against it."""
    scores = questions @ vectors.T
    best = np.asarray([row[list(places)].max() for row, places in zip(scores, right, strict=True)])
    return np.asarray(np.maximum(1, (scores >= best[:, None]).sum(axis=1)), np.float32)
