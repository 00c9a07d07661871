"""The pages of collections, and the room behind them."""

import pytest
from echo_house import taken_in
from seen import said

from core.audit import Act
from core.errors import NotFound

HOSTILE = "<script>alert(1) **bold** `$x$`"


async def _filled(app):
    who = await app.users.by_key((await app.users.make_key(await app.users.named("bob")))[1])
    await taken_in(app, who, "guide.md", b"# Keys\n\nThe key of the shed hangs behind the door.\n", HOSTILE)
    await taken_in(app, who, "empty.pdf", b"%PDF-1.4 broken", HOSTILE)


def test_an_empty_house_says_how_a_collection_comes_to_be(console):
    assert "There is no collection yet." in said(console.page("all_collections"))
    assert "No collection is chosen." in said(console.page("collection"))
    assert "There is no such collection." in said(console.page("collection", collection="nobodys"))


def test_collections_are_counted_opened_with_a_note_and_deleted_with_a_receipt(console):
    console.call(_filled, console.app)
    (row,) = console.page("all_collections").dataframe[0].value.to_dict("records")
    assert (row["Collection"], row["Of"], row["Documents"], row["Chunks"], row["Failed"]) == (HOSTILE, "bob", 2, 1, 1)
    assert row["Last ingest"] != "–"

    collection_id = row["Open"].partition("=")[2]
    page = console.page("collection", collection=collection_id)
    assert {r["State"] for r in page.dataframe[0].value.to_dict("records")} == {"ready", "failed"}
    (note, *_) = console.call(console.app.audit.entries, act=Act.READ).items
    assert (note.subject, note.actor, note.detail["of"]) == (f"collection {collection_id}", "ada", "bob")

    page.button(key="delete-collection").click().run()
    assert "This deletes a collection of bob." in said(page)
    page.button(key="delete-collection-yes").click().run()
    assert "0 left in every store." in said(page)
    with pytest.raises(NotFound):
        console.call(console.app.console.collections.one, console.admin, collection_id)
    (gone,) = console.call(console.app.audit.entries, act=Act.DELETED).items
    assert (gone.subject, gone.detail["documents"] > 0) == (f"collection {collection_id}", True), "noted before it began"
