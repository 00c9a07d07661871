"""How high a voice is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from speech import SENTENCES

from inference.audio import HEARD_RATE_HZ
from inference.engines.stt_pocketsphinx import LEAST_WARP, MOST_WARP, warp_of
from inference.pitch import pitch_hz

AT = np.arange(HEARD_RATE_HZ) / HEARD_RATE_HZ


def buzz(hz, loud=4000):
    """As the vocal cords make it: every multiple of a frequency, the higher the weaker."""
    return (loud * sum(np.sin(2 * np.pi * hz * n * AT) / n for n in range(1, 8))).astype(np.int16)


@given(hz=st.floats(80, 380), loud=st.sampled_from([40, 400, 4000]))
def test_the_pitch_of_a_buzz_is_found_however_loud_it_is(hz, loud):
    assert pitch_hz(buzz(hz, loud)) == pytest.approx(hz, rel=0.03)


def test_a_pause_does_not_change_the_pitch():
    assert pitch_hz(np.concatenate([np.zeros(3 * HEARD_RATE_HZ, np.int16), buzz(200)])) == pytest.approx(200, rel=0.03)


@pytest.mark.parametrize("nothing", [np.zeros(HEARD_RATE_HZ, np.int16), np.zeros(0, np.int16), np.zeros(1023, np.int16)])
def test_silence_has_no_pitch(nothing):
    assert pitch_hz(nothing) == 0.0


def test_a_hiss_has_no_pitch():
    assert pitch_hz(np.random.default_rng(1).normal(0, 3000, HEARD_RATE_HZ).astype(np.int16)) == 0.0


@pytest.mark.parametrize(("voice", "hz"), [("rms", 102), ("slt", 171)])
def test_the_pitch_of_a_voice_hardly_depends_on_what_it_says(flite, voice, hz):
    assert [pitch_hz(flite(text, voice)) for text in SENTENCES] == pytest.approx([hz] * len(SENTENCES), rel=0.07)


@given(hz=st.floats(0, 400))
def test_a_voice_is_warped_within_limits_and_the_more_the_higher_it_is(hz):
    assert LEAST_WARP <= warp_of(hz) <= MOST_WARP
    assert warp_of(hz) <= warp_of(hz + 10) or not hz


def test_a_voice_whose_pitch_is_not_known_stays_as_it_is():
    assert warp_of(0.0) == 1.0
