"""The tables of the records. Their history is in `migrations/`; a test compares the two.

The full text of chunks (`chunk_text`, FTS5) and its triggers exist only in SQLite, so they stand in the migration alone.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    and_,
    false,
    select,
    text,
    true,
)
from sqlalchemy.engine import Dialect

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_JSON = msgspec.json.Encoder()


class Moment(TypeDecorator[datetime]):
    """A point in time as microseconds since 1970 in UTC: exact, sortable and the same in every database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Raises: TypeError for a time without a zone."""
        return None if value is None else (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Always in UTC."""
        return None if value is None else EPOCH + timedelta(microseconds=value)


class Json(TypeDecorator[Any]):
    """A value as JSON text; dataclasses are written, plain dicts and lists are read."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """None becomes null."""
        return _JSON.encode(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Null and nothing are None."""
        return None if value is None else msgspec.json.decode(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


Number = BigInteger().with_variant(Integer(), "sqlite")
"""What counts rows: SQLite counts only in a column of exactly its own INTEGER."""


def _partial(name: str, column: str, where: ColumnElement[bool]) -> Index:
    """An index over some of the rows."""
    return Index(name, column, sqlite_where=where, postgresql_where=where)


def _id(name: str = "id", **given: Any) -> Column[str]:
    return Column(name, String(36), **given)


users = Table(
    "users",
    metadata,
    _id(primary_key=True),
    Column("username", String(200), nullable=False),
    Column("name_key", String(200), nullable=False, unique=True),  # the name with its case folded
    Column("password_hash", Text),
    Column("role", String(20), nullable=False),
    Column("premium", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("preferences", Json, nullable=False),
    Column("quota", Json, nullable=False, server_default="{}"),
    Column("created_at", Moment, nullable=False),
)

usage = Table(
    "usage",
    metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("day", Integer, primary_key=True),  # since 1970, in UTC
    Column("tokens", BigInteger, nullable=False, server_default="0"),
    Column("requests", BigInteger, nullable=False, server_default="0"),
    Column("audio_ms", Float, nullable=False, server_default="0"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=True),
    _id(nullable=False, unique=True),
    Column("at", Moment, nullable=False, index=True),
    _id("actor_id", nullable=False),  # no key: what was done outlives who did it
    Column("actor", String(200), nullable=False),
    Column("actor_key", String(200), nullable=False),  # the name with its case folded
    Column("act", String(40), nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Json, nullable=False),
    Index("ix_audit_actor_key_at", "actor_key", "at"),
    Index("ix_audit_act_at", "act", "at"),
    Index("ix_audit_actor_key_act_at", "actor_key", "act", "at"),
    sqlite_autoincrement=True,
)

sweeps = Table(
    "sweeps",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=True),
    _id(nullable=False, unique=True),
    Column("started_at", Moment, nullable=False, index=True),
    Column("by", String(200), nullable=False),
    Column("whole", Boolean, nullable=False),
    Column("removed", Json, nullable=False),
    Column("ended_at", Moment),
    Column("error", Text, nullable=False),
    Column("lease_until", Moment, nullable=False),
    _partial("ix_sweeps_running", "seq", Column("ended_at").is_(None)),
    sqlite_autoincrement=True,
)

api_keys = Table(
    "api_keys",
    metadata,
    _id(primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("name", String(200), nullable=False),
    Column("prefix", String(20), nullable=False),
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
    Column("last_used_at", Moment),
    Column("scopes", Json, nullable=False, server_default='["chat","documents","voice","metrics"]'),
    Column("expires_at", Moment),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    _id(nullable=False),
    _id("user_id", nullable=False, index=True),
    Column("type", String(10), nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("last_activity", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False, index=True),
    Column("metadata", Json, nullable=False),
)

conversations = Table(
    "conversations",
    metadata,
    _id(primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("title", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("pinned", Boolean, nullable=False, server_default=false()),
    Column("tags", Json, nullable=False, server_default="[]"),
    Column("settings", Json, nullable=False, server_default="{}"),
    _partial("ix_conversations_pinned", "id", Column("pinned")),
)

PINNED = select(conversations.c.id).where(conversations.c.pinned)
"""What retention leaves alone."""

messages = Table(
    "messages",
    metadata,
    _id(primary_key=True),
    Column("conversation_id", ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False),
    _id("session_id", nullable=False),
    _id("user_id", nullable=False),
    Column("role", String(10), nullable=False),
    Column("content", Text, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("status", String(12), nullable=False),
    _id("reply_to", nullable=False),
    _id("parent_id", nullable=False, index=True, server_default=text("''")),
    Column("created_at", Moment, nullable=False, index=True),
    Column("lease_until", Moment),
    _id("holder", nullable=False, server_default=text("''")),
    Column("stopping", Boolean, nullable=False, server_default=false()),  # somebody asks from another process
    Index("ix_messages_conversation_id_created_at", "conversation_id", "created_at"),
    _partial("ix_messages_generating", "lease_until", Column("status") == "generating"),
)

feedback = Table(
    "feedback",
    metadata,
    Column("message_id", ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True),
    _id("user_id", nullable=False),
    Column("verdict", String(10), nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
)

shares = Table(
    "shares",
    metadata,
    _id(primary_key=True),
    Column("conversation_id", ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False, index=True),
    _id("user_id", nullable=False, index=True),
    _id("leaf_id", nullable=False),
    Column("secret_hash", String(64), nullable=False, unique=True),
    Column("created_at", Moment, nullable=False),
)

prompts = Table(
    "prompts",
    metadata,
    _id(primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(100), nullable=False),
    Column("text", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    UniqueConstraint("user_id", "name"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=True),
    _id("event_id", nullable=False, unique=True),
    Column("type", String(40), nullable=False),
    _id("user_id", nullable=False),
    _id("aggregate_id", nullable=False, index=True),
    Column("at", Moment, nullable=False),
    Column("data", Json, nullable=False),
    Column("recorded_at", Moment),  # when its effect was written; ours have theirs in the same transaction
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text, nullable=False, server_default=text("''")),
    Column("dead_at", Moment),  # when its effect was given up
    Column("streamed_at", Moment),  # when the server of events gave it back, which is when it is certain to be there
    _partial("ix_outbox_unrecorded", "seq", and_(Column("recorded_at").is_(None), Column("dead_at").is_(None))),
    _partial("ix_outbox_dead", "seq", Column("dead_at").is_not(None)),
    Index("ix_outbox_user_id", "user_id"),
    Index("ix_outbox_type", "type"),
    sqlite_autoincrement=True,
)

relay = Table(
    "relay",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=False),  # of the outbox: up to here the server of events has everything that it should
)
"""One row from the first day on which there was a server of events; none before."""

stream_purges = Table(
    "stream_purges",
    metadata,
    Column("n", Number, primary_key=True, autoincrement=True),
    _id("user_id", nullable=False),  # "" or everything of that user
    _id("aggregate_id", nullable=False),  # "" or everything of that aggregate
    Column("at", Moment, nullable=False),
    Column("purged_at", Moment),
    Index("ix_stream_purges_aggregate_id", "aggregate_id"),
    Index("ix_stream_purges_user_id", "user_id"),
)
"""What was deleted here and is to go from the streams too; kept for a while after, so that nothing of it comes back."""

collections = Table(
    "collections",
    metadata,
    _id(primary_key=True),
    Column("owner_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("embedding_model", Text, nullable=False),
    Column("dimensions", Integer, nullable=False),
    Column("chunker", String(60), nullable=False),
    Column("version", Integer, nullable=False),  # of its vectors: the one that is searched
    Column("created_at", Moment, nullable=False),
    Column("added_version", Integer, nullable=False, default=0),  # grows when chunks become searchable
    Column("removed_version", Integer, nullable=False, default=0),  # the added_version at which chunks last went away
    Column("rerank_depth", Integer, nullable=False, server_default="20"),
    UniqueConstraint("owner_id", "name"),
)

collection_versions = Table(
    "collection_versions",
    metadata,
    Column("collection_id", ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("embedding_model", Text, nullable=False),
    Column("dimensions", Integer, nullable=False),
    Column("state", String(10), nullable=False),
    Column("done", Integer, nullable=False, server_default="0"),
    Column("total", Integer, nullable=False, server_default="0"),
    Column("error", Text, nullable=False, server_default=text("''")),
    Column("made_at", Moment, nullable=False),
    Column("lease_until", Moment),
    _id("holder", nullable=False, server_default=text("''")),
    _partial("ix_collection_versions_building", "made_at", Column("state") == "building"),
)

documents = Table(
    "documents",
    metadata,
    _id(primary_key=True),
    Column("collection_id", ForeignKey("collections.id"), nullable=False),
    _id("owner_id", nullable=False),
    Column("title", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("source_url", Text, nullable=False),
    Column("status", String(12), nullable=False),
    Column("version", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("media_type", String(100), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("uri", Text, nullable=False),
    Column("chunks", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("ingested_at", Moment),
    Column("name", Text, nullable=False, server_default=text("''")),  # as it was uploaded; another upload of that name is its next version
    Index("ix_documents_collection_id_sha256", "collection_id", "sha256"),
    Index("ix_documents_collection_id_name", "collection_id", "name"),
    Index("ix_documents_status", "status"),
)

chunks = Table(
    "chunks",
    metadata,
    Column("n", Number, primary_key=True, autoincrement=True),  # the row's number; the full text refers to it
    _id(nullable=False, unique=True),
    Column("document_id", ForeignKey("documents.id"), nullable=False),
    _id("collection_id", nullable=False),
    Column("version", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("page", Integer),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("live", Integer, nullable=False),  # 0: not searched; otherwise the added_version at which it became searchable
    Column("scope", String(40), nullable=False),  # the collection as one word, so that the full text is searched inside it only
    Column("title", Text, nullable=False),
    Column("heading", Text, nullable=False),
    Column("content", Text, nullable=False),
    Index("ix_chunks_document_id_version_position", "document_id", "version", "position", unique=True),
    Index("ix_chunks_collection_id_live", "collection_id", "live"),
    sqlite_autoincrement=True,
)

chunk_vectors = Table(
    "chunk_vectors",
    metadata,
    Column("chunk_n", ForeignKey("chunks.n", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True),  # of its collection
    Column("embedding", LargeBinary, nullable=False),  # float32, unit length
)

ingest_jobs = Table(
    "ingest_jobs",
    metadata,
    _id(primary_key=True),
    Column("document_id", ForeignKey("documents.id"), nullable=False, index=True),
    Column("stage", String(12), nullable=False),
    Column("percent", Float, nullable=False),
    Column("error", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("heartbeat_at", Moment),
    Column("lease_until", Moment),
    _id("holder", nullable=False, server_default=text("''")),
    # What the version is made from: the document's own fields say the same only once it is ready.
    Column("version", Integer, nullable=False, server_default="1"),
    Column("sha256", String(64), nullable=False, server_default=text("''")),
    Column("size_bytes", BigInteger, nullable=False, server_default="0"),
    Column("uri", Text, nullable=False, server_default=text("''")),
    Column("source_url", Text, nullable=False, server_default=text("''")),
    Column("chunks", Integer, nullable=False, server_default="0"),
    Column("started_at", Moment),
    Index("ix_ingest_jobs_stage_lease_until", "stage", "lease_until"),
    Index("ix_ingest_jobs_sha256", "sha256"),
    Index("ix_ingest_jobs_stage_id", "stage", "id"),
)

golden_rows = Table(
    "golden_rows",
    metadata,
    _id(primary_key=True),
    Column("golden_set", String(60), nullable=False),
    Column("question", Text, nullable=False),
    _id("owner_id", nullable=False, index=True),
    Column("collections", Json, nullable=False),
    Column("chunk_ids", Json, nullable=False),
    Column("refuse", Boolean, nullable=False),
    Column("origin", String(10), nullable=False),
    _id("message_id", nullable=False),
    Column("made_at", Moment, nullable=False),
    Index("ix_golden_rows_golden_set_id", "golden_set", "id"),
)

ingest_pauses = Table(
    "ingest_pauses",
    metadata,
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
    Column("since", Moment, nullable=False),
)

stale_objects = Table("stale_objects", metadata, Column("uri", Text, primary_key=True))  # originals nobody needs any more, until they are dropped

voice_requests = Table(
    "voice_requests",
    metadata,
    _id(primary_key=True),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    _id("conversation_id", nullable=False, index=True),  # no key: the request is stored before the conversation it begins
    _id("session_id", nullable=False),
    Column("format", String(4), nullable=False),
    Column("language", String(20), nullable=False),
    Column("premium", Boolean, nullable=False),
    Column("enable_rag", Boolean, nullable=False),
    Column("transcription", Json, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("uri", Text, nullable=False),  # "" once the sound is gone
    Column("created_at", Moment, nullable=False, index=True),
    _partial("ix_voice_requests_sounding", "created_at", Column("uri") != ""),
)

voice_responses = Table(
    "voice_responses",
    metadata,
    _id(primary_key=True),
    Column("request_id", ForeignKey("voice_requests.id", ondelete="CASCADE"), nullable=False, unique=True),
    Column("response_text", Text, nullable=False),
    Column("audio_format", String(4), nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("rag_docs_used", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("interrupted", Boolean, nullable=False),
    Column("timing", Json, nullable=False),
    Column("uri", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    _partial("ix_voice_responses_sounding", "created_at", Column("uri") != ""),
)

pipelines = Table(
    "pipelines",
    metadata,
    Column("id", String(80), primary_key=True),  # name@version
    Column("name", String(63), nullable=False),
    Column("version", Integer, nullable=False),
    Column("engine", String(10), nullable=False),
    Column("definition", Text, nullable=False),
    _id("owner_id", nullable=False),  # no key: what was defined outlives who did it
    Column("created_at", Moment, nullable=False),
    Column("shared", Boolean, nullable=False, server_default=false()),
    UniqueConstraint("name", "version"),
)

experiments = Table(
    "experiments",
    metadata,
    _id(primary_key=True),
    Column("name", String(63), nullable=False, unique=True),
    _id("user_id", nullable=False),
    Column("created_at", Moment, nullable=False),
    _id("baseline", nullable=False, server_default=text("''")),
)

pipeline_runs = Table(
    "pipeline_runs",
    metadata,
    _id(primary_key=True),
    Column("pipeline_id", ForeignKey("pipelines.id"), nullable=False, index=True),
    Column("pipeline_name", String(63), nullable=False),
    _id("user_id", nullable=False, index=True),
    Column("status", String(10), nullable=False),
    Column("cause", String(10), nullable=False),
    Column("parameters", Json, nullable=False),
    Column("metrics", Json, nullable=False, server_default="{}"),
    _id("experiment_id", nullable=False, server_default=text("''")),
    _id("rerun_of", nullable=False, server_default=text("''")),
    Column("reason", Text, nullable=False, server_default=text("''")),
    Column("external_id", String(200), nullable=False, server_default=text("''")),
    Column("external_url", Text, nullable=False, server_default=text("''")),
    Column("unreachable_since", Moment),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("completed_at", Moment),
    Column("cache", Boolean, nullable=False, server_default=true()),
    Column("duration_us", BigInteger, nullable=False, server_default="0"),  # what runs are sorted by once they are over
    Column("ending", Text, nullable=False, server_default=text("''")),  # why it is to end, while it goes on
    _id("holder", nullable=False, server_default=text("''")),
    Index("ix_pipeline_runs_created_at_id", "created_at", "id"),
    Index("ix_pipeline_runs_status_id", "status", "id"),
    Index("ix_pipeline_runs_pipeline_name_created_at", "pipeline_name", "created_at"),
    Index("ix_pipeline_runs_experiment_id_id", "experiment_id", "id"),
    Index("ix_pipeline_runs_duration_us_id", "duration_us", "id"),
)

run_metrics = Table(
    "run_metrics",
    metadata,
    Column("run_id", ForeignKey("pipeline_runs.id", ondelete="CASCADE"), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("value", Float, nullable=False),
    Index("ix_run_metrics_name_value_run_id", "name", "value", "run_id"),
)

run_steps = Table(
    "run_steps",
    metadata,
    Column("n", Number, primary_key=True, autoincrement=True),  # the order in which they began
    Column("run_id", ForeignKey("pipeline_runs.id", ondelete="CASCADE"), nullable=False),
    Column("key", String(400), nullable=False),
    Column("name", Text, nullable=False),
    Column("task", Text, nullable=False),
    Column("status", String(10), nullable=False),
    Column("attempts", Json, nullable=False),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("inputs", Json, nullable=False),
    Column("outputs", Json, nullable=False),
    Column("error", Text, nullable=False),
    Column("parent", String(400), nullable=False),
    _id("cached_from", nullable=False, server_default=text("''")),  # no key: that run may go before this one
    Index("ix_run_steps_run_id_key", "run_id", "key", unique=True),
    sqlite_autoincrement=True,
)

step_results = Table(  # what a step has made, for later ones that do the same with the same
    "step_results",
    metadata,
    Column("n", Number, primary_key=True, autoincrement=True),
    Column("run_id", ForeignKey("pipeline_runs.id", ondelete="CASCADE"), nullable=False),
    Column("key", String(400), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("result", Json, nullable=False),
    Index("ix_step_results_run_id_key", "run_id", "key", unique=True),
    Index("ix_step_results_fingerprint_n", "fingerprint", "n"),
    sqlite_autoincrement=True,
)

artifacts = Table(
    "artifacts",
    metadata,
    _id(primary_key=True),
    Column("run_id", ForeignKey("pipeline_runs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("step", String(400), nullable=False),
    Column("name", String(200), nullable=False),
    Column("type", String(10), nullable=False),
    Column("uri", Text, nullable=False),
    Column("metadata", Json, nullable=False),
)

triggers = Table(
    "triggers",
    metadata,
    _id(primary_key=True),
    Column("pipeline_name", String(63), nullable=False, index=True),
    Column("kind", String(10), nullable=False),
    Column("watched", Text, nullable=False),
    Column("parameters", Json, nullable=False),
    Column("user_id", ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("created_at", Moment, nullable=False),
    Column("enabled", Boolean, nullable=False),
    _id("experiment_id", nullable=False, server_default=text("''")),
    Column("last_at", Moment),
    Column("next_at", Moment),
    Column("problem", Text, nullable=False, server_default=text("''")),
)

files_seen = Table(
    "files_seen",
    metadata,
    Column("trigger_id", ForeignKey("triggers.id", ondelete="CASCADE"), primary_key=True),
    Column("object_uri", Text, primary_key=True),
    Column("mark", String(100), nullable=False),
)

triggers_received = Table(
    "triggers_received",
    metadata,
    _id("event_id", primary_key=True),
    _id("user_id", nullable=False),
    _id("aggregate_id", nullable=False),
    Column("at", Moment, nullable=False),
    Column("data", Json, nullable=False),
    Column("acted_on", Boolean, nullable=False, server_default=false()),
    Column("problem", Text, nullable=False, server_default=text("''")),
    _partial("ix_triggers_received_waiting", "at", Column("acted_on").is_(False)),
)

processes = Table(
    "processes",
    metadata,
    _id(primary_key=True),
    Column("role", String(10), nullable=False),
    Column("host", String(255), nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("beat_at", Moment, nullable=False),
)

duties = Table("duties", metadata, Column("name", String(20), primary_key=True), _id("holder", nullable=False))  # what one process at a time does
