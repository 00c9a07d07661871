"""Compiled Kubeflow pipelines (the YAML that `kfp` writes: a PipelineSpec, and perhaps a PlatformSpec after it), read without kfp and without running anything.

Format: the messages of pipeline_spec.proto, version 2.1 of the schema, in protobuf's JSON form.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from core.errors import BadInput
from core.workflow.conditions import read_condition
from core.workflow.definitions import demand_keys, documents, refused
from core.workflow.model import GraphNode, Parameter, ParameterType, PipelineSpec, given

MAX_TASKS = 2_000
"""How many tasks a graph may have, those in loops counted once: components that use components can stand for any number."""
_SCHEMA = re.compile(r"2\.1\.\d{1,3}")
_TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_SPEC_KEYS = ("pipelineInfo", "deploymentSpec", "sdkVersion", "schemaVersion", "components", "root", "defaultPipelineRoot")
_TYPES = {
    "STRING": ParameterType.STRING,
    "NUMBER_INTEGER": ParameterType.INTEGER,
    "NUMBER_DOUBLE": ParameterType.NUMBER,
    "BOOLEAN": ParameterType.BOOLEAN,
    "LIST": ParameterType.LIST,
    "STRUCT": ParameterType.STRUCT,
}
_EXECUTOR_MODULE, _LAUNCHED = "kfp.dsl.executor_main", "ephemeral_component.py"
"""What kfp's launcher of lightweight Python components calls, and the file that it writes the component into."""
_KFP_PIN = re.compile(r"\bkfp==([\w.+-]+)")

_ONLY_WHERE = ("nodeSelector", "tolerations", "nodeAffinity", "podAffinity", "podMetadata", "imagePullPolicy", "imagePullSecret", "activeDeadlineSeconds")
"""What of a platform's settings says only where a step runs, and for how long."""
_ON_CLUSTERS = (
    *_ONLY_WHERE, "secretAsEnv", "secretAsVolume", "configMapAsEnv", "configMapAsVolume", "fieldPathAsEnv", "pvcMount", "genericEphemeralVolume",
    "emptyDirMounts", "enabledSharedMemory",
)  # fmt: skip
_NEVER = ("podSpecPatch", "hostPath", "privileged", "serviceAccountName", "serviceAccount", "hostNetwork", "hostPID", "hostIPC", "securityContext")
"""What would let a step out of its container, or act as somebody else."""


def local_spec(definition: str) -> PipelineSpec:
    """What a definition says, where its steps are to run on this machine.

    Raises: BadInput, with the place in the definition, for whatever isn't a compiled pipeline of lightweight Python components, and for what installs software.
    """
    return _read(definition, here=True)


def cluster_spec(definition: str) -> PipelineSpec:
    """What a definition says, where a cluster is to run it. Raises: BadInput, with the place, for no compiled pipeline, and for what policy forbids."""
    return _read(definition, here=False)


def _read(definition: str, *, here: bool) -> PipelineSpec:
    found = documents(definition)
    if not found or not isinstance(found[0], dict) or "root" not in found[0]:
        argo = bool(found) and isinstance(found[0], dict) and "apiVersion" in found[0]
        raise BadInput(
            "The definition is no compiled Kubeflow pipeline.",
            hint="It is an Argo workflow: choose that engine." if argo else "Compile it with kfp's compiler, and send the YAML that it writes.",
        )
    if len(found) > 2:
        raise refused("the third document", "no place", "A compiled pipeline is one document, or two with its platform's settings.")
    spec = demand_keys(found[0], _SPEC_KEYS, "")
    version = spec.get("schemaVersion")
    if not isinstance(version, str) or _SCHEMA.fullmatch(version) is None:
        raise refused("schemaVersion", f"{str(version)[:40]!r}", "Compile it with kfp 2: only version 2.1 of the schema is read.")
    info = _mapping(spec.get("pipelineInfo"), "pipelineInfo")
    root = _mapping(spec["root"], "root")
    reading = _Reading(
        _mapping(spec.get("components"), "components"),
        _mapping(_mapping(spec.get("deploymentSpec"), "deploymentSpec").get("executors"), "deploymentSpec.executors"),
        here,
    )
    parameters = tuple(_parameters(root))
    reading.dag(root, "root", (), "")
    if len(found) == 2:
        reading.platform(found[1])
    return PipelineSpec(parameters, tuple(reading.nodes), tuple(reading.notes), _text(info.get("description"), "pipelineInfo.description"))


def _parameters(root: Mapping[str, Any]) -> Iterator[Parameter]:
    """The inputs of a pipeline. Raises: BadInput."""
    inputs = _mapping(root.get("inputDefinitions"), "root.inputDefinitions")
    if inputs.get("artifacts"):
        raise refused("root.inputDefinitions.artifacts", "artifacts as inputs", "A run is given parameters: pass the address of the file as a text.")
    for name, told in _mapping(inputs.get("parameters"), "root.inputDefinitions.parameters").items():
        where = f"root.inputDefinitions.parameters.{name}"
        told = _mapping(told, where)
        kind = _TYPES.get(_text(told.get("parameterType"), f"{where}.parameterType"))
        if kind is None:
            raise refused(f"{where}.parameterType", f"{str(told.get('parameterType'))[:40]!r}", f"It may be one of: {', '.join(_TYPES)}.")
        options = tuple(one for one in _list(told.get("literals"), f"{where}.literals") if isinstance(one, str))
        described = _text(told.get("description"), f"{where}.description")
        default = told.get("defaultValue")
        parameter = Parameter(name, kind, None, default is None and told.get("isOptional") is not True, described, options)
        if default is not None:
            _demand_json(default, f"{where}.defaultValue")
            default = given(PipelineSpec((parameter,)), {name: default})[name]
        yield Parameter(name, kind, default, parameter.required, described, options)


@dataclass
class _Reading:
    """Walks through the tasks of a pipeline. here: they are to run on this machine."""

    components: Mapping[str, Any]
    executors: Mapping[str, Any]
    here: bool
    nodes: list[GraphNode] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)

    def dag(self, component: Mapping[str, Any], where: str, ancestors: tuple[str, ...], inside: str) -> None:
        """The tasks of a component that is a graph. ancestors: the components that it is a part of.   inside: its task's node."""
        where = f"{where}.dag"
        told = _mapping(_mapping(component.get("dag"), where).get("tasks"), f"{where}.tasks")
        tasks = {name: _mapping(task, f"{where}.tasks.{name}") for name, task in told.items()}
        if not tasks:
            raise refused(where, "no tasks", "A pipeline has at least one.")
        needs = {name: self._needs(name, task, tasks, f"{where}.tasks.{name}") for name, task in tasks.items()}
        try:
            TopologicalSorter(needs).prepare()
        except CycleError as error:
            raise refused(f"{where}.tasks", f"a cycle: {' → '.join(error.args[1])}", "Take one of these dependencies out.") from error
        for name, task in tasks.items():
            self._task(name, task, needs[name], f"{where}.tasks.{name}", ancestors, inside)

    def _needs(self, name: str, task: Mapping[str, Any], tasks: Mapping[str, Any], where: str) -> tuple[str, ...]:
        """The tasks that come before one, by its own word and by what it takes from them."""
        if _TASK_NAME.fullmatch(name) is None:
            raise refused(where, "a name that no task may have", "Use letters, digits, hyphens and underscores.")
        needs = [*_list(task.get("dependentTasks"), f"{where}.dependentTasks")]
        inputs = _mapping(task.get("inputs"), f"{where}.inputs")
        for kind in ("parameters", "artifacts"):
            for key, source in _mapping(inputs.get(kind), f"{where}.inputs.{kind}").items():
                for way, of in _mapping(source, f"{where}.inputs.{kind}.{key}").items():
                    if way in ("taskOutputParameter", "taskOutputArtifact", "taskFinalStatus"):
                        needs.append(_mapping(of, f"{where}.inputs.{kind}.{key}.{way}").get("producerTask"))
        for need in needs:
            if not isinstance(need, str) or need not in tasks:
                raise refused(where, f"a need of {str(need)[:80]!r}, which is no task beside it", "Name one that there is.")
        return tuple(dict.fromkeys(needs))

    def _task(self, name: str, task: Mapping[str, Any], needs: Sequence[str], where: str, ancestors: tuple[str, ...], inside: str) -> None:
        if len(self.nodes) >= MAX_TASKS:
            raise refused(where, f"more than {MAX_TASKS} tasks before it", "Take a loop for what is done so often.")
        reference = _mapping(task.get("componentRef"), f"{where}.componentRef").get("name")
        if not isinstance(reference, str) or reference not in self.components:
            raise refused(f"{where}.componentRef", f"the component {str(reference)[:80]!r}, which there isn't", "Name one of `components`.")
        if reference in ancestors:
            raise refused(f"{where}.componentRef", f"a cycle: {' → '.join((*ancestors, reference))}", "A component can't be a part of itself.")
        component = _mapping(self.components[reference], f"components.{reference}")
        before = f"{inside}." if inside else ""
        label = _text(_mapping(task.get("taskInfo"), f"{where}.taskInfo").get("name"), f"{where}.taskInfo.name") or name
        kind = self._kind(name, task, component, where)
        self.nodes.append(GraphNode(before + name, label, kind, tuple(before + need for need in needs), inside))
        if component.get("singlePlatformSpecs") is not None:
            self._demand_allowed(component["singlePlatformSpecs"], f"components.{reference}.singlePlatformSpecs")
            if self.here:
                raise refused(f"components.{reference}", "settings of a platform", "They do nothing on this machine: take them out, or run it on a cluster.")
        if "dag" in component:
            self.dag(component, f"components.{reference}", (*ancestors, reference), before + name)
        else:
            self._executor(component, reference, label)

    def _kind(self, name: str, task: Mapping[str, Any], component: Mapping[str, Any], where: str) -> str:
        policy = _mapping(task.get("triggerPolicy"), f"{where}.triggerPolicy")
        condition = _text(policy.get("condition"), f"{where}.triggerPolicy.condition")
        if condition:
            try:
                if self.here:
                    read_condition(condition)
            except ValueError as error:
                raise refused(f"{where}.triggerPolicy.condition", f"a condition that isn't understood here: {error}", "Compare inputs with values.") from error
        iterators = [key for key in ("parameterIterator", "artifactIterator") if key in task]
        for key in iterators:
            items = _mapping(_mapping(task[key], f"{where}.{key}").get("items"), f"{where}.{key}.items")
            if not isinstance(items.get("inputParameter", items.get("raw", items.get("inputArtifact"))), str):
                raise refused(f"{where}.{key}.items", "no items", "Name an input, or give them as JSON in `raw`.")
        if iterators:
            return "loop"
        if condition:
            return "condition"
        if "dag" not in component:
            return "component"
        return "exit handler" if name.startswith("exit-handler-") else "branches" if name.startswith("condition-branches-") else "pipeline"

    def _executor(self, component: Mapping[str, Any], reference: str, label: str) -> None:
        """What runs a component that is none of others."""
        name = component.get("executorLabel")
        if not isinstance(name, str) or name not in self.executors:
            raise refused(f"components.{reference}", f"the executor {str(name)[:80]!r}, which there isn't", "Name one of `deploymentSpec.executors`.")
        where = f"deploymentSpec.executors.{name}"
        executor = _mapping(self.executors[name], where)
        container = executor.get("container")
        if container is None:
            if not self.here and "importer" in executor:
                return
            kinds = ", ".join(map(str, executor)) or "nothing"
            raise refused(where, f"{kinds[:80]}, which can't be run {'here' if self.here else 'there'}", "Use a Python component that reads the file itself.")
        container = _mapping(container, f"{where}.container")
        if self.here:
            self._demand_python(container, f"{where}.container")
            self._note_ignored(container, f"{where}.container", label)

    def _demand_python(self, container: Mapping[str, Any], where: str) -> None:
        """Raises: BadInput for all but a lightweight Python component that installs nothing."""
        command = _list(container.get("command"), f"{where}.command")
        if not all(isinstance(part, str) for part in (*command, *_list(container.get("args"), f"{where}.args"))):
            raise refused(f"{where}.command", "more than texts", "Only lightweight Python components run on this machine.")
        launcher = next((n for n, part in enumerate(command) if _EXECUTOR_MODULE in part and _LAUNCHED in part), None)
        if launcher is None or command[0] not in ("sh", "bash"):
            what = "a containerised Python component" if any(_EXECUTOR_MODULE in part for part in command) else "a container component"
            raise refused(where, what, "It needs its image: run it on a cluster. On this machine lightweight Python components run (@dsl.component).")
        before = " ".join(command[:launcher])
        if pin := _KFP_PIN.search(before):
            raise refused(
                f"{where}.command", f"a pin to kfp {pin[1]}, which it would install when it runs", "Compile it with @dsl.component(install_kfp_package=False)."
            )
        if "pip install" in before or "pip3 install" in before:
            raise refused(
                f"{where}.command",
                "packages that it would install when it runs",
                "Nothing is installed here: compile it without packages_to_install, and install them beforehand for the Python that runs pipelines.",
            )
        if launcher > 2 or len(command) != launcher + 2:
            raise refused(f"{where}.command", "more than kfp's launcher and the component", "Only lightweight Python components run on this machine.")

    def _note_ignored(self, container: Mapping[str, Any], where: str, label: str) -> None:
        image = _text(container.get("image"), f"{where}.image")
        if not image.rpartition("/")[2].startswith("python:"):
            self.notes[f"The image {image[:120]} of {label} is not used here: its steps run in the Python of this machine."] = None
        if _mapping(container.get("resources"), f"{where}.resources"):
            self.notes[f"The processors, memory or accelerators that {label} asks for do nothing here."] = None

    def platform(self, document: object) -> None:
        """The second document: a PlatformSpec. Raises: BadInput."""
        platforms = demand_keys(demand_keys(document, ("platforms",), "").get("platforms"), ("kubernetes",), "platforms")
        self._demand_allowed(platforms, "platforms")
        where = "platforms.kubernetes"
        kubernetes = demand_keys(platforms.get("kubernetes"), ("deploymentSpec", "pipelineConfig"), where)
        if self.here and kubernetes.get("pipelineConfig"):
            self.notes["The settings of the pipeline on Kubernetes do nothing here."] = None
        deployment = _mapping(kubernetes.get("deploymentSpec"), f"{where}.deploymentSpec")
        for name, settings in _mapping(deployment.get("executors"), f"{where}.deploymentSpec.executors").items():
            at = f"{where}.deploymentSpec.executors.{name}"
            if not self.here:
                demand_keys(settings, _ON_CLUSTERS, at)
                continue
            for key in _mapping(settings, at):
                if key not in _ONLY_WHERE:
                    raise refused(f"{at}.{key}", "something that only a cluster has", "Run it there, or take it out.")
                self.notes[f"{key} of {name.removeprefix('exec-')} does nothing here."] = None

    def _demand_allowed(self, value: object, where: str) -> None:
        """Raises: BadInput for what may stand nowhere in the settings of a platform."""
        waiting = [(value, where)]
        while waiting:
            here, at = waiting.pop()
            if isinstance(here, dict):
                for key, held in here.items():
                    if key in _NEVER:
                        raise refused(
                            f"{at}.{key}", "what no pipeline of this house may have", "Take it out: a step stays in its container and acts as nobody else."
                        )
                    waiting.append((held, f"{at}.{key}"))
            elif isinstance(here, list):
                waiting += [(held, f"{at}[{n}]") for n, held in enumerate(here)]


def _mapping(value: object, where: str) -> dict[str, Any]:
    """The fields; of nothing, none. Raises: BadInput for another kind of value, and for a field that no text names."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise refused(where, "something else than named fields", "Compile the pipeline anew.")
    return value


def _list(value: object, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise refused(where, "something else than a list", "Compile the pipeline anew.")
    return value


def _text(value: object, where: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise refused(where, "something else than a text", "Compile the pipeline anew.")
    return value


def _demand_json(value: object, where: str) -> None:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise refused(where, "a value that JSON can't write", "Give it as a text.") from error
