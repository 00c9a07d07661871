"""Golden sets."""

import sqlalchemy as sa
from alembic import op

from core.adapters.tables_sql import Json, Moment

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A new table only."""
    op.create_table(
        "golden_rows",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("golden_set", sa.String(length=60), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.String(length=36), nullable=False),
        sa.Column("collections", Json(), nullable=False),
        sa.Column("chunk_ids", Json(), nullable=False),
        sa.Column("refuse", sa.Boolean(), nullable=False),
        sa.Column("origin", sa.String(length=10), nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.Column("made_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_golden_rows")),
    )
    op.create_index(op.f("ix_golden_rows_owner_id"), "golden_rows", ["owner_id"], unique=False)
    op.create_index("ix_golden_rows_golden_set_id", "golden_rows", ["golden_set", "id"], unique=False)
