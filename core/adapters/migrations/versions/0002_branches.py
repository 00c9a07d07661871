"""Branches, feedback, shares and saved prompts."""

import sqlalchemy as sa
from alembic import op

from core.adapters.tables_sql import Json, Moment

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# What was one line of messages becomes a path: each follows the one before it.
FOLLOWS = """UPDATE messages SET parent_id = coalesce((
    SELECT earlier.id FROM messages AS earlier WHERE earlier.conversation_id = messages.conversation_id
        AND (earlier.created_at < messages.created_at OR (earlier.created_at = messages.created_at AND earlier.id < messages.id))
    ORDER BY earlier.created_at DESC, earlier.id DESC LIMIT 1), '')"""
NEVER_CHANGES = """CREATE TRIGGER message_never_changes BEFORE UPDATE ON messages WHEN old.status <> 'generating' BEGIN
    SELECT RAISE(ABORT, 'a message never changes once created'); END"""


def upgrade() -> None:
    """Columns with what they hold for the rows that are there, then the new tables."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.add_column("conversations", sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("conversations", sa.Column("tags", Json(), nullable=False, server_default="[]"))
    op.add_column("conversations", sa.Column("settings", Json(), nullable=False, server_default="{}"))
    op.add_column("messages", sa.Column("parent_id", sa.String(length=36), nullable=False, server_default=sa.text("''")))
    op.create_index(op.f("ix_messages_parent_id"), "messages", ["parent_id"], unique=False)
    if sqlite:
        op.execute("DROP TRIGGER message_never_changes")
    op.execute(FOLLOWS)
    if sqlite:
        op.execute(NEVER_CHANGES)
    op.create_table(
        "feedback",
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("verdict", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["messages.id"], name=op.f("fk_feedback_message_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_feedback")),
    )
    op.create_table(
        "shares",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("conversation_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("leaf_id", sa.String(length=36), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversations.id"], name=op.f("fk_shares_conversation_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shares")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_shares_secret_hash")),
    )
    op.create_index(op.f("ix_shares_conversation_id"), "shares", ["conversation_id"], unique=False)
    op.create_index(op.f("ix_shares_user_id"), "shares", ["user_id"], unique=False)
    op.create_table(
        "prompts",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_prompts_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompts")),
        sa.UniqueConstraint("user_id", "name", name=op.f("uq_prompts_user_id_name")),
    )
