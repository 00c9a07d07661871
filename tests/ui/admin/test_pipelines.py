"""The pages of pipelines, runs and experiments over real stores, with an engine whose definitions are Python."""

import io
import json
import time
from contextlib import nullcontext
from dataclasses import replace

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import servers
from PIL import Image
from pipelining import scripted
from seeded_runs import BEGUN, SPEC, pipeline, run
from seen import rows, said, tables

from core.errors import NotFound
from core.voice.containers import wav
from core.workflow.model import ArtifactType, Engine, RunStatus
from core.workflow.shelf import RunFilter

HTML = b"<h1>Bericht</h1><script>parent.document.title = 'taken'</script>"
FILES = (
    ("report.html", ArtifactType.DATASET, "text/html", HTML),
    ("scores.csv", ArtifactType.DATASET, "text/csv", b"word,score\nStra\xc3\x9fe,0.5\n"),
    ("facts.json", ArtifactType.DATASET, "application/json", b'{"depth": [1, 2]}'),
    ("broken.png", ArtifactType.DATASET, "image/png", b"no picture"),
    ("weights.bin", ArtifactType.MODEL, "", b"\0\1\2"),
)


@pytest.fixture(scope="module")
def rclone():
    with servers.s3_rclone() as server:
        yield server


@pytest.fixture
def house_settings(request):
    """Over a bucket that browsers reach, where a test asks for that."""
    if not request.node.get_closest_marker("services"):
        return {}
    server = request.getfixturevalue("rclone")
    return {"objects_url": f"{server.url}?public=http://127.0.0.1:{server.port}"}


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    """Argo's place is taken by scripts."""
    monkeypatch.setattr("core.app._engines", lambda *_: nullcontext({Engine.ARGO: scripted(SPEC)}))
    monkeypatch.setattr("core.workflow.shipped.SHIPPED", ())


class Seeded:
    """Puts runs into the house."""

    def __init__(self, console, folder):
        self.console, self.folder = console, folder
        self.room = console.app.pipelines
        self.of = console.call(pipeline, self.room._workflows, console.ada)
        self.experiment = console.call(self.room.experiment_for, console.ada, "wider-windows")

    def run(self, status=RunStatus.SUCCEEDED, **given):
        """One of them."""
        return self.console.call(
            run, self.room._workflows, self.room._objects, self.console.ada, self.of, status, experiment=self.experiment.id, folder=self.folder, **given
        )

    def all_runs(self):
        """As they are now."""
        return self.console.call(self.room.runs, self.console.ada, RunFilter()).items


@pytest.fixture
def seeded(console, tmp_path):
    (tmp_path / "files").mkdir()
    return Seeded(console, tmp_path / "files")


def chart(page):
    """The nodes of the picture, without the unseen ones that keep its height."""
    return [node for node in json.loads(page.get("echarts_chart")[0].proto.spec)["series"][0]["data"] if node["name"].strip()]


def test_an_empty_house_says_how_a_pipeline_comes_to_be(console):
    assert "There is no pipeline yet." in said(console.page("pipelines"))
    assert "There is no run yet." in said(console.page("runs"))
    assert "There is no experiment yet." in said(console.page("experiments"))
    assert "No run is chosen." in said(console.page("run"))


def test_a_wrong_id_in_the_address_gives_a_sentence(console):
    assert "There is no such run." in said(console.page("run", run="nobodys"))
    assert "There is no such pipeline." in said(console.page("pipelines", pipeline="nobodys"))
    assert "There is no such experiment." in said(console.page("experiments", experiment="nobodys"))
    assert "There is no such run." in said(console.page("runs", compare="a,b"))
    assert "There is no such experiment." in said(console.page("runs", of_experiment="nobodys"))


def test_a_definition_is_checked_drawn_kept_compared_and_deleted(console):
    page = console.page("pipelines")
    page.text_input(key="new_name").set_value("embed-again")
    page.selectbox(key="new_engine").set_value(Engine.ARGO)
    page.text_area(key="yaml-new").set_value("tell()")
    next(b for b in page.button if b.label == "Check").click().run()
    assert "It can be run here." in said(page)
    assert [r["Parameter"] for r in rows(page, "Parameter")][:2] == ["collection", "epochs"]
    assert [node["name"] for node in chart(page)] == ["load", "embed", "evaluate-against-the-golden-set", "publish"]
    next(b for b in page.button if b.label == "Save as a version").click().run()
    room = console.app.pipelines
    assert console.call(room.pipeline, console.ada, "embed-again@1").definition == "tell()"

    console.call(room.define, console.ada, "embed-again", Engine.ARGO, "tell('load')")
    page = console.page("pipelines", pipeline="embed-again")
    assert "-tell()" in said(page)
    assert "+tell('load')" in said(page)
    page.toggle(key="shared-embed-again").set_value(True).run()
    assert console.call(room.pipeline, console.ada, "embed-again").shared
    page.button(key="delete-version").click().run()
    assert "This deletes the version embed-again@2." in said(page)
    page.button(key="delete-version-yes").click().run()
    assert "0 left in every store." in said(page)
    with pytest.raises(NotFound):
        console.call(room.pipeline, console.ada, "embed-again@2")


def test_an_engine_that_is_not_here_is_named(console):
    page = console.page("pipelines")
    page.selectbox(key="new_engine").set_value(Engine.KUBEFLOW)
    page.text_area(key="yaml-new").set_value("x: 1")
    next(b for b in page.button if b.label == "Check").click().run()
    assert "Nothing here runs pipelines for kubeflow." in said(page)


def test_a_run_is_started_from_its_form_and_done_again_with_changes(console, seeded):
    room = seeded.room
    kept = console.call(room.define, console.ada, "embed-again", Engine.ARGO, "tell('load', task='load')\ntell()")
    page = console.page("pipelines", pipeline="embed-again")
    assert not [w for w in page.text_area if "hearth_key" in w.label], "what Hearth fills in isn't asked for"
    of = f"p-{kept.id}-"
    page.number_input(key=f"{of}-epochs").set_value(7)
    page.selectbox(key=f"{of}-device").set_value("cuda")
    page.text_area(key=f"{of}-settings").set_value("no object")
    next(b for b in page.button if b.label == "Start").click().run()
    assert "'settings' takes an object" in said(page)
    assert not seeded.all_runs()
    page.text_area(key=f"{of}-settings").set_value('{"depth": 9}')
    page.text_input(key=f"experiment-{kept.id}-").set_value("wider-windows")
    next(b for b in page.button if b.label == "Start").click().run()
    (made,) = seeded.all_runs()
    assert (made.parameters["epochs"], made.parameters["device"], made.parameters["settings"]) == (7, "cuda", {"depth": 9})
    assert (made.pipeline_id, made.experiment_id) == (kept.id, seeded.experiment.id)
    for _ in range(400):
        if console.call(room.run, console.ada, made.id).status.over:
            break
        time.sleep(0.05)

    page = console.page("pipelines", pipeline="embed-again", version=kept.id, rerun=made.id)
    assert page.number_input(key=f"{of}{made.id}-epochs").value == 7
    page.number_input(key=f"{of}{made.id}-epochs").set_value(8)
    next(b for b in page.button if b.label == "Start").click().run()
    again = next(one for one in seeded.all_runs() if one.id != made.id)
    assert (again.rerun_of, again.parameters["epochs"], again.parameters["device"]) == (made.id, 8, "cuda")


def test_runs_are_sorted_by_any_metric_filtered_and_compared(console, seeded):
    made = [seeded.run(after_s=n, metrics={"recall": score, f"only-{n}": 1.0}, parameters={"epochs": n}) for n, score in enumerate((0.5, 0.9, 0.7))]
    seeded.run(RunStatus.FAILED, after_s=9)
    page = console.page("runs", sort="recall", direction="ascending")
    assert [r["recall"] for r in rows(page, "Pipeline")] == [0.5, 0.7, 0.9]
    assert "Runs without recall are left out." in said(page)
    page = console.page("runs", status="failed")
    assert [r["Status"] for r in rows(page, "Pipeline")] == ["✕ failed"]
    assert len(rows(console.page("runs", of_experiment="wider-windows"), "Pipeline")) == 4
    page = console.page("runs", compare=f"{made[0].id},{made[1].id}")
    assert [r["Parameter"] for r in rows(page, "Parameter")] == ["epochs"], "only what differs"
    assert [r["Metric"] for r in rows(page, "Metric")] == ["recall", "only-0", "only-1"]
    page.toggle(key="differences").set_value(False).run()
    assert "collection" in [r["Parameter"] for r in rows(page, "Parameter")]


def test_a_run_of_many_steps_is_one_node_and_the_first_that_failed_is_looked_into(console, seeded):
    made = seeded.run(RunStatus.FAILED, fan=200)
    page = console.page("run", run=made.id)
    drawn = {node["name"]: node["label"]["formatter"] for node in chart(page)}
    assert list(drawn) == ["load", "embed", "evaluate-against-the-golden-set", "publish"]
    assert drawn["embed"] == "✕ embed ×200\n3 failed · 197 succeeded"
    assert drawn["publish"].endswith("did not run"), "the run is over"
    assert "3 failed · 197 succeeded" in said(page)
    listed = rows(page, "Attempts")
    assert (len(listed), [r["Step"] for r in listed[:3]]) == (50, ["embed.3", "embed.70", "embed.199"])
    page = console.page("run", run=made.id, step="embed.70")
    assert "MemoryError: 2,1 GB fehlen" in said(page)
    assert "There is no such step" in said(console.page("run", run=made.id, step="nothing"))


def test_a_log_is_read_from_its_end_and_in_pages_and_downloaded_whole(console, seeded):
    made = seeded.run()
    page = console.page("run", run=made.id, step="load")
    assert "00999 load" in said(page)
    assert "00000 load" not in said(page)
    page.button(key="log-earlier").click().run()
    assert "00999 load" not in said(page)
    page = console.page("run", run=made.id, step="load", log_at="0")
    assert "00000 load" in said(page)
    answer = console.download(f"runs/{made.id}/log?step=load&attempt=1")
    assert (answer.status_code, len(answer.text.splitlines())) == (200, 1000)
    assert console.download(f"runs/{made.id}/log?step=load&attempt=x").status_code == 400
    assert console.download(f"runs/{made.id}/log?step=load&attempt=1", name="bob").status_code == 404


def test_artifacts_are_shown_downloaded_and_html_is_boxed(console, seeded):
    made = seeded.run(files=FILES)
    found = {a.name: a.id for a in console.call(seeded.room.run, console.ada, made.id).artifacts}
    page = console.page("run", run=made.id)
    assert [r["Name"] for r in rows(page, "Address")] == [name for name, *_ in FILES], "logs stand beside their steps"
    assert {"word": "Straße", "score": "0.5"} in rows(console.page("run", run=made.id, artifact=found["scores.csv"]), "score")
    assert console.page("run", run=made.id, artifact=found["facts.json"]).json
    shown = console.download(f"runs/{made.id}/artifacts/{found['report.html']}/page")
    assert shown.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert shown.content == HTML
    saved = console.download(f"runs/{made.id}/artifacts/{found['report.html']}")
    assert saved.headers["content-type"] == "application/octet-stream"
    assert console.download(f"runs/{made.id}/artifacts/{found['report.html']}", name="bob").status_code == 404
    assert console.download(f"runs/{made.id}/artifacts/nothing").status_code == 404


@pytest.mark.services
@pytest.mark.parametrize("leg", ["rclone"], ids=lambda leg: f"leg={leg}")
def test_an_artifact_is_saved_from_the_bucket_itself_where_browsers_reach_it(leg, console, seeded):
    made = seeded.run(files=FILES)
    (of,) = [a.id for a in console.call(seeded.room.run, console.ada, made.id).artifacts if a.name == "weights.bin"]
    answer = console.download(f"runs/{made.id}/artifacts/{of}")
    assert (answer.status_code, answer.headers["cache-control"], answer.headers["referrer-policy"]) == (303, "no-store", "no-referrer")
    assert httpx.get(answer.headers["location"]).content == b"\0\1\2"
    assert console.download(f"runs/{made.id}/artifacts/{of}", name="bob").status_code == 404


def packed(table):
    """As parquet."""
    held = io.BytesIO()
    pq.write_table(pa.table(table), held)
    return held.getvalue()


def drawn(size=(60, 40)):
    """A picture."""
    held = io.BytesIO()
    Image.radial_gradient("L").resize(size).save(held, "PNG")
    return held.getvalue()


KINDS = {
    "text": ("notes.txt", "text/plain", "Grüße\n".encode()),
    "json": ("facts.json", "application/json", b'{"depth": [1, 2]}'),
    "csv": ("scores.csv", "text/csv", b"word,score\nStra\xc3\x9fe,0.5\n"),
    "parquet": ("rows.parquet", "", packed({"word": ["Straße"], "score": [0.5]})),
    "image": ("curve.png", "image/png", drawn()),
    "audio": ("tone.wav", "audio/wav", wav(bytes(3200), 16_000)),
    "html": ("report.html", "text/html", HTML),
}


BROKEN = (
    ("nul.txt", "text/plain", b"a\0b", "It is no text."),
    ("latin.txt", "text/plain", "Grüße".encode("latin-1"), "It is no text in UTF-8: byte 2 is none of it"),
    ("empty.txt", "text/plain", b"", "It is empty."),
    ("cut.json", "application/json", b'{"depth": [1', "It is no JSON: Expecting"),
    ("deep.json", "application/json", b"[" * 60_000, "[[[["),
    ("uneven.csv", "text/csv", b"a,b\n1,2\n1,2,3\n", "It is no table: its row 3 has 3 cells and its head 2."),
    ("open.csv", "text/csv", b'a,b\n"1,2\n', "It is no table: unexpected end of data."),
    ("broken.parquet", "", b"PAR1 no table PAR1", "It can't be shown: it is not what its name says."),
    ("broken.png", "image/png", b"no picture", "It can't be shown: it is not what its name says."),
    ("cut.png", "image/png", drawn()[:-80], "It can't be shown: it is not what its name says."),
    ("huge.png", "image/png", drawn((8000, 7000)), "It has 8,000 × 7,000 pixels, which is too much to be shown."),
    ("broken.wav", "audio/wav", b"no sound", "It can't be shown: it is not what its name says."),
    ("broken.html", "text/html", b"<p>\0", "It is no text."),
)


def looks(console, seeded, files):
    """Each file's page of its run, by the file's name; all are of one run."""
    made = seeded.run(files=[(name, ArtifactType.DATASET, media_type, held) for name, media_type, held, *_ in files])
    found = {a.name: a for a in console.call(seeded.room.run, console.ada, made.id).artifacts}
    return {name: (found[name], console.page("run", run=made.id, artifact=found[name].id)) for name, *_ in files}


def test_an_artifact_is_looked_into_by_its_kind_and_its_address_can_be_copied(console, seeded):
    opened = looks(console, seeded, KINDS.values())
    for artifact, page in opened.values():
        assert artifact.uri in [block.value for block in page.code], "a block of code has a button that copies it"
        assert not [w.value for w in page.warning], artifact.name
    pages = {kind: opened[name][1] for kind, (name, *_) in KINDS.items()}
    assert "Grüße" in said(pages["text"])
    assert json.loads(pages["json"].json[0].value) == {"depth": [1, 2]}
    assert {"word": "Straße", "score": "0.5"} in rows(pages["csv"], "score")
    assert {"word": "Straße", "score": 0.5} in rows(pages["parquet"], "score")
    assert "1 rows, 2 columns" in said(pages["parquet"])
    assert pages["image"].image
    assert "60 × 40 pixels" in said(pages["image"])
    assert pages["audio"].get("audio")
    artifact = opened["report.html"][0]
    assert pages["html"].get("iframe")[0].proto.src == f"/admin/files/runs/{artifact.run_id}/artifacts/{artifact.id}/page"


def test_a_broken_file_is_told_to_be_broken_and_the_page_stays(console, seeded):
    opened = looks(console, seeded, BROKEN)
    for name, _, _, told in BROKEN:
        page = opened[name][1]
        assert told in said(page), name
        assert not page.error, name
        assert page.button(key="delete-run"), "the rest of the page is there"


def test_a_long_table_is_shown_by_its_beginning(console, seeded):
    held = b"word,score\n" + b"".join(b'"a, %d",%d\n' % (n, n) for n in range(9_000))
    made = seeded.run(files=(("long.csv", ArtifactType.DATASET, "text/csv", held),))
    (artifact,) = [a for a in console.call(seeded.room.run, console.ada, made.id).artifacts if a.name == "long.csv"]
    page = console.page("run", run=made.id, artifact=artifact.id)
    assert len(rows(page, "score")) == 100
    assert "The first 65.5 kB of" in said(page)


def test_a_run_on_a_cluster_has_its_page_there_and_says_since_when_it_is_not_heard_of(console, seeded):
    made = seeded.run(RunStatus.RUNNING)
    away = replace(made, external_id="embed-7f3", external_url="https://argo.example/workflows/embed-7f3", unreachable_since=BEGUN)
    assert console.call(seeded.room._workflows.keep, away)
    page = console.page("run", run=made.id)
    assert page.get("link_button")[0].proto.url == "https://argo.example/workflows/embed-7f3"
    assert "Its cluster is unreachable; it was last heard of" in said(page)
    assert "Fri 20 Nov 2026, 08:00 UTC" in said(page)
    hostile = replace(away, external_url="javascript:alert(1)", unreachable_since=None)
    assert console.call(seeded.room._workflows.keep, hostile)
    page = console.page("run", run=made.id)
    assert not [b for b in page.get("link_button") if b.proto.label == "On its cluster"]
    assert "unreachable" not in said(page)


def test_a_file_fills_a_parameter_or_is_refused_with_a_sentence(console, seeded):
    kept = console.call(seeded.room.define, console.ada, "embed-again", Engine.ARGO, "tell()")
    for name, held, told in (
        ("list.json", b"[1]", "The parameter 'settings' takes an object, not '[1]'."),
        ("cut.json", b'{"depth":', "The parameter 'settings' takes an object"),
        ("latin.json", '{"ort": "Köln"}'.encode("latin-1"), "The file 'latin.json' is no text in UTF-8."),
        ("large.json", b" " * (1 << 20) + b"{}", "The file 'large.json' has more than 1 MB."),
        ("deep.json", b'{"depth": 12}', ""),
    ):
        page = console.page("pipelines", pipeline="embed-again")
        page.file_uploader(key=f"p-{kept.id}--settings-file").set_value((name, held, "application/json"))
        next(b for b in page.button if b.label == "Start").click().run()
        assert told in said(page), name
        assert len(seeded.all_runs()) == (0 if told else 1), name
    assert seeded.all_runs()[0].parameters["settings"] == {"depth": 12}


def test_a_file_of_any_kind_is_given_as_it_is_where_a_text_is_asked_for_and_stays_with_a_rerun(console, seeded):
    kept = console.call(seeded.room.define, console.ada, "embed-again", Engine.ARGO, "tell()")
    name = "collection"
    page = console.page("pipelines", pipeline="embed-again")
    assert not [t for t in page.toggle if t.key == f"p-{kept.id}--settings-whole"], "an object is no file"
    page.file_uploader(key=f"p-{kept.id}--{name}-file").set_value(("a.png", b"\x89PNG\xff", "image/png"))
    next(b for b in page.button if b.label == "Start").click().run()
    assert "Choose a text file, or give the file itself." in said(page)
    page.file_uploader(key=f"p-{kept.id}--{name}-file").set_value(("a.png", b"\x89PNG\xff", "image/png"))
    page.toggle(key=f"p-{kept.id}--{name}-whole").set_value(True)
    next(b for b in page.button if b.label == "Start").click().run()
    (made,) = seeded.all_runs()
    page = console.page("run", run=made.id)
    assert [(r["Name"], r["Step"], r["Address"]) for r in rows(page, "Address")] == [("a.png", f"given as {name}", made.parameters[name])]
    page = console.page("pipelines", pipeline="embed-again", rerun=made.id)
    next(b for b in page.button if b.label == "Start").click().run()
    again = next(run for run in seeded.all_runs() if run.id != made.id)
    assert again.parameters[name].startswith(f"s3://hearth/runs/{again.id}/inputs/")
    assert (console.app.settings.home / "objects" / again.parameters[name].removeprefix("s3://hearth/")).read_bytes() == b"\x89PNG\xff"


def test_a_run_is_deleted_with_a_receipt(console, seeded):
    made = seeded.run(files=FILES)
    page = console.page("run", run=made.id)
    page.button(key="delete-run").click().run()
    assert "· 5 artifacts\n· 2 logs" in said(page)
    page.button(key="delete-run-yes").click().run()
    assert "0 left in every store." in said(page)
    with pytest.raises(NotFound):
        console.call(seeded.room.run, console.ada, made.id)


def test_a_run_that_goes_on_is_terminated_with_the_reason(console, seeded):
    code = "tell('load', 'running', task='load')\ntime.sleep(60)"
    kept = console.call(seeded.room.define, console.ada, "slow", Engine.ARGO, code)
    made = console.call(seeded.room.start, console.ada, kept.id, {})
    for _ in range(400):
        if console.call(seeded.room.steps, console.ada, made.id).items:
            break
        time.sleep(0.05)
    page = console.page("run", run=made.id)
    assert {node["name"]: node["label"]["formatter"] for node in chart(page)}["load"] == "▶ load\nrunning"
    page.button(key="terminate").click().run()
    assert "It was cancelled by ada." in said(console.page("run", run=made.id))


def test_an_experiment_compares_its_runs_with_a_baseline_and_names_the_best(console, seeded):
    made = [seeded.run(after_s=n, metrics={"recall": score, "ms": 10.0 + n}, parameters={"epochs": n}) for n, score in enumerate((0.5, 0.9, 0.7))]
    assert rows(console.page("experiments"), "Experiment")[0]["Runs"] == 3
    page = console.page("experiments", experiment=seeded.experiment.id)
    table = rows(page, "recall")
    assert [r["recall"] for r in table] == [0.7, 0.9, 0.5]
    assert "epochs" in table[0]
    assert "collection" not in table[0], "all have the same"
    page.selectbox(key=f"baseline-{seeded.experiment.id}").set_value(made[0].id).run()
    page = console.page("experiments", experiment=seeded.experiment.id, best="recall", y="recall")
    assert [round(r["Δ recall"], 3) for r in rows(page, "recall")] == [0.2, 0.4, 0.0]
    assert f"embed-again@1 {made[1].id[-6:]}: recall 0.9" in said(page)
    (drawn,) = json.loads(page.get("plotly_chart")[0].proto.spec)["data"]
    assert list(drawn["x"]) == [run.id[-6:] for run in made]
    assert drawn["mode"] == "lines+markers"
    page.button(key="delete-experiment").click().run()
    page.button(key="delete-experiment-yes").click().run()
    assert "Deleted the experiment wider-windows" in said(page)
    assert not tables(page, "Experiment")
    assert len(seeded.all_runs()) == 3, "the runs stay"


def test_the_best_run_of_an_evaluation_hands_its_settings_to_the_collection_at_a_click(console, seeded):
    console.call(console.app.library.create, console.ada, "lab")
    evaluating = console.call(pipeline, seeded.room._workflows, console.ada, "evaluate-rag")
    settings = {"collection": "lab", "top_k": "5", "rerank": "true", "chunk_chars": "400", "embedding_model": ""}
    for n, (depth, recall) in enumerate((("10", 0.5), ("50", 0.9))):
        given = {"experiment": seeded.experiment.id, "parameters": settings | {"rerank_depth": depth}, "metrics": {"recall_at_k": recall}, "after_s": n}
        console.call(run, seeded.room._workflows, seeded.room._objects, console.ada, evaluating, RunStatus.SUCCEEDED, **given)
    page = console.page("experiments", experiment=seeded.experiment.id, best="recall_at_k")
    page.button(key="promote").click().run()
    assert "The collection lab: rerank depth is now 50." in said(page)
    assert "Passages of 400 characters need a new collection" in said(page)
    assert console.call(console.app.library.collection, console.ada, "lab").rerank_depth == 50
