"""What a chunk index on a server owes beyond its port: never more than the rows allow, never a half that looks whole, and no question that waits for it."""

import asyncio
import random
import time
from dataclasses import replace

import numpy as np
import pytest
import servers
from proxy import Proxy
from sqlalchemy import delete
from stored import NOW, a_collection, add, axis, passages

from core.adapters.database_sql import SqliteDatabase
from core.adapters.documents_sql import SqlDocuments
from core.adapters.tables_sql import chunks
from core.adapters.versions_sql import SqlCollectionVersions
from core.errors import ServiceUnavailable, SettingsError
from core.ids import chunk_id, new_id
from core.rag.model import VersionState

pytestmark = [pytest.mark.anyio, pytest.mark.services]
KIND = "vectors in Milvus"
HOSTILE = [
    '"',
    "'",
    "\\",
    '\\"',
    '" or 1==1 or "" == "',
    "a' or 'a'=='a",
    '"] or id != "',
    "%",
    "_",
    "x%",
    "Ünï©ode",
    "日本語",
    "🙂",
    "{x}",
    "$a",
    "(",
    "--",
    " ",
    "\\n",
]


@pytest.fixture
async def database(tmp_path):
    async with SqliteDatabase("", home=tmp_path) as opened:
        await opened.migrate()
        yield opened


@pytest.fixture
def store(database):
    return SqlDocuments(database)


@pytest.fixture
def way(server):
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture(params=servers.MILVUS, ids=lambda leg: f"leg={leg}")
def server(request, milvus):
    from milvus_index import emptied

    made = milvus(request.param)
    emptied(made.url)
    return made


@pytest.fixture
async def index(way, database):
    from milvus_index import opened

    async with opened(f"http://127.0.0.1:{way.port}", database) as made:
        yield made


async def published(store, index, user, collection, texts=("the port is 8000", "the lamp is green"), **given):
    """As the library does it: the rows, then their copy, then the document is found."""
    document, job = await add(store, user, collection, texts, publish=False, **given)
    document = replace(document, chunks=len(texts), version=job.version, sha256=job.sha256)
    await store.store_chunks(document, passages(document, texts), 1)
    await index.add(document)
    assert await store.publish(document, job)
    return document


async def ids(index, collection, n=0, top_k=5, version=1):
    return [hit.chunk_id for hit in await index.nearest({collection.id: version}, axis(n), top_k)]


async def again(ask, within_s=15):
    """Asks until the server, which is back, is found again."""
    begun = time.monotonic()
    while True:
        try:
            return await ask()
        except ServiceUnavailable:
            assert time.monotonic() - begun < within_s
            await asyncio.sleep(0.1)


async def in_milvus(index, filtered=""):
    return await index._count("hearth_8", filtered)


async def names(index):
    return await index._call(lambda client: client.list_collections(), 30)


async def written_by_hand(index, name, *rows):
    """Rows of two signs a field, but for those given."""
    whole = [{"document": "d/1", "dense": axis(0), "text": "x"} | row for row in rows]
    await index._write("insert", name, data=[{k: v for k, v in row.items() if index._words or k != "text"} for row in whole])


async def test_a_document_is_found_as_soon_as_it_is_published_and_goes_with_a_count_of_none_left(store, index, ada):
    collection = await a_collection(store, ada)
    document = await published(store, index, ada, collection)
    assert (await ids(index, collection))[0] == chunk_id(document.id, 1, 0)
    assert [h.chunk_id for h in await index.matching([collection.id], "which lamp?", 5)] == [chunk_id(document.id, 1, 1)]
    assert await index.size([collection.id]) == 2
    await store.bury_for(ada.id, document.id)
    receipt = await index.drop_document(document.id)
    assert (receipt.removed, receipt.left) == ({KIND: 2}, {KIND: 0})
    assert await in_milvus(index) == 0
    await store.remove(document.id)
    assert await ids(index, collection) == []


async def test_adding_twice_changes_nothing_and_a_new_version_lets_go_of_the_old_one(store, index, ada):
    collection = await a_collection(store, ada)
    document = await published(store, index, ada, collection, name="a.txt")
    await index.add(document)
    assert await in_milvus(index) == 2
    second = await published(store, index, ada, collection, ["the port is 9000"], name="a.txt", sha="b" * 64)
    assert (second.id, second.version) == (document.id, 2)
    receipt = await index.drop_document(second.id, but=second.version)
    assert (receipt.removed, receipt.left) == ({KIND: 2}, {KIND: 0})
    assert await ids(index, collection) == [chunk_id(document.id, 2, 0)]


async def test_what_may_not_be_found_takes_no_place_in_a_ranking(store, index, ada, bob):
    mine, theirs = await a_collection(store, ada), await a_collection(store, bob)
    far = await published(store, index, ada, mine, ["a", "b", "c"])
    await published(store, index, bob, theirs, ["x"] * 40)
    unready, _ = await add(store, ada, mine, sha="c" * 64, publish=False)
    near = [replace(p, embedding=axis(2)) for p in passages(unready, ["c c c"] * 40)]
    await store.store_chunks(replace(unready, chunks=40), near, 1)
    await index.add(unready)
    assert await in_milvus(index) == 83
    assert await ids(index, mine, 2, top_k=3) == [chunk_id(far.id, 1, 2), *sorted(chunk_id(far.id, 1, n) for n in (0, 1))]


async def test_a_wrong_scope_never_shows_what_is_somebody_elses(store, index, ada, bob):
    mine, theirs = await a_collection(store, ada), await a_collection(store, bob)
    document, foreign = await published(store, index, ada, mine, ["a"]), await published(store, index, bob, theirs, ["b"])
    stray = f"{chunk_id(foreign.id, 1, 0)}/1"
    await index._write("delete", "hearth_8", ids=[stray])
    await written_by_hand(index, "hearth_8", {"id": stray, "tenant": bob.id, "scope": f"{mine.id}/1", "document": f"{foreign.id}/1"})
    assert await in_milvus(index, f"scope == '{mine.id}/1'") == 2
    assert await ids(index, mine) == [chunk_id(document.id, 1, 0)]


async def test_a_passage_lies_where_its_tenant_is_looked_for_also_when_it_was_written_twice(store, index, ada):
    texts = [f"passage {n}" for n in range(100)]
    document = await published(store, index, ada, await a_collection(store, ada), texts)
    await index.add(document)
    fields = (await index._call(lambda client: client.describe_collection("hearth_8"), 30))["fields"]
    assert [field["name"] for field in fields if field.get("is_partition_key")] == ["tenant"]
    assert (await in_milvus(index), await in_milvus(index, f"tenant == '{ada.id}'")) == (100, 100)


async def test_what_lies_there_twice_is_settled_to_once(store, index, ada):
    collection = await a_collection(store, ada)
    document = await published(store, index, ada, collection)
    row = {"id": f"{chunk_id(document.id, 1, 0)}/1", "tenant": ada.id, "scope": f"{collection.id}/1", "document": f"{document.id}/1"}
    assert await index.settle() == {}
    await written_by_hand(index, "hearth_8", row)  # as two processes at once may do; Milvus Lite keeps one of them by itself
    assert await index.settle() == ({} if index._lite else {"added": 2})
    assert await in_milvus(index) == 2
    assert len(await ids(index, collection)) == 2


async def test_what_lies_in_one_of_many_parts_is_settled_too(store, index, ada, monkeypatch):
    monkeypatch.setattr("core.adapters.chunk_index_milvus.COMPARED_AT_ONCE", 4)
    collection = await a_collection(store, ada)
    document = await published(store, index, ada, collection, ["lamp"] * 30)
    lost = [f"{chunk_id(document.id, 1, n)}/1" for n in range(0, 30, 4)]
    await index._write("delete", "hearth_8", ids=lost)
    assert await index.settle() == {"added": len(lost)}
    assert await in_milvus(index) == 30


async def test_another_form_is_filled_beside_the_one_that_answers_and_then_takes_its_place(store, index, database, way, ada, monkeypatch):
    from milvus_index import opened

    collection, busy = await a_collection(store, ada), await a_collection(store, ada, "busy")
    kept = await published(store, index, ada, collection)
    gone, before = await published(store, index, ada, busy, sha="b" * 64), await names(index)
    monkeypatch.setattr("core.adapters.chunk_index_milvus.PARTITIONS", 4)
    async with opened(f"http://127.0.0.1:{way.port}", database) as other:
        assert (await ids(other, collection))[0] == chunk_id(kept.id, 1, 0)
        assert len(await ids(other, busy)) == 2
        await published(store, other, ada, busy, ["new"], sha="c" * 64)
        assert len(await names(other)) == 2
        with pytest.raises(ServiceUnavailable, match="1 of 3 passages have not come"):
            await ids(other, busy)
        brief = await published(store, other, ada, busy, ["brief"], sha="d" * 64)
        for document, count in ((gone, 2), (brief, 1)):  # one lies in what is searched, the other in what is being filled
            await store.bury_for(ada.id, document.id)
            receipt = await other.drop_document(document.id)
            assert (receipt.removed, receipt.left) == ({KIND: count}, {KIND: 0})
            await store.remove(document.id)
        assert await other.settle() == {"added": 2}
        assert len(await ids(other, collection)) == 2
        assert len(await ids(other, busy)) == 1
        (after,) = await names(other)
        assert after not in before
        assert await other.settle() == {}
    assert len(await ids(index, collection)) == 2  # a process that has asked before asks the same alias


@pytest.mark.parametrize("name", ["hearth_8", "hearth_8_00000000"])
async def test_a_collection_without_tenants_is_not_searched_and_makes_way(store, index, ada, name):
    def as_it_was(client):
        from pymilvus import DataType

        schema, indexes = client.create_schema(auto_id=False), client.prepare_index_params()
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=64)
        schema.add_field("scope", DataType.VARCHAR, max_length=64)
        schema.add_field("dense", DataType.FLOAT_VECTOR, dim=8)
        indexes.add_index("dense", index_type="FLAT", metric_type="COSINE")
        client.create_collection(name, schema=schema, index_params=indexes)
        if name != "hearth_8":
            client.create_alias(name, "hearth_8")

    await index._call(as_it_was, 30)
    collection = await a_collection(store, ada)
    await add(store, ada, collection, ["one", "two", "three"])
    with pytest.raises(ServiceUnavailable, match="3 of 3 passages have not come to Milvus yet"):
        await ids(index, collection)
    assert await index.settle() == {"added": 3}
    assert len(await ids(index, collection)) == 3
    (left,) = await names(index)
    assert left not in ("hearth_8", name)


async def test_vectors_whose_rows_are_gone_are_neither_found_nor_in_the_way_and_settling_removes_them(store, index, database, ada):
    collection = await a_collection(store, ada)
    gone = await published(store, index, ada, collection, ["lamp"] * 16)
    kept = await published(store, index, ada, collection, ["lamp"], sha="b" * 64)
    await database.write(lambda c: c.execute(delete(chunks).where(chunks.c.document_id == gone.id)))
    assert await ids(index, collection, 0, top_k=1) == [chunk_id(kept.id, 1, 0)]
    assert [h.chunk_id for h in await index.matching([collection.id], "lamp", 1)] == [chunk_id(kept.id, 1, 0)]
    assert await index.settle() == {"removed": 16}
    assert await index.settle() == {}
    assert await in_milvus(index) == 1


async def test_a_house_without_a_document_asks_for_nothing(store, index, ada):
    collection = await a_collection(store, ada)
    assert await ids(index, collection) == []
    assert await index.matching([collection.id], "lamp", 5) == []
    assert await index.settle() == {}
    await index.check()


async def test_a_half_copy_is_no_answer_and_settling_makes_it_whole(store, index, ada):
    collection = await a_collection(store, ada)
    await add(store, ada, collection, ["one", "two", "three"])  # published beside the index, as in a house that had none before
    with pytest.raises(ServiceUnavailable, match="3 of 3 passages have not come to Milvus yet"):
        await ids(index, collection)
    assert await index.settle() == {"added": 3}
    assert len(await ids(index, collection)) == 3
    await published(store, index, ada, collection, ["four"], sha="b" * 64)
    assert len(await ids(index, collection)) == 4


async def test_settling_leaves_what_is_on_its_way_to_those_who_bring_it(store, index, ada):
    collection = await a_collection(store, ada)
    await published(store, index, ada, collection)
    assert await index.settle() == {}
    unready, _ = await add(store, ada, collection, sha="c" * 64, publish=False)
    await store.store_chunks(replace(unready, chunks=2), passages(unready, ["one", "two"]), 1)
    assert await index.settle() == {}
    await index.add(unready)
    assert await index.settle() == {}
    assert await in_milvus(index) == 4


async def test_another_version_of_the_vectors_is_there_before_it_is_searched(store, index, database, ada):
    versions, collection = SqlCollectionVersions(database), await a_collection(store, ada)
    await published(store, index, ada, collection)
    begun = await versions.begin(collection.id, "other", 4, NOW)
    found = await versions.bare(collection.id, 2, 100)
    vector = np.array([0, 1, 0, 0], np.float32)
    await versions.store(begun, [(n, vector) for n, _ in found], NOW)
    await versions.end(replace(begun, state=VersionState.READY))
    await index.fill(collection.id, 2)
    assert len(await ids(index, collection)) == 2
    await versions.serve(collection.id, 2)
    assert [round(h.score, 5) for h in await index.nearest({collection.id: 2}, vector, 5)] == [1.0, 1.0]
    assert len(await index.matching([collection.id], "port lamp", 5)) == 2
    assert (await index.drop_collection(collection.id, 1)).removed == {KIND: 2}
    assert (await index.drop_collection(collection.id)).removed == {KIND: 2}


@pytest.mark.parametrize("mode", ["down", "timeout", "latency", "reset_peer"])
async def test_a_question_waits_two_seconds_at_most_for_a_server_that_is_away_and_the_next_not_at_all(store, index, way, ada, monkeypatch, mode):
    monkeypatch.setattr("core.adapters.chunk_index_milvus.AWAY_S", 1.0)
    collection = await a_collection(store, ada)
    document = await published(store, index, ada, collection)
    assert len(await ids(index, collection)) == 2
    way.mode = mode
    begun = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="doesn't answer"):
        await ids(index, collection)
    assert time.monotonic() - begun < 2.0
    with monkeypatch.context() as nobody_is_asked:
        nobody_is_asked.setattr(index, "_call", None)
        with pytest.raises(ServiceUnavailable, match="doesn't answer"):
            await ids(index, collection)
    await store.bury_for(ada.id, document.id)
    way.mode = ""
    assert await again(lambda: ids(index, collection)) == []


async def test_what_is_deleted_while_the_server_is_away_is_said_to_be_left_and_goes_later(store, index, way, ada, monkeypatch):
    collection = await a_collection(store, ada)
    document = await published(store, index, ada, collection)
    monkeypatch.setattr("core.adapters.chunk_index_milvus.WRITE_S", 1.0)
    way.mode = "down"
    await store.bury_for(ada.id, document.id)
    receipt = await index.drop_document(document.id)
    assert (receipt.left, receipt.complete) == ({KIND: 2}, False)
    await store.remove(document.id)
    way.mode = ""
    monkeypatch.setattr("core.adapters.chunk_index_milvus.WRITE_S", 30.0)
    assert await again(index.settle) == {"removed": 2}
    assert await in_milvus(index) == 0


@pytest.mark.parametrize("text", ["a\x00b", "a\nb", "\x7f", "a\ud800", "x" * 20_000])
async def test_what_no_filter_can_hold_is_refused(text):
    from core.adapters.chunk_index_milvus import literal

    with pytest.raises(ValueError, match="control characters"):
        literal(text)


async def test_every_hostile_text_is_found_as_itself_and_as_nothing_else(index):
    from core.adapters.chunk_index_milvus import _one_of

    chance = random.Random(7)
    texts = sorted({*HOSTILE, *("".join(chance.choices("\"'\\ %_$(){}[]=!<>|&ab1ü🙂", k=chance.randint(1, 12))) for _ in range(180))})
    name = await index._make(2)
    rows = [{"id": f"{n:03x}", "tenant": "t", "scope": "s", "document": text, "dense": [1.0, 0.0], "text": "x"} for n, text in enumerate(texts)]
    await index._write("insert", name, data=rows if index._words else [{k: v for k, v in row.items() if k != "text"} for row in rows])
    for text in texts:
        assert [row["document"] for row in await index._query(name, _one_of("document", [text]), ["document"])] == [text]
    assert await index._query(name, _one_of("document", ["none"]), ["document"]) == []


@pytest.mark.parametrize("question", [*HOSTILE, "\x00", "lamp\ud800", "text_match(text, 'x')", "x" * 30_000])
async def test_no_question_breaks_the_search_for_words(store, index, ada, question):
    collection = await a_collection(store, ada)
    await published(store, index, ada, collection)
    assert len(await index.matching([collection.id], question, 5)) <= 1
    assert await index.matching([new_id()], question, 5) == []


async def test_an_address_without_a_host_is_a_settings_error(database):
    from milvus_index import opened

    with pytest.raises(SettingsError, match="HEARTH_VECTORS_URL"):
        async with opened("http://", database):
            pass
