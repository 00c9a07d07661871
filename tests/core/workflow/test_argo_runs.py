"""Workflows of Argo's local subset, run for real: what they give, and that whatever goes wrong is said."""

import json
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from pipelining import works

from core.adapters.engine_local import LocalEngine
from core.workflow import argo
from core.workflow.model import ArtifactType, Engine, RunStatus, StepStatus

pytestmark = pytest.mark.anyio
EXAMPLES = Path(__file__).parent.parent.parent / "pipelines" / "argo"


def subset():
    """The engine."""
    return LocalEngine("Hearth's Argo subset", "argo_worker.py", argo.local_spec, log_bytes=20_000, folder_bytes=200_000_000)


@pytest.fixture
async def here(tmp_path):
    async with works(tmp_path, engine=subset()) as made:
        yield made


async def begun(here, name, **parameters):
    pipeline = await here.room.define(here.ada, name, Engine.ARGO, (EXAMPLES / f"{name}.yaml").read_text())
    return await here.room.start(here.ada, pipeline.id, parameters)


async def ended(here, name, **parameters):
    """The run, and its steps by their keys."""
    run = await here.ended(await begun(here, name, **parameters), within_s=60)
    return run, {step.key: step for step in (await here.room.steps(here.ada, run.id, limit=500)).items}


async def text_of(here, run, step, name):
    found = next(a for a in run.artifacts if (a.step, a.name) == (step, name))
    return (await here.room.artifact(here.ada, run.id, found.id))[1].read_bytes()


async def log_of(here, run, step, attempt=1):
    return (await here.room.log(here.ada, run.id, step, attempt)).text


def statuses(steps):
    return {key: step.status.value for key, step in steps.items()}


async def test_a_dag_with_a_loop_a_retry_a_condition_and_files_gives_what_argo_gives(here):
    run, steps = await ended(here, "train", label="sum")
    assert (run.status, run.reason, run.metrics) == (RunStatus.SUCCEEDED, "", {"total": 30.0})
    assert statuses(steps) == {
        "split": "succeeded",
        "work(0:part:0)": "succeeded",
        "work(1:part:1)": "succeeded",
        "work(2:part:2)": "succeeded",
        "never": "skipped",
        "after-never": "omitted",
        "sum": "succeeded",
    }
    assert [(a.number, a.error) for a in steps["work(1:part:1)"].attempts] == [(1, "It ended with exit code 7. It said last: not yet"), (2, "")]
    assert await log_of(here, run, "work(1:part:1)", 1) == "not yet\n"
    assert steps["work(1:part:1)"].task == "work"
    assert steps["split"].outputs == {"result": '[{"part": 0}, {"part": 1}, {"part": 2}]'}
    assert "errors are no result" in await log_of(here, run, "split")
    assert steps["sum"].inputs == {"label": "sum", "totals": '["0","10","20"]'}
    assert steps["sum"].outputs == {"said": "sum: 30, hello"}
    kinds = {a.name: a.type for a in run.artifacts if not a.name.startswith("log-")}
    assert kinds == {"metrics": ArtifactType.METRICS, "rows": ArtifactType.DATASET, "folder": ArtifactType.DATASET}
    assert json.loads(await text_of(here, run, "split", "rows")) == [0, 1, 2]


async def test_a_parameter_changes_which_way_a_run_goes(here):
    run, steps = await ended(here, "train", label="x", parts="1", mode="quick")
    assert (run.status, statuses(steps)["never"], statuses(steps)["after-never"]) == (RunStatus.SUCCEEDED, "succeeded", "succeeded")
    assert await log_of(here, run, "never") == "unheard\n"


async def test_groups_of_steps_follow_each_other_and_a_template_of_steps_is_a_step_with_steps_inside(here):
    run, steps = await ended(here, "groups")
    assert (run.status, run.reason) == (RunStatus.SUCCEEDED, "")
    assert statuses(steps) == {
        "a": "succeeded",
        "b": "succeeded",
        "less": "succeeded",
        "less.twice": "succeeded",
        "more": "skipped",
        "last(0:1)": "succeeded",
        "last(1:2)": "skipped",
        "last(2:3)": "succeeded",
        "list": "succeeded",
    }
    assert (steps["less.twice"].parent, steps["less.twice"].outputs["n"]) == ("less", "1010")
    assert steps["a"].ended_at <= steps["less.twice"].started_at, "a group waits for all of the one before"
    assert await text_of(here, run, "list", "text") == b"[1,3]\n"


async def test_a_failure_names_the_step_that_failed_first_and_what_needs_it_is_left_out(here):
    run, steps = await ended(here, "failure")
    assert (run.status, run.reason) == (RunStatus.FAILED, "The step 'breaks' failed. It ended with exit code 3. It said last: no")
    assert statuses(steps) == {"breaks": "failed", "needs-it": "omitted", "needs-that": "omitted", "slow": "succeeded", "after-slow": "succeeded"}
    assert len(steps["breaks"].attempts) == 2


async def test_after_a_failure_a_dag_waits_for_what_runs_and_begins_nothing(here):
    run, steps = await ended(here, "fail-fast")
    assert run.status is RunStatus.FAILED
    assert (steps["slow"].status, steps["after-slow"].status) == (StepStatus.SUCCEEDED, StepStatus.OMITTED)


async def test_a_daemon_that_a_script_leaves_is_gone_with_the_run_and_holds_nothing_up(here):
    run, steps = await ended(here, "daemon")
    assert (run.status, statuses(steps)) == (RunStatus.SUCCEEDED, {"leaves": "succeeded"})
    assert await log_of(here, run, "leaves") == "left\n"
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HEARTH_RUN") == run.id and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process.pid)
        except psutil.Error:
            continue
    assert left == []


async def test_of_fifty_megabytes_of_output_the_beginning_and_the_end_are_kept(here):
    run, _ = await ended(here, "loud")
    log = await text_of(here, run, "loud", "log-1.txt")
    assert run.status is RunStatus.SUCCEEDED
    assert len(log) < 21_000
    assert log.startswith(b"first\n")
    assert log.endswith(b"last\n")
    assert "bytes are left out here" in log.decode()


@pytest.mark.parametrize(("name", "said"), [("escapes", "may lie outside of the run's folder"), ("unwritten", "It did not write its output")])
async def test_an_output_that_is_no_file_of_the_step_fails_it_and_is_not_tried_again(here, name, said):
    run, steps = await ended(here, name)
    assert run.status is RunStatus.FAILED
    assert said in run.reason
    assert len(steps[name].attempts) == 1
    assert [a.name for a in run.artifacts] == ["log-1.txt"]


async def test_two_hundred_nodes_side_by_side_all_run(here):
    run, steps = await ended(here, "wide")
    assert run.status is RunStatus.SUCCEEDED
    assert sum(key.startswith("one(") and step.status is StepStatus.SUCCEEDED for key, step in steps.items()) == 200


async def test_a_run_is_terminated_though_its_step_ignores_signals(here):
    run = await begun(here, "slow")
    await here.step(run, "slow")
    over = await here.room.terminate(here.ada, run.id)
    assert (over.status, over.reason) == (RunStatus.FAILED, "It was cancelled by ada.")


SCRIPT = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
spec:
  entrypoint: main
  arguments: {parameters: [{name: x, value: "%s"}]}
  templates:
    - name: main
      dag:
        tasks:
          - {name: say, template: say}
          - {name: then, template: say, %s}
    - name: say
      script: {image: alpine, command: [sh], source: "echo {{workflow.parameters.x}}"}
"""


@pytest.mark.parametrize(
    ("x", "then", "said"),
    [
        ("a", 'dependencies: [say], withParam: "{{tasks.say.outputs.result}}"', "withParam is no JSON list"),
        ("a b", "when: '{{workflow.parameters.x}} == a'", "is no comparison"),
        ("a == a || 1", "when: '{{workflow.parameters.x}} == 2'", "is no comparison"),
        ("a", "when: '{{workflow.parameters.x}} < 1'", "have no order"),
        ("a", "withParam: '[{\"k\": 1}]', when: '{{item.other}} == 1'", "has no value"),
    ],
)
async def test_what_shows_only_in_the_run_fails_it_with_a_sentence(here, x, then, said):
    pipeline = await here.room.define(here.ada, "wrong", Engine.ARGO, SCRIPT % (x, then))
    run = await here.ended(await here.room.start(here.ada, pipeline.id, {}))
    assert run.status is RunStatus.FAILED
    assert said in run.reason


@pytest.mark.parametrize("condition", ["a == b", "{{workflow.parameters.x}} == b"])
async def test_a_loop_whose_condition_is_false_needs_no_items(here, condition):
    then = f'dependencies: [say], withParam: "{{{{tasks.say.outputs.result}}}}", when: "{condition}"'
    pipeline = await here.room.define(here.ada, "skips", Engine.ARGO, SCRIPT % ("a", then))
    run = await here.ended(await here.room.start(here.ada, pipeline.id, {}))
    assert (run.status, run.reason) == (RunStatus.SUCCEEDED, "")


async def test_a_default_that_can_not_be_filled_fails_the_step_with_a_sentence(here):
    text = SCRIPT.replace(
        'source: "echo {{workflow.parameters.x}}"}',
        'source: "echo {{inputs.parameters.y}}"}\n      inputs: {parameters: [{name: y, default: "{{workflow.parameters.x}}"}]}',
    )
    pipeline = await here.room.define(here.ada, "bell", Engine.ARGO, text % ("a", "dependencies: [say]"))
    run = await here.ended(await here.room.start(here.ada, pipeline.id, {"x": "\x07"}))
    assert run.reason.startswith("The step 'say' failed. {{workflow.parameters.x}} holds a control character")


async def test_what_a_value_holds_is_never_read_as_a_variable(here):
    pipeline = await here.room.define(here.ada, "braces", Engine.ARGO, SCRIPT % ("a", "dependencies: [say]"))
    run = await here.ended(await here.room.start(here.ada, pipeline.id, {"x": "{{workflow.name}}"}))
    assert await log_of(here, run, "say") == "{{workflow.name}}\n"


async def test_a_step_sees_no_setting_of_the_house_and_no_pipe(here, monkeypatch):
    monkeypatch.setenv("HEARTH_LLM_API_KEY", "a secret")
    text = SCRIPT.replace("echo {{workflow.parameters.x}}", "env; ls /proc/self/fd")
    pipeline = await here.room.define(here.ada, "env", Engine.ARGO, text % ("a", "dependencies: [say]"))
    run = await here.ended(await here.room.start(here.ada, pipeline.id, {}))
    lines = (await log_of(here, run, "say")).splitlines()
    assert [line.partition("=")[0] for line in lines if line.startswith("HEARTH")] == ["HEARTH_RUN"]
    assert lines[-4:] == ["0", "1", "2", "3"], "its own listing is the only one beside the three"


LENT = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
spec:
  entrypoint: main
  arguments: {parameters: [{name: hearth_url}, {name: hearth_key}]}
  templates:
    - name: main
      steps:
        - - {name: ask, template: ask, arguments: {parameters: [{name: key, value: "Bearer {{workflow.parameters.hearth_key}}"}]}}
    - name: ask
      inputs: {parameters: [{name: key}]}
      outputs: {parameters: [{name: said, valueFrom: {path: /said}}]}
      script: {image: alpine, command: [sh], source: "echo '{{inputs.parameters.key}} {{workflow.parameters.hearth_url}}' > {{outputs.parameters.said.path}}"}
"""


async def test_the_key_that_a_run_is_lent_reaches_its_scripts_and_is_in_nothing_that_is_kept(tmp_path):
    @asynccontextmanager
    async def lend(_run):
        yield {"hearth_url": "http://here", "hearth_key": "hk_secret"}

    async with works(tmp_path, engine=subset(), lend=lend) as here:
        pipeline = await here.room.define(here.ada, "lent", Engine.ARGO, LENT)
        run = await here.ended(await here.room.start(here.ada, pipeline.id, {}))
        (step,) = (await here.room.steps(here.ada, run.id)).items
        assert (run.status, run.reason) == (RunStatus.SUCCEEDED, "")
        assert (step.inputs, step.outputs) == ({"key": "Bearer ***"}, {"said": "Bearer *** http://here"})
