"""Whether the templates of a workflow fit each other: what they pass, what they name, and that they come to an end."""

import re
from collections.abc import Iterator, Mapping

from core.workflow.argo_model import Task, Template, Workflow
from core.workflow.argo_text import demand_known, plain
from core.workflow.definitions import refused
from core.workflow.model import GraphNode

MAX_TASKS = 500
"""The most tasks that the graph of a workflow may have, with those of the templates inside of each other."""
MAX_DEPTH = 30
"""How deep templates may call each other."""
_OUTPUT = re.compile(r"(steps|tasks)\.([A-Za-z0-9-]+)\.outputs\.(result|parameters\.[A-Za-z0-9_-]+|artifacts\.[A-Za-z0-9_-]+)")


class Calls:
    """The tasks of one template as calls of the others. heard: the templates whose results are asked for, once `demand_fit` has run."""

    def __init__(self, templates: Mapping[str, Template], caller: Template, where: str, world: frozenset[str]) -> None:
        """where: of the caller.   world: the variables that are known everywhere."""
        self._templates, self._caller, self._where, self._world = templates, caller, where, world
        self._tasks = {task.name: task for task in caller.tasks}
        self._earlier: dict[str, frozenset[str]] = {}
        for task in caller.tasks:
            self._earlier[task.name] = frozenset().union(*({need.task} | self._earlier[need.task] for need in task.needs))
        self.heard: set[str] = set()

    def demand_fit(self) -> None:
        """Raises: BadInput for a task that calls what there isn't, passes too much or too little, or names a value that there isn't by then."""
        for task in self._caller.tasks:
            here = f"{self._where}, the task {task.name!r},"
            called = self._templates.get(task.template)
            if called is None:
                raise refused(here, f"the template {task.template[:80]!r}, which there isn't", "Name one of the templates.")
            required = {name: None for name, default in called.parameters.items() if default is None}
            _demand_passed("parameter", task.parameters, called.parameters, required, f"{here} calling {called.name!r},")
            _demand_passed("artifact", task.artifacts, called.artifacts, called.artifacts, f"{here} calling {called.name!r},")
            self._demand_known(task, here)

    def _demand_known(self, task: Task, here: str) -> None:
        demand_known(task.param, lambda name: self._is_value(task, name), f"{here} withParam")
        for what, text in (("when", task.when), *((f"its parameter {name!r}", value) for name, value in task.parameters.items())):
            demand_known(text, lambda name: self._is_value(task, name) or _is_item(task, name), f"{here} {what}")
        for name, source in task.artifacts.items():
            passed_on = source.startswith("inputs.artifacts.") and source.removeprefix("inputs.artifacts.") in self._caller.artifacts
            if not passed_on and self._output(task, source) != "artifact":
                then = "Name an artifact of a task before it that is no loop."
                raise refused(f"{here} its artifact {name!r}", f"{{{{{source[:80]}}}}}, which there isn't", then)

    def _is_value(self, task: Task, name: str) -> bool:
        passed_on = name.startswith("inputs.parameters.") and name.removeprefix("inputs.parameters.") in self._caller.parameters
        return name in self._world or passed_on or self._output(task, name) == "value"

    def _output(self, task: Task, name: str) -> str:
        """Whether a name stands for the "value" or "artifact" of a task that is over by then; "" for neither."""
        found = _OUTPUT.fullmatch(name)
        if found is None or found[1] != self._caller.prefix or found[2] not in self._earlier[task.name]:
            return ""
        before = self._tasks[found[2]]
        maker = self._templates.get(before.template)
        if maker is None or maker.script is None:
            return ""
        kind, _, which = found[3].partition(".")
        if kind == "result":
            self.heard.add(maker.name)
            return "value"
        if kind == "parameters":
            return "value" if which in maker.out_parameters else ""
        return "artifact" if which in maker.out_artifacts and not before.loops else ""


def _is_item(task: Task, name: str) -> bool:
    if name == "item":
        return task.loops
    if not name.startswith("item."):
        return False
    return bool(task.param) or (
        task.items is not None and all(isinstance(i, dict) and plain(i.get(name.removeprefix("item."))) is not None for i in task.items)
    )


def _demand_passed(kind: str, passed: Mapping[str, str], taken: Mapping[str, object], required: Mapping[str, object], where: str) -> None:
    if unknown := [name for name in passed if name not in taken]:
        raise refused(where, f"the {kind} {unknown[0]!r}, which isn't taken there", "Name one of its inputs.")
    if missing := [name for name in required if name not in passed]:
        raise refused(where, f"no {kind} {missing[0]!r}", "Pass it in its arguments.")


def demand_no_circle(templates: Mapping[str, Template]) -> None:
    """Raises: BadInput for templates that call each other for ever, or very deep."""
    heights: dict[str, int] = {}

    def height(name: str, path: tuple[str, ...]) -> int:
        if name in path:
            raise refused(f"the template {name!r}", f"a circle: {' → '.join((*path, name))}", "A template that calls itself may never end: use a loop.")
        if name not in heights:
            called = dict.fromkeys(task.template for task in templates[name].tasks) if len(path) < MAX_DEPTH else ()
            heights[name] = 1 + max((height(inner, (*path, name)) for inner in called), default=0)
        if len(path) + heights[name] > MAX_DEPTH:
            raise refused(f"the template {name!r}", f"more than {MAX_DEPTH} templates inside of each other", "Put fewer of them there.")
        return heights[name]

    for name in templates:
        height(name, ())


def demand_entry_fits(entry: Template, given: set[str], at: str) -> None:
    """Raises: BadInput for a first template that takes anything but the workflow's parameters."""
    if entry.artifacts:
        hint = "Nothing comes before it: let a task make them, or give the run a file for a parameter."
        raise refused(f"{at}.inputs.artifacts", "artifacts of the first template", hint)
    if missing := [name for name, default in entry.parameters.items() if default is None and name not in given]:
        raise refused(f"{at}.inputs.parameters", f"{missing[0]!r}, which is no parameter of the workflow", "Add it to spec.arguments.parameters.")


def graph_of(workflow: Workflow) -> Iterator[GraphNode]:
    """Every task, the outer ones first. Raises: BadInput for too many."""
    entry = workflow.templates[workflow.entrypoint]
    if entry.script is not None:
        yield GraphNode(entry.name, entry.name, "script")
        return
    count = 0
    waiting = [("", entry)]
    while waiting:
        inside, template = waiting.pop(0)
        before = f"{inside}." if inside else ""
        for task in template.tasks:
            count += 1
            if count > MAX_TASKS:
                raise refused("spec.templates", f"more than {MAX_TASKS} tasks", "A loop does the same for many items.")
            called = workflow.templates[task.template]
            kind = "loop" if task.loops else "condition" if task.when else "script" if called.script else "steps"
            yield GraphNode(before + task.name, task.name, kind, tuple(before + need.task for need in task.needs), inside)
            waiting.append((before + task.name, called))
