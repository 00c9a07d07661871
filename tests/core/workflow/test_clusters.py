"""Runs on clusters: their words become ours, nothing is submitted twice or changed on the way, and no fault of the way ends a run."""

import asyncio
import io
import logging
import tarfile
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import yaml
from clusters import NAMESPACE, TOKEN, ArgoCluster, KubeflowCluster, at_once, cut, node, root, slow, task
from echo_house import echo_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipelining import works
from starlette.responses import HTMLResponse, JSONResponse

from core.adapters import engine_argo, engine_kubeflow
from core.adapters.engine_argo import LABEL, ArgoEngine
from core.adapters.engine_kubeflow import KubeflowEngine
from core.adapters.objects_folder import FolderObjectStore
from core.app import open_app
from core.errors import ServiceError, ServiceUnavailable, SettingsError
from core.events import EventType
from core.workflow.model import ArtifactType, Engine, Order, Pipeline, PipelineSpec, Placed, Reach, RunReport, RunStatus, StepReport
from core.workflow.running import INTERRUPTED

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
RUN_ID = "0198c0de-0000-7000-8000-000000000001"
KUBEFLOW = """
pipelineInfo: {name: p}
root:
  dag:
    tasks:
      train: {componentRef: {name: comp-train}, taskInfo: {name: Train it}}
      each: {componentRef: {name: comp-each}}
  inputDefinitions: {parameters: {n: {parameterType: NUMBER_INTEGER}, words: {parameterType: LIST}}}
components:
  comp-train:
    executorLabel: exec
    outputDefinitions:
      artifacts: {model: {artifactType: {schemaTitle: system.Model}}, scores: {artifactType: {schemaTitle: system.Metrics}}}
  comp-each: {dag: {tasks: {inner: {componentRef: {name: comp-inner}}}}}
  comp-inner: {executorLabel: exec}
typo-that-nobody-knows: {kept: [1, 2.5, "3", true, null, 2024-01-02]}
---
platforms: {kubernetes: {deploymentSpec: {executors: {}}}}
"""
ARGO = """
# a comment, and a date that is text to Argo
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: fixed, generateName: mine-, labels: {team: a}, annotations: {note: "2024-01-02"}}
spec:
  entrypoint: main
  arguments: {parameters: [{name: n, value: "1", description: how many}, {name: other, value: kept}]}
  templates: [{name: main, scriptt: {nobody: knows}, retryStrategy: {limit: 3}}]
"""


def clock():
    return NOW


def spec(_definition):
    return PipelineSpec()


def argo_on(cluster, **given):
    return ArgoEngine(
        f"https://argo.test:2746#{NAMESPACE}",
        TOKEN,
        spec,
        clock,
        **({"log_bytes": 200, "folder_bytes": 1000, "sleep": at_once, "transport": cluster.transport} | given),
    )


def kubeflow_on(cluster, **given):
    return KubeflowEngine("https://kubeflow.test/pipeline", TOKEN, spec, clock, **({"sleep": at_once, "transport": cluster.transport} | given))


KINDS = {
    "argo": (ArgoCluster, argo_on, ARGO, lambda state: (state, {}), engine_argo.PHASES, {"good": "Succeeded", "bad": "Failed", "going": "Running"}),
    "kubeflow": (
        KubeflowCluster,
        kubeflow_on,
        KUBEFLOW,
        lambda state: (state, []),
        engine_kubeflow.STATES,
        {"good": "SUCCEEDED", "bad": "FAILED", "going": "RUNNING"},
    ),
}


class Side:
    """A cluster and the engine over it."""

    def __init__(self, kind, folder):
        of, on, self.definition, self.look, self.states, self.words = KINDS[kind]
        self.kind, self.cluster, self.folder = kind, of(), folder
        self._on = on
        self.engine = on(self.cluster)

    def again(self, **given):
        """Another process's engine."""
        self.engine = self._on(self.cluster, **given)

    def play(self, *words):
        self.cluster.course = [self.look(self.words.get(word, word)) for word in words]

    def order(self, external_id="", **parameters):
        self.folder.mkdir(exist_ok=True)
        return Order(RUN_ID, Pipeline("p@1", "p", 1, Engine.ARGO, self.definition, "ada", NOW), parameters, self.folder, external_id)

    async def told(self, order=None):
        return [report async for report in self.engine.run(order or self.order())]

    async def steps(self):
        return [report for report in await self.told() if isinstance(report, StepReport)]


@pytest.fixture(params=list(KINDS))
async def side(request, tmp_path):
    made = Side(request.param, tmp_path / "run")
    yield made
    await made.engine.close()
    assert made.cluster.problems == []


@pytest.fixture
async def argo(tmp_path):
    made = Side("argo", tmp_path / "run")
    yield made
    await made.engine.close()
    assert made.cluster.problems == []


@pytest.fixture
async def kubeflow(tmp_path):
    made = Side("kubeflow", tmp_path / "run")
    yield made
    await made.engine.close()
    assert made.cluster.problems == []


def test_the_tables_of_states_have_every_state_that_is_published():
    if KubeflowCluster.published is None:
        pytest.skip("shared/data is not beside the repository")
    published = set(KubeflowCluster.published.document["definitions"]["v2beta1RuntimeState"]["enum"])
    assert set(engine_kubeflow.STATES) == set(engine_kubeflow.TASK_STATES) == published | {""}
    told = ArgoCluster.published.document["definitions"]["io.argoproj.workflow.v1alpha1.WorkflowStatus"]["properties"]["phase"]["description"]
    assert all(f'"{phase}"' in told for phase in engine_argo.PHASES)


@pytest.mark.parametrize(("kind", "state"), [(kind, state) for kind in KINDS for state in KINDS[kind][4]])
async def test_every_state_of_a_run_becomes_ours_and_what_is_over_is_never_looked_at_again(kind, state, tmp_path):
    side = Side(kind, tmp_path / "run")
    side.play(state, "bad")
    last = (await side.told())[-1]
    assert last.succeeded == (side.states[state] is RunStatus.SUCCEEDED)
    assert bool(last.reason) == (not last.succeeded)
    assert side.cluster.count("look") == (1 if side.states[state].over else 2)


async def test_a_state_that_nobody_knows_stays_running_and_is_logged_once(side, caplog):
    side.play("Flying", "Flying", "Flying", "good")
    with caplog.at_level(logging.WARNING):
        assert (await side.told())[-1] == RunReport(True)
    assert [r.getMessage() for r in caplog.records if "Flying" in r.getMessage()] == [f"{side.engine.adapter} has a state that Hearth doesn't know: 'Flying'"]
    side.cluster.problems.clear()  # the published description knows it no more than we do


@pytest.mark.parametrize(("state", "ours"), engine_kubeflow.TASK_STATES.items())
async def test_every_state_of_a_kubeflow_task_becomes_ours(kubeflow, state, ours):
    kubeflow.cluster.course = [("RUNNING", [task("Train it", state)]), ("SUCCEEDED", [])]
    reports = await kubeflow.steps()
    assert [r.status for r in reports][-1:] == ([ours] if ours else [])
    assert all(r.task == "train" and r.name == "Train it" for r in reports)


@pytest.mark.parametrize(("phase", "ours"), engine_argo.NODE_PHASES.items())
async def test_every_phase_of_an_argo_node_becomes_ours(argo, phase, ours):
    argo.cluster.course = [("Running", root("Running") | node("train", phase)), ("Succeeded", {})]
    assert [r.status for r in await argo.steps()][-1:] == ([ours] if ours else [])


async def test_an_argo_definition_is_submitted_unchanged_but_for_name_label_and_arguments(argo):
    argo.play("good")
    await argo.told(argo.order(n=7, words=["a", "ü"], flag=True, unset=None))
    (sent,) = [body["workflow"] for kind, body in argo.cluster.asked if kind == "submit"]
    written = yaml.safe_load(argo.definition)
    assert sent["metadata"] == {"generateName": "p-", "labels": {"team": "a", LABEL: RUN_ID}, "annotations": {"note": "2024-01-02"}}
    assert sent["spec"]["arguments"]["parameters"] == [
        {"name": "n", "value": "7", "description": "how many"},
        {"name": "other", "value": "kept"},
        {"name": "words", "value": '["a", "ü"]'},
        {"name": "flag", "value": "true"},
    ]
    for whole in (sent, written):
        del whole["metadata"], whole["spec"]["arguments"]
    assert sent == written
    argo.cluster.problems.clear()  # the published description has no `scriptt`, and limits are texts or numbers there


async def test_a_kubeflow_definition_is_submitted_unchanged_with_its_parameters_beside_it(kubeflow, tmp_path):
    kubeflow.play("good")
    kubeflow.again(objects=FolderObjectStore("", home=tmp_path))
    await kubeflow.told(kubeflow.order(n=7, words=["a"], unset=None))
    (sent,) = [body for kind, body in kubeflow.cluster.asked if kind == "submit"]
    pipeline, platform = yaml.safe_load_all(kubeflow.definition)
    pipeline["typo-that-nobody-knows"]["kept"][-1] = "2024-01-02"
    assert sent == {
        "display_name": f"hearth-{RUN_ID}",
        "pipeline_spec": {"pipeline_spec": pipeline, "platform_spec": platform},
        "runtime_config": {"parameters": {"n": 7, "words": ["a"]}, "pipeline_root": f"s3://hearth/runs/{RUN_ID}"},
    }


@pytest.mark.parametrize("cache", [True, False])
def test_a_run_without_the_cache_takes_the_leave_to_use_it_from_every_task_and_changes_nothing_else(tmp_path, cache):
    text = (Path(__file__).parent.parent.parent / "pipelines" / "kubeflow" / "flow.yaml").read_text("utf-8")
    order = Order(RUN_ID, Pipeline("flow@1", "flow", 1, Engine.KUBEFLOW, text, "ada", NOW), {}, tmp_path, cache=cache)
    sent = engine_kubeflow.body_of(order, "")["pipeline_spec"]
    assert ("cachingOptions" in str(sent)) is cache
    plain = yaml.safe_load(text)
    for whole in (sent, plain):
        for part in (whole["root"], *whole["components"].values()):
            for one in part.get("dag", {"tasks": {}})["tasks"].values():
                one.pop("cachingOptions", None)
    assert sent == plain


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422])
async def test_a_run_that_the_cluster_refuses_has_failed_with_a_sentence_without_the_token(side, status):
    side.cluster.faults["submit"] = [status]
    (report,) = await side.told()
    assert not report.succeeded
    assert report.reason.startswith(side.engine.adapter)
    assert TOKEN not in report.reason
    assert side.cluster.count("submit") == 1


async def test_a_wrong_token_is_refused_without_being_told(side):
    side.cluster.token = "another"
    (report,) = await side.told()
    assert "token" in report.reason
    assert TOKEN not in report.reason
    with pytest.raises(ServiceError) as error:
        await side.engine.check()
    assert TOKEN not in str(error.value)


async def test_what_json_cannot_hold_is_refused_before_it_is_sent(side):
    side.definition = "{1.5: x, ? [a] : y}" if side.kind == "kubeflow" else "{spec: {true: x, 1: y}, .inf: 2}"
    (report,) = await side.told()
    assert not report.succeeded
    assert side.cluster.count("submit") == 0


async def test_a_cluster_that_is_away_when_a_run_is_placed_is_asked_again_and_nothing_is_submitted_twice(side):
    side.play("good")
    side.cluster.faults["submit"] = [slow, 503, 502, None]
    reports = await side.told()
    assert [type(report) for report in reports] == [Reach, Placed, Reach, RunReport]
    assert reports[0].unreachable_since == NOW
    assert reports[2] == Reach(None)
    assert len(side.cluster.runs) == 1


async def test_a_submission_whose_answer_is_lost_is_found_again(side):
    side.play("good")
    real = side.cluster.submit

    async def lost(request):
        real(request, side.cluster.asked[-1][1])
        raise httpx.ReadTimeout("the answer is lost")

    side.cluster.faults["submit"] = [lost]
    assert (await side.told())[-1] == RunReport(True)
    assert len(side.cluster.runs) == side.cluster.count("submit") == 1


async def test_a_cluster_that_meets_an_error_with_every_submission_ends_the_run_at_the_third(side):
    side.cluster.faults["submit"] = [500] * 9
    reports = await side.told()
    assert isinstance(reports[-1], RunReport)
    assert not reports[-1].succeeded
    assert side.cluster.count("submit") == 3


@pytest.mark.parametrize("fault", [slow, 401, 403, 500, 503, 429])
async def test_no_fault_of_a_look_ends_a_run_and_it_is_told_since_when_and_until(side, fault):
    side.play("going", "good")
    side.cluster.faults["look"] = [None, *[fault] * 7]
    reports = await side.told()
    assert [type(report) for report in reports] == [Placed, Reach, Reach, RunReport]
    assert (reports[1].unreachable_since, reports[2].unreachable_since, reports[3]) == (NOW, None, RunReport(True))


async def test_an_answer_that_is_no_cluster_s_is_a_fault_of_the_way(side):
    async def sign_in_page(_request):
        return HTMLResponse("<html>Sign in</html>")

    side.play("good")
    side.cluster.faults["look"] = [sign_in_page]
    assert [type(report) for report in await side.told()] == [Placed, Reach, Reach, RunReport]


async def test_a_run_that_was_deleted_there_has_failed_when_the_cluster_has_said_so_three_times(side):
    side.play("going")
    side.cluster.faults["look"] = [None, 404, None, 404, 404, 404]
    reports = await side.told()
    assert reports[-1] == RunReport(False, f"{side.engine.adapter} doesn't know the run any more: it was deleted there.")
    assert side.cluster.count("look") == 6


async def test_a_look_that_comes_too_late_takes_nothing_back(argo):
    early, late = root("Running") | node("a", "Running"), root("Running") | node("a", "Succeeded") | node("b", "Running", n=2)
    argo.cluster.course = [("Running", late), ("Running", early), ("Running", {}), ("Running", late), ("Succeeded", late | node("b", "Succeeded", n=2))]
    assert [(r.key, r.status.value) for r in await argo.steps()] == [("a", "running"), ("a", "succeeded"), ("b", "running"), ("b", "succeeded")]


async def test_a_restart_follows_by_the_external_id_and_without_it_finds_the_run(side):
    side.play("going", "good")
    async with aclosing(side.engine.run(side.order())) as reports:
        placed = await anext(reports)
    side.again()
    assert (await side.told())[0] == placed, "it died before it kept what the run is called"
    side.again()
    assert await side.told(side.order(placed.external_id)) == [Reach(None), RunReport(True)]
    assert len(side.cluster.runs) == side.cluster.count("submit") == 1


async def test_stop_ends_a_run_that_is_being_submitted_at_that_moment(side):
    side.play("going")
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def held(request):
        inside.set()
        await go_on.wait()
        return JSONResponse(side.cluster.submit(request, side.cluster.asked[-1][1]))

    side.cluster.faults["submit"] = [held]
    following = asyncio.create_task(side.told())
    await inside.wait()
    stopping = asyncio.create_task(side.engine.stop(side.order()))
    await asyncio.sleep(0)
    following.cancel()
    go_on.set()
    await stopping
    assert side.cluster.ended == list(side.cluster.runs) != []


async def test_stop_tells_when_the_cluster_can_t_be_asked_and_a_run_that_is_gone_needs_none(side):
    side.play("going")
    side.cluster.faults["end"] = [503]
    async with aclosing(side.engine.run(side.order())) as reports:
        placed = await anext(reports)
        with pytest.raises(ServiceUnavailable):
            await side.engine.stop(side.order(placed.external_id))
    side.cluster.faults["end"] = [404]
    await side.engine.stop(side.order(placed.external_id))


async def test_the_attempts_of_an_argo_step_are_one_step_with_a_log_for_each(argo):
    retry = {"kind": "Retry", "children": ["$NAME-train(0)", "$NAME-train(1)"]}
    first = node("train(0)", "Failed", message="Error (exit code 1)")
    going = root("Running") | node("train", "Running", **retry) | first | node("train(1)", "Running", n=2)
    over = (
        root("Succeeded")
        | node("train", "Succeeded", **retry, outputs={"parameters": [{"name": "rows", "value": "3"}]})
        | first
        | node("train(1)", "Succeeded", n=2)
    )
    argo.cluster.course = [("Running", going), ("Succeeded", over)]
    argo.cluster.logs = {"p-00000-work-train(0)": ["oh"], "p-00000-work-train(1)": ["fine"]}
    reports = await argo.steps()
    assert [(r.key, r.attempt, r.status.value, r.error, bool(r.log)) for r in reports] == [
        ("train", 1, "running", "", False),
        ("train", 1, "running", "Error (exit code 1)", True),
        ("train", 2, "running", "Error (exit code 1)", False),
        ("train", 2, "succeeded", "", True),
    ]
    assert [(argo.folder / r.log).read_text() for r in reports if r.log] == ["oh\n", "fine\n"]
    assert reports[-1].outputs == {"rows": "3"}


async def test_parts_of_argo_tasks_are_keyed_by_the_tasks_around_them_and_loops_by_their_items(argo):
    nodes = (
        root("Running")
        | node("outer", "Succeeded", kind="DAG")
        | node("[0]", "Succeeded", kind="StepGroup")
        | node("loop", "Succeeded", kind="TaskGroup", around="$NAME-outer")
        | node("loop(0:a.b)", "Succeeded", around="$NAME-outer", n=2)
        | node("loop(1:c)", "Succeeded", around="$NAME-outer", n=3)
    )
    argo.cluster.course = [("Succeeded", nodes)]
    ends = [(r.key, r.name, r.task, r.parent) for r in await argo.steps() if r.status.over]
    assert ends == [
        ("outer", "outer", "outer", ""),
        ("outer.loop(0:a.b)", "loop(0:a.b)", "outer.loop", "outer"),
        ("outer.loop(1:c)", "loop(1:c)", "outer.loop", "outer"),
    ]


def packed(name, content):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        told = tarfile.TarInfo(name)
        told.size = len(content)
        archive.addfile(told, io.BytesIO(content))
    return file.getvalue()


async def test_the_artifacts_of_an_argo_step_are_fetched_unpacked_and_never_outside_of_the_folder(argo):
    names = ("metrics.json", "plain", "big", "gone", "../../escape")
    argo.cluster.course = [("Succeeded", root("Succeeded") | node("a", "Succeeded", outputs={"artifacts": [{"name": name} for name in names]}))]
    inside = packed("../../etc/metrics.json", b'{"recall": 1}')
    argo.cluster.artifacts = {("p-00000-a", "metrics.json"): inside, ("p-00000-a", "plain"): b"as it is", ("p-00000-a", "big"): b"x" * 1001}
    end = (await argo.steps())[-1]
    assert [(f.name, f.type, (argo.folder / f.path).read_bytes()) for f in end.artifacts] == [
        ("metrics.json", ArtifactType.METRICS, b'{"recall": 1}'),
        ("plain", ArtifactType.DATASET, b"as it is"),
    ]
    assert all(path.is_relative_to(argo.folder) for path in argo.folder.parent.rglob("*") if path.is_file())


async def test_a_log_is_kept_up_to_its_limit_and_one_that_breaks_off_says_so(argo):
    argo.cluster.course = [("Succeeded", root("Succeeded") | node("long", "Succeeded") | node("torn", "Succeeded", n=2) | node("none", "Succeeded", n=3))]
    argo.cluster.logs = {"p-00000-work-long": ["x" * 99] * 5, "p-00000-work-torn": cut(["one", "two"])}
    logs = {r.key: (argo.folder / r.log).read_text() if r.log else None for r in await argo.steps() if r.status.over}
    assert logs == {
        "long": ("x" * 99 + "\n") * 2 + "\n[The rest is left out: Hearth keeps no more of it.]\n",
        "torn": "one\ntwo\n\n[It broke off here.]\n",
        "none": None,
    }


async def test_a_log_whose_pod_is_gone_is_taken_from_the_archive(argo):
    argo.cluster.course = [("Succeeded", root("Succeeded") | node("a", "Succeeded", outputs={"artifacts": [{"name": "main-logs"}]}))]
    argo.cluster.artifacts = {("p-00000-a", "main-logs"): b"kept"}
    end = (await argo.steps())[-1]
    assert (argo.folder / end.log).read_bytes() == b"kept"
    assert end.artifacts == ()


async def test_the_key_that_a_run_was_lent_is_not_kept_with_its_steps(argo):
    inputs = {"parameters": [{"name": "n", "value": "1"}, {"name": "k", "value": "secret-key"}]}
    argo.cluster.course = [("Succeeded", root("Succeeded") | node("a", "Succeeded", inputs=inputs, outputs=inputs))]
    reports = await argo.told(argo.order(hearth_key="secret-key"))
    assert [(r.inputs, r.outputs) for r in reports if isinstance(r, StepReport) and r.status.over] == [({"n": "1"}, {"n": "1"})]


async def test_what_kubeflow_starts_around_tasks_is_no_step_and_a_loop_s_tasks_are_told_apart(kubeflow):
    around = [task("root", "SUCCEEDED"), task("root-driver", "SUCCEEDED"), task("executor", "SUCCEEDED"), task("", "SUCCEEDED")]
    inner = [task("inner", "SUCCEEDED", n=n, parent_task_id="id-each-1") for n in (2, 3)]
    retried = task("train", "FAILED", n=4, executor_detail={"failed_main_jobs": ["one", "two"]}, error={"code": 2, "message": "out of memory"})
    kubeflow.cluster.course = [("FAILED", [*around, task("each", "SUCCEEDED"), *inner, retried])]
    reports = await kubeflow.told()
    ends = [(r.key, r.task, r.parent, r.attempt, r.error) for r in reports if isinstance(r, StepReport) and r.status.over]
    assert ends == [
        ("id-each-1", "each", "", 1, ""),
        ("id-inner-2", "each.inner", "id-each-1", 1, ""),
        ("id-inner-3", "each.inner", "id-each-1", 1, ""),
        ("id-train-4", "train", "", 3, "out of memory"),
    ]
    assert reports[-1] == RunReport(False, "The step 'Train it' failed: out of memory")


async def test_kubeflow_s_artifacts_are_found_in_the_object_store_by_the_folder_of_the_run(kubeflow, tmp_path):
    async with FolderObjectStore("", home=tmp_path) as objects:
        kubeflow.again(objects=objects)
        for path in (
            "p/kfp-0/train/5f/model/weights.bin",
            "p/kfp-0/train/5f/scores",
            "p/kfp-0/train/5f/executor-logs",
            "p/kfp-0/train/5f/other",
            "p/kfp-0/x/5f/model",
        ):
            await objects.put(f"runs/{RUN_ID}/{path}", b"four")
        await objects.put(f"runs/{RUN_ID}0/p/kfp-0/train/5f/model", b"another run's")
        kubeflow.cluster.course = [("SUCCEEDED", [task("train", "SUCCEEDED")])]
        end = (await kubeflow.steps())[-1]
    assert {(f.name, f.type.value, f.uri) for f in end.artifacts} == {
        ("model-weights.bin", "model", f"s3://hearth/runs/{RUN_ID}/p/kfp-0/train/5f/model/weights.bin"),
        ("scores", "metrics", f"s3://hearth/runs/{RUN_ID}/p/kfp-0/train/5f/scores"),
        ("executor-logs", "logs", f"s3://hearth/runs/{RUN_ID}/p/kfp-0/train/5f/executor-logs"),
    }


async def test_two_hundred_pods_side_by_side_are_two_hundred_steps(argo):
    pods = {}
    for n in range(200):
        pods |= node(f"each({n}:{n})", "Succeeded")
    argo.cluster.course = [("Running", root("Running") | node("each", "Running", kind="TaskGroup")), ("Succeeded", root("Succeeded") | pods)]
    argo.cluster.logs = {f"p-00000-work-each({n}:{n})": [str(n)] for n in range(200)}
    ends = [r for r in await argo.steps() if r.status.over]
    assert len({r.key for r in ends}) == len({r.log for r in ends}) == len(ends) == 200
    assert {r.task for r in ends} == {"each"}


@pytest.mark.parametrize(
    ("url", "told"),
    [("ftp://x#lab", "no address"), ("https://", "no address"), ("https://ada:secret@x#lab", "a name or a password"), ("https://x", "no namespace")],
)
def test_an_address_that_can_t_be_used_is_refused_when_the_house_opens(url, told):
    with pytest.raises(SettingsError) as error:
        ArgoEngine(url, TOKEN, spec, clock, log_bytes=1, folder_bytes=1)
    assert told in str(error.value)
    assert "secret" not in str(error.value)


async def test_clusters_are_parts_of_the_house_whose_health_is_told(tmp_path, echo_server):
    nobody = {"kubeflow_url": "http://127.0.0.1:9", "argo_url": "http://127.0.0.1:9#lab", "argo_token": TOKEN}
    async with open_app(echo_settings(tmp_path, **nobody), local=echo_server) as app:
        found = {health.part: health for health in await app.check()}
    assert {name: (found[name].ready, found[name].adapter) for name in ("kubeflow", "argo")} == {
        "kubeflow": (False, "Kubeflow Pipelines"),
        "argo": (False, "Argo Workflows"),
    }
    assert found["argo"].detail == "The cluster Argo Workflows can't be reached. Check HEARTH_ARGO_URL, and whether it runs."


@asynccontextmanager
async def house(home, side):
    """The room of pipelines over a cluster."""
    side.again()
    async with works(home, engine=side.engine, at_once=4) as here:
        yield here
    await side.engine.close()


async def test_a_run_on_a_cluster_survives_the_house_and_its_steps_are_told_once(argo, tmp_path):
    going = root("Running") | node("a", "Succeeded") | node("b", "Running", n=2)
    argo.cluster.logs = {"p-00000-work-a": ["read"]}
    argo.cluster.course = [("Running", going)]
    async with house(tmp_path, argo) as here:
        run = await here.start(argo.definition, name="p")
        await here.step(run, "b")
    argo.cluster.course = [("Succeeded", going | node("b", "Succeeded", n=2))]
    async with house(tmp_path, argo) as here:
        ended = await here.ended(run)
        assert (ended.status, ended.external_id, ended.reason) == (RunStatus.SUCCEEDED, "p-00000", "")
        told = await here.told(run)
        assert (told.count(EventType.STEP_STARTED), told.count(EventType.STEP_COMPLETED), told[-1]) == (2, 2, EventType.PIPELINE_RUN_COMPLETED)
        assert [(a.name, await here.objects.get(a.uri)) for a in ended.artifacts] == [("log-1.txt", b"read\n")]
    assert argo.cluster.count("submit") == 1


async def test_a_run_that_is_terminated_is_ended_on_the_cluster_too(side, tmp_path):
    side.play("going")
    async with house(tmp_path, side) as here:
        run = await here.start(side.definition, name="p")
        while not side.cluster.count("look"):
            await asyncio.sleep(0.01)
        ended = await here.room.terminate(here.ada, run.id)
        assert (ended.status, ended.reason) == (RunStatus.FAILED, "It was cancelled by ada.")
    assert side.cluster.ended == list(side.cluster.runs)


async def test_a_run_that_is_terminated_in_any_moment_of_its_beginning_is_over_and_nothing_of_it_goes_on(argo, tmp_path):
    argo.cluster.course = [("Running", root("Running") | node("a", "Running"))]
    async with house(tmp_path, argo) as here:
        for turns in range(0, 400, 16):
            run = await here.start(argo.definition, name="p")
            for _ in range(turns):
                await asyncio.sleep(0)
            await here.room.terminate(here.ada, run.id)
            ended, told = await here.ended(run, within_s=5), await here.told(run)
            assert (ended.status, ended.reason) == (RunStatus.FAILED, "It was cancelled by ada.")
            assert told.count(EventType.PIPELINE_RUN_COMPLETED) == 1
            assert told.count(EventType.STEP_STARTED) == told.count(EventType.STEP_COMPLETED)
    assert argo.cluster.ended == list(argo.cluster.runs)


async def test_a_run_that_takes_too_long_is_ended_on_the_cluster_too(side, tmp_path):
    side.play("going")
    async with works(tmp_path, engine=side.engine, wall_s=0.3) as here:
        ended = await here.ended(await here.start(side.definition, name="p"))
        assert ended.reason.startswith("It took longer than")
    assert side.cluster.ended == list(side.cluster.runs) != []


MOVES = st.lists(st.sampled_from(["look", "look", "terminate", "restart", "away"]), max_size=6)
NODES = st.sampled_from(list(engine_argo.NODE_PHASES))
LOOKS = st.lists(st.tuples(st.sampled_from([*engine_argo.PHASES, "Flying"]), NODES, NODES), min_size=1, max_size=6)


@given(looks=LOOKS, moves=MOVES, last=st.sampled_from(["Succeeded", "Failed", "Error"]))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_sequence_of_looks_cancels_and_restarts_breaks_the_rule_of_the_status(tmp_path_factory, looks, moves, last):
    home = tmp_path_factory.mktemp("house")
    side = Side("argo", home / "unused")
    side.cluster.course = [(phase, root("Running") | node("a", a) | node("b", b, n=2)) for phase, a, b in looks] + [(last, {})]
    statuses, run = [], None
    for opening in "".join("|" if move == "restart" else move[0] for move in moves).split("|"):
        async with house(home, side) as here:
            run = run or await here.start(side.definition, name="p")
            for move in opening:
                if move == "a":
                    side.cluster.faults["look"] = [503, slow]
                if move == "t":
                    await here.room.terminate(here.ada, run.id)
                await asyncio.sleep(0.01)
                statuses.append((await here.room.run(here.ada, run.id)).status)
    async with house(home, side) as here:
        ended = await here.ended(run)
        told = await here.told(run)
        steps = (await here.room.steps(here.ada, run.id)).items
    statuses.append(ended.status)
    order = [RunStatus.PENDING, RunStatus.RUNNING, ended.status]
    assert [order.index(status) for status in statuses] == sorted(order.index(status) for status in statuses)
    assert ended.status.over
    assert ended.reason != INTERRUPTED
    assert told.count(EventType.PIPELINE_RUN_COMPLETED) == 1
    assert told[-1] is EventType.PIPELINE_RUN_COMPLETED
    assert told.count(EventType.STEP_STARTED) == told.count(EventType.STEP_COMPLETED)
    assert all(step.status.over for step in steps)
    assert len(side.cluster.runs) <= 1
    assert side.cluster.problems == []
