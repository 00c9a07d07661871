"""Runs one workflow of Argo's local subset, in a process of its own: `python argo_worker.py RUN_FOLDER`. Started by `core.adapters.engine_local`.

Every attempt of a script has a folder, and its files are there: what Argo's variables name is a path in it. Scripts get this process's environment, which holds
no secret, without the pipe on which the steps are told.
"""

import asyncio
import itertools
import json
import os
import shutil
import sys
import tarfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

if __name__ == "__main__" and str(Path(__file__).resolve().parents[3]) not in sys.path:  # as a script it knows its own folder only
    sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from core.adapters.pipelines.step_process import Heard, last_words, run_logged
from core.errors import BadInput
from core.workflow.argo import read
from core.workflow.argo_model import Need, Script, Task, Template, artifact_type
from core.workflow.argo_text import aggregated, aggregated_results, filled, holds, item_name, item_values, items_of
from core.workflow.model import LENT

EVENTS = "HEARTH_RUN_EVENTS"
MAX_VALUE_BYTES = 256 << 10
"""Of an output parameter, and of a script's result (its end, as in Argo)."""
MAX_TOLD_CHARS = 2000
"""Of each value in what is told of a step."""
MAX_STEPS = 5000
SUCCEEDED, FAILED, SKIPPED, OMITTED = "succeeded", "failed", "skipped", "omitted"


@dataclass
class Outcome:
    """How a task ended. values: its outputs as the variables after `outputs.` name them, "result" and "parameters.x".   files: its artifacts by name."""

    status: str
    values: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where a step stands: its key, its name, the name of its node in the graph, and the key of the step around it."""

    key: str
    name: str
    task: str
    parent: str

    def inside(self, name: str, task: str) -> "Place":
        """Of a step that is a part of it. At the top, where the key is "", names stand alone."""
        before, node = (f"{self.key}.", f"{self.task}.") if self.key else ("", "")
        return Place(before + name, name, node + task, self.key)


NOWHERE = Place("", "", "", "")
"""Around the outermost tasks, and where the run itself is told."""


@dataclass(frozen=True)
class Tried:
    """What came of an attempt: an outcome and the artifacts as they are told, or why there is none, and whether another attempt would be fair."""

    error: str = ""
    again: bool = False
    outcome: Outcome | None = None
    artifacts: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Begun:
    """An attempt: its folder, and where the script's files are by their variables."""

    folder: Path
    log: str
    paths: dict[str, str]


class Run:
    """One run of a workflow."""

    def __init__(self, folder: Path, order: Mapping[str, Any], events: IO[str], environment: Mapping[str, str]) -> None:
        self._folder, self._events, self._environment = folder, events, environment
        self._log_bytes: int = order["log_bytes"]
        self._given: dict[str, str] = {name: str(value) for name, value in order["parameters"].items()}
        self._key = self._given.get(LENT[1], "")
        self._world = {f"workflow.parameters.{name}": value for name, value in self._given.items()}
        self._world["workflow.name"] = f"{order['pipeline']}-{order['run_id']}"
        self._workers = ThreadPoolExecutor(os.cpu_count() or 1)
        self._templates: Mapping[str, Template] = {}
        self._reason, self._steps, self._numbers, self._lock = "", 0, itertools.count(1), threading.Lock()

    async def whole(self, definition: str) -> None:
        """Runs it and tells how it ended."""
        try:
            workflow = read(definition)
        except BadInput as error:
            self._tell(NOWHERE, FAILED, error=str(error))
            return
        self._templates = workflow.templates
        entry = workflow.templates[workflow.entrypoint]
        top = Place(entry.name, entry.name, entry.name, "") if entry.script else NOWHERE
        given = {name: value for name, value in self._given.items() if name in entry.parameters}
        outcome = await self._run(entry, top, given, {})
        self._tell(NOWHERE, outcome.status, error=self._reason)

    def _tell(self, place: Place, status: str, **more: Any) -> None:
        told = {"key": place.key, "name": place.name, "task": place.task, "parent": place.parent, "status": status, "at": time.time(), **more}
        with self._lock:
            self._events.write(self._without_key(json.dumps(told)) + "\n")

    def _shown(self, values: Mapping[str, str]) -> dict[str, str]:
        """Values as they are told: the beginning of long ones."""
        told = {name.removeprefix("parameters."): self._without_key(value) for name, value in values.items()}
        return {name: value if len(value) <= MAX_TOLD_CHARS else f"{value[:MAX_TOLD_CHARS]}…" for name, value in told.items()}

    def _without_key(self, text: str) -> str:
        """What is told is kept, and the key that the house lends a run is not."""
        return text.replace(self._key, "***") if self._key else text

    def _failed(self, place: Place, error: str, **more: Any) -> Outcome:
        self._reason = self._reason or f"The step {place.key!r} failed. {error}"
        self._tell(place, FAILED, error=error, **more)
        return Outcome(FAILED)

    async def _run(self, template: Template, place: Place, given: Mapping[str, str], files: Mapping[str, Path]) -> Outcome:
        """Runs a template with what it is given."""
        try:
            values = {name: given[name] if name in given else filled(default or "", self._world) for name, default in template.parameters.items()}
        except BadInput as error:
            return self._failed(place, str(error))
        if template.script is not None:
            return await self._script(template, place, values, files)
        if not place.key:
            return await self._tasks(template, place, values, files)
        self._tell(place, "running", inputs=self._shown(values))
        outcome = await self._tasks(template, place, values, files)
        self._tell(place, outcome.status, error="A step inside of it failed." if outcome.status == FAILED else "")
        return outcome

    async def _tasks(self, template: Template, place: Place, values: Mapping[str, str], files: Mapping[str, Path]) -> Outcome:
        """Runs the tasks of a template, each once those that it needs are over."""
        scope = self._world | {f"inputs.parameters.{name}": value for name, value in values.items()}
        artifacts = {f"inputs.artifacts.{name}": path for name, path in files.items()}
        broken = asyncio.Event()
        running: dict[str, asyncio.Task[Outcome]] = {}

        async def one(task: Task) -> Outcome:
            before = {need: await running[need.task] for need in task.needs}
            here = place.inside(task.name, task.name)
            if (broken.is_set() and template.fail_fast) or not all(_met(need, outcome) for need, outcome in before.items()):
                self._tell(here, OMITTED)
                return Outcome(OMITTED)
            outcome = await self._task(task, here, scope, artifacts)
            if outcome.status == FAILED:
                broken.set()
            for name, value in outcome.values.items():
                scope[f"{template.prefix}.{task.name}.outputs.{name}"] = value
            for name, path in outcome.files.items():
                artifacts[f"{template.prefix}.{task.name}.outputs.artifacts.{name}"] = path
            return outcome

        for task in template.tasks:
            running[task.name] = asyncio.create_task(one(task))
        await asyncio.gather(*running.values())
        return Outcome(FAILED if broken.is_set() else SUCCEEDED)

    async def _task(self, task: Task, place: Place, scope: Mapping[str, str], artifacts: Mapping[str, Path]) -> Outcome:
        """Runs a task, once or for each of its items."""
        if not task.loops:
            return await self._called(task, place, scope, artifacts)
        try:
            items = list(task.items) if task.items is not None else items_of(filled(task.param, scope))
        except BadInput as error:
            if not _is_false(task.when, scope):
                return self._failed(place, str(error))
            items = []  # what is not to be run needs no items, in Argo too
        if not items:
            self._tell(place, SKIPPED)
            return Outcome(SKIPPED)
        around = Place(place.parent, "", place.task.rpartition(".")[0], "")
        places = [around.inside(item_name(task.name, n, item), task.name) for n, item in enumerate(items)]
        ended = await asyncio.gather(*(self._called(task, one, {**scope, **item_values(item)}, artifacts) for one, item in zip(places, items, strict=True)))
        if any(outcome.status == FAILED for outcome in ended):
            return Outcome(FAILED)
        made = [outcome.values for outcome in ended if outcome.status == SUCCEEDED]
        if not made:  # all of them skipped: the loop has succeeded, as in Argo, and made no value but an empty list
            return Outcome(SUCCEEDED, {"result": "[]"} if self._templates[task.template].hears else {})
        try:
            return Outcome(SUCCEEDED, {name: _as_one(name, [values[name] for values in made]) for name in made[0]})
        except BadInput as error:
            return self._failed(place, str(error))

    async def _called(self, task: Task, place: Place, scope: Mapping[str, str], artifacts: Mapping[str, Path]) -> Outcome:
        """Runs the template of a task, if its condition holds."""
        self._steps += 1
        try:
            if self._steps > MAX_STEPS:
                raise BadInput(f"The run has more than {MAX_STEPS} steps.", hint="Let one step do the work of many items.")
            if task.when and not holds(filled(task.when, scope)):
                self._tell(place, SKIPPED)
                return Outcome(SKIPPED)
            given = {name: filled(text, scope) for name, text in task.parameters.items()}
            missing = [source for source in task.artifacts.values() if source not in artifacts]
            if missing:
                raise BadInput(f"{{{{{missing[0]}}}}} has no file: the step that makes it was skipped.")
        except BadInput as error:
            return self._failed(place, str(error))
        return await self._run(self._templates[task.template], place, given, {name: artifacts[source] for name, source in task.artifacts.items()})

    async def _script(self, template: Template, place: Place, values: Mapping[str, str], files: Mapping[str, Path]) -> Outcome:
        """Runs a script, again if it fails and may be."""
        number, tried, loop = next(self._numbers), Tried(), asyncio.get_running_loop()
        for attempt in range(1, template.retries + 2):
            begun = _begun(template, self._folder, f"steps/{number:04d}/{attempt}")
            tried = await loop.run_in_executor(self._workers, self._attempt, template, place, values, files, begun, attempt, tried.error)
            if not tried.again:
                break
        if tried.outcome is None:
            return self._failed(place, tried.error, attempt=attempt, log=begun.log)
        self._tell(place, SUCCEEDED, attempt=attempt, log=begun.log, outputs=self._shown(tried.outcome.values), artifacts=tried.artifacts)
        return tried.outcome

    def _attempt(self, template: Template, place: Place, values: Mapping[str, str], files: Mapping[str, Path], begun: Begun, attempt: int, error: str) -> Tried:
        """One try, in a thread. error: of the try before."""
        self._tell(place, "running", attempt=attempt, log=begun.log, error=error, inputs=self._shown(values))
        scope = self._world | {f"inputs.parameters.{name}": value for name, value in values.items()} | begun.paths
        heard = Heard(MAX_VALUE_BYTES) if template.hears else None
        try:
            _make_folders(begun, files)
            code = self._ran(template.script, begun, scope, heard)
            if code:
                how = f"It ended with exit code {code}." if code > 0 else f"It was ended by signal {-code}."
                said = last_words(self._folder / begun.log)
                return Tried(f"{how} It said last: {said}" if said else how, again=True)
            outcome = _outcome(template, begun, heard)
            return Tried(outcome=outcome, artifacts=[self._produced(name, path, begun) for name, path in outcome.files.items()])
        except BadInput as refusal:
            return Tried(str(refusal))
        except (OSError, tarfile.TarError) as failure:
            return Tried(f"Its files or its program could not be used: {getattr(failure, 'strerror', None) or type(failure).__name__}.")
        except ValueError:
            return Tried("A value has characters that a program can't be given.")

    def _ran(self, script: Script | None, begun: Begun, scope: Mapping[str, str], heard: Heard | None) -> int:
        """The exit code. Raises: BadInput, OSError, ValueError for what can't be begun."""
        assert script is not None
        text = begun.folder / "script"
        text.write_text(filled(script.source, scope), "utf-8")
        environment = {**self._environment, **{name: filled(value, scope) for name, value in script.env.items()}}
        named = script.command[0]
        program = sys.executable if named.startswith("python") else shutil.which(named, path=self._environment.get("PATH"))
        if program is None:
            raise BadInput(f"This machine has no {named}.")
        command = (program, *script.command[1:], str(text))
        return run_logged(command, self._folder / begun.log, env=environment, cwd=begun.folder, max_bytes=self._log_bytes, heard=heard)

    def _produced(self, name: str, path: Path, begun: Begun) -> dict[str, Any]:
        """An artifact as it is told; of a folder an archive. Raises: OSError, TarError."""
        file = path.name
        if path.is_dir():
            file, packed = f"{file}.tgz", begun.folder / f"{name}.tgz"
            with tarfile.open(packed, "w:gz", compresslevel=1) as archive:
                archive.add(path, path.name)
            path = packed
        return {"name": name, "type": artifact_type(name).value, "path": str(path.relative_to(self._folder)), "metadata": {"file": file}}


def _met(need: Need, outcome: Outcome) -> bool:
    return outcome.status == SUCCEEDED or (outcome.status == SKIPPED and not need.succeeded)


def _is_false(condition: str, scope: Mapping[str, str]) -> bool:
    """Whether there is a condition that is known to be false."""
    with suppress(BadInput):
        return bool(condition) and not holds(filled(condition, scope))
    return False


def _as_one(name: str, values: list[str]) -> str:
    return aggregated_results(values) if name == "result" else aggregated(values)


def _begun(template: Template, folder: Path, at: str) -> Begun:
    """The places of an attempt. Files keep the last part of their names, which says what they are."""
    here = folder / at
    places = [("inputs.artifacts", template.artifacts), ("outputs.parameters", template.out_parameters), ("outputs.artifacts", template.out_artifacts)]
    paths = {f"{kind}.{name}.path": str(here / kind / name / PurePosixPath(path).name) for kind, held in places for name, path in held.items()}
    return Begun(here, f"{at}/log.txt", paths)


def _make_folders(begun: Begun, files: Mapping[str, Path]) -> None:
    """Makes them, with a copy of each input: what a script does to it is no other's affair. Raises: OSError."""
    begun.folder.mkdir(parents=True)
    for path in begun.paths.values():
        Path(path).parent.mkdir(parents=True)
    for name, source in files.items():
        to = begun.paths[f"inputs.artifacts.{name}.path"]
        if source.is_dir():
            shutil.copytree(source, to, symlinks=True)
        else:
            shutil.copyfile(source, to)


def _outcome(template: Template, begun: Begun, heard: Heard | None) -> Outcome:
    """What a script that ended well has made. Raises: BadInput for an output that it didn't write, or not as a file of its own."""
    values = {}
    if heard is not None:
        values["result"] = heard.end().decode("utf-8", "replace")
    for name in template.out_parameters:
        path = _written(begun, f"outputs.parameters.{name}")
        if not path.is_file() or path.stat().st_size > MAX_VALUE_BYTES:
            raise BadInput(f"Its output parameter {name!r} is no file of at most {MAX_VALUE_BYTES:,} bytes.", hint="Make an artifact of it.")
        values[f"parameters.{name}"] = path.read_bytes().decode("utf-8", "replace").removesuffix("\n")
    return Outcome(SUCCEEDED, values, {name: _written(begun, f"outputs.artifacts.{name}") for name in template.out_artifacts})


def _written(begun: Begun, name: str) -> Path:
    path = Path(begun.paths[f"{name}.path"])
    if not path.is_symlink() and not path.exists():
        raise BadInput(f"It did not write its output: there is no file at {{{{{name}.path}}}}.", hint="A script writes each of its outputs.")
    if path.resolve() != begun.folder.resolve() / path.relative_to(begun.folder) or not (path.is_file() or path.is_dir()):
        raise BadInput(
            f"Its output at {{{{{name}.path}}}} is a link or no file, and may lie outside of the run's folder.", hint="Write a file or a folder there."
        )
    return path


def main() -> None:
    """The entry of the process."""
    folder = Path(sys.argv[1])
    events = os.fdopen(int(os.environ.pop(EVENTS)), "w", buffering=1, encoding="utf-8")
    os.set_inheritable(events.fileno(), False)
    run = Run(folder, json.loads((folder / "order.json").read_bytes()), events, dict(os.environ))
    asyncio.run(run.whole((folder / "definition.yaml").read_text("utf-8")))


if __name__ == "__main__":
    main()
