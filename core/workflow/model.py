"""Pipelines, their runs with steps and artifacts, experiments, and what starts a run by itself."""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from core.errors import BadInput, IllegalStep

MAX_NAME_CHARS = 63
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_S3_URI = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/[^\x00-\x1f\x7f]+")

Value = str | int | float | bool | None | Sequence["Value"] | Mapping[str, "Value"]
"""What a parameter may be: JSON."""


class Engine(StrEnum):
    """Whose language a definition is written in."""

    KUBEFLOW = "kubeflow"
    ARGO = "argo"


class RunStatus(StrEnum):
    """How far a run is: pending → running → (succeeded | failed), and never otherwise. A cancelled run has failed, with that as its reason."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def over(self) -> bool:
        """Whether nothing follows."""
        return self in (RunStatus.SUCCEEDED, RunStatus.FAILED)


FOLLOWS: Mapping[RunStatus, frozenset[RunStatus]] = {
    RunStatus.PENDING: frozenset({RunStatus.RUNNING}),
    RunStatus.RUNNING: frozenset({RunStatus.SUCCEEDED, RunStatus.FAILED}),
    RunStatus.SUCCEEDED: frozenset(),
    RunStatus.FAILED: frozenset(),
}


class StepStatus(StrEnum):
    """How far a step is. `skipped`: its condition was false; `omitted`: something that it needs did not succeed.

    `cached`: it did not run, because an earlier step that did the same with the same has made its outputs already; it counts as one that has succeeded.
    """

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    CACHED = "cached"
    FAILED = "failed"
    SKIPPED = "skipped"
    OMITTED = "omitted"

    @property
    def over(self) -> bool:
        """Whether nothing follows."""
        return self is not StepStatus.RUNNING

    @property
    def ran(self) -> bool:
        """Whether it has attempts."""
        return self not in (StepStatus.CACHED, StepStatus.SKIPPED, StepStatus.OMITTED)


class ArtifactType(StrEnum):
    """What an artifact is."""

    MODEL = "model"
    DATASET = "dataset"
    METRICS = "metrics"
    LOGS = "logs"


class ParameterType(StrEnum):
    """What a parameter's value is, in JSON's own terms."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    LIST = "list"
    STRUCT = "struct"


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something a run is given. options: the only values it may have, where there are any.   required: whether it must be given, there being no default."""

    name: str
    type: ParameterType = ParameterType.STRING
    default: Value = None
    required: bool = False
    description: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A task as the definition has it, before anything runs.

    name: as its steps' `task` names it, with the names of the tasks around it before it, by dots.
    kind: what it runs, for people ("script", "loop", "condition").
    needs: the names of those that come before it.   inside: the name of the task that it is a part of, "" at the top.
    """

    name: str
    label: str
    kind: str = ""
    needs: tuple[str, ...] = ()
    inside: str = ""


@dataclass(frozen=True, slots=True)
class PipelineSpec:
    """What a definition says without being run. notes: what will be otherwise here than on a cluster, in sentences."""

    parameters: tuple[Parameter, ...] = ()
    graph: tuple[GraphNode, ...] = ()
    notes: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One version of a pipeline; it never changes. definition: YAML, kept byte for byte.   shared: others than admins may run it (all its versions)."""

    id: str
    name: str
    version: int
    engine: Engine
    definition: str
    owner_id: str
    created_at: datetime
    shared: bool = False


def pipeline_id(name: str, version: int) -> str:
    """The id of a version, which people can read and type."""
    return f"{name}@{version}"


def demand_name(name: str, what: str = "a pipeline") -> str:
    """The name, if it may be one: lower case, as both clusters demand it (RFC 1123 labels). Raises: BadInput."""
    if _NAME.fullmatch(name) is None:
        raise BadInput(f"{name!r} can't be the name of {what}.", hint=f"Use 1 to {MAX_NAME_CHARS} lower-case letters, digits and inner hyphens.")
    return name


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a step has made, in the object store. metadata: its size, checksum and kind; of metrics the numbers themselves, under "metrics"."""

    id: str
    run_id: str
    name: str
    type: ArtifactType
    uri: str
    metadata: Mapping[str, object] = field(default_factory=dict)
    step: str = ""
    """The key of the step."""

    def __post_init__(self) -> None:
        """Raises: BadInput for a uri that is none of an object store's, and for a name that no file may have."""
        if "/" in self.name or not self.name.isprintable() or not self.name.strip(". "):
            raise BadInput(f"{self.name[:80]!r} can't be the name of an artifact.", hint="Use a name that a file may have.")
        if _S3_URI.fullmatch(self.uri) is None:
            raise BadInput(f"{self.uri!r} is no address in an object store.", hint="An artifact's address is s3://bucket/key.")


class Cause(StrEnum):
    """What made a run."""

    CONSOLE = "console"
    API = "api"
    COMMAND = "command"
    SCHEDULE = "schedule"
    EVENT = "event"
    FILE = "file"
    RERUN = "rerun"


@dataclass(frozen=True, slots=True)
class PipelineRun:
    """One execution of a version of a pipeline.

    reason: why it failed, as a sentence.   metrics: the numbers of its metrics artifacts, the latest of each name.   rerun_of: the run it repeats.
    external_id, external_url: what the cluster calls it, and where it shows it.   unreachable_since: when the cluster was last heard of, while it isn't.
    cache: whether its steps may take over what earlier ones have made.
    """

    id: str
    pipeline_id: str
    status: RunStatus
    started_at: datetime | None
    completed_at: datetime | None
    parameters: Mapping[str, Value]
    artifacts: tuple[Artifact, ...] = ()
    user_id: str = ""
    created_at: datetime | None = None
    cause: Cause = Cause.API
    experiment_id: str = ""
    rerun_of: str = ""
    reason: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    external_id: str = ""
    external_url: str = ""
    unreachable_since: datetime | None = None
    cache: bool = True

    @property
    def pipeline_name(self) -> str:
        """Without the version."""
        return self.pipeline_id.rpartition("@")[0]

    def to(self, status: RunStatus, at: datetime, reason: str = "") -> "PipelineRun":
        """The run one step further. Raises: IllegalStep for any other step than the allowed ones."""
        if status not in FOLLOWS[self.status]:
            raise IllegalStep(f"A run that is {self.status.value} can't become {status.value}.", hint="Rerun it: that makes a new run.")
        if status is RunStatus.RUNNING:
            return replace(self, status=status, started_at=at)
        return replace(self, status=status, completed_at=at, reason=reason, unreachable_since=None)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a step. log: where its output is: relative to the run's folder while it runs, then the uri of its artifact."""

    number: int
    log: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A task as it was run once: a loop makes one for each of its items. key: unique in its run.   task: the name of its node in the graph.

    inputs, outputs: parameters.   parent: the key of the step that it is a part of, "" at the top.
    cached_from: the run that it took its outputs over from; "" if it ran itself. That run may have been deleted since.
    """

    run_id: str
    key: str
    name: str
    task: str
    status: StepStatus
    attempts: tuple[Attempt, ...] = ()
    started_at: datetime | None = None
    ended_at: datetime | None = None
    inputs: Mapping[str, Value] = field(default_factory=dict)
    outputs: Mapping[str, Value] = field(default_factory=dict)
    error: str = ""
    parent: str = ""
    cached_from: str = ""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step has made, as a later one that does the same with the same takes it over.

    fingerprint: of all that the result depends on: SHA-256 in hexadecimal.   result: what the engine needs to take it over, as JSON.
    files: the step's artifacts.
    """

    run_id: str
    key: str
    fingerprint: str
    result: Mapping[str, object]
    files: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True)
class Experiment:
    """A named set of runs. metrics: of each name, the value of its latest run.   baseline: the run that the others are compared with, "" for none."""

    id: str
    name: str
    runs: tuple[str, ...]
    metrics: Mapping[str, float]
    created_at: datetime
    user_id: str = ""
    baseline: str = ""


class TriggerKind(StrEnum):
    """What a trigger waits for."""

    SCHEDULE = "schedule"
    """Times, as a cron expression in UTC."""
    FILE = "file"
    """A new or changed object under a prefix; its uri becomes the parameter `uri` if the pipeline has one."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """What starts runs by itself, in its owner's name. watched: the cron expression, or the prefix.   problem: why the last time made no run."""

    id: str
    pipeline_name: str
    kind: TriggerKind
    watched: str
    parameters: Mapping[str, Value]
    user_id: str
    created_at: datetime
    enabled: bool = True
    experiment_id: str = ""
    last_at: datetime | None = None
    next_at: datetime | None = None
    problem: str = ""


# What an engine tells of a run, in order.


@dataclass(frozen=True, slots=True)
class Produced:
    """A file that a step has made: `path`, relative to the run's folder, or `uri` where it is in the object store already."""

    name: str
    type: ArtifactType
    path: str = ""
    uri: str = ""
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step has begun, has begun another attempt, or is over. Told of one key any number of times; the first end counts.

    log: of this attempt, relative to the run's folder.   error: of this attempt; of a step that goes on too, if another attempt follows.
    fingerprint, result: of a step whose outputs others may take over, as `StepResult` says; "" and {} where they may not.
    cached_from: the run that these outputs are taken over from.
    """

    key: str
    name: str
    task: str
    status: StepStatus
    at: datetime
    attempt: int = 1
    log: str = ""
    inputs: Mapping[str, Value] = field(default_factory=dict)
    outputs: Mapping[str, Value] = field(default_factory=dict)
    artifacts: tuple[Produced, ...] = ()
    error: str = ""
    parent: str = ""
    fingerprint: str = ""
    result: Mapping[str, object] = field(default_factory=dict)
    cached_from: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """A cluster has taken the run, and calls it that."""

    external_id: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """A cluster isn't heard of since then; None: it is heard of again."""

    unreachable_since: datetime | None


@dataclass(frozen=True, slots=True)
class RunReport:
    """The run is over; nothing follows. reason: of a failure, as a sentence."""

    succeeded: bool
    reason: str = ""


EngineReport = StepReport | Placed | Reach | RunReport


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a step takes over. from_run: whose it was.   result: as that one's report said.   files: of its artifacts, by name, relative to the folder."""

    from_run: str
    result: Mapping[str, object]
    files: Mapping[str, str]


Recall = Callable[[str], Awaitable[Recalled | None]]
"""What an earlier step with that fingerprint has made, its files laid into the folder of the run that asks; None: there is nothing to take over."""


@dataclass(frozen=True, slots=True)
class Order:
    """A run as an engine is given it. parameters: checked, all of them, with secrets in place.   folder: the run's own, for its files.

    external_id: "" until a cluster has taken it.   cache: whether steps may take over what earlier ones have made; a cluster has a cache of its own.
    recall: asks for what earlier runs of the same user have made here; None: there is nobody to ask.
    """

    run_id: str
    pipeline: Pipeline
    parameters: Mapping[str, Value]
    folder: Path
    external_id: str = ""
    cache: bool = True
    recall: Recall | None = None


LENT = ("hearth_url", "hearth_key")
"""Parameters that the house fills in itself when a run begins, and never keeps: where its API is, and a key for it that ends with the run."""


def given(spec: PipelineSpec, parameters: Mapping[str, Value]) -> dict[str, Value]:
    """What a run gets: every parameter by name, those that weren't given by their default. Raises: BadInput for unknown, missing and wrongly typed ones."""
    known = {p.name: p for p in spec.parameters}
    if unknown := sorted(set(parameters) - set(known)):
        offered = ", ".join(known) or "none"
        raise BadInput(f"The pipeline has no parameter {unknown[0]!r}.", hint=f"Its parameters: {offered}.")
    if missing := [p.name for p in spec.parameters if p.required and p.name not in parameters]:
        raise BadInput(f"The parameter {missing[0]!r} is missing.", hint="It has no default: give it a value.")
    return {p.name: _checked(p, parameters[p.name]) if p.name in parameters else p.default for p in spec.parameters}


def carried(spec: PipelineSpec, parameters: Mapping[str, Value]) -> tuple[dict[str, Value], dict[str, str]]:
    """What of a run's parameters another version takes as they are, and of each of the others why it doesn't, as a sentence."""
    known, fitting, dropped = {p.name: p for p in spec.parameters}, dict[str, Value](), dict[str, str]()
    for name, value in parameters.items():
        if name not in known:
            dropped[name] = "It has no such parameter."
            continue
        try:
            fitting[name] = _checked(known[name], value)
        except BadInput as error:
            dropped[name] = error.message
    return fitting, dropped


def read_parameter(parameter: Parameter, text: str) -> Value:
    """A value as somebody types it. Raises: BadInput if it is none of that type."""
    if parameter.type is ParameterType.STRING:
        return _checked(parameter, text)
    try:
        return _checked(parameter, json.loads(text))
    except ValueError:
        raise _wrong(parameter, text) from None


_JSON_TYPES: Mapping[ParameterType, tuple[type, ...]] = {
    ParameterType.STRING: (str,),
    ParameterType.INTEGER: (int,),
    ParameterType.NUMBER: (int, float),
    ParameterType.BOOLEAN: (bool,),
    ParameterType.LIST: (list, tuple),
    ParameterType.STRUCT: (dict,),
}


def _checked(parameter: Parameter, value: Value) -> Value:
    if value is None and parameter.default is None and not parameter.required:
        return None
    if parameter.type is ParameterType.INTEGER and isinstance(value, float) and value.is_integer():
        value = int(value)
    fits = isinstance(value, _JSON_TYPES[parameter.type]) and (parameter.type is ParameterType.BOOLEAN or not isinstance(value, bool))
    if not fits:
        raise _wrong(parameter, value)
    if parameter.options and value not in parameter.options:
        raise BadInput(f"{value!r} is none of the values of {parameter.name!r}.", hint=f"Choose one of: {', '.join(parameter.options)}.")
    return value


def _wrong(parameter: Parameter, value: object) -> BadInput:
    return BadInput(
        f"The parameter {parameter.name!r} takes {_ARTICLES[parameter.type]}, not {str(value)[:80]!r}.", hint="Give it a value of that type, as JSON writes it."
    )


_ARTICLES: Mapping[ParameterType, str] = {
    ParameterType.STRING: "a text",
    ParameterType.INTEGER: "a whole number",
    ParameterType.NUMBER: "a number",
    ParameterType.BOOLEAN: "true or false",
    ParameterType.LIST: "a list",
    ParameterType.STRUCT: "an object",
}


def numbers(metadata: Mapping[str, object]) -> dict[str, float]:
    """The metrics in an artifact's metadata; whatever is no finite number is left out."""
    held = metadata.get("metrics")
    if not isinstance(held, Mapping):
        return {}
    return {str(k): float(v) for k, v in held.items() if isinstance(v, (int, float)) and not isinstance(v, bool) and abs(v) < float("inf")}


def merged(artifacts: Iterable[Artifact]) -> dict[str, float]:
    """The metrics of a run: those of its artifacts, the latest of each name."""
    found: dict[str, float] = {}
    for artifact in artifacts:
        if artifact.type is ArtifactType.METRICS:
            found |= numbers(artifact.metadata)
    return found
