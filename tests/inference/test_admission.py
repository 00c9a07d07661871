"""Admission from one end to the other: a room over a real server of few places. Who waits is told, premium goes first, and nobody's flood stalls another."""

import asyncio
from contextlib import aclosing, asynccontextmanager

import pytest
from echo_house import Served, ask, echo_settings, finished

from core.app import LocalInference, open_app
from core.chat.model import MessageStatus
from core.chat.turn import Stage
from core.errors import ServiceBusy
from core.ids import new_id
from core.inference import TextDelta
from inference import lanes
from inference.server import application

pytestmark = pytest.mark.anyio
BRIEF = "[tokens=3 rate=60]"
LONG = "[tokens=4000 rate=50]"


@pytest.fixture(autouse=True)
def told_soon(monkeypatch):
    monkeypatch.setattr(lanes, "QUIET_S", 0.02)
    monkeypatch.setattr(lanes, "TOLD_EVERY_S", 0.02)


@asynccontextmanager
async def house(folder, **given):
    """A house over a server with one place for answers."""
    settings = echo_settings(folder, inference_chat_places=1, **given)
    served = Served(application(settings, ""))
    try:
        async with open_app(settings, local=LocalInference(f"{served.url}/v1", ""), serving=True) as opened:
            yield opened
    finally:
        served.stop()


async def person(app, name, **given):
    _, key = await app.users.make_key(await app.users.add(name, None, **given))
    return await app.users.by_key(key)


async def send(app, who, text):
    return await app.chat.send(who, ask(text), detached=True)


async def until(turn, wanted):
    """The updates of a turn up to the first that is wanted."""
    seen = []
    async with asyncio.timeout(10), aclosing(turn.follow()) as updates:
        async for update in updates:
            seen.append(update)
            if wanted(update):
                return seen
    raise AssertionError(f"it never came: {seen}")


def waits(update):
    return isinstance(update, Stage) and update.name == "queue"


def writes(update):
    return isinstance(update, TextDelta)


async def busy(app, who):
    """An answer that holds the only place."""
    turn = await send(app, who, LONG)
    await until(turn, writes)
    return turn


async def ended(turn, order, name):
    await finished(turn)
    order.append(name)


async def test_one_users_flood_of_twenty_delays_anothers_first_answer_by_one_at_most(tmp_path):
    async with house(tmp_path) as app:
        ada, bob = await person(app, "ada"), await person(app, "bob")
        flood = [await send(app, ada, BRIEF) for _ in range(20)]
        await until(flood[-1], waits)
        begun = sum(turn.chars > 0 for turn in flood)
        await finished(await send(app, bob, BRIEF))
        assert sum(turn.finished for turn in flood) <= begun + 2, "the one that was being written, and one more"
        for turn in flood:
            await finished(turn)


async def test_a_premium_user_goes_before_those_who_waited(tmp_path):
    async with house(tmp_path) as app:
        holder, ada, eve = await person(app, "holder"), await person(app, "ada"), await person(app, "eve", premium=True)
        first, order = await busy(app, holder), []
        waiting = [await send(app, ada, BRIEF) for _ in range(3)]
        await until(waiting[-1], waits)
        premium = await send(app, eve, BRIEF)
        seen = await until(premium, waits)
        assert seen[-1].position == 1
        following = [asyncio.create_task(ended(t, order, n)) for n, t in enumerate([*waiting, premium])]
        await app.chat.stop(holder.user, first.answer_id)
        await asyncio.gather(*following)
        assert order[0] == 3


async def test_a_position_counts_down_and_stopping_frees_the_place_at_once(tmp_path):
    async with house(tmp_path) as app:
        people = [await person(app, name) for name in ("ada", "bob", "eve")]
        ahead = [await busy(app, people[0]), await send(app, people[1], LONG)]
        await until(ahead[1], waits)
        last = await send(app, people[2], BRIEF)
        seen = await until(last, waits)
        assert (seen[-1].position, seen[-1].eta_s > 0) == (2, True)
        await app.chat.stop(people[1].user, ahead[1].answer_id)  # it only waited
        await until(last, lambda u: waits(u) and u.position == 1)
        await app.chat.stop(people[0].user, ahead[0].answer_id)
        seen = await until(last, writes)
        positions = [u.position for u in seen if waits(u)]
        assert positions == sorted(positions, reverse=True)
        assert seen[-2] == Stage("model"), "once it has its place it waits for the model"
        answer = await finished(last)
        assert answer.status is MessageStatus.COMPLETE
        assert answer.metadata.timing.queue_ms > 0
        assert (await finished(ahead[1])).status is MessageStatus.STOPPED


async def test_a_user_has_so_many_open_answers_and_others_are_not_concerned(tmp_path):
    async with house(tmp_path, open_answers_per_user=3) as app:
        ada, bob = await person(app, "ada"), await person(app, "bob")
        results = await asyncio.gather(*(send(app, ada, LONG) for _ in range(5)), return_exceptions=True)
        refused = [r for r in results if isinstance(r, ServiceBusy)]
        assert [str(r) for r in refused] == ["3 of your answers are being written already. Wait until one is finished, or stop one."] * 2
        await send(app, bob, BRIEF)
        mine = [r for r in results if not isinstance(r, ServiceBusy)]
        await app.chat.stop(ada.user, mine[0].answer_id)
        await finished(mine[0])
        await send(app, ada, BRIEF)


async def test_where_others_wait_for_answers_nobody_waits_for_a_summary(tmp_path):
    async with house(tmp_path) as app:
        ada, bob = await person(app, "ada"), await person(app, "bob")
        conversation, words = new_id(), "Then " + "word " * 80

        async def said(n):
            return await app.chat.send(ada, ask(f"Question {n}? {words}", conversation, max_tokens=100_000 - 64 - 800))

        first = 0
        while not (await finished(await said(first))).metadata.dropped:
            first += 1
        summaries = {m.metadata.summary for m in (await app.chat.thread(ada.user, conversation)).messages}
        holding, turn = await busy(app, bob), None
        while turn is None or turn.answer.metadata.summary in summaries:  # until one needs a new summary
            turn = await said(0)
            await until(turn, waits)
            if turn.answer.metadata.summary in summaries:
                await app.chat.stop(ada.user, turn.answer_id)
                await finished(turn)
        assert turn.answer.metadata.summary.split("\n")[-1].startswith("- Question ")
        await app.chat.stop(bob.user, holding.answer_id)
        assert (await finished(turn)).status is MessageStatus.COMPLETE
