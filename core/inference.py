"""What is asked of a model and what comes back; knows no model, no server and no wire format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from core.errors import ModelError

Vectors: TypeAlias = NDArray[np.float32]
"""(n, d) float32, one row per text, unit length."""

Vector: TypeAlias = NDArray[np.float32]
"""(d,) float32, unit length."""

Samples: TypeAlias = NDArray[np.int16]
"""(n,) int16, one channel of sound."""


class Service(StrEnum):
    """What a model can be asked to do."""

    LLM = "llm"
    STT = "stt"
    TTS = "tts"
    EMBEDDINGS = "embeddings"
    RERANKER = "reranker"


class Priority(StrEnum):
    """The lane a request waits in; it comes from `User.premium`, never from the client's input."""

    STANDARD = "standard"
    PREMIUM = "premium"


class Grounding(StrEnum):
    """How a model may answer from documents."""

    EXTRACTIVE = "extractive"
    """Too small to be trusted with its own words: the answer is quoted sentences."""
    GENERATIVE = "generative"
    """Answers in its own words from a grounded prompt; its citations are checked."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model as the rest of the house needs to know it."""

    id: str
    service: Service
    grounding: Grounding = Grounding.GENERATIVE
    context_tokens: int | None = None
    """Prompt and answer together; None when the server does not say."""
    useful_context_tokens: int | None = None
    """How much of the context is worth filling; small models get worse long before it is full."""
    dimensions: int | None = None
    """The length of its vectors (embeddings only)."""
    relevance_threshold: float | None = None
    """The score below which a passage does not answer the question; the scale is the model's own. None: no such score is known."""
    quote_threshold: float | None = None
    """The score below which a sentence by itself doesn't answer the question, on the same scale. None: no such score is known."""
    local: bool = False

    def length(self) -> int:
        """Of an embedding model's vectors. Raises: ModelError where it doesn't say."""
        if self.dimensions is None:
            raise ModelError(f"{self.id} doesn't say how long its vectors are.", model=self.id, hint="Check HEARTH_EMBEDDINGS_URL with `hearth doctor`.")
        return self.dimensions


@dataclass(frozen=True, slots=True)
class InferenceRequest:
    """One thing asked of a model, as it waits in a lane."""

    id: str
    service: Service
    input: str | bytes
    parameters: Mapping[str, object] = field(default_factory=dict)
    priority: Priority = Priority.STANDARD


@dataclass(frozen=True, slots=True)
class InferenceResponse:
    """The one answer to a request. `metadata` has model, latency_ms and, where it applies, tokens."""

    id: str
    request_id: str
    output: str | bytes | tuple[float, ...]
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EmbeddingVector:
    """What a text means, as a direction."""

    values: tuple[float, ...]
    model: str
    dimensions: int

    def __post_init__(self) -> None:
        """Raises: ValueError if the number of values is not `dimensions`."""
        if len(self.values) != self.dimensions:
            raise ValueError(f"{self.model} promises {self.dimensions} dimensions, the vector has {len(self.values)}")


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vector of one chunk."""

    chunk_id: str
    vector: EmbeddingVector


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. `estimated`: the server did not say, the deltas were counted."""

    prompt_tokens: int
    completion_tokens: int
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a model is asked: the lane, and an opaque key that keeps users apart inside it."""

    user_key: str = ""
    priority: Priority = Priority.STANDARD


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits for a place. `position`: 1 is next, 0 is served now; `eta_s`: about how long it still waits."""

    position: int
    eta_s: float


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of an answer; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The end of an answer, exactly once and last. `finish_reason`: stop or length; `queue_ms`: the wait for a place, where known."""

    usage: Usage
    finish_reason: str = "stop"
    queue_ms: float | None = None


BYTES_PER_TOKEN = 3
"""A careful guess: English text has about 4, other scripts have as many bytes for fewer letters. The model's own tokenizer has the last word."""


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, where nobody counts."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


@dataclass(frozen=True, slots=True)
class Counted:
    """Tokens of each text, in order. `estimated`: no tokenizer was asked."""

    tokens: tuple[int, ...]
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Embedded:
    """Vectors for a list of texts, in its order, and the model that made them."""

    vectors: Vectors
    model: str


@dataclass(frozen=True, slots=True)
class Standing:
    """A request that waits for a model. position: 1 is next.   waited_s: so far.   eta_s: about how long it still waits."""

    position: int
    priority: Priority
    waited_s: float
    eta_s: float


@dataclass(frozen=True, slots=True)
class Queue:
    """How many requests a model serves now, how many wait in each lane, and the first of those, in their order."""

    serving: int = 0
    waiting_premium: int = 0
    waiting_standard: int = 0
    first: tuple[Standing, ...] = ()


@dataclass(frozen=True, slots=True)
class Residence:
    """A model of the local inference process: whether it is in memory, and how it is used.

    load_ms: how long it took to load; None where it hasn't been.   idle_s: since somebody used it.   unload_after_s: of idle time; -1 never.
    lane: the queue in front of it, which it may share.   device: the processor it runs on, "" while it isn't loaded.
    grown_bytes: by how much the process grew while it was loaded, None while it isn't.
    """

    model: str
    loaded: bool
    load_ms: float | None = None
    idle_s: float = 0.0
    unload_after_s: float = -1.0
    queue: Queue = Queue()
    lane: str = ""
    device: str = ""
    grown_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Residences:
    """The local inference process: its models by service, the memory it holds, and the threads its models may use."""

    models: Mapping[Service, Residence]
    resident_bytes: int
    threads: int


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """A model that Hearth knows. state: ready, missing (to be fetched) or built in.   dimensions: of an embedding model."""

    name: str
    service: Service
    licence: str
    state: str
    download_bytes: int = 0
    dimensions: int | None = None
    context_tokens: int | None = None
    languages: tuple[str, ...] = ()
    note: str = ""
    source: str = ""
    fetched_bytes: int = 0
    """Of its files here."""
