"""Argo Workflows by its REST API. A definition goes there as it is: only a name, the arguments and the label by which the run is found again are added."""

import asyncio
import json
import logging
import shutil
import tarfile
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from core.adapters.engine_cluster import POLL_S, TRIES, ClusterEngine, Connection, Look, Seen, Sleep, file_in, moment
from core.adapters.pipelines.step_process import taken_bytes
from core.errors import ServiceError, ServiceRefused, ServiceUnavailable, SettingsError
from core.workflow.argo_model import artifact_type
from core.workflow.definitions import documents
from core.workflow.model import LENT, Order, PipelineSpec, Produced, RunStatus, StepReport, StepStatus, Value

log = logging.getLogger(__name__)

LABEL = "hearth/run-id"
KEY = LENT[1]
ARCHIVED_LOG = "main-logs"
POD_NAMES = "workflows.argoproj.io/pod-name-format"
MAX_POD_PREFIX_CHARS = 242
MAX_LINE_BYTES = 8 << 20
MAX_BEGINNING_CHARS = 40
"""Argo adds five characters to it, and what it makes for a task gets longer names."""

PHASES: Mapping[str, RunStatus] = {
    "": RunStatus.PENDING,
    "Pending": RunStatus.PENDING,
    "Running": RunStatus.RUNNING,
    "Succeeded": RunStatus.SUCCEEDED,
    "Failed": RunStatus.FAILED,
    "Error": RunStatus.FAILED,
}
NODE_PHASES: Mapping[str, StepStatus | None] = {
    "": None,
    "Pending": None,
    "Running": StepStatus.RUNNING,
    "Succeeded": StepStatus.SUCCEEDED,
    "Skipped": StepStatus.SKIPPED,
    "Failed": StepStatus.FAILED,
    "Error": StepStatus.FAILED,
    "Omitted": StepStatus.OMITTED,
}
"""None: it has not begun."""
GROUPS = frozenset({"StepGroup", "TaskGroup"})
"""Nodes that only hold others together: a loop, or what a template of steps does side by side."""
WITH_PARTS = frozenset({"DAG", "Steps"})


class _Named(msgspec.Struct, frozen=True):
    """A parameter or an artifact."""

    name: str
    value: Any = None
    deleted: bool = False


class _Held(msgspec.Struct, frozen=True):
    parameters: tuple[_Named, ...] = ()
    artifacts: tuple[_Named, ...] = ()


class _Ref(msgspec.Struct, frozen=True):
    template: str = ""


class _Node(msgspec.Struct, frozen=True, rename="camel"):
    """What Argo tells of a node. boundary: the id of the node whose template this one is a part of."""

    id: str
    name: str
    type: str
    display_name: str = ""
    template_name: str = ""
    template_ref: _Ref | None = None
    phase: str = ""
    message: str = ""
    started_at: str | None = None
    finished_at: str | None = None
    boundary: str = msgspec.field(name="boundaryID", default="")
    children: tuple[str, ...] = ()
    inputs: _Held | None = None
    outputs: _Held | None = None


class _Status(msgspec.Struct, frozen=True):
    phase: str = ""
    message: str = ""
    nodes: dict[str, _Node] = {}


class _Metadata(msgspec.Struct, frozen=True):
    name: str
    annotations: dict[str, str] = {}


class _Workflow(msgspec.Struct, frozen=True):
    metadata: _Metadata
    status: _Status = _Status()


class _List(msgspec.Struct, frozen=True):
    items: tuple[_Workflow, ...] | None = None


class _Said(msgspec.Struct, frozen=True):
    content: str = ""


class _LogLine(msgspec.Struct, frozen=True):
    result: _Said


class _Places:
    """Where each node belongs: its key and its task are the display names of the templates around it, then its own, by dots."""

    def __init__(self, nodes: Mapping[str, _Node]) -> None:
        """retried: the attempts, each with the node that holds them."""
        self._nodes = nodes
        self.retried = {child: node for node in nodes.values() if node.type == "Retry" for child in node.children}

    def attempts(self, node: _Node) -> list[_Node]:
        """Of a node that is retried, the first one first; [] for another."""
        return [self._nodes[child] for child in node.children if child in self._nodes] if node.type == "Retry" else []

    def key(self, node: _Node) -> str:
        """Unique: the parts of a later attempt are told apart from those of the first. "" for the root, unless it is all there is."""
        if not node.boundary:
            return self.task(node)
        around, again = self._nodes.get(node.boundary), 0
        if around is not None and (holder := self.retried.get(around.id)) is not None:
            around, again = holder, holder.children.index(around.id)
        above = self.key(around) if around is not None else ""
        return f"{above}{f'({again})' if again else ''}.{node.display_name}".lstrip(".")

    def task(self, node: _Node) -> str:
        """As the graph names it: without the item of a loop."""
        if not node.boundary:
            has_parts = any(one.type in WITH_PARTS for one in (node, *self.attempts(node)))
            return "" if has_parts else node.template_name or node.display_name
        around = self._nodes.get(node.boundary)
        above = self.task(self.retried.get(around.id, around)) if around is not None else ""
        return f"{above}.{node.display_name.partition('(')[0]}".lstrip(".")

    def parent(self, node: _Node) -> str:
        """The key of the step that it is a part of."""
        around = self._nodes.get(node.boundary)
        return self.key(self.retried.get(around.id, around)) if around is not None else ""


class ArgoEngine(ClusterEngine):
    """Runs pipelines of the engine argo on a cluster, with their logs and artifacts fetched as each step ends."""

    def __init__(
        self,
        url: str,
        token: str,
        validate: Callable[[str], PipelineSpec],
        clock: Callable[[], datetime],
        *,
        log_bytes: int,
        folder_bytes: int,
        sleep: Sleep = asyncio.sleep,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """url: of the server, with the namespace after a #.   log_bytes: of each attempt's output.

        folder_bytes: what the files of a run may take while it lasts; artifacts that have no room are left out.

        Raises: SettingsError.
        """
        cluster = Connection(url, token, "Argo Workflows", "HEARTH_ARGO_URL", transport)
        if not cluster.namespace:
            raise SettingsError("HEARTH_ARGO_URL names no namespace.", hint="Write it like https://host:2746#namespace.")
        super().__init__(cluster, validate, clock, sleep)
        self._log_bytes, self._folder_bytes = log_bytes, folder_bytes
        self._workflows = f"/api/v1/workflows/{cluster.namespace}"

    async def check(self) -> None:
        """As the port says: whether the token may see workflows there."""
        await self._cluster.ask("GET", self._workflows, _List, **{"listOptions.limit": "1", "fields": "items.metadata.name"})

    async def _found(self, run_id: str) -> str:
        query = {"listOptions.labelSelector": f"{LABEL}={run_id}", "fields": "items.metadata.name"}
        found = (await self._cluster.ask("GET", self._workflows, _List, **query)).items
        return found[0].metadata.name if found else ""

    async def _submitted(self, order: Order) -> str:
        body = {"namespace": self._cluster.namespace, "serverDryRun": False, "workflow": await asyncio.to_thread(workflow, order)}
        return (await self._cluster.ask("POST", self._workflows, _Workflow, body=body)).metadata.name

    async def _end(self, external_id: str) -> None:
        body = {"name": external_id, "namespace": self._cluster.namespace}
        await self._cluster.ask("PUT", f"{self._workflows}/{external_id}/terminate", _Workflow, body=body)

    def _page(self, external_id: str) -> str:
        return f"{self._cluster.url}/workflows/{self._cluster.namespace}/{external_id}"

    async def _look(self, order: Order, external_id: str) -> Look:
        seen = await self._cluster.ask("GET", f"{self._workflows}/{external_id}", _Workflow)
        return Look(self._known(PHASES, seen.status.phase, RunStatus.RUNNING), tuple(self._steps(seen, order.parameters.get(KEY))), seen.status.message)

    def _steps(self, seen: "_Workflow", secret: Value) -> list[Seen]:
        """Its nodes as steps, in the order in which they began. What is retried is one step; the root is one only if it has no parts."""
        nodes, told = seen.status.nodes, list[Seen]()
        places = _Places(nodes)
        pods_by_id = seen.metadata.annotations.get(POD_NAMES) == "v1"
        for node in sorted(nodes.values(), key=lambda n: n.started_at or "~"):
            if node.id in places.retried or node.type in GROUPS or not places.key(node):
                continue
            if (status := self._known(NODE_PHASES, node.phase, StepStatus.RUNNING)) is not None:
                told += self._attempts(node, places, status, pods_by_id, secret)
        return told

    def _attempts(self, node: "_Node", places: "_Places", status: StepStatus, pods_by_id: bool, secret: Value) -> list[Seen]:
        """What is told of a step: that each attempt has begun and is over, and at last how the step ended."""
        now, told, error = self._clock(), list[Seen](), ""
        key, task = places.key(node), places.task(node)
        step = StepReport(key, node.display_name if node.boundary else task, task, status, now, parent=places.parent(node), inputs=_values(node.inputs, secret))
        if status in (StepStatus.SKIPPED, StepStatus.OMITTED):
            return [Seen(replace(step, at=moment(node.finished_at, now)))]
        attempts = places.attempts(node) or [node]
        for number, attempt in enumerate(attempts, 1):
            began = replace(step, status=StepStatus.RUNNING, at=moment(attempt.started_at, now), attempt=number, error=error)
            told.append(Seen(began))
            error = attempt.message
            if number < len(attempts):
                told.append(Seen(replace(began, error=error), True, (attempt, pods_by_id)))
        if status.over:
            failed = (node.message or error or "Argo says no more.") if status is StepStatus.FAILED else ""
            over = replace(step, at=moment(node.finished_at, now), attempt=len(attempts), outputs=_values(node.outputs, secret), error=failed)
            told.append(Seen(over, True, (attempts[-1], pods_by_id)))
        return told

    async def _with_files(self, order: Order, external_id: str, seen: Seen) -> StepReport:
        node: _Node
        (node, pods_by_id), report = seen.of, seen.report
        if node.type in WITH_PARTS:
            return report
        made = {artifact.name for artifact in node.outputs.artifacts if not artifact.deleted} if node.outputs else set[str]()
        where = f"/artifacts/{self._cluster.namespace}/{external_id}/{node.id}"
        file = await asyncio.to_thread(file_in, order.folder, "logs", f"{node.id}.log")
        pod = node.id if pods_by_id else pod_name(external_id, node)
        got = node.type == "Pod" and await self._fetched(lambda: self._log(external_id, pod), order.folder / file, self._log_bytes, cut=True)
        if not got and ARCHIVED_LOG in made:
            got = await self._fetched(lambda: self._cluster.chunks(f"{where}/{ARCHIVED_LOG}"), order.folder / file, self._log_bytes, cut=True)
        report = replace(report, log=file if got else "")
        artifacts = []
        for name in sorted(made - {ARCHIVED_LOG}) if report.status.over else ():
            file = await asyncio.to_thread(file_in, order.folder, "artifacts", node.id, name)
            room_bytes = self._folder_bytes - await asyncio.to_thread(taken_bytes, order.folder)
            if await self._fetched(partial(self._cluster.chunks, f"{where}/{quote(name, safe='')}"), order.folder / file, room_bytes):
                plain = await asyncio.to_thread(unpacked, order.folder / file, room_bytes)
                artifacts.append(Produced(name if plain else f"{name}.tgz", artifact_type(name), file))
        return replace(report, artifacts=tuple(artifacts))

    async def _log(self, external_id: str, pod: str) -> AsyncGenerator[bytes, None]:
        """The lines of a pod's log, out of the JSON around them."""
        rest = b""
        query = {"podName": pod, "logOptions.container": "main"}
        async with aclosing(self._cluster.chunks(f"{self._workflows}/{external_id}/log", **query)) as chunks:
            async for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    yield _content(line)
                if len(rest) > MAX_LINE_BYTES:
                    raise ServiceUnavailable("The log has a line without an end.")
        if rest:
            yield _content(rest)

    async def _fetched(self, ask: Callable[[], AsyncGenerator[bytes, None]], path: Path, most_bytes: int, *, cut: bool = False) -> bool:
        """Writes an answer into a file; whether there is one. cut: a part is better than nothing. Otherwise what is larger, or always breaks, is left out."""
        for attempt in range(1, TRIES + 1):
            try:
                size = await _written(ask(), path, most_bytes)
            except ServiceRefused:
                return False
            except ServiceError as error:
                log.warning("A step's file broke off at %s: %s", self.adapter, error)
                if attempt < TRIES:
                    await self._sleep(POLL_S)
                    continue
                size = await asyncio.to_thread(_ended_with, path, b"\n[It broke off here.]\n")
                return cut and size > 0
            if size > most_bytes and cut:
                await asyncio.to_thread(_ended_with, path, b"\n[The rest is left out: Hearth keeps no more of it.]\n")
            if size > most_bytes and not cut:
                log.warning("An artifact is left out: the files of its run would take more than they may.")
                await asyncio.to_thread(path.unlink)
            return cut or size <= most_bytes
        return False


def workflow(order: Order) -> dict[str, Any]:
    """The definition as it is sent. Arguments are texts there: what is none is written as JSON."""
    sent: dict[str, Any] = documents(order.pipeline.definition)[0]
    metadata = {name: value for name, value in (sent.get("metadata") or {}).items() if name != "name"}
    metadata["generateName"] = f"{order.pipeline.name[:MAX_BEGINNING_CHARS].rstrip('-')}-"
    metadata["labels"] = {**(metadata.get("labels") or {}), LABEL: order.run_id}
    spec = dict(sent.get("spec") or {})
    arguments = dict(spec.get("arguments") or {})
    declared = {one["name"]: one for one in arguments.get("parameters") or ()}
    values = {name: {**declared.get(name, {}), "name": name, "value": _text(value)} for name, value in order.parameters.items() if value is not None}
    if merged := {**declared, **values}:
        spec["arguments"] = {**arguments, "parameters": list(merged.values())}
    return {**sent, "metadata": metadata, "spec": spec}


def pod_name(workflow_name: str, node: "_Node") -> str:
    """What the pod of a node is called: the workflow, the template, and the number at the end of the node's id."""
    if node.name == workflow_name:
        return workflow_name
    template = node.template_name or (node.template_ref.template if node.template_ref else "")
    return f"{f'{workflow_name}-{template}'[:MAX_POD_PREFIX_CHARS]}-{node.id.rpartition('-')[2]}"


def unpacked(path: Path, most_bytes: int) -> bool:
    """Makes a file of the archive of one that Argo has made of it; whether it is the file now. Archives of folders stay as they are."""
    beside = path.with_name(f"{path.name}.part")
    try:
        with tarfile.open(path, "r:gz") as archive:
            first = archive.next()
            if first is None or not first.isfile() or first.size > most_bytes or archive.next() is not None:
                return False
            held = archive.extractfile(first)
            if held is None:
                return False
            with held, beside.open("wb") as file:
                shutil.copyfileobj(held, file)
    except (tarfile.TarError, OSError, EOFError):
        beside.unlink(missing_ok=True)
        return True  # it was stored as it is
    beside.replace(path)
    return True


async def _written(chunks: AsyncGenerator[bytes, None], path: Path, most_bytes: int) -> int:
    """How many bytes came; only so many are written, and one too many stops it."""
    size = 0
    with path.open("wb") as file:
        async with aclosing(chunks):
            async for chunk in chunks:
                file.write(chunk[: most_bytes - size])
                size += len(chunk)
                if size > most_bytes:
                    break
    return size


def _ended_with(path: Path, said: bytes) -> int:
    """Says at a file's end why it ends there; how large it was. An empty one stays so."""
    if size := path.stat().st_size:
        with path.open("ab") as file:
            file.write(said)
    return size


def _values(held: "_Held | None", secret: Value) -> dict[str, Value]:
    """Parameters as they are kept: without the key that the run was lent."""
    return {one.name: one.value for one in held.parameters if secret is None or one.value != secret} if held else {}


def _text(value: Value) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _content(line: bytes) -> bytes:
    """What a line of the log's stream holds. Raises: ServiceUnavailable for half a line, and for one that tells of an error."""
    try:
        return f"{msgspec.json.decode(line, type=_LogLine).result.content}\n".encode()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ServiceUnavailable("The log broke off.") from error
