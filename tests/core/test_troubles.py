"""What of the log is told and kept while the same thing goes wrong again and again."""

import logging

import pytest

from core.troubles import REPEATED_S, OnceAMinute, kept, latest


@pytest.fixture
def said():
    """Says a line at a moment, and whether it was let through."""
    told = OnceAMinute()

    def say(message, at_s, level=logging.WARNING, name="core.chat"):
        record = logging.LogRecord(name, level, "room.py", 1, message, (), None)
        record.created = at_s
        return told.filter(record)

    return say


def test_the_same_words_are_told_once_a_minute(said):
    told = [at_s for at_s in range(150) if said("the records are away", float(at_s))]
    assert told == [0, int(REPEATED_S), 2 * int(REPEATED_S)]


def test_other_words_and_other_places_are_told_at_once(said):
    assert said("the records are away", 0.0)
    assert said("the bucket is away", 0.0)
    assert said("the records are away", 0.0, name="core.rag")


def test_what_only_informs_is_told_each_time(said):
    assert [said("GET /healthz 200", 0.0, logging.INFO) for _ in range(3)] == [True] * 3


def test_an_error_that_comes_again_and_again_pushes_no_other_out_of_those_that_are_kept(tmp_path):
    log = logging.getLogger("core.tests")
    with kept(tmp_path):
        log.error("something else broke")
        for _ in range(1000):
            log.error("the records are away")
    assert [trouble.what for trouble in latest(tmp_path)] == ["the records are away", "something else broke"]
