"""The bodies of the API, in and out. What is not named here is ignored on the way in, as OpenAI's clients expect."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.chat.model import (
    MAX_ANSWER_TOKENS,
    MAX_REASON_CHARS,
    MAX_SYSTEM_PROMPT_CHARS,
    MAX_TEMPERATURE,
    ChatMessage,
    ChatSettings,
    Conversation,
    Feedback,
    SavedPrompt,
    Share,
    Verdict,
)
from core.rag.model import (
    MAX_CHUNK_CHARS,
    MAX_RERANK_DEPTH,
    MAX_TOP_K,
    MIN_CHUNK_CHARS,
    RERANK_DEPTH,
    Chunk,
    Collection,
    Document,
    IngestJob,
    RAGQuery,
    RAGResult,
    Source,
    TakenIn,
)
from core.records import DeleteReceipt
from core.users.model import Preferences
from core.voice.model import MAX_SPEED, MAX_SPOKEN_CHARS, MIN_SPEED, Transcription, Voice, VoiceResponse


def _whole(text: str) -> str:
    """JSON can name half a character (a lone surrogate), which no store and no model takes. Raises: ValueError."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("half a character (a lone surrogate) can't be stored") from error
    return text


Text = Annotated[str, AfterValidator(_whole)]


class PartIn(BaseModel):
    """One part of a message; only text is taken."""

    text: Text = ""


class ChatMessageIn(BaseModel):
    """One message of a prompt; content is text, or OpenAI's list of parts (their text is taken)."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[PartIn] | None = None

    @property
    def text(self) -> str:
        """The text of all parts."""
        return self.content if isinstance(self.content, str) else "\n".join(p.text for p in self.content or ())


class RagIn(BaseModel):
    """How deep to look."""

    top_k: int = Field(5, ge=1, le=MAX_TOP_K)
    rerank: bool = True
    rerank_top_k: int = Field(3, ge=1, le=MAX_TOP_K)
    rerank_depth: int | None = Field(None, ge=1, le=MAX_RERANK_DEPTH, description="How many candidates are read with it; left out, the collection's.")

    def to(self, text: str, collection: str) -> RAGQuery:
        """As the domain says it; a rerank depth beyond top_k means all of them."""
        return RAGQuery(text, collection, self.top_k, self.rerank, min(self.rerank_top_k, self.top_k), self.rerank_depth)


class ChatIn(BaseModel):
    """OpenAI's chat completion request, with Hearth's fields for documents and safe retries."""

    messages: list[ChatMessageIn] = Field(min_length=1, max_length=500)
    model: Text = "default"
    stream: bool = False
    max_tokens: int | None = Field(None, ge=1, le=MAX_ANSWER_TOKENS)
    max_completion_tokens: int | None = Field(None, ge=1, le=MAX_ANSWER_TOKENS)
    temperature: float | None = Field(None, ge=0, le=2)
    conversation_id: Text | None = Field(None, description="A UUIDv7 of your making; left out, a new conversation begins.")
    message_id: Text | None = Field(None, description="A UUIDv7 of your making for the last message: sending it again gives the stored answer.")
    parent_id: Text | None = Field(None, description="The message that this one follows; left out, the newest of the conversation; empty, none.")
    collection: Text | list[Text] | None = Field(None, description="The collection(s) to answer from.")
    rag: RagIn | None = None


class CollectionIn(BaseModel):
    """A new collection. Its chunk size stays as it is; the rerank depth can be changed."""

    name: Text
    chunk_chars: int | None = Field(None, ge=MIN_CHUNK_CHARS, le=MAX_CHUNK_CHARS, description="About how long a passage is; left out, HEARTH_CHUNK_CHARS.")
    rerank_depth: int = Field(RERANK_DEPTH, ge=1, le=MAX_RERANK_DEPTH, description="How many candidates are read together with the question.")
    embedding_model: Text = Field("", max_length=200, description="Left out, the present one.")


class CollectionChangeIn(BaseModel):
    """What may be changed of a collection."""

    rerank_depth: int = Field(ge=1, le=MAX_RERANK_DEPTH)


class TextIn(BaseModel):
    """A pasted text."""

    title: Text = Field(min_length=1, max_length=200)
    text: Text = Field(min_length=1)


class UrlIn(BaseModel):
    """A page to fetch and take in."""

    url: Text = Field(min_length=1, max_length=2000)


class CollectionOut(BaseModel):
    """A collection, what it pins, and its counts."""

    model_config = ConfigDict(from_attributes=True)
    id: str
    name: str
    embedding_model: str
    dimensions: int
    chunker: str
    chunk_chars: int
    rerank_depth: int
    version: int
    created_at: datetime
    counts: dict[str, int] = {}

    @classmethod
    def of(cls, collection: Collection, counts: dict[str, int] | None = None) -> "CollectionOut":
        """From the domain."""
        return cls.model_validate(collection).model_copy(update={"counts": counts or {}})


class DocumentOut(BaseModel):
    """A document; `content` only where one is asked for."""

    model_config = ConfigDict(from_attributes=True)
    id: str
    collection: str
    title: str
    name: str
    source_url: str
    status: str
    version: int
    sha256: str
    media_type: str
    size_bytes: int
    uri: str
    chunks: int
    created_at: datetime | None
    ingested_at: datetime | None
    content: str | None = None

    @classmethod
    def of(cls, document: Document, *, whole: bool = False) -> "DocumentOut":
        """From the domain."""
        return cls.model_validate(document).model_copy(update={} if whole else {"content": None})


class JobOut(BaseModel):
    """How far a document version has come. `eta_s` is null where nothing is known to measure by; `position` counts from 1 among those that wait."""

    model_config = ConfigDict(from_attributes=True)
    id: str
    document_id: str
    collection: str
    title: str
    name: str
    version: int
    stage: str
    percent: float
    chunks: int
    error: str
    attempts: int
    created_at: datetime | None
    heartbeat_at: datetime | None
    position: int | None
    eta_s: float | None
    stalled: bool
    paused: bool

    @classmethod
    def of(cls, job: IngestJob) -> "JobOut":
        """From the domain."""
        return cls.model_validate(job)


class SkippedOut(BaseModel):
    """A file of an archive that was not taken in, and why."""

    model_config = ConfigDict(from_attributes=True)
    name: str
    reason: str


class TakenInOut(BaseModel):
    """What became of an archive: how many of its files were accepted, the ids of their jobs, and what was left out."""

    accepted: int
    job_ids: list[str]
    skipped: list[SkippedOut]

    @classmethod
    def of(cls, taken: TakenIn) -> "TakenInOut":
        """From the domain."""
        return cls(accepted=len(taken.jobs), job_ids=[j.id for j in taken.jobs], skipped=[SkippedOut.model_validate(s) for s in taken.skipped])


class ChunkOut(BaseModel):
    """A passage of a document; `start` and `end` are offsets into the document's content."""

    id: str
    position: int
    page: int | None
    heading: str
    start: int
    end: int
    content: str

    @classmethod
    def of(cls, chunk: Chunk) -> "ChunkOut":
        """From the domain."""
        at = chunk.metadata
        return cls(id=chunk.id, position=at.position, page=at.page, heading=at.heading, start=at.start, end=at.end, content=chunk.content)


class PausedOut(BaseModel):
    """Whether one's queue is paused."""

    paused: bool


class QueryIn(RagIn):
    """A RAGQuery; the collection is in the path."""

    query: Text = Field(min_length=1, max_length=20_000)

    def query_of(self, collection: str) -> RAGQuery:
        """As the domain says it."""
        return self.to(self.query, collection)


class SettingsIn(BaseModel):
    """How a conversation's answers are made; what is left out is as the house has it."""

    model_config = ConfigDict(from_attributes=True)
    model: Text = ""
    temperature: float | None = Field(None, ge=0, le=MAX_TEMPERATURE)
    max_tokens: int | None = Field(None, ge=1, le=MAX_ANSWER_TOKENS)
    system_prompt: Text = Field("", max_length=MAX_SYSTEM_PROMPT_CHARS)
    beside: Text = Field("", description="A second model; the chat page asks it every question too and shows both answers.")

    def to(self) -> ChatSettings:
        """As the domain says it."""
        return ChatSettings(self.model, self.temperature, self.max_tokens, self.system_prompt, self.beside)


class ConversationIn(BaseModel):
    """What may be changed of a conversation; what is left out stays."""

    title: Text | None = None
    pinned: bool | None = None
    tags: list[Text] | None = None
    settings: SettingsIn | None = None


class AgainIn(BaseModel):
    """Another answer to the same question."""

    id: Text | None = Field(None, description="A UUIDv7 of your making for the new answer: sending it again gives the same one.")
    model: Text = "default"
    collection: Text | list[Text] | None = Field(None, description="The collection(s) to answer from; left out, those of the first answer.")
    rag: RagIn | None = None
    stream: bool = False


class FeedbackIn(BaseModel):
    """What a reader thinks of an answer."""

    verdict: Verdict
    reason: Text = Field("", max_length=MAX_REASON_CHARS)


class ShareIn(BaseModel):
    """How far a link shows its conversation."""

    message_id: Text


class PromptIn(BaseModel):
    """A text to ask again."""

    name: Text
    text: Text


class ConversationOut(BaseModel):
    """A conversation without its messages. `found`: the words around what a search found."""

    model_config = ConfigDict(from_attributes=True)
    id: str
    title: str
    created_at: datetime
    updated_at: datetime
    pinned: bool
    tags: list[str]
    settings: SettingsIn
    found: str

    @classmethod
    def of(cls, conversation: Conversation) -> "ConversationOut":
        """From the domain."""
        return cls.model_validate(conversation)


class ReceiptOut(BaseModel):
    """What a delete removed, and what a count afterwards still found."""

    removed: dict[str, int]
    left: dict[str, int]
    complete: bool

    @classmethod
    def of(cls, receipt: DeleteReceipt) -> "ReceiptOut":
        """From the domain."""
        return cls(removed=dict(receipt.removed), left=dict(receipt.left), complete=receipt.complete)


class SpeechIn(BaseModel):
    """OpenAI's speech request."""

    input: Text = Field(max_length=MAX_SPOKEN_CHARS)
    model: Text = "default"
    voice: Text = Field("", description="Left out, the one you chose.")
    response_format: Literal["mp3", "wav", "webm", "pcm"] = "mp3"
    speed: float = Field(1.0, ge=MIN_SPEED, le=MAX_SPEED)


class TranscriptionOut(BaseModel):
    """What was heard; `duration` in seconds, `declared_ms` what the file says of its own length."""

    text: str
    language: str
    duration: float
    hearth: dict[str, Any]

    @classmethod
    def of(cls, heard: Transcription) -> "TranscriptionOut":
        """From the domain."""
        more = {"declared_ms": heard.declared_ms, "duration_ms": heard.duration_ms, "model": heard.model}
        return cls(text=heard.text, language=heard.language, duration=heard.duration_ms / 1000, hearth=more)


class VoiceChoiceOut(BaseModel):
    """Somebody who can speak."""

    model_config = ConfigDict(from_attributes=True)
    id: str
    language: str
    note: str


class VoicesOut(BaseModel):
    """Who can speak, the usual one first; `chosen` is the caller's own, empty for the usual one."""

    voices: list[VoiceChoiceOut]
    chosen: str

    @classmethod
    def of(cls, voices: Sequence[Voice], chosen: str) -> "VoicesOut":
        """From the domain."""
        return cls(voices=[VoiceChoiceOut.model_validate(v) for v in voices], chosen=chosen)


class VoiceIn(BaseModel):
    """A VoiceRequest. Who is premium is not the client's to say."""

    audio_b64: str
    format: Text = Field(description="Of the recording: wav, webm or mp3; ogg, flac and mp4 are made WAV first.")
    id: Text | None = Field(None, description="A UUIDv7 of your making: sending the same recording again gives the stored response.")
    conversation_id: Text | None = Field(None, description="A UUIDv7 of your making; left out, a new conversation begins.")
    language: Text = Field("", description="Like en or pt-BR; left out, the one you chose, or a guess.")
    enable_rag: bool | None = Field(None, description="Whether your documents are read; left out, as you chose.")
    collection: Text | list[Text] | None = Field(None, description="The collection(s) to answer from; left out, all of yours.")
    voice: Text = ""
    speed: float = Field(1.0, ge=MIN_SPEED, le=MAX_SPEED)
    model: Text = "default"
    audio_format: Text = Field("wav", description="Of the answer: wav, webm or mp3.")


class VoiceOut(BaseModel):
    """A VoiceResponse. `audio_b64` is empty where there is no sound (any more); `error` then says why, if something went wrong."""

    model_config = ConfigDict(from_attributes=True)
    id: str
    request_id: str
    transcription: str
    response_text: str
    audio_b64: str
    audio_format: str
    latency_ms: float
    rag_docs_used: int
    error: str
    interrupted: bool
    conversation_id: str = ""
    timing: dict[str, float | None]

    @classmethod
    def of(cls, response: VoiceResponse, conversation_id: str) -> "VoiceOut":
        """From the domain."""
        known = {name: getattr(response, name) for name in cls.model_fields if name not in ("conversation_id", "timing")}
        return cls(**known, conversation_id=conversation_id, timing=asdict(response.timing))


class PreferencesIn(BaseModel):
    """What may be chosen; what is left out stays."""

    voice_id: Text | None = None
    speech_language: Text | None = Field(None, description="What you speak, like en or pt-BR; empty, it is guessed.")
    model_preference: Text | None = None
    enable_rag: bool | None = None


class PreferencesOut(BaseModel):
    """What somebody chose once."""

    model_config = ConfigDict(from_attributes=True)
    voice_id: str
    speech_language: str
    model_preference: str
    enable_rag: bool

    @classmethod
    def of(cls, preferences: Preferences) -> "PreferencesOut":
        """From the domain."""
        return cls.model_validate(preferences)


class PageOut(BaseModel):
    """A part of a list; `next_cursor` asks for the rest."""

    items: list[Any]
    next_cursor: str = ""


def source_out(source: Source) -> dict[str, Any]:
    """A citation as a program reads it."""
    return {
        "number": source.number,
        "chunk_id": source.chunk_id,
        "document_id": source.document_id,
        "title": source.title,
        "page": source.page,
        "position": source.position,
        "quote": source.quote,
        "score": source.score,
        "verified": source.verified,
    }


def retrieval_out(message: ChatMessage) -> dict[str, Any] | None:
    """What was searched for an answer, in short; None where documents were off."""
    retrieval = message.metadata.retrieval
    if retrieval is None:
        return None
    ms = retrieval.get("ms")
    short = {"considered": retrieval.get("considered", 0), "returned": retrieval.get("returned", 0), "ms": ms.get("total") if isinstance(ms, dict) else None}
    return short | {k: retrieval[k] for k in ("best_score", "threshold", "degraded", "error") if retrieval.get(k) not in (None, "")}


def message_out(message: ChatMessage) -> dict[str, Any]:
    """A message with its sources, timing and the whole trace of its retrieval."""
    meta = message.metadata
    return {
        "id": message.id,
        "conversation_id": message.conversation_id,
        "role": message.role,
        "content": message.content,
        "created_at": message.created_at,
        "status": message.status.value,
        "reply_to": message.reply_to or None,
        "parent_id": message.parent_id or None,
        "metadata": {
            "tokens_used": meta.tokens_used,
            "latency_ms": meta.latency_ms,
            "model_used": meta.model_used,
            "rag_sources": [source_out(s) for s in meta.sources],
            "retrieval": meta.retrieval,
            "timing": meta.timing,
            "error": meta.error,
            "caution": meta.caution,
            "continues": meta.continues or None,
            "dropped": meta.dropped,
            "summary": meta.summary,
        },
    }


def feedback_out(feedback: Feedback) -> dict[str, Any]:
    """A verdict as a program reads it."""
    return {"verdict": feedback.verdict.value, "reason": feedback.reason, "created_at": feedback.created_at}


def share_out(share: Share) -> dict[str, Any]:
    """A link without its secret, which nobody knows any more."""
    return {"id": share.id, "conversation_id": share.conversation_id, "message_id": share.leaf_id, "created_at": share.created_at}


def prompt_out(prompt: SavedPrompt) -> dict[str, Any]:
    """A saved prompt."""
    return {"id": prompt.id, "name": prompt.name, "text": prompt.text, "created_at": prompt.created_at}


def result_out(result: RAGResult) -> dict[str, Any]:
    """A RAGResult with every stage's ranks, scores and milliseconds."""
    trace = result.trace
    return {
        "chunks": [
            {
                "id": f.chunk.id,
                "document_id": f.chunk.document_id,
                "title": f.title,
                "collection": f.collection,
                "content": f.chunk.content,
                "metadata": f.chunk.metadata,
            }
            for f in result.chunks
        ],
        "scores": list(result.scores),
        "reranked": result.reranked,
        "stages": {
            "considered": trace.considered,
            "returned": trace.returned,
            "ms": dict(trace.ms),
            "best_score": trace.best_score,
            "threshold": trace.threshold,
            "degraded": trace.degraded,
            "candidates": list(trace.candidates),
        },
    }
