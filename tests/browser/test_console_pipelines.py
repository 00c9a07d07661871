"""The pages of pipelines in a real browser: each in light, dark and on a phone, a node that is clicked, runs that are marked, what refreshes itself."""

import io
import re

import pytest
from anyio.from_thread import start_blocking_portal
from console_visits import LOOKS, admin, id_of, problems, there
from PIL import Image
from playwright.sync_api import expect
from running_house import RunningHouse
from seeded_runs import BEGUN, pipeline, run

from core.adapters.database_sql import SqliteDatabase
from core.adapters.objects_folder import FolderObjectStore
from core.adapters.records_sql import Records
from core.ids import new_id
from core.users.model import Preferences, Role, User
from core.workflow.model import ArtifactType, Experiment, RunStatus

pytestmark = pytest.mark.timeout(300)
ALL = ("pipelines", "pipeline", "versions", "runs", "compare", "run-failed", "run-whole", "experiment")
SHOWN = {"light": ALL, "dark": ("run-failed", "experiments"), "phone": ("run-failed", "run-wrong")}
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
        of = await pipeline(workflows, owner)
        later = await pipeline(workflows, owner, definition="kind: Workflow\nsteps: [load, embed, publish]\n")
        await pipeline(workflows, owner, "a-pipeline-whose-name-is-as-long-as-a-name-may-be-in-a-cluster", "tell()")
        await pipeline(workflows, owner, "slow", SLOW)
        experiment = Experiment(new_id(), "wider-windows", (), {}, BEGUN, owner.id)
        await workflows.add_experiment(experiment)
        files = (
            ("report.html", ArtifactType.DATASET, "text/html", b"<h1>Bericht</h1><p>Gefunden: 0,91</p>"),
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
        page.wait_for_timeout(300)
        main = page.locator("[data-testid=stMainBlockContainer]").bounding_box()
        page.set_viewport_size({"width": page.viewport_size["width"], "height": min(int(main["height"]) + 60, 2600)})
        visitor.shoot(f"console-{name}-{look}")
        page.set_viewport_size({"width": page.viewport_size["width"], "height": 820})
    assert visitor.foreign == []
    assert problems(visitor) == []


def test_a_node_is_clicked_and_its_step_is_in_the_address(house, visit):
    visitor = admin(house, visit)
    page = visitor.page
    page.goto(f"{house.url}/admin/run?run={house.ids['failed']}")
    there(page)
    expect(page.get_by_text("3 failed · 197 succeeded").first).to_be_visible()
    box = page.locator("[data-testid=stEChartsChart] canvas").first.bounding_box()
    page.mouse.click(box["x"] + 90, box["y"] + box["height"] / 2)
    page.wait_for_url(re.compile("step=load"))
    expect(page.get_by_text("00999 load").first).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("link", name="Download the log").click()
    assert saved.value.suggested_filename == "load-1.txt"


def test_a_run_that_goes_on_refreshes_itself_until_it_is_over(house, visit):
    visitor = admin(house, visit)
    page = visitor.page
    page.goto(f"{house.url}/admin/pipelines?pipeline=slow")
    there(page)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(re.compile("/admin/run\\?run="))
    expect(page.get_by_text("▶ running").first).to_be_visible()
    visitor.shoot("console-run-live-light")
    expect(page.get_by_text("✓ succeeded").first).to_be_visible(timeout=30_000)
    expect(page.get_by_role("button", name="Retry")).to_be_visible()


def test_marked_runs_are_compared(house, visit):
    visitor = admin(house, visit)
    page = visitor.page
    page.goto(f"{house.url}/admin/runs")
    there(page)
    table = page.locator("[data-testid=stDataFrame]").first
    for row in (1, 2):
        table.click(position={"x": 18, "y": 35 * row + 17})
    page.get_by_role("button", name="Compare the marked runs").click()
    page.wait_for_url(re.compile("compare=[^,%]+(,|%2C)"))
    expect(page.get_by_text("Differences only")).to_be_visible()
