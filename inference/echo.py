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

from core.errors import BadInput
from core.inference import Done, Message, Samples, TextDelta, Usage, Vectors
from core.rag.words import content_words, stem, stems
from core.voice.model import Voice
from inference.engine import ChatRequest, EngineSettings, Heard

WORDS_PER_VECTOR = 4
TONES_RATE_HZ, TONE_SAMPLES = 16_000, 320
LOWEST_HZ, STEP_HZ = 400, 150
"""Of the tones: far enough apart to be told from each other in 20 ms, and below what a codec for speech throws away."""
_RATE = re.compile(r"\brate=([0-9.]+)")
_SLOW = re.compile(r"\[slow=([0-9.]+)\]")
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

    DIMENSIONS = 384

    def __init__(self, settings: EngineSettings) -> None:
        """Needs nothing of the settings."""

    async def embed(self, texts: Sequence[str], kind: Literal["query", "document"]) -> Vectors:
        """As the protocol says."""
        return np.stack([_bag(text, self.DIMENSIONS) for text in texts])

    async def close(self) -> None:
        """As the protocol says."""


class SmallEchoEmbeddings(EchoEmbeddings):
    """The same in fewer places, so that words collide: a worse model of another shape."""

    DIMENSIONS = 64


def _bag(text: str, dimensions: int) -> Vectors:
    vector = np.zeros(dimensions, np.float32)
    # Python's own hash is salted per process; this one gives the same vector everywhere.
    for word in [stem(w) for w in content_words(text)] or ["\0" + text]:
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4 * WORDS_PER_VECTOR).digest()
        for n in range(WORDS_PER_VECTOR):
            number = int.from_bytes(digest[4 * n : 4 * n + 4], "big")
            vector[number % dimensions] += 1.0 if number & (1 << 31) else -1.0
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


class EchoSpeech:
    """Speaks in tones: every byte of the text is two of sixteen, 20 ms each, which EchoTranscriber understands, also out of MP3 and WebM."""

    voices = (Voice("tones", "en"), Voice("low-tones", "en"))

    def __init__(self, settings: EngineSettings) -> None:
        """Needs nothing of the settings."""

    async def speak(self, text: str, voice: str, speed: float) -> AsyncIterator[tuple[Samples, int]]:
        """As the protocol says; in pieces of a fifth of a second. `rate=0.5` in the text takes so many times as long as it sounds."""
        if voice and voice not in {v.id for v in self.voices}:
            raise BadInput(f"There is no voice {voice[:40]!r}.", hint="There are tones and low-tones.")
        sound, rate = tones(text), _RATE.search(text)
        for start in range(0, len(sound), TONES_RATE_HZ // 5):
            piece = sound[start : start + TONES_RATE_HZ // 5]
            await asyncio.sleep(float(rate[1]) * len(piece) / TONES_RATE_HZ if rate else 0)
            yield piece, TONES_RATE_HZ

    async def close(self) -> None:
        """As the protocol says."""


class EchoTranscriber:
    """Understands what EchoSpeech says; any other sound is nothing to it. `[slow=S]` in what it hears makes it take S seconds."""

    def __init__(self, settings: EngineSettings) -> None:
        """Needs nothing of the settings."""

    async def transcribe(self, samples: Samples, language: str, *, goes_on: bool = False) -> Heard:
        """As the protocol says."""
        text = understood(samples)
        if slow := _SLOW.search(text):
            await asyncio.sleep(float(slow[1]))
        return Heard(text, language or "en")

    async def close(self) -> None:
        """As the protocol says."""


def tones(text: str) -> Samples:
    """The text as EchoSpeech says it, at TONES_RATE_HZ: a start tone, then two tones a byte."""
    data = text.encode("utf-8", "replace")
    places = [16, 16, *(half for byte in data for half in (byte >> 4, byte & 15))]
    t = np.arange(TONE_SAMPLES) / TONES_RATE_HZ
    each = [np.sin(2 * np.pi * (LOWEST_HZ + STEP_HZ * place) * t) for place in range(17)]
    return np.concatenate([each[place] * 9_000 for place in places]).astype(np.int16)


def understood(samples: Samples) -> str:
    """The text in such tones; "" where the sound is none or doesn't begin with the start tone."""
    loud = np.flatnonzero(np.abs(samples.astype(np.int32)) > 3_000)
    if not len(loud):
        return ""
    heard = samples[max(0, loud[0] - 8) : loud[-1] + TONE_SAMPLES // 2]
    places = []
    for start in range(0, len(heard) - TONE_SAMPLES // 2, TONE_SAMPLES):
        middle = heard[start + TONE_SAMPLES // 8 : start + TONE_SAMPLES * 7 // 8].astype(np.float64)
        t = np.arange(len(middle)) / TONES_RATE_HZ
        strength = [abs(np.exp(-2j * np.pi * (LOWEST_HZ + STEP_HZ * place) * t) @ middle) for place in range(17)]
        places.append(int(np.argmax(strength)))
    if places[:2] != [16, 16]:
        return ""
    pairs = [(a, b) for a, b in zip(places[2::2], places[3::2], strict=False) if a < 16 and b < 16]
    return bytes(a << 4 | b for a, b in pairs).decode("utf-8", "replace")
