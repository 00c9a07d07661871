"""What tests say into a browser's microphone: tones that the echo models understand, or speech made by flite (espeak's is no speech to a recogniser);
and how much of what was said was heard."""

import re
import shutil
import subprocess
import wave

import numpy as np

from inference.echo import TONES_RATE_HZ, tones

MICROPHONE_HZ = 48_000
SENTENCES = """how long are the backups kept
please open the window in the kitchen
the quick brown fox jumps over the lazy dog
what is the weather like in london today
turn off the lights in the living room
my sister bought three books yesterday
the meeting starts at nine in the morning
can you tell me where the station is
we need more milk and bread for breakfast
the children are playing in the garden""".splitlines()
"""Ordinary ones, 75 words, which the calibration of PocketSphinx did not hear."""


def resampled(samples, rate_hz, to_hz):
    """The same sound at another rate; good enough for what is said slowly."""
    at = np.arange(len(samples) * to_hz // rate_hz) * rate_hz / to_hz
    return np.interp(at, np.arange(len(samples)), samples).astype(np.int16)


def in_tones(text):
    return resampled(tones(text), TONES_RATE_HZ, MICROPHONE_HZ)


def flite(text, folder, voice="rms"):
    """A sentence without silence around it, half as loud as flite, or gain control would clip it. None without flite."""
    if shutil.which("flite") is None:
        return None
    path = folder / "said.wav"
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True, timeout=30)
    with wave.open(str(path)) as file:
        samples, rate_hz = np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate()
    loud = np.flatnonzero(np.abs(samples.astype(int)) > 300)
    return resampled(samples[loud[0] : loud[-1] + 1], rate_hz, MICROPHONE_HZ) // 2


def microphone(path, *parts):
    """Writes what a microphone hears: seconds of silence, and samples at MICROPHONE_HZ."""
    pieces = [np.zeros(int(part * MICROPHONE_HZ), np.int16) if isinstance(part, float) else part for part in parts]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(MICROPHONE_HZ)
        file.writeframes(np.concatenate(pieces).astype("<i2").tobytes())
    return path


def words(text):
    """The words of a text, as they sound alike."""
    return re.findall(r"[a-z']+", text.lower())


def word_errors(said, heard):
    """The fewest words to change, leave out or add. said, heard: lists of words. Source: Levenshtein, 1966."""
    row = list(range(len(heard) + 1))
    for n, word in enumerate(said, 1):
        before, row[0] = row[0], n
        for m, other in enumerate(heard, 1):
            before, row[m] = row[m], min(row[m] + 1, row[m - 1] + 1, before + (word != other))
    return row[-1]
