"""What is done with one collection: chunks, originals, exports, the map, near-duplicates, orphans, uploads."""

import io
import json
import time
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from echo_house import taken_in
from sqlalchemy import insert

from core.adapters.database_sql import SqliteDatabase
from core.adapters.tables_sql import chunks
from core.audit import Act
from core.errors import BadInput, NotFound
from core.ids import new_id
from ui.gate import COOKIE
from ui.server import LatePage, web

PARTS = "\n\n".join(f"# Part {n}\n\nThis is about {thing} and nothing else, number {n}." for n, thing in enumerate(("keys", "tea", "wool", "rain", "bread")))
TWICE = b"# Again\n\nThe shed is locked at night.\n"


def rows(page, column):
    return next(table.value.to_dict("records") for table in page.dataframe if column in table.value.columns)


def said(page):
    parts = [*page.caption, *page.text, *page.info, *page.warning, *page.success, *page.error, *page.subheader]
    return "\n".join(str(part.value) for part in parts)


async def _filled(app):
    who = await app.users.by_key((await app.users.make_key(await app.users.named("bob")))[1])
    await taken_in(app, who, "parts.md", PARTS.encode())
    await taken_in(app, who, "one.md", TWICE)
    await taken_in(app, who, "two.md", TWICE + b"\n")
    return (await app.library.collection(who.user, "lab")).id


@pytest.fixture
def collection(console):
    return console.call(_filled, console.app)


def download(console, path, name="ada"):
    async def go():
        transport = httpx.ASGITransport(web(console.app, LatePage(wanted=False)))
        async with httpx.AsyncClient(transport=transport, base_url="http://hearth.test", cookies={COOKIE: console.tokens[name]}) as client:
            return await client.get(f"/admin/files/{path}")

    return console.call(go)


def noted(console, act):
    return [e.subject for e in console.call(console.app.audit.entries, act=act).items]


def test_a_documents_chunks_are_read_and_its_original_is_taken_away_with_a_note(console, collection):
    page = console.page("collection", collection=collection)
    document = next(r for r in rows(page, "Original") if "art" in r["Title"])
    page.selectbox(key="document").set_value(document["Id"]).run()
    assert "wool" in " ".join(r["Passage"] for r in rows(page, "Passage"))
    answer = download(console, f"documents/{document['Id']}")
    assert answer.content == PARTS.encode()
    assert answer.headers["content-type"] == "application/octet-stream"
    assert noted(console, Act.EXPORTED) == [f"document {document['Id']}"]
    assert download(console, f"documents/{document['Id']}", "bob").status_code == 404
    assert download(console, f"documents/{new_id()}").status_code == 404


def test_every_row_is_exported_in_both_forms(console, collection):
    held = console.call(console.app.console.collections.one, console.admin, collection)
    lines = [json.loads(line) for line in download(console, f"collections/{collection}.jsonl").text.splitlines()]
    table = pq.read_table(io.BytesIO(download(console, f"collections/{collection}.parquet").content))
    assert len(lines) == table.num_rows == held.live_chunks
    assert {line["chunk_id"] for line in lines} == set(table["chunk_id"].to_pylist())
    assert len(lines[0]["embedding"]) == held.collection.dimensions
    assert np.allclose(table["embedding"][0].as_py(), lines[0]["embedding"])
    assert download(console, f"collections/{collection}.exe").status_code == 404


def test_the_map_shows_every_passage_and_is_kept_until_the_collection_changes(console, collection):
    room = console.app.console.collections
    first = console.call(room.landscape, console.admin, collection)
    assert first.points.shape == (len(first.passages), 2)
    assert console.call(room.landscape, console.admin, collection) is first
    page = console.page("collection", collection=collection, view="map")
    assert f"{len(first.passages):,} of" in said(page)
    assert page.get("plotly_chart")


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
    page.button(key="repair").click().run()
    page.button(key="repair-yes").click().run()
    assert "0 left in every store" in said(page)
    assert "There are no orphans." in said(page)


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
    assert noted(console, Act.MADE)[0] == f"collection {made.id}"
    page = console.page("collection", collection=made.id, view="add")
    assert page.get("file_uploader")
