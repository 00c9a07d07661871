"""What two versions find is measured by the definitions, whatever the vectors."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.rag.comparison import DEPTH, found


def unit(rows):
    made = np.asarray(rows, np.float32)
    return made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9)


@given(st.integers(1, 40), st.integers(1, 90), st.integers(0, 2**31))
def test_it_is_what_sorting_every_score_says(passages, questions, seed):
    random = np.random.default_rng(seed)
    vectors, asked = unit(random.standard_normal((passages, 4))), unit(random.standard_normal((questions, 4)))
    right = [sorted(random.choice(passages, random.integers(1, passages + 1), replace=False).tolist()) for _ in range(questions)]
    ranks = []
    for question, places in zip(asked, right, strict=True):
        order = np.argsort(-(vectors @ question), kind="stable").tolist()
        ranks.append(1 + min(order.index(p) for p in places))
    measured = found(vectors, asked, right)
    assert abs(measured.recall - np.mean([r <= DEPTH for r in ranks])) < 1e-6
    assert abs(measured.mrr - np.mean([1 / r for r in ranks])) < 1e-5


def test_passages_that_all_look_alike_find_nothing_first():
    measured = found(unit(np.ones((10, 4))), unit(np.ones((1, 4))), [[3]])
    assert (measured.recall, round(measured.mrr, 3)) == (0.0, 0.1)
