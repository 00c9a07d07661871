"""Argo's local subset: what it reads, and that everything else is refused with its place and nothing is raised but a refusal."""

import copy
from contextlib import suppress

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import BadInput
from core.workflow.argo import local_spec, read
from core.workflow.argo_text import aggregated, aggregated_results, filled, holds, item_name, items_of, plain
from core.workflow.model import GraphNode, Parameter

GOOD = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata:
  generateName: good-
  labels: {a: b}
  annotations: {hearth/description: "What it does,\\n in two lines."}
spec:
  entrypoint: main
  arguments:
    parameters:
      - {name: size, value: 3, enum: [3, 5], description: How much.}
      - {name: name}
  templates:
    - name: main
      dag:
        tasks:
          - {name: first, template: say, arguments: {parameters: [{name: words, value: "{{workflow.parameters.name}}"}]}}
          - name: second
            template: say
            dependencies: [first]
            arguments: {parameters: [{name: words, value: "{{tasks.first.outputs.result}} {{item}}"}]}
            withItems: [a, 1, true, {k: v}]
          - {name: third, template: both, depends: "first.Succeeded && second", when: "{{workflow.parameters.size}} == 3"}
          - name: fourth
            template: reads
            depends: first
            arguments: {artifacts: [{name: log, from: "{{tasks.first.outputs.artifacts.log}}"}]}
    - name: both
      steps:
        - - {name: one, template: say, arguments: {parameters: [{name: words, value: x}]}}
          - {name: two, template: say, arguments: {parameters: [{name: words, value: y}]}}
        - - {name: three, template: say, arguments: {parameters: [{name: words, value: "{{steps.one.outputs.parameters.said}}"}]}}
    - name: say
      metadata: {labels: {x: "y"}}
      inputs: {parameters: [{name: words}]}
      outputs:
        parameters: [{name: said, valueFrom: {path: /tmp/said}}]
        artifacts: [{name: log, path: /tmp/log.txt}]
      retryStrategy: {limit: "2"}
      script:
        image: alpine:3
        command: [sh, -eu]
        env: [{name: WORDS, value: "{{inputs.parameters.words}}"}]
        source: echo "$WORDS" | tee {{outputs.parameters.said.path}} > {{ outputs.artifacts.log.path }}
    - name: reads
      inputs: {artifacts: [{name: log, path: /tmp/log.txt}]}
      script: {image: python, command: [python], source: "open('{{inputs.artifacts.log.path}}')"}
"""
REMOVED = object()
SAY, TASK = "spec.templates[2]", "spec.templates[0].dag.tasks[0]"


def changed(path, value):
    """The good definition with something else at one place, given like the places in complaints."""
    document = yaml.safe_load(GOOD)
    here = document
    *way, last = path.replace("[", ".[").split(".")
    for part in way:
        here = here[int(part[1:-1])] if part[0] == "[" else here.setdefault(part, {})
    if value is REMOVED:
        del here[last]
    elif last[0] == "[":
        here.insert(int(last[1:-1]), value)
    else:
        here[last] = value
    return yaml.safe_dump(document)


def test_a_definition_says_its_parameters_its_graph_and_what_is_ignored():
    spec = local_spec(GOOD)
    assert spec.parameters == (
        Parameter("size", default="3", description="How much.", options=("3", "5")),
        Parameter("name", required=True),
    )
    assert spec.graph == (
        GraphNode("first", "first", "script"),
        GraphNode("second", "second", "loop", ("first",)),
        GraphNode("fourth", "fourth", "script", ("first",)),
        GraphNode("third", "third", "condition", ("first", "second")),
        GraphNode("third.one", "one", "script", (), "third"),
        GraphNode("third.two", "two", "script", (), "third"),
        GraphNode("third.three", "three", "script", ("third.one", "third.two"), "third"),
    )
    assert spec.description == "What it does, in two lines."
    assert len(spec.notes) == 1
    assert "images are ignored" in spec.notes[0]


def test_a_workflow_template_reads_the_same():
    assert local_spec(GOOD.replace("kind: Workflow", "kind: WorkflowTemplate")) == local_spec(GOOD)


def test_only_scripts_whose_result_is_asked_for_are_listened_to():
    assert {name for name, template in read(GOOD).templates.items() if template.hears} == {"say"}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("apiVersion", "v1", "apiVersion has 'v1'"),
        ("kind", "CronWorkflow", "kind has 'CronWorkflow'"),
        ("status", {}, "status is not taken"),
        ("metadata.namespace", "x", "metadata.namespace is not taken"),
        ("metadata.labels", {"a": 1}, "metadata.labels has something else than texts"),
        ("spec", REMOVED, "spec has no fields"),
        ("spec.entrypoint", REMOVED, "spec.entrypoint has no text"),
        ("spec.entrypoint", "nowhere", "spec.entrypoint has 'nowhere', which is none of the templates"),
        ("spec.entrypoint", "reads", "artifacts of the first template"),
        ("spec.entrypoint", "say", "'words', which is no parameter of the workflow"),
        *[
            (f"spec.{key}", value, f"spec.{key} is not taken")
            for key, value in {
                "onExit": "say", "hooks": {}, "synchronization": {}, "activeDeadlineSeconds": 3, "parallelism": 2, "volumes": [], "serviceAccountName": "x",
                "workflowTemplateRef": {}, "podSpecPatch": "x", "templateDefaults": {}, "artifactGC": {}, "suspend": True, "metrics": {},
            }.items()
        ],
        ("spec.arguments.artifacts", [], "spec.arguments.artifacts is not taken"),
        ("spec.arguments.parameters[0].value", 4, "spec.arguments.parameters[0] has the value '4', which is none of its enum"),
        ("spec.arguments.parameters[0].valueFrom", {}, "spec.arguments.parameters[0].valueFrom is not taken"),
        ("spec.arguments.parameters[0].globalName", "x", "globalName is not taken"),
        ("spec.arguments.parameters[1].value", "{{workflow.name}}", "has no value there"),
        ("spec.arguments.parameters[1].value", ["x"], "spec.arguments.parameters[1].value has"),
        ("spec.arguments.parameters[2]", {"name": "size"}, "spec.arguments.parameters[2].name has 'size' for the second time"),
        ("spec.templates", {}, "spec.templates has no list"),
        ("spec.templates[4]", {"name": "say", "steps": []}, "spec.templates[4].name has 'say' for the second time"),
        ("spec.templates[4]", {"name": "x"}, "neither script nor steps nor dag"),
        ("spec.templates[4]", "x", "spec.templates[4] has no fields"),
        ("spec.templates[4]", {"name": "a b", "steps": []}, "spec.templates[4].name has 'a b'"),
        ("spec.templates[0].script", {}, "script and dag"),
        ("spec.templates[0].outputs", {"parameters": []}, "outputs of a template of tasks"),
        ("spec.templates[0].retryStrategy", {"limit": 1}, "retries of a template of tasks"),
        *[
            (f"{SAY}.{key}", value, f"{SAY}.{key} is not taken. It needs a cluster.")
            for key, value in {
                "container": {}, "containerSet": {}, "resource": {}, "http": {}, "suspend": {}, "sidecars": [], "volumes": [], "data": {}, "plugin": {},
                "initContainers": [], "daemon": True, "podSpecPatch": "", "nodeSelector": {},
            }.items()
        ],
        *[(f"{SAY}.{key}", {}, f"{SAY}.{key} is not taken") for key in ("memoize", "timeout", "synchronization", "hooks", "scriptt", "failFast", "metrics")],
        (f"{SAY}.retryStrategy", {}, f"{SAY}.retryStrategy.limit has 'None'"),
        (f"{SAY}.retryStrategy.limit", "{{x}}", f"{SAY}.retryStrategy.limit has"),
        (f"{SAY}.retryStrategy.limit", True, f"{SAY}.retryStrategy.limit has"),
        (f"{SAY}.retryStrategy.limit", 1000, f"{SAY}.retryStrategy.limit has"),
        (f"{SAY}.retryStrategy.expression", "true", f"{SAY}.retryStrategy.expression is not taken"),
        (f"{SAY}.retryStrategy.retryPolicy", "Always", f"{SAY}.retryStrategy.retryPolicy is not taken"),
        (f"{SAY}.retryStrategy.backoff", {}, f"{SAY}.retryStrategy.backoff is not taken"),
        (f"{SAY}.script.args", [], f"{SAY}.script.args is not taken"),
        (f"{SAY}.script.volumeMounts", [], f"{SAY}.script.volumeMounts is not taken. It needs a cluster."),
        (f"{SAY}.script.workingDir", "/x", f"{SAY}.script.workingDir is not taken"),
        (f"{SAY}.script.command", ["node"], f"{SAY}.script.command has 'node'"),
        (f"{SAY}.script.command", ["sh", "-c"], f"{SAY}.script.command has 'sh -c'"),
        (f"{SAY}.script.command", [], f"{SAY}.script.command has ''"),
        (f"{SAY}.script.command", REMOVED, f"{SAY}.script.command has no list"),
        (f"{SAY}.script.source", REMOVED, f"{SAY}.script.source has no text"),
        (f"{SAY}.script.source", "cat {{outputs.artifacts.log.path}}", "no {{outputs.parameters.said.path}}"),
        (f"{SAY}.script.source", "{{outputs.parameters.said.path}} {{outputs.artifacts.log.path}} /tmp/log.txt", "the path /tmp/log.txt"),
        (f"{SAY}.script.source", "echo {{tasks.first.outputs.result}}", "{{tasks.first.outputs.result}}, which has no value there"),
        (f"{SAY}.script.source", "echo {{inputs.parameters.other}}", "has no value there"),
        (f"{SAY}.script.source", "echo {{=1 + 1}}", "an expression"),
        (f"{SAY}.script.source", "echo {{pod.name}}", "{{pod.name}}, which has no value there"),
        (f"{SAY}.script.source", "echo {{inputs.parameters.{{workflow.name}}}}", "has no value there"),
        (f"{SAY}.script.source", "echo {{", "a {{ without its }}"),
        (f"{SAY}.script.env[1]", {"name": "X", "valueFrom": {}}, f"{SAY}.script.env[1].valueFrom is not taken"),
        (f"{SAY}.script.env[1]", {"name": "HEARTH_RUN", "value": "x"}, "HEARTH_"),
        (f"{SAY}.script.env[1]", {"name": "A=B", "value": "x"}, f"{SAY}.script.env[1].name has 'A=B'"),
        (f"{SAY}.outputs.artifacts[0].path", "../../etc/passwd", f"{SAY}.outputs.artifacts[0].path has the path"),
        (f"{SAY}.outputs.artifacts[0].path", "/tmp/../../etc/passwd", f"{SAY}.outputs.artifacts[0].path has the path"),
        (f"{SAY}.outputs.artifacts[0].path", "/", f"{SAY}.outputs.artifacts[0].path has the path"),
        (f"{SAY}.outputs.artifacts[0].s3", {}, f"{SAY}.outputs.artifacts[0].s3 is not taken"),
        (f"{SAY}.outputs.artifacts[0].globalName", "x", f"{SAY}.outputs.artifacts[0].globalName is not taken"),
        (f"{SAY}.outputs.artifacts[0].name", "../x", f"{SAY}.outputs.artifacts[0].name has '../x'"),
        (f"{SAY}.outputs.parameters[0].valueFrom", {"expression": "1"}, f"{SAY}.outputs.parameters[0].valueFrom.expression is not taken"),
        (f"{SAY}.inputs.parameters[0].default", "{{inputs.parameters.words}}", "has no value there"),
        ("spec.templates[3].inputs.artifacts[0].raw", {}, "raw is not taken"),
        (f"{TASK}.template", "nothing", "the template 'nothing', which there isn't"),
        (f"{TASK}.templateRef", {}, f"{TASK}.templateRef is not taken"),
        (f"{TASK}.inline", {}, f"{TASK}.inline is not taken"),
        (f"{TASK}.hooks", {}, f"{TASK}.hooks is not taken"),
        (f"{TASK}.onExit", "x", f"{TASK}.onExit is not taken"),
        (f"{TASK}.continueOn", {}, f"{TASK}.continueOn is not taken"),
        (f"{TASK}.withSequence", {}, f"{TASK}.withSequence is not taken"),
        (f"{TASK}.dependencies", ["third"], "a circle"),
        (f"{TASK}.dependencies", ["first"], "a circle"),
        (f"{TASK}.dependencies", ["nobody"], "'nobody', which is no task of this dag"),
        (f"{TASK}.depends", "second || third", f"{TASK}.depends has 'second || third'"),
        (f"{TASK}.depends", "second.Failed", f"{TASK}.depends has 'second.Failed'"),
        (f"{TASK}.depends", "!second", f"{TASK}.depends has '!second'"),
        (f"{TASK}.name", "second", "'second' for the second time"),
        (f"{TASK}.when", "true", f"{TASK}.when has 'true'"),
        (f"{TASK}.when", "a == b && c == d", f"{TASK}.when has"),
        (f"{TASK}.when", "{{=x}} == 1", "an expression"),
        (f"{TASK}.when", "{{tasks.second.outputs.result}} == 1", "has no value there"),
        (f"{TASK}.when", "{{item}} == 1", "{{item}}, which has no value there"),
        (f"{TASK}.withParam", "{{tasks.second.outputs.result}}", "has no value there"),
        (f"{TASK}.withParam", "nonsense", "withParam is no JSON list"),
        (f"{TASK}.withItems", [], f"{TASK}.withItems has no items"),
        (f"{TASK}.withItems", [None], f"{TASK}.withItems[0] has 'None'"),
        (f"{TASK}.arguments.parameters", [], "no parameter 'words'"),
        (f"{TASK}.arguments.parameters[1]", {"name": "more", "value": "x"}, "the parameter 'more', which isn't taken there"),
        (f"{TASK}.arguments.artifacts", [{"name": "more", "from": "{{tasks.second.outputs.artifacts.log}}"}], "the artifact 'more', which isn't taken there"),
        (f"{TASK}.arguments.artifacts", [{"name": "more", "raw": {}}], "arguments.artifacts[0].raw is not taken"),
        ("spec.templates[0].dag.tasks[3].arguments.artifacts[0].from", "{{tasks.second.outputs.artifacts.log}}", "which there isn't"),
        ("spec.templates[0].dag.tasks[3].arguments.artifacts[0].from", "/etc/passwd", "from has '/etc/passwd'"),
        ("spec.templates[0].dag.failFast", "no", "spec.templates[0].dag.failFast has 'no'"),
        ("spec.templates[0].dag.target", "first", "spec.templates[0].dag.target is not taken"),
        ("spec.templates[1].steps[0][0].dependencies", ["two"], "spec.templates[1].steps[0][0].dependencies is not taken"),
        ("spec.templates[1].steps[1][0].arguments.parameters[0].value", "{{tasks.one.outputs.result}}", "has no value there"),
    ],
)  # fmt: skip
def test_whatever_is_outside_of_the_subset_is_refused_with_its_place(path, value, said):
    with pytest.raises(BadInput) as refusal:
        read(changed(path, value))
    assert said in str(refusal.value)
    assert refusal.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "0 documents"),
        ("a: 1\n---\nb: 2", "2 documents"),
        ("- a", "no fields"),
        ("just text", "no fields"),
        ("a: &a [x, x]\nb: [*a, *a]", "an alias"),
        ("a: !!python/object:os.system x", "no YAML"),
        (GOOD.replace("value: 3,", f"value: 0x{'f' * 20_000},"), "a number beyond 64 bits"),
        (GOOD.replace("How much.", '"\\ud800"'), "no YAML|half a character"),
        (GOOD + GOOD.replace("apiVersion", "---\napiVersion"), "documents"),
    ],
)
def test_what_is_no_single_plain_document_is_refused(text, said):
    with pytest.raises(BadInput, match=said):
        read(text)


def nested(width, depth):
    """Templates that each call the next one several times."""
    document = yaml.safe_load(GOOD)
    script = {"name": f"t{depth}", "script": {"command": ["sh"], "source": "true"}}
    calling = [{"name": f"t{n}", "steps": [[{"name": f"s{i}", "template": f"t{n + 1}"} for i in range(width)]]} for n in range(depth)]
    document["spec"] = {"entrypoint": "t0", "templates": [*reversed(calling), script]}
    return yaml.safe_dump(document)


def test_a_graph_that_a_few_lines_blow_up_is_refused_and_so_is_a_very_deep_one():
    assert len(local_spec(nested(2, 7)).graph) == 254
    with pytest.raises(BadInput, match="more than 500 tasks"):
        read(nested(2, 25))
    with pytest.raises(BadInput, match="templates inside of each other"):
        read(nested(1, 200))
    with pytest.raises(BadInput, match="templates inside of each other"):
        read(nested(1, 2000))


def test_templates_that_call_each_other_for_ever_are_refused():
    text = changed("spec.templates[1].steps[1][0]", {"name": "again", "template": "main"})
    with pytest.raises(BadInput, match="a circle: main → both → main"):
        read(text)


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


FREE = ("labels", "annotations")
DOCUMENT = yaml.safe_load(GOOD)
FREE_VALUES = [id(one[key]) for one in places(DOCUMENT) if isinstance(one, dict) for key in FREE if key in one]
CLOSED = [n for n, one in enumerate(places(DOCUMENT)) if isinstance(one, dict) and id(one) not in FREE_VALUES and one != {"k": "v"}]


@settings(max_examples=30, deadline=None)
@given(where=st.sampled_from(CLOSED), key=st.text(min_size=1, max_size=8).map("x-{}".format), value=JSON)
def test_an_unknown_field_is_refused_wherever_it_stands(where, key, value):
    document = copy.deepcopy(DOCUMENT)
    list(places(document))[where][key] = value
    with pytest.raises(BadInput):
        read(yaml.safe_dump(document))


@settings(max_examples=150, deadline=None)
@given(where=st.integers(0, len(list(places(DOCUMENT))) - 1), which=st.integers(0, 9), value=JSON)
def test_reading_raises_nothing_but_a_refusal(where, which, value):
    document = copy.deepcopy(DOCUMENT)
    place = list(places(document))[where]
    keys = list(place) if isinstance(place, dict) else list(range(len(place)))
    if keys:
        place[keys[which % len(keys)]] = value
    with suppress(BadInput):
        read(yaml.safe_dump(document))


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="{}=.:- \n[]'\"&*!a1", max_size=60))
def test_reading_any_text_raises_nothing_but_a_refusal(text):
    with pytest.raises(BadInput):
        read(text)


@pytest.mark.parametrize(
    ("text", "true"),
    [
        ("a == a", True),
        ("a == b", False),
        ("a != b", True),
        ("'a b' == \"a b\"", True),
        ("2 < 10", True),
        ("'2' < '10'", False),
        ("1 == 1.0", True),
        ("1 == '1'", False),
        ("true == true", True),
        ("true == 'true'", False),
        ("1 == true", False),
        ("-1 <= 0", True),
        ("b >= a", True),
        ("b > b", False),
    ],
)
def test_a_condition_means_what_it_means_to_argo(text, true):
    assert holds(text) is true


@pytest.mark.parametrize(
    "text", ["", "a", "a == ", "a b == c", "a-b == c", "1 < a", "true < false", "a in b", "in == in", "'2024-01-02' == x", "a == b == c", "a =~ b"]
)
def test_a_condition_that_argo_would_not_take_or_would_read_otherwise_is_refused(text):
    with pytest.raises(BadInput):
        holds(text)


def test_a_variable_is_replaced_once_and_one_without_a_value_is_no_empty_text():
    assert filled("{{ a }}{{b}}", {"a": "{{b}}", "b": "1"}) == "{{b}}1"
    with pytest.raises(BadInput, match="has no value"):
        filled("{{a}}", {})
    assert filled("{{a}}", {"a": "ü\n\t"}) == "ü\n\t"
    with pytest.raises(BadInput, match="control character"):
        filled("{{a}}", {"a": "\x1b[1m"})
    with pytest.raises(BadInput, match="grew to"):
        filled("{{a}}" * 3, {"a": "x" * 500_000})


def test_values_are_written_as_argo_writes_them():
    assert [plain(v) for v in ("x", 3, True, 1.5, 2.0, {"a": [1, None]}, [1])] == ["x", "3", "true", "1.5", "2", '{"a":[1,null]}', "[1]"]
    assert [plain(v) for v in (None, float("nan"), float("inf"), 1e300)] == [None] * 4
    assert [plain(v) for v in items_of('["a", 1.50, {"k": 2}]')] == ["a", "1.50", '{"k":2}']


def test_the_items_of_a_loop_name_its_steps_and_no_name_is_a_path():
    assert item_name("embed", 0, "a") == "embed(0:a)"
    assert item_name("embed", 1, {"b": 1, "a": "x"}) == "embed(1:a:x,b:1)"
    assert item_name("embed", 2, "../(etc)\n") == "embed(2:.._etc_)"
    assert len(item_name("embed", 3, "x" * 500)) < 60


def test_the_outputs_of_a_loop_become_json_lists():
    assert aggregated(["a", "1"]) == '["a","1"]'
    assert aggregated(['{"a": 1}', "[2]"]) == '[{"a":1},[2]]'
    assert aggregated_results(["1", '{"a": "b"}']) == '[1,{"a":"b"}]'
    with pytest.raises(BadInput, match="no JSON"):
        aggregated_results(["1", "heads"])
