import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.rag import landscape
from core.rag.landscape import inside, near_pairs, plane


def unit(random, n, d):
    made = random.standard_normal((n, d)).astype(np.float32)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def test_the_plane_is_that_of_the_largest_variance():
    random = np.random.default_rng(1)
    vectors = (random.standard_normal((200, 8)) * [9, 4, 1, 1, 1, 1, 1, 1]).astype(np.float32)
    points = plane(vectors)
    assert np.allclose(np.abs(points), np.abs(vectors - vectors.mean(axis=0))[:, :2], atol=2.5)
    assert points.var(axis=0)[0] > points.var(axis=0)[1]
    assert np.array_equal(points, plane(vectors.copy())), "it always looks the same"


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_lie_in_the_middle(n):
    assert plane(np.ones((n, 4), np.float32)).tolist() == [[0, 0]] * n


def test_what_lies_in_a_notch_of_an_outline_is_not_inside():
    notched = np.array([(0, 0), (4, 0), (4, 4), (2, 1), (0, 4)], np.float32)
    points = np.array([(1, 1), (3, 1), (2, 0.5), (2, 2), (2, 5), (-1, 1), (5, 1)], np.float32)
    assert inside(points, notched).tolist() == [True, True, True, False, False, False, False]
    assert inside(points, notched[::-1]).tolist() == inside(points, notched).tolist(), "whichever way it was drawn"


def test_a_line_holds_nothing():
    assert not inside(np.zeros((3, 2), np.float32), np.array([(-1, 0), (1, 0)], np.float32)).any()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 60), st.integers(1, 12), st.floats(0.5, 1.0), st.integers(0, 2**31))
def test_the_pairs_are_those_of_a_plain_double_loop(n, most, threshold, seed):
    vectors = unit(np.random.default_rng(seed), n, 3)
    plain = [(i, j) for i in range(n) for j in range(i + 1, n) if float(vectors[i] @ vectors[j]) >= threshold + 1e-5]
    block, landscape.BLOCK = landscape.BLOCK, 7
    try:
        found = near_pairs(vectors, threshold, 10**6)
        few = near_pairs(vectors, threshold, most)
    finally:
        landscape.BLOCK = block
    assert set(plain) <= {(p.first, p.second) for p in found}
    assert all(p.similarity >= threshold - 1e-5 and p.first < p.second for p in found)
    assert [p.similarity for p in few] == pytest.approx([p.similarity for p in found[: len(few)]])
    assert len(few) <= most


def test_however_many_are_alike_little_memory_is_taken():
    vectors = np.tile(unit(np.random.default_rng(2), 1, 32), (3_000, 1))
    tracemalloc.start()
    pairs = near_pairs(vectors, 0.5, 200)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(pairs) == 200
    assert most < 8 * landscape.BLOCK * len(vectors) * 4, "a few times one block; every pair as an object would be gigabytes"
