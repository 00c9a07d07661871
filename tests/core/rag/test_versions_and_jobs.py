"""New versions of a document, and what can be done with the jobs that make them."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from echo_house import echo_settings, taken_in, waited_for

from core.app import open_app
from core.errors import BadInput, IllegalStep, NotFound
from core.rag.model import IngestJob, IngestStage, Pace, RAGQuery, Waiting
from core.rag.pace import with_outlook

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)


@pytest.fixture
async def still(tmp_path, echo_server):
    """A house that only accepts: nothing is taken in unless a test does it by `ingest_next`."""
    async with open_app(echo_settings(tmp_path / "still"), local=echo_server) as opened:
        yield opened


@pytest.fixture
async def eve(still):
    await still.users.add("eve", "correct horse battery")
    return (await still.users.sign_in("eve", "correct horse battery", "test"))[0]


async def send(app, who, name, text):
    path = app.settings.home / "upload"
    path.write_text(text)
    return await app.library.upload(who.user, "lab", name, path)


async def found(app, who, question):
    return [c.chunk.content for c in (await app.retrieval.search(who.user, RAGQuery(question, "lab"))).chunks]


def originals(app):
    return sorted(p for p in (app.settings.home / "objects").rglob("*") if p.is_file())


async def all_of(app):
    while await app.library.ingest_next():
        pass


async def test_the_old_version_is_searched_until_the_new_one_is_ready_and_then_gone(still, eve):
    first, _ = await send(still, eve, "guide.md", "The lamp is green.")
    await all_of(still)
    second, job = await send(still, eve, "guide.md", "The lamp is red.")
    assert (second.id, job.version, job.stage) == (first.id, 2, IngestStage.QUEUED)
    assert await found(still, eve, "lamp") == ["The lamp is green."]
    assert (await still.library.document(eve.user, first.id)).version == 1
    assert len(originals(still)) == 2
    await all_of(still)
    assert await found(still, eve, "lamp green red") == ["The lamp is red."]
    document = await still.library.document(eve.user, first.id)
    assert (document.version, document.status, document.content, document.name) == (2, "ready", "The lamp is red.", "guide.md")
    await still.library.finish_deletions()
    [original] = originals(still)
    assert original.read_text() == "The lamp is red."
    assert len((await still.library.documents(eve.user, "lab")).items) == 1
    receipt = await still.library.delete_document(eve.user, first.id)
    assert receipt.complete
    assert originals(still) == []


async def test_the_same_bytes_under_the_same_name_change_nothing(still, eve):
    _, job = await send(still, eve, "guide.md", "The lamp is green.")
    await all_of(still)
    _, again = await send(still, eve, "guide.md", "The lamp is green.")
    assert (again.id, again.stage) == (job.id, IngestStage.READY)
    assert len(originals(still)) == 1


async def test_of_several_uploads_under_one_name_the_last_one_counts(still, eve):
    await send(still, eve, "guide.md", "The lamp is green.")
    await all_of(still)
    _, red = await send(still, eve, "guide.md", "The lamp is red.")
    _, blue = await send(still, eve, "guide.md", "The lamp is blue.")
    assert (await still.library.job(eve.user, red.id)).stage is IngestStage.CANCELLED
    assert blue.version == 3
    _, back = await send(still, eve, "guide.md", "The lamp is green.")
    assert back.version == 1
    assert (await still.library.job(eve.user, blue.id)).stage is IngestStage.CANCELLED
    await all_of(still)
    assert await found(still, eve, "lamp") == ["The lamp is green."]
    await still.library.finish_deletions()
    assert len(originals(still)) == 1


async def test_a_name_with_folders_is_a_document_of_its_own_and_never_a_path(still, eve):
    made = [(await send(still, eve, name, f"text of {name}"))[0] for name in ("a/x.md", "b/x.md", "x.md", "../../b\\y.md", "/etc/x.md")]
    assert len({d.id for d in made}) == 5
    assert [(d.name, d.title) for d in made] == [("a/x.md", "x.md"), ("b/x.md", "x.md"), ("x.md", "x.md"), ("b/y.md", "y.md"), ("etc/x.md", "x.md")]
    long = [(await send(still, eve, "x" * 2000 + end, f"text of {end}"))[0] for end in "ab"]
    assert long[0].id != long[1].id


async def test_a_new_version_that_can_not_be_read_leaves_the_old_one_and_can_be_tried_again(app, ada):
    first, _ = await taken_in(app, ada, "guide.md", "The lamp is green.")
    _, failed = await taken_in(app, ada, "guide.md", b"\x7fELF" + b"x" * 99)
    assert failed.stage is IngestStage.FAILED
    assert (await app.library.document(ada.user, first.id)).status == "ready"
    assert await found(app, ada, "lamp") == ["The lamp is green."]
    again = await app.library.retry(ada.user, failed.id)
    assert (again.id, again.document_id) == (failed.id, first.id)
    assert (await waited_for(app, ada, again)).stage is IngestStage.FAILED
    third, ready = await taken_in(app, ada, "guide.md", "The lamp is red.")
    assert (third.id, ready.stage, ready.version) == (first.id, IngestStage.READY, 3)
    assert (await app.library.job(ada.user, failed.id)).stage is IngestStage.CANCELLED


async def test_only_a_failed_job_is_tried_again(app, ada, bob):
    _, job = await taken_in(app, ada, "guide.md", "The lamp is green.")
    with pytest.raises(IllegalStep, match="ready"):
        await app.library.retry(ada.user, job.id)
    for attempt in (app.library.retry, app.library.cancel):
        with pytest.raises(NotFound):
            await attempt(bob.user, job.id)


async def test_a_cancelled_first_version_leaves_only_its_job_and_its_name_is_free_again(still, eve):
    document, job = await send(still, eve, "guide.md", "The lamp is green.")
    for _ in range(2):
        cancelled = await still.library.cancel(eve.user, job.id)
        assert (cancelled.stage, cancelled.error) == (IngestStage.CANCELLED, "Cancelled.")
    assert originals(still) == []
    assert not await still.library.ingest_next()
    with pytest.raises(NotFound):
        await still.library.document(eve.user, document.id)
    assert (await still.library.documents(eve.user, "lab")).items == []
    again, second = await send(still, eve, "guide.md", "The lamp is green.")
    assert (again.id, second.version) == (document.id, 2)
    await all_of(still)
    assert await found(still, eve, "lamp") == ["The lamp is green."]
    with pytest.raises(IllegalStep, match="ended already"):
        await still.library.cancel(eve.user, second.id)


async def test_a_collection_with_cancelled_documents_can_be_deleted(still, eve):
    _, job = await send(still, eve, "guide.md", "The lamp is green.")
    await still.library.cancel(eve.user, job.id)
    assert (await still.library.delete_collection(eve.user, "lab")).complete
    with pytest.raises(NotFound):
        await still.library.job(eve.user, job.id)


async def test_cancelling_a_new_version_keeps_the_one_that_is_searched(still, eve):
    document, _ = await send(still, eve, "guide.md", "The lamp is green.")
    await all_of(still)
    _, job = await send(still, eve, "guide.md", "The lamp is red.")
    await still.library.cancel(eve.user, job.id)
    assert (await still.library.document(eve.user, document.id)).version == 1
    assert await found(still, eve, "lamp") == ["The lamp is green."]
    assert len(originals(still)) == 1


async def test_a_running_job_is_cancelled_at_once_and_the_worker_goes_on(app, ada, monkeypatch):
    begun = asyncio.Event()
    parse = app.library._parser.parse

    async def slow(path, filename):
        if filename == "slow.txt":
            begun.set()
            await asyncio.sleep(60)
        return await parse(path, filename)

    monkeypatch.setattr(app.library._parser, "parse", slow)
    _, job = await send(app, ada, "slow.txt", "Slow text.")
    await begun.wait()
    running = await app.library.job(ada.user, job.id)
    assert (running.stage, running.stalled, running.position) == (IngestStage.PARSING, False, None)
    await app.library.cancel(ada.user, job.id)
    _, after = await taken_in(app, ada, "after.txt", "The lamp is green.")
    assert after.stage is IngestStage.READY
    assert (await app.library.job(ada.user, job.id)).stage is IngestStage.CANCELLED


async def test_a_paused_queue_begins_nothing_until_it_is_resumed_and_holds_up_nobody_else(still, eve):
    await still.users.add("bob", "another long password")
    bob = (await still.users.sign_in("bob", "another long password", "test"))[0]
    _, hers = await send(still, eve, "a.txt", "Text of Eve.")
    _, his = await send(still, bob, "b.txt", "Text of Bob.")
    for _ in range(2):
        await still.library.pause(eve.user)
    await all_of(still)
    assert [await still.library.paused(who.user) for who in (eve, bob)] == [True, False]
    waiting = await still.library.job(eve.user, hers.id)
    assert (waiting.stage, waiting.paused, waiting.eta_s, waiting.stalled) == (IngestStage.QUEUED, True, None, False)
    assert (await still.library.job(bob.user, his.id)).stage is IngestStage.READY
    await still.library.resume(eve.user)
    await all_of(still)
    assert (await still.library.job(eve.user, hers.id)).stage is IngestStage.READY


async def test_waiting_jobs_know_their_place_and_after_a_first_document_their_time(still, eve):
    jobs = [(await send(still, eve, f"{n}.txt", f"Text number {n} " * 50))[1] for n in range(3)]
    assert [(await still.library.job(eve.user, j.id)).position for j in jobs] == [1, 2, 3]
    assert [(await still.library.job(eve.user, j.id)).eta_s for j in jobs] == [None] * 3
    await still.library.ingest_next()
    [third, second, first] = (await still.library.jobs(eve.user)).items
    assert (first.position, second.position, third.position) == (None, 1, 2)
    assert first.eta_s is None
    assert 0 <= second.eta_s <= third.eta_s


JOB = IngestJob("j", "d", "u", "lab", "x", IngestStage.EMBEDDING, 51.0, chunks=100, size_bytes=70_000, started_at=NOW, heartbeat_at=NOW + timedelta(seconds=10))
WAITING = Waiting({"j": (2, 140_000)}, Pace(), paused=False)
MEASURED = replace(WAITING, pace=Pace(200, 140_000, 40.0))


@pytest.mark.parametrize(
    ("job", "waiting", "after_s", "eta", "stalled"),
    [
        (JOB, MEASURED, 11, 9.8, False),
        (JOB, WAITING, 11, 9.8, False),
        (JOB, MEASURED, 71, None, True),
        (replace(JOB, stage=IngestStage.QUEUED, percent=0, chunks=0), MEASURED, 9999, 60.0, False),
        (replace(JOB, stage=IngestStage.QUEUED, percent=0, chunks=0, started_at=None), WAITING, 9999, None, False),
        (replace(JOB, stage=IngestStage.QUEUED, percent=0), replace(MEASURED, paused=True), 0, None, False),
        (replace(JOB, stage=IngestStage.READY), MEASURED, 9999, None, False),
    ],
    ids=["running", "measured by itself", "silent for longer than a lease", "waiting", "nothing measured yet", "paused", "done"],
)
def test_the_remaining_time_comes_from_measured_chunks_and_waiting_is_not_stalling(job, waiting, after_s, eta, stalled):
    seen = with_outlook(job, waiting, NOW + timedelta(seconds=after_s), lease=LEASE, workers=1)
    assert (seen.stalled, seen.eta_s is None) == (stalled, eta is None)
    if eta is not None:
        assert seen.eta_s == pytest.approx(eta, abs=0.5)


async def test_two_thousand_files_at_once_are_all_accepted_and_listed_page_by_page(still, eve):
    path = still.settings.home / "upload"
    for n in range(2000):
        path.write_text(f"text number {n}")
        await still.library.upload(eve.user, "lab", f"{n}.txt", path)
    seen, cursor = [], ""
    while True:
        page = await still.library.jobs(eve.user, unfinished=True, limit=500, cursor=cursor)
        seen += page.items
        if not (cursor := page.next_cursor):
            break
    assert len({j.document_id for j in seen}) == 2000
    assert sorted(j.position for j in seen) == list(range(1, 2001))


async def test_a_pasted_text_is_a_document_and_pasted_again_its_next_version(still, eve):
    first = await still.library.paste(eve.user, "lab", " What / I  know ", "The lamp is green.")
    second = await still.library.paste(eve.user, "lab", "What I know", "The lamp is red.")
    assert (second.document_id, second.version, second.name) == (first.document_id, 2, "What I know.txt")
    await all_of(still)
    document = await still.library.document(eve.user, first.document_id)
    assert (document.title, document.content) == ("What I know", "The lamp is red.")
    for title, text in (("", "x"), (" / ", "x"), ("x", "")):
        with pytest.raises(BadInput):
            await still.library.paste(eve.user, "lab", title, text)


async def test_a_collection_keeps_its_chunk_size_and_may_change_its_rerank_depth(still, eve):
    small = await still.library.create(eve.user, "lab", chunk_chars=200, rerank_depth=3)
    assert (small.chunk_chars, small.rerank_depth) == (200, 3)
    await send(still, eve, "a.txt", " ".join(f"Lamp number {n} is on floor {n}." for n in range(60)))
    await all_of(still)
    [document] = (await still.library.documents(eve.user, "lab")).items
    assert document.chunks > 6
    chunks = (await still.library.chunks(eve.user, document.id, limit=500)).items
    assert max(len(c.content) for c in chunks) <= 250

    async def reranked():
        trace = (await still.retrieval.search(eve.user, RAGQuery("lamp floor", "lab", top_k=2, rerank_top_k=1))).trace
        return sum(c.rerank_rank is not None for c in trace.candidates)

    assert await reranked() == 3
    await still.library.set_rerank_depth(eve.user, "lab", 6)
    assert await reranked() == 6
    for wrong in ({"chunk_chars": 10}, {"rerank_depth": 0}, {"rerank_depth": 1000}):
        with pytest.raises(BadInput):
            await still.library.create(eve.user, "other", **wrong)
