"""Speech for those who listen: as the programs that speak make it."""

import shutil
import subprocess

import numpy as np
import pytest

from core.voice.containers import WAV_HEADER_BYTES


@pytest.fixture(scope="session", params=["flite"], ids=["leg=flite"])
def flite(tmp_path_factory):
    """Says a text with a voice: samples at 16 kHz, with a third of a second of silence on each side."""
    if shutil.which("flite") is None:
        pytest.skip("flite is not installed: scripts/setup installs it where it may")
    path = tmp_path_factory.mktemp("flite") / "said.wav"
    silence = np.zeros(4_800, np.int16)

    def says(text, voice="rms"):
        subprocess.run(["flite", "-voice", voice, "-t", text, "-o", str(path)], check=True, timeout=30)
        return np.concatenate([silence, np.frombuffer(path.read_bytes()[WAV_HEADER_BYTES:], np.int16), silence])

    return says
