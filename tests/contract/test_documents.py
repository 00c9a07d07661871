"""The contract of Documents and ChunkIndex, which meet at the chunk rows."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import NOW, a_collection, add, axis, passages

from core.adapters.chunk_index_sql import row_index
from core.adapters.documents_sql import SqlDocuments
from core.errors import AlreadyThere, BadInput, IllegalStep, NotFound, WrongShape
from core.ids import chunk_id, new_id
from core.rag.model import IngestStage

pytestmark = pytest.mark.anyio
HOSTILE = ['"', "port*", "NEAR(port lamp)", "port AND", "scope : x", "a OR 1==1", "-port", "^port", "{", "\x00"]


@pytest.fixture
def store(database):
    return SqlDocuments(database)


async def test_a_name_is_taken_once_per_owner(store, ada, bob):
    await a_collection(store, ada)
    await a_collection(store, bob)
    with pytest.raises(AlreadyThere):
        await a_collection(store, ada)


async def test_nothing_is_added_to_a_collection_that_was_deleted_meanwhile(store, ada):
    collection = await a_collection(store, ada)
    await store.delete_collection_for(ada.id, collection.name)
    with pytest.raises(NotFound, match="was deleted meanwhile"):
        await add(store, ada, collection)


async def test_a_documents_chunks_come_in_their_order_by_pages_and_to_its_owner_alone(store, ada, bob):
    collection = await a_collection(store, ada)
    document, _ = await add(store, ada, collection, [f"text {n}" for n in range(12)])
    other, _ = await add(store, ada, collection, ["another document"], sha="b" * 64)
    first = await store.chunks_for(ada.id, document.id, limit=5)
    rest = await store.chunks_for(ada.id, document.id, limit=50, cursor=first.next_cursor)
    assert [c.content for c in (*first.items, *rest.items)] == [f"text {n}" for n in range(12)]
    assert (first.next_cursor, rest.next_cursor) == ("4", "")
    assert first.items[0].embedding is None
    assert [c.metadata.position for c in (await store.chunks_for(ada.id, document.id, cursor="9")).items] == [10, 11]
    with pytest.raises(NotFound):
        await store.chunks_for(bob.id, document.id)
    with pytest.raises(NotFound):
        await store.chunks_for(ada.id, new_id())
    for cursor in ("x", "-1", "9" * 30, "²"):
        with pytest.raises(BadInput):
            await store.chunks_for(ada.id, document.id, cursor=cursor)
    unready, _ = await add(store, ada, collection, sha="c" * 64, publish=False)
    await store.store_chunks(replace(unready, chunks=2), passages(unready, ["x", "y"]), 1)
    assert (await store.chunks_for(ada.id, unready.id)).items == []
    await store.bury_for(ada.id, other.id)
    with pytest.raises(NotFound):
        await store.chunks_for(ada.id, other.id)


async def test_only_published_documents_are_found(store, index, ada):
    collection = await a_collection(store, ada)
    document, job = await add(store, ada, collection, publish=False)
    await store.store_chunks(replace(document, chunks=2), passages(document, ["the port is 8000", "x"]), 1)
    assert await index.nearest({collection.id: 1}, axis(0), 5) == []
    assert await index.matching([collection.id], "port", 5) == []
    assert await index.size([collection.id]) == 0
    await store.publish(replace(document, chunks=2), job)
    assert [h.chunk_id for h in await index.nearest({collection.id: 1}, axis(0), 1)] == [chunk_id(document.id, 1, 0)]
    assert [h.chunk_id for h in await index.matching([collection.id], "port", 5)] == [chunk_id(document.id, 1, 0)]
    assert (await store.document_for(ada.id, document.id)).status == "ready"


async def test_storing_chunks_twice_changes_nothing(store, index, ada):
    collection = await a_collection(store, ada)
    document, job = await add(store, ada, collection, publish=False)
    for _ in range(2):
        await store.store_chunks(replace(document, chunks=2), passages(document, ["one", "two"]), 1)
    assert list(await store.stored_positions(document, 1)) == [0, 1]
    await store.publish(replace(document, chunks=2), job)
    await store.store_chunks(replace(document, chunks=2), passages(document, ["one", "two"]), 1)
    assert await index.size([collection.id]) == 2


async def test_the_same_bytes_give_the_same_document(store, ada):
    collection = await a_collection(store, ada)
    first, job = await add(store, ada, collection)
    second, again = await add(store, ada, collection, publish=False)
    assert (second.id, again.id) == (first.id, job.id)
    assert len((await store.documents_for(ada.id, "manuals")).items) == 1


async def test_a_failed_document_sent_again_is_queued_again(store, ada):
    collection = await a_collection(store, ada)
    document, job = await add(store, ada, collection, publish=False)
    await store.fail(replace(job, error="It is broken.", heartbeat_at=NOW))
    assert (await store.document_for(ada.id, document.id)).status == "failed"
    _, again = await add(store, ada, collection, publish=False)
    assert (again.id, again.stage) == (job.id, IngestStage.QUEUED)


async def test_one_job_is_leased_by_one_worker_until_its_lease_is_over(store, ada):
    collection = await a_collection(store, ada)
    await add(store, ada, collection, publish=False)
    first = await store.lease_job(NOW, NOW + timedelta(minutes=1))
    assert first is not None
    assert await store.lease_job(NOW + timedelta(seconds=59), NOW + timedelta(minutes=2)) is None
    taken_over = await store.lease_job(NOW + timedelta(seconds=61), NOW + timedelta(minutes=2))
    assert taken_over is not None
    assert taken_over[0].attempts == 2


async def test_a_deleted_document_is_gone_from_every_search_at_once_and_leaves_nothing(store, index, ada):
    collection = await a_collection(store, ada)
    document, job = await add(store, ada, collection)
    kept, _ = await add(store, ada, collection, ("the cat sleeps",), sha="b" * 64)
    assert await index.size([collection.id]) == 3
    await store.bury_for(ada.id, document.id)
    assert [h.chunk_id for h in await index.nearest({collection.id: 1}, axis(0), 9)] == [chunk_id(kept.id, 1, 0)]
    assert await index.matching([collection.id], "port", 5) == []
    with pytest.raises(NotFound):
        await store.document_for(ada.id, document.id)
    assert [d.id for d in await store.buried(10)] == [document.id]
    receipt = await store.remove(document.id)
    assert receipt.complete
    assert receipt.removed == {"chunks": 2, "vectors": 2, "jobs": 1, "documents": 1}
    assert await store.report(job, NOW) is False


async def test_a_living_document_is_not_removed(store, ada):
    collection = await a_collection(store, ada)
    document, _ = await add(store, ada, collection)
    with pytest.raises(IllegalStep):
        await store.remove(document.id)
    with pytest.raises(IllegalStep):
        await store.delete_collection_for(ada.id, "manuals")


async def test_nothing_of_another_user_is_found(store, index, ada, bob):
    mine = await a_collection(store, ada)
    theirs = await a_collection(store, bob)
    document, job = await add(store, bob, theirs)
    assert await index.nearest({mine.id: 1}, axis(0), 9) == []
    assert await index.matching([mine.id], "port lamp", 9) == []
    for attempt in (
        store.document_for(ada.id, document.id),
        store.job_for(ada.id, job.id),
        store.chunk_for(ada.id, chunk_id(document.id, 1, 0)),
        store.bury_for(ada.id, document.id),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_a_chunk_belongs_to_exactly_one_document_and_a_document_has_at_least_one(store, ada):
    collection = await a_collection(store, ada)
    document, _ = await add(store, ada, collection)
    found = await store.found([chunk_id(document.id, 1, 0), "unknown"])
    assert [f.chunk.document_id for f in found.values()] == [document.id]
    assert (await store.document_for(ada.id, document.id)).chunks >= 1


async def test_a_vector_of_another_size_is_refused_not_answered_with_nothing(store, index, ada):
    collection = await a_collection(store, ada)
    await add(store, ada, collection)
    with pytest.raises(WrongShape, match="16 dimensions"):
        await index.nearest({collection.id: 1}, np.zeros(16, np.float32), 3)


async def test_scores_are_cosine_and_best_first(store, index, ada):
    collection = await a_collection(store, ada)
    await add(store, ada, collection, ("a", "b", "c"))
    query = np.array([0.6, 0.8, 0, 0, 0, 0, 0, 0], np.float32)
    hits = await index.nearest({collection.id: 1}, query, 3)
    assert [round(h.score, 5) for h in hits] == [0.8, 0.6, 0.0]


async def test_documents_that_come_later_are_seen_by_an_index_that_is_already_open(store, index, ada):
    collection = await a_collection(store, ada)
    await add(store, ada, collection)
    assert len(await index.nearest({collection.id: 1}, axis(0), 9)) == 2
    await add(store, ada, collection, ("a third",), sha="c" * 64)
    assert len(await index.nearest({collection.id: 1}, axis(0), 9)) == 3


async def test_counts_say_what_is_there(store, ada):
    collection = await a_collection(store, ada)
    await add(store, ada, collection)
    await add(store, ada, collection, sha="b" * 64, publish=False)
    [(found, counts)] = (await store.collections_for(ada.id)).items
    assert found == collection
    assert counts == {"documents": 2, "ready": 1, "failed": 0, "ingesting": 1, "chunks": 2, "size_bytes": 6}


async def test_a_new_version_is_swapped_in_whole_and_the_old_original_is_stale(store, index, ada):
    collection = await a_collection(store, ada)
    first, _ = await add(store, ada, collection, ("the port is 8000", "x", "y"), name="m.md", uri="s3://hearth/1")
    assert len(await index.nearest({collection.id: 1}, axis(0), 9)) == 3
    second, job = await add(store, ada, collection, sha="b" * 64, publish=False, name="m.md", uri="s3://hearth/2")
    assert (second.id, second.version, job.version, job.uri) == (first.id, 1, 2, "s3://hearth/2")
    new = replace(second, version=2, chunks=1, sha256=job.sha256, uri=job.uri)
    await store.store_chunks(new, passages(new, ["the port is 9000"]), 1)
    assert len(await index.nearest({collection.id: 1}, axis(0), 9)) == 3
    assert list(await store.stale_objects(10)) == []
    await store.publish(new, job)
    assert [h.chunk_id for h in await index.nearest({collection.id: 1}, axis(0), 9)] == [chunk_id(first.id, 2, 0)]
    assert [h.chunk_id for h in await index.matching([collection.id], "port 8000 9000", 9)] == [chunk_id(first.id, 2, 0)]
    assert await index.size([collection.id]) == 1
    assert list(await store.stale_objects(10)) == ["s3://hearth/1"]
    await store.forget_objects(["s3://hearth/1"])
    assert list(await store.stale_objects(10)) == []


async def test_what_is_done_for_a_cancelled_version_has_no_effect(store, ada):
    collection = await a_collection(store, ada)
    document, job = await add(store, ada, collection, publish=False, name="m.md")
    await store.cancel_for(ada.id, job.id)
    assert await store.report(replace(job, stage=IngestStage.EMBEDDING), NOW) is False
    for attempt in (store.store_chunks(document, passages(document, ["x"]), 1), store.publish(replace(document, chunks=1), job)):
        with pytest.raises(NotFound):
            await attempt
    await store.fail(replace(job, error="too late"))
    assert (await store.job_for(ada.id, job.id)).stage is IngestStage.CANCELLED
    assert await store.lease_job(NOW, NOW + timedelta(minutes=1)) is None
    assert list(await store.stale_objects(10)) == ["s3://hearth/x"]
    assert (await store.collections_for(ada.id)).items[0][1]["documents"] == 0


async def test_a_failed_job_is_retried_and_no_other(store, ada, bob):
    collection = await a_collection(store, ada)
    document, job = await add(store, ada, collection, publish=False)
    with pytest.raises(IllegalStep):
        await store.retry_for(ada.id, job.id)
    await store.fail(replace(job, error="It is broken."))
    for stranger in (store.retry_for, store.cancel_for):
        with pytest.raises(NotFound):
            await stranger(bob.id, job.id)
    with pytest.raises(IllegalStep):
        await store.cancel_for(ada.id, job.id)
    again = await store.retry_for(ada.id, job.id)
    assert (again.stage, again.error, again.attempts) == (IngestStage.QUEUED, "", 0)
    assert (await store.document_for(ada.id, document.id)).status == "ingesting"


async def test_the_queue_says_places_and_pace_and_leaves_paused_users_out(store, ada, bob):
    mine, theirs = await a_collection(store, ada), await a_collection(store, bob)
    done, finished = await add(store, ada, mine, publish=False)
    await store.lease_job(NOW, NOW + timedelta(minutes=1))
    await store.publish(replace(done, chunks=4, ingested_at=NOW + timedelta(seconds=8)), finished)
    jobs = [(await add(store, user, where, sha=c * 64, publish=False))[1] for user, where, c in ((bob, theirs, "b"), (ada, mine, "c"), (ada, mine, "d"))]
    waiting = await store.waiting_for(ada.id, [j.id for j in jobs[1:]])
    assert waiting.places == {jobs[1].id: (2, 3), jobs[2].id: (3, 6)}
    assert (waiting.pace.chunks, waiting.pace.size_bytes, waiting.pace.seconds, waiting.paused) == (4, 3, 8.0, False)
    await store.pause(bob.id, NOW)
    assert (await store.waiting_for(ada.id, [jobs[1].id])).places == {jobs[1].id: (1, 0)}
    assert (await store.waiting_for(bob.id, [jobs[0].id])) == replace(waiting, places={jobs[0].id: (1, 0)}, paused=True)
    assert (await store.lease_job(NOW, NOW + timedelta(minutes=1)))[0].id == jobs[1].id
    await store.resume(bob.id)
    assert (await store.lease_job(NOW, NOW + timedelta(minutes=1)))[0].id == jobs[0].id


async def test_the_rerank_depth_is_kept(store, ada):
    collection = await a_collection(store, ada)
    assert await store.set_rerank_depth_for(ada.id, "manuals", 7) == replace(collection, rerank_depth=7)
    assert (await store.collection_for(ada.id, "manuals")).rerank_depth == 7
    with pytest.raises(NotFound):
        await store.set_rerank_depth_for(ada.id, "none", 7)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    question=st.one_of(
        st.text(max_size=200), st.sampled_from(['"', "port*", "NEAR(port lamp)", "port AND", "scope : x", "a OR 1==1", "-port", "^port", "{", "\x00"])
    )
)
async def test_no_question_breaks_the_full_text_search_or_leaves_its_collection(database, question):
    index = row_index(database)
    assert await index.matching([new_id()], question, 5) == []


async def test_words_rank_by_how_much_they_tell(store, index, ada):
    collection = await a_collection(store, ada)
    texts = [f"the server number {n} listens" for n in range(300)]
    texts[123] = "the server for backups listens on port 9444"
    document, _ = await add(store, ada, collection, texts)
    hits = await index.matching([collection.id], "On which port does the backup server listen?", 5)
    assert hits[0].chunk_id == chunk_id(document.id, 1, 123)
    assert all(h.score > 0 for h in hits)
