"""Listening with Whisper on transformers: the choice for a GPU, and for a model in safetensors."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from transformers import WhisperForConditionalGeneration, WhisperProcessor

from core.errors import BadInput
from core.inference import Samples
from inference.audio import HEARD_RATE_HZ
from inference.device import best_device
from inference.engine import EngineSettings, Heard

WINDOW_S = 30
SEARCHED_S = 5
"""A window ends at the quietest place of its last seconds, so that no word is cut."""
QUIET_S = 0.1


class TransformersTranscriber:
    """A Whisper model; recordings longer than its window are heard window by window."""

    def __init__(self, settings: EngineSettings) -> None:
        """Loads the model. Raises: OSError, ValueError for files that don't fit."""
        torch.set_num_threads(settings.threads)
        device = best_device()
        self._processor: Any = WhisperProcessor.from_pretrained(settings.folder)
        dtype = getattr(torch, device.dtype)
        model = WhisperForConditionalGeneration.from_pretrained(settings.folder, use_safetensors=True, dtype=dtype)
        self._model: Any = model.to(device.name).eval()
        self.device = device.name
        self._languages = {token.strip("<|>") for token in getattr(self._model.generation_config, "lang_to_id", None) or {}}
        self._thread = ThreadPoolExecutor(1, "whisper")

    async def transcribe(self, samples: Samples, language: str, *, goes_on: bool = False) -> Heard:
        """As the protocol says; a cancelled one ends after the window it is in."""
        named = language.partition("-")[0].lower()
        if named and self._languages and named not in self._languages:
            known = ", ".join(sorted(self._languages)[:8])
            raise BadInput(f"This model doesn't hear {language}.", hint=f"It hears {known}; leave the language out and it is guessed.")
        loop = asyncio.get_running_loop()
        texts = [await loop.run_in_executor(self._thread, self._window, window, named) for window in windows(samples)]
        return Heard(" ".join(filter(None, texts)), named)

    def _window(self, samples: Samples, language: str) -> str:
        """samples: at most WINDOW_S."""
        sound = self._processor(samples.astype(np.float32) / 32768, sampling_rate=HEARD_RATE_HZ, return_tensors="pt", return_attention_mask=True)
        sound = sound.to(self._model.device, self._model.dtype)
        how = {"language": language or None, "task": "transcribe"} if self._languages else {}
        with torch.inference_mode():
            tokens = self._model.generate(**sound, **how)
        return str(self._processor.batch_decode(tokens, skip_special_tokens=True)[0]).strip()

    async def close(self) -> None:
        """As the protocol says."""
        self._thread.shutdown(wait=True)
        del self._model


def windows(samples: Samples) -> list[Samples]:
    """The sound in pieces of at most WINDOW_S seconds that together are the whole, cut where it is quietest."""
    pieces, size, quiet = [], WINDOW_S * HEARD_RATE_HZ, round(QUIET_S * HEARD_RATE_HZ)
    while len(samples) > size:
        searched = samples[size - SEARCHED_S * HEARD_RATE_HZ : size].astype(np.float32)
        levels = np.square(searched).reshape(-1, quiet).sum(axis=1)
        cut = size - len(searched) + int(levels.argmin()) * quiet + quiet // 2
        pieces.append(samples[:cut])
        samples = samples[cut:]
    return [*pieces, samples]
