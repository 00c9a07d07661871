"""What is done with one collection: chunks, originals, exports, the map, near-duplicates, orphans, uploads."""

import io
import json
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from echo_house import taken_in
from seen import rows, said
from sqlalchemy import insert

from core.adapters.database_sql import SqliteDatabase
from core.adapters.tables_sql import chunks
from core.audit import Act
from core.console.collections import Passage
from core.errors import BadInput, HearthError, NotFound
from core.ids import new_id
from core.rag.landscape import inside
from ui.admin.collection_views.landscape import COLOURS, MANY, chart, outline

PARTS = "\n\n".join(f"# Part {n}\n\nThis is about {thing} and nothing else, number {n}." for n, thing in enumerate(("keys", "tea", "wool", "rain", "bread")))
TWICE = b"# Again\n\nThe shed is locked at night.\n"


async def _filled(app):
    who = await app.users.by_key((await app.users.make_key(await app.users.named("bob")))[1])
    await taken_in(app, who, "parts.md", PARTS.encode())
    await taken_in(app, who, "one.md", TWICE)
    await taken_in(app, who, "two.md", TWICE + b"\n")
    return (await app.library.collection(who.user, "lab")).id


async def _swapped(app):
    """Both documents about the shed go, and two others come: as many passages as before."""
    who = await app.users.by_key((await app.users.make_key(await app.users.named("bob")))[1])
    for document in (await app.library.documents(who.user, "lab")).items:
        if document.name in ("one.md", "two.md"):
            await app.library.delete_document(who.user, document.id)
    await taken_in(app, who, "three.md", b"# Garden\n\nThe garden is watered twice a week.\n")
    await taken_in(app, who, "four.md", b"# Garden\n\nThe garden is closed in winter.\n")


@pytest.fixture
def collection(console):
    return console.call(_filled, console.app)


def test_a_documents_chunks_are_read_and_its_original_is_taken_away_with_a_note(console, collection):
    page = console.page("collection", collection=collection)
    document = next(r for r in rows(page, "Original") if "art" in r["Title"])
    page.selectbox(key="document").set_value(document["Id"]).run()
    assert "wool" in " ".join(r["Passage"] for r in rows(page, "Passage"))
    answer = console.download(f"documents/{document['Id']}")
    assert answer.content == PARTS.encode()
    assert answer.headers["content-type"] == "application/octet-stream"
    assert console.noted(Act.EXPORTED) == [(f"document {document['Id']}", {"of": "bob"})]
    assert console.download(f"documents/{document['Id']}", "bob").status_code == 404
    assert console.download(f"documents/{new_id()}").status_code == 404


def test_every_row_is_exported_in_both_forms(console, collection):
    held = console.call(console.app.console.collections.one, console.admin, collection)
    lines = [json.loads(line) for line in console.download(f"collections/{collection}.jsonl").text.splitlines()]
    table = pq.read_table(io.BytesIO(console.download(f"collections/{collection}.parquet").content))
    assert len(lines) == table.num_rows == held.live_chunks
    assert {line["chunk_id"] for line in lines} == set(table["chunk_id"].to_pylist())
    assert len(lines[0]["embedding"]) == held.collection.dimensions
    assert np.allclose(table["embedding"][0].as_py(), lines[0]["embedding"])
    assert console.download(f"collections/{collection}.exe").status_code == 404


def test_another_documents_chunks_begin_at_their_beginning_and_another_collections_are_not_shown(console, collection):
    page = console.page("collection", collection=collection, chunks="1")
    other = next(r for r in rows(page, "Original") if r["Chunks"] == 1)
    page.selectbox(key="document").set_value(other["Id"]).run()
    assert len(rows(page, "Passage")) == 1
    room = console.app.console.collections
    elsewhere = console.call(room.create, console.admin, "bob", "elsewhere", None)
    with pytest.raises(NotFound):
        console.call(room.chunks, console.admin, elsewhere.id, other["Id"])


def test_the_map_shows_every_passage_and_is_kept_until_the_collection_changes(console, collection):
    room = console.app.console.collections
    first = console.call(room.landscape, console.admin, collection)
    assert first.points.shape == (len(first.passages), 2)
    assert console.call(room.landscape, console.admin, collection) is first
    page = console.page("collection", collection=collection, view="map")
    assert f"{len(first.passages):,} of" in said(page)
    drawn = [point for series in json.loads(page.get("echarts_chart")[0].proto.spec)["series"] for point in series["data"]]
    assert sorted(text for _, _, text in drawn) == sorted(p.content[:80] for p in first.passages)
    assert (f"collection {collection}", {"name": "lab", "of": "bob", "map": True}) in console.noted(Act.READ)
    console.call(_swapped, console.app)
    again = console.call(room.landscape, console.admin, collection)
    assert len(again.passages) == len(first.passages)
    assert not any("shed" in p.content for p in again.passages), "what was deleted is not shown any more"
    assert any("garden" in p.content for p in again.passages)


def _mapped(documents, each):
    """The map of so many documents, each with so many passages."""
    passages = [Passage(f"{d}-{n}", str(d), f"Chapter {d}", f"passage {n} of {d}") for n in range(each) for d in range(documents)]
    return passages, chart(passages, np.arange(2 * len(passages), dtype=np.float32).reshape(-1, 2))


def test_each_of_a_few_documents_has_its_colour_and_its_name_on_the_map():
    _, drawn = _mapped(COLOURS, 3)
    assert [one["name"] for one in drawn["series"]] == [f"Chapter {d}" for d in range(COLOURS)]
    assert drawn["legend"]["show"]
    assert all(text.endswith(f"of {d}") for d, one in enumerate(drawn["series"]) for _, _, text in one["data"])
    assert not any(one["large"] for one in drawn["series"]), "each point is its own, so it can be dimmed"


def test_of_many_documents_each_keeps_to_one_colour_and_no_passage_is_lost():
    passages, drawn = _mapped(COLOURS + 3, MANY // COLOURS)
    colours = [{text.rpartition(" ")[2] for _, _, text in one["data"]} for one in drawn["series"]]
    assert len(colours) == COLOURS
    assert sum(map(len, colours)) == COLOURS + 3
    assert sum(len(one["data"]) for one in drawn["series"]) == len(passages)
    assert all(one["large"] for one in drawn["series"])
    assert not drawn["legend"]["show"]


def test_a_box_and_a_lasso_around_the_same_hold_the_same():
    box = outline({"brush_type": "rect", "coord_range": [[0, 2], [1, 3]]})
    lasso = outline({"brush_type": "polygon", "coord_range": [[0, 1], [2, 1], [2, 3], [0, 3]]})
    points = np.random.default_rng(1).uniform(-1, 4, (200, 2)).astype(np.float32)
    within = (points > [0, 1]).all(axis=1) & (points < [2, 3]).all(axis=1)
    assert np.array_equal(inside(points, box), within)
    assert np.array_equal(inside(points, lasso), within)


def test_what_says_the_same_twice_is_found(console, collection):
    compared, pairs = console.call(console.app.console.collections.duplicates, console.admin, collection, 0.99)
    assert compared >= 3
    assert {(one.content, other.content) for one, other, _ in pairs} == {("The shed is locked at night.",) * 2}
    page = console.page("collection", collection=collection, view="duplicates")
    page.toggle(key="compare").set_value(True).run()
    assert rows(page, "Alike")[0]["One"] == "The shed is locked at night."
    with pytest.raises(BadInput):
        console.call(console.app.console.collections.duplicates, console.admin, collection, 0.1)


def test_orphans_are_counted_and_removed_with_a_receipt(console, collection):
    assert "There are no orphans." in said(console.page("collection", collection=collection, view="orphans"))

    async def leave_one():
        async with SqliteDatabase("", home=console.app.settings.home) as database:
            (row,) = await database.read(lambda c: c.execute(chunks.select().limit(1)).mappings().all())
            left = dict(row) | {"n": None, "id": new_id(), "version": 99, "live": 0}
            await database.write(lambda c: c.execute(insert(chunks).values(left)))

    console.call(leave_one)
    page = console.page("collection", collection=collection, view="orphans")
    assert rows(page, "Kind") == [{"Kind": "chunks of a version that was left behind", "How many": 1}]
    assert [r["Orphans"] for r in rows(console.page("all_collections"), "Last ingest")] == [1]
    page.button(key="repair").click().run()
    page.button(key="repair-yes").click().run()
    assert "0 left in every store" in said(page)
    assert "There are no orphans." in said(page)
    assert [r["Orphans"] for r in rows(console.page("all_collections"), "Last ingest")] == [0]


def test_a_document_that_lacks_its_original_is_told_and_not_repaired(console, collection):
    path = next(p for p in (console.app.settings.home / "objects").rglob("*") if p.is_file())
    path.unlink()
    page = console.page("collection", collection=collection, view="orphans")
    assert rows(page, "Kind") == [{"Kind": "documents whose original is missing", "How many": 1}]
    assert "upload it again, or delete it" in said(page)
    assert not [b for b in page.button if b.key == "repair"]


def test_a_collection_is_pinned_to_the_model_that_was_chosen(console, tmp_path):
    room, page = console.app.console.collections, console.page("all_collections")
    page.button(key="create").click().run()
    assert page.selectbox(key="new_model").options == ["echo-embed", "echo-embed-small"]
    made = console.call(room.create, console.admin, "bob", "small", None, "echo-embed-small")
    assert (made.embedding_model, made.dimensions) == ("echo-embed-small", 64)
    path = tmp_path / "x"
    path.write_bytes(PARTS.encode())
    console.call(room.upload, console.admin, made.id, "parts.md", path)
    for _ in range(200):
        if console.call(room.one, console.admin, made.id).live_chunks:
            break
        time.sleep(0.05)
    assert console.call(room.one, console.admin, made.id).live_chunks
    with pytest.raises(HearthError, match="nonsense"):
        console.call(room.create, console.admin, "bob", "other", None, "nonsense")


def test_a_collection_is_created_for_somebody_and_filled_with_progress(console, tmp_path):
    room = console.app.console.collections
    made = console.call(room.create, console.admin, "bob", "handbook", 400)
    assert made.chunker == "structure-1/400"
    with pytest.raises(NotFound):
        console.call(room.create, console.admin, "nobody", "x", None)
    path = Path(tmp_path) / "x"
    path.write_bytes(PARTS.encode())
    taken = console.call(room.upload, console.admin, made.id, "parts.md", path)
    assert len(taken.jobs) == 1
    for _ in range(200):
        if not console.call(room.jobs, console.admin, made.id).items:
            break
        time.sleep(0.05)
    assert console.call(room.one, console.admin, made.id).documents == 1
    assert console.noted(Act.MADE)[0][0] == f"collection {made.id}"
    page = console.page("collection", collection=made.id, view="add")
    assert page.get("file_uploader")


def test_where_no_folder_may_be_read_the_page_says_which_setting_and_why_there_is_none_and_offers_the_object_store(console):
    made = console.call(console.app.console.collections.create, console.admin, "bob", "lab", None)
    shown = said(console.page("collection", collection=made.id, view="folder"))
    assert "Folders of the server are read once HEARTH_SYNC_FOLDERS names them: whoever owns a collection can read" in shown
    assert "the address of one in the object store, such as s3://hearth/incoming/" in shown
