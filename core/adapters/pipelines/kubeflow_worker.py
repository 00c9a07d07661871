"""Runs a compiled Kubeflow pipeline on this machine with kfp.local, and tells what its steps do. Started by `core.adapters.engine_local`, with a Python
that has kfp and isn't always Hearth's:

    python kubeflow_worker.py RUN_FOLDER

kfp.local says nothing of its steps and keeps no logs of them, so a few of its functions are replaced here, for this process only: what starts a task, an
attempt, a graph, an iteration of a loop and a step's process. Its own reading of conditions is replaced as well: it puts values into text and takes whatever it
can't read for false.
"""

import contextvars
import hashlib
import json
import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

MAX_KEY_CHARS = 180
"""A key becomes the name of a folder, which may have 255."""
MAX_TOLD_CHARS = 20_000
"""How long a parameter is told; what is longer is cut, and as a text."""
_SELECTOR = re.compile(r'parseJson\(string_value\)((?:\["[^"]*"\])+)')


@dataclass
class Step:
    """A task that has begun. key: unique in the run.   task: its node in the graph.   folder: its own, relative to the run's.

    tasks: of a graph, by name.   met: those of them that have begun.   false: the conditions among them that were not met.
    """

    key: str = ""
    task: str = ""
    name: str = ""
    parent: str = ""
    folder: str = ""
    attempt: int = 0
    error: str = ""
    inputs: dict[str, Any] = field(default_factory=dict)
    tasks: Mapping[str, Any] = field(default_factory=dict)
    met: set[str] = field(default_factory=set)
    false: set[str] = field(default_factory=set)

    @property
    def log(self) -> str:
        """Where its present attempt's output is."""
        return f"{self.folder}/{self.attempt}.log" if self.folder and self.attempt else ""


class _Threads(ThreadPoolExecutor):
    """A pool whose threads know of which step they are a part."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        return super().submit(contextvars.copy_context().run, fn, *args, **kwargs)


class Worker:
    """One run."""

    def __init__(self, folder: Path, events: Any) -> None:
        from core.adapters.pipelines import kubeflow_artifacts, kubeflow_cache

        self._files, self._cache = kubeflow_artifacts, kubeflow_cache
        self._folder, self._events, self._lock = folder, events, threading.Lock()
        self._order = json.loads((folder / "order.json").read_text("utf-8"))
        self._current: contextvars.ContextVar[Step] = contextvars.ContextVar("step")
        self._asking = threading.Lock()
        self._keys: set[str] = set()
        self._begun = 0
        self.problem = ""
        """What went wrong first, as a sentence."""

    def tell(self, key: str, status: str, **more: Any) -> None:
        """A line on the pipe."""
        line = json.dumps(self._files.plain({"key": key, "status": status, "at": time.time(), **more}), allow_nan=False, default=str)
        with self._lock:
            self._events.write(line + "\n")
            self._events.flush()

    def _tell(self, step: Step, status: str, **more: Any) -> None:
        about = {"name": step.name, "task": step.task, "parent": step.parent, "attempt": max(step.attempt, 1), "log": step.log}
        self.tell(step.key, status, **about, **more)

    @contextmanager
    def _begin(self, name: str, task: str, label: str = "") -> Iterator[Step]:
        """A part of the present step, and the present one itself until it is over. name: the end of its key."""
        parent = self._current.get()
        with self._lock:
            self._begun += 1
            key = base = (f"{parent.key}.{name}" if parent.key else name)[-MAX_KEY_CHARS:]
            number = 1
            while key in self._keys:
                number += 1
                key = f"{base}-{number}"
            self._keys.add(key)
            step = Step(key, task, label or name, parent.key, f"steps/{self._begun:04d}")
        token = self._current.set(step)
        try:
            yield step
        finally:
            self._current.reset(token)

    def _failed(self, step: Step, error: str) -> None:
        self._tell(step, "failed", error=error)
        self.problem = self.problem or f"The step {step.key!r} failed: {error}"

    def run(self, kfp: Any) -> None:
        """The pipeline. Raises: whatever kfp.local does."""
        text = (self._folder / "definition.yaml").read_text("utf-8")
        document = next(one for one in kfp.yaml.safe_load_all(text) if one is not None)
        spec = kfp.json_format.ParseDict(document, kfp.pipeline_spec_pb2.PipelineSpec())
        self._install(kfp)
        kfp.local.init(
            runner=kfp.local.SubprocessRunner(use_venv=False),
            pipeline_root=str(self._folder / "outputs"),
            workspace_root=str(self._folder / "workspace"),
            raise_on_error=True,
        )
        given = {name: value for name, value in self._order["parameters"].items() if value is not None}
        root = Step(tasks=spec.root.dag.tasks)
        token = self._current.set(root)
        try:
            kfp.pipeline_orchestrator.run_local_pipeline(spec, given)
        finally:
            self._rest(root, "")
            self._current.reset(token)

    def _rest(self, graph: Step, before: str) -> None:
        """Tells of the tasks of a graph that never began: their condition wasn't met, or something that they need didn't succeed."""
        for name, task in graph.tasks.items():
            if name not in graph.met:
                status = "skipped" if task.trigger_policy.condition in graph.false else "omitted"
                with self._begin(name, before + name, task.task_info.name) as step:
                    self._tell(step, status)

    def _install(self, kfp: Any) -> None:
        """Puts this run's functions in the places of kfp.local's own."""
        enhanced, tasks, inputs = kfp.enhanced_dag_orchestrator, kfp.task_executor, kfp.executor_input_utils
        self._kfp = kfp
        self._original = SimpleNamespace(
            single=tasks.execute_single_task,
            task=enhanced.execute_task,
            loop=enhanced._run_parallel_for_task,
            attempt=kfp.task_dispatcher.run_single_task_implementation,
            items=kfp.task_spec_utils.get_artifact_iterator_items,
            joined=kfp.orchestrator_utils.OrchestratorUtils.join_user_inputs_and_defaults,
            value=kfp.pipeline_spec_builder.to_protobuf_value,
            python=kfp.subprocess_task_handler.replace_python_executable,
        )
        tasks.execute_single_task = self._single
        enhanced.execute_task = self._task
        enhanced._run_parallel_for_task = self._loop
        enhanced.ConditionEvaluator.evaluate_condition = staticmethod(self._decide)
        enhanced.concurrent = SimpleNamespace(futures=SimpleNamespace(ThreadPoolExecutor=_Threads, as_completed=kfp.as_completed))
        kfp.task_dispatcher.run_single_task_implementation = self._attempt
        kfp.task_spec_utils.get_artifact_iterator_items = self._items
        kfp.task_spec_utils.create_parameter_loop_iteration_task_spec = self._iteration
        kfp.orchestrator_utils.OrchestratorUtils._apply_expression_selector = staticmethod(_selected)
        kfp.pipeline_spec_builder.to_protobuf_value = self._value
        kfp.orchestrator_utils.OrchestratorUtils.join_user_inputs_and_defaults = self._joined
        kfp.subprocess_task_handler.replace_python_executable = lambda command, python: self._original.python(command, shlex.quote(python))
        kfp.subprocess_task_handler.run_local_subprocess = self._process
        inputs.construct_local_task_root = lambda **_: str(self._folder / self._current.get().folder / str(self._current.get().attempt))
        # Both change the whole process and put back what they found, which with two threads is what the other one had put there.
        kfp.logging_utils.local_logger_context = nullcontext
        kfp.logging_utils.indented_print = nullcontext
        kfp.logging_utils.print_horizontal_line = lambda: None

    def _node(self, name: str) -> str:
        """The graph's name of a task of the present one; the iterations of a loop share the loop's."""
        around = self._current.get()
        return f"{around.task}.{name}" if around.task else name

    def _task(self, task_name: str, task_spec: Any, components: Mapping[str, Any], **more: Any) -> Any:
        """Replaces `execute_task`: a graph is a step with steps in it."""
        component = components[task_spec.component_ref.name]
        everything = {"task_name": task_name, "task_spec": task_spec, "components": components, **more}
        around = self._current.get()
        around.met.add(task_name)
        if component.WhichOneof("implementation") != "dag":
            return self._original.task(**everything)
        loop, _, number = task_name.rpartition("-iteration-")
        iteration = bool(loop) and around.task.rpartition(".")[2] == loop
        label = task_spec.task_info.name if not iteration else f"{around.name} ({number})"
        with self._begin(number if iteration else task_name, around.task if iteration else self._node(task_name), label) as step:
            step.attempt, step.folder, step.tasks = 1, "", component.dag.tasks
            self._tell(step, "running")
            outputs, status = self._survived(step, lambda: self._original.task(**everything), ({}, self._kfp.status.Status.FAILURE))
            self._rest(step, f"{step.task}.")
            self._end_part(step, status.name != "SUCCESS")
        return outputs, status

    def _loop(self, task_name: str, task_spec: Any, io_store: Any, **more: Any) -> bool:
        """Replaces `_run_parallel_for_task`: a loop is a step with its iterations in it. Whether it failed."""
        self._current.get().met.add(task_name)
        with self._begin(task_name, self._node(task_name), task_spec.task_info.name) as step:
            step.attempt, step.folder = 1, ""
            self._tell(step, "running")

            def work() -> Any:
                return self._original.loop(task_name=task_name, task_spec=self._bound(task_spec, io_store), io_store=io_store, **more)

            failed: bool = self._survived(step, work, True)
            self._end_part(step, failed)
        return failed

    def _bound(self, task_spec: Any, io_store: Any) -> Any:
        """A loop with its items in it, found by what its inputs are bound to: kfp.local guesses it from their names. Raises: ValueError."""
        loop = type(task_spec)()
        loop.CopyFrom(task_spec)
        for name, source in task_spec.inputs.parameters.items():
            if source.HasField("component_input_parameter") and not _there(io_store, source.component_input_parameter):
                del loop.inputs.parameters[name]  # the compiler binds the items of loops further inside as if they came from outside
        items = loop.parameter_iterator.items
        if loop.WhichOneof("iterator") == "parameter_iterator" and items.WhichOneof("kind") == "input_parameter":
            found = self._kfp.orchestrator_utils.OrchestratorUtils.make_task_arguments(loop.inputs, io_store)
            name = items.input_parameter
            values = found[name] if name in found else io_store.get_parent_input(name)
            if not isinstance(values, list):
                raise ValueError(f"The loop's items are no list, but {str(values)[:100]!r}.")
            items.raw = json.dumps(values)
        return loop

    def _iteration(self, task_spec: Any, item: Any, _loop: str) -> Any:
        """Replaces `create_parameter_loop_iteration_task_spec`, which gives the item to whatever else the loop takes from other tasks, too."""
        one = type(task_spec)()
        one.CopyFrom(task_spec)
        one.ClearField("parameter_iterator")
        bound = one.inputs.parameters[task_spec.parameter_iterator.item_input]
        bound.Clear()
        bound.runtime_value.constant.CopyFrom(self._value(item))
        return one

    def _end_part(self, step: Step, failed: bool) -> None:
        """Tells of the end of a step that is made of others; what failed inside has been told by then, so only its own error is new."""
        if failed and step.error:
            self._failed(step, step.error)
        else:
            self._tell(step, "failed" if failed else "succeeded")

    def _single(self, task_name: str, task_spec: Any, components: Mapping[str, Any], io_store: Any, **more: Any) -> Any:
        """Replaces `execute_single_task`: a step with its attempts, its log and what it makes."""
        self._current.get().met.add(task_name)
        component = components[task_spec.component_ref.name]

        def work() -> Any:
            values = self._kfp.orchestrator_utils.OrchestratorUtils.make_task_arguments(task_spec.inputs, io_store)
            step.inputs = self._shown(values, component.input_definitions.parameters)
            fingerprint = self._fingerprint(task_spec, component, more["executors"][component.executor_label], values)
            if fingerprint and (taken := self._taken_over(step, fingerprint, component)) is not None:
                return taken, self._kfp.status.Status.SUCCESS
            ended = self._original.single(task_name=task_name, task_spec=task_spec, components=components, io_store=io_store, **more)
            if ended[1].name == "SUCCESS":
                made = list(self._files.of(ended[0], self._folder, self._folder / step.log))
                result = self._cache.result_of(ended[0], made, self._folder) if fingerprint else None
                kept = {"fingerprint": fingerprint, "result": result} if result is not None else {}
                self._tell(step, "succeeded", inputs=step.inputs, outputs=self._shown(ended[0], {}), artifacts=made, **kept)
            return ended

        with self._begin(task_name, self._node(task_name), task_spec.task_info.name) as step:
            outputs, status = self._survived(step, work, ({}, self._kfp.status.Status.FAILURE))
            if status.name != "SUCCESS":
                self._failed(step, step.error or "It ended without a reason.")
        return outputs, status

    def _fingerprint(self, task_spec: Any, component: Any, executor: Any, values: Mapping[str, Any]) -> str:
        """Of all that the task's outputs depend on; "" where nothing may be taken over: it is switched off, or something is another one in every run."""
        if not (self._order["cache"] and task_spec.caching_options.enable_cache):
            return ""
        if any(source.HasField("task_final_status") for source in task_spec.inputs.parameters.values()):
            return ""
        code = [self._kfp.json_format.MessageToDict(one) for one in (component, executor)]
        del code[0]["executorLabel"]  # a name within its pipeline
        told = [code, task_spec.caching_options.cache_key, self._kfp.version, sys.version, self._cache.content_of(values, self._folder)]
        text = json.dumps(told, sort_keys=True, default=str)
        lent = self._order["parameters"].get("hearth_key")
        passing = self._cache.PASSING.search(text) or str(self._folder) in text or (lent and str(lent) in text)
        return "" if passing else hashlib.sha256(text.encode()).hexdigest()

    def _taken_over(self, step: Step, fingerprint: str, component: Any) -> dict[str, Any] | None:
        """The outputs of an earlier step with that fingerprint, its files in this step's folder; None: there is none, and it has to run."""
        with self._asking:
            self._tell(step, "wanted", fingerprint=fingerprint)
            found = json.loads(sys.stdin.readline() or "null")
        if found is None:
            return None
        try:
            outputs = self._cache.restored(found, self._folder, self._folder / step.folder / "taken", self._kfp.create_artifact_instance)
        except self._cache.LOST as error:
            sys.stderr.write(f"What an earlier step has made can't be read, so {step.key} runs: {error}\n")
            return None
        for name, told in component.output_definitions.parameters.items():
            if told.parameter_type == self._kfp.INTEGER and name in outputs:
                outputs[name] = int(outputs[name])
        made = list(self._files.of(outputs, self._folder, self._folder / step.folder / "taken.log"))
        about = {"fingerprint": fingerprint, "result": found["result"], "cached_from": found["from_run"]}
        self._tell(step, "cached", inputs=step.inputs, outputs=self._shown(outputs, {}), artifacts=made, **about)
        return outputs

    def _survived(self, step: Step, work: Callable[[], Any], failure: Any) -> Any:
        """What it returns; `failure`, with the step's error, for whatever it raises: so the rest goes on as after any failure, handlers at the end too."""
        try:
            return work()
        except Exception as error:  # noqa: BLE001 - kfp raises bare exceptions; a step ends with what they say
            step.error = _sentence(error)
            return failure

    def _attempt(self, **everything: Any) -> Any:
        """Replaces `run_single_task_implementation`: the next attempt of the present step."""
        step = self._current.get()
        before, step.error, step.attempt = step.error, "", step.attempt + 1
        (self._folder / step.folder / str(step.attempt) / "work").mkdir(parents=True, exist_ok=True)
        (self._folder / step.log).touch()
        self._tell(step, "running", error=before, inputs=step.inputs)
        given = {name: value for name, value in everything["arguments"].items() if value is not None}
        component = type(everything["component_spec"])()
        component.CopyFrom(everything["component_spec"])
        for name, told in everything["component_spec"].input_definitions.parameters.items():
            if name not in given and told.default_value.WhichOneof("kind") is None:
                del component.input_definitions.parameters[name]  # the component's own default stands, as on a cluster
        return self._original.attempt(**{**everything, "arguments": given, "component_spec": component})

    def _process(self, full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        """Replaces `run_local_subprocess`: the process of the present attempt, with its output in the attempt's log. Its exit code."""
        from core.adapters.pipelines.step_process import run_logged

        step = self._current.get()
        log, work = self._folder / step.log, self._folder / step.folder / str(step.attempt) / "work"
        kept = {name: os.environ[name] for name in ("HEARTH_RUN",) if name in os.environ}
        code = run_logged(full_command, log, env={**os.environ, **(env_vars or {}), **kept}, cwd=work, max_bytes=int(self._order["log_bytes"]))
        if code:
            step.error = _reason(code, log)
        return code

    def _decide(self, condition: str, io_store: Any) -> bool:
        """Replaces `evaluate_condition`. Raises: ValueError for one that can't be decided."""
        from core.workflow.conditions import read_condition

        graph = self._current.get()
        inputs = [task.inputs for task in graph.tasks.values() if task.trigger_policy.condition == condition]
        try:
            found = [self._kfp.orchestrator_utils.OrchestratorUtils.make_task_arguments(one, io_store) for one in inputs]
            decided = {read_condition(condition)(partial(_input, values)) for values in found}
            if len(decided) != 1:
                raise ValueError("It stands there twice, with different inputs.")
            met = decided.pop()
        except ValueError as error:
            raise ValueError(f"The condition {condition!r} can't be decided: {error}") from error
        if not isinstance(met, bool):
            raise ValueError(f"The condition {condition!r} is neither true nor false.")
        if not met:
            graph.false.add(condition)
        return met

    def _items(self, *args: Any, **more: Any) -> Any:
        """Replaces `get_artifact_iterator_items`, whose ValueError would be taken for a loop over nothing."""
        try:
            return self._original.items(*args, **more)
        except ValueError as error:
            raise RuntimeError(str(error)) from error

    def _joined(self, dag_arguments: dict[str, Any], dag_inputs_spec: Any) -> Any:
        """Replaces `join_user_inputs_and_defaults`, which can't do with an optional input that has no default: it is None, as in Python."""
        missing = [n for n, told in dag_inputs_spec.parameters.items() if n not in dag_arguments and told.default_value.WhichOneof("kind") is None]
        if needed := [name for name in missing if not dag_inputs_spec.parameters[name].is_optional]:
            raise ValueError(f"The input {needed[0]!r} has no value.")
        return self._original.joined(dag_arguments={**dag_arguments, **dict.fromkeys(missing)}, dag_inputs_spec=dag_inputs_spec)

    def _value(self, value: Any) -> Any:
        """Replaces `to_protobuf_value`, which knows no null inside of lists and objects."""
        return self._kfp.struct_pb2.Value(null_value=0) if value is None else self._original.value(value)

    def _shown(self, values: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters among values, as they are told: whole numbers as such, long ones cut, and without the key that the house has lent."""
        lent = self._order["parameters"].get("hearth_key")
        shown = {}
        for name, value in values.items():
            if isinstance(value, self._kfp.Artifact) or (isinstance(value, list) and any(isinstance(one, self._kfp.Artifact) for one in value)):
                continue
            integer = name in known and known[name].parameter_type == self._kfp.INTEGER
            value = int(value) if integer and isinstance(value, float) and value.is_integer() else self._files.plain(value)
            text = json.dumps(value, default=str)
            if not (lent and str(lent) in text):
                shown[name] = value if len(text) <= MAX_TOLD_CHARS else text[:MAX_TOLD_CHARS] + "…"
        return shown


def _there(io_store: Any, name: str) -> bool:
    """Whether a graph has an input of that name, or what it is in."""
    try:
        io_store.get_parent_input(name)
    except ValueError:
        return False
    return True


def _input(values: Mapping[str, Any], name: str) -> Any:
    """A value that a condition names. Raises: ValueError where there is none."""
    if name not in values:
        raise ValueError(f"There is no input {name!r}.")
    return values[name]


def _selected(value: Any, expression: str) -> Any:
    """A part of a loop's item, as the compiler writes it: parseJson(string_value)["a"]. Raises: ValueError for others, and for a part that isn't there.

    Replaces `_apply_expression_selector`, which takes the whole for a part that it can't find.
    """
    found = _SELECTOR.fullmatch(expression)
    if found is None:
        raise ValueError(f"The expression {expression[:100]!r} is not understood here.")
    held = json.loads(value) if isinstance(value, str) else value
    for key in re.findall(r'\["([^"]*)"\]', found[1]):
        if not isinstance(held, dict) or key not in held:
            raise ValueError(f"An item of the loop has no {key!r}.")
        held = held[key]
    return held


def _sentence(error: BaseException) -> str:
    """What an error of kfp's says, without its colours."""
    from core.adapters.pipelines.step_process import uncoloured

    return uncoloured(str(error)).strip()[:1000] or type(error).__name__


def _reason(code: int, log: Path) -> str:
    """Why a step's process ended with that code: what it said last."""
    from core.adapters.pipelines.step_process import last_words

    if code < 0 or code > 128:
        number = -code if code < 0 else code - 128
        return f"Its process was ended by signal {number}{', probably because memory ran out' if number == 9 else ''}."
    return f"{last_words(log) or 'It said nothing.'} (exit code {code})"


def _load() -> SimpleNamespace:
    """The parts of kfp. It imports a client of clusters, which takes seconds, unless it is told that it is at work inside a step."""
    os.environ["_KFP_RUNTIME"] = "true"
    import_module("kfp")
    del os.environ["_KFP_RUNTIME"]
    names = (
        "kfp.local", "kfp.local.pipeline_orchestrator", "kfp.local.task_dispatcher", "kfp.local.executor_input_utils", "kfp.local.subprocess_task_handler",
        "kfp.local.logging_utils", "kfp.local.status", "kfp.local.orchestrator.enhanced_dag_orchestrator", "kfp.local.orchestrator.task_executor",
        "kfp.local.orchestrator.task_spec_utils", "kfp.local.orchestrator.orchestrator_utils", "kfp.pipeline_spec.pipeline_spec_pb2",
        "kfp.compiler.pipeline_spec_builder", "google.protobuf.json_format", "google.protobuf.struct_pb2", "yaml",
    )  # fmt: skip
    loaded = SimpleNamespace(**{name.rpartition(".")[2]: import_module(name) for name in names})
    loaded.Artifact, loaded.version = import_module("kfp.dsl").Artifact, import_module("kfp").__version__
    loaded.create_artifact_instance = import_module("kfp.dsl.executor").create_artifact_instance
    loaded.INTEGER = loaded.pipeline_spec_pb2.ParameterType.ParameterTypeEnum.NUMBER_INTEGER
    loaded.as_completed = import_module("concurrent.futures").as_completed
    return loaded


def main(folder: Path) -> None:
    """Runs what the folder holds; its last line on the pipe says how it ended."""
    sys.path.append(str(Path(__file__).parents[3]))
    events = os.fdopen(int(os.environ.pop("HEARTH_RUN_EVENTS")), "w", encoding="utf-8")
    sys.stdout = sys.stderr
    worker = Worker(folder, events)
    try:
        worker.run(_load())
    except Exception as error:  # noqa: BLE001 - kfp raises bare exceptions; the run ends with what they say
        worker.tell("", "failed", error=worker.problem or _sentence(error))
    else:
        worker.tell("", "succeeded")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
