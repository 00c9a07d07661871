import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.chat.grounding import quoted_answer, shown
from core.inference import Caller, Model, Service
from core.rag.model import Chunk, ChunkMetadata, FoundChunk, RAGResult, RetrievalTrace
from core.rag.quoting import MAX_SENTENCE_CHARS, Quote, best_quotes, is_quoted_from

NOTHING = RetrievalTrace("", (), 0, 0, (), {}, None, None)
WORD = st.sampled_from("lamp green red door key desk badge night".split())
PASSAGE = st.lists(st.lists(WORD, min_size=1, max_size=6), min_size=1, max_size=5).map(lambda said: " ".join(" ".join(s).capitalize() + "." for s in said))


def read(*passages, scores=None):
    """passages: (heading, text)."""
    chunks = tuple(FoundChunk(Chunk(str(n), "d", text, None, ChunkMetadata(n, None, heading)), "", "lab") for n, (heading, text) in enumerate(passages))
    return RAGResult(chunks, scores or (0.0,) * len(chunks), True, NOTHING)


def quoted(query, result, threshold=0.1):
    """By common words, as it is where there is no reranker."""
    return anyio.run(best_quotes, query, result, None, Caller("ada"), threshold)


def test_of_two_alike_sentences_the_one_under_the_fitting_heading_is_quoted():
    found = quoted("When does the sauna open?", read(("Bakery", "It opens at seven."), ("Sauna", "It opens at nine.")), threshold=0.0)
    assert found.quotes[0].text == "It opens at nine."


def test_of_two_alike_sentences_the_one_in_the_better_passage_is_quoted():
    found = quoted("When is the door open?", read(("", "The door is open on Monday."), ("", "The door is open on Friday."), scores=(0.4, 0.6)))
    assert found.quotes[0].text == "The door is open on Friday."


def test_a_heading_alone_is_no_reason_to_quote_what_stands_under_it():
    found = quoted("guest network password", read(("Guest network password", "Ask at the desk.")))
    assert (found.quotes, found.best_score) == ((), 0.0)


class Scripted:
    """A reranker whose score is the number of letters "x", and whose own threshold is the one it is made with."""

    def __init__(self, threshold):
        self._model = Model("scripted", Service.RERANKER, quote_threshold=threshold)

    async def info(self):
        return self._model

    async def rerank(self, query, documents, *, caller):
        return [float(text.count("x")) for text in documents]


@pytest.mark.parametrize(
    ("own", "given", "seen", "held_against"),
    [(3.0, None, 0, 3.0), (2.0, None, 1, 2.0), (3.0, 1.0, 1, 1.0), (1.0, 3.0, 0, 3.0), (None, None, 1, None), (None, 3.0, 0, 3.0)],
)
def test_what_is_quoted_is_held_against_the_threshold_that_is_given_else_the_rerankers_own_else_nothing(own, given, seen, held_against):
    found = anyio.run(best_quotes, "q", read(("", "Only xx. No more.")), Scripted(own), Caller("ada"), given)
    assert (len(found.quotes), found.best_score, found.threshold) == (seen, 2.0, held_against)


def test_without_a_reranker_half_of_the_questions_words_are_enough():
    result = read(("", "The green lamp is off."))
    assert (quoted("green lamp", result, None).threshold, len(quoted("green lamp", result, None).quotes)) == (0.5, 1)
    assert quoted("red door key lamp", result, None).quotes == ()


def test_without_passages_there_is_nothing_to_quote_and_no_score():
    found = quoted("anything", read())
    assert (found.quotes, found.best_score) == ((), None)


@given(
    st.lists(st.tuples(st.lists(WORD, max_size=2).map(" ".join), PASSAGE), max_size=4), st.lists(WORD, min_size=1, max_size=4).map(" ".join), st.floats(0, 1)
)
def test_quotes_stand_in_their_passages_one_in_each_best_first_and_short(passages, question, threshold):
    result = read(*passages)
    quotes = quoted(question, result, threshold).quotes
    assert len({q.chunk_index for q in quotes}) == len(quotes)
    assert [q.score for q in quotes] == sorted((q.score for q in quotes), reverse=True)
    assert all(is_quoted_from(q.text, result.chunks[q.chunk_index].chunk.content) and len(q.text) <= MAX_SENTENCE_CHARS for q in quotes)


@given(st.lists(st.tuples(st.just(""), PASSAGE), max_size=3), st.floats(0, 1), st.floats(0, 1))
def test_a_higher_threshold_never_quotes_more(passages, one, other):
    result, (low, high) = read(*passages), sorted((one, other))
    assert set(quoted("green lamp at the door", result, high).quotes) <= set(quoted("green lamp at the door", result, low).quotes)


@pytest.mark.parametrize(("second", "seen"), [(0.97, 2), (0.9, 1)])
def test_a_second_quote_is_shown_only_where_it_is_nearly_as_good_and_a_third_never(second, seen):
    quotes = [Quote(1, "So it is.", 1.0), Quote(0, "So it\nwas.", second), Quote(2, "And so on.", second)]
    passages = ["It went on for as long as anybody cared. So it\nwas.", "So it is.", "And so on."]
    assert len(shown(quotes)) == seen
    assert quoted_answer(quotes, passages) == "\n>\n".join(["> So it is. [2]", "> So it was. [1]"][:seen])


WRAPPED = """Backups
=======
They run every night, and on Sundays what they hold
is read again and compared with its numbers. Mail
is left out of them.
Ask Ada.

- to the attic
- to the cellar"""


@pytest.mark.parametrize(
    ("begin", "end", "wanted"),
    [
        ("Backups", "numbers.", ["Backups", "They run every night, and on Sundays what they hold is read again and compared with its numbers."]),
        ("Mail", "of them.", ["Mail is left out of them."]),
        ("Mail", "Ask Ada.", ["Mail is left out of them. Ask Ada."]),
        ("Ask", "attic", ["Ask Ada.", "- to the attic"]),
        ("- to the attic", "cellar", ["- to the attic", "- to the cellar"]),
    ],
)
def test_a_heading_and_a_row_are_lines_of_a_quote_and_prose_is_one_however_it_is_wrapped(begin, end, wanted):
    quote = WRAPPED[WRAPPED.index(begin) : WRAPPED.index(end) + len(end)]
    assert quoted_answer([Quote(0, quote, 1.0)], [WRAPPED]) == "> " + "  \n> ".join(wanted) + " [1]"
