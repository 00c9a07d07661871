from hypothesis import given
from hypothesis import strategies as st

from core.rag.chunking import chunk, chunker_name, embedding_text
from core.rag.fusion import fuse
from core.rag.model import ParsedDocument, Section
from core.rag.quoting import MAX_SENTENCE_CHARS, is_quoted_from, quotable, sentences

TEXT = st.text(alphabet=st.sampled_from("abc dé.\n!?"), max_size=3000)


@given(st.lists(TEXT, max_size=4), st.integers(200, 900))
def test_passages_cover_the_text_stand_where_they_say_and_are_not_too_long(texts, size):
    content, chunks = chunk("d", 1, ParsedDocument("t", "text/plain", tuple(Section(t) for t in texts)), size)
    covered = set()
    for place, passage in enumerate(chunks):
        meta = passage.metadata
        assert content[meta.start : meta.end] == passage.content
        assert meta.position == place
        assert 0 < len(passage.content) <= size * 1.25
        covered |= set(range(meta.start, meta.end))
    assert all(n in covered for n, c in enumerate(content) if not c.isspace())
    assert [c.metadata.start for c in chunks] == sorted(c.metadata.start for c in chunks)


@given(TEXT)
def test_the_same_text_gives_the_same_ids_and_another_version_gives_others(text):
    parsed = ParsedDocument("t", "text/plain", (Section(text),))
    first, second, other = chunk("d", 1, parsed)[1], chunk("d", 1, parsed)[1], chunk("d", 2, parsed)[1]
    assert [c.id for c in first] == [c.id for c in second]
    assert not {c.id for c in first} & {c.id for c in other}


def test_a_passage_never_crosses_a_page_and_carries_its_heading():
    sections = (Section("first page", "Intro", 1), Section("second page", "Intro › More", 2))
    _, chunks = chunk("d", 1, ParsedDocument("Doc", "application/pdf", sections))
    assert [(c.content, c.metadata.page, c.metadata.heading) for c in chunks] == [("first page", 1, "Intro"), ("second page", 2, "Intro › More")]
    assert embedding_text("Doc", chunks[1]) == "Doc\nIntro › More\nsecond page"
    assert chunker_name(700) == "structure-1/700"


@given(st.lists(st.lists(st.sampled_from("abcdef"), unique=True), min_size=2, max_size=4), st.randoms())
def test_fusion_does_not_depend_on_the_order_of_the_rankings(rankings, random):
    shuffled = rankings[:]
    random.shuffle(shuffled)
    assert fuse(rankings) == fuse(shuffled)


def test_what_two_rankings_agree_on_wins():
    assert fuse([["a", "b"], ["b", "c"]])[0].chunk_id == "b"


@given(TEXT)
def test_every_quote_that_is_offered_stands_in_the_passage(text):
    for nth, sentence in enumerate(sentences(text)):
        offered = quotable(text, nth)
        assert offered[0] == sentence
        assert all(sentence in quote and quote in text and is_quoted_from(quote, text) and len(quote) <= MAX_SENTENCE_CHARS for quote in offered)


def test_sentences_keep_list_items_and_table_rows_apart():
    text = "Opening hours:\n- Monday 9 to 5\n- Tuesday closed\nWe are closed in May. Ask at the desk."
    assert sentences(text) == ["Opening hours:", "- Monday 9 to 5", "- Tuesday closed", "We are closed in May.", "Ask at the desk."]
