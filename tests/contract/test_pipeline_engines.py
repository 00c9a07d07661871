"""What every engine of pipelines keeps to, here and on clusters. A leg is one function that plays a course: what goes well, what fails, what never ends."""

from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from clusters import NAMESPACE, PUBLISHED, TOKEN, ArgoCluster, KubeflowCluster, at_once, node, root, task
from pipelining import scripted

from core.adapters.engine_argo import ArgoEngine
from core.adapters.engine_kubeflow import KubeflowEngine
from core.workflow.model import Engine, Order, Pipeline, PipelineSpec, Placed, RunReport, StepReport, StepStatus

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
COURSES = ("good", "bad", "endless")
KUBEFLOW = """
pipelineInfo: {name: p}
root:
  dag:
    tasks:
      load: {componentRef: {name: comp}}
      train: {componentRef: {name: comp}}
      report: {componentRef: {name: comp}}
components: {comp: {executorLabel: exec}}
"""
ARGO = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {generateName: p-}
spec: {entrypoint: main, templates: [{name: main, script: {image: python, command: [python], source: pass}}]}
"""


def clock():
    return NOW


@dataclass
class Leg:
    """An engine, and what it runs to play the course. cluster: what plays it, None for this machine."""

    engine: Any
    definition: str
    cluster: Any = None


@asynccontextmanager
async def local(course):
    """The child process of this machine; what runs in it is Python."""
    opening = 'tell("load", "running"); (folder / "l.log").write_text("reading"); tell("load", log="l.log"); tell("train", "running")\n'
    last = {
        "good": 'tell("train"); tell("report", "skipped"); tell()',
        "bad": 'tell("train", "failed", error="It broke."); tell("report", "omitted"); tell("", "failed", error="Step train failed.")',
        "endless": "time.sleep(600)",
    }
    yield Leg(scripted(), opening + last[course])


@asynccontextmanager
async def kubeflow(course):
    """Kubeflow Pipelines, played."""
    end, state = {"good": ("SUCCEEDED", "SUCCEEDED"), "bad": ("FAILED", "FAILED"), "endless": ("RUNNING", "RUNNING")}[course]
    done, last = task("load", "SUCCEEDED"), [task("train", end, n=2), *([task("report", "SKIPPED", n=3)] if course == "good" else [])]
    cluster = KubeflowCluster(
        [("PENDING", []), ("RUNNING", [task("root-driver", "RUNNING"), task("load", "RUNNING")]), ("RUNNING", [done]), (state, [done, *last])]
    )
    engine = KubeflowEngine("https://kubeflow.test", TOKEN, lambda _: PipelineSpec(), clock, sleep=at_once, transport=cluster.transport)
    yield Leg(engine, KUBEFLOW, cluster)
    await engine.close()


@asynccontextmanager
async def argo(course):
    """Argo Workflows, played."""
    end, phase = {"good": ("Succeeded", "Succeeded"), "bad": ("Failed", "Failed"), "endless": ("Running", "Running")}[course]
    then = {"good": "Skipped", "bad": "Omitted", "endless": "Pending"}[course]
    first, done = root("Running") | node("load", "Running"), root("Running") | node("load", "Succeeded")
    last = done | node("train", end, n=2) | node("report", then, n=3, kind="Skipped")
    cluster = ArgoCluster([("", {}), ("Running", first), ("Running", done), (phase, last)], logs={"p-00000-work-load": ["reading"]})
    engine = ArgoEngine(
        f"https://argo.test#{NAMESPACE}",
        TOKEN,
        lambda _: PipelineSpec(),
        clock,
        log_bytes=1000,
        folder_bytes=1000,
        sleep=at_once,
        transport=cluster.transport,
    )
    yield Leg(engine, ARGO, cluster)
    await engine.close()


LEGS = [local, kubeflow, argo]


@pytest.fixture(params=LEGS, ids=lambda leg: f"leg=engine-{leg.__name__}")
def play(request):
    """Opens the leg with a course. Whatever a cluster found wrong with what it was sent fails the test."""

    @asynccontextmanager
    async def opened(course):
        async with request.param(course) as leg:
            yield leg
        if leg.cluster is not None:
            assert leg.cluster.problems == []

    return opened


def ordered(leg, folder, run_id="0198c0de-0000-7000-8000-000000000001", external_id=""):
    folder.mkdir(exist_ok=True)
    return Order(run_id, Pipeline("p@1", "p", 1, Engine.ARGO, leg.definition, "ada", NOW), {}, folder, external_id)


async def told(leg, order, until=lambda _report: False):
    """Its reports, to the end or to the first of that kind."""
    reports = []
    async with aclosing(leg.engine.run(order)) as running:
        async for report in running:
            reports.append(report)
            if until(report):
                break
    return reports


def test_the_published_descriptions_of_both_apis_are_there():
    if PUBLISHED is None:
        pytest.skip("shared/data is not beside the repository: the clusters are judged by our own description of their routes alone")
    assert KubeflowCluster.published is not None
    assert ArgoCluster.published is not None


@pytest.mark.parametrize("course", ["good", "bad"])
async def test_reports_come_in_order_and_end_with_one_on_the_run(play, tmp_path, course):
    async with play(course) as leg:
        reports = await told(leg, ordered(leg, tmp_path / "run"))
    assert [isinstance(report, RunReport) for report in reports] == [False] * (len(reports) - 1) + [True]
    steps = [report for report in reports if isinstance(report, StepReport)]
    ends = [(step.task, step.status) for step in steps if step.status.over]
    end, then = (StepStatus.SUCCEEDED, [("report", StepStatus.SKIPPED)]) if course == "good" else (StepStatus.FAILED, [("report", StepStatus.OMITTED)])
    assert ends[:2] == [("load", StepStatus.SUCCEEDED), ("train", end)]
    assert ends[2:] in (then, []), "Kubeflow doesn't tell of what was omitted"
    assert len(ends) == len(set(ends)), "an end is told once"
    begun = [step.key for step in steps if step.status is StepStatus.RUNNING]
    for step in steps:
        if step.status in (StepStatus.SUCCEEDED, StepStatus.FAILED):
            assert step.key in begun
    assert reports[-1].succeeded == (course == "good")
    assert bool(reports[-1].reason) == (course == "bad")
    assert all(step.error for step in steps if step.status is StepStatus.FAILED)


async def test_what_a_report_names_lies_in_the_folder_of_the_run(play, tmp_path):
    async with play("good") as leg:
        order = ordered(leg, tmp_path / "run")
        steps = [report for report in await told(leg, order) if isinstance(report, StepReport)]
    for path in [step.log for step in steps if step.log] + [file.path for step in steps for file in step.artifacts if file.path]:
        assert (order.folder / path).resolve().is_relative_to(order.folder.resolve())
        assert (order.folder / path).read_text().strip() == "reading"
    assert leg.engine.adapter == "Kubeflow Pipelines" or any(step.log for step in steps), "Kubeflow has no route for logs"


async def test_a_run_that_is_stopped_is_over_without_success(play, tmp_path):
    async with play("endless") as leg:
        order, reports = ordered(leg, tmp_path / "run"), []
        async with aclosing(leg.engine.run(order)) as running:
            async for report in running:
                reports.append(report)
                if isinstance(report, StepReport) and report.task == "train":
                    placed = next((one.external_id for one in reports if isinstance(one, Placed)), "")
                    await leg.engine.stop(ordered(leg, tmp_path / "run", external_id=placed))
    assert isinstance(reports[-1], RunReport)
    assert not reports[-1].succeeded


async def test_a_run_on_a_cluster_goes_on_when_nobody_follows_it_and_is_taken_up_again(play, tmp_path):
    async with play("good") as leg:
        if not leg.engine.survives:
            assert not leg.cluster, "of an engine that ends with Hearth tests/core/workflow/test_running.py tells"
            return
        reports = await told(leg, ordered(leg, tmp_path / "run"), lambda report: isinstance(report, StepReport))
        (placed,) = [report for report in reports if isinstance(report, Placed)]
        assert placed.url.startswith("https://")
        assert leg.cluster.ended == []
        rest = await told(leg, ordered(leg, tmp_path / "run", external_id=placed.external_id))
        assert rest[-1] == RunReport(True)
        assert leg.cluster.count("submit") == 1


async def test_to_check_a_definition_or_the_engine_runs_nothing(play, tmp_path):
    async with play("good") as leg:
        await leg.engine.check()
        if leg.cluster is not None:
            leg.cluster.asked.clear()
        assert isinstance(leg.engine.validate(leg.definition), PipelineSpec)
        assert leg.cluster is None or not leg.cluster.asked
    assert list(tmp_path.iterdir()) == []
