"""The bodies of the API of pipelines, in and out."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from core.workflow.model import (
    Artifact,
    ArtifactType,
    Cause,
    Engine,
    Experiment,
    ParameterType,
    Pipeline,
    PipelineRun,
    PipelineSpec,
    RunStatus,
    Step,
    StepStatus,
    Trigger,
    TriggerKind,
)
from core.workflow.room import Again, LogPart
from core.workflow.shelf import Listed
from ui.api.shapes import Text


def _storable(given: dict[str, Any]) -> dict[str, Any]:
    """Raises: ValueError for what JSON can name and no store takes."""
    try:
        json.dumps(given, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise ValueError("half a character (a lone surrogate) can't be stored") from error
    return given


def _in_utc(at: datetime) -> datetime:
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("there is no such time") from error


Given = Annotated[dict[str, Any], AfterValidator(_storable)]
"""Parameters by name."""
Time = Annotated[datetime, AfterValidator(_in_utc)]
"""Without a time zone it is UTC."""


class DefinitionIn(BaseModel):
    """A definition to look at."""

    engine: Engine = Field(description="kubeflow or argo.")
    definition: Text = Field(min_length=1, description="YAML, as the engine's own tools write it.")


class PipelineIn(DefinitionIn):
    """The next version of a pipeline."""

    name: Text


class SharedIn(BaseModel):
    """Who may run a pipeline, besides admins."""

    shared: bool


class RunIn(BaseModel):
    """What is to be run."""

    pipeline: Text = Field(description="A name for its latest version, or an id like name@2.")
    parameters: Given = Field(default_factory=dict)
    experiment: Text = Field("", description="Its name; one that isn't there is made.")
    id: Text = Field("", description="A UUIDv7 of your making: asking twice makes one run.")
    cache: bool = Field(True, description="Whether steps may take over what earlier runs of yours have made, where the definition lets them.")


class RerunIn(BaseModel):
    """What is to be otherwise this time."""

    parameters: Given = Field(default_factory=dict)
    latest: bool = Field(False, description="The pipeline's latest version instead of the same one.")
    drop: bool = Field(False, description="Leave out parameters that this version doesn't take as they were; otherwise it is an error that names them.")
    experiment: Text = Field("", description="Its name; left out, the one of the first run.")
    cache: bool = Field(True, description="Whether steps may take over what earlier runs of yours have made, where the definition lets them.")


class BaselineIn(BaseModel):
    """The run that the others of an experiment are compared with."""

    run_id: Text = Field(description="Empty for none.")


class TriggerIn(BaseModel):
    """What is to start runs by itself."""

    pipeline: Text
    kind: TriggerKind
    watched: Text = Field(max_length=1000, description="A cron expression in UTC, or a prefix in the object store.")
    parameters: Given = Field(default_factory=dict)
    experiment: Text = ""


class EnabledIn(BaseModel):
    """Whether a trigger is at work."""

    enabled: bool


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class ParameterOut(_Out):
    """Something that a run is given."""

    name: str
    type: ParameterType
    default: Any
    required: bool
    description: str
    options: list[str]


class NodeOut(_Out):
    """A task before anything runs."""

    name: str
    label: str
    kind: str
    needs: list[str]
    inside: str


class SpecOut(_Out):
    """What a definition says. notes: what will be otherwise here than on a cluster."""

    parameters: list[ParameterOut]
    graph: list[NodeOut]
    notes: list[str]
    description: str

    @classmethod
    def of(cls, spec: PipelineSpec) -> "SpecOut":
        """From the domain."""
        return cls.model_validate(spec)


class PipelineOut(_Out):
    """A version. The definition and what it says are given where one is asked for; problem: why it can't be run here any more."""

    id: str
    name: str
    version: int
    engine: Engine
    owner_id: str
    created_at: datetime
    shared: bool
    definition: str | None = None
    spec: SpecOut | None = None
    problem: str = ""

    @classmethod
    def of(cls, pipeline: Pipeline, *, whole: bool = False, spec: PipelineSpec | None = None, problem: str = "") -> "PipelineOut":
        """From the domain."""
        more: dict[str, Any] = {"problem": problem, "spec": SpecOut.of(spec) if spec else None, "definition": pipeline.definition if whole else None}
        return cls.model_validate(pipeline).model_copy(update=more)


class AgainOut(BaseModel):
    """What a rerun begins with. parameters: those of the run that still fit.   dropped: those that don't, each with the reason."""

    pipeline_id: str
    spec: SpecOut
    parameters: dict[str, Any]
    dropped: dict[str, str]

    @classmethod
    def of(cls, again: Again) -> "AgainOut":
        """From the domain."""
        return cls(pipeline_id=again.pipeline.id, spec=SpecOut.of(again.spec), parameters=dict(again.parameters), dropped=dict(again.dropped))


class ListedOut(PipelineOut):
    """The latest version of a pipeline, and how its runs went."""

    versions: int = 0
    runs: int = 0
    last_run_at: datetime | None = None
    last_status: RunStatus | None = None

    @classmethod
    def listed(cls, listed: Listed) -> "ListedOut":
        """From the domain."""
        counts = {"versions": listed.versions, "runs": listed.runs, "last_run_at": listed.last_run_at, "last_status": listed.last_status}
        return cls(**PipelineOut.of(listed.pipeline).model_dump(), **counts)


class ArtifactOut(_Out):
    """A file that a step has made; its bytes are at /v1/runs/{run}/artifacts/{id}."""

    id: str
    name: str
    type: ArtifactType
    uri: str
    step: str
    metadata: dict[str, Any]

    @classmethod
    def of(cls, artifact: Artifact) -> "ArtifactOut":
        """From the domain."""
        return cls.model_validate(artifact)


class RunOut(_Out):
    """A run. Artifacts and how many wait before it are given where one is asked for."""

    id: str
    pipeline_id: str
    pipeline_name: str
    status: RunStatus
    parameters: dict[str, Any]
    metrics: dict[str, float]
    user_id: str
    cause: Cause
    experiment_id: str
    rerun_of: str
    cache: bool
    reason: str
    created_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None
    external_url: str
    unreachable_since: datetime | None
    artifacts: list[ArtifactOut] | None = None
    ahead: int | None = None

    @classmethod
    def of(cls, run: PipelineRun, *, whole: bool = False, ahead: int | None = None) -> "RunOut":
        """From the domain."""
        return cls.model_validate(run).model_copy(update={"artifacts": [ArtifactOut.of(a) for a in run.artifacts] if whole else None, "ahead": ahead})


class AttemptOut(_Out):
    """One try of a step."""

    number: int
    started_at: datetime | None
    ended_at: datetime | None
    error: str


class StepOut(_Out):
    """A task as it was run. parent: the key of the step that it is a part of.   cached_from: the run that it took its outputs over from."""

    key: str
    name: str
    task: str
    status: StepStatus
    attempts: list[AttemptOut]
    started_at: datetime | None
    ended_at: datetime | None
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    error: str
    parent: str
    cached_from: str

    @classmethod
    def of(cls, step: Step) -> "StepOut":
        """From the domain."""
        return cls.model_validate(step)


class LogOut(_Out):
    """A part of a log. next_offset: where the next one begins, in bytes.   over: whether nothing more will come."""

    text: str
    offset: int
    next_offset: int
    size_bytes: int
    over: bool

    @classmethod
    def of(cls, part: LogPart) -> "LogOut":
        """From the domain."""
        return cls.model_validate(part)


class ExperimentOut(_Out):
    """A named set of runs. run_count: of its latest 200.   runs: those that you may see, where one experiment is asked for."""

    id: str
    name: str
    run_count: int
    metrics: dict[str, float]
    baseline: str
    user_id: str
    created_at: datetime
    runs: list[RunOut] | None = None

    @classmethod
    def of(cls, experiment: Experiment, runs: Sequence[PipelineRun] | None = None) -> "ExperimentOut":
        """From the domain."""
        of_it = None if runs is None else [RunOut.of(run) for run in runs]
        told = {name: getattr(experiment, name) for name in ("id", "name", "metrics", "baseline", "user_id", "created_at")}
        return cls(**told, run_count=len(experiment.runs), runs=of_it)


class TriggerOut(_Out):
    """What starts runs by itself. problem: why the last time made no run."""

    id: str
    pipeline_name: str
    kind: TriggerKind
    watched: str
    parameters: dict[str, Any]
    user_id: str
    created_at: datetime
    enabled: bool
    experiment_id: str
    last_at: datetime | None
    next_at: datetime | None
    problem: str

    @classmethod
    def of(cls, trigger: Trigger) -> "TriggerOut":
        """From the domain."""
        return cls.model_validate(trigger)
