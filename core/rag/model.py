"""Collections, documents, their chunks, and what a search over them asks and gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from core.errors import BadInput, WrongShape
from core.inference import Vector

MAX_TOP_K = 50
OVER_FETCH = 30
"""How many candidates each ranking hands to the fusion."""
RERANK_DEPTH = 20
MAX_RERANK_DEPTH = 100
MIN_CHUNK_CHARS, MAX_CHUNK_CHARS = 200, 4000


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of documents of one owner. It pins what its chunks were made with; a mismatch is refused, never answered with nothing."""

    id: str
    owner_id: str
    name: str
    embedding_model: str
    dimensions: int
    chunker: str
    created_at: datetime
    version: int = 1
    rerank_depth: int = RERANK_DEPTH
    """How many fused candidates are read together with the question; it may be changed at any time."""

    @property
    def chunk_chars(self) -> int:
        """About how long its passages are."""
        return int(self.chunker.rpartition("/")[2])

    def check(self, dimensions: int, model: str) -> None:
        """Raises: WrongShape if vectors of `model` don't belong into this collection."""
        if dimensions != self.dimensions or model != self.embedding_model:
            raise WrongShape(
                f"The collection {self.name!r} holds vectors of {self.embedding_model} ({self.dimensions} dimensions), "
                f"but the embeddings service answers with {model} ({dimensions}).",
                hint=f"Point HEARTH_EMBEDDINGS_URL back at {self.embedding_model}, or re-embed the collection in the admin console.",
            )


class VersionState(StrEnum):
    """Of a version of a collection's vectors."""

    BUILDING = "building"
    """Its passages are being embedded."""
    READY = "ready"
    """Every passage had its vector when it was looked at last; it may be the one that is searched."""
    FAILED = "failed"
    """Its model could not embed them; it can be begun again."""


MOST_VERSIONS = 5
"""Of one collection that are kept: each takes as much room as the one that is searched."""


@dataclass(frozen=True, slots=True)
class CollectionVersion:
    """All vectors that one model made of a collection's passages. One version is searched; others are being made, or are kept to go back to."""

    collection_id: str
    version: int
    embedding_model: str
    dimensions: int
    made_at: datetime
    state: VersionState = VersionState.READY
    done: int = 0
    """Passages that have their vector, as far as it was counted when it was made."""
    total: int = 0
    error: str = ""


class DocumentStatus(StrEnum):
    """Only READY documents are searched."""

    INGESTING = "ingesting"
    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"
    """A tombstone: not found by anything, its rows are going."""
    CANCELLED = "cancelled"
    """Its only version was cancelled: nothing finds it but its job; another upload of its name goes on with it."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file somebody put into a collection. `content` is its text ("" in lists); the original lies at `uri` (s3://).

    `name` is where it came from, as the uploader says it (a file's name, or its path in a folder or archive): changed bytes under the same name are the
    next version of the same document. It is shown and compared, and never a path of ours.
    """

    id: str
    collection: str
    title: str
    content: str
    source_url: str
    ingested_at: datetime | None
    owner_id: str = ""
    status: DocumentStatus = DocumentStatus.INGESTING
    version: int = 1
    sha256: str = ""
    media_type: str = ""
    size_bytes: int = 0
    uri: str = ""
    chunks: int = 0
    created_at: datetime | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class ChunkMetadata:
    """Where a chunk stands: `position` counts from 0 in its document, `page` from 1 where there are pages.

    `start` and `end` are offsets into the document's content; `heading` is the path of headings above it.
    """

    position: int
    page: int | None = None
    heading: str = ""
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of exactly one document, with its meaning as a vector of the collection's size (None where it isn't loaded)."""

    id: str
    document_id: str
    content: str
    embedding: Vector | None
    metadata: ChunkMetadata


class IngestStage(StrEnum):
    """How far a document has come. QUEUED is not stalled: `heartbeat_at` tells."""

    QUEUED = "queued"
    PARSING = "parsing"
    EMBEDDING = "embedding"
    STORING = "storing"
    READY = "ready"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class IngestJob:
    """The way of one document version from upload to ready. `chunks` is 0 until the file has been read.

    The last four are as of the moment they are asked for: `position` counts from 1 among the waiting ones of everybody, `eta_s` is None where nothing is
    known to measure by, and `stalled` says that whoever works on it has not been heard of for longer than a lease.
    """

    id: str
    document_id: str
    owner_id: str
    collection: str
    title: str
    stage: IngestStage
    percent: float
    error: str = ""
    attempts: int = 0
    created_at: datetime | None = None
    heartbeat_at: datetime | None = None
    name: str = ""
    version: int = 1
    sha256: str = ""
    size_bytes: int = 0
    uri: str = ""
    source_url: str = ""
    chunks: int = 0
    started_at: datetime | None = None
    position: int | None = None
    eta_s: float | None = None
    stalled: bool = False
    paused: bool = False

    @property
    def done(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.stage in (IngestStage.READY, IngestStage.FAILED, IngestStage.CANCELLED)

    @property
    def running(self) -> bool:
        """Whether somebody works on it, or did until a moment ago."""
        return not self.done and self.stage is not IngestStage.QUEUED


@dataclass(frozen=True, slots=True)
class Pace:
    """What the last documents took, all together: how fast this house takes documents in."""

    chunks: int = 0
    size_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """The queue as a page of jobs sees it: for each unfinished job its place among those that wait, and the bytes of everything before it."""

    places: Mapping[str, tuple[int, int]]
    pace: Pace
    paused: bool


@dataclass(frozen=True, slots=True)
class FetchedPage:
    """A page from the internet: the address where it was found after all redirects, and what its file is called."""

    url: str
    name: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was not taken in, and the sentence why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class TakenIn:
    """What became of an upload: a job per file that was accepted, and what was left out."""

    jobs: tuple[IngestJob, ...]
    skipped: tuple[Skipped, ...] = ()
    archive: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of text under one heading path; what chunking works on. `page` counts from 1."""

    text: str
    heading: str = ""
    page: int | None = None


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """What a parser made of a file: its title (may be ""), media type and sections in reading order."""

    title: str
    media_type: str
    sections: tuple[Section, ...]


@dataclass(frozen=True, slots=True)
class PagePicture:
    """A page of a document as a PNG. `marked`: whether what was to be marked was found on it."""

    png: bytes
    width_px: int
    height_px: int
    marked: bool


@dataclass(frozen=True, slots=True)
class RAGQuery:
    """A question to a collection. rerank_depth: how many candidates are read together with it; None for what its collection says."""

    query: str
    collection: str
    top_k: int = 5
    rerank: bool = True
    rerank_top_k: int = 3
    rerank_depth: int | None = None

    def __post_init__(self) -> None:
        """Raises: BadInput if a depth is out of range."""
        if self.rerank_depth is not None and not 1 <= self.rerank_depth <= MAX_RERANK_DEPTH:
            raise BadInput(f"The rerank depth must be between 1 and {MAX_RERANK_DEPTH}, not {self.rerank_depth}.")
        if not 1 <= self.top_k <= MAX_TOP_K:
            raise BadInput(f"top_k must be between 1 and {MAX_TOP_K}, not {self.top_k}.")
        if not 1 <= self.rerank_top_k <= self.top_k:
            raise BadInput(f"rerank_top_k must be between 1 and top_k ({self.top_k}), not {self.rerank_top_k}.")


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a ranking found. `score` is on the ranking's own scale, higher is better."""

    chunk_id: str
    score: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """How one chunk fared in every stage: rank counts from 1, None where the stage didn't see it."""

    chunk_id: str
    document_id: str
    title: str
    dense_rank: int | None = None
    dense_score: float | None = None
    lexical_rank: int | None = None
    lexical_score: float | None = None
    fused_rank: int | None = None
    fused_score: float | None = None
    rerank_rank: int | None = None
    rerank_score: float | None = None
    returned: bool = False


@dataclass(frozen=True, slots=True)
class RetrievalTrace:
    """What a retrieval did: every candidate through every stage, and the milliseconds of each stage."""

    query: str
    collections: tuple[str, ...]
    considered: int
    """Searchable chunks in those collections."""
    returned: int
    candidates: tuple[Candidate, ...]
    ms: Mapping[str, float]
    best_score: float | None
    """The best final score, also when it was too low to be used."""
    threshold: float | None
    degraded: str = ""
    """A sentence if a stage failed and was left out."""


@dataclass(frozen=True, slots=True)
class FoundChunk:
    """A chunk as an answer needs it: with the names of where it comes from."""

    chunk: Chunk
    title: str
    collection: str
    uri: str = ""


@dataclass(frozen=True, slots=True)
class RAGResult:
    """What a search found, best first; `scores` goes with `chunks`."""

    chunks: tuple[FoundChunk, ...]
    scores: tuple[float, ...]
    reranked: bool
    trace: RetrievalTrace

    @property
    def relevant(self) -> bool:
        """Whether anything was found that may answer."""
        return bool(self.chunks)


@dataclass(frozen=True, slots=True)
class RAGContext:
    """What a prompt is grounded in."""

    chunks: tuple[FoundChunk, ...]
    scores: tuple[float, ...]
    query: str


@dataclass(frozen=True, slots=True)
class Source:
    """A numbered citation as it is shown and stored: the passage, where it stands, and the quoted words (a part of the passage)."""

    number: int
    chunk_id: str
    document_id: str
    title: str
    page: int | None
    position: int
    quote: str
    score: float
    passage: str = ""
    heading: str = ""
    start: int = 0
    end: int = 0
    verified: bool = True
    """Whether the quote stands word for word in the passage."""
