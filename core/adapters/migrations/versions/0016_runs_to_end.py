"""Why a run that goes on is to end, said by a process that doesn't run it."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column."""
    op.add_column("pipeline_runs", sa.Column("ending", sa.Text(), nullable=False, server_default=sa.text("''")))
