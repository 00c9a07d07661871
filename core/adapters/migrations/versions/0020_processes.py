"""The processes that serve, which of them does what only one may do, and who holds what is being worked on; an answer can be asked to stop from elsewhere."""

import sqlalchemy as sa
from alembic import op

from core.adapters.tables_sql import Moment

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

HELD = ("messages", "ingest_jobs", "collection_versions", "pipeline_runs")


def upgrade() -> None:
    """Two tables, five columns."""
    op.create_table(
        "processes",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("started_at", Moment(), nullable=False),
        sa.Column("beat_at", Moment(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_processes")),
    )
    op.create_table(
        "duties",
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("holder", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_duties")),
    )
    for table in HELD:
        op.add_column(table, sa.Column("holder", sa.String(length=36), nullable=False, server_default=sa.text("''")))
    op.add_column("messages", sa.Column("stopping", sa.Boolean(), nullable=False, server_default=sa.false()))
