"""Documents keep the name they came by and get new versions; jobs know their version and pace; queues can be paused; collections have a rerank depth."""

import sqlalchemy as sa
from alembic import op

from core.adapters.tables_sql import Moment

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# The first document's name is the best that is known: its title.
NAMED = "UPDATE documents SET name = title"
OF_ITS_DOCUMENT = """UPDATE ingest_jobs SET (version, sha256, size_bytes, uri, source_url, chunks) =
    (SELECT version, sha256, size_bytes, uri, source_url, chunks FROM documents WHERE documents.id = ingest_jobs.document_id)"""


def upgrade() -> None:
    """Columns with defaults, so that no table is copied."""
    op.add_column("collections", sa.Column("rerank_depth", sa.Integer(), server_default="20", nullable=False))
    op.add_column("documents", sa.Column("name", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("ingest_jobs", sa.Column("version", sa.Integer(), server_default="1", nullable=False))
    op.add_column("ingest_jobs", sa.Column("sha256", sa.String(length=64), server_default=sa.text("''"), nullable=False))
    op.add_column("ingest_jobs", sa.Column("size_bytes", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("ingest_jobs", sa.Column("uri", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("ingest_jobs", sa.Column("source_url", sa.Text(), server_default=sa.text("''"), nullable=False))
    op.add_column("ingest_jobs", sa.Column("chunks", sa.Integer(), server_default="0", nullable=False))
    op.add_column("ingest_jobs", sa.Column("started_at", Moment(), nullable=True))
    op.execute(NAMED)
    op.execute(OF_ITS_DOCUMENT)
    op.create_index("ix_documents_collection_id_name", "documents", ["collection_id", "name"], unique=False)
    op.create_index("ix_ingest_jobs_sha256", "ingest_jobs", ["sha256"], unique=False)
    op.create_index("ix_ingest_jobs_stage_id", "ingest_jobs", ["stage", "id"], unique=False)
    op.create_table(
        "ingest_pauses",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("since", Moment(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_ingest_pauses_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_ingest_pauses")),
    )
    op.create_table(
        "stale_objects",
        sa.Column("uri", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("uri", name=op.f("pk_stale_objects")),
    )
