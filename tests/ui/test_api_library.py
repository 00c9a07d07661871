import asyncio
import io
import zipfile
from dataclasses import replace

import pytest
from echo_house import echo_settings, taken_in

from core.app import open_app
from ui.server import LatePage, web

pytestmark = pytest.mark.anyio
GUIDE = "# Lab handbook\n\n## Backups\nBackups run every night at 02:30 and are kept for 35 days.\n\n## Coffee\nThe machine is descaled on Fridays."


async def upload(client, name, content, collection="lab"):
    content = content if isinstance(content, bytes) else content.encode()
    return await client.post(f"/v1/collections/{collection}/documents", files={"file": (name, content, "application/octet-stream")})


async def done(client, job_id):
    while (job := (await client.get(f"/v1/jobs/{job_id}")).json())["stage"] not in ("ready", "failed", "cancelled"):
        await asyncio.sleep(0.02)
    return job


async def every(client, path, **params):
    """All items of a list, two at a time, and how many pages they took."""
    items, cursor, pages = [], "", 0
    while True:
        page = (await client.get(path, params={"limit": 2, "cursor": cursor} | params)).json()
        items += page["items"]
        pages += 1
        if not (cursor := page["next_cursor"]):
            return items, pages


async def test_a_document_goes_from_upload_to_search_to_a_receipt_and_then_nothing_of_it_is_left(api):
    accepted = await upload(api, "guide.md", GUIDE)
    assert accepted.status_code == 202
    job = await done(api, accepted.json()["id"])
    assert (job["stage"], job["percent"], job["error"], job["collection"]) == ("ready", 100.0, "", "lab")
    document_id = job["document_id"]

    listed = (await api.get("/v1/collections/lab/documents")).json()["items"]
    assert [(d["id"], d["status"], d["content"]) for d in listed] == [(document_id, "ready", None)]
    whole = (await api.get(f"/v1/documents/{document_id}")).json()
    assert (whole["title"], whole["media_type"], whole["chunks"]) == ("Lab handbook", "text/markdown", 2)
    assert "kept for 35 days" in whole["content"]
    assert (await api.get(f"/files/{document_id}")).text == GUIDE
    counts = (await api.get("/v1/collections")).json()["items"][0]["counts"]
    assert (counts["documents"], counts["ready"], counts["chunks"]) == (1, 1, 2)

    found = (await api.post("/v1/collections/lab/query", json={"query": "How long are backups kept?"})).json()
    assert "35 days" in found["chunks"][0]["content"]
    assert found["chunks"][0]["metadata"]["position"] == 0
    assert found["scores"] == sorted(found["scores"], reverse=True)
    assert found["reranked"] is True
    assert found["stages"]["considered"] == 2
    assert {"embed", "dense", "lexical", "fuse", "load", "rerank", "total"} <= set(found["stages"]["ms"])

    receipt = (await api.delete(f"/v1/documents/{document_id}")).json()
    assert {k: receipt["removed"][k] for k in ("documents", "chunks", "vectors", "jobs", "objects")} == {
        "documents": 1, "chunks": 2, "vectors": 2, "jobs": 1, "objects": 1,
    }  # fmt: skip
    assert receipt["complete"] is True
    assert set(receipt["left"].values()) == {0}
    for path in (f"/v1/documents/{document_id}", f"/files/{document_id}", f"/v1/jobs/{job['id']}"):
        assert (await api.get(path)).status_code == 404
    after = (await api.post("/v1/collections/lab/query", json={"query": "How long are backups kept?"})).json()
    assert after["chunks"] == []


async def test_a_collection_is_made_once_pins_its_model_and_goes_with_everything_in_it(app, ada, api):
    made = await api.post("/v1/collections", json={"name": "  my   lab ", "colour": "red"})
    assert made.status_code == 201
    assert {k: made.json()[k] for k in ("name", "embedding_model", "dimensions", "version")} == {
        "name": "my lab", "embedding_model": "echo-embed", "dimensions": 384, "version": 1,
    }  # fmt: skip
    assert (await api.post("/v1/collections", json={"name": "my lab"})).status_code == 409
    assert (await api.get("/v1/collections/my lab")).json()["id"] == made.json()["id"]
    for name in ("one.txt", "two.txt"):
        await taken_in(app, ada, name, f"{name} is about backups", "my lab")
    receipt = (await api.delete("/v1/collections/my lab")).json()
    assert (receipt["removed"]["collections"], receipt["removed"]["documents"], receipt["complete"]) == (1, 2, True)
    assert (await api.get("/v1/collections/my lab")).status_code == 404
    assert (await api.get("/v1/collections")).json()["items"] == []


async def test_a_collection_needs_a_name_that_can_be_shown(api):
    for name in ("", "   ", "x" * 101, "a/b", "a\x00b", "a\u202eb", 7, None, ["lab"], {}):
        answer = await api.post("/v1/collections", json={"name": name})
        assert answer.status_code in (400, 422)
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert (await api.get("/v1/collections")).json()["items"] == []


async def test_lists_are_paged_whole_and_without_repeats(app, ada, api):
    names = ["a", "b", "c", "d", "lab"]
    for name in names[:-1]:
        await app.library.create(ada.user, name)
    documents = [(await taken_in(app, ada, f"{n}.txt", f"text number {n}"))[0].id for n in range(5)]
    collections, pages = await every(api, "/v1/collections")
    assert ([c["name"] for c in collections], pages) == (names, 3)
    listed, pages = await every(api, "/v1/collections/lab/documents")
    assert ([d["id"] for d in listed], pages) == (documents[::-1], 3)
    jobs, pages = await every(api, "/v1/jobs")
    assert ([j["document_id"] for j in jobs], pages) == (documents[::-1], 3)
    assert (await every(api, "/v1/jobs", collection="a"))[0] == []
    assert (await every(api, "/v1/jobs", unfinished=True))[0] == []


@pytest.mark.parametrize("limit", [0, -1, 501, "many", 1e9])
async def test_a_list_can_not_be_asked_for_more_than_it_gives(api, limit):
    for path in ("/v1/collections", "/v1/collections/lab/documents", "/v1/jobs", "/v1/conversations", "/v1/conversations/x"):
        answer = await api.get(path, params={"limit": limit})
        assert answer.status_code == 422
        assert answer.json()["error"]["param"] == "query.limit"


async def test_the_same_bytes_again_are_the_same_document(api):
    first = await done(api, (await upload(api, "guide.md", GUIDE)).json()["id"])
    again = (await upload(api, "copy.md", GUIDE)).json()
    assert (again["document_id"], again["id"]) == (first["document_id"], first["id"])
    assert len((await api.get("/v1/collections/lab/documents")).json()["items"]) == 1


async def test_several_uploads_at_once_into_a_collection_that_is_not_there_yet_all_succeed(api):
    answers = await asyncio.gather(*(upload(api, f"{n}.txt", f"text number {n}", "new") for n in range(6)))
    assert [a.status_code for a in answers] == [202] * 6
    for answer in answers:
        assert (await done(api, answer.json()["id"]))["stage"] == "ready"
    assert (await api.get("/v1/collections")).json()["items"][0]["counts"]["documents"] == 6


async def test_spaces_around_a_collections_name_do_not_make_another_one(api):
    assert (await upload(api, "1.txt", "one")).status_code == 202
    assert (await upload(api, "2.txt", "two", "%20lab%20")).status_code == 202
    assert [c["name"] for c in (await api.get("/v1/collections")).json()["items"]] == ["lab"]


async def test_a_file_that_can_not_be_read_fails_with_a_sentence_and_can_be_deleted(api):
    job = await done(api, (await upload(api, "photo.pdf", b"\x89PNG\r\n\x1a\n" + b"x" * 100)).json()["id"])
    assert job["stage"] == "failed"
    assert "PNG picture" in job["error"]
    assert (await api.delete(f"/v1/documents/{job['document_id']}")).json()["complete"] is True


async def test_an_empty_file_and_a_form_without_one_are_refused(api):
    assert (await upload(api, "empty.txt", b"")).status_code == 400
    for wrong in ({"data": {"file": "text"}}, {"files": {"other": ("a.txt", b"x")}}, {"json": {"file": "x"}}, {"content": b"x"}):
        answer = await api.post("/v1/collections/lab/documents", **wrong)
        assert answer.status_code == 422
        assert answer.json()["error"]["param"] == "file"
    assert (await api.get("/v1/collections")).json()["items"] == []


async def test_a_document_that_is_too_large_is_a_413_and_leaves_nothing(tmp_path, echo_server, open_client):
    async with open_app(echo_settings(tmp_path, upload_max_mb=1), local=echo_server, serving=True) as house:
        user = await house.users.add("ada", None)
        async with open_client(web(house, LatePage(wanted=False)), (await house.users.make_key(user))[1]) as client:
            for size in (1_000_001, 3_000_000):
                answer = await upload(client, "large.txt", b"x" * size)
                assert answer.status_code == 413
                assert "HEARTH_UPLOAD_MAX_MB" in answer.json()["error"]["hint"]
            assert (await client.get("/v1/collections")).json()["items"] == []
            assert [p for p in (tmp_path / "objects").rglob("*") if p.is_file()] == []


BAD_QUERIES = [
    {},
    {"query": ""},
    {"query": 7},
    {"query": "x", "top_k": 0},
    {"query": "x", "top_k": 51},
    {"query": "x", "rerank": "maybe"},
    {"query": "x" * 20_001},
]


async def test_a_query_that_can_not_be_used_is_refused_in_openais_shape(app, ada, api):
    await app.library.create(ada.user, "lab")
    for wrong in BAD_QUERIES:
        answer = await api.post("/v1/collections/lab/query", json=wrong)
        assert answer.status_code == 422
        assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("depth", "returned"), [({}, 3), ({"top_k": 2, "rerank_top_k": 9}, 2), ({"top_k": 4, "rerank": False}, 4), ({"rerank_top_k": 1}, 1)], ids=str
)
async def test_a_query_gives_as_many_passages_as_it_was_asked_for(app, ada, api, depth, returned):
    await taken_in(app, ada, "racks.md", "\n\n".join(f"## Rack {n}\nThe backups of rack {n}." for n in range(6)))
    found = (await api.post("/v1/collections/lab/query", json={"query": "backups of the rack"} | depth)).json()
    assert len(found["chunks"]) == len(found["scores"]) == found["stages"]["returned"] == returned
    assert found["reranked"] is depth.get("rerank", True)


async def test_where_a_collections_model_is_not_there_its_words_are_searched_and_that_is_said(app, ada, api):
    collection = await app.library.create(ada.user, "lab")
    await app.library._documents.delete_collection_for(ada.user.id, "lab")
    await app.library._documents.add_collection(replace(collection, dimensions=1024, embedding_model="bge-large"))
    answer = await api.post("/v1/collections/lab/query", json={"query": "backups"})
    assert answer.status_code == 200
    assert "Only words were searched, not meaning: The embeddings server doesn't have the model bge-large" in answer.json()["stages"]["degraded"]


async def test_a_collection_of_vectors_of_another_length_is_refused_with_what_to_do(app, ada, api):
    collection = await app.library.create(ada.user, "lab")
    await app.library._documents.delete_collection_for(ada.user.id, "lab")
    await app.library._documents.add_collection(replace(collection, dimensions=1024))
    answer = await api.post("/v1/collections/lab/query", json={"query": "backups"})
    assert answer.status_code == 400
    assert "HEARTH_EMBEDDINGS_URL" in answer.json()["error"]["hint"]


def a_zip(entries):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


async def test_an_archive_is_its_files_and_says_what_was_left_out(api):
    answer = await upload(api, "papers.zip", a_zip({"a.md": "# A\n\nThe lamp.", "b/c.md": "The port.", "../x.txt": "bad", "d.docx": "no Word file"}))
    assert answer.status_code == 202
    taken = answer.json()
    assert (taken["accepted"], taken["skipped"]) == (3, [{"name": "../x.txt", "reason": "Its name leads out of the archive."}])
    jobs = [await done(api, job_id) for job_id in taken["job_ids"]]
    assert [(j["name"], j["stage"]) for j in jobs] == [("papers/a.md", "ready"), ("papers/b/c.md", "ready"), ("papers/d.docx", "failed")]


async def test_an_archive_that_is_a_bomb_or_holds_nothing_is_refused(api):
    assert (await upload(api, "bomb.zip", a_zip({"a.txt": "0" * 30_000_000}))).status_code == 413
    assert (await upload(api, "none.zip", a_zip({".hidden": "x"}))).status_code == 400
    assert (await api.get("/v1/collections")).json()["items"] == []


async def test_a_changed_file_is_the_next_version_of_the_same_document(api):
    first = await done(api, (await upload(api, "guide.md", GUIDE)).json()["id"])
    second = await done(api, (await upload(api, "guide.md", GUIDE.replace("35 days", "90 days"))).json()["id"])
    assert (second["document_id"], second["version"], second["name"]) == (first["document_id"], 2, "guide.md")
    found = (await api.post("/v1/collections/lab/query", json={"query": "How long are backups kept?"})).json()
    contents = [c["content"] for c in found["chunks"]]
    assert "90 days" in contents[0]
    assert "35 days" not in " ".join(contents)
    file = await api.get(f"/files/{first['document_id']}")
    assert "90 days" in file.text
    assert file.headers["content-disposition"].endswith("guide.md")


async def test_jobs_are_retried_cancelled_paused_and_resumed(app, ada, api):
    assert (await api.post("/v1/jobs/pause")).json() == {"paused": True}
    queued = (await upload(api, "guide.md", GUIDE)).json()
    waiting = (await api.get(f"/v1/jobs/{queued['id']}")).json()
    assert {k: waiting[k] for k in ("stage", "position", "eta_s", "stalled", "paused")} == {
        "stage": "queued", "position": 1, "eta_s": None, "stalled": False, "paused": True,
    }  # fmt: skip
    cancelled = (await api.post(f"/v1/jobs/{queued['id']}/cancel")).json()
    assert (cancelled["stage"], cancelled["error"]) == ("cancelled", "Cancelled.")
    assert (await api.post(f"/v1/jobs/{queued['id']}/retry")).status_code == 409
    assert (await api.get("/v1/jobs", params={"unfinished": True})).json()["items"] == []
    assert (await api.post("/v1/jobs/resume")).json() == {"paused": False}
    failed = await done(api, (await upload(api, "x.txt", b"\x7fELF" + b"x" * 99)).json()["id"])
    assert failed["stage"] == "failed"
    again = await api.post(f"/v1/jobs/{failed['id']}/retry")
    assert (again.status_code, again.json()["id"], again.json()["error"]) == (200, failed["id"], "")
    assert (await done(api, failed["id"]))["stage"] == "failed"
    assert (await api.post(f"/v1/jobs/{failed['id']}/cancel")).status_code == 409


async def test_a_pasted_text_is_a_document(api):
    job = await done(api, (await api.post("/v1/collections/lab/texts", json={"title": "Door", "text": "The door code is 4711."})).json()["id"])
    assert (job["stage"], job["title"], job["name"]) == ("ready", "Door", "Door.txt")
    found = (await api.post("/v1/collections/lab/query", json={"query": "door code"})).json()
    assert "4711" in found["chunks"][0]["content"]
    for wrong in ({"title": "", "text": "x"}, {"title": " ", "text": "x"}, {"title": "x", "text": ""}, {"title": "x"}):
        assert (await api.post("/v1/collections/lab/texts", json=wrong)).status_code in (400, 422)


async def test_a_documents_passages_are_paged_in_reading_order_and_stand_where_they_say(app, ada, api):
    document, _ = await taken_in(app, ada, "racks.md", "# Racks\n\n" + "\n\n".join(f"## Rack {n}\nThe backups of rack {n}." for n in range(5)))
    chunks, pages = await every(api, f"/v1/documents/{document.id}/chunks")
    assert ([c["position"] for c in chunks], pages) == ([0, 1, 2, 3, 4], 3)
    content = (await api.get(f"/v1/documents/{document.id}")).json()["content"]
    assert all(content[c["start"] : c["end"]] == c["content"] for c in chunks)
    assert (chunks[3]["heading"], chunks[3]["page"]) == ("Racks › Rack 3", None)


async def test_a_collection_chooses_its_chunk_size_once_and_its_rerank_depth_any_time(api):
    made = (await api.post("/v1/collections", json={"name": "lab", "chunk_chars": 300, "rerank_depth": 5})).json()
    assert (made["chunk_chars"], made["chunker"], made["rerank_depth"]) == (300, "structure-1/300", 5)
    assert (await api.patch("/v1/collections/lab", json={"rerank_depth": 40})).json()["rerank_depth"] == 40
    shown = (await api.get("/v1/collections/lab")).json()
    assert (shown["rerank_depth"], shown["chunk_chars"]) == (40, 300)
    assert (await api.get("/v1/collections")).json()["items"][0]["rerank_depth"] == 40
    for wrong in ({"rerank_depth": 0}, {"rerank_depth": 101}, {}, {"chunk_chars": 500}):
        assert (await api.patch("/v1/collections/lab", json=wrong)).status_code == 422
    for wrong in ({"chunk_chars": 199}, {"chunk_chars": 4001}, {"rerank_depth": 0}):
        assert (await api.post("/v1/collections", json={"name": "other"} | wrong)).status_code == 422
    assert (await api.patch("/v1/collections/nol", json={"rerank_depth": 4})).status_code == 404
