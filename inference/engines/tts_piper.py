"""Speaking with Piper's voices on onnxruntime. The software is GPL-3.0-or-later, so it is an extra of its own."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
from piper import PiperVoice, SynthesisConfig

from core.errors import BadInput
from core.inference import Samples
from core.voice.model import Voice
from inference.engine import EngineSettings


class PiperSpeech:
    """A folder with one voice: name.onnx and name.onnx.json; one with several speakers has a voice for each."""

    def __init__(self, settings: EngineSettings) -> None:
        """Loads the voice. Raises: OSError for files that aren't there."""
        models = sorted(settings.folder.rglob("*.onnx"))
        if not models:
            raise OSError("there is no voice (.onnx) in the folder")
        self._voice = PiperVoice.load(models[0])
        language = self._voice.config.espeak_voice
        speakers = self._voice.config.speaker_id_map or {models[0].stem: None}
        self._speakers: dict[str, Any] = dict(speakers)
        self.voices = tuple(Voice(name, language) for name in speakers)

    async def speak(self, text: str, voice: str, speed: float) -> AsyncIterator[tuple[Samples, int]]:
        """As the protocol says; a sentence at a time."""
        chosen = voice or self.voices[0].id
        if chosen not in self._speakers:
            raise BadInput(f"There is no voice {chosen[:40]!r}.", hint=f"There are {', '.join(list(self._speakers)[:8])}.")
        how = SynthesisConfig(speaker_id=self._speakers[chosen], length_scale=self._voice.config.length_scale / speed)
        sentences: Iterator[Any] = iter(self._voice.synthesize(text, how))
        while (sentence := await asyncio.to_thread(next, sentences, None)) is not None:
            yield (np.clip(sentence.audio_float_array, -1, 1) * 32767).astype(np.int16), sentence.sample_rate

    async def close(self) -> None:
        """As the protocol says."""
        del self._voice
