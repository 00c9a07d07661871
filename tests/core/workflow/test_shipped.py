import asyncio
import json
import math
import socket
import subprocess
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import pytest
import uvicorn
import yaml
from echo_house import echo_settings, taken_in
from pipelining import scripted
from shipping import StepFailed, ran

import core.app
from core.adapters.database_sql import SqliteDatabase
from core.adapters.engine_kubeflow import KubeflowEngine
from core.adapters.engine_local import LocalEngine
from core.adapters.records_sql import Records
from core.app import now, open_app
from core.errors import BadInput, NotFound
from core.rag.model import RAGQuery
from core.users.model import Admin
from core.workflow import kubeflow
from core.workflow.argo import local_spec
from core.workflow.evaluation import Setting, combined
from core.workflow.inputs import InputFile
from core.workflow.kubeflow import cluster_spec
from core.workflow.model import Cause, Engine, Parameter, PipelineSpec, RunStatus, TriggerKind
from core.workflow.shelf import RunFilter
from core.workflow.shipped import SHIPPED, TWIN, define_shipped, definition
from ui.server import LatePage, web

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parent.parent.parent.parent
TEXTS = {
    "backups.md": "# Backups\n\nBackups run every night at 02:30 and are kept for 35 days.",
    "coffee.md": "# Coffee\n\nThe coffee machine is descaled on Fridays.",
    "lasers.md": "# Lasers\n\nGoggles are worn beside the laser bench.",
}


@asynccontextmanager
async def served(app, port=0):
    """The house on a loopback port, in this loop: its rooms live here."""
    server = uvicorn.Server(uvicorn.Config(web(app, LatePage(wanted=False)), port=port, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def house(app):
    """(app, Ada, what the house lends to a run)."""
    _, secret = await app.users.make_key(await app.users.add("ada", None, admin=True))
    who = await app.users.by_key(secret)
    async with served(app) as url:
        yield app, who, {"hearth_url": url, "hearth_key": secret}


async def golden(app, who, set_name="tiny", by=None):
    """Three documents, and a question about each; the last one's right passage is another document's, so that its place is known to be worse."""
    for name, text in TEXTS.items():
        _, job = await taken_in(app, who, name, text)
        assert job.stage.value == "ready"
    ids = {}
    for document in (await app.library.documents(who.user, "lab")).items:
        ids[document.name] = (await app.library.chunks(who.user, document.id)).items[0].id
    asked = {"When do backups run every night?": "backups.md", "When is the coffee machine descaled?": "coffee.md", "Who wears goggles?": "backups.md"}
    for question, name in asked.items():
        await app.console.lab.keep(Admin((by or who).user), set_name, who.user.username, question, ["lab"], [ids[name]])
    return {question: ids[name] for question, name in asked.items()}


async def by_hand(app, who, asked, **depths):
    """The places of the right passages, by the rooms themselves."""
    places = []
    for question, right in asked.items():
        trace = (await app.retrieval.search(who.user, RAGQuery(question, "lab", **depths))).trace
        order = sorted(trace.candidates, key=lambda c: (c.rerank_rank or 10**9, c.fused_rank))
        places.append([c.chunk_id for c in order].index(right) + 1)
    return places


@pytest.mark.parametrize("rerank", [True, False], ids=["reranked", "fused"])
async def test_an_evaluation_gives_the_figures_that_a_calculation_by_hand_gives(house, tmp_path, rerank):
    app, who, lent = house
    asked = await golden(app, who)
    (folder := tmp_path / "run").mkdir()
    made = await ran("evaluate-rag", folder, golden_set="tiny", collection="lab", top_k="1", rerank=str(rerank).lower(), **lent)
    metrics, places = json.loads(made["metrics"]), await by_hand(app, who, asked, top_k=1, rerank=rerank, rerank_top_k=1)
    assert places[:2] == [1, 1]
    assert places[2] > 1
    assert metrics["questions"] == 3
    assert metrics["recall_at_k"] == pytest.approx(2 / 3)
    assert metrics["mrr"] == pytest.approx((2 + 1 / places[2]) / 3)
    assert metrics["ndcg_at_10"] == pytest.approx((2 + 1 / math.log2(1 + places[2])) / 3)
    assert [one["place"] for one in json.loads(made["per-question"])] == places


async def test_another_passage_size_is_measured_on_a_copy_that_is_gone_afterwards(house, tmp_path):
    app, who, lent = house
    await golden(app, who)
    for name, given in (("whole", {"chunk_chars": "200"}), ("broken", {"chunk_chars": "200", "top_k": "9999"})):
        (tmp_path / name).mkdir()
        run = ran("evaluate-rag", tmp_path / name, golden_set="tiny", collection="lab", answers="true" if name == "whole" else "false", **given, **lent)
        if name == "broken":
            with pytest.raises(StepFailed, match="the API answered 4"):
                await run
        else:
            metrics = json.loads((await run)["metrics"])
            assert metrics["questions"] == 3
            assert metrics["recall_at_k"] == 1.0
        assert [c.name for c, _ in (await app.library.collections(who.user)).items] == ["lab"]


async def test_a_collection_is_embedded_anew_and_the_new_version_is_served(house, tmp_path):
    app, who, lent = house
    await golden(app, who)
    for name, swap, least, version in (("kept", "true", "1.1", 1), ("swapped", "true", "0", 3)):
        (tmp_path / name).mkdir()
        made = await ran("re-embed", tmp_path / name, collection="lab", embedding_model="echo-embed", swap=swap, least=least, **lent)
        assert json.loads(made["metrics"])["served"] == int(version > 1)
        assert (await app.library.collection(who.user, "lab")).version == version


async def test_a_sweep_and_a_backup_are_made_by_their_pipelines(house, tmp_path):
    app, _, lent = house
    for name, given in (("retention-sweep", {"dry_run": "true"}), ("retention-sweep", {}), ("backup", {})):
        (folder := tmp_path / f"{name}{len(given)}").mkdir()
        metrics = json.loads((await ran(name, folder, **given, **lent))["metrics"])
        assert metrics
    assert metrics["files"] >= 0
    assert len(await app.console.keeping.backups(Admin(await app.users.named("ada")))) == 1


async def test_a_folder_is_taken_in_and_again_only_what_is_new(tmp_path, echo_server):
    (source := tmp_path / "papers").mkdir()
    for name, text in TEXTS.items():
        (source / name).write_text(text)
    async with open_app(echo_settings(tmp_path / "home", sync_folders=str(tmp_path)), local=echo_server, serving=True) as app:
        _, secret = await app.users.make_key(await app.users.add("ada", None, admin=True))
        async with served(app) as url:
            for n, files in enumerate((3, 1)):
                (folder := tmp_path / f"run{n}").mkdir()
                made = await ran("ingest-folder", folder, folder=str(source), collection="papers", hearth_url=url, hearth_key=secret)
                metrics = json.loads(made["metrics"])
                assert (metrics["files"], metrics["documents"], metrics["failed"]) == (files, 3 + n, 0)
                (source / "new.md").write_text("# New\n\nSomething new.")


async def test_a_failing_step_says_what_the_api_answered(house, tmp_path):
    _, _, lent = house
    (tmp_path / "run").mkdir()
    with pytest.raises(StepFailed, match="the API answered 404"):
        await ran("re-embed", tmp_path / "run", collection="nothing", embedding_model="echo-embed", **lent)


async def test_shipped_pipelines_are_defined_once_and_again_when_their_text_changes(tmp_path, monkeypatch):
    async with SqliteDatabase("", home=tmp_path) as database:
        await database.migrate()
        workflows = Records(database).workflows
        await define_shipped(workflows, {}, now)
        cluster = KubeflowEngine("https://kubeflow.test", "", cluster_spec, now)
        await define_shipped(workflows, {Engine.KUBEFLOW: cluster}, now)
        await cluster.close()
        assert (await workflows.pipelines()).items == [], "its steps would need an image that has kfp"
        engines = {Engine.ARGO: scripted(), Engine.KUBEFLOW: scripted()}
        for _ in range(2):
            await define_shipped(workflows, engines, now)
        found = (await workflows.pipelines()).items
        names = [name + end for name in SHIPPED for end in ("", TWIN)]
        assert [(one.pipeline.name, one.versions, one.pipeline.owner_id) for one in found] == [(name, 1, "") for name in names]
        assert [one.pipeline.name for one in found if one.pipeline.shared] == ["evaluate-rag", "evaluate-rag-kubeflow"]
        monkeypatch.setattr("core.workflow.shipped.definition", lambda name: definition(name) + "# changed\n")
        await define_shipped(workflows, engines, now)
        assert {one.versions for one in (await workflows.pipelines()).items} == {2}


# One run per setting, and what becomes of the best one


EVALUATING = PipelineSpec(
    tuple(Parameter(name, default=default) for name, default in (("golden_set", ""), ("collection", ""), ("answers", ""), ("top_k", ""), ("rerank", "")))
    + tuple(Parameter(name, default="") for name in ("rerank_depth", "chunk_chars", "embedding_model"))
)


@pytest.fixture
async def evaluating(tmp_path, echo_server, monkeypatch):
    """A house whose engine knows one instruction: the run has succeeded."""
    monkeypatch.setattr(core.app, "_engines", lambda *_: nullcontext({Engine.ARGO: scripted(EVALUATING)}))
    monkeypatch.setattr("core.workflow.shipped.definition", lambda _name: "tell()")
    async with open_app(echo_settings(tmp_path), local=echo_server, serving=True) as app:
        _, secret = await app.users.make_key(await app.users.add("ada", None, admin=True))
        yield app, await app.users.by_key(secret)


async def test_a_grid_becomes_one_run_for_each_setting_in_one_experiment_and_one_of_them_is_promoted(evaluating):
    app, who = evaluating
    await golden(app, who)
    grid = combined(top_k=(3, 5), rerank_depth=(5, 50))
    made = await app.evaluation.evaluate(who.user, "tiny", "lab", [*grid, grid[0]])
    assert len(made.runs) == 4
    runs = [await app.pipelines.run(who.user, run) for run in made.runs]
    assert {(r.parameters["top_k"], r.parameters["rerank_depth"]) for r in runs} == {("3", "5"), ("3", "50"), ("5", "5"), ("5", "50")}
    best = next(r for r in runs if (r.parameters["top_k"], r.parameters["rerank_depth"]) == ("5", "50"))
    async with asyncio.timeout(30):
        while not (best := await app.pipelines.run(who.user, best.id)).status.over:
            await asyncio.sleep(0.05)
    assert best.status is RunStatus.SUCCEEDED
    promoted = await app.evaluation.promote(who.user, best.id)
    assert promoted.changed == {"rerank_depth": 50}
    assert (await app.library.collection(who.user, "lab")).rerank_depth == 50
    assert "5, with reranking" in promoted.left[0]
    assert promoted.re_embed == {}
    assert (await app.evaluation.promote(who.user, best.id)).changed == {}


async def test_an_evaluation_of_nothing_is_refused(evaluating):
    app, who = evaluating
    with pytest.raises(NotFound):
        await app.evaluation.evaluate(who.user, "tiny", "lab", [Setting()])
    await golden(app, who)
    with pytest.raises(NotFound, match="golden set"):
        await app.evaluation.evaluate(who.user, "other", "lab", [Setting()])
    with pytest.raises(BadInput):
        await app.evaluation.evaluate(who.user, "tiny", "lab", [])
    with pytest.raises(BadInput):
        Setting(top_k=0)
    backup = await app.pipelines.start(who.user, "backup", {})
    with pytest.raises(BadInput):
        await app.evaluation.promote(who.user, backup.id)


# The engine itself


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_runs_here_in_both_dialects_with_the_same_parameters(name):
    spec, twin = local_spec(definition(name)), kubeflow.local_spec(definition(name + TWIN))
    assert spec.description
    assert {"hearth_url", "hearth_key"} <= {p.name for p in spec.parameters}
    assert set(twin.parameters) == set(spec.parameters)
    assert (twin.description, twin.notes) == (spec.description, ())


def test_the_twins_are_what_their_source_compiles_to(tmp_path, kfp_python):
    subprocess.run([kfp_python, "-W", "ignore", ROOT / "scripts" / "compile_shipped.py", tmp_path], check=True, timeout=120)
    for name in SHIPPED:
        now, shipped = [yaml.safe_load(text) for text in ((tmp_path / f"{name}{TWIN}.yaml").read_text("utf-8"), definition(name + TWIN))]
        for one in (now, shipped):
            assert one.pop("sdkVersion").startswith("kfp-2.")
        assert now == shipped, f"run scripts/compile_shipped.py: {name} has changed"


@asynccontextmanager
async def running(home, echo_server, monkeypatch, language, engine, **given):
    """A served house with that engine, and Ada and Bob, who is no admin."""
    monkeypatch.setattr(core.app, "_engines", lambda *_: nullcontext({language: engine}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = echo_settings(home, **given)
    async with open_app(settings, local=echo_server, serving=True, address=f"http://127.0.0.1:{port}") as app, served(app, port):
        people = [await app.users.make_key(await app.users.add(name, None, admin=name == "ada")) for name in ("ada", "bob")]
        yield app, *[await app.users.by_key(secret) for _, secret in people]


async def over(app, who, run_ids):
    """The runs once they are."""
    found = []
    async with asyncio.timeout(120):
        for run_id in run_ids:
            while not (run := await app.pipelines.run(who.user, run_id)).status.over:
                await asyncio.sleep(0.05)
            found.append(run)
    assert {(run.status, run.reason) for run in found} == {(RunStatus.SUCCEEDED, "")}
    return found


async def test_somebody_who_is_no_admin_compares_settings_and_an_admin_embeds_anew_by_the_engine_with_a_lent_key(tmp_path, echo_server, monkeypatch):
    engine = LocalEngine("argo", "argo_worker.py", local_spec, log_bytes=1 << 20, folder_bytes=1 << 28)
    async with running(tmp_path, echo_server, monkeypatch, Engine.ARGO, engine) as (app, ada, bob):
        for who in (ada, bob):
            await golden(app, who, by=ada)
        made = await app.evaluation.evaluate(bob.user, "tiny", "lab", combined(top_k=(1, 3), chunk_chars=(None, 200)))
        again = await app.pipelines.start(ada.user, "re-embed", {"collection": "lab", "embedding_model": "echo-embed", "swap": "true"})
        found = await over(app, bob, made.runs)
        assert {(r.parameters["top_k"], round(r.metrics["recall_at_k"], 3), r.user_id) for r in found} == {("1", 0.667, bob.user.id), ("3", 1.0, bob.user.id)}
        best = max(found, key=lambda r: r.metrics["recall_at_k"])
        assert (await app.evaluation.promote(bob.user, best.id)).collection == "lab"
        await app.console.lab.keep(Admin(ada.user), "hers", "ada", "Whose question is it?", ["lab"], [])
        with pytest.raises(NotFound):
            await app.evaluation.evaluate(bob.user, "hers", "lab", [Setting()])
        await over(app, ada, [again.id])
        assert [(c.name, c.version) for c, _ in (await app.library.collections(ada.user)).items] == [("lab", 2)]
        assert [(c.name, c.version) for c, _ in (await app.library.collections(bob.user)).items] == [("lab", 1)]


async def test_a_step_reads_the_file_that_its_run_was_given_as_the_documentation_shows(tmp_path, echo_server, monkeypatch):
    engine = LocalEngine("argo", "argo_worker.py", local_spec, log_bytes=1 << 20, folder_bytes=1 << 28)
    text = (ROOT / "docs" / "pipelines.md").read_text("utf-8").partition("```yaml\n")[2].partition("```")[0]
    (table := tmp_path / "table.csv").write_bytes(b"a,b\n" * 1234 + b"\xff\xfe\n")
    async with running(tmp_path / "home", echo_server, monkeypatch, Engine.ARGO, engine) as (app, ada, bob):
        await app.pipelines.define(ada.user, "count-lines", Engine.ARGO, text)
        await app.pipelines.share(ada.user, "count-lines", True)
        runs = [await app.pipelines.start(who.user, "count-lines", {}, files={"table": InputFile(table, "table.csv")}) for who in (ada, bob)]
        for who, run in zip((ada, bob), runs, strict=True):
            assert (await over(app, who, [run.id]))[0].metrics == {"lines": 1235}
        again = await app.pipelines.rerun(bob.user, runs[1].id, {})
        assert (await over(app, bob, [again.id]))[0].metrics == {"lines": 1235}
        stolen = await app.pipelines.start(bob.user, "count-lines", {"table": "s3://hearth/originals/x/y"})
        async with asyncio.timeout(60):
            while not (ended := await app.pipelines.run(bob.user, stolen.id)).status.over:
                await asyncio.sleep(0.05)
        assert ended.status is RunStatus.FAILED


async def test_the_twins_do_with_kfp_what_the_others_do(tmp_path, echo_server, monkeypatch, kfp_python):
    (source := tmp_path / "papers").mkdir()
    for name, text in TEXTS.items():
        (source / name).write_text(text)
    limits = {"log_bytes": 1 << 20, "folder_bytes": 1 << 28}
    engine = LocalEngine("kfp.local", "kubeflow_worker.py", kubeflow.local_spec, python=kfp_python, needs="kfp", **limits)
    async with running(tmp_path / "home", echo_server, monkeypatch, Engine.KUBEFLOW, engine, sync_folders=str(tmp_path)) as (app, ada, _):
        asked = await golden(app, ada)
        wanted = [
            ("evaluate-rag", {"golden_set": "tiny", "collection": "lab", "top_k": "1", "chunk_chars": "200", "answers": "true"}),
            ("evaluate-rag", {"golden_set": "tiny", "collection": "lab", "top_k": "1"}),
            ("ingest-folder", {"folder": str(source), "collection": "papers"}),
            ("re-embed", {"collection": "lab", "embedding_model": "echo-embed", "swap": "true", "least": "0"}),
            ("retention-sweep", {"dry_run": "true"}),
            ("backup", {}),
        ]
        runs = [await app.pipelines.start(ada.user, name + TWIN, given) for name, given in wanted]
        copied, evaluated, taken, served_, swept, backed = await over(app, ada, [run.id for run in runs])
        places = await by_hand(app, ada, asked, top_k=1, rerank=True, rerank_top_k=1)
        assert evaluated.metrics["questions"] == copied.metrics["questions"] == 3
        assert evaluated.metrics["mrr"] == pytest.approx(sum(1 / place for place in places) / 3)
        assert {a.name for a in evaluated.artifacts if a.type.value != "logs"} == {"questions", "metrics", "per_question"}
        assert (taken.metrics["files"], taken.metrics["documents"], taken.metrics["failed"]) == (3, 3, 0)
        assert served_.metrics["served"] == 1
        assert {c.name: c.version for c, _ in (await app.library.collections(ada.user)).items} == {"lab": 2, "papers": 1}
        assert swept.metrics["due: messages"] == 0
        assert backed.metrics["files"] >= 0
        assert len(await app.console.keeping.backups(Admin(ada.user))) == 1
        assert (await app.evaluation.promote(ada.user, evaluated.id)).collection == "lab"


async def test_a_file_that_lands_under_a_watched_prefix_is_taken_in_by_the_run_that_it_starts(tmp_path, echo_server, monkeypatch):
    engine = LocalEngine("argo", "argo_worker.py", local_spec, log_bytes=1 << 20, folder_bytes=1 << 28)
    async with running(tmp_path, echo_server, monkeypatch, Engine.ARGO, engine) as (app, ada, _):
        folder = {"folder": "s3://hearth/incoming/", "collection": "papers"}
        await app.triggers.add(ada.user, "ingest-folder", TriggerKind.FILE, "s3://hearth/incoming/", folder)
        (incoming := tmp_path / "objects/incoming").mkdir()
        for name, text in TEXTS.items():
            (incoming / f".{name}").write_text(text)
            (incoming / f".{name}").rename(incoming / name)
        async with asyncio.timeout(120):
            while len(runs := (await app.pipelines.runs(ada.user, RunFilter(pipeline="ingest-folder"))).items) < len(TEXTS):
                await asyncio.sleep(0.1)
        assert {run.cause for run in await over(app, ada, [run.id for run in runs])} == {Cause.FILE}
        documents = (await app.library.documents(ada.user, "papers")).items
        assert sorted((d.name, d.source_url) for d in documents) == [(f"incoming/{name}", f"s3://hearth/incoming/{name}") for name in sorted(TEXTS)]
