"""Quotas and what is used of them; what a key opens, and until when."""

import sqlalchemy as sa
from alembic import op

from core.adapters.tables_sql import Json, Moment

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Keys that are there open what they opened before."""
    op.add_column("users", sa.Column("quota", Json(), nullable=False, server_default="{}"))
    op.add_column("api_keys", sa.Column("scopes", Json(), nullable=False, server_default='["chat","documents","voice","metrics"]'))
    op.add_column("api_keys", sa.Column("expires_at", Moment(), nullable=True))
    op.create_table(
        "usage",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("requests", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("audio_ms", sa.Float(), nullable=False, server_default="0"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_usage_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "day", name=op.f("pk_usage")),
    )
