"""How high a voice is, which says about how long the vocal tract is that made it."""

import numpy as np

from core.inference import Samples
from inference.audio import HEARD_RATE_HZ

FRAME, HOP = 1024, 512
"""In samples: 64 ms hold three periods of the deepest voice."""
LOWEST_HZ, HIGHEST_HZ = 70, 400
LOUD_SHARE, LOUD_PERCENTILE = 0.1, 95
"""A frame counts that has a tenth of the energy of the loud ones: the rest is pauses and the ends of words."""
VOICED = 0.5
"""So alike a frame must be to itself, one period later; a hiss is not."""
NEARER = 0.0005
"""What a longer period loses for each sample, so that two periods aren't taken for one."""
LONGEST = 8 * HEARD_RATE_HZ
"""More of a voice than this says nothing new."""


def pitch_hz(samples: Samples) -> float:
    """The median fundamental frequency of what is voiced in a recording, in Hz from 70 to 400; 0.0 where nothing is. samples: 16 kHz, mono.

    Source: Boersma, "Accurate short-term analysis of the fundamental frequency", 1993: the autocorrelation of a windowed frame divided by its window's.
    """
    if len(samples) < FRAME:
        return 0.0
    frames = np.lib.stride_tricks.sliding_window_view(samples[:LONGEST], FRAME)[::HOP].astype(np.float32)
    frames = frames - frames.mean(axis=1, keepdims=True)
    energy = (frames**2).sum(axis=1)
    frames = frames[(energy > LOUD_SHARE * np.percentile(energy, LOUD_PERCENTILE)) & (energy > 0)]
    window = np.hanning(FRAME).astype(np.float32)
    shortest, longest = HEARD_RATE_HZ // HIGHEST_HZ, HEARD_RATE_HZ // LOWEST_HZ
    alike = (_autocorrelation(frames * window) / _autocorrelation(window[None]))[:, shortest:longest] - NEARER * np.arange(longest - shortest)
    voiced = alike.max(axis=1, initial=0.0) > VOICED
    return float(np.median(HEARD_RATE_HZ / (shortest + alike[voiced].argmax(axis=1)))) if voiced.any() else 0.0


def _autocorrelation(frames: np.ndarray) -> np.ndarray:
    """Of each row with itself, for every lag; 1 at the lag of nothing."""
    spectrum = np.fft.rfft(frames, 2 * FRAME)
    found = np.fft.irfft(np.abs(spectrum) ** 2)[:, :FRAME]
    return np.asarray(found / found[:, :1])
