"""A collection's vectors as a landscape: where its passages lie beside each other, and which say nearly the same. Pure numpy."""

from dataclasses import dataclass

import numpy as np

from core.inference import Vector

BLOCK = 1024
"""Rows that are compared at once: so many times the collection's rows are in memory."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two passages that are nearly alike, by their places in the matrix. similarity: cosine, at most 1."""

    first: int
    second: int
    similarity: float


def plane(vectors: Vector) -> Vector:
    """Where each vector lies on the plane in which they differ most: their first two principal components.

    vectors: (n, d) float32.   Gives (n, 2) float32, centred; zeros where there are fewer than three. The sign of each axis is fixed by its largest entry, so
    that the same collection always looks the same.
    Source: Hotelling, "Analysis of a complex of statistical variables into principal components", 1933.
    """
    if len(vectors) < 3:
        return np.zeros((len(vectors), 2), np.float32)
    centred = vectors - vectors.mean(axis=0)
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))  # of d by d: n may be large, d is not
    two = axes[:, ::-1][:, :2]
    two = two * np.sign(two[np.abs(two).argmax(axis=0), np.arange(two.shape[1])])
    return np.asarray(centred @ two, np.float32)


def near_pairs(vectors: Vector, threshold: float, most: int) -> list[Pair]:
    """The pairs whose cosine is at least the threshold, most alike first, at most `most`.

    vectors: (n, d) unit vectors. Compares every pair, block by block; n²·d operations.
    """
    found: list[Pair] = []
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        similar = block @ vectors[start:].T
        rows, columns = np.nonzero(np.triu(similar >= threshold, k=1))
        found += [Pair(start + int(r), start + int(c), float(similar[r, c])) for r, c in zip(rows, columns, strict=True)]
        if len(found) > 20 * most:
            found = sorted(found, key=lambda p: -p.similarity)[:most]
    return sorted(found, key=lambda p: -p.similarity)[:most]
