"""What every reader of everybody's conversations and collections keeps to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from core.adapters.belongings_sql import SqlBelongings
from core.adapters.collection_ledger_sql import SqlCollectionLedger
from core.adapters.conversations_sql import SqlConversations
from core.adapters.documents_sql import SqlDocuments
from core.adapters.tables_sql import stale_objects
from core.adapters.talks_sql import SqlTalks
from core.chat.model import ChatMessage, Conversation, MessageStatus, NewTurn
from core.console.folders import Known
from core.errors import NotFound
from core.ids import new_id, reply_id
from core.rag.model import Collection, Document, DocumentStatus, IngestJob, IngestStage

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def asked(database, user, text):
    conversation, question = new_id(), new_id()
    about = ChatMessage(question, conversation, "", user.id, "user", text, NOW)
    answer = ChatMessage(reply_id(question), conversation, "", user.id, "assistant", "", NOW, status=MessageStatus.GENERATING, reply_to=question)
    await SqlConversations(database).accept(NewTurn(Conversation(conversation, user.id, "A title", NOW, NOW), about, answer, NOW + timedelta(hours=1), ()))
    return conversation, answer.id


async def test_everybodys_conversations_come_begun_last_first_and_are_found_by_their_words(database, ada, bob):
    talks = SqlTalks(database)
    kept = [await asked(database, user, text) for user, text in ((ada, "wool and tea"), (bob, "tea at 100 %"), (ada, "nothing"))]
    first = await talks.talks(limit=2)
    rest = await talks.talks(limit=2, cursor=first.next_cursor)
    assert [t.conversation_id for t in [*first.items, *rest.items]] == [c for c, _ in kept[::-1]]
    assert [(t.username, t.messages) for t in (await talks.talks(search="TEA")).items] == [("bob", 2), ("ada", 2)]
    assert [t.username for t in (await talks.talks(search="100 %")).items] == ["bob"]
    assert (await talks.talks(search="tea", user_id=ada.id)).items[0].conversation_id == kept[0][0]
    assert await talks.owner(kept[1][0]) == await talks.owner_of_answer(kept[1][1]) == bob.id
    for unknown in (talks.owner, talks.owner_of_answer):
        with pytest.raises(NotFound):
            await unknown(new_id())


async def test_everybodys_collections_come_made_last_first_page_by_page(database, ada, bob):
    ledger, documents = SqlCollectionLedger(database), SqlDocuments(database)
    made = [Collection(new_id(), user.id, f"shelf {n}", "echo-embed", 4, "structure-1/700", NOW) for n, user in enumerate((ada, bob, ada))]
    for collection in made:
        await documents.add_collection(collection)
    first = await ledger.holdings(limit=2)
    rest = await ledger.holdings(limit=2, cursor=first.next_cursor)
    assert [(h.collection.id, h.owner) for h in [*first.items, *rest.items]] == [(made[n].id, (ada, bob, ada)[n].username) for n in (2, 1, 0)]
    held = await ledger.holding(made[1].id)
    assert (held.documents, held.chunks, held.live_chunks, held.size_bytes, held.failed, held.last_ingest) == (0, 0, 0, 0, 0, None)
    passages, vectors = await ledger.sample(made[1].id, 10)
    assert (list(passages), len(vectors), list(await ledger.rows(made[1].id, 10)), await ledger.bare_documents(made[1].id)) == ([], 0, [], 0)
    for unknown in (ledger.holding, ledger.owner_of_document):
        with pytest.raises(NotFound):
            await unknown(new_id())


async def test_documents_are_known_by_the_bytes_that_they_have_or_are_getting(database, ada):
    ledger, documents = SqlCollectionLedger(database), SqlDocuments(database)
    collection = Collection(new_id(), ada.id, "shelf", "echo-embed", 4, "structure-1/700", NOW)
    await documents.add_collection(collection)

    async def add(name, sha256):
        document = Document(
            new_id(), "shelf", name, "", f"file:///{name}", None, owner_id=ada.id, sha256=sha256, uri="s3://hearth/x", created_at=NOW, name=name
        )
        job = IngestJob(new_id(), document.id, ada.id, "shelf", name, IngestStage.QUEUED, 0.0, created_at=NOW)
        return await documents.add_document(document, collection, job)

    one, job = await add("one", "a" * 64)
    await documents.publish(replace(one, status=DocumentStatus.READY), job)
    two, _ = await add("two", "b" * 64)
    gone, _ = await add("gone", "c" * 64)
    await documents.bury_for(ada.id, gone.id)
    assert [d.sha256[0] for d in await ledger.known(collection.id, 10)] == ["a", "b"]
    _, coming = await add("one", "d" * 64)
    first = await ledger.known(collection.id, 1)
    assert first == [Known(one.id, "one", "d" * 64, "file:///one")]
    assert [d.document_id for d in await ledger.known(collection.id, 10, one.id)] == [two.id]
    await documents.cancel_for(ada.id, coming.id)
    assert [d.sha256[0] for d in await ledger.known(collection.id, 10)] == ["a", "b"]


async def test_every_uri_that_a_row_names_is_named_page_by_page(database, ada):
    documents, belongings = SqlDocuments(database), SqlBelongings(database)
    collection = Collection(new_id(), ada.id, "shelf", "echo-embed", 4, "structure-1/700", NOW)
    await documents.add_collection(collection)
    for name in "abcde":
        document = Document(new_id(), "shelf", name, "", "", None, owner_id=ada.id, sha256=name * 64, uri=f"s3://hearth/{name}", created_at=NOW, name=name)
        await documents.add_document(document, collection, IngestJob(new_id(), document.id, ada.id, "shelf", name, IngestStage.QUEUED, 0.0, created_at=NOW))
    await database.write(lambda c: c.execute(insert(stale_objects).values(uri="s3://hearth/stale")))
    for limit in (1, 2, 5, 100):
        found, cursor = set(), ""
        while True:
            page = await belongings.named(limit=limit, cursor=cursor)
            assert len(page.items) <= limit
            found |= set(page.items)
            if not (cursor := page.next_cursor):
                break
        assert found == {f"s3://hearth/{name}" for name in (*"abcde", "stale")}
