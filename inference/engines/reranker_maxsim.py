"""Reranking by late interaction over an encoder's token vectors: every word of the question looks for its nearest word in the passage.

Source: Khattab, Zaharia, "ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction over BERT", SIGIR 2020 (MaxSim), here with
the token vectors of a sentence encoder that was not trained for it.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch

from inference.engine import EngineSettings
from inference.engines.embeddings_transformers import load_encoder

BATCH_TEXTS = 16
MAX_TOKENS = 256
CACHE_BYTES = 64 << 20
"""Token vectors of passages seen lately; a passage of 700 characters takes about 250 KB."""


class MaxSimReranker:
    """score = the mean over the question's tokens of the best cosine with a passage token, in [-1, 1]."""

    def __init__(self, settings: EngineSettings) -> None:
        """Loads the encoder. Raises: OSError for files that aren't there."""
        self._model, self._tokenizer, self.device = load_encoder(settings)
        self._thread = ThreadPoolExecutor(1, "reranker")
        self._cache: OrderedDict[bytes, torch.Tensor] = OrderedDict()
        self._cached_bytes = 0

    async def rerank(self, query: str, documents: Sequence[str]) -> list[float]:
        """As the protocol says."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._score, query, list(documents))

    def _score(self, query: str, documents: list[str]) -> list[float]:
        return [float(near.mean()) if len(near) else -1.0 for near in self.nearest(query, documents)]

    def nearest(self, query: str, documents: Sequence[str]) -> list[torch.Tensor]:
        """For each document (Tq,): how near its nearest token is to each token of the question, a cosine; (0,) for a document without tokens."""
        wanted = self._encode([query])[0]  # (Tq, d)
        keys = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in documents]
        known = {key: self._cache[key] for key in keys if key in self._cache}
        missing = {key: text for key, text in zip(keys, documents, strict=True) if key not in known}
        by_length = sorted(missing.items(), key=lambda item: len(item[1]))
        for start in range(0, len(by_length), BATCH_TEXTS):
            batch = by_length[start : start + BATCH_TEXTS]
            for (key, _), tokens in zip(batch, self._encode([text for _, text in batch]), strict=True):
                known[key] = tokens
                self._keep(key, tokens)
        return [(wanted @ known[key].T).max(dim=1).values if len(known[key]) else torch.zeros(0) for key in keys]

    def token_ids(self, text: str) -> list[int]:
        """The numbers of a text's tokens in the vocabulary, in the order of their vectors."""
        return list(self._tokenizer(text, truncation=True, max_length=MAX_TOKENS)["input_ids"][1:-1])

    def _encode(self, texts: list[str]) -> list[torch.Tensor]:
        """The unit vectors of each text's tokens, (T, d), without the special tokens at both ends."""
        encoded = self._tokenizer(texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt").to(self.device)
        with torch.inference_mode():
            hidden = torch.nn.functional.normalize(self._model(**encoded).last_hidden_state.float(), dim=2).cpu()
        lengths = encoded["attention_mask"].sum(1).tolist()
        return [hidden[n, 1 : length - 1].clone() if length > 2 else hidden[n, :length].clone() for n, length in enumerate(lengths)]

    def _keep(self, key: bytes, tokens: torch.Tensor) -> None:
        self._cache[key] = tokens
        self._cached_bytes += tokens.nbytes
        while self._cached_bytes > CACHE_BYTES:
            _, oldest = self._cache.popitem(last=False)
            self._cached_bytes -= oldest.nbytes

    async def close(self) -> None:
        """As the protocol says."""
        self._thread.shutdown(wait=True)
        self._cache.clear()
        del self._model
