"""What is spoken, and in which pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.voice.clauses import MAX_CHARS, Clauses
from core.voice.speakable import Speakable


def cut(text, size=1):
    clauses, pieces = Clauses(), []
    for n in range(0, len(text), size):
        pieces += clauses.feed(text[n : n + size])
    return pieces + clauses.flush()


def said(text, size=7):
    speaker = Speakable()
    return " ".join(filter(None, (speaker.feed(piece) for piece in cut(text, size))))


PROSE = st.text(st.sampled_from(list("abc äß,.;:!?\n\"')*_`#|1[]-…。、你 ")), max_size=600)


@given(PROSE | st.text(max_size=300), st.integers(1, 60))
def test_the_pieces_joined_are_the_text_however_it_came(text, size):
    pieces = cut(text, size)
    assert "".join(pieces) == text
    assert all(pieces)


@given(PROSE)
def test_no_piece_waits_longer_than_a_long_sentence(text):
    assert all(len(piece.rstrip()) <= MAX_CHARS + 1 for piece in cut(text))


def test_the_first_clause_comes_early_and_sentences_after_it():
    text = "Backups are kept for 35 days, then they are removed. A copy of each month stays, for a year. That is all."
    assert cut(text) == ["Backups are kept for 35 days, ", "then they are removed. ", "A copy of each month stays, for a year. ", "That is all."]


def test_it_is_given_as_soon_as_it_is_complete():
    clauses = Clauses()
    assert clauses.feed("Yes, it is kept") == []
    assert clauses.feed(" for a year,") == [], "a comma may still be inside a number"
    assert clauses.feed(" and") == ["Yes, it is kept for a year, "]


@pytest.mark.parametrize("text", ["It costs 3.50 in all", "Ask Dr. Smith about it", "See example.com/a for it", "Use e.g. the blue one", "At 10:30 we go on"])
def test_a_mark_inside_a_word_or_a_number_ends_nothing(text):
    assert cut(text) == [text]


def test_a_text_without_any_mark_is_cut_between_words():
    pieces = cut("word " * 200)
    assert max(map(len, pieces)) <= MAX_CHARS
    assert all(piece.endswith(" ") for piece in pieces)


def test_scripts_without_spaces_are_cut_at_their_own_marks():
    assert cut("备份保留三十五天。然后删除。") == ["备份保留三十五天。", "然后删除。"]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("**Backups** are kept for *35 days* [1].", "Backups are kept for 35 days."),
        ("## Backups\n\n- kept daily\n- and `hourly`\n", "Backups kept daily and hourly"),
        ("See [the guide](https://a.test/x?y=(1)) or https://b.test/long/path now.", "See the guide or a link now."),
        ("Run this:\n```sh\nrm -rf x\n```\nand wait.", "Run this: The code is in the text. and wait."),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n", "a, b 1, 2"),
        ("The area is $a^2$ here.", "The area is a formula here."),
        ("snake_case_name stays, _this_ does not shout.", "snake_case_name stays, this does not shout."),
        ("---\n***\n", ""),
        ("> quoted <b>words</b>", "quoted words"),
    ],
)
def test_marks_are_not_read_aloud(written, spoken):
    assert said(written) == spoken


@given(st.text(st.sampled_from(list("ab`~\n *_[]()|#")), max_size=200), st.integers(1, 40))
def test_code_is_never_spoken_wherever_the_text_is_cut(text, size):
    fenced = f"Look.\n```\nsecret {text.replace('`', '').replace('~', '')}\n```\nDone."
    assert "secret" not in said(fenced, size)
    assert said(fenced, size).endswith("Done.")
