"""What the part of Argo's language that runs on one machine consists of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.workflow.model import ArtifactType, Parameter


@dataclass(frozen=True, slots=True)
class Script:
    """What a step runs. command: a name of `python`, `python3`, `bash` or `sh`, and options.   env: names and values with variables."""

    command: tuple[str, ...]
    source: str
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Need:
    """What a task waits for. succeeded: it must have; otherwise it may also have been skipped."""

    task: str
    succeeded: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One call of a template by another. artifacts: for each input the name of the output that it is, "tasks.a.outputs.artifacts.x".

    items: of withItems, None for no such loop.   param: withParam, "" for none.
    """

    name: str
    template: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    artifacts: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
    items: tuple[Any, ...] | None = None
    param: str = ""
    when: str = ""

    @property
    def loops(self) -> bool:
        """Whether it runs once for each of some items."""
        return self.items is not None or bool(self.param)


@dataclass(frozen=True, slots=True)
class Template:
    """Something that can be run. parameters: of its inputs, with their default or None; the other names map to paths as the definition has them.

    script: None for one that is made of tasks.   prefix: how its tasks name each other's outputs, "steps" or "tasks".   fail_fast: nothing begins any more
    after a failure.   hears: the result of its script, its standard output, is asked for.
    """

    name: str
    parameters: Mapping[str, str | None]
    artifacts: Mapping[str, str]
    out_parameters: Mapping[str, str]
    out_artifacts: Mapping[str, str]
    script: Script | None = None
    tasks: tuple[Task, ...] = ()
    prefix: str = "tasks"
    fail_fast: bool = False
    retries: int = 0
    hears: bool = False


@dataclass(frozen=True, slots=True)
class Workflow:
    """A definition that can be run here."""

    entrypoint: str
    templates: Mapping[str, Template]
    parameters: tuple[Parameter, ...]
    description: str = ""
    notes: tuple[str, ...] = ()


def artifact_type(name: str) -> ArtifactType:
    """What an artifact is, by its name: Argo has no kinds. It is the same rule here and on a cluster."""
    if ArtifactType.METRICS.value in name.lower():
        return ArtifactType.METRICS
    return {"model": ArtifactType.MODEL, "logs": ArtifactType.LOGS}.get(name.lower(), ArtifactType.DATASET)
