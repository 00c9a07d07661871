"""The contract of CollectionVersions: one version is searched, whatever is made beside it, and all of it goes with its passages."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import func, select
from stored import DIMENSIONS, NOW, a_collection, add, axis, passages

from core.adapters.documents_sql import SqlDocuments
from core.adapters.tables_sql import chunk_vectors, collection_versions
from core.adapters.versions_sql import SqlCollectionVersions
from core.errors import IllegalStep, NotFound, WrongShape
from core.ids import new_id
from core.rag.model import MOST_VERSIONS, VersionState

pytestmark = pytest.mark.anyio
LATER = NOW + timedelta(seconds=30)


@pytest.fixture
def store(database):
    return SqlDocuments(database)


@pytest.fixture
def versions(database):
    return SqlCollectionVersions(database)


async def build(versions, collection, begun, vector):
    """Gives every bare passage that vector; says how many there were."""
    bare = await versions.bare(collection.id, begun.version, 100)
    assert await versions.store(begun, [(n, vector) for n, _ in bare], LATER)
    return len(bare)


def small(n):
    vector = np.zeros(4, np.float32)
    vector[n] = 1
    return vector


async def test_a_collection_begins_with_the_version_it_was_made_with(store, versions, ada):
    collection = await a_collection(store, ada)
    (first,) = await versions.versions(collection.id)
    assert (first.version, first.embedding_model, first.dimensions, first.state) == (1, "tiny", DIMENSIONS, VersionState.READY)
    assert list(await versions.versions(new_id())) == []


async def test_what_is_searched_stays_until_another_version_is_served_and_comes_back(store, index, versions, ada):
    collection = await a_collection(store, ada)
    await add(store, ada, collection)
    before = await index.nearest({collection.id: 1}, axis(1), 5)
    second = await versions.begin(collection.id, "other", 4, NOW)
    assert (second.version, second.state, second.done, second.total) == (2, VersionState.BUILDING, 0, 2)
    assert await build(versions, collection, second, small(2)) == 2
    assert await index.nearest({collection.id: 1}, axis(1), 5) == before
    served = await versions.serve(collection.id, 2)
    assert (
        (served.version, served.embedding_model, served.dimensions)
        == (2, "other", 4)
        == (lambda c: (c.version, c.embedding_model, c.dimensions))(await store.collection_for(ada.id, collection.name))
    )
    assert [h.score for h in await index.nearest({collection.id: 2}, small(2), 5)] == [1.0, 1.0]
    with pytest.raises(WrongShape, match="re-embedded"):  # whoever embedded the question for the version before
        await index.nearest({collection.id: 1}, axis(1), 5)
    await versions.serve(collection.id, 1)
    assert await index.nearest({collection.id: 1}, axis(1), 5) == before
    assert [(v.version, v.state) for v in await versions.versions(collection.id)] == [(2, VersionState.READY), (1, VersionState.READY)]


async def test_a_version_with_gaps_is_not_served_and_is_built_on(store, versions, ada):
    collection = await a_collection(store, ada)
    await add(store, ada, collection)
    second = await versions.begin(collection.id, "other", 4, NOW)
    await build(versions, collection, second, small(0))
    await versions.end(replace(second, state=VersionState.READY))
    await add(store, ada, collection, texts=("a third",), sha="b" * 64)
    with pytest.raises(IllegalStep, match="no vector"):
        await versions.serve(collection.id, 2)
    (now, _) = await versions.versions(collection.id)
    assert (now.state, now.done, now.total) == (VersionState.BUILDING, 2, 3)
    assert await build(versions, collection, now, small(1)) == 1
    assert (await versions.serve(collection.id, 2)).version == 2


async def test_a_document_that_was_embedded_for_another_version_is_not_published(store, index, versions, ada):
    collection = await a_collection(store, ada)
    document, job = await add(store, ada, collection, texts=("one", "two"), publish=False)
    whole = replace(document, chunks=2, content="one\ntwo")
    await store.store_chunks(whole, passages(whole, ["one", "two"]), 1)
    await versions.begin(collection.id, "other", DIMENSIONS, NOW)
    await versions.serve(collection.id, 2)
    assert not await store.publish(whole, job)
    assert await index.nearest({collection.id: 2}, axis(0), 5) == []
    assert list(await store.stored_positions(whole, 2)) == []
    await store.store_chunks(whole, passages(whole, ["one", "two"]), 2)
    assert await store.publish(whole, job)
    assert len(await index.nearest({collection.id: 2}, axis(0), 5)) == 2


async def test_a_document_is_published_by_the_version_of_its_own_collection(store, index, versions, ada):
    await add(store, ada, await a_collection(store, ada, name="another"))
    collection = await a_collection(store, ada)
    await versions.begin(collection.id, "other", DIMENSIONS, NOW)
    await versions.serve(collection.id, 2)
    document, job = await add(store, ada, collection, texts=("one",), publish=False, sha="c" * 64)
    whole = replace(document, chunks=1, content="one")
    await store.store_chunks(whole, passages(whole, ["one"]), 2)
    assert await store.publish(whole, job)
    assert len(await index.nearest({collection.id: 2}, axis(0), 5)) == 1


async def test_one_is_built_at_a_time_and_by_one_worker(store, versions, ada):
    collection = await a_collection(store, ada)
    await add(store, ada, collection)
    second = await versions.begin(collection.id, "other", 4, NOW)
    with pytest.raises(IllegalStep, match="being built"):
        await versions.begin(collection.id, "third", 4, NOW)
    assert (await versions.lease(NOW, LATER)).version == second.version
    assert await versions.lease(NOW, LATER) is None
    assert (await versions.lease(LATER, LATER + timedelta(seconds=30))).version == second.version


async def test_a_version_that_failed_is_begun_again_where_it_was(store, versions, ada):
    collection = await a_collection(store, ada)
    await add(store, ada, collection)
    second = await versions.begin(collection.id, "other", 4, NOW)
    ((first, _), _) = await versions.bare(collection.id, 2, 10)
    await versions.store(second, [(first, small(0))], LATER)
    await versions.end(replace(second, state=VersionState.FAILED, error="It broke."))
    assert await versions.lease(LATER, LATER) is None
    assert not await versions.store(second, [], LATER)
    await versions.again(collection.id, 2)
    (now, _) = await versions.versions(collection.id)
    assert (now.state, now.done, now.total, now.error) == (VersionState.BUILDING, 1, 2, "")
    assert len(await versions.bare(collection.id, 2, 10)) == 1


async def test_a_dropped_version_leaves_no_vector_and_the_searched_one_is_never_dropped(store, index, versions, database, ada):
    collection = await a_collection(store, ada)
    await add(store, ada, collection)
    second = await versions.begin(collection.id, "other", 4, NOW)
    await build(versions, collection, second, small(0))
    receipt = await versions.drop(collection.id, 2)
    assert (receipt.complete, receipt.removed) == (True, {"vectors": 2, "versions": 1})
    assert not await versions.store(second, [], LATER)
    with pytest.raises(IllegalStep, match="searched"):
        await versions.drop(collection.id, 1)
    with pytest.raises(NotFound):
        await versions.drop(collection.id, 2)
    assert len(await index.nearest({collection.id: 1}, axis(0), 5)) == 2


async def test_no_more_versions_are_kept_than_the_most(store, versions, ada):
    collection = await a_collection(store, ada)
    for n in range(2, MOST_VERSIONS + 1):
        await versions.begin(collection.id, f"m{n}", 4, NOW)
        await versions.serve(collection.id, n)
    with pytest.raises(IllegalStep, match="Remove one"):
        await versions.begin(collection.id, "one more", 4, NOW)


async def test_every_versions_vectors_go_with_their_passages(store, versions, database, ada):
    collection = await a_collection(store, ada)
    document, _ = await add(store, ada, collection)
    second = await versions.begin(collection.id, "other", 4, NOW)
    bare = await versions.bare(collection.id, 2, 10)
    await build(versions, collection, second, small(0))
    await store.bury_for(ada.id, document.id)
    receipt = await store.remove(document.id)
    assert (receipt.complete, receipt.removed["vectors"], receipt.removed["chunks"]) == (True, 4, 2)
    assert await versions.store(second, [(n, small(0)) for n, _ in bare], LATER), "a passage that has gone meanwhile is no error"
    await store.delete_collection_for(ada.id, collection.name)
    for table in (chunk_vectors, collection_versions):
        assert await database.read(lambda c, table=table: c.execute(select(func.count()).select_from(table)).scalar_one()) == 0
