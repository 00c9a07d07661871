"""A house that is killed while it runs a pipeline with kfp: nothing of the run that was shown is lost."""

import json
import sqlite3
import time
from pathlib import Path

import psutil
import pytest
from running_house import RunningHouse

pytestmark = pytest.mark.timeout(180)
FAN = (Path(__file__).parent.parent / "pipelines" / "kubeflow" / "fan.yaml").read_text("utf-8")
ENOUGH = 4
"""So many steps have to be done before the house is killed."""


def shown(house, run):
    return {step["key"]: step for step in house.get(f"/v1/runs/{run}/steps?limit=1000")[1]["items"]}


def over(house, run):
    begun = time.monotonic()
    while (now := house.get(f"/v1/runs/{run}")[1])["status"] not in ("succeeded", "failed"):
        assert time.monotonic() - begun < 90, now
        time.sleep(0.1)
    return now


def carrying(run):
    """The living processes that carry the run's mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HEARTH_RUN") == run and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def squares(steps, *states):
    return {key: step["outputs"] for key, step in steps.items() if key.endswith(".square") and step["status"] in states}


def test_kill_9_during_a_run_loses_no_step_that_was_shown_and_a_rerun_takes_over_what_was_done(tmp_path, kfp_python):
    with RunningHouse(tmp_path / "home", HEARTH_WORKFLOW_PYTHON=kfp_python) as house:
        house.make_user()
        assert house.post("/v1/pipelines", {"name": "fan", "engine": "kubeflow", "definition": FAN})[0] == 201
        run = house.post("/v1/runs", {"pipeline": "fan"})[1]["id"]
        seen, begun = {}, time.monotonic()
        while len(squares(seen, "succeeded")) < ENOUGH:
            assert time.monotonic() - begun < 90, seen
            seen = shown(house, run)
        house.kill()
        house.start()
        ended, kept = over(house, run), shown(house, run)
        assert (ended["status"], ended["reason"]) == ("failed", "It was interrupted: Hearth stopped while it ran.")
        assert carrying(run) == [], "nothing of it runs on by itself"
        done = squares(seen, "succeeded")
        assert seen.keys() <= kept.keys()
        assert done.items() <= squares(kept, "succeeded").items()
        assert {step["status"] for step in kept.values()} <= {"succeeded", "failed"}
        for key in done:
            assert "executor_output" in house.get(f"/v1/runs/{run}/log?step={key}")[1]["text"]
        with sqlite3.connect(house.home / "hearth.db") as connection:
            rows = connection.execute("SELECT type, data FROM outbox WHERE aggregate_id = ?", (run,)).fetchall()
        told = {(kind, json.loads(data).get("step"), json.loads(data).get("status", "")) for kind, data in rows}
        assert {("StepStarted", key, "") for key in seen} <= told
        assert {("StepCompleted", key, "succeeded") for key in done} <= told
        assert ("PipelineRunCompleted", None, "failed") in told

        again = house.post(f"/v1/runs/{run}/rerun", {})[1]["id"]
        assert over(house, again)["status"] == "succeeded"
        assert done.items() <= squares(shown(house, again), "cached").items()
        assert squares(shown(house, again), "succeeded"), "the rest is done now"
