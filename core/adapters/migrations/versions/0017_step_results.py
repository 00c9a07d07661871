"""What a step has made, for later ones that do the same with the same; and the evaluation that ships may be run by everybody."""

import sqlalchemy as sa
from alembic import op

from core.adapters.tables_sql import Json, Number

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

SHARE = """UPDATE pipelines SET shared = :yes WHERE name = 'evaluate-rag'
AND NOT EXISTS (SELECT 1 FROM pipelines AS others WHERE others.name = 'evaluate-rag' AND others.owner_id != '')"""
"""Where an admin has put a version of their own on top, sharing it is theirs to decide."""


def upgrade() -> None:
    """One table, two columns."""
    op.create_table(
        "step_results",
        sa.Column("n", Number, autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=400), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("result", Json(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["pipeline_runs.id"], name=op.f("fk_step_results_run_id_pipeline_runs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_step_results")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_step_results_run_id_key", "step_results", ["run_id", "key"], unique=True)
    op.create_index("ix_step_results_fingerprint_n", "step_results", ["fingerprint", "n"], unique=False)
    op.add_column("pipeline_runs", sa.Column("cache", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("run_steps", sa.Column("cached_from", sa.String(length=36), nullable=False, server_default=sa.text("''")))
    op.execute(sa.text(SHARE).bindparams(sa.bindparam("yes", True, sa.Boolean())))
