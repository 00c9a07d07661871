"""How pipelines and runs are listed: what is asked for, and in which order."""

from dataclasses import dataclass
from datetime import datetime

from core.workflow.model import Pipeline, RunStatus

CREATED, DURATION = "created", "duration"
"""What runs are sorted by, besides the names of metrics."""


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs; "" and None don't narrow. sort: CREATED, DURATION or a metric's name, in which case runs without it are left out.

    pipeline: a name, or an id with its version.
    """

    pipeline: str = ""
    status: RunStatus | None = None
    experiment_id: str = ""
    user_id: str = ""
    since: datetime | None = None
    sort: str = CREATED
    descending: bool = True


@dataclass(frozen=True, slots=True)
class Listed:
    """The latest version of a pipeline, how many versions and runs there are, and how the last of these stands."""

    pipeline: Pipeline
    versions: int
    runs: int
    last_run_at: datetime | None = None
    last_status: RunStatus | None = None
