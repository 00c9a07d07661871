"""Runs: what a worker tells is kept in order, whatever ends it is said, and nothing of it is left behind."""

import asyncio
import hashlib
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from pipelining import ASKING, scripted, works

from core.errors import ServiceTimeout, ServiceUnavailable
from core.events import EventType
from core.workflow.model import ArtifactType, RunStatus, StepStatus
from core.workflow.running import INTERRUPTED

pytestmark = pytest.mark.anyio

TESTS = Path(__file__).parent.parent.parent
PATHS = os.pathsep.join(map(str, (TESTS, TESTS.parent)))
GOOD = """
tell("a", "running", name="load", log="a.log", inputs={"n": order["parameters"]["n"]})
(folder / "a.log").write_text("reading\\n")
(folder / "m.json").write_text('{"recall": 0.5, "note": "x", "flag": true}')
(folder / "d.csv").write_text("a,b\\n")
tell("a", log="a.log", outputs={"rows": 3}, artifacts=[
    {"name": "metrics.json", "type": "metrics", "path": "m.json"}, {"name": "d.csv", "type": "dataset", "path": "d.csv"}])
tell("b", "skipped")
tell()
"""
HOLDS = """
import signal, subprocess
tell("a", "running", log="a.log")
(folder / "a.log").write_text("at work\\n")
ignores = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", ignores])
subprocess.Popen([sys.executable, "-c", ignores], start_new_session=True)
time.sleep(600)
"""


@pytest.fixture
async def here(tmp_path):
    async with works(tmp_path) as made:
        yield made


def marked(run):
    """The living processes of a run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HEARTH_RUN") == run.id and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


async def until(true, within_s=10):
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.02)


async def test_a_run_goes_from_pending_to_succeeded_and_its_events_come_in_their_order(here):
    run = await here.start(GOOD, n=4)
    assert run.status is RunStatus.PENDING
    ended = await here.ended(run)
    assert (ended.status, ended.reason, ended.metrics) == (RunStatus.SUCCEEDED, "", {"recall": 0.5})
    a, b = (await here.room.steps(here.ada, run.id)).items
    assert (a.name, a.status, a.inputs, a.outputs) == ("load", StepStatus.SUCCEEDED, {"n": 4}, {"rows": 3})
    assert b.status is StepStatus.SKIPPED
    assert await here.told(run) == [
        EventType.PIPELINE_TRIGGER_RECEIVED,
        EventType.PIPELINE_RUN_CREATED,
        EventType.STEP_STARTED,
        EventType.STEP_COMPLETED,
        *[EventType.ARTIFACT_PRODUCED] * 3,
        EventType.PIPELINE_RUN_COMPLETED,
    ]


async def test_what_a_step_has_made_is_in_the_object_store_with_its_checksum(here):
    ended = await here.ended(await here.start(GOOD))
    made = {a.name: a for a in ended.artifacts}
    assert {name: a.type for name, a in made.items()} == {"metrics.json": ArtifactType.METRICS, "d.csv": ArtifactType.DATASET, "log-1.txt": ArtifactType.LOGS}
    found, path = await here.room.artifact(here.ada, ended.id, made["d.csv"].id)
    assert path.read_bytes() == b"a,b\n"
    assert (found.metadata["sha256"], found.metadata["size_bytes"]) == (hashlib.sha256(b"a,b\n").hexdigest(), 4)
    assert not here.dispatcher.folder_of(ended.id).exists()


async def test_steps_and_files_whose_names_look_alike_in_a_key_are_two_objects(here):
    code = """
for n, key in enumerate(("a(0:x)", "a-0-x")):
    (folder / f"f{n}").write_text(key)
    tell(key, artifacts=[{"name": name, "type": "dataset", "path": f"f{n}"} for name in ("d 1", "d-1")])
tell()
"""
    ended = await here.ended(await here.start(code))
    assert len({a.uri for a in ended.artifacts}) == 4
    for made in ended.artifacts:
        assert (await here.objects.get(made.uri)).decode() == made.step


async def test_a_log_is_read_while_it_grows_and_after_the_end(here):
    run = await here.start(HOLDS)
    await here.step(run, "a")
    await until((here.dispatcher.folder_of(run.id) / "a.log").exists)
    assert (await here.room.log(here.ada, run.id, "a", 1)).text == "at work\n"
    await here.room.terminate(here.ada, run.id)
    part = await here.room.log(here.ada, run.id, "a", 1, offset=-5)
    assert (part.text, part.over, part.next_offset) == ("work\n", True, 8)


async def test_a_step_that_fails_is_told_with_its_error_and_each_attempt_has_its_log(here):
    code = """
for n in (1, 2):
    tell("a", "running", attempt=n, log=f"a-{n}.log", error="it was full" if n == 2 else "")
    (folder / f"a-{n}.log").write_text(f"try {n}")
tell("a", "failed", attempt=2, log="a-2.log", error="exit code 3")
tell("", "failed", error="The step a failed.")
"""
    ended = await here.ended(await here.start(code))
    assert (ended.status, ended.reason) == (RunStatus.FAILED, "The step a failed.")
    (step,) = (await here.room.steps(here.ada, ended.id)).items
    assert (step.status, step.error, [a.error for a in step.attempts]) == (StepStatus.FAILED, "exit code 3", ["it was full", "exit code 3"])
    assert [(await here.room.log(here.ada, ended.id, "a", n)).text for n in (1, 2)] == ["try 1", "try 2"]
    assert [a.name for a in ended.artifacts] == ["log-1.txt", "log-2.txt"]
    assert (await here.told(ended)).count(EventType.STEP_STARTED) == 1, "an attempt is no step"


async def test_a_terminated_run_is_gone_within_a_second_with_what_ignores_signals_and_what_has_left_its_group(here):
    run = await here.start(HOLDS)
    await here.step(run, "a")
    await until(lambda: len(marked(run)) == 3)
    began = time.monotonic()
    ended = await here.room.terminate(here.ada, run.id)
    took_s = time.monotonic() - began
    assert (ended.status, ended.reason) == (RunStatus.FAILED, "It was cancelled by ada.")
    assert marked(run) == []
    assert (await here.room.steps(here.ada, run.id)).items[0].status is StepStatus.FAILED
    assert took_s < 3, "a busy machine; the bench measures"
    assert (await here.told(run))[-2:] == [EventType.STEP_COMPLETED, EventType.PIPELINE_RUN_COMPLETED]
    assert (await here.room.terminate(here.ada, run.id)) == ended, "once more changes nothing"


async def test_a_run_of_another_process_is_ended_by_that_process(here, tmp_path):
    run = await here.start(HOLDS)
    await here.step(run, "a")
    async with works(tmp_path, serving=False) as beside:
        ended = await beside.room.terminate(here.ada, run.id)
    assert (ended.status, ended.reason) == (RunStatus.FAILED, "It was cancelled by ada.")
    assert marked(run) == []


@pytest.mark.parametrize("survives", [False, True])
async def test_only_runs_that_end_with_this_process_count_as_at_work(tmp_path, survives):
    engine = scripted()
    engine.survives = survives
    async with works(tmp_path, engine=engine) as here:
        await here.step(await here.start(HOLDS), "a")
        assert here.room.at_work == (not survives)


async def test_a_run_whose_process_does_not_end_it_is_said_so(tmp_path, monkeypatch):
    monkeypatch.setattr("core.workflow.running.ELSEWHERE_S", 0.2)
    async with works(tmp_path, serving=False) as nobody:
        run = await nobody.start(GOOD)
        await nobody.records.workflows.keep(run.to(RunStatus.RUNNING, run.created_at))
        with pytest.raises(ServiceTimeout, match="hearth up"):
            await nobody.room.terminate(nobody.ada, run.id)


async def test_a_run_that_waits_is_terminated_without_having_begun(here):
    busy = [await here.start(HOLDS, name=f"busy-{n}") for n in range(2)]
    waiting = await here.start(GOOD)
    for run in busy:
        await here.step(run, "a")
    assert await here.room.ahead_of(here.ada, waiting) == 0
    ended = await here.room.terminate(here.ada, waiting.id)
    assert (ended.status, ended.reason) == (RunStatus.FAILED, "It was cancelled by ada.")
    assert not (await here.room.steps(here.ada, waiting.id)).items


async def test_no_more_runs_are_at_work_than_allowed_and_the_next_begins_when_one_ends(tmp_path):
    async with works(tmp_path, at_once=1) as here:
        first, second = await here.start(HOLDS), await here.start(GOOD, name="second")
        await here.step(first, "a")
        await asyncio.sleep(0.3)
        assert (await here.room.run(here.ada, second.id)).status is RunStatus.PENDING
        await here.room.terminate(here.ada, first.id)
        assert (await here.ended(second)).status is RunStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed"),
        ("raise ValueError('no such thing')", "ended with code 1. ValueError: no such thing"),
        ("events.write('nonsense\\n')", "can't be understood"),
        ("tell('a', 'dancing')", "can't be understood"),
        ("tell('a', artifacts=[{'name': 'x', 'type': 'dataset', 'path': '../../up.lock'}])", "outside of the run's folder"),
        ("(folder / 'x').symlink_to('/etc/hostname'); tell('a', artifacts=[{'name': 'x', 'type': 'dataset', 'path': 'x'}])", "outside of the run's folder"),
        ("tell('a', artifacts=[{'name': 'x', 'type': 'dataset', 'path': 'x'}])", "was not written"),
        ("tell('a', artifacts=[{'name': 'x', 'type': 'dataset', 'uri': 's3://hearth/documents/of-others'}])", "outside of the run's folder"),
    ],
    ids=["killed", "broke", "nonsense", "unknown state", "escapes", "linked", "missing", "another's"],
)
async def test_whatever_goes_wrong_in_the_process_is_said_and_the_next_run_is_none_the_worse(here, code, said):
    ended = await here.ended(await here.start(code))
    assert ended.status is RunStatus.FAILED
    assert said in ended.reason
    assert (await here.ended(await here.start(GOOD, name="next"))).status is RunStatus.SUCCEEDED


async def test_a_step_sees_no_setting_of_the_house_and_no_pipe(here, monkeypatch):
    monkeypatch.setenv("HEARTH_LLM_API_KEY", "a secret")
    code = "import subprocess; out = subprocess.run([sys.executable, '-c', 'import os; print(dict(os.environ), os.listdir(chr(47)+\"proc/self/fd\"))'], "
    code += "capture_output=True, text=True, close_fds=True).stdout; tell('a', outputs={'out': out}); tell()"
    ended = await here.ended(await here.start(code))
    seen = (await here.room.steps(here.ada, ended.id)).items[0].outputs["out"]
    assert "a secret" not in seen
    names = {part.split("'")[1] for part in seen.split("}")[0].split(", ") if "'" in part}
    assert {n for n in names if n.startswith("HEARTH")} == {"HEARTH_RUN"}
    assert "['0', '1', '2', '3']" in seen, "its own listing is the only one beside the three"


KILLED_HOUSE = """
import asyncio, sys
from pathlib import Path
from pipelining import works

async def main():
    async with works(Path(sys.argv[1])) as here:
        run = await here.start(sys.argv[2])
        await here.step(run, "a")
        print(run.id, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


ASKS = """
tell("a", "wanted", fingerprint="f" * 64)
found = json.loads(sys.stdin.readline())
if found is None:
    tell("a", "running")
    (folder / "d.csv").write_text("made once")
    tell("a", artifacts=[{"name": "d.csv", "type": "dataset", "path": "d.csv"}], fingerprint="f" * 64, result={"rows": 3})
else:
    made = {"name": "d.csv", "type": "dataset", "path": found["files"]["d.csv"]}
    tell("a", "cached", outputs=found["result"], cached_from=found["from_run"], artifacts=[made], fingerprint="f" * 64, result=found["result"])
tell()
"""


async def test_a_worker_that_asks_is_given_what_an_earlier_run_of_the_same_user_made(here, monkeypatch):
    async def state(by=here.ada, **given):
        pipeline = await here.room.define(here.ada, "asks", here.language, ASKS)
        await here.room.share(here.ada, "asks", True)
        ended = await here.ended(await here.room.start(by, pipeline.id, {}, **given))
        assert (ended.status, ended.reason) == (RunStatus.SUCCEEDED, "")
        step = (await here.room.steps(here.ada, ended.id)).items[0]
        return ended, step.status, step.cached_from

    first, status, _ = await state()
    assert status is StepStatus.SUCCEEDED
    again, status, cached_from = await state()
    assert (status, cached_from) == (StepStatus.CACHED, first.id)
    _, path = await here.room.artifact(here.ada, again.id, again.artifacts[0].id)
    assert path.read_text() == "made once"
    assert again.artifacts[0].uri != first.artifacts[0].uri
    assert (await state(by=here.bob))[1] is StepStatus.SUCCEEDED, "nobody is given another's"
    assert (await state(cache=False))[1] is StepStatus.SUCCEEDED

    async def away(_uri):
        raise ServiceUnavailable("The object store doesn't answer.")

    monkeypatch.setattr(here.objects, "local_path", away)
    assert (await state())[1] is StepStatus.SUCCEEDED, "it runs, as if nothing had been kept"


async def test_what_a_house_that_was_killed_left_is_ended_and_the_run_is_interrupted_and_its_log_stays(tmp_path):
    house = subprocess.Popen(
        [sys.executable, "-c", KILLED_HOUSE, str(tmp_path), HOLDS], stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": PATHS}
    )
    run_id = house.stdout.readline().strip()
    async with works(tmp_path, serving=False) as after:
        run = await after.room.run(after.ada, run_id)
        await until(lambda: len(marked(run)) == 3)
        house.kill()
        house.communicate()
        assert run.status is RunStatus.RUNNING
        await after.dispatcher._recover()
        ended = await after.room.run(after.ada, run_id)
        assert (ended.status, ended.reason) == (RunStatus.FAILED, INTERRUPTED)
        assert marked(run) == []
        assert (await after.room.log(after.ada, run_id, "a", 1)).text == "at work\n"


async def test_a_house_that_closes_ends_its_runs_and_says_so(tmp_path):
    async with works(tmp_path) as here:
        run = await here.start(HOLDS)
        await here.step(run, "a")
    assert marked(run) == []
    async with works(tmp_path, serving=False) as again:
        assert (await again.room.run(again.ada, run.id)).reason == INTERRUPTED


async def test_a_run_that_takes_too_long_is_ended(tmp_path):
    async with works(tmp_path, wall_s=0.5) as here:
        ended = await here.ended(await here.start("time.sleep(600)"))
        assert "longer than" in ended.reason
        assert marked(ended) == []


async def test_a_run_whose_files_grow_too_large_is_ended(tmp_path):
    async with works(tmp_path, engine=scripted(folder_bytes=1_000_000)) as here:
        ended = await here.ended(await here.start("(folder / 'big').write_bytes(bytes(2_000_000)); time.sleep(600)"))
        assert "Its files took more than" in ended.reason


async def test_a_pipeline_that_asks_for_them_is_lent_the_address_and_a_key_and_neither_is_kept(tmp_path):
    lent = []

    @asynccontextmanager
    async def lend(run):
        lent.append(run.id)
        yield {"hearth_url": "http://here", "hearth_key": "hk_secret"}
        lent.append("back")

    async with works(tmp_path, engine=scripted(ASKING), lend=lend) as here:
        ended = await here.ended(await here.start("p = order['parameters']; tell('a', outputs={'u': p['hearth_url'], 'k': len(p['hearth_key'])}); tell()"))
        assert lent == [ended.id, "back"]
        assert ended.parameters == {"n": 1, "word": "hello"}
        assert (await here.room.steps(here.ada, ended.id)).items[0].outputs == {"u": "http://here", "k": 9}
