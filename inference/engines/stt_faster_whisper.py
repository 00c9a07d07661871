"""Listening with Whisper on CTranslate2: the choice for a CPU, and for several at once on a GPU."""

import asyncio
import threading

import numpy as np
from faster_whisper import WhisperModel

from core.errors import BadInput
from core.inference import Samples
from inference.engine import EngineSettings, Heard


class FasterWhisperTranscriber:
    """A converted Whisper model."""

    def __init__(self, settings: EngineSettings) -> None:
        """Loads the model. Raises: RuntimeError, OSError for files that don't fit."""
        # `auto` takes a GPU where there is one, and the numbers that the processor is quickest with: 8-bit on most CPUs.
        self._model = WhisperModel(str(settings.folder), device="auto", compute_type="auto", cpu_threads=settings.threads, local_files_only=True)
        self.device: str = self._model.model.device

    async def transcribe(self, samples: Samples, language: str, *, goes_on: bool = False) -> Heard:
        """As the protocol says; a cancelled one ends after the window of 30 s it is in."""
        left = threading.Event()
        try:
            return await asyncio.to_thread(self._transcribe, samples, language.partition("-")[0].lower(), left)
        finally:
            left.set()

    def _transcribe(self, samples: Samples, language: str, left: threading.Event) -> Heard:
        if language and language not in self._model.supported_languages:
            known = ", ".join(self._model.supported_languages[:8])
            raise BadInput(f"This model doesn't hear {language}.", hint=f"It hears {known}; leave the language out and it is guessed.")
        # One beam: five cost more than twice the time for a word in a hundred. What was heard before must not be repeated into silence.
        segments, info = self._model.transcribe(
            samples.astype(np.float32) / 32768,
            language=language or None,
            beam_size=1,
            without_timestamps=True,
            condition_on_previous_text=False,
        )
        texts = []
        for segment in segments:
            if left.is_set():
                break
            texts.append(segment.text.strip())
        return Heard(" ".join(texts), info.language)

    async def close(self) -> None:
        """As the protocol says."""
        del self._model
