"""Argo's whole language, for a run on a cluster: its fields are known by name, and a few that reach beyond the run's own pods are refused.

`argo_fields.txt` has the names, one object of Argo a line: the object, then its fields, `name=object` where a field is one, `[]` before it for a list and `{}`
for a mapping of them. It is made from the published swagger (tag of 2026-08, Apache-2.0) by `fields_of` in tests/core/workflow/test_argo_cluster.py.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from core.errors import BadInput
from core.workflow.argo import description_of, entries, one_document
from core.workflow.argo_fit import MAX_TASKS
from core.workflow.argo_text import plain
from core.workflow.definitions import refused
from core.workflow.model import GraphNode, Parameter, PipelineSpec

FORBIDDEN: Mapping[str, str] = {
    "podSpecPatch": "It can change anything about a pod.",
    "hostPath": "It reaches the files of the cluster's machines.",
    "privileged": "It makes a container the master of its machine.",
    "serviceAccountName": "It lends a run the rights of another account.",
    "hostNetwork": "It reaches the network of the cluster's machines.",
    "hostPID": "It reaches the processes of the cluster's machines.",
}
TEMPLATE_KINDS = ("script", "container", "containerSet", "steps", "dag", "resource", "http", "suspend", "data", "plugin")
_DEPENDED = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]*)(?:\.[A-Za-z]+)?")


def cluster_spec(definition: str) -> PipelineSpec:
    """What a definition says, if it may be sent to a cluster. A parameter whose value the cluster finds itself has neither a default nor to be given.

    Raises: BadInput with the place of a field that Argo doesn't have or that isn't allowed, and for templates and tasks that don't fit each other.
    """
    document = one_document(definition)
    if not isinstance(document.get("spec"), dict):
        raise refused("spec", "no fields", "It has to be a mapping.")
    _demand_fields(document, "Workflow", "")
    spec = document["spec"]
    arguments = spec.get("arguments") or {}
    parameters = tuple(_parameter(entry, at) for at, entry in entries(arguments.get("parameters") or [], "spec.arguments.parameters"))
    return PipelineSpec(parameters, tuple(_graph(spec)), description=description_of(document.get("metadata")))


@cache
def _fields() -> Mapping[str, Mapping[str, str]]:
    lines = Path(__file__).with_name("argo_fields.txt").read_text("utf-8").splitlines()
    held = {name: {key: kind for key, _, kind in (word.partition("=") for word in words)} for name, *words in map(str.split, lines)}
    return {**held, "Workflow": {"apiVersion": "", "kind": "", "metadata": "k8s.ObjectMeta", "spec": "WorkflowSpec"}}


def _demand_fields(value: Any, kind: str, where: str) -> None:
    """kind: as `argo_fields.txt` writes it; "" for what has no named fields."""
    if not kind or value is None:
        return
    if kind.startswith("[]"):
        if not isinstance(value, list):
            raise refused(where, "no list", "It has to be a list.")
        for n, inner in enumerate(value):
            _demand_fields(inner, kind[2:], f"{where}[{n}]")
        return
    if not isinstance(value, dict):
        raise refused(where, "no fields", "It has to be a mapping.")
    for key, inner in value.items():
        at = f"{where}.{key}" if where else str(key)
        if kind.startswith("{}"):
            _demand_fields(inner, kind[2:], at)
            continue
        if key in FORBIDDEN and inner is not False:
            raise BadInput(f"{at} is not allowed.", hint=FORBIDDEN[key])
        if key not in _fields()[kind]:
            raise BadInput(f"{at} is not taken.", hint="Argo has no such field there: look at its spelling.")
        _demand_fields(inner, _fields()[kind][key], at)


def _parameter(entry: Mapping[str, Any], at: str) -> Parameter:
    default = entry.get("value") if entry.get("value") is not None else entry.get("default")
    options = entry.get("enum") or []
    if not isinstance(options, list):
        raise refused(f"{at}.enum", "no list", "It has to be a list.")
    return Parameter(
        _name(entry, at),
        default=plain(default),
        required=default is None and entry.get("valueFrom") is None,
        description=" ".join(str(entry.get("description") or "").split()),
        options=tuple(str(option) for option in options),
    )


def _graph(spec: Mapping[str, Any]) -> Iterator[GraphNode]:
    """Every task, the outer ones first; a template that is around itself is not gone into again. Raises: BadInput."""
    templates = {_name(template, at): template for at, template in entries(spec.get("templates") or [], "spec.templates")}
    entry = spec.get("entrypoint")
    if not isinstance(entry, str) or entry not in templates:
        if spec.get("workflowTemplateRef") is not None:
            return
        raise refused("spec.entrypoint", f"{str(entry)[:80]!r}, which is none of the templates", "Name one of them.")
    if not _tasks(templates[entry], entry):
        yield GraphNode(entry, entry, _kind(templates[entry]))
    count = 0
    waiting: list[tuple[str, Mapping[str, Any], tuple[str, ...]]] = [("", templates[entry], (entry,))]
    while waiting:
        inside, template, path = waiting.pop(0)
        before = f"{inside}." if inside else ""
        for name, task, needs in _tasks(template, path[-1]):
            count += 1
            if count > MAX_TASKS:
                raise refused("spec.templates", f"more than {MAX_TASKS} tasks", "A loop does the same for many items.")
            of = task.get("template") or ""
            called = task.get("inline") or (templates.get(of) if isinstance(of, str) else None)
            if called is None and task.get("templateRef") is None:
                raise refused(f"the task {name!r} of {path[-1]!r}", f"the template {str(of)[:80]!r}, which there isn't", "Name one of the templates.")
            loops = any(task.get(key) is not None for key in ("withItems", "withParam", "withSequence"))
            kind = "loop" if loops else "condition" if task.get("when") else _kind(called) if called else "template"
            yield GraphNode(before + name, name, kind, tuple(before + need for need in needs), inside)
            if called and of not in path:
                waiting.append((before + name, called, (*path, of or name)))


def _kind(template: Mapping[str, Any]) -> str:
    found = next((kind for kind in TEMPLATE_KINDS if template.get(kind) is not None), "")
    return "steps" if found == "dag" else found


def _tasks(template: Mapping[str, Any], of: str) -> list[tuple[str, Mapping[str, Any], tuple[str, ...]]]:
    """The tasks of a template with the names of those that each needs. Raises: BadInput for names that come twice or stand for nothing, and for a circle."""
    found: dict[str, tuple[Mapping[str, Any], tuple[str, ...]]] = {}
    before: tuple[str, ...] = ()
    dag = [template["dag"].get("tasks") or []] if template.get("dag") else []
    for group in dag or template.get("steps") or []:
        here = {}
        for at, task in entries(group, f"the template {of!r}"):
            name = _name(task, at)
            if name in here or name in found:
                raise refused(at, f"the name {name!r} for the second time", "Give each its own name.")
            here[name] = (task, _needs(task) if dag else before)
        found |= here
        before = tuple(here)
    for name, (_, needs) in found.items():
        if unknown := [need for need in needs if need not in found]:
            raise refused(f"the task {name!r} of {of!r}", f"the dependency {unknown[0][:80]!r}, which is no task there", "Name one of its tasks.")
    waiting = {name: set(needs) for name, (_, needs) in found.items()}
    while ready := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        waiting = {name: needs for name, needs in waiting.items() if name not in ready}
    if waiting:
        raise refused(f"the template {of!r}", f"a circle: {', '.join(waiting)[:200]} wait for each other", "A task can't wait for itself.")
    return [(name, task, needs) for name, (task, needs) in found.items()]


def _needs(task: Mapping[str, Any]) -> tuple[str, ...]:
    named, depends = task.get("dependencies") or [], task.get("depends") or ""
    if not isinstance(named, list) or not isinstance(depends, str):
        raise refused("the dependencies of a task", "neither a list nor a text", "Name the tasks that it needs.")
    return tuple(dict.fromkeys([*map(str, named), *(found[1] for found in _DEPENDED.finditer(depends))]))


def _name(entry: Mapping[str, Any], at: str) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or not name:
        raise refused(f"{at}.name", "no text", "It has to be a text.")
    return name
