"""Valkey or Redis is killed, hangs or can't be reached: people stay signed in, what was ended stays ended, and limits hold."""

import asyncio
import time
from collections import Counter
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

import pytest
import servers
from echo_house import ask, echo_settings, finished
from proxy import Proxy

from core.adapters.accounts_sql import SqlAccounts
from core.adapters.database_sql import SqliteDatabase
from core.adapters.sessions_sql import SqlSessions
from core.adapters.sessions_valkey import SETTLED_S
from core.adapters.shared_valkey import ValkeyShared
from core.app import open_app
from core.chat.turn import Stage
from core.errors import NotSignedIn, ServiceBusy, ServiceUnavailable
from core.ids import new_id
from core.inference import TextDelta
from core.signals import Signal
from core.users.model import Preferences, Session, User

pytestmark = [pytest.mark.anyio, pytest.mark.services]
NOW = datetime.now(UTC)


@pytest.fixture(params=["redis-7", "valkey-8"], ids=lambda leg: f"leg={leg}")
def server(request):
    with getattr(servers, request.param.replace("-", "_"))() as running:
        yield running


@pytest.fixture
def way(server):
    """Between the first process and the server."""
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def ada(tmp_path):
    async with SqliteDatabase("", home=tmp_path) as database:
        await database.migrate()
        user = User(new_id(), "ada", False, Preferences(), NOW)
        await SqlAccounts(database).add(user, None)
        yield user, SqlSessions(database)


@pytest.fixture
async def two(server, way, ada):
    """Two processes of a house; the first goes through the proxy."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(ValkeyShared(url, sessions=ada[1], clock=lambda: datetime.now(UTC)))
            for url in (server.url.replace(str(server.port), str(way.port)), server.url)
        ]


async def signed_in(shared, user, *tokens):
    for token in tokens:
        await shared.sessions.open(Session(new_id(), user.id, "chat", NOW, NOW), token, [])


async def until(true, within_s=8.0):
    deadline = time.monotonic() + within_s
    while not await true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def answers(shared):
    try:
        await shared.check()
    except ServiceUnavailable:
        return False
    return not shared._server.away


async def times_ms(work, times=100):
    spent = []
    for _ in range(times):
        begun = time.perf_counter()
        await work()
        spent.append((time.perf_counter() - begun) * 1000)
    return sorted(spent)


@pytest.mark.parametrize("mode", ["down", "timeout", "reset_peer"])
async def test_sessions_are_known_without_it_and_after_the_first_time_nobody_waits(two, way, ada, mode):
    here, _ = two
    await signed_in(here, ada[0], "a" * 64)
    usual = await times_ms(lambda: here.sessions.find("a" * 64, NOW))
    way.mode = mode
    begun = time.perf_counter()
    assert await here.sessions.find("a" * 64, NOW) is not None
    first_ms = (time.perf_counter() - begun) * 1000
    away = await times_ms(lambda: here.sessions.find("a" * 64, NOW))
    print(f"{mode}: usual p95 {usual[94]:.1f} ms, first {first_ms:.0f} ms, away p95 {away[94]:.1f} ms")
    assert first_ms < 1000
    assert away[94] - usual[94] < 100
    assert await here.sessions.find("b" * 64, NOW) is None
    with pytest.raises(ServiceUnavailable):
        await here.check()
    way.mode = ""
    await until(lambda: answers(here))
    assert await here.sessions.find("a" * 64, NOW) is not None


@pytest.mark.parametrize("mode", ["down", "timeout"])
async def test_what_is_ended_while_it_is_away_never_works_again(two, way, ada, mode):
    here, there = two
    await signed_in(here, ada[0], "a" * 64, "b" * 64)
    assert await there.sessions.find("a" * 64, NOW) is not None
    way.mode = mode
    await here.sessions.close("a" * 64)
    assert await here.sessions.find("a" * 64, NOW) is None
    assert len(await here.sessions.close_all(ada[0].id)) == 1
    # The other process still reaches a server that was not told. It finds out when it next touches the session, which is a minute after its last use.
    used = Session(new_id(), ada[0].id, "chat", NOW, NOW + timedelta(minutes=1))
    assert await there.sessions.touch("b" * 64, used) is False
    assert await there.sessions.find("b" * 64, NOW) is None
    way.mode = ""
    await until(lambda: answers(here))
    assert [await process.sessions.find(token * 64, NOW) for process in two for token in "ab"] == [None] * 4, "told before it is asked again"


async def test_a_session_ended_while_it_was_killed_is_dead_when_it_is_back(two, server, ada):
    here = two[0]
    await signed_in(here, ada[0], "a" * 64, "b" * 64)
    server.kill()
    await here.sessions.close("a" * 64)
    assert [await process.sessions.find(token * 64, NOW) is None for process in two for token in "ab"] == [True, False, True, False]
    server.start()
    for process in two:
        await until(lambda process=process: answers(process))
    assert [await process.sessions.find(token * 64, NOW) is None for process in two for token in "ab"] == [True, False, True, False]


async def test_whatever_comes_and_goes_who_is_signed_in_stays_so_and_who_was_ended_stays_out(two, way, ada):
    """Two processes open, use and end sessions while the way of one to the server comes and goes."""
    random, here, opened, closed, asked = Random(7), two[0], set(), set(), Counter()
    way.delay_s = 0.7  # longer than anybody waits

    async def come_and_go(until_s):
        while time.monotonic() < until_s:
            way.mode = random.choice(["", "", "down", "timeout", "latency", "reset_peer"])
            await asyncio.sleep(random.uniform(0.05, 1.5))

    async def use(process, until_s, worker):
        for n in count():
            if time.monotonic() > until_s:
                return
            token = f"{worker}-{n}"
            await process.sessions.open(Session(new_id(), ada[0].id, "chat", NOW, NOW), token, [])
            opened.add(token)
            for known in random.sample(sorted(opened), min(5, len(opened))):
                found = await process.sessions.find(known, NOW)
                asked[found is not None] += 1
                assert found is not None or known not in opened, "signed out by nobody"
            ended = random.choice(sorted(opened))
            opened.discard(ended)
            await process.sessions.close(ended)
            closed.add(ended)
            if process is here:
                assert await process.sessions.find(ended, NOW) is None, "ended, and it works"

    until_s = time.monotonic() + 8
    await asyncio.gather(come_and_go(until_s), *(use(process, until_s, f"{p}.{n}") for p, process in enumerate(two) for n in range(3)))
    way.mode = ""
    for process in two:
        await until(lambda process=process: answers(process))
    await asyncio.sleep(SETTLED_S)
    print(f"{len(opened) + len(closed)} sessions, {asked.total()} questions")
    for process in two:
        assert not [token for token in closed if await process.sessions.find(token, NOW) is not None]
        assert not [token for token in opened if await process.sessions.find(token, NOW) is None]


async def test_a_copy_is_never_put_over_the_mark_of_a_closed_session(two, ada):
    here, there = two
    await signed_in(here, ada[0], "a" * 64)
    session = await there.sessions.find("a" * 64, NOW)
    await here.sessions.close("a" * 64)
    await there.sessions._put("a" * 64, session, timedelta(days=1))  # read from the records just before
    assert await here.sessions.find("a" * 64, NOW) is None


@pytest.mark.parametrize("mode", ["down", "timeout"])
async def test_limits_hold_without_it(two, way, mode):
    here, there = two
    assert await here.limits.take("ada", "first", 2, 30)
    assert [await here.limits.count("ada", 30) for _ in range(3)] == [1, 2, 3]
    await here.limits.bar("ada", 30)
    way.mode = mode
    assert await here.limits.barred_s("ada") > 25
    assert await here.limits.count("ada", 30) == 4
    assert await here.limits.take("ada", "second", 2, 30)
    assert not await here.limits.take("ada", "third", 2, 30)
    way.mode = ""
    await until(lambda: answers(here))
    assert await here.limits.take("ada", "second", 2, 30), "who takes it again holds it for all"
    assert not await there.limits.take("ada", "fourth", 2, 30)


async def test_signals_are_heard_again_when_it_is_back_and_one_that_can_not_be_sent_says_so(two, server):
    here, there = two
    heard = []
    there.signals.on(Signal.STOP_ANSWER, lambda *about: heard.append(about))
    server.kill()
    assert await here.signals.send(Signal.STOP_ANSWER, "ada", "lost") is False
    server.start()

    async def carried():
        return await here.signals.send(Signal.STOP_ANSWER, "ada", "again") and bool(heard)

    await until(carried)
    assert ("ada", "lost") not in heard


async def test_a_house_goes_on_without_it(server, tmp_path, echo_server):
    settings = echo_settings(tmp_path, sessions_url=server.url, open_answers_per_user=2)
    async with open_app(settings, local=echo_server, serving=True) as app:
        await app.users.add("ada", "correct horse battery", admin=True)
        ada, token = await app.users.sign_in("ada", "correct horse battery", "test")
        _, other = await app.users.sign_in("ada", "correct horse battery", "test")
        assert {h.part: h.ready for h in await app.check()}["sessions"]
        server.kill()
        assert (await app.users.by_session(token)).user == ada.user
        assert (await finished(await app.chat.send(ada, ask("hello")))).content == "You said: hello"
        open_turns = [await app.chat.send(ada, ask("[tokens=500 rate=50]")) for _ in range(2)]
        with pytest.raises(ServiceBusy):
            await app.chat.send(ada, ask("one too many"))
        await app.users.sign_out(other)
        for turn in open_turns:
            await app.chat.stop(ada.user, turn.answer_id)
        assert not {h.part: h.ready for h in await app.check()}["sessions"]
        server.start()
        await asyncio.sleep(4)
        assert {h.part: h.adapter for h in await app.check()}["sessions"].split()[0] in ("Redis", "Valkey")
        assert (await app.users.by_session(token)).user == ada.user
        with pytest.raises(NotSignedIn):
            await app.users.by_session(other)


async def test_a_house_starts_while_it_is_away(server, tmp_path, echo_server):
    server.kill()
    async with open_app(echo_settings(tmp_path, sessions_url=server.url), local=echo_server, serving=True) as app:
        await app.users.add("ada", "correct horse battery", admin=True)
        assert (await app.users.by_session((await app.users.sign_in("ada", "correct horse battery", "test"))[1])).user.username == "ada"


async def test_two_houses_share_places_stops_and_the_slow_down_of_guessing(server, tmp_path, echo_server):
    """Two processes over the same records: one writes, the other doesn't."""
    settings = echo_settings(tmp_path, sessions_url=server.url, open_answers_per_user=2)
    async with open_app(settings, local=echo_server, serving=True) as here, open_app(settings, local=echo_server) as there:
        await here.users.add("ada", "correct horse battery", admin=True)
        ada, token = await here.users.sign_in("ada", "correct horse battery", "test")
        assert (await there.users.by_session(token)).session == ada.session
        turns = [await here.chat.send(ada, ask("[tokens=3000 rate=50]")) for _ in range(2)]
        with pytest.raises(ServiceBusy):
            await there.chat.send(ada, ask("one too many"))
        following = asyncio.create_task(finished(await there.chat.turn(ada.user, turns[0].answer_id)))
        await asyncio.sleep(1)
        begun = time.monotonic()
        await there.chat.stop(ada.user, turns[0].answer_id)
        stopped = await following
        print(f"stopped at another process after {(time.monotonic() - begun) * 1000:.0f} ms")
        assert (stopped.status, stopped) == ("stopped", turns[0].answer)
        await there.chat.stop_all(ada.user.id)
        assert (await finished(turns[1])).status == "stopped"
        third = await here.chat.send(ada, ask("[tokens=3000 rate=50]"))
        await there.chat.delete(ada.user, third.conversation_id)
        async with asyncio.timeout(5):
            await finished(third)
        for _ in range(5):
            with pytest.raises(NotSignedIn):
                await here.users.sign_in("ada", "a wrong password", "10.0.0.9")
        with pytest.raises(ServiceBusy):
            await there.users.sign_in("ada", "correct horse battery", "10.0.0.9")
        await there.users.sign_out(token)
        with pytest.raises(NotSignedIn):
            await here.users.by_session(token)


async def test_two_houses_wait_in_one_line_before_a_model_elsewhere(server, tmp_path, echo_server):
    settings = echo_settings(tmp_path, sessions_url=server.url, llm_url=f"{echo_server.url}#echo", llm_places=1)
    async with open_app(settings, local=echo_server, serving=True) as here, open_app(settings, local=echo_server) as there:
        await here.users.add("ada", "correct horse battery", admin=True)
        ada, _ = await here.users.sign_in("ada", "correct horse battery", "test")
        first = await here.chat.send(ada, ask("[tokens=4000 rate=50]"))
        async with aclosing(first.follow()) as updates:
            async for update in updates:
                if isinstance(update, TextDelta):
                    break
        second = await there.chat.send(ada, ask("hello"))
        async with aclosing(second.follow()) as updates:
            async for update in updates:
                if isinstance(update, Stage) and update.name == "queue":
                    break
        assert update.position == 1
        await here.chat.stop(ada.user, first.answer_id)
        assert (await finished(second)).content == "You said: hello"
