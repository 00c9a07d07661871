"""Vectors in a table of their own, by the version of their collection, so that another model's can be made while these are searched."""

import sqlalchemy as sa
from alembic import op

from core.adapters.tables_sql import Moment, Number

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Moves every vector; each collection's version is its first."""
    op.create_table(
        "collection_versions",
        sa.Column("collection_id", sa.String(length=36), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("embedding_model", sa.Text(), nullable=False),
        sa.Column("dimensions", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("total", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("error", sa.Text(), nullable=False, server_default=sa.text("''")),
        sa.Column("made_at", Moment(), nullable=False),
        sa.Column("lease_until", Moment(), nullable=True),
        sa.ForeignKeyConstraint(["collection_id"], ["collections.id"], name=op.f("fk_collection_versions_collection_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("collection_id", "version", name=op.f("pk_collection_versions")),
    )
    op.create_index("ix_collection_versions_building", "collection_versions", ["made_at"], unique=False, sqlite_where=sa.text("state = 'building'"), postgresql_where=sa.text("state = 'building'"))
    op.create_table(
        "chunk_vectors",
        sa.Column("chunk_n", Number, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("embedding", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["chunk_n"], ["chunks.n"], name=op.f("fk_chunk_vectors_chunk_n"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("chunk_n", "version", name=op.f("pk_chunk_vectors")),
    )
    op.execute(
        "INSERT INTO collection_versions (collection_id, version, embedding_model, dimensions, state, made_at) "
        "SELECT id, version, embedding_model, dimensions, 'ready', created_at FROM collections"
    )
    op.execute(
        "INSERT INTO chunk_vectors (chunk_n, version, embedding) "
        "SELECT chunks.n, collections.version, chunks.embedding FROM chunks JOIN collections ON collections.id = chunks.collection_id"
    )
    op.drop_column("chunks", "embedding")
