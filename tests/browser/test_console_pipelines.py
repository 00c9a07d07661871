"""The pages of pipelines in a real browser: each in light, dark and on a phone, a node that is clicked, runs that are marked, what refreshes itself."""

import io
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from anyio.from_thread import start_blocking_portal
from console_visits import LOOKS, admin, choose, id_of, problems, there
from PIL import Image
from playwright.sync_api import expect
from running_house import RunningHouse
from seeded_runs import BEGUN, pipeline, run

from core.adapters.database_sql import SqliteDatabase
from core.adapters.golden_sql import SqlGoldenSets
from core.adapters.objects_folder import FolderObjectStore
from core.adapters.records_sql import Records
from core.ids import new_id
from core.rag.golden import GoldenRow
from core.users.model import Preferences, Role, User
from core.workflow.model import ArtifactType, Engine, Experiment, RunStatus, Trigger, TriggerKind
from core.workflow.shipped import definition

pytestmark = pytest.mark.timeout(300)
ALL = ("pipelines", "pipeline", "triggers", "versions", "runs", "compare", "run-failed", "run-whole", "experiment")
SHOWN = {"light": ALL, "dark": ("run-failed", "experiments"), "phone": ("run-failed", "run-wrong", "triggers")}
"""Every page once; in the other looks those whose pictures differ most. Each costs seconds."""
SLOW = """
tell('load', 'running', task='load')
time.sleep(1)
tell('load', task='load')
tell('embed.0', 'running', name='embed', task='embed')
time.sleep(3)
tell('embed.0', name='embed', task='embed')
tell()
"""


class ScriptedHouse(RunningHouse):
    module = "tests.scripted_house"


def picture():
    held = io.BytesIO()
    Image.linear_gradient("L").save(held, "PNG")
    return held.getvalue()


async def seeded(home, folder, owner_id):
    """Runs of many kinds, by what they show."""
    folder.mkdir()
    async with SqliteDatabase("", home=home) as database, FolderObjectStore("", home=home) as objects:
        workflows = Records(database).workflows
        owner = User(owner_id, "ada", False, Preferences(), BEGUN, Role.ADMIN)
        of = await pipeline(workflows, owner, engine=Engine.KUBEFLOW)
        later = await pipeline(workflows, owner, definition="kind: Workflow\nsteps: [load, embed, publish]\n", engine=Engine.KUBEFLOW)
        await pipeline(workflows, owner, "a-pipeline-whose-name-is-as-long-as-a-name-may-be-in-a-cluster", "tell()", engine=Engine.KUBEFLOW)
        await pipeline(workflows, owner, "slow", SLOW, engine=Engine.KUBEFLOW)
        nightly = Trigger(new_id(), "embed-again", TriggerKind.SCHEDULE, "30 2 * * 1", {"epochs": 3}, owner.id, BEGUN, next_at=BEGUN + timedelta(days=900))
        problem = "The parameter 'collection' is missing. It has no default: give it a value."
        arriving = replace(nightly, id=new_id(), kind=TriggerKind.FILE, watched="s3://hearth/incoming/", last_at=BEGUN, next_at=None, problem=problem)
        for trigger in (nightly, arriving):
            await workflows.add_trigger(trigger)
        experiment = Experiment(new_id(), "wider-windows", (), {}, BEGUN, owner.id)
        await workflows.add_experiment(experiment)
        files = (
            ("report.html", ArtifactType.DATASET, "text/html", b"<h1>Bericht</h1><p>Gefunden: 0,91</p><script>document.body.append('taken')</script>"),
            ("curve.png", ArtifactType.DATASET, "image/png", picture()),
            ("scores.csv", ArtifactType.DATASET, "text/csv", "Wort,Güte\nStraße,0.5\n東京,0.9\n".encode()),
        )

        async def made(status, n, **given):
            metrics = {"recall_at_10": 0.7 + 0.03 * (n % 7), "ms_p95": 120.0 - n} | {f"loss_of_part_{m}": 0.1 * m + 0.01 * n for m in range(12)}
            parameters = {"epochs": 1 + n % 4, "collection": "handbook-with-a-rather-long-name"}
            more = {"metrics": metrics if status is RunStatus.SUCCEEDED else {}, "parameters": parameters, "after_s": 60 * n, "folder": folder}
            return (await run(workflows, objects, owner, later if n % 2 else of, status, experiment=experiment.id, **(more | given))).id

        for n in range(12):
            await made(RunStatus.SUCCEEDED, n)
        whole = await made(RunStatus.SUCCEEDED, 20, files=files, fan=8)
        failed = await made(RunStatus.FAILED, 30, fan=200)
        await workflows.set_baseline(experiment.id, whole)
        return {"experiment": experiment.id, "whole": whole, "failed": failed}


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """A house with runs in it."""
    home = tmp_path_factory.mktemp("pipelines") / "home"
    with ScriptedHouse(home, HEARTH_CHAT_PAGE="true") as running:
        running.make_user()
        with start_blocking_portal() as portal:  # the browser's driver holds a loop in this thread
            running.ids = portal.call(seeded, home, home.parent / "files", id_of(running, "ada"))
        running.wait_for_pages()
        yield running


@pytest.mark.parametrize(("look", "given"), LOOKS.items(), ids=LOOKS)
def test_every_page_of_pipelines_opens_by_its_address_and_fits(house, visit, look, given):
    visitor = admin(house, visit, **given)
    page, ids = visitor.page, house.ids
    for name, path, title in (
        ("pipelines", "pipelines", "Pipelines"),
        ("pipeline", f"pipelines?pipeline=embed-again&rerun={ids['whole']}", "Pipelines"),
        ("triggers", "pipelines?pipeline=embed-again&part=Triggers", "Pipelines"),
        ("versions", "pipelines?pipeline=embed-again&part=Versions", "Pipelines"),
        ("runs", "runs?sort=recall_at_10", "Runs"),
        ("compare", f"runs?compare={ids['whole']},{ids['failed']}", "Runs"),
        ("run-failed", f"run?run={ids['failed']}", "Run"),
        ("run-whole", f"run?run={ids['whole']}&step=load", "Run"),
        ("experiments", "experiments", "Experiments"),
        ("experiment", f"experiments?experiment={ids['experiment']}", "Experiments"),
        ("run-wrong", "run?run=nobodys", "Run"),
    ):
        if name not in SHOWN[look]:
            continue
        page.goto(f"{house.url}/admin/{path}")
        there(page)
        assert page.inner_text("[data-testid=stHeading] h1").strip() == title
        assert page.locator("[role=dialog]").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), f"{path} is too wide"
        main = page.locator("[data-testid=stMainBlockContainer]").bounding_box()
        page.set_viewport_size({"width": page.viewport_size["width"], "height": min(int(main["height"]) + 60, 2600)})
        visitor.shoot(f"console-{name}-{look}")
        page.set_viewport_size({"width": page.viewport_size["width"], "height": 820})
    assert visitor.foreign == []
    assert problems(visitor) == []


def test_a_node_is_clicked_and_its_step_is_in_the_address(house, visit):
    visitor = admin(house, visit, f"run?run={house.ids['failed']}")
    page = visitor.page
    expect(page.get_by_text("3 failed · 197 succeeded").first).to_be_visible()
    box = page.locator("[data-testid=stEChartsChart] canvas").first.bounding_box()
    page.mouse.click(box["x"] + 90, box["y"] + box["height"] / 2)
    page.wait_for_url(re.compile("step=load"))
    expect(page.get_by_text("00999 load").first).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download the log").click()
    assert saved.value.suggested_filename == "load-1.txt"


def test_a_page_and_a_picture_that_a_run_has_made_are_shown_and_the_page_runs_no_script(house, visit):
    whole = house.ids["whole"]
    found = {a["name"]: a["id"] for a in house.get(f"/v1/runs/{whole}")[1]["artifacts"]}
    visitor = admin(house, visit, f"run?run={whole}&artifact={found['report.html']}")
    page = visitor.page
    shown = page.frame_locator("[data-testid=stIFrame]")
    expect(shown.get_by_text("Gefunden: 0,91")).to_be_visible()
    assert "taken" not in shown.locator("body").inner_text()
    page.goto(f"{house.url}/admin/run?run={whole}&artifact={found['curve.png']}")
    page.wait_for_function("document.querySelector('[data-testid=stImage] img')?.naturalWidth === 256")
    assert visitor.foreign == []


def test_a_run_that_goes_on_refreshes_itself_until_it_is_over(house, visit):
    visitor = admin(house, visit, "pipelines?pipeline=slow")
    page = visitor.page
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/admin/run\\?run="))
    expect(page.get_by_text("▶ running").first).to_be_visible()
    visitor.shoot("console-run-live-light")
    expect(page.get_by_text("✓ succeeded").first).to_be_visible(timeout=30_000)
    expect(page.get_by_role("button", name="Retry")).to_be_visible()


def test_a_picture_is_given_to_a_run_and_looked_at_on_its_page(house, visit, tmp_path):
    (tmp_path / "scan.png").write_bytes(picture())
    visitor = admin(house, visit, "pipelines?pipeline=slow")
    page = visitor.page
    filled = page.locator("[data-testid=stExpander]", has_text="Fill collection from a file").first  # the tab of triggers has one too
    filled.locator("summary").click()
    expect(filled.get_by_text("It counts instead of what is typed")).to_be_visible()
    filled.locator("[data-testid=stFileUploaderDropzoneInput]").set_input_files(tmp_path / "scan.png")
    expect(filled.get_by_text("scan.png")).to_be_visible(timeout=20_000)
    filled.get_by_text("Give the file itself, of whatever kind").click()
    visitor.shoot("console-run-form-file")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/admin/run\\?run="))
    run_id = re.search(r"run=([0-9a-f-]+)", page.url)[1]
    (stored,) = (house.home / "objects/runs" / run_id / "inputs").iterdir()
    assert stored.read_bytes() == picture()
    expect(page.get_by_text("✓ succeeded").first).to_be_visible(timeout=60_000)
    choose(page, "Look into", "given as collection · scan.png")
    expect(page.locator("[data-testid=stImage] img").first).to_be_visible()
    visitor.shoot("console-run-with-file")


def test_marked_runs_are_compared(house, visit):
    visitor = admin(house, visit, "runs")
    page = visitor.page
    table = page.locator("[data-testid=stDataFrame]").first
    for row in (1, 2):
        table.click(position={"x": 18, "y": 35 * row + 17})
    page.get_by_role("button", name="Compare the marked runs").click()
    page.wait_for_url(re.compile("compare=[^,%]+(,|%2C)"))
    expect(page.get_by_text("Differences only")).to_be_visible()


async def judged(home, owner_id, passage):
    """A golden set of one question."""
    async with SqliteDatabase("", home=home) as database:
        row = GoldenRow(new_id(), "handbook", "Which bus goes to the station?", owner_id, ("handbook",), (passage,), False, "lab", "", BEGUN)
        await SqlGoldenSets(database).add(row)


@pytest.fixture(scope="module")
def handbook(house):
    """A collection of Ada's with a golden set about it."""
    assert house.post("/v1/collections", {"name": "handbook"})[0] == 201
    job = house.upload("bus.md", b"# Buses\n\nThe bus 12 goes to the station.\n\n# Doors\n\nThe door is locked at night.\n", "handbook")[1]
    assert house.job_done(job["id"])["stage"] == "ready"
    passage = house.get(f"/v1/documents/{job['document_id']}/chunks")[1]["items"][0]["id"]
    with start_blocking_portal() as portal:
        portal.call(judged, house.home, id_of(house, "ada"), passage)
    return "handbook"


def test_a_pipeline_is_uploaded_run_rerun_compared_and_its_best_run_promoted(house, handbook, visit, tmp_path):
    file = tmp_path / "evaluate-rag.yaml"
    file.write_text(definition("evaluate-rag").replace("Measures one retrieval setting", "Ada measures one retrieval setting"), "utf-8")
    visitor = admin(house, visit, "pipelines")
    page = visitor.page
    page.get_by_text("New pipeline").click()
    page.get_by_label("Name", exact=True).fill("evaluate-rag")
    expect(choose(page, "Engine", "argo")).to_have_value("argo")
    page.locator("[data-testid=stFileUploaderDropzoneInput]").set_input_files(file)
    expect(page.get_by_text("evaluate-rag.yaml")).to_be_visible()
    page.get_by_role("button", name="Check").click()
    expect(page.get_by_text("It can be run here.")).to_be_visible()
    expect(page.locator("[data-testid=stEChartsChart] canvas").first).to_be_visible()
    visitor.shoot("console-story-checked")
    page.get_by_role("button", name="Save as a version").click()
    page.wait_for_url(re.compile("version=evaluate-rag(@|%40)2"))
    expect(page.locator("[data-testid=stEChartsChart] canvas").first).to_be_visible()

    def field(name):
        return page.get_by_role("textbox", name=f"{name} (string)").first  # the tab of triggers has them too

    field("golden_set").fill("handbook")
    field("collection").fill("handbook")
    field("rerank_depth").fill("10")
    page.get_by_label("Experiment (may be left empty)").first.fill("tuning")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/admin/run\\?run="))
    expect(page.get_by_text("✓ succeeded").first).to_be_visible(timeout=60_000)
    first = re.search("run=([^&]+)", page.url)[1]
    expect(page.get_by_role("heading", name="Metrics")).to_be_visible()
    assert house.get(f"/v1/runs/{first}")[1]["metrics"]["recall_at_k"] == 1.0
    visitor.shoot("console-story-run")

    page.get_by_role("button", name="Rerun with changes").click()
    page.wait_for_url(re.compile("rerun="))
    expect(page.get_by_text("Filled in as in the run")).to_be_visible()
    expect(field("rerank_depth")).to_have_value("10")
    field("rerank_depth").fill("15")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile(f"/admin/run\\?run=(?!{first})"))
    expect(page.get_by_text("✓ succeeded").first).to_be_visible(timeout=60_000)
    second = re.search("run=([^&]+)", page.url)[1]

    page.get_by_role("link", name="Its experiment").click()
    page.wait_for_url(re.compile("/admin/experiments\\?experiment="))
    marked = page.get_by_role("combobox", name="Side by side")
    for run_id in (first, second):
        marked.click()
        page.get_by_role("option", name=f"evaluate-rag@2 {run_id[-6:]}").click()
    visitor.page.keyboard.press("Escape")
    visitor.shoot("console-story-experiment")
    page.get_by_role("button", name="Compare").click()
    page.wait_for_url(re.compile("compare="))
    expect(page.get_by_text("Differences only")).to_be_visible()
    expect(page.get_by_text("Artifacts", exact=True)).to_be_visible()
    visitor.shoot("console-story-compared")

    page.get_by_role("link", name="Their experiment").click()
    page.get_by_role("button", name="Take over its settings").click()
    expect(page.get_by_text(re.compile("The collection handbook: rerank depth is now (10|15)"))).to_be_visible()
    visitor.shoot("console-story-promoted")
    assert house.get("/v1/collections/handbook")[1]["rerank_depth"] in (10, 15)
    assert visitor.foreign == []
    assert problems(visitor) == []


def test_retrieval_is_evaluated_from_a_golden_set_by_a_form_and_its_runs_are_one_experiment(house, handbook, visit):
    visitor = admin(house, visit, "golden?set=handbook")
    page = visitor.page
    page.get_by_role("button", name="Evaluate retrieval").click()
    form = page.get_by_role("dialog")
    expect(form.get_by_text("Each combination is a run")).to_be_visible()
    visitor.shoot("console-evaluate")
    form.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/admin/experiments\\?experiment="))
    of = re.search("experiment=([^&]+)", page.url)[1]
    runs = house.get(f"/v1/runs?experiment={of}")[1]["items"]
    assert {(run["parameters"]["top_k"], run["parameters"]["rerank"]) for run in runs} == {("3", "true"), ("3", "false"), ("5", "true"), ("5", "false")}
    assert {(run["parameters"]["golden_set"], run["parameters"]["collection"], run["cause"]) for run in runs} == {("handbook", "handbook", "console")}
    expect(page.get_by_text("Baseline").first).to_be_visible()
    assert problems(visitor) == []
