"""Argo's whole language for a cluster: its own fields pass, others and those that reach beyond a run are refused with their place."""

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadInput
from core.workflow import argo_cluster
from core.workflow.argo import local_spec
from core.workflow.argo_cluster import cluster_spec
from core.workflow.model import GraphNode, Parameter

SWAGGER = os.environ.get("HEARTH_TEST_ARGO_SWAGGER", "")
LOCAL = Path(__file__).parent.parent.parent / "pipelines" / "argo"
GOOD = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: x-, namespace: there, annotations: {hearth/description: What it does.}}
spec:
  entrypoint: main
  onExit: tidy
  volumes: [{name: work, emptyDir: {}}]
  arguments:
    parameters:
      - {name: size, value: 3}
      - {name: found, valueFrom: {configMapKeyRef: {name: m, key: k}}}
      - {name: asked}
  templates:
    - name: main
      dag:
        tasks:
          - {name: flip, template: flip, withSequence: {count: "3"}}
          - {name: again, template: main, depends: "flip.Failed || !there", when: "{{=1 > 2}}"}
          - {name: there, templateRef: {name: other, template: x}}
          - {name: here, dependencies: [flip], inline: {container: {image: alpine, command: [ls], securityContext: {privileged: false}}}}
    - name: flip
      podSpecPatchX: x
      nodeSelector: {disk: ssd}
      container: {image: alpine, resources: {limits: {cpu: 1}}}
    - name: tidy
      http: {url: "http://x"}
""".replace("      podSpecPatchX: x\n", "")


def fields_of(swagger):
    """The text of `argo_fields.txt`."""
    definitions = json.loads(swagger)["definitions"]
    held = {}

    def short(name):
        last = name.rpartition(".")[2]
        return last if ".v1alpha1." in name else f"k8s.{last}"

    def kind(schema):
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return kind(definitions[name]) if definitions[name].get("type") == "array" else visit(name)
        if schema.get("type") == "array":
            return "[]" + kind(schema["items"])
        inner = kind(schema["additionalProperties"]) if "additionalProperties" in schema else ""
        return inner and "{}" + inner

    def visit(name):
        properties = definitions[name].get("properties")
        if properties and short(name) not in held:
            held[short(name)] = {}
            held[short(name)] = {key: kind(schema) for key, schema in sorted(properties.items())}
        return short(name) if properties else ""

    visit("io.argoproj.workflow.v1alpha1.WorkflowSpec")
    visit("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
    return "".join(" ".join((name, *(f"{k}={v}" if v else k for k, v in keys.items()))) + "\n" for name, keys in sorted(held.items()))


@pytest.mark.full
@pytest.mark.skipif(not SWAGGER, reason="HEARTH_TEST_ARGO_SWAGGER names no file")
def test_the_names_are_those_of_the_published_api():
    made = fields_of(Path(SWAGGER).read_text("utf-8"))
    assert Path(argo_cluster.__file__).with_name("argo_fields.txt").read_text("utf-8") == made


def test_every_kind_of_template_passes_and_the_graph_has_what_is_known_of_it():
    spec = cluster_spec(GOOD)
    assert spec.parameters == (Parameter("size", default="3"), Parameter("found"), Parameter("asked", required=True))
    assert spec.graph == (
        GraphNode("flip", "flip", "loop"),
        GraphNode("again", "again", "condition", ("flip", "there")),
        GraphNode("there", "there", "template"),
        GraphNode("here", "here", "container", ("flip",)),
    )
    assert (spec.description, spec.notes) == ("What it does.", ())


@pytest.mark.parametrize("name", sorted(path.stem for path in LOCAL.glob("*.yaml")))
def test_what_runs_here_may_run_on_a_cluster_with_the_same_parameters_and_graph(name):
    text = (LOCAL / f"{name}.yaml").read_text()
    here, there = local_spec(text), cluster_spec(text)
    assert (here.parameters, here.description) == (there.parameters, there.description)
    assert sorted(here.graph, key=lambda node: node.name) == sorted(there.graph, key=lambda node: node.name)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("spec.podSpecPatch", "x", "spec.podSpecPatch is not allowed"),
        ("spec.serviceAccountName", "root", "spec.serviceAccountName is not allowed"),
        ("spec.executor", {"serviceAccountName": "root"}, "spec.executor.serviceAccountName is not allowed"),
        ("spec.hostNetwork", True, "spec.hostNetwork is not allowed"),
        ("spec.hostPID", True, "spec.hostPID is not allowed"),
        ("spec.volumes", [{"name": "x", "hostPath": {"path": "/"}}], "spec.volumes[0].hostPath is not allowed"),
        ("spec.templateDefaults", {"podSpecPatch": "x"}, "spec.templateDefaults.podSpecPatch is not allowed"),
        ("spec.templates", [{"name": "main", "podSpecPatch": "x"}], "spec.templates[0].podSpecPatch is not allowed"),
        (
            "spec.templates",
            [{"name": "main", "container": {"image": "x", "securityContext": {"privileged": True}}}],
            "spec.templates[0].container.securityContext.privileged is not allowed",
        ),
        ("spec.templates", [{"name": "main", "steps": [[{"name": "a", "inline": {"podSpecPatch": "x"}}]]}], "steps[0][0].inline.podSpecPatch is not allowed"),
        ("spec.templatez", [], "spec.templatez is not taken"),
        ("spec.templates", [{"name": "main", "scriptt": {}}], "spec.templates[0].scriptt is not taken"),
        ("spec.hooks", {"exit": {"templete": "x"}}, "spec.hooks.exit.templete is not taken"),
        ("spec.templates", {}, "spec.templates has no list"),
        ("spec.templates", [{"name": "main", "steps": [{"name": "a"}]}], "spec.templates[0].steps[0] has no list"),
        ("spec.entrypoint", "nowhere", "none of the templates"),
        ("spec.templates", [{"name": "main", "dag": {"tasks": [{"name": "a", "template": "b"}]}}], "the template 'b', which there isn't"),
        ("spec.templates", [{"name": "main", "dag": {"tasks": [{"name": "a", "template": "main", "depends": "b"}]}}], "the dependency 'b'"),
        ("spec.templates", [{"name": "main", "dag": {"tasks": [{"name": "a", "template": "main", "depends": "a"}]}}], "a circle"),
        ("spec.templates", [{"name": "main", "steps": [[{"name": "a", "template": "main"}, {"name": "a", "template": "main"}]]}], "for the second time"),
        ("metadata.labelz", {}, "metadata.labelz is not taken"),
        ("spec", None, "spec has no fields"),
    ],
)
def test_what_is_not_argos_or_not_allowed_is_refused_with_its_place(path, value, said):
    document = yaml.safe_load(GOOD)
    *way, last = path.split(".")
    here = document
    for part in way:
        here = here[part]
    here[last] = value
    with pytest.raises(BadInput) as refusal:
        cluster_spec(yaml.safe_dump(document))
    assert said in str(refusal.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def places(value):
    """Every mapping and list in a document."""
    if isinstance(value, dict | list):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from places(inner)


@settings(max_examples=150, deadline=None)
@given(where=st.integers(0, len(list(places(yaml.safe_load(GOOD)))) - 1), which=st.integers(0, 9), value=JSON)
def test_reading_raises_nothing_but_a_refusal(where, which, value):
    document = yaml.safe_load(GOOD)
    place = list(places(document))[where]
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    if keys:
        place[keys[which % len(keys)]] = value
    with suppress(BadInput):
        cluster_spec(yaml.safe_dump(document))


def test_only_a_run_of_a_template_of_the_cluster_needs_no_entrypoint():
    head = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n"
    assert cluster_spec(f"{head}spec: {{workflowTemplateRef: {{name: x}}}}").graph == ()
    with pytest.raises(BadInput):
        cluster_spec(f"{head}spec: {{}}")
