"""Whose turn it is, on a clock of the test's own: pauses, limits, interruptions, and what only looks like one."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.voice.call import FRAME_MS, Call, CallRules, Cancel, Duck, SpeechEnded, SpeechStarted

LOUD, QUIET = 0.9, 0.05


class Line:
    """A call whose clock goes on with its sound."""

    def __init__(self, **rules):
        self.now_s, self.signals = 0.0, []
        self.call = Call(lambda: self.now_s, CallRules(**rules))

    def sound(self, probability, ms):
        for _ in range(round(ms / FRAME_MS)):
            self.now_s += FRAME_MS / 1000
            self.signals += [(round(self.now_s * 1000), s) for s in [*self.call.hear(probability), *self.call.tick()]]
        return self

    def says(self, ms):
        return self.sound(LOUD, ms)

    def pauses(self, ms):
        return self.sound(QUIET, ms)

    def passes(self, ms):
        """Time without any sound."""
        self.now_s += ms / 1000
        self.signals += [(round(self.now_s * 1000), s) for s in self.call.tick()]
        return self

    def of(self, kind):
        return [s for _, s in self.signals if isinstance(s, kind)]

    def at(self, kind):
        return [ms for ms, s in self.signals if isinstance(s, kind)]


def answering(ms=1_500, **rules):
    """A call in which an answer has sounded for so long."""
    line = Line(**rules).pauses(500)
    line.call.play(True)
    return line.pauses(ms)


@pytest.mark.parametrize("pause_ms", [32, 96, 160, 224, 256])
def test_a_pause_inside_a_sentence_does_not_end_the_turn(pause_ms):
    line = Line().pauses(500).says(800).pauses(pause_ms).says(600).pauses(1_000)
    assert len(line.of(SpeechStarted)) == len(line.of(SpeechEnded)) == 1


def test_silence_ends_the_turn_after_320_ms_and_the_pre_roll_is_kept():
    line = Line().pauses(960).says(992).pauses(640)
    (started,), (ended,) = line.of(SpeechStarted), line.of(SpeechEnded)
    assert started.from_ms == ended.from_ms == 960 - 320
    assert line.at(SpeechEnded) == [960 + 992 + 320]
    assert (ended.until_ms, ended.reason) == (960 + 992 + 320, "silence")


def test_a_click_is_no_speech():
    assert Line().pauses(320).says(32).pauses(1_000).signals == []


def test_a_voice_that_fades_is_not_cut_off_but_one_that_is_faint_from_the_start_does_not_begin():
    assert Line().sound(0.4, 2_000).signals == []
    line = Line().says(320).sound(0.4, 960).pauses(480)
    assert line.of(SpeechEnded)[0].until_ms == 320 + 960 + 320


def test_somebody_who_never_stops_is_cut_at_the_limit_and_goes_on_in_the_next_turn():
    line = Line(utterance_ms=3_200).says(8_000).pauses(500)
    assert [e.reason for e in line.of(SpeechEnded)] == ["too long", "too long", "silence"]
    spans = [(e.from_ms, e.until_ms) for e in line.of(SpeechEnded)]
    assert all(before[1] == after[0] for before, after in pairwise(spans)), "nothing of it is lost or said twice"


def test_the_key_ends_a_turn_at_once_and_without_speech_nothing():
    line = Line().says(640)
    assert [s.reason for s in line.call.commit()] == ["key"]
    assert line.call.commit() == []
    assert line.pauses(1_000).of(SpeechEnded) == []


def test_a_microphone_that_falls_silent_ends_the_turn():
    line = Line().says(640).passes(1_000)
    assert line.of(SpeechEnded) == []
    assert line.passes(600).of(SpeechEnded)[0].reason == "stalled"
    assert line.pauses(500).says(640).pauses(400).of(SpeechEnded)[1].reason == "silence"


def test_frames_that_come_in_a_burst_are_counted_as_the_sound_they_are():
    line = Line().says(640)
    for _ in range(10):
        line.signals += [(0, s) for s in line.call.hear(QUIET)]
    assert len(line.of(SpeechEnded)) == 1


def test_speaking_into_an_answer_makes_it_quiet_and_then_ends_it():
    line = answering()
    begun = round(line.now_s * 1000)
    line.says(640)
    assert [ms - begun for ms in line.at(Duck)] == [160]
    assert [ms - begun for ms in line.at(Cancel)] == [416]
    assert line.of(Cancel) == [Cancel("speech")]
    assert not line.call.playing
    assert len(line.pauses(500).of(SpeechEnded)) == 1, "what interrupted is a turn of its own"


def test_a_recognised_word_ends_an_answer_at_once():
    line = answering().says(192)
    assert line.call.word() == [Cancel("word")]


def test_in_the_first_second_of_an_answer_only_a_word_ends_it():
    line = answering(0).says(960)
    assert line.of(Duck) == line.of(Cancel) == []
    assert line.call.word() == [Cancel("word")]


def test_the_answers_own_beginning_in_the_microphone_does_not_count_towards_its_end():
    line = answering(0).says(992).pauses(700)
    assert line.of(Cancel) == line.of(Duck) == []
    line = answering(0).says(992 + 352)
    assert line.of(Duck) == [Duck(True)]
    assert line.of(Cancel) == []


def test_a_cough_lowers_the_voice_which_comes_back_after_two_seconds():
    line = answering()
    begun = line.now_s * 1000
    line.says(256).pauses(4_000)
    assert line.of(Duck) == [Duck(True), Duck(False)]
    assert line.at(Duck)[1] - begun == pytest.approx(160 + 2_000, abs=FRAME_MS)
    assert line.of(Cancel) == []
    assert line.call.playing


def test_one_short_word_that_is_understood_after_it_was_said_still_ends_the_answer():
    line = answering().says(256).pauses(400)
    assert len(line.of(SpeechEnded)) == 1
    assert line.call.word() == [Cancel("word")]
    assert line.call.word() == [], "only once"


def test_a_word_that_was_said_before_the_answer_does_not_end_it():
    line = Line().says(500).pauses(500)
    line.call.play(True)
    assert line.call.word() == []


def test_a_duck_ends_with_the_answer():
    line = answering().says(192)
    assert line.call.play(False) == [Duck(False)]
    assert line.pauses(3_000).of(Duck) == [Duck(True)]


def test_asking_for_silence_ends_an_answer_and_nothing_else():
    assert answering().call.cancel() == [Cancel("asked")]
    assert Line().call.cancel() == []


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("sound"), st.floats(0, 1), st.integers(1, 40)),
        st.tuples(st.just("passes"), st.just(0), st.integers(1, 3_000)),
        st.tuples(st.sampled_from(["play", "stop", "word", "commit", "cancel"]), st.just(0), st.just(0)),
    ),
    max_size=40,
)


@given(ACTIONS)
def test_whatever_happens_turns_alternate_and_never_overlap_and_every_duck_ends(actions):
    line = Line(utterance_ms=2_000)
    for name, probability, n in actions:
        if name == "sound":
            line.sound(probability, n * FRAME_MS)
        elif name == "passes":
            line.passes(n)
        else:
            does = {"play": lambda: line.call.play(True), "stop": lambda: line.call.play(False)}.get(name) or getattr(line.call, name)
            line.signals += [(0, s) for s in does()]
    turns = [s for _, s in line.signals if isinstance(s, SpeechStarted | SpeechEnded)]
    assert [type(s) for s in turns] == [SpeechStarted, SpeechEnded] * (len(turns) // 2) + [SpeechStarted] * (len(turns) % 2)
    spans = [(s.from_ms, s.until_ms) for s in turns if isinstance(s, SpeechEnded)]
    assert all(begin < end for begin, end in spans)
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    ducks = [s.on for _, s in line.signals if isinstance(s, Duck)]
    assert all(on or (n and ducks[n - 1]) for n, on in enumerate(ducks)), "the voice comes back only where it was lowered"
    line.pauses(4_000)
    assert not line.call.speaking, "the caller's turn always comes to an end"
    assert line.of(Cancel) or line.of(Duck)[-1:] != [Duck(True)], "nothing stays quiet for good"
