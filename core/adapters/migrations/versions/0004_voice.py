"""Spoken requests and their responses."""

import sqlalchemy as sa
from alembic import op

from core.adapters.tables_sql import Json, Moment

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """New tables only."""
    op.create_table(
        "voice_requests",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("conversation_id", sa.String(length=36), nullable=False),
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("format", sa.String(length=4), nullable=False),
        sa.Column("language", sa.String(length=20), nullable=False),
        sa.Column("premium", sa.Boolean(), nullable=False),
        sa.Column("enable_rag", sa.Boolean(), nullable=False),
        sa.Column("transcription", Json(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_voice_requests_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voice_requests")),
    )
    op.create_index(op.f("ix_voice_requests_user_id"), "voice_requests", ["user_id"], unique=False)
    op.create_index(op.f("ix_voice_requests_conversation_id"), "voice_requests", ["conversation_id"], unique=False)
    op.create_index(op.f("ix_voice_requests_created_at"), "voice_requests", ["created_at"], unique=False)
    op.create_index("ix_voice_requests_sounding", "voice_requests", ["created_at"], unique=False, sqlite_where=sa.text("uri != ''"), postgresql_where=sa.text("uri != ''"))
    op.create_table(
        "voice_responses",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("request_id", sa.String(length=36), nullable=False),
        sa.Column("response_text", sa.Text(), nullable=False),
        sa.Column("audio_format", sa.String(length=4), nullable=False),
        sa.Column("latency_ms", sa.Float(), nullable=False),
        sa.Column("rag_docs_used", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("interrupted", sa.Boolean(), nullable=False),
        sa.Column("timing", Json(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["request_id"], ["voice_requests.id"], name=op.f("fk_voice_responses_request_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voice_responses")),
        sa.UniqueConstraint("request_id", name=op.f("uq_voice_responses_request_id")),
    )
    op.create_index("ix_voice_responses_sounding", "voice_responses", ["created_at"], unique=False, sqlite_where=sa.text("uri != ''"), postgresql_where=sa.text("uri != ''"))
