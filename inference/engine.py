"""What an engine is to the server: a model that is loaded and does one service. One file per service and technology lies in `engines/`."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from core.inference import Done, Message, Samples, TextDelta, Vectors
from core.voice.model import Voice


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What is asked of a chat engine. max_tokens: of the answer.   temperature: 0 is deterministic."""

    messages: Sequence[Message]
    max_tokens: int = 512
    temperature: float = 0.7


class ChatEngine(Protocol):
    """Writes answers."""

    def stream(self, request: ChatRequest) -> AsyncIterator[TextDelta | Done]:
        """Deltas, then one Done. Leaving the iterator stops the work. Raises: TooLong, ModelError."""

    async def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text by itself."""

    async def count_prompt(self, messages: Sequence[Message]) -> int:
        """The tokens of a prompt in the model's own template."""

    async def close(self) -> None:
        """Frees the model."""


class EmbeddingEngine(Protocol):
    """Makes vectors."""

    async def embed(self, texts: Sequence[str], kind: Literal["query", "document"]) -> Vectors:
        """(n, d) float32, unit length, in order."""

    async def close(self) -> None:
        """Frees the model."""


class RerankEngine(Protocol):
    """Scores passages against a question."""

    async def rerank(self, query: str, documents: Sequence[str]) -> list[float]:
        """One score per document, in order; higher is better."""

    async def close(self) -> None:
        """Frees the model."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What an engine understood; "" where it was nothing. language: as it was given or guessed, "" where the engine can't say."""

    text: str
    language: str = ""


class TranscriptionEngine(Protocol):
    """Listens."""

    async def transcribe(self, samples: Samples, language: str, *, goes_on: bool = False) -> Heard:
        """What is said in the sound. samples: at 16 kHz.   language: "" to guess.   Being cancelled frees what it took within 2 s.

        goes_on: this is the beginning of something that comes again with what was said since; an engine may keep what it has understood until then.

        Raises: BadInput for a language that it doesn't hear; ModelError.
        """

    async def close(self) -> None:
        """Frees the model."""


class SpeechEngine(Protocol):
    """Speaks."""

    voices: Sequence[Voice]
    """Who can speak; the first is the usual one."""

    def speak(self, text: str, voice: str, speed: float) -> AsyncIterator[tuple[Samples, int]]:
        """(samples, rate in Hz), in pieces as they come.

        text: without the character NUL.   voice: "" for the usual one.   speed: 1 is usual.   Leaving the iterator stops the work.

        Raises: BadInput for an unknown voice; ModelError.
        """

    async def close(self) -> None:
        """Frees the model."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What an engine is made with. folder: where the model's files lie.   threads: of the CPU."""

    folder: Path
    threads: int
    max_context_tokens: int


# Which engine runs a catalogue entry; named as text, so that torch is loaded only when a model needs it.
ENGINES = {
    "transformers-chat": "inference.engines.llm_transformers:TransformersChat",
    "transformers-embeddings": "inference.engines.embeddings_transformers:TransformersEmbeddings",
    "maxsim": "inference.engines.reranker_maxsim:MaxSimReranker",
    "cross-encoder": "inference.engines.reranker_cross_encoder:CrossEncoder",
    "pocketsphinx": "inference.engines.stt_pocketsphinx:PocketSphinxTranscriber",
    "faster-whisper": "inference.engines.stt_faster_whisper:FasterWhisperTranscriber",
    "transformers-whisper": "inference.engines.stt_transformers:TransformersTranscriber",
    "silero-vad": "inference.voice_activity:Silero",
    "loudness": "inference.voice_activity:Loudness",
    "flite": "inference.engines.tts_flite:FliteSpeech",
    "espeak": "inference.engines.tts_espeak:EspeakSpeech",
    "kokoro": "inference.engines.tts_kokoro:KokoroSpeech",
    "piper": "inference.engines.tts_piper:PiperSpeech",
    "echo-stt": "inference.echo:EchoTranscriber",
    "echo-tts": "inference.echo:EchoSpeech",
    "echo-chat": "inference.echo:EchoChat",
    "echo-embeddings": "inference.echo:EchoEmbeddings",
    "echo-embeddings-small": "inference.echo:SmallEchoEmbeddings",
    "echo-reranker": "inference.echo:EchoReranker",
}
