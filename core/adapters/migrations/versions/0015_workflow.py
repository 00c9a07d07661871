"""Pipelines, runs with their steps and artifacts, experiments and triggers."""

import sqlalchemy as sa
from alembic import op

from core.adapters.tables_sql import Json, Moment, Number

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """New tables only."""
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("baseline", sa.String(length=36), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sa.UniqueConstraint("name", name=op.f("uq_experiments_name")),
    )
    op.create_table(
        "pipelines",
        sa.Column("id", sa.String(length=80), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("engine", sa.String(length=10), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("shared", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipelines")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_pipelines_name_version")),
    )
    op.create_table(
        "triggers_received",
        sa.Column("event_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("aggregate_id", sa.String(length=36), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("data", Json(), nullable=False),
        sa.Column("acted_on", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("problem", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_triggers_received")),
    )
    op.create_index("ix_triggers_received_waiting", "triggers_received", ["at"], unique=False, sqlite_where=sa.text("acted_on IS 0"), postgresql_where=sa.text("NOT acted_on"))
    op.create_table(
        "pipeline_runs",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("pipeline_id", sa.String(length=80), nullable=False),
        sa.Column("pipeline_name", sa.String(length=63), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("cause", sa.String(length=10), nullable=False),
        sa.Column("parameters", Json(), nullable=False),
        sa.Column("metrics", Json(), server_default="{}", nullable=False),
        sa.Column("experiment_id", sa.String(length=36), server_default=sa.text("''"), nullable=False),
        sa.Column("rerun_of", sa.String(length=36), server_default=sa.text("''"), nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("external_id", sa.String(length=200), server_default=sa.text("''"), nullable=False),
        sa.Column("external_url", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("unreachable_since", Moment(), nullable=True),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("started_at", Moment(), nullable=True),
        sa.Column("completed_at", Moment(), nullable=True),
        sa.Column("duration_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["pipeline_id"], ["pipelines.id"], name=op.f("fk_pipeline_runs_pipeline_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipeline_runs")),
    )
    op.create_index("ix_pipeline_runs_created_at_id", "pipeline_runs", ["created_at", "id"], unique=False)
    op.create_index("ix_pipeline_runs_duration_us_id", "pipeline_runs", ["duration_us", "id"], unique=False)
    op.create_index("ix_pipeline_runs_experiment_id_id", "pipeline_runs", ["experiment_id", "id"], unique=False)
    op.create_index(op.f("ix_pipeline_runs_pipeline_id"), "pipeline_runs", ["pipeline_id"], unique=False)
    op.create_index("ix_pipeline_runs_pipeline_name_created_at", "pipeline_runs", ["pipeline_name", "created_at"], unique=False)
    op.create_index("ix_pipeline_runs_status_id", "pipeline_runs", ["status", "id"], unique=False)
    op.create_index(op.f("ix_pipeline_runs_user_id"), "pipeline_runs", ["user_id"], unique=False)
    op.create_table(
        "triggers",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("pipeline_name", sa.String(length=63), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("watched", sa.Text(), nullable=False),
        sa.Column("parameters", Json(), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("experiment_id", sa.String(length=36), server_default=sa.text("''"), nullable=False),
        sa.Column("last_at", Moment(), nullable=True),
        sa.Column("next_at", Moment(), nullable=True),
        sa.Column("problem", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_triggers_user_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_triggers")),
    )
    op.create_index(op.f("ix_triggers_pipeline_name"), "triggers", ["pipeline_name"], unique=False)
    op.create_index(op.f("ix_triggers_user_id"), "triggers", ["user_id"], unique=False)
    op.create_table(
        "artifacts",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("step", sa.String(length=400), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("type", sa.String(length=10), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("metadata", Json(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["pipeline_runs.id"], name=op.f("fk_artifacts_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifacts")),
    )
    op.create_index(op.f("ix_artifacts_run_id"), "artifacts", ["run_id"], unique=False)
    op.create_table(
        "files_seen",
        sa.Column("trigger_id", sa.String(length=36), nullable=False),
        sa.Column("object_uri", sa.Text(), nullable=False),
        sa.Column("mark", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(["trigger_id"], ["triggers.id"], name=op.f("fk_files_seen_trigger_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("trigger_id", "object_uri", name=op.f("pk_files_seen")),
    )
    op.create_table(
        "run_metrics",
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["pipeline_runs.id"], name=op.f("fk_run_metrics_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_run_metrics")),
    )
    op.create_index("ix_run_metrics_name_value_run_id", "run_metrics", ["name", "value", "run_id"], unique=False)
    op.create_table(
        "run_steps",
        sa.Column("n", Number, autoincrement=True, nullable=False),
        sa.Column("run_id", sa.String(length=36), nullable=False),
        sa.Column("key", sa.String(length=400), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("attempts", Json(), nullable=False),
        sa.Column("started_at", Moment(), nullable=True),
        sa.Column("ended_at", Moment(), nullable=True),
        sa.Column("inputs", Json(), nullable=False),
        sa.Column("outputs", Json(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("parent", sa.String(length=400), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["pipeline_runs.id"], name=op.f("fk_run_steps_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_run_steps")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_run_steps_run_id_key", "run_steps", ["run_id", "key"], unique=True)
