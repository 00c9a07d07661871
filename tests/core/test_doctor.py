"""What the doctor makes of what a server says of itself."""

from datetime import UTC, datetime, timedelta

import pytest

from core.doctor import judged
from core.records import Facts, Health

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)
MS = timedelta(milliseconds=1)


def judge(facts, took=4 * MS):
    return judged(Health("records", True, ""), "PostgreSQL 15.3", facts, NOW, took)


def test_a_server_that_is_new_enough_and_on_time_says_how_long_it_took():
    found = judge(Facts("15.3", "15", NOW + 300 * MS))
    assert (found.ready, found.detail) == (True, "PostgreSQL 15.3, round trip 4 ms, clocks 0.3 s apart")


@pytest.mark.parametrize("version", ["14.11", "9.6", "14.9 (Debian 14.9-1)"])
def test_a_server_that_is_too_old_is_named_with_the_oldest_that_will_do(version):
    found = judge(Facts(version, "15"))
    assert not found.ready
    assert "Take 15 or newer" in found.detail


@pytest.mark.parametrize(("apart_s", "ready"), [(1.9, True), (2.1, False), (-2.1, False), (3600, False)])
def test_clocks_more_than_two_seconds_apart_are_told(apart_s, ready):
    found = judge(Facts(at=NOW + timedelta(seconds=apart_s)))
    assert found.ready is ready
    assert ready or f"{abs(apart_s):.1f} s away" in found.detail


def test_a_slow_answer_is_no_wrong_clock():
    assert judge(Facts(at=NOW + timedelta(seconds=4)), took=timedelta(seconds=6)).ready
