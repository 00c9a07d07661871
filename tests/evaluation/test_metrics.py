from bench.evaluation.metrics import interval, ndcg, recall, reciprocal_rank
from hypothesis import given
from hypothesis import strategies as st

RANK = st.none() | st.integers(1, 100)


@given(RANK)
def test_every_measure_lies_between_0_and_1_and_is_1_at_the_first_place(rank):
    for measure in (ndcg, recall, reciprocal_rank):
        assert 0 <= measure(rank) <= 1
        assert measure(1) == 1
        assert measure(None) == 0


@given(st.integers(1, 99))
def test_a_later_place_is_never_better(rank):
    for measure in (ndcg, recall, reciprocal_rank):
        assert measure(rank + 1) <= measure(rank)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_an_interval_holds_its_mean_and_stays_among_the_values(values):
    _, low, high = interval(values)
    assert min(values) - 1e-9 <= low
    assert low <= high <= max(values) + 1e-9


def test_values_that_are_all_alike_leave_no_doubt():
    assert interval([0.5] * 20) == (0.5, 0.5, 0.5)
