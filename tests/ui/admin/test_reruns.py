"""What the console says of reruns: what still fits a newer version, and steps that took over what was there."""

from contextlib import nullcontext
from dataclasses import replace

import pytest
from pipelining import scripted
from seeded_runs import BEGUN, SPEC
from seen import said

from core.ids import new_id
from core.workflow.model import Cause, Engine, Parameter, ParameterType, PipelineRun, RunStatus, Step, StepStatus
from core.workflow.shelf import RunFilter

NEWER = replace(SPEC, parameters=(Parameter("count", ParameterType.INTEGER, 9), Parameter("epochs", ParameterType.INTEGER, 3)))


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    """Both languages are scripts here; a definition with a mark at its end takes other parameters."""
    made = scripted(SPEC)
    made._validate = lambda text: NEWER if text.endswith("#") else SPEC
    monkeypatch.setattr("core.app._engines", lambda *_: nullcontext({Engine.ARGO: made, Engine.KUBEFLOW: made}))
    monkeypatch.setattr("core.workflow.shipped.SHIPPED", ())


def kept(console, *, cached_from=""):
    """A run that is over, of the first of two versions."""
    room = console.app.pipelines
    for text in ("tell()", "tell()#"):
        console.call(room.define, console.ada, "embed-again", Engine.KUBEFLOW, text)
    run = PipelineRun(new_id(), "embed-again@1", RunStatus.PENDING, None, None, {"epochs": 7, "device": "cuda"}, (), console.ada.id, BEGUN, Cause.CONSOLE)
    console.call(room._workflows.add_run, run, [])
    running = run.to(RunStatus.RUNNING, BEGUN)
    status = StepStatus.CACHED if cached_from else StepStatus.SUCCEEDED
    step = Step(run.id, "load", "load", "load", status, (), BEGUN, BEGUN, {}, {"rows": 5}, cached_from=cached_from)
    console.call(room._workflows.keep, running, steps=[step])
    console.call(room._workflows.keep, running.to(RunStatus.SUCCEEDED, BEGUN))
    return run


def test_a_rerun_of_a_newer_version_is_filled_in_with_what_still_fits_and_says_what_was_left_out(console):
    run, room = kept(console), console.app.pipelines
    page = console.page("pipelines", pipeline="embed-again", version="embed-again@2", rerun=run.id)
    assert "device was left out, cuda: It has no such parameter." in said(page)
    assert page.number_input(key=f"p-embed-again@2-{run.id}-epochs").value == 7
    page.toggle(key=f"cache-embed-again@2-{run.id}").set_value(False).run()
    next(b for b in page.button if b.label == "Start").click().run()
    again = next(r for r in console.call(room.runs, console.ada, RunFilter()).items if r.id != run.id)
    assert (again.pipeline_id, again.parameters, again.rerun_of, again.cause) == ("embed-again@2", {"count": 9, "epochs": 7}, run.id, Cause.RERUN)
    assert again.cache is False


def test_a_rerun_of_the_same_version_leaves_nothing_out(console):
    page = console.page("pipelines", pipeline="embed-again", version="embed-again@1", rerun=kept(console).id)
    assert "was left out" not in said(page)


def test_a_step_that_took_over_what_was_there_says_from_which_run(console):
    before = new_id()
    page = console.page("run", run=kept(console, cached_from=before).id)
    assert "1 cached" in said(page)
    assert f"It did not run: the run {before} had made this from the same already." in said(page)
