"""A collection's vectors as a landscape: where its passages lie beside each other, and which say nearly the same. Pure numpy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.inference import Vector

BLOCK = 256
"""Rows that are compared at once: so many times the collection's rows are in memory, however many are alike."""


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


def inside(points: Vector, outline: Vector) -> NDArray[np.bool_]:
    """Which points lie inside an outline: those from which a line to the right crosses it an odd number of times. On the outline itself it is either.

    points: (n, 2); outline: (m, 2), its corners in order, the last joined to the first.   Gives (n,).
    Source: Shimrat, "Algorithm 112: Position of point relative to polygon", 1962.
    """
    x, y = points[:, 0], points[:, 1]
    within = np.zeros(len(points), bool)
    for (from_x, from_y), (to_x, to_y) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        if from_y != to_y:
            crossed = ((from_y > y) != (to_y > y)) & (x < from_x + (y - from_y) * (to_x - from_x) / (to_y - from_y))
            within ^= crossed
    return within


def near_pairs(vectors: Vector, threshold: float, most: int) -> list[Pair]:
    """The pairs whose cosine is at least the threshold, most alike first, at most `most`.

    vectors: (n, d) unit vectors. Compares every pair, block by block; n²·d operations.
    """
    best = np.zeros((0, 3))
    """Rows of (similarity, first, second), at most `most`."""
    for start in range(0, len(vectors), BLOCK):
        block = vectors[start : start + BLOCK]
        similar = block @ vectors[start:].T
        similar[:, : len(block)][np.tril_indices(len(block))] = -2.0  # itself, and what was compared the other way round
        enough = max(threshold, float(best[:, 0].min())) if len(best) == most else threshold
        over = np.flatnonzero(similar >= enough)
        if len(over) > most:
            over = over[np.argpartition(-similar.ravel()[over], most - 1)[:most]]
        rows, columns = np.unravel_index(over, similar.shape)
        best = np.vstack([best, np.column_stack([similar[rows, columns], rows + start, columns + start])])
        best = best[np.argsort(-best[:, 0], kind="stable")][:most]
    return [Pair(int(first), int(second), float(similarity)) for similarity, first, second in best]
