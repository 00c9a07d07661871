"""Kubeflow pipelines for real on this machine: what is compiled beside `tests/pipelines/kubeflow/*.py` runs with kfp.local, in an interpreter that has it."""

import asyncio
import json
import shutil
import subprocess
import tarfile
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import pytest
from pipelining import works

from core.adapters.engine_local import LocalEngine
from core.errors import BadInput
from core.events import EventType
from core.workflow.kubeflow import local_spec
from core.workflow.model import ArtifactType, Engine, RunStatus, StepStatus
from core.workflow.shelf import RunFilter

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parent.parent.parent.parent
PIPELINES = ROOT / "tests" / "pipelines" / "kubeflow"
SUCCEEDED, CACHED, FAILED, SKIPPED, OMITTED = StepStatus.SUCCEEDED, StepStatus.CACHED, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.OMITTED


def engine(python, **given):
    return LocalEngine("kfp.local", "kubeflow_worker.py", local_spec, python=python, needs="kfp", **({"log_bytes": 10_000, "folder_bytes": 50_000_000} | given))


@pytest.fixture
async def here(tmp_path, kfp_python):
    async with works(tmp_path, engine=engine(kfp_python), language=Engine.KUBEFLOW) as made:
        yield made


async def start(here, name, **parameters):
    return await here.start((PIPELINES / f"{name}.yaml").read_text("utf-8"), name, **parameters)


async def steps(here, run):
    return {step.key: step for step in (await here.room.steps(here.ada, run.id)).items}


def processes(run):
    """The living processes of a run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HEARTH_RUN") == run.id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


async def test_a_run_keeps_data_models_metrics_and_logs_and_tells_its_events_in_their_order(here):
    ended = await here.ended(await start(here, "train", rows=5))
    assert (ended.status, ended.reason, ended.metrics) == (RunStatus.SUCCEEDED, "", {"total": 30, "recall": 0.75})
    done = await steps(here, ended)
    assert {key: (step.status, step.inputs, step.outputs) for key, step in done.items()} == {
        "load": (SUCCEEDED, {"rows": 5}, {"Output": 5}),
        "fit": (SUCCEEDED, {}, {"Output": 30.0}),
    }
    made = {(a.step, a.name): a for a in ended.artifacts}
    assert {key: a.type for key, a in made.items()} == {
        ("load", "data"): ArtifactType.DATASET,
        ("load", "log-1.txt"): ArtifactType.LOGS,
        ("fit", "model.tar"): ArtifactType.MODEL,
        ("fit", "metrics.json"): ArtifactType.METRICS,
        ("fit", "classes.json"): ArtifactType.METRICS,
        ("fit", "log-1.txt"): ArtifactType.LOGS,
    }
    assert (made["load", "data"].metadata["schema"], made["load", "data"].metadata["columns"]) == ("system.Dataset", "n,square")

    async def path_of(*key):
        return (await here.room.artifact(here.ada, ended.id, made[key].id))[1]

    assert (await path_of("load", "data")).read_text() == "0,0\n1,1\n2,4\n3,9\n4,16\n"
    assert json.loads((await path_of("fit", "metrics.json")).read_text()) == {"total": 30, "recall": 0.75}
    with tarfile.open(await path_of("fit", "model.tar")) as model:
        assert model.extractfile("model/weights.txt").read() == b"30"
    assert "writing 5 rows" in (await here.room.log(here.ada, ended.id, "load", 1)).text
    one = [EventType.STEP_STARTED, EventType.STEP_COMPLETED]
    assert await here.told(ended) == [
        *(EventType.PIPELINE_TRIGGER_RECEIVED, EventType.PIPELINE_RUN_CREATED),
        *(*one, *[EventType.ARTIFACT_PRODUCED] * 2, *one, *[EventType.ARTIFACT_PRODUCED] * 4),
        EventType.PIPELINE_RUN_COMPLETED,
    ]


async def test_a_step_that_fails_is_told_with_its_last_words_and_what_needs_it_is_left_out(here):
    ended = await here.ended(await start(here, "broken"))
    done = await steps(here, ended)
    assert (ended.status, ended.reason) == (
        RunStatus.FAILED,
        "The step 'evaluate' failed: ValueError: nothing to measure in fine (exit code 1)",
    )
    assert {key: step.status for key, step in done.items()} == {"fine": SUCCEEDED, "evaluate": FAILED, "publish": OMITTED}
    assert "Traceback" in (await here.room.log(here.ada, ended.id, "evaluate", 1)).text
    assert "\x1b" not in ended.reason


async def test_loops_branches_and_handlers_run_as_written_in_two_runs_at_once(here):
    # Without the cache: one of them would take over what the other has done first, and a step that was taken over has no log.
    fine, failing = await asyncio.gather(start(here, "flow", cache=False, word="it's"), start(here, "flow", cache=False, word="yes", fail=True))
    ended = await here.ended(fine, 40)
    done = await steps(here, ended)
    inside = "exit-handler-1"
    assert ended.status is RunStatus.SUCCEEDED
    assert [done[f"{inside}.for-loop-2.{n}.double"].outputs["Output"] for n in range(3)] == [2, 4, 6]
    assert {done[f"{inside}.for-loop-2.{n}.double"].task for n in range(3)} == {f"{inside}.for-loop-2.double"}
    assert done[f"{inside}.for-loop-2.1"].parent == f"{inside}.for-loop-2"
    logs = [(await here.room.log(here.ada, ended.id, f"{inside}.for-loop-2.{n}.double", 1)).text for n in range(3)]
    said = [[line for line in text.splitlines() if line.startswith("doubling")] for text in logs]
    assert said == [["doubling 1"], ["doubling 2"], ["doubling 3"]], "each its own, though two run at once"
    assert done[f"{inside}.total"].outputs == {"Output": 12}
    branches = {key.rpartition(".")[2]: step.status for key, step in done.items() if "condition-" in key}
    assert branches == {"condition-branches-3": SUCCEEDED, "condition-4": SKIPPED, "condition-5": SKIPPED, "condition-6": SUCCEEDED, "say-3": SUCCEEDED}
    assert done["last"].outputs == {"Output": "SUCCEEDED"}

    ended = await here.ended(failing, 40)
    done = await steps(here, ended)
    assert (ended.status, ended.reason) == (RunStatus.FAILED, f"The step '{inside}.fails-if' failed: RuntimeError: as wanted (exit code 1)")
    assert done[f"{inside}.condition-branches-3.condition-4.say"].name == "say so"
    assert done["last"].outputs == {"Output": "FAILED"}, "the handler runs, and knows"
    nodes = {node.name for node in local_spec((PIPELINES / "flow.yaml").read_text("utf-8")).graph}
    assert {step.task for step in done.values()} <= nodes


async def test_conditions_and_loops_take_what_their_inputs_are_bound_to(here):
    ended = await here.ended(await start(here, "choose", words=["b", "a"]), 40)
    done = await steps(here, ended)
    assert (ended.status, ended.reason) == (RunStatus.SUCCEEDED, "")
    assert {key: done[key].status for key in ("condition-1", "condition-2", "condition-3", "condition-4")} == {
        "condition-1": SUCCEEDED,
        "condition-2": SUCCEEDED,
        "condition-3": SKIPPED,
        "condition-4": SUCCEEDED,
    }
    said = {key: step.outputs["Output"] for key, step in done.items() if "." in key and step.outputs}
    assert sorted(said.values()) == ["a", "enough", "in+left", "in+right", "left", "quick", "quick again", "right", "x3", "y3"]
    assert done["join"].outputs == {"Output": "x3+y3"}


async def test_a_condition_that_can_not_be_decided_fails_the_run_and_the_handler_still_runs(here):
    text = (PIPELINES / "flow.yaml").read_text("utf-8").replace("> 100", "> ''many''")
    ended = await here.ended(await here.start(text, "undecided"), 40)
    done = await steps(here, ended)
    assert ended.status is RunStatus.FAILED
    assert "can't be decided: A number can't be compared with a text" in ended.reason
    assert done["exit-handler-1.condition-branches-3"].status is FAILED
    assert done["last"].outputs == {"Output": "FAILED"}


async def test_a_key_that_the_house_lends_to_a_run_is_told_of_no_step(tmp_path, kfp_python):
    @asynccontextmanager
    async def lend(_run):
        yield {"hearth_url": "http://here", "hearth_key": "hk_secret"}

    text = (PIPELINES / "typed.yaml").read_text("utf-8").replace("a_text", "hearth_key")
    async with works(tmp_path, engine=engine(kfp_python), language=Engine.KUBEFLOW, lend=lend) as here:
        ended = await here.ended(await here.start(text, "asks"))
        done = await steps(here, ended)
        assert ended.status is RunStatus.SUCCEEDED
        assert "a_count" in done["show"].inputs
        assert "hk_secret" not in f"{ended} {done}"


async def test_a_step_is_tried_again_with_a_log_for_each_attempt_and_the_same_work_is_done_once(here, tmp_path):
    ended = await here.ended(await start(here, "again", counter=str(tmp_path / "counter")))
    done = await steps(here, ended)
    assert (ended.status, done["flaky"].outputs) == (RunStatus.SUCCEEDED, {"Output": "after 2"})
    assert [attempt.error for attempt in done["flaky"].attempts] == ["OSError: not yet (exit code 1)", ""]
    logs = [(await here.room.log(here.ada, ended.id, "flaky", n)).text for n in (1, 2)]
    assert [("try 1\n" in text, "try 2\n" in text) for text in logs] == [(True, False), (False, True)]
    assert {done[key].status for key in ("when", "when-2")} == {SUCCEEDED, CACHED}
    assert done["when"].outputs == done["when-2"].outputs
    assert "when-3" not in done


async def test_the_same_work_with_the_same_is_not_done_again_and_what_was_made_is_the_new_runs_own(here):
    first = await here.ended(await start(here, "train", rows=5))
    again = await here.ended(await start(here, "train", rows=5))
    done = await steps(here, again)
    assert {key: (step.status, step.cached_from, step.attempts) for key, step in done.items()} == dict.fromkeys(("load", "fit"), (CACHED, first.id, ()))
    assert (again.status, again.metrics) == (RunStatus.SUCCEEDED, first.metrics)
    assert {key: (s.inputs, s.outputs) for key, s in done.items()} == {key: (s.inputs, s.outputs) for key, s in (await steps(here, first)).items()}
    told = (*[EventType.STEP_STARTED, EventType.STEP_COMPLETED, EventType.ARTIFACT_PRODUCED], EventType.STEP_STARTED)
    assert (await here.told(again))[2:6] == list(told)

    def made(run):
        return {(a.step, a.name): a for a in run.artifacts if a.type is not ArtifactType.LOGS}

    before, now = made(first), made(again)
    assert before.keys() == now.keys()
    digests = {key: (a.metadata["sha256"], now[key].metadata["sha256"]) for key, a in before.items() if not a.name.endswith(".tar")}
    assert {one == other for one, other in digests.values()} == {True}
    assert not {a.uri for a in before.values()} & {a.uri for a in now.values()}
    assert (await here.room.delete_run(here.ada, first.id)).left["objects"] == 0
    for artifact in now.values():
        assert (await here.room.artifact(here.ada, again.id, artifact.id))[1].stat().st_size == artifact.metadata["size_bytes"]
    third = await here.ended(await start(here, "train", rows=5))
    assert {step.cached_from for step in (await steps(here, third)).values()} == {again.id}, "what was taken over is kept as if it had been made"


async def test_nothing_is_taken_over_from_somebody_else_or_where_it_is_switched_off_or_anything_differs(here):
    await here.ended(await start(here, "train", rows=5))
    await here.room.share(here.ada, "train", True)

    async def states(by=here.ada, change=("", ""), cache=True, **given):
        text = (PIPELINES / "train.yaml").read_text("utf-8")
        changed = text.replace(*change) if change[0] else text
        pipeline = await here.room.define(here.ada, "train", Engine.KUBEFLOW, changed)
        ended = await here.ended(await here.room.start(by, pipeline.id, {"rows": 5} | given, cache=cache))
        assert ended.status is RunStatus.SUCCEEDED
        return {key: step.status for key, step in (await steps(here, ended)).items()}

    assert await states(by=here.bob) == {"load": SUCCEEDED, "fit": SUCCEEDED}
    assert await states(by=here.bob) == {"load": CACHED, "fit": CACHED}
    assert await states(cache=False) == {"load": SUCCEEDED, "fit": SUCCEEDED}
    assert await states(rows=6) == {"load": SUCCEEDED, "fit": SUCCEEDED}
    assert await states(change=("writing {rows} rows", "writing {rows} lines")) == {"load": SUCCEEDED, "fit": CACHED}, "another code, the same data"
    assert await states(change=("{n * n}", "{n * n + 1}")) == {"load": SUCCEEDED, "fit": SUCCEEDED}, "other data"
    assert await states(change=("enableCache: true", "enableCache: false")) == {"load": SUCCEEDED, "fit": SUCCEEDED}


async def test_a_step_whose_results_are_gone_from_the_object_store_runs_again(here):
    first = await here.ended(await start(here, "train", rows=5))
    data = next(a for a in first.artifacts if a.name == "data")
    await here.objects.drop(data.uri)
    done = await steps(here, await here.ended(await start(here, "train", rows=5)))
    assert {key: step.status for key, step in done.items()} == {"load": SUCCEEDED, "fit": CACHED}


async def test_every_type_arrives_as_itself_and_a_step_sees_no_setting_of_the_house_and_no_pipe(here, monkeypatch):
    monkeypatch.setenv("HEARTH_LLM_API_KEY", "a secret")
    ended = await here.ended(await start(here, "typed", a_text="ü 'x'", a_count=3, a_struct={"deep": [None]}))
    done = await steps(here, ended)
    assert json.loads(done["show"].outputs["Output"]) == ["ü 'x'", 3, 0.5, True, ["x", {"y": False}], {"deep": [None]}, None]
    seen = done["environment"].outputs["Output"]
    assert {name for name in seen["variables"] if name.startswith("HEARTH")} == {"HEARTH_RUN"}
    assert "a secret" not in str(seen)
    assert seen["variables"]["MODE"] == "quiet"
    assert seen["descriptors"] == [0, 1, 2, 3], "its own listing is the only one beside the three"


async def test_no_parameter_reaches_a_run_that_is_unknown_missing_or_of_another_type(here):
    for wrong, said in (({"nope": 1}, "no parameter 'nope'"), ({}, "'a_text' is missing"), ({"a_count": "many"}, "a whole number"), ({"a_list": {}}, "a list")):
        with pytest.raises(BadInput, match=said):
            await start(here, "typed", **({"a_text": "x"} if wrong else {}), **wrong)
    assert not (await here.room.runs(here.ada, RunFilter())).items


async def test_twenty_at_once_end_each_with_its_own_result(here):
    ended = await here.ended(await start(here, "fan"), 60)
    done = await steps(here, ended)
    assert ended.status is RunStatus.SUCCEEDED
    assert [done[f"for-loop-2.{n}.square"].outputs["Output"] for n in range(20)] == [n * n for n in range(20)]


async def test_a_terminated_run_leaves_nothing_though_its_steps_ignore_signals_and_leave_their_group(here):
    run = await start(here, "stubborn")
    await here.step(run, "hold")
    async with asyncio.timeout(20):
        while "holding" not in (await here.room.log(here.ada, run.id, "hold", 1)).text:
            await asyncio.sleep(0.02)
    began = time.monotonic()
    ended = await here.room.terminate(here.ada, run.id)
    assert time.monotonic() - began < 3, "a busy machine; the bench measures"
    assert (ended.status, ended.reason) == (RunStatus.FAILED, "It was cancelled by ada.")
    assert processes(run) == []


def is_worker(process):
    """Others of the run may be gone by now."""
    with suppress(psutil.Error):
        return any("kubeflow_worker" in part for part in process.cmdline())
    return False


async def test_a_worker_that_is_killed_is_a_run_that_failed_with_a_sentence(here):
    run = await start(here, "stubborn")
    await here.step(run, "hold")
    worker = min(filter(is_worker, processes(run)), key=psutil.Process.create_time)  # a step that it is about to start looks like it for a moment
    worker.kill()
    ended = await here.ended(run)
    assert (ended.status, ended.reason) == (RunStatus.FAILED, "The process of the run was killed, probably because memory ran out.")
    assert processes(run) == []


async def test_what_lies_outside_of_the_runs_folder_is_not_taken_as_an_artifact(here):
    text = (PIPELINES / "train.yaml").read_text("utf-8")
    for where in ("/etc", "s3://hearth/documents/of-others"):
        code = text.replace('data.metadata[\\"columns\\"] =', f'data.uri = \\"{where}\\"; data.metadata[\\"columns\\"] =')
        assert code != text
        ended = await here.ended(await here.start(code, "escapes"))
        assert ended.status is RunStatus.FAILED
        assert "The artifact 'data' lies outside of the run's folder" in ended.reason
        assert [a.name for a in ended.artifacts] == ["log-1.txt"]


async def test_no_network_is_needed(tmp_path, kfp_python):
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespace without a network can be made here")
    alone = tmp_path / "alone"
    alone.write_text(f'#!/bin/sh\nexec unshare -rn "{kfp_python}" "$@"\n')
    alone.chmod(0o755)
    async with works(tmp_path, engine=engine(str(alone)), language=Engine.KUBEFLOW) as here:
        assert (await here.ended(await start(here, "train"))).status is RunStatus.SUCCEEDED


async def test_without_kfp_a_run_says_what_to_install(tmp_path):
    bare = tmp_path / "bare"
    bare.write_text("#!/bin/sh\nexit 1\n")
    bare.chmod(0o755)
    async with works(tmp_path, engine=engine(str(bare)), language=Engine.KUBEFLOW) as here:
        ended = await here.ended(await start(here, "train"))
        assert "need kfp, which is not installed" in ended.reason
