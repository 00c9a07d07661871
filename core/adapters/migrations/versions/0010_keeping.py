"""The sweeps of retention; pinned conversations, and the audit rows of any question, found without reading all."""

import sqlalchemy as sa
from alembic import op

from core.adapters.tables_sql import Json, Moment, Number

revision = "0010"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A new table, and indexes on old ones."""
    op.create_table(
        "sweeps",
        sa.Column("seq", Number, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("started_at", Moment(), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.Column("removed", Json(), nullable=False),
        sa.Column("ended_at", Moment(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("lease_until", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_sweeps")),
        sa.UniqueConstraint("id", name=op.f("uq_sweeps_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_sweeps_started_at"), "sweeps", ["started_at"], unique=False)
    op.create_index("ix_sweeps_running", "sweeps", ["seq"], unique=False, sqlite_where=sa.text("ended_at IS NULL"), postgresql_where=sa.text("ended_at IS NULL"))
    op.create_index("ix_conversations_pinned", "conversations", ["id"], unique=False, sqlite_where=sa.text("pinned"), postgresql_where=sa.text("pinned"))
    op.drop_index("ix_audit_actor_key_seq", table_name="audit")
    op.drop_index("ix_audit_act_seq", table_name="audit")
    op.create_index("ix_audit_actor_key_at", "audit", ["actor_key", "at"], unique=False)
    op.create_index("ix_audit_act_at", "audit", ["act", "at"], unique=False)
    op.create_index("ix_audit_actor_key_act_at", "audit", ["actor_key", "act", "at"], unique=False)
