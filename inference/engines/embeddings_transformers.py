"""Sentence embeddings with plain transformers: the pooling and normalisation the model's own files name."""

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from core.inference import Vectors
from inference.device import best_device
from inference.engine import EngineSettings

BATCH_TEXTS = 32


class TransformersEmbeddings:
    """A BERT-like encoder. Texts are batched by length; those longer than the model's window are cut to it."""

    def __init__(self, settings: EngineSettings) -> None:
        """Loads the model. Raises: OSError for files that aren't there."""
        self._model, self._tokenizer, self.device = load_encoder(settings)
        self._max_tokens = _read(settings.folder / "sentence_bert_config.json").get("max_seq_length") or settings.max_context_tokens
        pooling = _read(settings.folder / "1_Pooling" / "config.json")
        self._cls = bool(pooling.get("pooling_mode_cls_token"))
        self._thread = ThreadPoolExecutor(1, "embeddings")

    async def embed(self, texts: Sequence[str], kind: Literal["query", "document"]) -> Vectors:
        """As the protocol says; batches of other requests may come between two of ours."""
        order = sorted(range(len(texts)), key=lambda n: len(texts[n]))
        rows: list[Any] = [None] * len(texts)
        for start in range(0, len(order), BATCH_TEXTS):
            batch = order[start : start + BATCH_TEXTS]
            vectors = await asyncio.get_running_loop().run_in_executor(self._thread, self._embed, [texts[n] for n in batch])
            for place, vector in zip(batch, vectors, strict=True):
                rows[place] = vector
        return np.stack(rows)

    def _embed(self, texts: list[str]) -> Vectors:
        """texts: at most BATCH_TEXTS.   Returns (n, d)."""
        encoded = self._tokenizer(texts, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            hidden = self._model(**encoded).last_hidden_state  # (B, T, d)
        if self._cls:
            pooled = hidden[:, 0]
        else:
            mask = encoded["attention_mask"].unsqueeze(-1).to(hidden.dtype)  # (B, T, 1)
            pooled = (hidden * mask).sum(1) / mask.sum(1)
        return np.asarray(torch.nn.functional.normalize(pooled.float(), dim=1).cpu().numpy(), np.float32)

    async def close(self) -> None:
        """As the protocol says."""
        self._thread.shutdown(wait=True)
        del self._model


def load_encoder(settings: EngineSettings) -> tuple[Any, Any, str]:
    """(model, tokenizer, device) of an encoder folder: safetensors only, never its own code."""
    torch.set_num_threads(settings.threads)
    device = best_device()
    tokenizer = AutoTokenizer.from_pretrained(settings.folder)
    model = AutoModel.from_pretrained(settings.folder, use_safetensors=True, dtype=getattr(torch, device.dtype)).to(device.name).eval()
    return model, tokenizer, device.name


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}
