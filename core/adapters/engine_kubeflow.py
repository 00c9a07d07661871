"""Kubeflow Pipelines by its REST API (v2beta1). A definition goes there as it is, with the parameters and the place of its artifacts beside it.

That API tells of no log and of no artifact's address: artifacts are found in the object store, where the run is told to put them; logs stay on the cluster.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from typing import Any

import httpx
import msgspec

from core.adapters.engine_cluster import ClusterEngine, Connection, Look, Seen, Sleep, moment
from core.adapters.pipelines.kubeflow_artifacts import DATASET, TYPES
from core.objects import RUNS as OF_RUNS
from core.ports import ObjectStore
from core.records import every_page
from core.workflow.definitions import documents
from core.workflow.model import ArtifactType, Order, PipelineSpec, Produced, RunStatus, StepReport, StepStatus

RUNS = "/apis/v2beta1/runs"

STATES: Mapping[str, RunStatus] = {
    "": RunStatus.PENDING,
    "RUNTIME_STATE_UNSPECIFIED": RunStatus.PENDING,
    "PENDING": RunStatus.PENDING,
    "RUNNING": RunStatus.RUNNING,
    "CANCELING": RunStatus.RUNNING,
    "PAUSED": RunStatus.RUNNING,
    "SUCCEEDED": RunStatus.SUCCEEDED,
    "SKIPPED": RunStatus.FAILED,
    "FAILED": RunStatus.FAILED,
    "CANCELED": RunStatus.FAILED,
}
"""A run that was skipped has done nothing: only steps are skipped when all is well."""
TASK_STATES: Mapping[str, StepStatus | None] = {
    "": None,
    "RUNTIME_STATE_UNSPECIFIED": None,
    "PENDING": None,
    "RUNNING": StepStatus.RUNNING,
    "CANCELING": StepStatus.RUNNING,
    "PAUSED": StepStatus.RUNNING,
    "SUCCEEDED": StepStatus.SUCCEEDED,
    "SKIPPED": StepStatus.SKIPPED,
    "FAILED": StepStatus.FAILED,
    "CANCELED": StepStatus.FAILED,
}
"""None: it has not begun."""
REASONS: Mapping[str, str] = {"CANCELED": "It was cancelled on the cluster.", "SKIPPED": "It was skipped."}
LOGS = "executor-logs"
"""What the cluster calls a log that it was told to keep as an artifact."""


class _Error(msgspec.Struct, frozen=True):
    message: str = ""


class _Jobs(msgspec.Struct, frozen=True):
    failed_main_jobs: tuple[str, ...] = ()


class _Task(msgspec.Struct, frozen=True):
    """What Kubeflow tells of a task, and of much that it starts around tasks."""

    task_id: str = ""
    display_name: str = ""
    parent_task_id: str = ""
    state: str = ""
    start_time: str | None = None
    create_time: str | None = None
    end_time: str | None = None
    error: _Error | None = None
    executor_detail: _Jobs | None = None


class _Details(msgspec.Struct, frozen=True):
    task_details: tuple[_Task, ...] = ()


class _Run(msgspec.Struct, frozen=True):
    run_id: str
    state: str = ""
    error: _Error | None = None
    run_details: _Details | None = None


class _List(msgspec.Struct, frozen=True):
    runs: tuple[_Run, ...] = ()


class _Health(msgspec.Struct, frozen=True):
    multi_user: bool = False


@dataclass(frozen=True, slots=True)
class _Named:
    """A task of the definition. path: its name after those of the tasks around it, by dots.   artifacts: the schema of each that it makes, by name."""

    path: str
    label: str
    artifacts: Mapping[str, str]


class KubeflowEngine(ClusterEngine):
    """Runs pipelines of the engine kubeflow on a cluster."""

    def __init__(
        self,
        url: str,
        token: str,
        validate: Callable[[str], PipelineSpec],
        clock: Callable[[], datetime],
        *,
        objects: ObjectStore | None = None,
        sleep: Sleep = asyncio.sleep,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """objects: the store that the cluster writes to as well; without one its artifacts stay where it puts them, unknown here. Raises: SettingsError."""
        super().__init__(Connection(url, token, "Kubeflow Pipelines", "HEARTH_KUBEFLOW_URL", transport), validate, clock, sleep)
        self._objects = objects

    async def check(self) -> None:
        """As the port says."""
        await self._cluster.ask("GET", "/apis/v2beta1/healthz", _Health)

    async def _found(self, run_id: str) -> str:
        wanted = {"predicates": [{"key": "display_name", "operation": "EQUALS", "string_value": _display_name(run_id)}]}
        found = (await self._cluster.ask("GET", RUNS, _List, filter=json.dumps(wanted), page_size="1")).runs
        return found[0].run_id if found else ""

    async def _submitted(self, order: Order) -> str:
        root = self._objects.uri(_folder(order.run_id)) if self._objects else ""
        return (await self._cluster.ask("POST", RUNS, _Run, body=await asyncio.to_thread(body_of, order, root))).run_id

    async def _end(self, external_id: str) -> None:
        await self._cluster.ask("POST", f"{RUNS}/{external_id}:terminate", _Health)

    def _page(self, external_id: str) -> str:
        return f"{self._cluster.url}/#/runs/details/{external_id}"

    async def _look(self, order: Order, external_id: str) -> Look:
        seen = await self._cluster.ask("GET", f"{RUNS}/{external_id}", _Run)
        named = await asyncio.to_thread(_tasks_in, order.pipeline.definition)
        tasks = [task for task in (seen.run_details.task_details if seen.run_details else ()) if task.task_id and task.display_name in named]
        steps = [step for task in sorted(tasks, key=_began) for step in self._step(task, named[task.display_name], {t.task_id for t in tasks})]
        reason = (seen.error.message if seen.error else "") or REASONS.get(seen.state, "")
        return Look(self._known(STATES, seen.state, RunStatus.RUNNING), tuple(steps), reason)

    def _step(self, task: _Task, named: _Named, shown: set[str]) -> Iterator[Seen]:
        """What is told of a task. Its id is its key, because the tasks of a loop have all the same name."""
        status = self._known(TASK_STATES, task.state, StepStatus.RUNNING)
        if status is None:
            return
        now = self._clock()
        number = 1 + len(task.executor_detail.failed_main_jobs if task.executor_detail else ())
        parent = task.parent_task_id if task.parent_task_id in shown else ""
        began = StepReport(task.task_id, named.label, named.path, StepStatus.RUNNING, moment(_began(task), now), number, parent=parent)
        if status is not StepStatus.SKIPPED:
            yield Seen(began)
        if status.over:
            said = task.error.message if task.error else ""
            otherwise = REASONS.get(task.state, "Kubeflow says no more.")
            error = (said or otherwise) if status is StepStatus.FAILED else ""
            yield Seen(replace(began, status=status, at=moment(task.end_time, now), error=error), status is StepStatus.SUCCEEDED, named)

    async def _with_files(self, order: Order, external_id: str, seen: Seen) -> StepReport:
        """What lies below the run's folder under the name of the task: <pipeline>/<run>/<task>/<something>/<artifact>."""
        named: _Named = seen.of
        if self._objects is None or not named.artifacts:
            return seen.report
        store, taken, task = self._objects, self._following[order.run_id].taken, named.path.rpartition(".")[2]
        made = []
        async for page in every_page(lambda cursor: store.all(prefix=f"{_folder(order.run_id)}/", cursor=cursor)):
            for stored in page:
                parts = stored.uri.removeprefix(f"{store.uri(_folder(order.run_id))}/").split("/")
                at = parts.index(task) + 2 if task in parts else len(parts)
                if stored.uri in taken or at >= len(parts) or parts[at] not in named.artifacts:
                    continue
                taken.add(stored.uri)
                schema = named.artifacts[parts[at]]
                metadata = {"schema": schema, "size_bytes": stored.size_bytes}
                made.append(Produced("-".join(parts[at:]), _kind_of(parts[at], schema), uri=stored.uri, metadata=metadata))
        return replace(seen.report, artifacts=tuple(made))


def body_of(order: Order, root: str) -> dict[str, Any]:
    """What is sent to run it. root: where its artifacts go, "" for wherever the cluster puts them. A second document is what the cluster itself is told.

    A run without the cache is the one change to what was defined: the API has no other word for it (kfp's own client does the same).
    """
    spec, *platform = documents(order.pipeline.definition)
    if not order.cache:
        _uncached(spec)
    sent = {"pipeline_spec": spec, "platform_spec": platform[0]} if platform else spec
    config: dict[str, Any] = {"parameters": {name: value for name, value in order.parameters.items() if value is not None}}
    return {"display_name": _display_name(order.run_id), "pipeline_spec": sent, "runtime_config": config | ({"pipeline_root": root} if root else {})}


def _uncached(spec: Mapping[str, Any]) -> None:
    """Takes the leave to use the cache from every task."""
    for graph in [spec.get("root") or {}, *(spec.get("components") or {}).values()]:
        for task in ((graph.get("dag") or {}).get("tasks") or {}).values():
            task.pop("cachingOptions", None)


def tasks_of(spec: Mapping[str, Any]) -> dict[str, _Named]:
    """The tasks of a definition, by the names under which a cluster may show them. Of two with one name the first counts."""
    found: dict[str, _Named] = {}
    components: Mapping[str, Any] = spec.get("components") or {}

    def look(dag: Mapping[str, Any], around: tuple[str, ...]) -> None:
        for name, task in (dag.get("tasks") or {}).items():
            component = components.get((task.get("componentRef") or {}).get("name") or "") or {}
            outputs = (component.get("outputDefinitions") or {}).get("artifacts") or {}
            artifacts = {one: (told.get("artifactType") or {}).get("schemaTitle") or "" for one, told in outputs.items()} if "dag" not in component else {}
            label = (task.get("taskInfo") or {}).get("name") or name
            one = _Named(".".join((*around, name)), label, {**artifacts, LOGS: ""} if "dag" not in component else {})
            for shown in (name, label):
                found.setdefault(shown, one)
            if "dag" in component and name not in around:
                look(component["dag"], (*around, name))

    look((spec.get("root") or {}).get("dag") or {}, ())
    return found


@lru_cache(maxsize=32)
def _tasks_in(definition: str) -> Mapping[str, _Named]:
    """Kept, because a run is looked at every few seconds."""
    return tasks_of(documents(definition)[0])


def _display_name(run_id: str) -> str:
    return f"hearth-{run_id}"


def _folder(run_id: str) -> str:
    return f"{OF_RUNS}{run_id}"


def _began(task: _Task) -> str:
    return task.start_time or task.create_time or "~"


def _kind_of(name: str, schema: str) -> ArtifactType:
    return ArtifactType.LOGS if name == LOGS else ArtifactType(TYPES.get(schema, DATASET))
