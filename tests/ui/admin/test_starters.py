"""What starts runs by itself, on the page of pipelines: seen, added, switched and deleted over real stores."""

from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from pipelining import scripted
from seen import rows, said

from core.audit import Act
from core.workflow.model import Engine, Parameter, ParameterType, PipelineSpec, TriggerKind

SPEC = PipelineSpec((Parameter("epochs", ParameterType.INTEGER, 3), Parameter("uri"), Parameter("hearth_key", required=True)))


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    """Argo's place is taken by scripts."""
    monkeypatch.setattr("core.app._engines", lambda *_: nullcontext({Engine.ARGO: scripted(SPEC)}))
    monkeypatch.setattr("core.workflow.shipped.SHIPPED", ())


@pytest.fixture
def nightly(console):
    """A pipeline."""
    return console.call(console.app.pipelines.define, console.ada, "nightly", Engine.ARGO, "tell()").name


def here(console):
    return console.page("pipelines", pipeline="nightly", part="Triggers")


def press(page, label):
    return next(b for b in page.button if b.label == label).click().run()


def kept(console):
    return console.call(console.app.triggers.triggers, console.ada).items


def test_a_pipeline_without_triggers_says_so_and_offers_the_form(console, nightly):
    assert "Nothing starts this pipeline by itself." in said(here(console))
    assert "Nothing starts runs by itself. Open a pipeline and look under Triggers." in said(console.page("pipelines"))


def test_a_schedule_shows_its_next_three_times_and_is_added_with_parameters(console, nightly):
    page = here(console)
    page.text_input(key="cron").set_value("15 4 1 1 *").run()
    year = datetime.now(UTC).year
    for n in (1, 2, 3):
        assert f"01 Jan {year + n}, 04:15 UTC" in said(page)
    page.number_input(key="p-nightly-trigger-epochs").set_value(9)
    page.text_input(key="experiment-nightly-trigger").set_value("nights")
    press(page, "Add")
    (made,) = kept(console)
    assert (made.kind, made.watched, made.parameters["epochs"], made.user_id) == (TriggerKind.SCHEDULE, "15 4 1 1 *", 9, console.ada.id)
    assert made.experiment_id == console.call(console.app.pipelines.experiment, console.ada, "nights").id
    page = here(console)
    assert "At the times 15 4 1 1 * (UTC)" in said(page)
    assert "it has started nothing yet" in said(page)
    assert f"01 Jan {year + 1}, 04:15 UTC" in said(page)
    assert "epochs: 9" in said(page)
    (row,) = rows(console.page("pipelines"), "Starts")
    assert (row["Starts"], row["At work"], row["Last"]) == ("nightly", "yes", "–")
    assert row["Open"] == "pipelines?pipeline=nightly&part=Triggers"


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("61 * * * *", "the minute is wrong"),
        ("0 25 * * *", "the hour is wrong"),
        ("0 0 30 2 *", "the day-of-month is wrong"),
        ("* * *", "it has 3 fields, not five"),
        ("", "it has 0 fields, not five"),
    ],
)
def test_a_wrong_schedule_says_what_is_wrong_with_it_and_adds_nothing(console, nightly, typed, why):
    page = here(console)
    page.text_input(key="cron").set_value(typed).run()
    assert f"is no cron expression: {why}." in said(page)
    press(page, "Add")
    assert not kept(console)


def test_a_folder_is_watched_and_its_files_address_is_not_asked_for(console, nightly):
    page = here(console)
    page.segmented_control(key="waits").set_value("files").run()
    assert not [w for w in page.text_area if w.key == "p-nightly-trigger-uri"]
    assert "uri gets the address of the file." in said(page)
    press(page, "Add")
    assert "is no folder in the object store" in said(page)
    page.text_input(key="prefix").set_value("runs/").run()
    press(page, "Add")
    assert "Hearth keeps files of its own there" in said(page)
    page.text_input(key="prefix").set_value("incoming/").run()
    press(page, "Add")
    (made,) = kept(console)
    assert (made.kind, made.watched.endswith("/incoming/"), made.next_at) == (TriggerKind.FILE, True, None)
    assert f"When a file arrives under {made.watched}" in said(here(console))


def test_an_event_needs_no_trigger_and_the_page_shows_the_one_to_publish(console, nightly):
    page = here(console)
    page.segmented_control(key="waits").set_value("events").run()
    assert "of the type PipelineTriggerReceived" in said(page)
    assert f'"user_id": "{console.ada.id}"' in said(page)
    assert '"pipeline": "nightly"' in said(page)
    assert not [b for b in page.button if b.label == "Add"]


def test_a_value_of_a_wrong_type_is_refused_with_a_sentence(console, monkeypatch, nightly):
    spec = PipelineSpec((Parameter("settings", ParameterType.STRUCT, {}),))
    monkeypatch.setattr(console.app.pipelines._engines[Engine.ARGO], "_validate", lambda _: spec)
    page = here(console)
    page.text_area(key="p-nightly-trigger-settings").set_value("[1]")
    press(page, "Add")
    assert "The parameter 'settings' takes an object" in said(page)
    assert not kept(console)


def test_a_trigger_is_switched_off_and_on_and_deleted_after_a_question(console, nightly):
    made = console.call(console.app.triggers.add, console.ada, nightly, TriggerKind.SCHEDULE, "30 2 * * 1", {"epochs": 3, "uri": "x"})
    page = here(console)
    page.toggle(key=f"enabled-{made.id}").set_value(False).run()
    assert not kept(console)[0].enabled
    assert "next" not in next(c.value for c in page.caption if made.id in c.value)
    page.toggle(key=f"enabled-{made.id}").set_value(True).run()
    assert kept(console)[0].next_at is not None
    page.button(key=f"delete-{made.id}").click().run()
    assert "This deletes a trigger of nightly. It can't be taken back." in said(page)
    assert kept(console), "it asks first"
    page.button(key=f"delete-{made.id}-yes").click().run()
    assert "Deleted a trigger of nightly: 1 triggers. 0 left in every store." in said(page)
    assert not kept(console)
    assert console.noted(Act.DELETED)[0][0] == f"trigger {made.id}"


def test_why_the_last_time_started_nothing_is_told(console, nightly):
    made = console.call(console.app.triggers.add, console.ada, nightly, TriggerKind.SCHEDULE, "30 2 * * 1", {"epochs": 3, "uri": "x"})
    told = replace(made, last_at=datetime.now(UTC), problem="The parameter 'epochs' is missing. It has no default: give it a value.")
    console.call(console.app.triggers._workflows.change_trigger, told)
    assert "The last time it started nothing: The parameter 'epochs' is missing." in said(here(console))
    assert rows(console.page("pipelines"), "Starts")[0]["Problem"].startswith("The parameter 'epochs' is missing.")


def test_many_triggers_are_shown_in_pages(console, nightly):
    for hour in range(12):
        console.call(console.app.triggers.add, console.ada, nightly, TriggerKind.SCHEDULE, f"0 {hour} * * *", {"epochs": 1, "uri": "x"})
    page = here(console)
    assert "At the times 0 9 * * * (UTC)" in said(page)
    assert "At the times 0 10 * * * (UTC)" not in said(page)
    page.button(key="triggers-next").click().run()
    assert "At the times 0 11 * * * (UTC)" in said(page)
