"""Speaking with Kokoro on onnxruntime: a small neural voice that a CPU keeps up with. Its phonemiser is GPL, so it is an extra of its own."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import numpy as np
from kokoro_onnx import Kokoro

from core.errors import BadInput
from core.inference import Samples
from core.voice.model import Voice
from inference.engine import EngineSettings

LANGUAGES = {"a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "j": "ja", "p": "pt-br", "z": "cmn"}
"""A voice's name begins with the letter of its language."""
SLOWEST, FASTEST = 0.5, 2.0
USUAL = "af_heart"


class KokoroSpeech:
    """A folder with one .onnx and one file of voices (voices*.bin, numpy's own format)."""

    def __init__(self, settings: EngineSettings) -> None:
        """Loads the model. Raises: OSError for files that aren't there."""
        models, voices = sorted(settings.folder.glob("*.onnx")), sorted(settings.folder.glob("voices*"))
        if not models or not voices:
            raise OSError("a model (.onnx) or its voices (voices*.bin) are missing")
        self._model = Kokoro(str(models[0]), str(voices[0]))
        names = sorted(self._model.get_voices(), key=lambda name: (name != USUAL, name))
        self.voices = tuple(Voice(name, LANGUAGES.get(name[:1], "en-us")) for name in names)

    async def speak(self, text: str, voice: str, speed: float) -> AsyncIterator[tuple[Samples, int]]:
        """As the protocol says; speeds beyond what it can do are the nearest that it can."""
        chosen = next((v for v in self.voices if v.id == (voice or self.voices[0].id)), None)
        if chosen is None:
            raise BadInput(f"There is no voice {voice[:40]!r}.", hint=f"There are {', '.join(v.id for v in self.voices[:8])}.")
        pieces = self._model.create_stream(text, voice=chosen.id, speed=min(FASTEST, max(SLOWEST, speed)), lang=chosen.language)
        async with aclosing(pieces):
            async for sound, rate_hz in pieces:
                yield (np.clip(sound, -1, 1) * 32767).astype(np.int16), rate_hz

    async def close(self) -> None:
        """As the protocol says."""
        del self._model
