"""Speaking with flite: small, quick, English."""

from pathlib import Path

from core.voice.model import Voice
from inference.engine import EngineSettings
from inference.engines.speaking_program import SpeakingProgram


class FliteSpeech(SpeakingProgram):
    """The program `flite`."""

    name, package = "flite", "flite"
    voices = (Voice("slt", "en-US"), Voice("rms", "en-US"), Voice("awb", "en-GB"), Voice("kal16", "en-US", "The oldest."))

    def __init__(self, settings: EngineSettings) -> None:
        """Needs nothing of the settings."""
        super().__init__()

    def command(self, voice: str, speed: float, text: Path, sound: Path) -> list[str]:
        """As the base says."""
        return [self.path, "-voice", voice, "--setf", f"duration_stretch={1 / speed:.3f}", "-f", str(text), "-o", str(sound)]
