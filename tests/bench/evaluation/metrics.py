"""How good a ranking is, where one passage is wanted; and how sure a difference is.

rank: the place of the first passage that holds the wanted text, counted from 1; None where none does. A second passage with the same text counts nothing.
"""

import math

import numpy as np

RESAMPLES = 2000


def ndcg(rank, depth=10):
    """Gain of the wanted passage, 1 at the first place. Source: Järvelin, Kekäläinen, "Cumulated gain-based evaluation of IR techniques", TOIS 2002."""
    return 0.0 if rank is None or rank > depth else 1 / math.log2(1 + rank)


def recall(rank, depth=5):
    """Whether the wanted passage is among the first. Source: Manning, Raghavan, Schütze, "Introduction to Information Retrieval", 2008, section 8.4."""
    return float(rank is not None and rank <= depth)


def reciprocal_rank(rank):
    """1 / rank. Source: Voorhees, "The TREC-8 Question Answering Track Report", 1999."""
    return 0.0 if rank is None else 1 / rank


def interval(values, seed=0):
    """(mean, low, high): the 95 % percentile bootstrap of the mean; of differences it is the paired one. Source: Efron, Tibshirani, 1993, chapter 13."""
    values = np.asarray(values, float)
    drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(values[drawn].mean(axis=1), (2.5, 97.5))
    return float(values.mean()), float(low), float(high)
