"""The streams behind the outbox, on a real NATS server: what goes out, what comes in, what is forgotten, and what outlives a server that dies."""

import asyncio
import logging
import random
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import nats
import pytest
import servers
from nats.js.errors import NoStreamResponseError
from sqlalchemy import select

from core.adapters import events_nats
from core.adapters.accounts_sql import SqlAccounts
from core.adapters.belongings_sql import SqlBelongings
from core.adapters.conversations_sql import SqlConversations
from core.adapters.database_sql import SqliteDatabase
from core.adapters.events_nats import NatsEventLog
from core.adapters.events_outbox import MAX_ATTEMPTS, append
from core.adapters.records_sql import EFFECTS
from core.adapters.tables_sql import messages as stored_messages
from core.adapters.tables_sql import outbox, relay, stream_purges
from core.errors import NotFound, ServiceUnavailable, SettingsError
from core.events import Event, EventType
from core.ids import is_id, new_id
from core.users.model import Preferences, User

pytestmark = [pytest.mark.anyio, pytest.mark.services]
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture(params=["nats-2.15"], ids=lambda leg: f"leg={leg}")
def server(request):
    with servers.nats_2_15() as running:
        yield running


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(events_nats, "AGAIN_S", 0.5)


@pytest.fixture
async def log(server, database):
    async with opened(server, database) as made:
        yield made


@pytest.fixture
async def outside(server):
    """Another program's own connection."""
    async with await nats.connect(server.url) as connection:
        yield connection.jetstream()


def opened(server, database):
    return NatsEventLog(server.url, database, EFFECTS, message_days=30)


def an_event(user, of=None, kind=EventType.MESSAGE_RECEIVED, **data):
    return Event(new_id(), kind, user.id, of or new_id(), NOON, data)


def a_message(user, conversation, content="hello", **data):
    return an_event(user, conversation, EventType.MESSAGE_STORED, **{"id": new_id(), "role": "user", "content": content} | data)


def packed(event):
    return msgspec.msgpack.encode({"id": event.id, "at": event.at.isoformat(), "data": event.data})


async def tell(outside, *events):
    """As docs/events.md has it; without an id for the server, which would know again what it had."""
    for event in events:
        await outside.publish(f"CHAT.{event.user_id}.{event.aggregate_id}.{event.type.value}", packed(event))


async def happens(database, *events):
    await database.write(lambda c: append(c, events))


async def held(outside, stream="CHAT"):
    return (await outside.stream_info(stream)).state.messages


async def still_open(database):
    waiting = select(outbox.c.event_id).where(outbox.c.streamed_at.is_(None), outbox.c.seq > select(relay.c.seq).scalar_subquery())
    return await database.read(lambda c: c.execute(waiting).scalars().all())


async def until_drained(log, database, within_s=20):
    async with asyncio.timeout(within_s):
        while True:
            await log.record()
            if not await still_open(database):
                return
            await asyncio.sleep(0.05)


async def texts(database, user, conversation):
    return [m.content for m in (await SqlConversations(database).thread_for(user.id, conversation)).messages]


async def test_what_happens_here_is_told_in_its_stream_and_closed_when_it_came_back(log, outside, database, ada):
    events = [an_event(ada, n=1), an_event(ada, kind=EventType.VOICE_REQUEST_RECEIVED), an_event(ada, kind=EventType.STEP_STARTED)]
    await happens(database, *events)
    assert await log.record() == 0, "ours are recorded already"
    await until_drained(log, database)
    for event, stream in zip(events, ("CHAT", "VOICE", "WORKFLOW"), strict=True):
        kept = await outside.get_last_msg(stream, f"{stream}.{ada.id}.{event.aggregate_id}.{event.type.value}")
        told = msgspec.msgpack.decode(kept.data)
        assert (told["id"], told["at"], told["data"]) == (event.id, event.at, dict(event.data))
        assert await held(outside, stream) == 1
    assert [r.event for r in await log.read()] == events


async def test_what_happened_before_there_was_a_server_stays_here(server, outside, database, ada):
    await happens(database, an_event(ada))
    async with opened(server, database) as log:
        await happens(database, later := an_event(ada))
        await until_drained(log, database)
        assert await held(outside) == 1
        assert (await log.latest()).items[0].event == later


async def test_the_streams_are_kept_as_long_as_the_domain_says(log, outside):
    ages = {name: (await outside.stream_info(name)).config.max_age for name in ("CHAT", "VOICE", "WORKFLOW")}
    assert ages == {"CHAT": 30 * 86400, "VOICE": 30 * 86400, "WORKFLOW": 0}


async def test_a_stream_that_is_there_is_set_anew(server, log, outside, database):
    async with NatsEventLog(server.url, database, EFFECTS, message_days=7):
        assert (await outside.stream_info("CHAT")).config.max_age == 7 * 86400


async def test_a_stream_of_somebody_else_is_refused(server, outside, database):
    await outside.add_stream(name="CHAT", subjects=["CHAT.>"], storage="memory")
    with pytest.raises(SettingsError, match="stream CHAT is otherwise: storage"):
        async with opened(server, database):
            pass


async def test_what_others_tell_in_any_order_and_any_number_of_times_is_stored_once(log, outside, database, ada):
    threads = {new_id(): [] for _ in range(4)}
    events = []
    for thread, said in threads.items():
        before = ""
        for n in range(10):
            events.append(a_message(ada, thread, f"{n}", parent_id=before, title="told"))
            events[-1] = replace(events[-1], at=NOON + timedelta(seconds=n))
            said.append(str(n))
            before = events[-1].data["id"]
    dealt = random.Random(7)
    delivered = [e for e in events for _ in range(dealt.randint(1, 5))]
    dealt.shuffle(delivered)
    await tell(outside, *delivered)
    assert await log.record() == len(events)
    assert await log.record() == 0
    assert {thread: await texts(database, ada, thread) for thread in threads} == threads
    assert len(await log.read(limit=1000)) == len(events)


async def test_a_message_can_not_follow_one_of_another_conversation_or_itself(log, outside, database, ada, bob):
    secret = a_message(bob, new_id(), "bob's own", parent_id="")
    mine, loop = new_id(), (new_id(), new_id())
    bad = [a_message(ada, mine, str(n), id=loop[n], parent_id=loop[1 - n]) for n in range(2)]
    bad[1] = replace(bad[1], at=NOON + timedelta(seconds=1))
    nosy = replace(a_message(ada, new := new_id(), "nosy", parent_id=secret.data["id"]), at=NOON + timedelta(seconds=1))
    itself = a_message(ada, mine, id=(alone := new_id()), parent_id=alone)
    await tell(outside, secret, nosy, *bad, itself)
    for _ in range(MAX_ATTEMPTS):
        await log.record()
    assert await texts(database, ada, new) == ["nosy"]
    assert [d.event.id for d in (await log.dead()).items] == [itself.id, bad[1].id]
    assert await texts(database, ada, mine) == ["0"]


async def test_nobody_writes_into_somebody_elses_conversation_or_for_nobody(log, outside, database, ada, bob):
    conversation, nobody = new_id(), replace(ada, id=new_id())
    await tell(outside, a_message(ada, conversation, "mine"))
    await log.record()
    await tell(outside, a_message(bob, conversation, "not yours"), stray := a_message(nobody, new_id()))
    for _ in range(MAX_ATTEMPTS):
        await log.record()
    assert await texts(database, ada, conversation) == ["mine"]
    assert [d.event for d in (await log.dead()).items] == [stray]


async def test_what_can_not_be_read_or_holds_no_message_is_a_dead_letter_and_holds_up_nothing(log, outside, database, ada):
    thread = new_id()
    place, good = f"CHAT.{ada.id}.{thread}.MessageStored", a_message(ada, thread)
    deep = b"\x81\xa4data" + b"\x91" * 100_000
    naive = msgspec.msgpack.encode({"id": new_id(), "at": "2026-01-01T00:00:00", "data": {}})
    strange = msgspec.msgpack.encode({"id": "../x", "at": NOON.isoformat(), "data": {}})
    for bad in (b"", b"\xc1", b"{not MessagePack}", msgspec.msgpack.encode([1, 2]), deep, naive, strange):
        await outside.publish(place, bad)
    await tell(outside, lacking := a_message(ada, thread, role="chief"), long := a_message(ada, thread, "x" * 300_000), good)
    assert await log.record() == 1
    for _ in range(MAX_ATTEMPTS):
        await log.record()
    letters = (await log.dead()).items
    assert len(letters) == 9
    assert {lacking.id, long.id} < {d.event.id for d in letters}
    assert all(is_id(d.event.id) and d.attempts == MAX_ATTEMPTS and d.error for d in letters)
    assert await log.revive([d.seq for d in letters]) == 9
    for _ in range(MAX_ATTEMPTS):
        assert await log.record() == 0
    assert len((await log.dead()).items) == 9
    assert await texts(database, ada, thread) == ["hello"]


async def test_a_type_that_is_none_is_not_taken_by_the_server(log, outside, ada):
    with pytest.raises(NoStreamResponseError):
        await outside.publish(f"CHAT.{ada.id}.{new_id()}.Nonsense", b"")
    with pytest.raises(NoStreamResponseError):
        await outside.publish(f"CHAT.{ada.id}.{new_id()}.more.MessageStored", b"")


async def test_no_id_means_anything_to_the_server(log, outside, database, ada):
    odd = [replace(an_event(ada), aggregate_id=text) for text in ("*", ">", "a.b", "a b", "ü~%2E", "")]
    await happens(database, *odd)
    await until_drained(log, database)
    assert await held(outside) == len(odd)
    assert [r.event for r in await log.read()] == odd


async def test_a_deleted_conversation_is_gone_from_the_streams_too_and_does_not_come_back(log, outside, database, ada):
    conversation, other = new_id(), new_id()
    await tell(outside, a_message(ada, conversation), a_message(ada, other))
    await log.record()
    late = a_message(ada, conversation, "late")
    await SqlConversations(database).delete_for(ada.id, conversation)
    await tell(outside, late)
    assert await log.record() == 0
    await log.record()
    assert await held(outside) == 1
    with pytest.raises(NotFound):
        await texts(database, ada, conversation)
    assert await texts(database, ada, other) == ["hello"]


async def test_a_user_who_is_erased_is_gone_from_every_stream(log, outside, database, ada, bob):
    await happens(database, *(an_event(who, kind=kind) for who in (ada, bob) for kind in (EventType.USER_LOGIN, EventType.TRANSCRIPTION_STARTED)))
    await until_drained(log, database)
    await SqlBelongings(database).erase(ada.id)
    await log.record()
    assert [await held(outside, stream) for stream in ("CHAT", "VOICE")] == [1, 1]
    await tell(outside, an_event(ada))
    await log.record()
    assert not await log.read(user_id=ada.id)


async def test_what_retention_deletes_is_gone_from_the_streams_too(log, outside, database, ada):
    await tell(outside, a_message(ada, new_id()))
    await log.record()
    assert await SqlConversations(database).drop_before(NOON + timedelta(days=1), 100) == 1
    await log.record()
    assert await held(outside) == 0


async def test_what_is_deleted_while_the_server_is_away_is_forgotten_when_it_is_back(server, log, outside, database, ada):
    conversation = new_id()
    await tell(outside, a_message(ada, conversation))
    await log.record()
    server.kill()
    await SqlConversations(database).delete_for(ada.id, conversation)
    assert await log.record() == 0
    server.start()
    async with asyncio.timeout(20):
        while await held(outside):
            await log.record()
            await asyncio.sleep(0.1)
    (row,) = await database.read(lambda c: c.execute(select(stream_purges)).all())
    assert row.purged_at is not None


async def test_what_was_purged_is_purged_once_more_and_then_forgotten(log, outside, database, ada, monkeypatch):
    conversation = new_id()
    await tell(outside, a_message(ada, conversation))
    await log.record()
    await SqlConversations(database).delete_for(ada.id, conversation)
    await log.record()
    monkeypatch.setattr(events_nats, "LATE", timedelta(0))
    await outside.publish(f"CHAT.{ada.id}.{conversation}.MessageReceived", packed(an_event(ada, conversation)), headers={"Hearth-Outbox": "1"})
    await log.record()
    assert await held(outside) == 0
    assert not await database.read(lambda c: c.execute(select(stream_purges)).all())


async def test_a_house_that_never_had_a_server_remembers_no_purges(database, ada):
    await SqlBelongings(database).erase(ada.id)
    assert not await database.read(lambda c: c.execute(select(stream_purges)).all())


async def test_a_house_opens_without_its_server_and_tells_everything_later_and_says_so_once(server, database, ada, caplog):
    server.kill()
    with caplog.at_level(logging.INFO):
        async with opened(server, database) as log:
            await happens(database, an_event(ada))
            for _ in range(5):
                assert await log.record() == 0
            with pytest.raises(ServiceUnavailable):
                await log.check()
            with pytest.raises(ServiceUnavailable):
                await log.publish([an_event(ada)])
            server.start()
            async with asyncio.timeout(20):
                while not (await log.record(), log._prepared)[1]:
                    await asyncio.sleep(0.1)
            await happens(database, later := an_event(ada))
            await until_drained(log, database)
            await log.check()
    assert (await log.latest()).items[0].event == later
    assert [r.message.partition(":")[0] for r in caplog.records] == ["Events wait in the outbox", "Events go out again."]


async def test_a_server_that_is_killed_under_load_loses_nothing(server, log, outside, database, ada):
    thread, others, before = new_id(), [], ""
    for n in range(60):
        others.append(replace(a_message(ada, thread, str(n), parent_id=before), at=NOON + timedelta(seconds=n)))
        before = others[-1].data["id"]
    ours, taken = [an_event(ada, n=n) for n in range(300)], []

    async def other_program():
        for event in others:
            while event not in taken:
                try:
                    await outside.publish(f"CHAT.{ada.id}.{thread}.MessageStored", packed(event), timeout=1)
                    taken.append(event)
                except nats.errors.Error:
                    await asyncio.sleep(0.1)

    async def house():
        for event in ours:
            await happens(database, event)

    async def recorder():
        while True:
            await log.record()
            await asyncio.sleep(0.02)

    at_work = asyncio.create_task(recorder())
    try:
        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            group.create_task(other_program())
            group.create_task(house())
            for _ in range(3):
                await asyncio.sleep(0.4)
                server.kill()
                await asyncio.sleep(0.3)
                server.start()
    finally:
        at_work.cancel()
        await asyncio.gather(at_work, return_exceptions=True)
    await until_drained(log, database, 40)
    async with asyncio.timeout(40):
        while len(await log.read(limit=1000)) < len(ours) + len(others):
            await log.record()
            await asyncio.sleep(0.1)
    assert await texts(database, ada, thread) == [str(n) for n in range(60)]
    assert sorted(r.event.id for r in await log.read(limit=1000)) == sorted(e.id for e in (*ours, *others))


async def test_streams_that_are_lost_are_made_anew_and_what_was_open_is_told_again(log, outside, database, ada):
    await happens(database, an_event(ada))
    for name in ("CHAT", "VOICE", "WORKFLOW"):
        await outside.delete_stream(name)
    await until_drained(log, database)
    assert await held(outside) == 1


async def test_two_houses_processes_share_the_work_and_double_nothing(server, log, outside, database, ada):
    thread = new_id()
    async with opened(server, database) as second:
        await tell(outside, *(a_message(ada, thread, parent_id="") for _ in range(50)))
        await happens(database, *(an_event(ada, n=n) for n in range(50)))
        counts = await asyncio.gather(log.record(10), second.record(10))
        await until_drained(log, database)
    assert sum(counts) == 50
    assert await held(outside) == 100


# A recorder that dies as if the power had gone, over the database and the server that it is given.
DIES = """
import asyncio, sys
from pathlib import Path

from core.adapters.database_sql import SqliteDatabase
from core.adapters.events_nats import NatsEventLog
from core.adapters.records_sql import EFFECTS
from core.crash import arm


async def main(home, url, point):
    async with SqliteDatabase("", home=Path(home)) as database, NatsEventLog(url, database, EFFECTS, message_days=30) as log:
        arm(point)
        for _ in range(20):
            await log.record()


asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("point", ["after_puback", "after_consume", "after_effect_commit", "after_ack"])
async def test_a_recorder_that_dies_anywhere_loses_and_doubles_nothing(server, outside, point, tmp_path, monkeypatch):
    monkeypatch.setattr(events_nats, "ACK_WAIT_S", 1)
    async with SqliteDatabase("", home=tmp_path) as database:
        await database.migrate()
        ada = User(new_id(), "ada", False, Preferences(), NOON)
        await SqlAccounts(database).add(ada, None)
        async with opened(server, database):
            pass
        thread, told = new_id(), an_event(ada)
        messages = [replace(a_message(ada, thread, str(n), parent_id=""), at=NOON + timedelta(seconds=n)) for n in range(5)]
        await happens(database, told)
        await tell(outside, *messages)
        died = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", DIES, tmp_path, server.url, point], capture_output=True, text=True, timeout=60)
        assert (died.returncode, died.stderr.strip()) == (137, f"crash point {point}")
        async with opened(server, database) as log:
            await until_drained(log, database)
            async with asyncio.timeout(20):
                while (await outside.consumer_info("CHAT", events_nats.RECORDER)).num_ack_pending:
                    await log.record()
                    await asyncio.sleep(0.1)
            assert sorted(r.event.id for r in await log.read()) == sorted([told.id, *(m.id for m in messages)])
        stored = await database.read(lambda c: c.execute(select(stored_messages.c.content).order_by(stored_messages.c.content)).scalars().all())
        assert stored == ["0", "1", "2", "3", "4"]


async def test_an_event_that_is_larger_than_the_server_takes_holds_up_no_other(log, outside, database, ada, caplog):
    await happens(database, an_event(ada, much="x" * 2_000_000), small := an_event(ada))
    await until_drained(log, database)
    assert msgspec.msgpack.decode((await outside.get_msg("CHAT", 1)).data)["id"] == small.id
    assert "1 events are larger than NATS takes" in caplog.text


async def test_the_name_and_the_word_of_the_address_open_the_server(database):
    with servers.nats_2_15("--user", "hearth", "--pass", "s@cret/") as closed:
        async with NatsEventLog(closed.url.replace("//", "//hearth:s%40cret%2F@"), database, EFFECTS, message_days=30) as log:
            await log.check()
            assert "cret" not in log.adapter
        async with NatsEventLog(closed.url.replace("//", "//hearth:wrong@"), database, EFFECTS, message_days=30) as log:
            with pytest.raises(ServiceUnavailable, match=r"Authorization Violation|Connection reset"):
                await log.check()


async def test_a_connection_that_the_library_has_given_up_is_made_anew(log, database, ada):
    await log._client.close()
    with pytest.raises(ServiceUnavailable):
        await log.check()
    await happens(database, an_event(ada))
    await until_drained(log, database)
    await log.check()


async def test_nothing_secret_is_said_to_a_server_that_does_not_demand_tls(server, database):
    async with NatsEventLog(server.url.replace("nats://", "tls://hearth:secret@"), database, EFFECTS, message_days=30) as log:
        with pytest.raises(ServiceUnavailable, match="secure connection required"):
            await log.check()
    with pytest.raises(SettingsError, match="asks for TLS"):
        async with NatsEventLog(server.url.replace("nats://", "tls://"), database, EFFECTS, message_days=30):
            pass


@pytest.mark.parametrize("leg", ["nats-2.9"], ids=lambda leg: f"leg={leg}")
async def test_a_server_that_is_too_old_is_refused(leg, tmp_path):
    async with SqliteDatabase("", home=tmp_path) as database:
        await database.migrate()
        with servers.nats_2_9() as old, pytest.raises(SettingsError, match=r"NATS 2\.9\.\d+, which is too old"):
            async with opened(old, database):
                pass


@pytest.mark.parametrize("url", ["nats://", "nats://host/path", "nats://a:x", "nats://a,tls://b"])
async def test_an_address_that_is_none_is_refused(url, database):
    with pytest.raises(SettingsError, match="HEARTH_EVENTS_URL"):
        NatsEventLog(url, database, EFFECTS, message_days=30)
