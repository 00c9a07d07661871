import asyncio

import pytest
from echo_house import taken_in

from core.users.model import Admin

pytestmark = pytest.mark.anyio
GUIDE = "# Lab handbook\n\n## Backups\nBackups run every night at 02:30.\n\n## Coffee\nThe machine is descaled on Fridays."
AT = "/v1/operations"


async def patiently(client, method, path, **given):
    """The answer once it isn't busy."""
    while (answer := await client.request(method, path, **given)).status_code == 429:
        await asyncio.sleep(0.05)
    return answer


async def test_a_sweep_is_tried_first_and_then_gives_its_receipt(api):
    due = (await api.post(f"{AT}/sweep?dry_run=true")).json()
    assert due["counts"]["messages"] == 0
    receipt = (await api.post(f"{AT}/sweep")).json()
    assert receipt["complete"] is True


async def test_a_backup_shows_how_far_it_is_until_it_is_in_the_list(api):
    begun = await api.post(f"{AT}/backups")
    assert begun.status_code == 202
    assert begun.json()["making"] is not None
    while (state := (await api.get(f"{AT}/backups")).json())["making"] is not None:
        await asyncio.sleep(0.02)
    assert (len(state["items"]), state["problem"], state["items"][0]["problem"]) == (1, "", "")


async def test_a_version_is_made_compared_served_and_the_one_before_removed(app, ada, api):
    await taken_in(app, ada, "guide.md", GUIDE)
    at = f"{AT}/collections/lab"
    assert [v["version"] for v in (await api.get(f"{at}/versions")).json()["items"]] == [1]
    begun = await api.post(f"{at}/versions", json={"embedding_model": "echo-embed"})
    assert (begun.status_code, begun.json()["version"]) == (202, 2)
    while (await api.get(f"{at}/versions/2")).json()["state"] == "building":
        await asyncio.sleep(0.02)
    found = (await patiently(api, "GET", f"{at}/compare?first=1&second=2")).json()
    assert found["first"] == found["second"]
    assert found["passages"] == 2
    assert (await api.post(f"{at}/versions/2/serve")).json()["version"] == 2
    assert (await patiently(api, "DELETE", f"{at}/versions/1")).json()["complete"] is True
    assert (await api.get(f"{at}/versions/1")).status_code == 404
    assert (await api.delete(f"{at}/versions/2")).status_code == 409, "it is searched"


async def test_a_golden_set_is_read_with_its_passages_by_those_whose_collections_it_is_about(app, ada, bob, api, bobs):
    wanted = []
    for who, name in ((ada, "ada"), (bob, "bob")):
        document, _ = await taken_in(app, who, "guide.md", GUIDE)
        chunk = (await app.library.chunks(who.user, document.id)).items[0]
        row = await app.console.lab.keep(Admin(ada.user), "tiny", name, "When do backups run?", ["lab"], [chunk.id])
        wanted.append((row.id, document.id, chunk))
    await app.console.lab.keep(Admin(ada.user), "hers", "ada", "And coffee?", ["lab"], [])
    assert (await api.get(f"{AT}/golden-sets")).json()["items"] == [{"name": "hers", "rows": 1}, {"name": "tiny", "rows": 1}]
    assert (await bobs.get(f"{AT}/golden-sets")).json()["items"] == [{"name": "tiny", "rows": 1}]
    assert (await bobs.get(f"{AT}/golden-sets/hers")).status_code == 404
    (his,) = (await bobs.get(f"{AT}/golden-sets/tiny")).json()["items"]
    assert (his["id"], [one["document_id"] for one in his["passages"]]) == (wanted[1][0], [wanted[1][1]])
    (mine,) = (await api.get(f"{AT}/golden-sets/tiny")).json()["items"]
    row_id, document_id, chunk = wanted[0]
    assert (mine["id"], mine["question"], mine["collections"], mine["refuse"]) == (row_id, "When do backups run?", ["lab"], False)
    (passage,) = mine["passages"]
    assert (passage["chunk_id"], passage["document_id"], passage["content"]) == (chunk.id, document_id, chunk.content)
    assert passage["end"] - passage["start"] >= len("Backups run every night at 02:30.")
    await app.console.lab.keep(Admin(ada.user), "tiny", "ada", "And coffee?", ["lab"], [])
    first = (await api.get(f"{AT}/golden-sets/tiny?limit=1")).json()
    assert first["next_cursor"]
    rest = (await api.get(f"{AT}/golden-sets/tiny?limit=1&cursor={first['next_cursor']}")).json()
    assert ([row["question"] for row in rest["items"]], rest["next_cursor"]) == (["And coffee?"], "")


async def test_a_folder_that_may_not_be_read_is_refused(app, ada, api):
    await app.library.create(ada.user, "lab")
    assert (await api.get(f"{AT}/collections/lab/folder")).status_code == 404
    assert (await api.post(f"{AT}/collections/lab/folder", json={"folder": "/etc"})).status_code == 403
    for own in ("s3://hearth/originals/", "s3://hearth/", "s3://elsewhere/incoming/"):
        assert (await api.post(f"{AT}/collections/lab/folder", json={"folder": own})).status_code == 400
    assert (await api.post(f"{AT}/collections/lab/folder/take-in")).status_code == 409


async def test_a_folder_of_the_object_store_is_taken_in_by_an_admin_and_by_nobody_else(app, ada, api, bobs):
    file = app.settings.home / "objects/incoming/guide.md"
    file.parent.mkdir()
    file.write_text(GUIDE)
    await app.library.create(ada.user, "lab")
    at, body = f"{AT}/collections/lab/folder", {"folder": "s3://hearth/incoming"}
    assert (await bobs.post("/v1/collections", json={"name": "lab"})).status_code == 201
    assert [(await bobs.post(at, json=body)).status_code, (await bobs.post(f"{at}/take-in")).status_code] == [404, 404]
    assert (await api.post(at, json=body)).json()["folder"] == "s3://hearth/incoming/"
    found = await over(api, at)
    assert (found["counts"], found["compared"]) == ({"new": 1}, True)
    await api.post(f"{at}/take-in")
    assert (await over(api, at))["counts"] == {"new": 0, "taken in": 1}
    assert [d.name for d in (await app.library.documents(ada.user, "lab")).items] == ["incoming/guide.md"]


async def over(api, at):
    """How a folder stands when nothing goes on there any more."""
    while not (state := (await api.get(at)).json())["over"]:
        await asyncio.sleep(0.02)
    return state


async def test_a_collection_may_be_made_with_another_model_and_searched_less_deep(app, ada, api):
    made = await api.post("/v1/collections", json={"name": "lab", "embedding_model": "echo-embed"})
    assert made.json()["embedding_model"] == "echo-embed"
    assert (await api.post("/v1/collections", json={"name": "other", "embedding_model": "nothing"})).status_code == 503
    await taken_in(app, ada, "guide.md", GUIDE)
    asked = {"query": "When do backups run?", "top_k": 1, "rerank_top_k": 1}
    for depth, read in ((1, 1), (2, 2)):
        told = (await api.post("/v1/collections/lab/query", json=asked | {"rerank_depth": depth})).json()
        assert sum(c["rerank_rank"] is not None for c in told["stages"]["candidates"]) == read


async def test_an_evaluation_and_a_promotion_of_nothing_are_not_found(app, ada, api):
    await app.library.create(ada.user, "lab")
    wanted = {"golden_set": "none", "collection": "lab", "settings": [{"top_k": 3}, {"top_k": 5, "rerank": False}]}
    assert (await api.post(f"{AT}/evaluations", json=wanted)).status_code == 404
    assert (await api.post(f"{AT}/evaluations", json=wanted | {"settings": [{"top_k": 0}]})).status_code == 400
    assert (await api.post(f"{AT}/promotions", json={"run_id": "none"})).status_code == 404
