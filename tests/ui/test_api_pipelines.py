"""Pipelines, runs, experiments and triggers, as a program uses them."""

import asyncio
import json
from contextlib import nullcontext
from dataclasses import replace

import pytest
from pipelining import SPEC, scripted

from core.adapters.engine_local import LocalEngine
from core.ids import new_id
from core.workflow.model import Engine, GraphNode, Parameter, ParameterType, PipelineSpec

pytestmark = pytest.mark.anyio
GRAPH = (GraphNode("load", "load", "script"), GraphNode("train", "train", "script", needs=("load",)))
TRAIN = """
(folder / "said.txt").write_text("first line\\nsecond line\\n")
(folder / "scores.json").write_text('{"loss": %d.5}' % order["parameters"]["n"])
(folder / "page.html").write_text("<script>alert(1)</script>")
tell("train", "running", name="train", task="train", attempt=1, log="said.txt", inputs=order["parameters"])
tell("train", "succeeded", name="train", task="train", attempt=1, log="said.txt", artifacts=[
    {"name": "scores.json", "type": "metrics", "path": "scores.json"}, {"name": "page.html", "type": "dataset", "path": "page.html"}])
tell()
"""
WAIT = "tell('wait', 'running', name='wait', task='wait')\ntime.sleep(60)"


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    """Both languages are Python here; what would be kept of them is not changed."""
    made = scripted(replace(SPEC, graph=GRAPH, notes=("Images are not used here.",)))
    monkeypatch.setattr("core.app._engines", lambda *_: nullcontext({Engine.ARGO: made, Engine.KUBEFLOW: made}))
    monkeypatch.setattr("core.workflow.shipped.SHIPPED", ())


@pytest.fixture
async def train(api):
    answer = await api.post("/v1/pipelines", json={"name": "train", "engine": "argo", "definition": TRAIN})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def started(client, pipeline="train", **given):
    answer = await client.post("/v1/runs", json={"pipeline": pipeline} | given)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def over(client, run_id):
    async with asyncio.timeout(20):
        while (run := (await client.get(f"/v1/runs/{run_id}")).json())["status"] not in ("succeeded", "failed"):
            await asyncio.sleep(0.02)
    return run


def error(answer):
    return answer.json()["error"]


async def with_files(client, run, at="/v1/runs/with-files", **files):
    return await client.post(at, data={"run": run if isinstance(run, str) else json.dumps(run)}, files=files)


async def test_a_run_is_started_with_a_file_which_its_owner_reads_by_its_address_and_nobody_else(app, api, bobs, train):
    answer = await with_files(api, {"pipeline": "train", "parameters": {"n": 2}}, word=("photo.png", b"\x89PNG\xff", "image/png"))
    assert answer.status_code == 202, answer.text
    made = answer.json()
    (given,) = made["artifacts"]
    assert (given["name"], given["type"], made["parameters"]) == ("photo.png", "dataset", {"n": 2, "word": given["uri"]})
    read = await api.get("/v1/operations/objects", params={"uri": given["uri"]})
    assert (read.status_code, read.content, read.headers["content-disposition"].partition(";")[0]) == (200, b"\x89PNG\xff", "attachment")
    assert (await bobs.get("/v1/operations/objects", params={"uri": given["uri"]})).status_code == 404
    await over(api, made["id"])
    again = await with_files(api, {}, f"/v1/runs/{made['id']}/rerun/with-files", word=("other.txt", b"other", "text/plain"))
    assert [a["name"] for a in again.json()["artifacts"]] == ["other.txt"]
    kept = (await api.post(f"/v1/runs/{made['id']}/rerun", json={})).json()
    assert (await api.get("/v1/operations/objects", params={"uri": kept["parameters"]["word"]})).content == b"\x89PNG\xff"
    receipt = (await api.delete(f"/v1/runs/{made['id']}")).json()
    assert receipt["complete"] is True
    assert (await api.get("/v1/operations/objects", params={"uri": given["uri"]})).status_code == 404


async def test_a_form_that_is_none_and_a_file_that_no_parameter_takes_are_refused_with_a_sentence(app, api, train, monkeypatch):
    for run, files, status, said in (
        ("{", {}, 422, "run"),
        ({"parameters": {}}, {}, 422, "pipeline"),
        ({"pipeline": "train"}, {"n": ("x", b"1")}, 400, "a whole number"),
        ({"pipeline": "train"}, {"m": ("x", b"1")}, 400, "no parameter 'm'"),
        ({"pipeline": "nothing"}, {"word": ("x", b"1")}, 404, "no such pipeline"),
    ):
        refused = await with_files(api, run, **files)
        assert (refused.status_code, said in refused.text) == (status, True), refused.text
    monkeypatch.setattr("core.workflow.inputs.MOST_INPUT_BYTES", 3)
    refused = await with_files(api, {"pipeline": "train"}, word=("x", b"1234"))
    assert (refused.status_code, "at most 0 MB in one file" in refused.text) == (413, True), refused.text
    assert not list((app.settings.home / "objects").rglob("*-x"))


async def test_a_pipeline_is_defined_run_looked_into_and_its_run_deleted_without_a_rest(app, api, train):
    assert (train["id"], train["version"], train["engine"], train["shared"]) == ("train@1", 1, "argo", False)
    made = await started(api, parameters={"n": 2}, experiment="sizes")
    assert (made["status"], made["cause"], made["parameters"]) == ("pending", "api", {"n": 2, "word": "hello"})
    run = await over(api, made["id"])
    assert (run["status"], run["reason"], run["metrics"], run["pipeline_id"], run["ahead"]) == ("succeeded", "", {"loss": 2.5}, "train@1", None)

    (step,) = (await api.get(f"/v1/runs/{run['id']}/steps")).json()["items"]
    assert (step["key"], step["status"], step["task"], [a["number"] for a in step["attempts"]]) == ("train", "succeeded", "train", [1])
    log = (await api.get(f"/v1/runs/{run['id']}/log", params={"step": "train", "offset": 6, "limit": 5})).json()
    assert log == {"text": "line\n", "offset": 6, "next_offset": 11, "size_bytes": 23, "over": True}
    tail = (await api.get(f"/v1/runs/{run['id']}/log", params={"step": "train", "attempt": 1, "offset": -5})).json()
    assert tail["text"] == "line\n"

    listed = (await api.get("/v1/pipelines")).json()["items"]
    assert [(p["name"], p["versions"], p["runs"], p["last_status"], p["definition"]) for p in listed] == [("train", 1, 1, "succeeded", None)]
    objects = {f.name for f in (app.settings.home / "objects/runs" / run["id"]).rglob("*") if f.is_file()}
    assert len(objects) == 3
    receipt = (await api.delete(f"/v1/runs/{run['id']}")).json()
    assert receipt["complete"] is True
    assert {k: receipt["removed"][k] for k in ("runs", "steps", "artifacts", "objects")} == {"runs": 1, "steps": 1, "artifacts": 3, "objects": 3}
    assert (await api.get(f"/v1/runs/{run['id']}")).status_code == 404
    assert not (app.settings.home / "objects/runs" / run["id"]).exists()


async def test_the_bytes_of_an_artifact_that_could_carry_a_script_are_downloaded_and_never_shown(api, train):
    run = await over(api, (await started(api))["id"])
    kinds = {}
    for artifact in run["artifacts"]:
        file = await api.get(f"/v1/runs/{run['id']}/artifacts/{artifact['id']}")
        assert file.status_code == 200
        assert file.headers["x-content-type-options"] == "nosniff"
        assert file.headers["content-security-policy"].startswith("sandbox;")
        kinds[artifact["name"]] = (file.headers["content-type"], file.headers["content-disposition"].partition(";")[0], file.text)
    assert kinds == {
        "log-1.txt": ("text/plain; charset=utf-8", "inline", "first line\nsecond line\n"),
        "page.html": ("application/octet-stream", "attachment", "<script>alert(1)</script>"),
        "scores.json": ("application/octet-stream", "attachment", '{"loss": 1.5}'),
    }
    assert (await api.get(f"/v1/runs/{run['id']}/artifacts/{new_id()}")).status_code == 404


async def test_a_version_shows_its_definition_as_it_came_with_what_it_says(api, train):
    found = (await api.get("/v1/pipelines/train")).json()
    assert found["definition"] == TRAIN
    assert [(p["name"], p["type"], p["default"], p["required"]) for p in found["spec"]["parameters"]] == [
        ("n", "integer", 1, False), ("word", "string", "hello", False),
    ]  # fmt: skip
    assert found["spec"]["graph"][1] == {"name": "train", "label": "train", "kind": "script", "needs": ["load"], "inside": ""}
    assert found["spec"]["notes"] == ["Images are not used here."]
    again = (await api.post("/v1/pipelines", json={"name": "train", "engine": "argo", "definition": TRAIN})).json()
    second = (await api.post("/v1/pipelines", json={"name": "train", "engine": "argo", "definition": TRAIN + "#"})).json()
    assert (again["id"], second["id"]) == ("train@1", "train@2")
    page = (await api.get("/v1/pipelines/train@1/versions", params={"limit": 1})).json()
    assert ([v["id"] for v in page["items"]], bool(page["next_cursor"])) == (["train@2"], True)
    assert (await api.get("/v1/pipelines/train@1")).json()["definition"] == TRAIN
    assert (await api.get("/v1/pipelines/train")).json()["definition"] == TRAIN + "#"


async def test_a_definition_is_looked_at_without_being_kept(api):
    answer = await api.post("/v1/pipelines/validate", json={"engine": "kubeflow", "definition": TRAIN})
    assert (answer.status_code, [n["name"] for n in answer.json()["graph"]]) == (200, ["load", "train"])
    assert (await api.get("/v1/pipelines")).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"engine": "airflow"}, 422, "'kubeflow' or 'argo'"),
        ({"definition": "#" * (1 << 20) + "x"}, 400, "more than 1 MB"),
        ({"definition": "#" * 10_000_000}, 413, "MB"),
        ({"definition": ""}, 422, "at least 1 character"),
        ({"name": "Not A Name"}, 400, "can't be the name of a pipeline"),
        ({"name": "../x"}, 400, "can't be the name of a pipeline"),
    ],
)
async def test_what_can_not_be_a_pipeline_is_refused_with_a_sentence(api, body, status, said):
    answer = await api.post("/v1/pipelines", json={"name": "train", "engine": "argo", "definition": "tell()"} | body)
    assert answer.status_code == status
    assert said in error(answer)["message"]
    assert (await api.get("/v1/pipelines")).json()["items"] == []


async def test_a_language_that_nothing_here_runs_is_said_so(app, api, train):
    engines = app.pipelines._engines
    kept = dict(engines)
    engines.clear()
    answer = await api.post("/v1/runs", json={"pipeline": "train"})
    assert (answer.status_code, error(answer)["message"]) == (400, "Nothing here runs pipelines for argo.")
    found = (await api.get("/v1/pipelines/train")).json()
    assert (found["spec"], "Nothing here runs" in found["problem"], found["definition"]) == (None, True, TRAIN)
    engines.update(kept)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"parameters": {"n": "two"}}, 400, "takes a whole number"),
        ({"parameters": {"m": 1}}, 400, "no parameter 'm'"),
        ({"parameters": {"word": "\ud800"}}, 422, "surrogate"),
        ({"id": "mine"}, 400, "UUID"),
        ({"pipeline": "nothing"}, 404, "no such pipeline"),
        ({"experiment": "Big Ones"}, 400, "can't be the name of an experiment"),
    ],
)
async def test_what_can_not_be_run_is_refused_with_a_sentence_and_makes_no_run(api, train, body, status, said):
    sent = json.dumps({"pipeline": "train"} | body)  # httpx can't write half a character
    answer = await api.post("/v1/runs", content=sent, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert said in error(answer)["message"]
    assert (await api.get("/v1/runs")).json()["items"] == []


async def test_the_same_id_makes_one_run_and_another_body_is_a_409(api, train):
    run_id = new_id()
    first = await started(api, id=run_id, parameters={"n": 2})
    assert (await started(api, id=run_id, parameters={"n": 2}))["id"] == first["id"] == run_id
    answer = await api.post("/v1/runs", json={"pipeline": "train", "id": run_id, "parameters": {"n": 3}})
    assert answer.status_code == 409
    assert len((await api.get("/v1/runs")).json()["items"]) == 1


async def test_a_run_is_terminated_within_a_second_and_says_by_whom(api, train):
    await api.post("/v1/pipelines", json={"name": "wait", "engine": "argo", "definition": WAIT})
    made = await started(api, "wait")
    while not (await api.get(f"/v1/runs/{made['id']}/steps")).json()["items"]:
        await asyncio.sleep(0.02)
    assert (await api.delete(f"/v1/runs/{made['id']}")).status_code == 409
    ended = (await api.post(f"/v1/runs/{made['id']}/terminate")).json()
    assert (ended["status"], ended["reason"]) == ("failed", "It was cancelled by ada.")
    (step,) = (await api.get(f"/v1/runs/{made['id']}/steps")).json()["items"]
    assert step["status"] == "failed"
    assert (await api.post(f"/v1/runs/{made['id']}/terminate")).json()["reason"] == ended["reason"]


async def test_a_run_is_repeated_with_a_change_and_of_the_latest_version_when_asked(api, train):
    first = await started(api, parameters={"n": 2}, experiment="sizes")
    await api.post("/v1/pipelines", json={"name": "train", "engine": "argo", "definition": TRAIN + "#"})
    same = (await api.post(f"/v1/runs/{first['id']}/rerun", json={"parameters": {"word": "b"}})).json()
    assert (same["rerun_of"], same["cause"], same["pipeline_id"], same["parameters"]) == (first["id"], "rerun", "train@1", {"n": 2, "word": "b"})
    assert same["experiment_id"] == first["experiment_id"] != ""
    latest = (await api.post(f"/v1/runs/{first['id']}/rerun", json={"latest": True})).json()
    assert latest["pipeline_id"] == "train@2"


async def test_a_rerun_of_a_version_that_lost_a_parameter_begins_with_what_still_fits_and_names_the_rest(api, train, monkeypatch):
    first = await started(api, parameters={"n": 2, "word": "a"})
    await api.post("/v1/pipelines", json={"name": "train", "engine": "argo", "definition": TRAIN + "#"})
    newer = (Parameter("count", ParameterType.INTEGER, 9), Parameter("word", ParameterType.STRING, "b", options=("b", "c")), Parameter("kept", default="k"))
    older = LocalEngine.validate
    monkeypatch.setattr(LocalEngine, "validate", lambda self, text: PipelineSpec(newer) if text.endswith("#") else older(self, text))
    at = f"/v1/runs/{first['id']}/rerun"
    begins = (await api.get(at, params={"latest": True})).json()
    assert (begins["pipeline_id"], begins["parameters"], [p["name"] for p in begins["spec"]["parameters"]]) == ("train@2", {}, ["count", "word", "kept"])
    assert begins["dropped"] == {"n": "It has no such parameter.", "word": "'a' is none of the values of 'word'."}
    refused = await api.post(at, json={"latest": True, "parameters": {"word": "c"}})
    assert (refused.status_code, error(refused)["message"]) == (400, "train@2 doesn't take all parameters of that run. n: It has no such parameter.")
    dropped = (await api.post(at, json={"latest": True, "drop": True, "parameters": {"count": 3}})).json()
    assert (dropped["parameters"], dropped["rerun_of"]) == ({"count": 3, "word": "b", "kept": "k"}, first["id"])
    same = (await api.get(at)).json()
    assert (same["pipeline_id"], same["parameters"], same["dropped"]) == ("train@1", {"n": 2, "word": "a"}, {})


async def test_a_run_says_whether_it_may_take_over_what_earlier_ones_made(api, train):
    assert [(await started(api, **given))["cache"] for given in ({}, {"cache": False})] == [True, False]
    first = await started(api)
    assert (await api.post(f"/v1/runs/{first['id']}/rerun", json={"cache": False})).json()["cache"] is False


async def test_runs_are_listed_narrowed_and_sorted_page_by_page(api, train):
    ids = [(await over(api, (await started(api, parameters={"n": n}, experiment="sizes"))["id"]))["id"] for n in (2, 1, 3)]
    other = (await over(api, (await started(api))["id"]))["id"]

    async def listed(**params):
        found, cursor = [], ""
        while True:
            answer = await api.get("/v1/runs", params={"limit": 2, "cursor": cursor} | params)
            assert answer.status_code == 200, answer.text
            found += [run["id"] for run in answer.json()["items"]]
            if not (cursor := answer.json()["next_cursor"]):
                return found

    assert await listed() == [other, *reversed(ids)]
    assert await listed(experiment="sizes", sort="loss", descending=False) == [ids[1], ids[0], ids[2]]
    assert await listed(sort="duration", mine=True, pipeline="train@1", status="succeeded") != []
    assert await listed(status="failed") == await listed(pipeline="train@2") == await listed(since="2999-01-01T00:00:00Z") == []
    assert len(await listed(since="2001-01-01")) == 4
    for wrong in ({"status": "lost"}, {"since": "yesterday"}, {"since": "0001-01-01T00:00:00+14:00"}, {"limit": 0}):
        assert (await api.get("/v1/runs", params=wrong)).status_code == 422
    for sort in ("created", "duration", "loss"):
        for cursor in ("x", "9" * 400, "9" * 400 + " x", "0001-01-01T00:00:00+14:00 x", "nan x", "1 \x00"):
            assert (await api.get("/v1/runs", params={"sort": sort, "cursor": cursor})).status_code in (200, 400), (sort, cursor)
    for path in ("/v1/pipelines/train/versions", f"/v1/runs/{other}/steps"):
        assert (await api.get(path, params={"cursor": "9" * 400})).status_code == 400
    assert (await api.get("/v1/runs", params={"experiment": "none"})).status_code == 404


async def test_an_experiment_compares_its_runs_with_a_baseline_and_leaves_them_when_it_goes(api, train):
    runs = [await over(api, (await started(api, parameters={"n": n}, experiment="sizes"))["id"]) for n in (1, 2)]
    stranger = await started(api)
    found = (await api.get("/v1/experiments/sizes")).json()
    assert (found["name"], found["run_count"], found["metrics"], found["baseline"]) == ("sizes", 2, {"loss": 2.5}, "")
    assert [(r["id"], r["metrics"]) for r in found["runs"]] == [(r["id"], r["metrics"]) for r in reversed(runs)]
    assert (await api.put("/v1/experiments/sizes/baseline", json={"run_id": runs[0]["id"]})).json()["baseline"] == runs[0]["id"]
    assert (await api.put("/v1/experiments/sizes/baseline", json={"run_id": stranger["id"]})).status_code == 404
    assert [e["id"] for e in (await api.get("/v1/experiments")).json()["items"]] == [found["id"]]
    assert (await api.delete(f"/v1/experiments/{found['id']}")).json()["removed"] == {"experiments": 1}
    assert (await api.get("/v1/experiments/sizes")).status_code == 404
    assert (await api.get(f"/v1/runs/{runs[0]['id']}")).json()["experiment_id"] == ""


async def test_a_version_with_runs_stays_and_one_without_goes(api, train):
    await over(api, (await started(api))["id"])
    await api.post("/v1/pipelines", json={"name": "train", "engine": "argo", "definition": TRAIN + "#"})
    assert (await api.delete("/v1/pipelines/train@1")).status_code == 409
    assert (await api.delete("/v1/pipelines/train")).json()["removed"]["pipelines"] == 1
    assert [v["id"] for v in (await api.get("/v1/pipelines/train/versions")).json()["items"]] == ["train@1"]


async def test_a_trigger_is_made_shown_switched_and_deleted(api, train):
    answer = await api.post("/v1/triggers", json={"pipeline": "train", "kind": "schedule", "watched": "0 3 * * *", "parameters": {"n": 2}})
    assert answer.status_code == 201
    made = answer.json()
    assert (made["enabled"], made["pipeline_name"], made["problem"], made["next_at"][11:16]) == (True, "train", "", "03:00")
    assert (await api.get("/v1/triggers", params={"pipeline": "train"})).json()["items"] == [made]
    off = (await api.patch(f"/v1/triggers/{made['id']}", json={"enabled": False})).json()
    assert (off["enabled"], off["next_at"]) == (False, None)
    assert (await api.get(f"/v1/triggers/{made['id']}")).json() == off
    assert (await api.delete(f"/v1/triggers/{made['id']}")).status_code == 204
    assert (await api.get("/v1/triggers")).json()["items"] == []
    for wrong, said in (({"watched": "each day"}, "cron"), ({"kind": "file", "watched": "/etc"}, "can't be"), ({"kind": "moon"}, "kind")):
        refused = await api.post("/v1/triggers", json={"pipeline": "train", "kind": "schedule", "watched": "0 3 * * *"} | wrong)
        assert refused.status_code in (400, 422)
        assert said in error(refused)["message"]


async def test_a_file_that_arrives_starts_a_run_in_the_serving_house(app, api, train):
    """The house looks by itself."""
    await api.post("/v1/triggers", json={"pipeline": "train", "kind": "file", "watched": "incoming/"})
    await app.library._objects.put("incoming/a.csv", b"1")
    async with asyncio.timeout(20):
        while not (found := (await api.get("/v1/runs")).json()["items"]):
            await asyncio.sleep(0.1)
    assert [run["cause"] for run in found] == ["file"]


# who sees what


async def test_only_admins_define_share_and_delete_and_others_run_what_is_shared(api, bobs, train):
    wanted = {"name": "mine", "engine": "argo", "definition": "tell()"}
    for refused in (
        await bobs.post("/v1/pipelines", json=wanted),
        await bobs.post("/v1/pipelines/validate", json=wanted),
    ):
        assert (refused.status_code, error(refused)["message"]) == (403, "Only admins do that.")
    unshared = [
        await bobs.get("/v1/pipelines/train"),
        await bobs.get("/v1/pipelines/train/versions"),
        await bobs.patch("/v1/pipelines/train", json={"shared": True}),
        await bobs.delete("/v1/pipelines/train"),
        await bobs.post("/v1/runs", json={"pipeline": "train"}),
        await bobs.post("/v1/triggers", json={"pipeline": "train", "kind": "schedule", "watched": "0 3 * * *"}),
    ]
    unknown = await bobs.get("/v1/pipelines/nothing")
    assert {(a.status_code, a.text) for a in unshared} == {(404, unknown.text)}
    assert (await bobs.get("/v1/pipelines")).json()["items"] == []
    assert (await api.patch("/v1/pipelines/train", json={"shared": True})).json()["shared"] is True
    assert (await started(bobs))["pipeline_id"] == "train@1"
    for method, path, body in (("PATCH", "/v1/pipelines/train", {"shared": False}), ("DELETE", "/v1/pipelines/train", None)):
        assert (await bobs.request(method, path, json=body)).status_code == 403


async def test_somebody_elses_run_and_trigger_are_answered_like_none_and_admins_see_all(api, bobs, train):
    await api.patch("/v1/pipelines/train", json={"shared": True})
    hers = await over(api, (await started(api, experiment="sizes"))["id"])
    trigger = (await api.post("/v1/triggers", json={"pipeline": "train", "kind": "schedule", "watched": "0 3 * * *"})).json()
    his = await over(bobs, (await started(bobs, experiment="sizes"))["id"])
    asked = [
        ("GET", "/v1/runs/{}", None), ("DELETE", "/v1/runs/{}", None), ("GET", "/v1/runs/{}/steps", None), ("GET", "/v1/runs/{}/log?step=train", None),
        ("GET", "/v1/runs/{}/artifacts/" + hers["artifacts"][0]["id"], None), ("POST", "/v1/runs/{}/terminate", None), ("POST", "/v1/runs/{}/rerun", {}),
        ("GET", "/v1/triggers/{}", None), ("PATCH", "/v1/triggers/{}", {"enabled": False}), ("DELETE", "/v1/triggers/{}", None),
    ]  # fmt: skip
    for method, path, body in asked:
        real, none = [await bobs.request(method, path.format(i), json=body) for i in (trigger["id"] if "triggers" in path else hers["id"], new_id())]
        assert real.status_code == none.status_code == 404, (method, path)
        assert real.text == none.text
    assert [run["id"] for run in (await bobs.get("/v1/runs")).json()["items"]] == [his["id"]]
    assert (await bobs.get("/v1/triggers")).json()["items"] == []
    await api.put("/v1/experiments/sizes/baseline", json={"run_id": hers["id"]})
    only = await over(api, (await started(api, parameters={"n": 7}, experiment="sizes"))["id"])
    found, (listed,) = (await bobs.get("/v1/experiments/sizes")).json(), (await bobs.get("/v1/experiments")).json()["items"]
    assert [run["id"] for run in found["runs"]] == [his["id"]]
    for shown in (found, listed):
        assert (shown["run_count"], shown["metrics"], shown["baseline"]) == (1, his["metrics"], "")
    assert (await api.get("/v1/experiments/sizes")).json()["metrics"] == only["metrics"] != his["metrics"]
    assert (await bobs.put("/v1/experiments/sizes/baseline", json={"run_id": his["id"]})).status_code == 403
    assert (await bobs.delete("/v1/experiments/sizes")).status_code == 403
    assert [run["id"] for run in (await api.get("/v1/runs")).json()["items"]] == [only["id"], his["id"], hers["id"]]
    assert [run["id"] for run in (await api.get("/v1/runs", params={"mine": True})).json()["items"]] == [only["id"], hers["id"]]
    assert (await api.get(f"/v1/runs/{his['id']}")).status_code == 200
