"""What every event log keeps to beside its order: the latest first, dead letters, and what is tried again."""

from datetime import UTC, datetime, timedelta

import pytest
import servers
from sqlalchemy.exc import OperationalError

from core.adapters.events_nats import NatsEventLog
from core.adapters.events_outbox import MAX_ATTEMPTS, OutboxEventLog
from core.errors import BadInput, ServiceBusy
from core.events import Event, EventType
from core.ids import new_id

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Effects:
    """What the recorder does: fails while it is told to."""

    def __init__(self):
        self.error, self.seen = None, []

    def __call__(self, connection, event):
        if self.error is not None and event.data.get("bad"):
            raise self.error
        self.seen.append(event.id)


@pytest.fixture
def effects():
    return Effects()


@pytest.fixture(params=["outbox", pytest.param("nats-2.15", marks=pytest.mark.services)], ids=lambda leg: f"leg={leg}")
async def log(request, database, effects):
    if request.param == "outbox":
        yield OutboxEventLog(database, {EventType.MESSAGE_STORED: effects})
        return
    with servers.nats_2_15() as server:
        async with NatsEventLog(server.url, database, {EventType.MESSAGE_STORED: effects}, message_days=30) as opened:
            yield opened


async def test_a_check_finds_it(log):
    await log.check()


def an_event(n=0, **given):
    return Event(**({"id": new_id(), "type": EventType.MESSAGE_STORED, "user_id": "u1", "aggregate_id": "c1", "at": NOON + timedelta(seconds=n)} | given))


async def test_the_latest_come_first_page_by_page_and_by_what_was_asked(log):
    events = [an_event(n, user_id=f"u{n % 2}", aggregate_id=f"c{n % 3}", type=(EventType.USER_LOGIN if n == 4 else EventType.MESSAGE_STORED)) for n in range(6)]
    await log.publish(events)
    await log.record()
    first = await log.latest(limit=4)
    rest = await log.latest(limit=4, cursor=first.next_cursor)
    assert [r.event for r in [*first.items, *rest.items]] == events[::-1]
    assert [r.event for r in (await log.latest(user_id="u1", aggregate_id="c0")).items] == [events[3]]
    assert [r.event for r in (await log.latest(kind=EventType.USER_LOGIN)).items] == [events[4]]
    with pytest.raises(BadInput):
        await log.latest(cursor="nonsense")


async def test_an_event_that_can_not_be_recorded_holds_up_no_other_and_is_set_aside(log, effects):
    effects.error = ValueError("no such field")
    bad, good = an_event(data={"bad": True}), an_event(1)
    await log.publish([bad, good])
    assert await log.record() == 1
    assert effects.seen == [good.id]
    for _ in range(MAX_ATTEMPTS):
        await log.record()
    (letter,) = (await log.dead()).items
    assert (letter.event, letter.attempts, letter.error) == (bad, MAX_ATTEMPTS, "ValueError: no such field")
    effects.error = None
    assert await log.record() == 0, "it is not tried by itself any more"
    assert await log.revive([letter.seq]) == 1
    assert await log.record() == 1
    assert (await log.dead()).items == []


async def test_a_database_that_is_busy_is_not_held_against_the_event(log, effects):
    effects.error = OperationalError("", {}, Exception("database is locked"))
    event = an_event(data={"bad": True})
    await log.publish([event])
    for _ in range(MAX_ATTEMPTS + 1):
        with pytest.raises(ServiceBusy):
            await log.record()
    assert (await log.dead()).items == []
    effects.error = None
    assert await log.record() == 1
