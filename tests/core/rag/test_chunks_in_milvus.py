"""A house whose chunks lie in Milvus: whatever is done to documents, collections, versions and users, Milvus holds what the rows say and nothing else."""

import asyncio
from contextlib import asynccontextmanager

import pytest
import servers
from echo_house import echo_settings, taken_in
from sqlalchemy import select

from core.adapters.database_sql import SqliteDatabase
from core.adapters.tables_sql import chunk_vectors, chunks
from core.app import open_app
from core.rag.model import RAGQuery, VersionState
from core.users.model import Admin

pytestmark = [pytest.mark.anyio, pytest.mark.services]
KIND = "vectors in Milvus"
OTHER = "echo-embed-small"
GUIDE = "# Guide\n\nThe key hangs behind the north door.\n\n## Coats\n\nThe coat hangs behind the south door.\n"


@pytest.fixture(scope="module", params=servers.MILVUS, ids=lambda leg: f"leg={leg}")
def milvus(request):
    with servers.milvus(request.param) as server:
        yield server


@pytest.fixture
def at(milvus, tmp_path):
    from milvus_index import emptied

    return echo_settings(tmp_path, vectors_url=emptied(milvus.url))


@pytest.fixture
async def app(at, echo_server):
    async with open_app(at, local=echo_server, serving=True) as opened:
        yield opened


@asynccontextmanager
async def beside(settings):
    """The index over the rows of a house, beside it."""
    from milvus_index import opened

    async with SqliteDatabase("", home=settings.home) as database, opened(settings.vectors_url, database) as index:
        yield index, database


async def held(settings):
    """(what the rows say, what Milvus holds), by the ids of vectors."""
    async with beside(settings) as (index, database):
        query = select(chunks.c.id, chunk_vectors.c.version).join(chunk_vectors, chunk_vectors.c.chunk_n == chunks.c.n)
        rows = {f"{i}/{version}" for i, version in await database.read(lambda c: c.execute(query).all())}
        names = await index._call(lambda client: client.list_collections(), 30)
        return rows, {row["id"] for name in names if await index._count(name) for row in await index._query(name, "id >= '0'", ["id"])}


async def agree(settings, count):
    rows, there = await held(settings)
    assert rows == there
    assert len(there) == count


async def contents(app, who, question):
    return [f.chunk.content for f in (await app.retrieval.search(who.user, RAGQuery(question, "lab", rerank=False))).chunks]


async def test_a_document_its_next_version_and_its_deletion(app, at, ada):
    document, job = await taken_in(app, ada, "guide.md", GUIDE)
    assert job.error == ""
    assert any("north" in c for c in await contents(app, ada, "Where is the key?"))
    await agree(at, job.chunks)
    await taken_in(app, ada, "guide.md", GUIDE.replace("north", "east"))
    found = await contents(app, ada, "Where is the key?")
    assert any("east" in c for c in found)
    assert not any("north" in c for c in found)
    for _ in range(100):  # the version before goes after the job has ended
        if len((await held(at))[1]) == job.chunks:
            break
        await asyncio.sleep(0.02)
    await agree(at, job.chunks)
    receipt = await app.library.delete_document(ada.user, document.id)
    assert (receipt.removed[KIND], receipt.left[KIND], receipt.complete) == (job.chunks, 0, True)
    await agree(at, 0)


async def test_another_model_is_searched_as_soon_as_it_is_served_and_a_removed_version_leaves_nothing(app, at, ada):
    _, job = await taken_in(app, ada, "guide.md", GUIDE)
    admin, lab = Admin(ada.user), await app.library.collection(ada.user, "lab")
    begun = await app.console.versions.begin(admin, lab.id, OTHER)
    for _ in range(400):
        if next(v for v in await app.console.versions.of(admin, lab.id) if v.version == begun.version).state is VersionState.READY:
            break
        await asyncio.sleep(0.02)
    await agree(at, job.chunks * 2)
    await app.console.versions.serve(admin, lab.id, 2)
    assert any("north" in c for c in await contents(app, ada, "Where is the key?"))
    receipt = await app.console.versions.drop(admin, lab.id, 1)
    assert (receipt.removed[KIND], receipt.left[KIND]) == (job.chunks, 0)
    await agree(at, job.chunks)


async def test_a_deleted_collection_and_a_deleted_user_leave_nothing_and_others_keep_theirs(app, at, ada, bob):
    await taken_in(app, ada, "guide.md", GUIDE)
    _, mine = await taken_in(app, bob, "a.md", GUIDE, "lab")
    await taken_in(app, bob, "b.md", GUIDE, "attic")
    receipt = await app.library.delete_collection(bob.user, "attic")
    assert (receipt.removed[KIND], receipt.left[KIND]) == (mine.chunks, 0)
    receipt = await app.console.people.delete(Admin(ada.user), bob.user.id)
    assert (receipt.removed[KIND], receipt.left[KIND], receipt.complete) == (mine.chunks, 0, True)
    await agree(at, mine.chunks)


async def test_a_house_that_gets_its_first_milvus_copies_what_it_has(at, echo_server):
    embedded = at.model_copy(update={"vectors_url": ""})
    async with open_app(embedded, local=echo_server, serving=True) as app:
        user = await app.users.add("ada", "correct horse battery", admin=True)
        ada = await app.users.by_key((await app.users.make_key(user))[1])
        _, job = await taken_in(app, ada, "guide.md", GUIDE)
    async with open_app(at, local=echo_server, serving=True) as app:
        for _ in range(200):
            if len((await held(at))[1]) == job.chunks:
                break
            await asyncio.sleep(0.05)
        assert any("north" in c for c in await contents(app, ada, "Where is the key?"))
        health = {h.part: h for h in await app.check()}["vectors"]
        assert (health.ready, health.adapter.startswith("Milvus at")) == (True, True)
    await agree(at, job.chunks)
