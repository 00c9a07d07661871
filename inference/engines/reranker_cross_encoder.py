"""Reranking by a cross-encoder: question and passage go through the network together, so that it can tell an answer from a mention of the topic. No torch.

Source: Nogueira, Cho, "Passage Re-ranking with BERT", 2019, https://arxiv.org/abs/1901.04085; networks of this kind are trained on the judged questions of
MS MARCO (Bajaj et al., "MS MARCO: A Human Generated MAchine Reading COmprehension Dataset", 2016, https://arxiv.org/abs/1611.09268).
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from inference.engine import EngineSettings

WINDOW_TOKENS = 512
"""What BERT has places for: question, passage, and three tokens around them."""
QUESTION_TOKENS = 128
"""A longer question is cut: whatever it takes of the window is missing for the passage."""


class CrossEncoder:
    """score = the network's logit: that of "this passage answers the question" against "it doesn't"; unbounded, of the MS MARCO networks about -11 to 11.

    Not its sigmoid, which is all but 0 or 1 for most pairs: sums, margins and thresholds would no longer tell them apart.
    """

    device = "cpu"

    def __init__(self, settings: EngineSettings) -> None:
        """Loads model.onnx and tokenizer.json. Raises: OSError for files that aren't there or that can't be read."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = settings.threads, 1
        model, words = (settings.folder / name for name in ("model.onnx", "tokenizer.json"))
        for path in (model, words):
            if not path.is_file():
                raise OSError(f"{path.name} is missing")
        try:
            self._tokenizer = Tokenizer.from_file(str(words))
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # neither library has a class of its own for it
            raise OSError(f"{model.name} or {words.name} can't be read: {error}") from error
        self._window = min(settings.max_context_tokens, WINDOW_TOKENS)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._window)  # of the longer part, which is the passage: the question is cut before
        self._inputs = {one.name for one in self._session.get_inputs()}
        self._thread = ThreadPoolExecutor(1, "reranker")

    async def rerank(self, query: str, documents: Sequence[str]) -> list[float]:
        """As the protocol says."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._scores, query, list(documents))

    def _scores(self, query: str, documents: list[str]) -> list[float]:
        """Each pair by itself, because a batch is worse twice over where the weights are 8-bit integers.

        Its activations share one scale, so that a score depends on the passages beside it (by up to 0.5 in batches of 16). And it takes 1.6 to 3 times the
        CPU time, measured with onnxruntime 1.32 on one core with AVX-512 and AMX.
        """
        question = self._cut(query)
        return [self._score(self._tokenizer.encode(question, text)) for text in documents]

    def _score(self, pair: Any) -> float:
        """pair: an encoding of T tokens; what the network is given is (1, T)."""
        given = {"input_ids": pair.ids, "attention_mask": pair.attention_mask, "token_type_ids": pair.type_ids}
        (logits,) = self._session.run(None, {name: np.array([given[name]], np.int64) for name in self._inputs})  # (1, 1)
        return float(logits[0, 0])

    def _cut(self, query: str) -> str:
        """The question's first QUESTION_TOKENS, at most a quarter of the window."""
        offsets = self._tokenizer.encode(query, add_special_tokens=False).offsets
        most = min(QUESTION_TOKENS, self._window // 4)
        return query if len(offsets) <= most else query[: offsets[most - 1][1]]

    async def close(self) -> None:
        """As the protocol says."""
        self._thread.shutdown(wait=True)
        del self._session
