"""The turn machine under a clock of its own. One frame of the microphone is 32 ms."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.voice.call import FRAME_MS, RULES, Cancel, Dropped, Duck, FinalWanted, PartialWanted, SpeechStarted, State, TurnEnded, TurnMachine

SPEECH, SILENCE = 0.9, 0.05


class Call:
    """A machine whose clock goes with its frames, and everything it wanted."""

    def __init__(self):
        self.now = 0.0
        self.machine = TurnMachine(lambda: self.now)
        self.effects = []

    def hear(self, ms, probability=SPEECH):
        begun = len(self.effects)
        for _ in range(ms // FRAME_MS):
            self.now += FRAME_MS / 1000
            self.effects += self.machine.hear(probability)
        return self.effects[begun:]

    def silence(self, ms):
        return self.hear(ms, SILENCE)

    def asked(self):
        """A question has been asked and its answer is being made."""
        self.silence(640)
        self.hear(1600)
        self.silence(352)
        self.machine.thinking()
        self.effects.clear()
        return self

    def playing(self, for_ms=2000):
        """Its answer has been heard for so long."""
        self.asked()
        self.machine.playing()
        self.silence(for_ms)
        self.effects.clear()
        return self


def kinds(effects):
    return [type(e) for e in effects]


def only(effects, kind):
    return [e for e in effects if type(e) is kind]


def test_an_utterance_begins_with_what_came_just_before_it():
    call = Call()
    assert call.silence(640) == []
    (started,) = call.hear(64)
    assert started == SpeechStarted(20 - 10)
    assert call.machine.needed_from == 10


def test_before_anything_is_said_only_the_pre_roll_is_needed():
    call = Call()
    call.silence(10_240)
    needed = call.machine.needed_from
    assert needed == 319 - 10
    (started,) = call.hear(64)
    assert started.first >= needed


def test_the_turn_ends_after_288_ms_of_silence_and_its_text_is_asked_for_before():
    call = Call()
    call.silence(640)
    call.hear(960)
    assert only(call.silence(256), TurnEnded) == []
    assert call.silence(32) == [TurnEnded(10, 50)]
    assert only(call.effects, FinalWanted) == [FinalWanted(10, 50)]
    assert call.machine.state is State.LISTENING


@pytest.mark.parametrize("pause_ms", [32, 96, 128, 224, 250, 256])
def test_a_pause_inside_a_sentence_never_ends_the_turn(pause_ms):
    call = Call()
    call.hear(960)
    call.silence(pause_ms)
    call.hear(960)
    assert only(call.effects, TurnEnded) == []
    call.silence(320)
    (ended,) = only(call.effects, TurnEnded)
    assert (ended.first, ended.last) == (0, only(call.effects, FinalWanted)[-1].last)


def test_a_final_that_was_asked_for_too_early_is_asked_for_again():
    call = Call()
    call.hear(960)
    call.silence(192)
    call.hear(480)
    call.silence(320)
    finals = only(call.effects, FinalWanted)
    assert len(finals) == 2
    assert finals[0].first == finals[1].first
    assert finals[0].last < finals[1].last


def test_partials_come_soon_and_then_now_and_then():
    call = Call()
    call.hear(3200)
    lasts = [e.last for e in only(call.effects, PartialWanted)]
    assert lasts[0] * FRAME_MS <= 320
    assert {b - a for a, b in pairwise(lasts)} == {10}


def test_quiet_speech_does_not_break_an_utterance_but_does_not_begin_one_either():
    call = Call()
    assert call.hear(640, 0.45) == []
    call.hear(320)
    call.hear(640, 0.45)
    assert only(call.effects, TurnEnded) == []


def test_one_loud_frame_is_nothing_and_a_click_is_dropped():
    call = Call()
    assert call.hear(32) == []
    call.silence(320)
    call.hear(96)
    assert kinds(call.silence(320)) == [Dropped]
    assert call.machine.state is State.LISTENING


def test_an_endless_utterance_is_ended():
    call = Call()
    call.hear(RULES.longest_ms)
    (ended,) = only(call.effects, TurnEnded)
    assert ended.capped
    assert (ended.last + 1) * FRAME_MS == RULES.longest_ms


def test_the_states_of_a_whole_turn_are_shown_in_their_order():
    call = Call()
    seen = [call.machine.state]
    call.hear(320)
    seen.append(call.machine.state)
    call.silence(320)
    call.machine.thinking()
    seen.append(call.machine.state)
    call.machine.playing()
    seen.append(call.machine.state)
    call.machine.answered()
    seen.append(call.machine.state)
    assert seen == [State.LISTENING, State.HEARING, State.THINKING, State.SPEAKING, State.LISTENING]


def test_speech_into_an_answer_lowers_it_at_once_and_cancels_it_after_400_ms():
    call = Call().playing()
    call.hear(64)
    assert kinds(call.effects) == [SpeechStarted, Duck]
    call.hear(320)
    assert Cancel not in kinds(call.effects)
    call.hear(32)
    assert kinds(call.effects)[-1] is Cancel
    call.silence(320)
    assert kinds(call.effects)[-1] is TurnEnded


def test_a_recognised_word_cancels_at_once_even_in_the_first_second():
    call = Call().playing(for_ms=96)
    call.hear(192)
    assert call.machine.word() == [Cancel()]
    assert call.machine.state is State.HEARING
    call.silence(320)
    assert kinds(call.effects)[-1] is TurnEnded


def test_sound_alone_never_cancels_in_the_first_second_of_playback():
    call = Call().playing(for_ms=96)
    call.hear(832)
    assert Cancel not in kinds(call.effects)
    call.hear(128)
    assert Cancel in kinds(call.effects)


def test_a_cough_lowers_the_answer_and_it_goes_on_when_nothing_was_said():
    call = Call().playing()
    call.hear(256)
    call.silence(352)
    assert TurnEnded not in kinds(call.effects)
    assert call.machine.state is State.SPEAKING
    assert kinds(call.machine.nothing_said()) == [Dropped, Duck]
    assert call.machine.state is State.SPEAKING


def test_a_cough_whose_text_never_comes_does_not_lower_the_answer_for_longer_than_two_seconds():
    call = Call().playing()
    call.hear(256)
    call.silence(2016)
    assert call.effects[-1] == Duck(on=False)
    assert call.machine.nothing_said() == []


def test_it_goes_on_without_frames_too():
    call = Call().playing()
    call.hear(256)
    call.silence(352)
    call.now += 2
    assert call.machine.tick()[-1] == Duck(on=False)


def test_a_short_word_into_an_answer_becomes_a_turn_when_its_text_comes():
    call = Call().playing()
    call.hear(320)
    call.silence(352)
    assert kinds(call.machine.word()) == [Cancel, TurnEnded]


def test_two_bursts_into_an_answer_are_one_interruption():
    call = Call().playing()
    call.hear(256)
    call.silence(352)
    call.hear(256)
    call.silence(352)
    assert kinds(call.effects).count(SpeechStarted) == 1
    first, second = only(call.effects, FinalWanted)
    assert first.first == second.first
    assert kinds(call.machine.word()) == [Cancel, TurnEnded]


def test_an_answer_that_ends_during_an_interruption_leaves_an_ordinary_turn():
    call = Call().playing()
    call.hear(256)
    assert call.machine.answered() == [Duck(on=False)]
    call.silence(320)
    assert kinds(call.effects)[-1] is TurnEnded
    assert Cancel not in kinds(call.effects)


def test_an_answer_that_ends_while_an_interruption_waits_for_its_text_leaves_a_turn():
    call = Call().playing()
    call.hear(256)
    call.silence(352)
    assert kinds(call.machine.answered()) == [Duck, TurnEnded]


def test_speech_before_the_first_sound_cancels_too():
    call = Call().asked()
    call.hear(416)
    assert Duck not in kinds(call.effects)
    assert kinds(call.effects)[-1] is Cancel


def test_a_released_key_ends_the_turn_at_once():
    call = Call()
    call.hear(640)
    final, ended = call.machine.commit()
    assert (type(final), type(ended)) == (FinalWanted, TurnEnded)
    assert (final.first, final.last) == (ended.first, ended.last)
    assert call.machine.commit() == []


def test_the_stop_button_cancels_and_gives_the_microphone_back():
    call = Call().playing()
    assert call.machine.cancel() == [Cancel()]
    assert call.machine.state is State.LISTENING
    assert call.machine.cancel() == []


def test_muting_forgets_what_was_begun_and_gives_the_answer_its_voice_back():
    call = Call().playing()
    call.hear(256)
    assert kinds(call.machine.mute()) == [Dropped, Duck]
    assert call.machine.state is State.SPEAKING


STEPS = st.one_of(
    st.tuples(st.sampled_from(["hear"]), st.floats(0, 1), st.integers(1, 30)),
    st.tuples(st.sampled_from(["word", "nothing_said", "commit", "mute", "thinking", "playing", "answered", "cancel", "tick"]), st.just(0.0), st.just(1)),
)


@given(st.lists(STEPS, max_size=60))
def test_whatever_happens_utterances_are_whole_and_the_microphone_comes_back(steps):
    call, effects = Call(), []
    needed = 0
    for name, probability, times in steps:
        for _ in range(times):
            needed = max(needed, call.machine.needed_from)
            call.now += FRAME_MS / 1000 if name == "hear" else 0.3
            wanted = call.machine.hear(probability) if name == "hear" else getattr(call.machine, name)()
            assert all(e.first >= needed for e in wanted if hasattr(e, "first")), "a frame is wanted that may have been forgotten"
            effects += wanted
    effects += call.machine.answered()
    for _ in range(30):
        call.now += FRAME_MS / 1000
        effects += call.machine.hear(SILENCE)
    assert call.machine.state is State.LISTENING
    open_first, asked, ducked = None, None, False
    for effect in effects:
        match effect:
            case SpeechStarted(first):
                assert open_first is None
                open_first, asked = first, None
            case FinalWanted(first, last):
                assert first == open_first <= last
                asked = last
            case PartialWanted(first, last):
                assert first == open_first <= last
            case TurnEnded(first, last, _):
                assert (first, last) == (open_first, asked)
                open_first = None
            case Dropped(first):
                assert first == open_first
                open_first = None
            case Duck(on):
                assert on is not ducked
                ducked = on
            case Cancel():
                ducked = False
    assert open_first is None
