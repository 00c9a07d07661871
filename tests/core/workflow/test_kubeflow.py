"""Reading compiled Kubeflow pipelines: what they say, and what is refused with its place."""

import copy
import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from core.adapters.pipelines import kubeflow_artifacts as artifacts
from core.errors import BadInput
from core.workflow.conditions import read_condition
from core.workflow.kubeflow import cluster_spec, local_spec
from core.workflow.model import ParameterType

PIPELINES = Path(__file__).parent.parent.parent / "pipelines" / "kubeflow"
COMPILED = {path.stem: path.read_text("utf-8") for path in PIPELINES.glob("*.yaml")}
PARSED = {name: yaml.safe_load(text) for name, text in COMPILED.items()}
FIT = "deploymentSpec.executors.exec-fit.container"


def changed(change, of="train", platform=None):
    """The YAML of a pipeline after `change` was made to it, with its platform's settings."""
    document = copy.deepcopy(PARSED[of])
    change(document)
    return yaml.safe_dump_all([document] if platform is None else [document, platform])


def at(path, value, of="train"):
    """The YAML of a pipeline with another value at a place; None takes it out."""

    def put(document):
        *way, last = path.split(".")
        for key in way:
            document = document.setdefault(key, {})
        if value is None:
            del document[last]
        else:
            document[last] = value

    return changed(put, of)


def on_kubernetes(**settings):
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-fit": settings}}}}}


@pytest.mark.parametrize("name", sorted(COMPILED))
def test_every_pipeline_of_these_tests_reads_the_same_for_this_machine_and_for_a_cluster(name):
    here, there = local_spec(COMPILED[name]), cluster_spec(COMPILED[name])
    assert (here.parameters, here.graph, here.description) == (there.parameters, there.graph, there.description)


def test_parameters_have_their_types_and_defaults_and_whole_numbers_are_whole():
    found = {p.name: (p.type, p.default, p.required) for p in local_spec(COMPILED["typed"]).parameters}
    assert found == {
        "a_text": (ParameterType.STRING, None, True),
        "a_count": (ParameterType.INTEGER, 8, False),
        "a_share": (ParameterType.NUMBER, 0.5, False),
        "a_flag": (ParameterType.BOOLEAN, True, False),
        "a_list": (ParameterType.LIST, ["x", {"y": False}], False),
        "a_struct": (ParameterType.STRUCT, {"k": [1.5]}, False),
        "an_extra": (ParameterType.STRING, None, False),
    }
    assert isinstance(found["a_count"][1], int)
    assert next(p.description for p in local_spec(COMPILED["typed"]).parameters if p.name == "a_text") == "Any text."


def test_the_values_that_a_parameter_may_have_are_its_options():
    at_size = at("root.inputDefinitions.parameters.size", {"parameterType": "STRING", "literals": ["small", "large"], "defaultValue": "small"})
    size = next(p for p in local_spec(at_size).parameters if p.name == "size")
    assert (size.options, size.default) == (("small", "large"), "small")


def test_the_graph_has_loops_conditions_and_handlers_with_what_is_in_them():
    graph = {node.name: node for node in local_spec(COMPILED["flow"]).graph}
    assert {name: node.kind for name, node in graph.items() if node.kind != "component"} == {
        "exit-handler-1": "exit handler",
        "exit-handler-1.for-loop-2": "loop",
        "exit-handler-1.condition-branches-3": "branches",
        "exit-handler-1.condition-branches-3.condition-4": "condition",
        "exit-handler-1.condition-branches-3.condition-5": "condition",
        "exit-handler-1.condition-branches-3.condition-6": "condition",
    }
    assert graph["last"].needs == ("exit-handler-1",)
    assert graph["exit-handler-1.total"].needs == ("exit-handler-1.for-loop-2",)
    said = graph["exit-handler-1.condition-branches-3.condition-4.say"]
    assert (said.label, said.inside) == ("say so", "exit-handler-1.condition-branches-3.condition-4")


def test_a_need_is_seen_in_what_a_task_takes_too():
    def forget(document):
        del document["root"]["dag"]["tasks"]["fit"]["dependentTasks"]

    assert {node.name: node.needs for node in local_spec(changed(forget)).graph} == {"fit": ("load",), "load": ()}


def test_what_does_nothing_on_this_machine_is_said():
    text = changed(
        lambda d: d["deploymentSpec"]["executors"]["exec-fit"]["container"].update(image="registry/cuda:12"),
        platform=on_kubernetes(nodeSelector={"labels": {"gpu": "yes"}}),
    )
    assert local_spec(text).notes == (
        "The image registry/cuda:12 of fit is not used here: its steps run in the Python of this machine.",
        "nodeSelector of fit does nothing here.",
    )
    assert local_spec(COMPILED["typed"]).notes == ("The processors, memory or accelerators that environment asks for do nothing here.",)
    assert cluster_spec(text).notes == ()


def command_before(script):
    command = PARSED["train"]["deploymentSpec"]["executors"]["exec-fit"]["container"]["command"]
    return ["sh", "-c", script, *command]


REFUSED = {
    "nothing": ("", "no compiled Kubeflow pipeline"),
    "a text": ("hello", "no compiled Kubeflow pipeline"),
    "a list": ("- 1", "no compiled Kubeflow pipeline"),
    "an Argo workflow": ("apiVersion: argoproj.io/v1alpha1\nkind: Workflow", "no compiled Kubeflow pipeline"),
    "three documents": (COMPILED["train"] + "\n---\na: 1\n---\nb: 1\n", "the third document"),
    "an unknown field": (at("surprise", 1), "surprise is not taken"),
    "another schema": (at("schemaVersion", "2.2.0"), "schemaVersion has '2.2.0'"),
    "a number as schema": (at("schemaVersion", 2.1), "schemaVersion has '2.1'"),
    "an unknown component": (at("root.dag.tasks.fit.componentRef.name", "comp-none"), "root.dag.tasks.fit.componentRef has the component 'comp-none'"),
    "an unknown executor": (at("components.comp-fit.executorLabel", "exec-none"), "components.comp-fit has the executor 'exec-none'"),
    "an unknown need": (at("root.dag.tasks.fit.dependentTasks", ["none"]), "root.dag.tasks.fit has a need of 'none'"),
    "a cycle": (at("root.dag.tasks.load.dependentTasks", ["fit"]), "root.dag.tasks has a cycle"),
    "a task that needs itself": (at("root.dag.tasks.load.dependentTasks", ["load"]), "root.dag.tasks has a cycle"),
    "a component in itself": (
        at("components.comp-fit", {"dag": {"tasks": {"inner": {"componentRef": {"name": "comp-fit"}}}}}),
        "a cycle: comp-fit → comp-fit",
    ),
    "no tasks": (at("root.dag.tasks", {}), "root.dag has no tasks"),
    "a task with a strange name": (at("root.dag.tasks", {"../x": {"componentRef": {"name": "comp-fit"}}}), "a name that no task may have"),
    "an unknown type": (at("root.inputDefinitions.parameters.rows.parameterType", "BYTES"), "parameters.rows.parameterType has 'BYTES'"),
    "a default of another type": (at("root.inputDefinitions.parameters.rows.defaultValue", "many"), "'rows' takes a whole number"),
    "an artifact as input": (at("root.inputDefinitions.artifacts", {"data": {}}), "artifacts as inputs"),
    "a list of names": (at("root.dag.tasks", ["load"]), "root.dag.tasks has something else than named fields"),
}
REFUSED_HERE = {
    "a container component": (at(f"{FIT}.command", ["cat", "/etc/hostname"]), f"{FIT} has a container component"),
    "a container without a command": (at(f"{FIT}.command", None), f"{FIT} has a container component"),
    "a containerised Python component": (at(f"{FIT}.command", ["python3", "-m", "kfp.dsl.executor_main"]), "a containerised Python component"),
    "an importer": (at("deploymentSpec.executors.exec-fit", {"importer": {"artifactUri": {"constant": "s3://a/b"}}}), "importer, which can't be run here"),
    "a pin to another kfp": (at(f"{FIT}.command", command_before('python3 -m pip install --quiet \'kfp==2.7.0\' && "$0" "$@"')), "a pin to kfp 2.7.0"),
    "packages to install": (at(f"{FIT}.command", command_before('python3 -m pip install \'requests\' && "$0" "$@"')), "packages that it would install"),
    "another wrapper": (at(f"{FIT}.command", command_before('nice "$0" "$@"')), "more than kfp's launcher"),
    "a condition that isn't understood": (at("root.dag.tasks.fit.triggerPolicy", {"condition": "__import__('os')"}), "a condition that isn't understood"),
    "a loop over nothing": (at("root.dag.tasks.fit.parameterIterator", {"itemInput": "n", "items": {}}), "parameterIterator.items has no items"),
    "a secret of the cluster": (
        changed(lambda _: None, platform=on_kubernetes(secretAsEnv=[{"secretName": "s"}])),
        "executors.exec-fit.secretAsEnv has something that only a cluster has",
    ),
}
REFUSED_BY_POLICY = {
    "a patch of the pod": on_kubernetes(podSpecPatch="{}"),
    "a folder of the node": on_kubernetes(emptyDirMounts=[{"hostPath": "/"}]),
    "all rights": on_kubernetes(tolerations=[{"privileged": True}]),
    "another account": on_kubernetes(podMetadata={"serviceAccountName": "admin"}),
    "an unknown setting": on_kubernetes(somethingNew={}),
    "another platform": {"platforms": {"vertex": {}}},
    "another document": {"apiVersion": "v1", "kind": "Secret"},
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("read", [local_spec, cluster_spec], ids=["here", "there"])
def test_what_is_no_sound_pipeline_is_refused_with_its_place(read, name):
    text, said = REFUSED[name]
    with pytest.raises(BadInput) as refusal:
        read(text)
    assert said in str(refusal.value)
    assert refusal.value.hint


@pytest.mark.parametrize("name", REFUSED_HERE)
def test_what_would_not_run_here_as_on_a_cluster_is_refused_here(name):
    text, said = REFUSED_HERE[name]
    with pytest.raises(BadInput) as refusal:
        local_spec(text)
    assert said in str(refusal.value)


def test_a_cluster_takes_containers_importers_and_what_is_installed_there():
    for name in ("a container component", "a containerised Python component", "an importer", "a pin to another kfp", "packages to install"):
        assert cluster_spec(REFUSED_HERE[name][0]).graph
    assert cluster_spec(REFUSED_HERE["a secret of the cluster"][0]).graph


@pytest.mark.parametrize("name", REFUSED_BY_POLICY)
@pytest.mark.parametrize("read", [local_spec, cluster_spec], ids=["here", "there"])
def test_what_would_let_a_step_out_of_its_container_is_refused_with_its_place(read, name):
    with pytest.raises(BadInput, match=r"platforms\.kubernetes|platforms\.vertex|apiVersion"):
        read(changed(lambda _: None, platform=REFUSED_BY_POLICY[name]))


def test_components_that_multiply_are_refused_before_they_fill_the_memory():
    def multiply(document):
        for n in range(40):
            two = {side: {"componentRef": {"name": f"comp-{n + 1}" if n < 39 else "comp-load"}} for side in ("left", "right")}
            document["components"][f"comp-{n}"] = {"dag": {"tasks": two}}
        document["root"]["dag"]["tasks"] = {"all": {"componentRef": {"name": "comp-0"}}}

    with pytest.raises(BadInput, match="more than 2000 tasks"):
        local_spec(changed(multiply))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(0, 3), inner, max_size=3),
    max_leaves=8,
)


def places(value, path=()):
    """Every place in a tree of dicts and lists."""
    yield path
    for key, held in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(held, (*path, key))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_whatever_stands_anywhere_in_a_definition_is_read_or_refused_and_nothing_else(data):
    documents = [copy.deepcopy(PARSED[data.draw(st.sampled_from(sorted(PARSED)))]), on_kubernetes(nodeSelector={"labels": {}})]
    *way, last = data.draw(st.sampled_from([path for path in places(documents) if path]))
    held = documents
    for key in way:
        held = held[key]
    held[last] = data.draw(VALUES)
    text = yaml.dump_all(documents, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), allow_unicode=True)
    for read in (local_spec, cluster_spec):
        with suppress(BadInput):
            read(text)


@dataclass
class Made:
    """An artifact as kfp has it."""

    uri: str
    schema_title: str = "system.Dataset"
    metadata: dict = field(default_factory=dict)


def test_what_was_never_written_is_left_out_and_the_log_says_so(tmp_path):
    log = tmp_path / "1.log"
    assert list(artifacts.of({"data": Made(str(tmp_path / "data")), "Output": 3}, tmp_path, log)) == []
    assert "The artifact data was not written." in log.read_text()


def test_numbers_of_metrics_are_told_as_such_and_what_is_no_number_stays_beside_them(tmp_path):
    made = Made(str(tmp_path / "m"), "system.Metrics", {"recall": 0.5, "worst": float("nan"), "note": "x", "flag": True})
    (told,) = artifacts.of({"m": made}, tmp_path, tmp_path / "1.log")
    assert (told["name"], told["type"], told["metadata"]["note"], told["metadata"]["flag"]) == ("m.json", "metrics", "x", True)
    assert told["metadata"]["metrics"]["recall"] == 0.5
    assert json.loads((tmp_path / "m").read_text()) == {"recall": 0.5, "worst": "nan", "note": "x", "flag": True}


@pytest.mark.parametrize("uri", ["/etc/hostname", "../up", "s3://hearth/others", "gs://b/x"])
def test_an_artifact_outside_of_the_runs_folder_is_no_artifact(tmp_path, uri):
    with pytest.raises(ValueError, match="outside of the run's folder"):
        list(artifacts.of({"data": Made(uri)}, tmp_path, tmp_path / "1.log"))


WORDS = {"word": "it's", "n": 3.0, "yes": True, "quote": "' == '' or '"}


@pytest.mark.parametrize(
    ("condition", "met"),
    [
        ("inputs.parameter_values['word'] == 'yes'", False),
        ("!(inputs.parameter_values['word'] == 'yes')", True),
        ("inputs.parameter_values['quote'] == 'x'", False),
        ("inputs.parameter_values['quote'] != 'x' && int(inputs.parameter_values['n']) >= 3", True),
        ("inputs.parameter_values['n'] < 3 || inputs.parameter_values['yes'] == true", True),
        ("(1 < 2 || 1 > 2) && false", False),
        ("double(inputs.parameter_values['n']) == 3.0", True),
        ("inputs.parameter_values['yes']", True),
        ("'&&' == '&&'", True),
    ],
)
def test_a_condition_is_decided_on_values_and_never_on_the_text_that_they_would_make(condition, met):
    assert read_condition(condition)(WORDS.__getitem__) is met


@pytest.mark.parametrize("condition", ["inputs.parameter_values['n'] == '3'", "inputs.parameter_values['word'] && true", "'a' < 1", "int('x') == 1"])
def test_a_condition_about_values_of_other_kinds_is_an_error_and_not_false(condition):
    with pytest.raises(ValueError, match=r"."):
        read_condition(condition)(WORDS.__getitem__)


DEEP = "(" * 500 + "1" + ")" * 500


@pytest.mark.parametrize("condition", ["", "1 ==", "== 1", "a.b == 1", "size('x') == 1", "(1 == 1", "1 == 1)", "1 == 1 2", DEEP, "1" * 20_000, "'it's' == 'x'"])
def test_a_condition_outside_of_the_language_is_not_read(condition):
    with pytest.raises(ValueError, match=r"."):
        read_condition(condition)
