"""Speaking with espeak-ng: over a hundred languages, at once, and like a machine."""

import subprocess
from pathlib import Path

from core.voice.model import Voice
from inference.engine import EngineSettings
from inference.engines.speaking_program import SpeakingProgram

USUAL_WORDS_PER_MINUTE, SLOWEST, FASTEST = 175, 80, 450
FIRST = "en-us"
LIST_TIMEOUT_S = 10


class EspeakSpeech(SpeakingProgram):
    """The program `espeak-ng`. It is GPL-3.0: a program beside Hearth, never a library in it."""

    name, package = "espeak-ng", "espeak-ng"

    def __init__(self, settings: EngineSettings) -> None:
        """Asks the program which voices it has."""
        super().__init__()
        listed = subprocess.run([self.path, "--voices"], capture_output=True, text=True, timeout=LIST_TIMEOUT_S, check=True).stdout.splitlines()[1:]
        languages = dict.fromkeys(line.split()[1] for line in listed if len(line.split()) > 3)
        first = [FIRST] if FIRST in languages else []
        self.voices = tuple(Voice(name, name) for name in (*first, *sorted(languages.keys() - {FIRST})))

    def command(self, voice: str, speed: float, text: Path, sound: Path) -> list[str]:
        """As the base says."""
        words = round(min(FASTEST, max(SLOWEST, USUAL_WORDS_PER_MINUTE * speed)))
        return [self.path, "-v", voice, "-s", str(words), "-f", str(text), "-w", str(sound)]
