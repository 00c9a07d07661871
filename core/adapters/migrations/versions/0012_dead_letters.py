"""Events whose effect was given up, and what the console asks the log by."""

import sqlalchemy as sa
from alembic import op

from core.adapters.tables_sql import Moment

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Columns and indexes only."""
    op.add_column("outbox", sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("outbox", sa.Column("error", sa.Text(), nullable=False, server_default=sa.text("''")))
    op.add_column("outbox", sa.Column("dead_at", Moment(), nullable=True))
    op.drop_index("ix_outbox_unrecorded", "outbox")
    op.create_index("ix_outbox_unrecorded", "outbox", ["seq"], unique=False, sqlite_where=sa.text("recorded_at IS NULL AND dead_at IS NULL"), postgresql_where=sa.text("recorded_at IS NULL AND dead_at IS NULL"))
    op.create_index("ix_outbox_dead", "outbox", ["seq"], unique=False, sqlite_where=sa.text("dead_at IS NOT NULL"), postgresql_where=sa.text("dead_at IS NOT NULL"))
    op.create_index("ix_outbox_user_id", "outbox", ["user_id"], unique=False)
    op.create_index("ix_outbox_type", "outbox", ["type"], unique=False)
