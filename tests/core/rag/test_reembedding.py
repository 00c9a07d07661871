"""Another embedding model for a collection: made in the background, searched from one moment to the next, and taken back."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from echo_house import echo_settings, taken_in

from core.app import open_app
from core.errors import IllegalStep, ModelMissing, ServiceUnavailable
from core.rag.model import RAGQuery, VersionState

pytestmark = pytest.mark.anyio
TEXTS = {f"{n}.md": f"# Note {n}\n\nThe {thing} hangs behind the {place} door.\n" for n, (thing, place) in enumerate((("key", "north"), ("coat", "south")))}
OTHER = "echo-embed-small"


@pytest.fixture
async def lab(app, ada):
    for name, text in TEXTS.items():
        await taken_in(app, ada, name, text)
    return await app.library.collection(ada.user, "lab")


async def state_of(app, admin, collection_id, version):
    return next(v for v in await app.console.versions.of(admin, collection_id) if v.version == version)


async def ended(app, admin, collection_id, version):
    """The version when it isn't built any more."""
    for _ in range(400):
        found = await state_of(app, admin, collection_id, version)
        if found.state is not VersionState.BUILDING:
            return found
        await asyncio.sleep(0.02)
    return found


async def asked(app, who, question="Where is the key?"):
    """(chunk, dense rank, dense score) of each passage that was looked at."""
    result = await app.retrieval.search(who.user, RAGQuery(question, "lab", rerank=False))
    assert result.trace.degraded == ""
    return [(c.chunk_id, c.dense_rank, c.dense_score) for c in result.trace.candidates]


@pytest.fixture
async def admin(app, ada):
    await app.users.add("root", "correct horse battery", admin=True)
    _, token = await app.users.sign_in("root", "correct horse battery", "test")
    return await app.users.admin(token)


async def test_another_model_is_built_beside_served_at_once_and_taken_back(app, ada, admin, lab):
    before = await asked(app, ada)
    begun = await app.console.versions.begin(admin, lab.id, OTHER)
    built = await ended(app, admin, lab.id, begun.version)
    assert (built.state, built.embedding_model, built.dimensions, built.done, built.total) == (VersionState.READY, OTHER, 64, 2, 2)
    assert await asked(app, ada) == before, "nothing is different before it is served"
    served = await app.console.versions.serve(admin, lab.id, 2)
    assert (served.embedding_model, served.dimensions, served.version) == (OTHER, 64, 2)
    after = await asked(app, ada)
    assert {c for c, _, _ in after} == {c for c, _, _ in before}
    assert after != before
    await app.console.versions.serve(admin, lab.id, 1)
    assert await asked(app, ada) == before


async def test_what_comes_after_the_swap_is_embedded_with_the_new_model_and_going_back_catches_up(app, ada, admin, lab):
    await app.console.versions.begin(admin, lab.id, OTHER)
    await ended(app, admin, lab.id, 2)
    await app.console.versions.serve(admin, lab.id, 2)
    _, job = await taken_in(app, ada, "late.md", "# Late\n\nThe ladder stands in the barn.\n")
    assert job.stage == "ready"
    assert (await asked(app, ada, "ladder barn"))[0][1] == 1
    await app.console.versions.serve(admin, lab.id, 1)
    assert (await asked(app, ada, "ladder barn"))[0][1] == 1
    assert (await state_of(app, admin, lab.id, 1)).total == 3


async def test_collections_of_different_models_are_searched_together(app, ada, admin, lab):
    await app.library.create(ada.user, "kitchen")
    await taken_in(app, ada, "tea.md", "# Tea\n\nThe kettle whistles at noon.\n", "kitchen")
    await app.console.versions.begin(admin, lab.id, OTHER)
    await ended(app, admin, lab.id, 2)
    await app.console.versions.serve(admin, lab.id, 2)
    result = await app.retrieval.search(ada.user, RAGQuery("the kettle and the key", "lab", rerank=False), ["lab", "kitchen"])
    assert {c.title for c in result.trace.candidates if c.dense_rank == 1} == {"Note 0", "Tea"}


async def test_a_model_that_is_not_there_begins_nothing(app, admin, lab):
    with pytest.raises(ModelMissing, match="no-such-model"):
        await app.console.versions.begin(admin, lab.id, "no-such-model")
    assert len(await app.console.versions.of(admin, lab.id)) == 1


async def test_a_server_that_is_away_is_waited_for_and_a_version_is_removed_while_it_is_built(app, admin, lab, monkeypatch):
    reembedding = app.console.versions._reembedding
    real = reembedding._embedder

    class Away:
        async def info(self):
            return await real.of(OTHER).info()

        async def embed(self, texts, kind, *, caller):
            raise ServiceUnavailable("The embeddings server can't be reached.", service="embeddings")

        def of(self, model):
            return self

    monkeypatch.setattr(reembedding, "_embedder", Away())
    await app.console.versions.begin(admin, lab.id, OTHER)
    for _ in range(200):
        waiting = await state_of(app, admin, lab.id, 2)
        if waiting.error:
            break
        await asyncio.sleep(0.02)
    assert (waiting.state, waiting.error) == (VersionState.BUILDING, "Waiting: The embeddings server can't be reached.")
    with pytest.raises(IllegalStep, match="being built"):
        await app.console.versions.begin(admin, lab.id, OTHER)
    receipt = await app.console.versions.drop(admin, lab.id, 2)
    assert receipt.complete
    assert [v.version for v in await app.console.versions.of(admin, lab.id)] == [1]


async def test_a_version_goes_on_after_a_restart(tmp_path, echo_server):
    async def house(serving):
        return await stack.enter_async_context(open_app(echo_settings(tmp_path), local=echo_server, serving=serving))

    async with AsyncExitStack() as stack:
        app = await house(serving=True)
        await app.users.add("root", "correct horse battery", admin=True)
        who, token = await app.users.sign_in("root", "correct horse battery", "test")
        await taken_in(app, who, "a.md", TEXTS["0.md"])
        collection, admin = await app.library.collection(who.user, "lab"), await app.users.admin(token)
    async with AsyncExitStack() as stack:
        app = await house(serving=False)  # nobody works here
        assert (await app.console.versions.begin(admin, collection.id, OTHER)).state is VersionState.BUILDING
    async with AsyncExitStack() as stack:
        app = await house(serving=True)
        assert (await ended(app, admin, collection.id, 2)).state is VersionState.READY


async def test_a_question_that_meets_the_swap_is_asked_again_and_not_answered_from_the_wrong_vectors(app, ada, admin, lab, monkeypatch):
    await app.console.versions.begin(admin, lab.id, OTHER)
    await ended(app, admin, lab.id, 2)
    await app.console.versions.serve(admin, lab.id, 2)
    expected = await asked(app, ada)
    await app.console.versions.serve(admin, lab.id, 1)
    real = app.retrieval._embedder

    class Slow:
        """While it embeds for the version before, the next one is served."""

        def of(self, model):
            self.model = real.of(model)
            return self

        async def embed(self, texts, kind, *, caller):
            embedded = await self.model.embed(texts, kind, caller=caller)
            await app.console.versions.serve(admin, lab.id, 2)
            return embedded

    monkeypatch.setattr(app.retrieval, "_embedder", Slow())
    assert await asked(app, ada) == expected


async def test_two_versions_are_compared_by_what_they_find(app, ada, admin, lab):
    await app.console.versions.begin(admin, lab.id, OTHER)
    await ended(app, admin, lab.id, 2)
    found = await app.console.versions.compare(admin, lab.id, 1, 2)
    assert (found.golden, found.questions, found.passages) == (False, 2, 2)
    assert (found.first.recall, found.first.mrr, found.second.recall) == (1.0, 1.0, 1.0)
