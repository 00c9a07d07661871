"""Engines without weights: deterministic, fast, and reachable by settings. They stand in for models in tests and benchmarks.

The answers mean nothing; the vectors do a little: texts that share words are near.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Sequence
from typing import Literal

import numpy as np

from core.inference import Done, Message, TextDelta, Usage, Vectors
from core.rag.words import content_words, stem, stems
from inference.engine import ChatRequest, EngineSettings

DIMENSIONS = 384
WORDS_PER_VECTOR = 4
_STUB = re.compile(r"\[tokens=(\d+)(?: rate=([0-9.]+))?(?: ttft=([0-9.]+))?[^\]]*\]")


class EchoChat:
    """Says the last message back, word by word. With passages in the prompt it cites the first.

    `[tokens=N rate=R ttft=S]` in the message makes it a pacemaker: N tokens `t<i>:<monotonic ns> `, R a second (0: as fast as possible), after S seconds.
    """

    def __init__(self, settings: EngineSettings) -> None:
        """Needs nothing of the settings."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[TextDelta | Done]:
        """As the protocol says."""
        last = next((m.content for m in reversed(request.messages) if m.role == "user"), "")
        count = 0
        if match := _STUB.search(last):
            async for piece in _paced(int(match[1]), float(match[2] or 0), float(match[3] or 0)):
                count += 1
                yield piece
        else:
            for word in re.findall(r"\S+\s*", _answer(last))[: request.max_tokens]:
                count += 1
                yield TextDelta(word)
                await asyncio.sleep(0)
        yield Done(Usage(await self.count_prompt(request.messages), count))

    async def count(self, texts: Sequence[str]) -> list[int]:
        """Words."""
        return [len(text.split()) for text in texts]

    async def count_prompt(self, messages: Sequence[Message]) -> int:
        """Words."""
        return sum(await self.count([m.content for m in messages]))

    async def close(self) -> None:
        """As the protocol says."""


def _answer(message: str) -> str:
    question = message.rpartition("Question: ")[2]
    cited = " [1]" if "<passage number=1" in message else ""
    return f"You said: {question}{cited}"


async def _paced(tokens: int, rate_hz: float, first_s: float) -> AsyncIterator[TextDelta]:
    await asyncio.sleep(first_s)
    begun = time.monotonic()
    for n in range(tokens):
        if rate_hz:
            await asyncio.sleep(max(0.0, begun + n / rate_hz - time.monotonic()))
        yield TextDelta(f"t{n}:{time.monotonic_ns()} ")


class EchoEmbeddings:
    """A bag of hashed words: each stem adds to a few fixed places, with a fixed sign. Source: Weinberger et al., "Feature Hashing", ICML 2009."""

    def __init__(self, settings: EngineSettings) -> None:
        """Needs nothing of the settings."""

    async def embed(self, texts: Sequence[str], kind: Literal["query", "document"]) -> Vectors:
        """As the protocol says."""
        return np.stack([_bag(text) for text in texts])

    async def close(self) -> None:
        """As the protocol says."""


def _bag(text: str) -> Vectors:
    vector = np.zeros(DIMENSIONS, np.float32)
    # Python's own hash is salted per process; this one gives the same vector everywhere.
    for word in [stem(w) for w in content_words(text)] or ["\0" + text]:
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4 * WORDS_PER_VECTOR).digest()
        for n in range(WORDS_PER_VECTOR):
            number = int.from_bytes(digest[4 * n : 4 * n + 4], "big")
            vector[number % DIMENSIONS] += 1.0 if number & (1 << 31) else -1.0
    length = np.linalg.norm(vector)
    if length == 0:
        vector[0], length = 1.0, np.float32(1)
    return np.asarray(vector / length, np.float32)


class EchoReranker:
    """The share of the question's words that stand in the passage, 0 to 1."""

    def __init__(self, settings: EngineSettings) -> None:
        """Needs nothing of the settings."""

    async def rerank(self, query: str, documents: Sequence[str]) -> list[float]:
        """As the protocol says."""
        wanted = stems(query)
        return [len(wanted & stems(text)) / len(wanted) if wanted else 0.0 for text in documents]

    async def close(self) -> None:
        """As the protocol says."""
