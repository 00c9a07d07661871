from bench.evaluation.rankings import RANKINGS, SHIPPED, all_places, by_stage, named, reranked, stretched
from hypothesis import given
from hypothesis import strategies as st

from core.rag.model import OVER_FETCH, RERANK_DEPTH, Candidate

SCORE = st.none() | st.floats(-1, 1)


@st.composite
def fused(draw):
    """Candidates as a search at the greatest depth leaves them."""
    many = draw(st.integers(1, OVER_FETCH))
    return [
        Candidate(f"{n:02d}", "d", "t", n, draw(st.floats(-1, 1)), None, draw(SCORE), n, 1 / (60 + n), n, draw(st.integers(-9, 9)) / 10)
        for n in range(1, many + 1)
    ]


@given(st.lists(SCORE, max_size=20))
def test_stretched_scores_keep_their_order_between_0_and_1(scores):
    parts = stretched(scores)
    assert all(0 <= part <= 1 for part in parts)
    known = [(s, p) for s, p in zip(scores, parts, strict=True) if s is not None]
    assert all(p <= q for s, p in known for t, q in known if s < t)


@given(fused())
def test_every_ranking_is_an_order_of_candidates_without_repeats_and_no_longer_than_its_depth(candidates):
    for order in RANKINGS.values():
        ids = [c.chunk_id for c in order(candidates)]
        assert len(ids) == len(set(ids))
        assert set(ids) <= {c.chunk_id for c in candidates}
    assert len(RANKINGS[SHIPPED](candidates)) == min(RERANK_DEPTH, len(candidates))


@given(fused())
def test_one_score_alone_ranks_as_that_stage_does(candidates):
    assert reranked(OVER_FETCH, rerank_score=1)(candidates) == sorted(candidates, key=lambda c: (-c.rerank_score, c.chunk_id))


def test_what_a_stage_did_not_see_has_no_place_in_it():
    seen = Candidate("a", "d", "t", dense_rank=1, dense_score=0.5, fused_rank=1, fused_score=0.1, rerank_rank=1, rerank_score=0.3)
    assert by_stage("lexical_rank")([seen]) == []
    assert all_places([seen], {"a"})["BM25"] is None
    assert all_places([seen], {"a"})[SHIPPED] == 1


def test_a_ranking_is_named_after_the_reranker_that_made_it():
    assert named(SHIPPED, "maxsim") == SHIPPED == "RRF 20 → MaxSim"
    assert named(SHIPPED, "other") == "RRF 20 → other"
    assert named("BM25", "other") == "BM25"
