"""The part of Argo's language that runs on one machine: read strictly, so that whatever is taken means here what it means on a cluster.

The rule behind it: a script names files by Argo's own variables only. Whatever the reader doesn't know is refused with its place.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from core.errors import BadInput
from core.workflow.argo_fit import Calls, demand_entry_fits, demand_no_circle, graph_of
from core.workflow.argo_model import Need, Script, Task, Template, Workflow
from core.workflow.argo_text import demand_condition, demand_known, items_of, plain, tags
from core.workflow.definitions import demand_keys, documents, refused
from core.workflow.model import Parameter, PipelineSpec

API_VERSION = "argoproj.io/v1alpha1"
KINDS = ("Workflow", "WorkflowTemplate")
DESCRIPTION = "hearth/description"
MAX_RETRIES = 100
SHELL_OPTIONS = re.compile(r"-[eux]+")
IMAGE_NOTE = "Scripts run with the programs of this machine: their images are ignored here."
_FIELD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,127}")
_PARAMETER_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_NEED = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(\.Succeeded)?")
_CLUSTER = "It needs a cluster."
_NEEDS_A_CLUSTER = ("container", "containerSet", "resource", "http", "suspend", "data", "plugin", "sidecars", "initContainers", "volumes", "daemon")
_REASONS: Mapping[str, str] = {
    **dict.fromkeys(_NEEDS_A_CLUSTER, _CLUSTER),
    **dict.fromkeys(("volumeClaimTemplates", "volumeMounts", "podSpecPatch", "serviceAccountName", "nodeSelector"), _CLUSTER),
    **dict.fromkeys(("onExit", "hooks", "exit"), "Exit handlers and hooks need a cluster: make a last task of it."),
    **dict.fromkeys(("synchronization", "memoize", "parallelism"), "How runs wait for each other and remember results is for a cluster."),
    **dict.fromkeys(("activeDeadlineSeconds", "timeout"), "Time limits of Argo need a cluster: here a run has one of its own."),
    **dict.fromkeys(("continueOn",), "A failure fails the run here: let the script say what went wrong in an output instead."),
    **dict.fromkeys(("templateRef", "workflowTemplateRef"), "Other workflows are not in reach here: write the template out."),
    **dict.fromkeys(("fromExpression", "expression"), "Expressions need a cluster: compute it in a script."),
    "withSequence": "Write the numbers as withItems, or print them for withParam.",
    "inline": "Give the template a name and put it among the others.",
}


def local_spec(definition: str) -> PipelineSpec:
    """What a definition says, if it can be run on one machine. Raises: BadInput with the place of whatever can't."""
    workflow = read(definition)
    return PipelineSpec(workflow.parameters, tuple(graph_of(workflow)), workflow.notes, workflow.description)


def read(definition: str) -> Workflow:
    """The workflow of a definition. Raises: BadInput with the place of whatever can't be run here as it would be on a cluster."""
    document = one_document(definition)
    _keys(document, ("apiVersion", "kind", "metadata", "spec"), "")
    metadata = _keys(document.get("metadata") or {}, ("name", "generateName", "labels", "annotations"), "metadata")
    _demand_labels(metadata, "metadata")
    spec = _keys(document.get("spec"), ("entrypoint", "arguments", "templates"), "spec")
    arguments = _keys(spec.get("arguments") or {}, ("parameters",), "spec.arguments")
    parameters = read_parameters(arguments.get("parameters"), "spec.arguments.parameters")
    places: dict[str, tuple[str, dict[str, Any]]] = {}
    for at, template in entries(spec.get("templates"), "spec.templates"):
        _demand_new(name := _name(template, at), places, at)
        places[name] = (at, template)
    entrypoint = _text(spec.get("entrypoint"), "spec.entrypoint")
    if entrypoint not in places:
        raise refused("spec.entrypoint", f"{entrypoint[:80]!r}, which is none of the templates", "Name one of them.")
    world = frozenset({"workflow.name", *(f"workflow.parameters.{p.name}" for p in parameters)})
    templates = {name: _template(template, at, world) for name, (at, template) in places.items()}
    heard: set[str] = set()
    for name, (at, _) in places.items():
        calls = Calls(templates, templates[name], at, world)
        calls.demand_fit()
        heard |= calls.heard
    templates = {name: replace(template, hears=name in heard) for name, template in templates.items()}
    demand_no_circle(templates)
    demand_entry_fits(templates[entrypoint], {p.name for p in parameters}, places[entrypoint][0])
    workflow = Workflow(entrypoint, templates, parameters, description_of(metadata), (IMAGE_NOTE,))
    list(graph_of(workflow))  # it complains when there are too many
    return workflow


def one_document(definition: str) -> dict[str, Any]:
    """The one document, which says that it is a workflow of Argo. Raises: BadInput."""
    found = documents(definition)
    if len(found) != 1:
        raise BadInput(f"The definition has {len(found)} documents.", hint="Send one Workflow or WorkflowTemplate.")
    document = found[0]
    _demand_writable(document)
    if not isinstance(document, dict):
        raise refused("the document", "no fields", "It has to be a mapping.")
    if document.get("apiVersion") != API_VERSION:
        raise refused("apiVersion", f"{str(document.get('apiVersion'))[:80]!r}", f"Argo's is {API_VERSION}.")
    if document.get("kind") not in KINDS:
        raise refused("kind", f"{str(document.get('kind'))[:80]!r}", f"What can be run: {', '.join(KINDS)}.")
    return document


def _demand_writable(value: Any) -> None:
    """Raises: BadInput for values that YAML can say and no text can hold."""
    waiting = [value]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict | list):
            waiting += [*here, *here.values()] if isinstance(here, dict) else here
        elif isinstance(here, int) and here.bit_length() > 63:
            raise refused("the document", "a number beyond 64 bits", "Put it between quotes.")
        elif isinstance(here, str) and any("\ud800" <= c <= "\udfff" for c in here):
            raise refused("the document", "half a character, an unpaired surrogate", "Leave it out.")


def description_of(metadata: Any) -> str:
    """What a definition says of itself in its annotation, on one line."""
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return " ".join(str(annotations.get(DESCRIPTION, "")).split()) if isinstance(annotations, dict) else ""


def read_parameters(value: Any, where: str) -> tuple[Parameter, ...]:
    """The parameters that a workflow is given; all are texts. Raises: BadInput."""
    found: dict[str, Parameter] = {}
    for at, entry in entries(value or [], where):
        _keys(entry, ("name", "value", "default", "enum", "description"), at)
        _demand_new(name := _name(entry, at, _PARAMETER_NAME), found, at)
        default = _value(entry, "value", at)
        default = _value(entry, "default", at) if default is None else default
        for text in () if default is None else (default,):
            demand_known(text, lambda _: False, at)
        options = tuple(_scalar(option, f"{at}.enum[{n}]") for n, option in enumerate(_list(entry.get("enum") or [], f"{at}.enum")))
        if options and default is not None and default not in options:
            raise refused(at, f"the value {default[:80]!r}, which is none of its enum", "Choose one of them.")
        said = " ".join(_text(entry["description"], f"{at}.description").split()) if entry.get("description") else ""
        found[name] = Parameter(name, default=default, required=default is None, description=said, options=options)
    return tuple(found.values())


def _template(value: dict[str, Any], at: str, world: frozenset[str]) -> Template:
    _keys(value, ("name", "inputs", "outputs", "script", "steps", "dag", "retryStrategy", "metadata"), at)
    kinds = [kind for kind in ("script", "steps", "dag") if value.get(kind) is not None]
    if len(kinds) != 1:
        raise refused(at, " and ".join(kinds) or "neither script nor steps nor dag", "A template has exactly one of them.")
    _demand_labels(_keys(value.get("metadata") or {}, ("labels", "annotations"), f"{at}.metadata"), f"{at}.metadata")
    inputs = _keys(value.get("inputs") or {}, ("parameters", "artifacts"), f"{at}.inputs")
    outputs = _keys(value.get("outputs") or {}, ("parameters", "artifacts"), f"{at}.outputs")
    parameters: dict[str, str | None] = {}
    for where, entry in entries(inputs.get("parameters") or [], f"{at}.inputs.parameters"):
        _keys(entry, ("name", "value", "default", "description"), where)
        _demand_new(name := _name(entry, where, _PARAMETER_NAME), parameters, where)
        default = _value(entry, "default", where)  # Argo's order: the default covers the value
        parameters[name] = _value(entry, "value", where) if default is None else default
        if parameters[name] is not None:
            demand_known(parameters[name] or "", world.__contains__, where)
    artifacts = _files(inputs.get("artifacts"), f"{at}.inputs.artifacts")
    if kinds[0] != "script":
        if outputs:
            raise refused(f"{at}.outputs", "outputs of a template of tasks", "Only scripts have outputs here: use those of the task itself.")
        if value.get("retryStrategy") is not None:
            raise refused(f"{at}.retryStrategy", "retries of a template of tasks", "Only scripts are retried here: put it on them.")
        tasks, fail_fast = _steps(value["steps"], f"{at}.steps") if kinds[0] == "steps" else _dag(value["dag"], f"{at}.dag")
        return Template(value["name"], parameters, artifacts, {}, {}, None, tasks, "steps" if kinds[0] == "steps" else "tasks", fail_fast)
    out_parameters: dict[str, str] = {}
    for where, entry in entries(outputs.get("parameters") or [], f"{at}.outputs.parameters"):
        _keys(entry, ("name", "valueFrom", "description"), where)
        _demand_new(name := _name(entry, where, _PARAMETER_NAME), out_parameters, where)
        out_parameters[name] = _path(_keys(entry.get("valueFrom"), ("path",), f"{where}.valueFrom").get("path"), f"{where}.valueFrom.path")
    out_artifacts = _files(outputs.get("artifacts"), f"{at}.outputs.artifacts")
    known = world | {f"inputs.parameters.{name}" for name in parameters}
    out = {f"outputs.parameters.{n}.path": p for n, p in out_parameters.items()} | {f"outputs.artifacts.{n}.path": p for n, p in out_artifacts.items()}
    files = {f"inputs.artifacts.{n}.path": p for n, p in artifacts.items()} | out
    script = _script(value["script"], f"{at}.script", known | files.keys())
    _demand_files_by_variable(script, files, out, f"{at}.script.source")
    return Template(value["name"], parameters, artifacts, out_parameters, out_artifacts, script, retries=_retries(value.get("retryStrategy"), at))


def _script(value: Any, at: str, known: frozenset[str]) -> Script:
    _keys(value, ("image", "command", "source", "env"), at)
    if value.get("image") is not None:
        demand_known(_text(value["image"], f"{at}.image"), known.__contains__, f"{at}.image")
    command = tuple(_text(part, f"{at}.command[{n}]") for n, part in enumerate(_list(value.get("command"), f"{at}.command")))
    program, options = command[0] if command else "", command[1:]
    fine = (program in ("bash", "sh") and all(map(SHELL_OPTIONS.fullmatch, options))) or (program in ("python", "python3") and options in ((), ("-u",)))
    if not fine:
        raise refused(f"{at}.command", f"{' '.join(command)[:80]!r}", "What runs here: python or python3, bash or sh, these two with -e, -u and -x.")
    source = _text(value.get("source"), f"{at}.source")
    demand_known(source, known.__contains__, f"{at}.source")
    env: dict[str, str] = {}
    for where, entry in entries(value.get("env") or [], f"{at}.env"):
        _keys(entry, ("name", "value"), where)
        _demand_new(name := _name(entry, where, _VARIABLE_NAME), env, where)
        if name.startswith("HEARTH_"):
            raise refused(f"{where}.name", f"{name!r}", "Names that begin with HEARTH_ are the house's own.")
        env[name] = _value(entry, "value", where) or ""
        demand_known(env[name], known.__contains__, f"{where}.value")
    return Script(command, source, env)


def _demand_files_by_variable(script: Script, files: Mapping[str, str], out: Mapping[str, str], where: str) -> None:
    """A path in the text would be a file of this machine, and two steps' at once; and an output that isn't named can't be written."""
    texts = (script.source, *script.env.values())
    used = {name for text in texts for name in tags(text)}
    for name, path in files.items():
        if any(path in text for text in texts):
            raise refused(where, f"the path {path[:80]}", f"Write {{{{{name}}}}} in its place: it is that path on a cluster, and the step's own file here.")
    if missing := [name for name in out if name not in used]:
        raise refused(where, f"no {{{{{missing[0]}}}}}", "A script writes each of its outputs to the file that its variable names.")


def _retries(value: Any, at: str) -> int:
    if value is None:
        return 0
    limit = _keys(value, ("limit",), f"{at}.retryStrategy").get("limit")
    text = "" if isinstance(limit, bool) else str(limit)
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) > MAX_RETRIES:
        raise refused(f"{at}.retryStrategy.limit", f"{str(limit)[:80]!r}", f"Give a whole number up to {MAX_RETRIES}.")
    return int(text)


def _steps(value: Any, at: str) -> tuple[tuple[Task, ...], bool]:
    """Groups one after another, each waiting for all of the one before it."""
    tasks: dict[str, Task] = {}
    before: tuple[Need, ...] = ()
    for g, group in enumerate(_list(value, at)):
        here: dict[str, Task] = {}
        for where, entry in entries(group, f"{at}[{g}]"):
            _demand_new(name := _name(entry, where), tasks | here, where)
            here[name] = _task(entry, where, (), before)
        tasks |= here
        before = tuple(map(Need, here))
    return tuple(tasks.values()), False


def _dag(value: Any, at: str) -> tuple[tuple[Task, ...], bool]:
    _keys(value, ("tasks", "failFast"), at)
    fail_fast = value.get("failFast", True)
    if not isinstance(fail_fast, bool):
        raise refused(f"{at}.failFast", f"{str(fail_fast)[:80]!r}", "It is true or false.")
    tasks: dict[str, Task] = {}
    places = {}
    for where, entry in entries(value.get("tasks"), f"{at}.tasks"):
        _demand_new(name := _name(entry, where), tasks, where)
        tasks[name], places[name] = _task(entry, where, ("dependencies", "depends"), _needs(entry, where)), where
    for task in tasks.values():
        if unknown := [need.task for need in task.needs if need.task not in tasks]:
            raise refused(places[task.name], f"the dependency {unknown[0][:80]!r}, which is no task of this dag", "Name one of its tasks.")
    return _in_order(tasks, at), fail_fast


def _in_order(tasks: Mapping[str, Task], at: str) -> tuple[Task, ...]:
    """Each after those that it needs. Raises: BadInput for a circle."""
    made: dict[str, Task] = {}
    waiting = dict(tasks)
    while waiting:
        ready = [task for task in waiting.values() if all(need.task in made for need in task.needs)]
        if not ready:
            raise refused(f"{at}.tasks", f"a circle: {', '.join(waiting)[:200]} wait for each other", "A task can't wait for itself, over others either.")
        for task in ready:
            made[task.name] = waiting.pop(task.name)
    return tuple(made.values())


def _needs(entry: Mapping[str, Any], at: str) -> tuple[Need, ...]:
    named, depends = entry.get("dependencies"), entry.get("depends")
    if named is not None and depends is not None:
        raise refused(at, "both dependencies and depends", "Keep one of them.")
    if depends is None:
        return tuple(Need(_text(name, f"{at}.dependencies[{n}]")) for n, name in enumerate(_list(named or [], f"{at}.dependencies")))
    found = [_NEED.fullmatch(part.strip()) for part in _text(depends, f"{at}.depends").split("&&")]
    if not all(found):
        raise refused(f"{at}.depends", f"{str(depends)[:80]!r}", "What runs here: names joined by &&, each with .Succeeded or without.")
    return tuple(Need(one[1], bool(one[2])) for one in found if one)


def _task(entry: Any, at: str, more: Sequence[str], needs: tuple[Need, ...]) -> Task:
    _keys(entry, ("name", "template", "arguments", "withItems", "withParam", "when", *more), at)
    name, template = _name(entry, at), _text(entry.get("template"), f"{at}.template")
    arguments = _keys(entry.get("arguments") or {}, ("parameters", "artifacts"), f"{at}.arguments")
    parameters: dict[str, str] = {}
    for where, one in entries(arguments.get("parameters") or [], f"{at}.arguments.parameters"):
        _keys(one, ("name", "value"), where)
        _demand_new(passed := _name(one, where, _PARAMETER_NAME), parameters, where)
        if (value := _value(one, "value", where)) is None:
            raise refused(where, "no value", "Give it one.")
        parameters[passed] = value
    artifacts: dict[str, str] = {}
    for where, one in entries(arguments.get("artifacts") or [], f"{at}.arguments.artifacts"):
        _keys(one, ("name", "from"), where)
        _demand_new(passed := _name(one, where, _PARAMETER_NAME), artifacts, where)
        source = _text(one.get("from"), f"{where}.from")
        if (found := re.fullmatch(r"\{\{([^{}]+)\}\}", source)) is None:
            raise refused(f"{where}.from", f"{source[:80]!r}", "Name one artifact between {{ and }}.")
        artifacts[passed] = found[1].strip()
    when = "" if entry.get("when") in (None, "") else _text(entry["when"], f"{at}.when")
    if when:
        demand_condition(when, f"{at}.when")
    return Task(name, template, parameters, artifacts, needs, *_loop(entry, at), when)


def _loop(entry: Mapping[str, Any], at: str) -> tuple[tuple[Any, ...] | None, str]:
    """What withItems and withParam say."""
    items, param = entry.get("withItems"), entry.get("withParam")
    if items is not None and param is not None:
        raise refused(at, "both withItems and withParam", "Keep one of them.")
    if param is not None:
        if not tags(_text(param, f"{at}.withParam")):
            items_of(param)
        return None, param
    if items is None:
        return None, ""
    for n, item in enumerate(_list(items, f"{at}.withItems")):
        if (text := plain(item)) is None:
            raise refused(f"{at}.withItems[{n}]", f"{str(item)[:80]!r}", "Write it as a text, between quotes.")
        demand_known(text, lambda _: False, f"{at}.withItems[{n}]")
    if not items:
        raise refused(f"{at}.withItems", "no items", "Argo takes no empty list there.")
    return tuple(items), ""


def _files(value: Any, where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for at, entry in entries(value or [], where):
        _keys(entry, ("name", "path", "description"), at)
        _demand_new(name := _name(entry, at, _PARAMETER_NAME), found, at)
        found[name] = _path(entry.get("path"), f"{at}.path")
    return found


def _path(value: Any, at: str) -> str:
    path = _text(value, at)
    name = PurePosixPath(path).name
    if not path.startswith("/") or ".." in path.split("/") or not path.isprintable() or "{{" in path or not 0 < len(name.encode()) <= 200:
        raise refused(at, f"the path {path[:80]!r}", "Give a whole path to a file, such as /tmp/data.csv, without .. in it.")
    return path


def _demand_labels(metadata: Mapping[str, Any], at: str) -> None:
    for kind in ("labels", "annotations"):
        held = metadata.get(kind)
        if held is not None and not (isinstance(held, dict) and all(isinstance(k, str) and isinstance(v, str) for k, v in held.items())):
            raise refused(f"{at}.{kind}", "something else than texts", "Write each as a name and a text.")


def _keys(value: Any, allowed: Sequence[str], where: str) -> dict[str, Any]:
    """As `demand_keys`, with the reason where there is a special one."""
    for key in value if isinstance(value, dict) else ():
        if key not in allowed and isinstance(key, str) and key in _REASONS:
            raise BadInput(f"{where}.{key} is not taken." if where else f"{key} is not taken.", hint=_REASONS[key])
    return demand_keys(value, allowed, where)


def entries(value: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The mappings of a list, each with its place."""
    for n, entry in enumerate(_list(value, where)):
        if not isinstance(entry, dict):
            raise refused(f"{where}[{n}]", "no fields", "It has to be a mapping.")
        yield f"{where}[{n}]", entry


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise refused(where, "no list", "It has to be a list.")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise refused(where, "no text", "It has to be a text.")
    if "\x00" in value:
        raise refused(where, "a zero character, which no program can be given", "Leave it out.")
    return value


def _scalar(value: Any, where: str) -> str:
    if isinstance(value, dict | list) or (text := plain(value)) is None:
        raise refused(where, f"{str(value)[:80]!r}", "Write it as a text, between quotes.")
    return _text(text, where) if text else ""


def _value(entry: Mapping[str, Any], key: str, where: str) -> str | None:
    return None if entry.get(key) is None else _scalar(entry[key], f"{where}.{key}")


def _name(entry: Mapping[str, Any], where: str, form: re.Pattern[str] = _FIELD_NAME) -> str:
    name = entry.get("name")
    if not isinstance(name, str) or form.fullmatch(name) is None:
        raise refused(f"{where}.name", f"{str(name)[:80]!r}", "Use letters, digits and hyphens (in parameters _ too).")
    return name


def _demand_new(name: str, known: Mapping[str, object], where: str) -> None:
    if name in known:
        raise refused(f"{where}.name", f"{name!r} for the second time", "Give each its own name.")
