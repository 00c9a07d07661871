"""How growing text is cut into what can be spoken."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.voice.clauses import FIRST_WORDS, MOST_WORDS, Clauses, Segment, speakable


def cut(*pieces):
    clauses = Clauses()
    return [segment for piece in pieces for segment in clauses.feed(piece)] + clauses.flush()


def texts(*pieces):
    return [segment.text for segment in cut(*pieces)]


def test_the_first_clause_comes_first_and_then_whole_sentences():
    assert texts("The boiler is old, but it works. It was built in 1999, they say. Ask Bob.") == [
        "The boiler is old,",
        "but it works.",
        "It was built in 1999, they say.",
        "Ask Bob.",
    ]


def test_a_segment_is_there_as_soon_as_its_last_word_is_over():
    clauses = Clauses()
    assert clauses.feed("The boiler is old,") == []
    assert clauses.feed(" ") == [Segment("The boiler is old,", 18)]


def test_too_short_a_beginning_waits_for_more():
    assert texts("Yes, sure. It is on, now.") == ["Yes, sure. It is on,", "now."]
    assert texts("Yes.") == ["Yes."]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("**Press** the *red* `reset` button.", "Press the red reset button."),
        ("It holds 300 litres [1][2]. Really [1, 3].", "It holds 300 litres. Really."),
        ("See [the long manual](https://x.org/a_b?c=1) first.", "See the long manual first."),
        ("Look at https://x.org/a. Then go.", "Look at. Then go."),
        ("Do this:\n\n```python\nprint('x.y')\n# no\n```\n\nDone.", "Do this: Done."),
        ("# A title\n\n- one\n- two\n\n> quoted words", "A title one two quoted words"),
        ("1. Open it.\n2. Close it.", "Open it. Close it."),
        ("| a | b |\n|---|---|\n| c | d |", "a b c d"),
        ("Use snake_case, not __bold__ or ~~old~~ names.", "Use snake_case, not bold or old names."),
        ("It costs 3.50, e.g. at Dr. Who's, at 10:30.", "It costs 3.50, e.g. at Dr. Who's, at 10:30."),
        ("An [open bracket\nends with its line.", "An open bracket ends with its line."),
        ("---\n***\n", ""),
        ("~~~\nnever closed. never said.", ""),
        ("Line one.<br>Line two.", "Line one.Line two."),
        ('She said "no." And left.', 'She said "no." And left.'),
    ],
)
def test_what_is_spoken(text, said):
    assert speakable(text) == said


def test_a_sentence_without_an_end_is_cut():
    pieces = texts("word " * 100)
    assert [len(p.split()) for p in pieces] == [MOST_WORDS, MOST_WORDS, 20]


def test_every_segment_says_how_far_into_the_text_it_reaches():
    text = "The **first** clause [1], then more. And `code` too."
    assert [text[: segment.end] for segment in cut(text)] == ["The **first** clause [1],", "The **first** clause [1], then more.", text]


MARKS = [
    "# ",
    "- ",
    "1. ",
    "> ",
    "\n",
    "\n\n",
    "```\n",
    "~~~\n",
    "`",
    "**",
    "_",
    "[",
    "]",
    "(",
    ")",
    "[1]",
    "[2, 3].",
    "](https://a.b/c)",
    "https://a.b/c",
    "|",
    "---\n",
]
WORDS = ["boiler", "old,", "hot.", "why?", "3.50", "e.g.", " ", " ", " ", "Käse;", '"no."']
MARKED = st.lists(st.sampled_from(MARKS + WORDS), max_size=40).map("".join)


@given(MARKED, st.lists(st.integers(0, 200), max_size=10))
def test_the_cuts_do_not_depend_on_the_pieces_the_text_came_in(text, cuts):
    places = sorted({0, len(text), *(c for c in cuts if c <= len(text))})
    assert cut(*(text[a:b] for a, b in pairwise(places))) == cut(text)
    assert cut(*text) == cut(text)


@given(MARKED)
def test_joined_the_segments_are_the_speakable_text_and_nothing_unspeakable_is_in_it(text):
    segments = cut(text)
    assert " ".join(s.text for s in segments) == speakable(text)
    assert [s.end for s in segments] == sorted(s.end for s in segments)
    assert all(s.end <= len(text) for s in segments)
    for segment in segments:
        assert segment.text.split() == segment.text.split(" ")
        assert any(c.isalnum() for c in segment.text)
        assert not re.search(r"[`*|\[\]]|https?:|\[\d", segment.text)


@given(st.lists(st.sampled_from(["boiler", "is", "old", "hot"]), min_size=FIRST_WORDS, max_size=12), st.sampled_from(",;:.!?"))
def test_a_first_clause_of_three_words_is_spoken_at_its_comma(words, mark):
    clauses = Clauses()
    assert clauses.feed(" ".join(words) + mark + " and")[0].text == " ".join(words) + mark
