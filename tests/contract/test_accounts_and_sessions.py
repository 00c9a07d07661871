"""The contracts of Accounts, Sessions, ObjectStore and EventLog."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from servers import CACHES, emptied

from core.adapters.accounts_sql import SqlAccounts
from core.adapters.conversations_sql import SqlConversations, record_message
from core.adapters.events_outbox import OutboxEventLog
from core.adapters.objects_folder import FolderObjectStore
from core.adapters.sessions_sql import SqlSessions
from core.adapters.shared_valkey import ValkeyShared
from core.errors import AlreadyThere, BadInput, NotAllowed, NotFound
from core.events import Event, EventType
from core.ids import new_id
from core.users.model import ApiKey, Session

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


async def test_names_are_unique_whatever_their_case(database, ada):
    with pytest.raises(AlreadyThere):
        await SqlAccounts(database).add(replace(ada, id=new_id(), username="ADA"), None)


async def test_the_first_admin_can_be_made_once(database, ada):
    with pytest.raises(NotAllowed):
        await SqlAccounts(database).add_first(replace(ada, id=new_id(), username="eve"), "hash")


async def test_a_key_is_found_by_its_hash_alone(database, ada):
    accounts = SqlAccounts(database)
    key = ApiKey(new_id(), ada.id, "laptop", "hk_abc", NOW)
    await accounts.add_key(key, "h" * 64)
    assert await accounts.by_key("h" * 64) == (ada, key)
    with pytest.raises(NotFound):
        await accounts.by_key("hk_abc")


async def test_users_page_by_name(database, ada, bob):
    accounts = SqlAccounts(database)
    first = await accounts.everyone(1)
    second = await accounts.everyone(1, first.next_cursor)
    assert [u.username for u in (*first.items, *second.items)] == ["ada", "bob"]
    assert second.next_cursor == ""


@pytest.fixture(params=["table", *CACHES], ids=lambda leg: f"leg={leg}")
async def sessions(request, database):
    """In a table alone, and with copies in a server."""
    if request.param == "table":
        yield SqlSessions(database)
        return
    server = request.getfixturevalue(request.param.replace("-", "_"))
    emptied(server)
    async with ValkeyShared(server.url, sessions=SqlSessions(database), clock=lambda: NOW) as shared:
        yield shared.sessions


def a_session(user):
    return Session(new_id(), user.id, "chat", NOW, NOW, {"address": "10.0.0.1"})


async def test_a_session_is_absent_from_the_moment_it_expires(sessions, ada):
    session = a_session(ada)
    await sessions.open(session, "t" * 64, [Event(new_id(), EventType.USER_LOGIN, ada.id, session.id, NOW)])
    for _ in range(2):
        assert await sessions.find("t" * 64, NOW + timedelta(days=7) - timedelta(seconds=1)) == session
        assert await sessions.find("t" * 64, NOW + timedelta(days=7)) is None
    assert await sessions.count_expired(NOW + timedelta(days=7)) == 1
    assert await sessions.drop_expired(NOW + timedelta(days=7)) == 1


async def test_a_closed_session_is_gone_and_using_it_says_so(sessions, ada):
    session = a_session(ada)
    await sessions.open(session, "t" * 64, [])
    await sessions.close("t" * 64)
    await sessions.close("t" * 64)
    assert await sessions.find("t" * 64, NOW) is None
    assert await sessions.touch("t" * 64, session.touched(NOW + timedelta(hours=1))) is False
    assert await sessions.find("t" * 64, NOW) is None


async def test_a_session_that_was_used_says_when(sessions, ada):
    await sessions.open(a_session(ada), "t" * 64, [])
    used = (await sessions.find("t" * 64, NOW)).touched(NOW + timedelta(hours=1))
    assert await sessions.touch("t" * 64, used) is True
    assert await sessions.find("t" * 64, NOW + timedelta(hours=1)) == used
    assert (await sessions.of(ada.id, NOW)).items == [used]


async def test_all_sessions_of_a_user_or_one_are_closed_and_nobody_elses(sessions, ada, bob):
    mine, theirs = [a_session(ada) for _ in range(3)], a_session(bob)
    for n, session in enumerate((*mine, theirs)):
        await sessions.open(session, str(n) * 64, [])
    with pytest.raises(NotFound):
        await sessions.close_one(bob.id, mine[0].id)
    assert await sessions.close_one(ada.id, mine[0].id) == "0" * 64
    with pytest.raises(NotFound):
        await sessions.close_one(ada.id, mine[0].id)
    assert [await sessions.find(str(n) * 64, NOW) for n in range(4)] == [None, mine[1], mine[2], theirs]
    assert sorted(await sessions.close_all(ada.id)) == ["1" * 64, "2" * 64]
    assert await sessions.close_all(ada.id) == []
    assert [await sessions.find(str(n) * 64, NOW) for n in range(4)] == [None, None, None, theirs]


@pytest.fixture(params=["folder"], ids=lambda leg: f"leg={leg}")
async def objects(request, tmp_path):
    async with FolderObjectStore("", home=tmp_path) as store:
        yield store


async def test_what_was_put_comes_back_under_an_s3_uri(objects, tmp_path):
    uri = await objects.put("originals/u/d", b"bytes")
    assert uri == "s3://hearth/originals/u/d"
    assert await objects.get(uri) == b"bytes"
    big = tmp_path / "big"
    big.write_bytes(b"x" * 3_000_000)
    assert (await objects.local_path(await objects.put("originals/u/e", big))).stat().st_size == 3_000_000


async def test_putting_again_replaces_the_whole_object(objects):
    await objects.put("a", b"long long")
    assert await objects.get(await objects.put("a", b"short")) == b"short"


async def test_a_dropped_object_is_not_found(objects):
    uri = await objects.put("a/b", b"x")
    assert await objects.drop(uri) is True
    assert await objects.drop(uri) is False
    assert await objects.exists(uri) is False
    with pytest.raises(NotFound):
        await objects.get(uri)


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a/../../b", "", "a\\b", "a\0b"])
async def test_no_key_leaves_the_store(objects, key):
    with pytest.raises(BadInput):
        await objects.put(key, b"x")


async def test_an_event_delivered_twice_has_one_effect(database, ada):
    log = OutboxEventLog(database, {EventType.MESSAGE_STORED: record_message})
    data = {"id": new_id(), "role": "user", "content": "from another program"}
    event = Event(new_id(), EventType.MESSAGE_STORED, ada.id, new_id(), NOW, data)
    redelivered = replace(event, id=new_id())
    await log.publish([event, event])
    await log.publish([event, redelivered])
    assert await log.record() == 2
    assert await log.record() == 0
    page = await SqlConversations(database).thread_for(ada.id, event.aggregate_id)
    assert [m.content for m in page.messages] == ["from another program"]


async def test_an_event_for_somebody_elses_conversation_has_no_effect(database, ada, bob):
    log = OutboxEventLog(database, {EventType.MESSAGE_STORED: record_message})
    conversation = new_id()
    for user in (ada, bob):
        await log.publish([Event(new_id(), EventType.MESSAGE_STORED, user.id, conversation, NOW, {"id": new_id(), "role": "user", "content": user.username})])
    await log.record()
    page = await SqlConversations(database).thread_for(ada.id, conversation)
    assert [m.content for m in page.messages] == ["ada"]


async def test_the_log_reads_in_order_from_where_one_left_off(database, ada):
    log = OutboxEventLog(database, {})
    await log.publish([Event(new_id(), EventType.MESSAGE_RECEIVED, ada.id, "c", NOW, {"n": n}) for n in range(5)])
    first = await log.read(limit=2)
    rest = await log.read(first[-1].seq)
    assert [r.event.data["n"] for r in (*first, *rest)] == [0, 1, 2, 3, 4]
