"""What a server of events needs: which events it has, and what it is to forget."""

import sqlalchemy as sa
from alembic import op

from core.adapters.tables_sql import Moment, Number

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds them."""
    op.add_column("outbox", sa.Column("streamed_at", Moment(), nullable=True))
    op.create_table("relay", sa.Column("seq", Number, autoincrement=False, nullable=False), sa.PrimaryKeyConstraint("seq", name=op.f("pk_relay")))
    op.create_table(
        "stream_purges",
        sa.Column("n", Number, autoincrement=True, nullable=False),
        sa.Column("user_id", sa.String(36), nullable=False),
        sa.Column("aggregate_id", sa.String(36), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("purged_at", Moment(), nullable=True),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_stream_purges")),
    )
    op.create_index("ix_stream_purges_aggregate_id", "stream_purges", ["aggregate_id"], unique=False)
    op.create_index("ix_stream_purges_user_id", "stream_purges", ["user_id"], unique=False)
