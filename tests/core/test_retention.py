"""What is due, what a pin keeps, and the receipts, over a whole house on a clock of its own."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from echo_house import ask, echo_settings, finished, say

from core.app import open_app
from core.errors import NoSpace, NotFound

pytestmark = pytest.mark.anyio
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


class AClock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return AClock()


@pytest.fixture
async def house(tmp_path, echo_server, clock):
    """Not serving: it sweeps when a test says so."""
    async with open_app(echo_settings(tmp_path), local=echo_server, clock=clock) as opened, opened.chat, opened.voice:
        yield opened


@pytest.fixture
async def ada(house):
    return await house.users.by_key((await house.users.make_key(await house.users.add("ada", None)))[1])


async def test_the_dry_run_counts_what_the_sweep_then_removes(house, ada, clock):
    await finished(await house.chat.send(ada, ask("old")))
    await house.voice.answer(ada, say("How long?"))
    clock.now += 31 * DAY
    await finished(await house.chat.send(ada, ask("new")))
    due = await house.retention.due()
    assert due.at == clock.now, "none has swept yet"
    assert due.counts == {"messages": 4, "spoken turns": 1, "sounds": 2, "sessions": 2, "deleted originals": 0, "receipts of sweeps": 0}
    swept = await house.retention.sweep("ada")
    assert swept.removed == {"messages": 4, "spoken turns": 1, "sounds": 2, "sessions": 2, "receipts of sweeps": 0}
    assert not any((await house.retention.left()).values())
    again = await house.retention.due()
    assert not any(again.counts.values())
    assert again.at == clock.now + timedelta(hours=1)
    assert (await house.retention.sweeps()).items == [swept]
    assert (swept.by, swept.ended_at, swept.error) == ("ada", clock.now, "")


async def test_a_pin_keeps_a_conversation_but_not_its_sound(house, ada, clock, tmp_path):
    spoken, written = say("How long?"), ask("forgotten")
    await house.voice.answer(ada, spoken)
    await finished(await house.chat.send(ada, written))
    await house.chat.change(ada.user, spoken.conversation_id, pinned=True)
    clock.now += 31 * DAY
    assert (await house.retention.due()).counts["messages"] == 2
    swept = await house.retention.sweep()
    assert (swept.removed["messages"], swept.removed["sounds"]) == (2, 2)
    assert len((await house.chat.thread(ada.user, spoken.conversation_id)).messages) == 2
    assert (await house.voice.turn(ada.user, spoken.request_id)).transcription.text == "How long?"
    with pytest.raises(NotFound):
        await house.chat.thread(ada.user, written.conversation_id)
    kept = (await house.retention.pins()).items
    assert [(p.conversation_id, p.username, p.messages) for p in kept] == [(spoken.conversation_id, "ada", 2)]
    await house.chat.change(ada.user, spoken.conversation_id, pinned=False)
    assert (await house.retention.sweep()).removed["messages"] == 2
    assert (await house.retention.pins()).items == []


async def test_a_whole_sweep_comes_every_hour_over_restarts_and_sound_goes_every_minute(house, ada, clock):
    await house.retention.keep_up()
    await house.voice.answer(ada, say("How long?"))
    clock.now += timedelta(minutes=59)
    await house.retention.keep_up()
    assert len((await house.retention.sweeps()).items) == 1, "nothing was due, so nothing was kept of it"
    clock.now += timedelta(minutes=1)
    await house.retention.keep_up()
    clock.now += timedelta(minutes=1)
    await house.retention.keep_up()
    assert [(s.whole, s.removed.get("sounds", 0)) for s in (await house.retention.sweeps()).items] == [(False, 2), (True, 0), (True, 0)]


async def test_two_processes_do_not_sweep_at_once(house, ada, clock, tmp_path, echo_server):
    await finished(await house.chat.send(ada, ask("old")))
    clock.now += 31 * DAY
    async with open_app(echo_settings(tmp_path), local=echo_server, clock=clock) as other:
        both = await asyncio.gather(house.retention.sweep(), other.retention.sweep())
    done = [sweep for sweep in both if sweep]
    assert sum(sweep.removed.get("messages", 0) for sweep in done) == 2
    spans = (await house.retention.sweeps()).items
    assert len(spans) == len(done)


async def test_a_sweep_that_fails_says_why_in_its_receipt(house, ada, clock, monkeypatch):
    async def full(_now):
        raise NoSpace("The disk is full.")

    monkeypatch.setattr(house.retention._sessions, "drop_expired", full)
    with pytest.raises(NoSpace):
        await house.retention.sweep()
    (failed,) = (await house.retention.sweeps()).items
    assert (failed.error, failed.ended_at) == ("The disk is full.", clock.now)
    assert (await house.retention.due()).at == clock.now, "it is tried again at once"
    monkeypatch.undo()
    done = await house.retention.sweep()
    assert (await house.retention.sweeps()).items == [done, replace(failed)]
