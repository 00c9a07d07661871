"""What starts runs by itself: when, how often, in whose name, and what is said when it can't."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelining import works

from core.errors import BadInput, NotAllowed, NotFound
from core.events import Event, EventType
from core.ids import is_id, new_id, timed_id
from core.workflow.model import Cause, Engine, Parameter, PipelineSpec, TriggerKind
from core.workflow.shelf import RunFilter
from core.workflow.triggers import Triggers, next_time

pytestmark = pytest.mark.anyio
MONDAY = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)
SCHEDULE, FILE = TriggerKind.SCHEDULE, TriggerKind.FILE


class Here:
    """A room with triggers, and a clock that a test moves."""

    def __init__(self, works):
        self.works, self.now = works, MONDAY
        self.ada, self.bob, self.objects, self.workflows = works.ada, works.bob, works.objects, works.records.workflows
        self.triggers = self.opened()

    def opened(self):
        """As after a restart."""
        return Triggers(self.workflows, self.works.room, self.works.records.accounts, self.objects, self.works.records.audit, lambda: self.now)

    async def later(self, **by):
        self.now += timedelta(**by)
        await self.triggers.keep_up()

    async def runs(self):
        """Oldest first."""
        return (await self.works.room.runs(self.ada, RunFilter(descending=False))).items

    async def trigger(self):
        return (await self.triggers.triggers(self.ada)).items[0]


def taking(spec):
    from pipelining import scripted

    return scripted(spec)


@pytest.fixture
async def here(tmp_path):
    async with works(tmp_path, serving=False) as made:
        await made.room.define(made.ada, "nightly", Engine.ARGO, "tell()")
        yield Here(made)


@pytest.fixture
async def reading(tmp_path):
    """A pipeline that takes the address of a file."""
    async with works(tmp_path, serving=False, engine=taking(PipelineSpec((Parameter("uri", required=True), Parameter("word", default="x"))))) as made:
        await made.room.define(made.ada, "nightly", Engine.ARGO, "tell()")
        yield Here(made)


# schedules


async def test_a_schedule_starts_one_run_each_time_it_comes_round(here):
    made = await here.triggers.add(here.ada, "nightly", SCHEDULE, "30 2 * * *", {"n": 3}, experiment="nights")
    assert made.next_at == datetime(2026, 11, 24, 2, 30, tzinfo=UTC)
    await here.later(hours=14)
    assert not await here.runs()
    await here.later(minutes=30)
    await here.later(seconds=1)
    (run,) = await here.runs()
    assert (run.cause, run.user_id, run.parameters["n"], run.pipeline_id) == (Cause.SCHEDULE, here.ada.id, 3, "nightly@1")
    assert run.experiment_id == (await here.works.room.experiment(here.ada, "nights")).id
    after = await here.trigger()
    assert (after.last_at, after.next_at, after.problem) == (here.now - timedelta(seconds=1), datetime(2026, 11, 25, 2, 30, tzinfo=UTC), "")
    await here.later(days=1)
    assert len(await here.runs()) == 2


async def test_times_that_were_missed_while_nobody_looked_make_one_run(here):
    await here.triggers.add(here.ada, "nightly", SCHEDULE, "* * * * *", {})
    await here.later(days=3)
    await here.later(seconds=1)
    assert len(await here.runs()) == 1
    assert (await here.trigger()).next_at > here.now


async def test_a_crash_between_the_run_and_the_note_of_it_makes_no_second_run(here):
    made = await here.triggers.add(here.ada, "nightly", SCHEDULE, "0 3 * * *", {})
    await here.later(days=1)
    await here.workflows.change_trigger(made)  # as the records were before
    await here.opened().keep_up()
    assert len(await here.runs()) == 1
    assert (await here.trigger()).problem == ""


async def test_a_trigger_runs_the_latest_version(here):
    await here.triggers.add(here.ada, "nightly", SCHEDULE, "0 3 * * *", {})
    await here.works.room.define(here.ada, "nightly", Engine.ARGO, "tell()  # new")
    await here.later(days=1)
    assert (await here.runs())[0].pipeline_id == "nightly@2"


@pytest.mark.parametrize("watched", ["", "x", "* * * *", "* * * * * *", "60 * * * *", "0 0 30 2 *", "@daily", "*/0 * * * *", "5-1 * * * *", "²" * 5])
async def test_an_expression_that_is_no_time_is_refused_with_an_example(here, watched):
    with pytest.raises(BadInput, match="30 2") as refused:
        await here.triggers.add(here.ada, "nightly", SCHEDULE, watched, {})
    assert "cron expression" in refused.value.message
    assert not (await here.triggers.triggers(here.ada)).items


FIELDS = st.tuples(
    *(
        st.one_of(st.just("*"), st.integers(low, high).map(str), st.integers(1, 9).map("*/{}".format))
        for low, high in ((0, 59), (0, 23), (1, 28), (1, 12), (0, 7))
    )
).map(" ".join)


@given(expression=FIELDS, start=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)))
@settings(max_examples=150, deadline=None)
def test_the_next_times_are_never_past_and_strictly_later_and_whole_minutes(expression, start):
    at = start
    for _ in range(4):
        following = next_time(expression, at)
        assert following > at
        assert (following.second, following.microsecond, following.tzinfo) == (0, 0, UTC)
        at = following


# whose


async def test_a_failing_start_is_kept_as_the_problem_and_tried_only_when_it_comes_round_again(here):
    made = await here.triggers.add(here.ada, "nightly", SCHEDULE, "0 * * * *", {"n": 3})
    here.works.room._engines[Engine.ARGO] = taking(PipelineSpec())
    await here.later(hours=1)
    after = await here.trigger()
    assert "no parameter 'n'" in after.problem
    assert after.next_at == made.next_at + timedelta(hours=1)
    assert not await here.runs()
    here.works.room._engines[Engine.ARGO] = taking(PipelineSpec((Parameter("n"),)))
    await here.later(seconds=1)
    assert not await here.runs()


async def test_a_bug_in_one_start_holds_up_no_other(here, monkeypatch, caplog):
    await here.triggers.add(here.ada, "nightly", SCHEDULE, "0 * * * *", {})
    second = await here.triggers.add(here.ada, "nightly", SCHEDULE, "0 * * * *", {"word": "second"})
    start = here.works.room.start

    async def stumbling(user, pipeline, parameters, **given):
        if not parameters:
            raise ZeroDivisionError
        return await start(user, pipeline, parameters, **given)

    monkeypatch.setattr(here.works.room, "start", stumbling)
    await here.later(hours=1)
    assert [run.parameters["word"] for run in await here.runs()] == ["second"]
    first = await here.trigger()
    assert first.id != second.id
    assert "its log says what" in first.problem
    assert "ZeroDivisionError" in caplog.text


async def test_the_triggers_of_a_disabled_user_start_nothing_and_say_why(here):
    await here.works.room.share(here.ada, "nightly", True)
    await here.triggers.add(here.bob, "nightly", SCHEDULE, "0 * * * *", {})
    await here.works.records.accounts.change(here.bob.id, {"disabled": True})
    await here.later(hours=1)
    assert not await here.runs()
    assert "can't be used" in (await here.trigger()).problem
    await here.works.records.accounts.change(here.bob.id, {"disabled": False})
    await here.later(hours=1)
    assert [run.user_id for run in await here.runs()] == [here.bob.id]
    assert (await here.trigger()).problem == ""


async def test_nobody_gets_a_trigger_for_what_they_may_not_run_or_with_what_it_does_not_take(here):
    with pytest.raises(NotFound):
        await here.triggers.add(here.bob, "nightly", SCHEDULE, "0 3 * * *", {})
    with pytest.raises(NotFound):
        await here.triggers.add(here.ada, "nothing", SCHEDULE, "0 3 * * *", {})
    with pytest.raises(BadInput, match="a whole number"):
        await here.triggers.add(here.ada, "nightly", SCHEDULE, "0 3 * * *", {"n": "two"})
    assert not (await here.triggers.triggers(here.ada)).items


async def test_a_pipeline_that_is_shared_no_more_is_not_run_for_others_by_their_triggers(here):
    await here.works.room.share(here.ada, "nightly", True)
    await here.triggers.add(here.bob, "nightly", SCHEDULE, "0 * * * *", {})
    await here.works.room.share(here.ada, "nightly", False)
    await here.later(hours=1)
    assert not await here.runs()
    assert "no such pipeline" in (await here.trigger()).problem


async def test_triggers_are_seen_and_changed_by_their_owner_and_by_admins(here):
    await here.works.room.share(here.ada, "nightly", True)
    hers = await here.triggers.add(here.ada, "nightly", SCHEDULE, "0 3 * * *", {})
    his = await here.triggers.add(here.bob, "nightly", SCHEDULE, "0 4 * * *", {})
    assert [t.id for t in (await here.triggers.triggers(here.bob)).items] == [his.id]
    assert [t.id for t in (await here.triggers.triggers(here.ada)).items] == [hers.id, his.id]
    for change in (here.triggers.trigger(here.bob, hers.id), here.triggers.enable(here.bob, hers.id, False), here.triggers.delete(here.bob, hers.id)):
        with pytest.raises(NotFound):
            await change
    await here.triggers.delete(here.ada, his.id)
    with pytest.raises(NotFound):
        await here.triggers.delete(here.bob, his.id)


async def test_a_trigger_that_is_switched_off_while_its_run_is_started_stays_off(here, monkeypatch):
    made = await here.triggers.add(here.ada, "nightly", SCHEDULE, "0 * * * *", {})
    start = here.works.room.start

    async def meanwhile(*args, **given):
        await here.opened().enable(here.ada, made.id, False)
        return await start(*args, **given)

    monkeypatch.setattr(here.works.room, "start", meanwhile)
    await here.later(hours=1)
    after = await here.trigger()
    assert (len(await here.runs()), after.enabled, after.next_at) == (1, False, None)


async def test_what_comes_round_while_a_trigger_is_off_starts_nothing(here):
    made = await here.triggers.add(here.ada, "nightly", SCHEDULE, "0 * * * *", {})
    off = await here.triggers.enable(here.ada, made.id, False)
    assert (off.enabled, off.next_at) == (False, None)
    await here.later(hours=5)
    on = await here.triggers.enable(here.ada, made.id, True)
    assert on.next_at == datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
    await here.later(seconds=1)
    assert not await here.runs()
    await here.later(hours=1)
    assert len(await here.runs()) == 1


# files


async def test_each_state_of_a_file_under_the_prefix_starts_one_run_and_what_was_there_before_none(reading):
    here = reading
    await here.objects.put("incoming/old.csv", b"there before")
    made = await here.triggers.add(here.ada, "nightly", FILE, "incoming/", {"word": "a"})
    assert made.watched == here.objects.uri("incoming/")
    await here.later(seconds=5)
    assert not await here.runs()
    uri = await here.objects.put("incoming/new.csv", b"1")
    await here.objects.put("elsewhere/new.csv", b"1")
    (here.objects._folder / "incoming/.put-half").write_bytes(b"half")
    for _ in range(3):
        await here.later(seconds=5)
    (run,) = await here.runs()
    assert (run.cause, run.parameters) == (Cause.FILE, {"uri": uri, "word": "a"})
    assert (await here.trigger()).last_at is not None
    await here.objects.put("incoming/new.csv", b"22")
    await here.later(seconds=5)
    here.triggers = here.opened()
    await here.later(seconds=5)
    assert [r.parameters["uri"] for r in await here.runs()] == [uri, uri]


async def test_files_are_looked_for_every_five_seconds_and_not_more_often(reading):
    here = reading
    await here.triggers.add(here.ada, "nightly", FILE, here.objects.uri("incoming/"), {})
    await here.triggers.keep_up()
    await here.objects.put("incoming/a", b"1")
    await here.later(seconds=4)
    assert not await here.runs()
    await here.later(seconds=1)
    assert len(await here.runs()) == 1


async def test_a_pipeline_without_the_parameter_is_started_by_a_file_all_the_same(here):
    await here.triggers.add(here.ada, "nightly", FILE, "incoming/", {"n": 2})
    await here.objects.put("incoming/a", b"1")
    await here.later(seconds=5)
    assert [run.parameters["n"] for run in await here.runs()] == [2]


async def test_a_file_whose_run_can_not_be_started_is_not_tried_again(reading):
    here = reading
    await here.triggers.add(here.ada, "nightly", FILE, "incoming/", {})
    here.works.room._engines[Engine.ARGO] = taking(PipelineSpec((Parameter("other", required=True),)))
    await here.objects.put("incoming/a", b"1")
    await here.later(seconds=5)
    assert "'other' is missing" in (await here.trigger()).problem
    here.works.room._engines[Engine.ARGO] = taking(PipelineSpec())
    await here.later(seconds=5)
    assert not await here.runs()


async def test_files_that_came_while_a_trigger_was_off_start_nothing(reading):
    here = reading
    made = await here.triggers.add(here.ada, "nightly", FILE, "incoming/", {})
    await here.triggers.enable(here.ada, made.id, False)
    await here.objects.put("incoming/a", b"1")
    await here.triggers.enable(here.ada, made.id, True)
    await here.later(seconds=5)
    assert not await here.runs()


@pytest.mark.parametrize(
    "watched",
    [
        "",
        "s3://other/incoming/",
        "file:///etc",
        "/etc",
        "../x",
        "runs/",
        "ru",
        "runs/x",
        "s3://hearth/",
        "s3://hearth/runs/",
        "originals/",
        "voice/x",
        "checks/",
    ],
)
async def test_only_folders_of_the_store_where_the_house_writes_nothing_are_watched(here, watched):
    with pytest.raises(BadInput):
        await here.triggers.add(here.ada, "nightly", FILE, watched, {})
    assert not (await here.triggers.triggers(here.ada)).items


async def test_only_admins_watch_files_because_everybodys_lie_there(here):
    await here.works.room.share(here.ada, "nightly", True)
    with pytest.raises(NotAllowed):
        await here.triggers.add(here.bob, "nightly", FILE, "documents/", {})
    made = await here.triggers.add(here.ada, "nightly", FILE, "documents/", {})
    await here.workflows.drop_trigger(made.id)
    await here.workflows.add_trigger(replace(made, user_id=here.bob.id))  # an admin once
    await here.objects.put("documents/a", b"1")
    await here.later(seconds=5)
    assert not await here.runs()
    assert "Only admins" in (await here.trigger()).problem


async def test_the_address_of_the_file_is_not_given_by_hand(reading):
    with pytest.raises(BadInput, match="filled in"):
        await reading.triggers.add(reading.ada, "nightly", FILE, "incoming/", {"uri": "s3://hearth/x"})


# events of other programs


def asked(by, **data):
    return Event(new_id(), EventType.PIPELINE_TRIGGER_RECEIVED, by, "elsewhere", MONDAY, data)


async def published(here, *events):
    await here.works.records.events.publish(events)
    await here.works.records.events.record()
    await here.triggers.keep_up()


async def test_another_programs_event_starts_one_run_in_the_name_of_its_user(here):
    event = asked(here.ada.id, pipeline="nightly", parameters={"n": 4}, experiment="asked")
    await published(here, event)
    await published(here, event)
    (run,) = await here.runs()
    assert (run.cause, run.user_id, run.parameters["n"]) == (Cause.EVENT, here.ada.id, 4)
    assert not await here.workflows.received()


async def test_an_event_gives_nobody_more_rights_and_what_can_not_be_done_holds_up_no_other(here):
    await published(
        here,
        asked(here.bob.id, pipeline="nightly"),
        asked("nobody", pipeline="nightly"),
        asked(here.ada.id, pipeline="nothing"),
        asked(here.ada.id, pipeline="nightly", parameters=[1]),
        asked(here.ada.id, pipeline="nightly", parameters={"m": 1}),
        asked(here.ada.id, pipeline="nightly", parameters={"n": 9}),
    )
    assert [run.parameters["n"] for run in await here.runs()] == [9]
    assert not await here.workflows.received()


@given(at=st.datetimes(datetime(1960, 1, 1), datetime(2400, 1, 1), timezones=st.just(UTC)), of=st.text(max_size=20))
def test_a_timed_id_is_a_uuid_that_comes_out_the_same_and_sorts_by_its_time(at, of):
    made = timed_id(at, of)
    assert is_id(made)
    assert made[14] == "7"
    assert made[19] in "89ab"
    assert made == timed_id(at, of) != timed_id(at, of + "x")
    assert timed_id(max(at, datetime(1970, 1, 1, tzinfo=UTC)) + timedelta(milliseconds=2), of) > made
