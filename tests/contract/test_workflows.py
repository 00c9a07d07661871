"""What every store of pipelines, runs, experiments and triggers keeps to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from core.adapters.belongings_sql import SqlBelongings
from core.adapters.events_outbox import OutboxEventLog
from core.adapters.workflows_sql import SqlWorkflows, receive_triggers
from core.errors import AlreadyThere, BadInput, IllegalStep, NotFound
from core.events import Event, EventType
from core.ids import new_id
from core.workflow.model import (
    Artifact,
    ArtifactType,
    Attempt,
    Engine,
    Experiment,
    Pipeline,
    PipelineRun,
    RunStatus,
    Step,
    StepResult,
    StepStatus,
    Trigger,
    TriggerKind,
)
from core.workflow.shelf import CREATED, DURATION, RunFilter

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.fixture
def kept(database):
    return SqlWorkflows(database)


def a_pipeline(name="greet", definition="a: 1", engine=Engine.ARGO):
    return Pipeline("", name, 0, engine, definition, "ada", NOW)


def a_run(pipeline="greet@1", *, at=0.0, **given):
    return PipelineRun(new_id(), pipeline, RunStatus.PENDING, None, None, {"n": 1}, user_id="ada", created_at=NOW + timedelta(seconds=at), **given)


def an_event(run, kind=EventType.PIPELINE_RUN_CREATED):
    return Event(new_id(), kind, run.user_id, run.id, NOW, {})


async def over(kept, run, *, status=RunStatus.SUCCEEDED, seconds=1.0, **given):
    """The run after its end."""
    running = run.to(RunStatus.RUNNING, NOW)
    await kept.keep(running)
    ended = replace(running.to(status, NOW + timedelta(seconds=seconds)), **given)
    assert await kept.keep(ended)
    return ended


@pytest.fixture
async def pipeline(kept):
    return await kept.add_pipeline(a_pipeline())


async def test_another_definition_is_the_next_version_and_the_same_one_is_not(kept, pipeline):
    assert (pipeline.id, pipeline.version) == ("greet@1", 1)
    assert await kept.add_pipeline(a_pipeline()) == pipeline
    second = await kept.add_pipeline(a_pipeline(definition="a: 2"))
    assert (second.id, second.version) == ("greet@2", 2)
    assert await kept.pipeline("greet") == second
    assert await kept.pipeline("greet@1") == pipeline
    assert [p.version for p in (await kept.versions("greet")).items] == [2, 1]


async def test_a_name_belongs_to_one_engine(kept, pipeline):
    with pytest.raises(IllegalStep):
        await kept.add_pipeline(a_pipeline(engine=Engine.KUBEFLOW))


async def test_a_version_is_kept_byte_for_byte(kept):
    odd = "a: 1\r\n# ü \t\n\n\nb:   [1,2]\n\n"
    assert (await kept.pipeline((await kept.add_pipeline(a_pipeline("odd", odd))).id)).definition == odd


async def test_pipelines_are_listed_by_name_with_how_their_runs_went_and_shared_ones_alone_if_wanted(kept, pipeline):
    await kept.add_pipeline(a_pipeline(definition="a: 2"))
    await kept.add_pipeline(a_pipeline("other"))
    run = a_run(at=5)
    await kept.add_run(a_run(), [])
    await kept.add_run(run, [])
    await over(kept, run, status=RunStatus.FAILED)
    first = await kept.pipelines(limit=1)
    (greet,) = first.items
    assert (greet.pipeline.id, greet.versions, greet.runs, greet.last_status, greet.last_run_at) == ("greet@2", 2, 2, RunStatus.FAILED, run.created_at)
    (other,) = (await kept.pipelines(limit=1, cursor=first.next_cursor)).items
    assert (other.pipeline.name, other.runs, other.last_status) == ("other", 0, None)
    assert not (await kept.pipelines(shared_only=True)).items
    await kept.share("greet", True)
    assert [one.pipeline.id for one in (await kept.pipelines(shared_only=True)).items] == ["greet@2"]
    assert (await kept.add_pipeline(a_pipeline(definition="a: 3"))).shared, "sharing is of the name"
    with pytest.raises(NotFound):
        await kept.share("nothing", True)


async def test_what_a_run_is_given_is_kept_with_it_and_goes_with_it(kept, pipeline):
    run = a_run()
    given = Artifact(new_id(), run.id, "table.csv", ArtifactType.DATASET, f"s3://hearth/runs/{run.id}/inputs/table.csv", {"schema": "input"})
    await kept.add_run(replace(run, artifacts=(given,)), [])
    assert (await kept.run(run.id)).artifacts == (given,)
    await over(kept, run)
    receipt, uris = await kept.drop_run(run.id)
    assert (receipt.removed["artifacts"], list(uris)) == (1, [given.uri])


async def test_a_version_goes_only_when_no_run_refers_to_it(kept, pipeline):
    run = a_run()
    await kept.add_run(run, [])
    with pytest.raises(IllegalStep):
        await kept.drop_pipeline("greet@1")
    await over(kept, run)
    await kept.drop_run(run.id)
    assert (await kept.drop_pipeline("greet@1")).complete
    with pytest.raises(NotFound):
        await kept.drop_pipeline("greet@1")


async def test_a_run_refers_to_a_pipeline_that_is_there(kept):
    with pytest.raises(NotFound):
        await kept.add_run(a_run("greet@1"), [])


async def test_a_status_moves_only_forward_and_what_comes_too_late_changes_nothing(kept, pipeline):
    run = a_run()
    await kept.add_run(run, [])
    assert not await kept.keep(replace(run, status=RunStatus.SUCCEEDED)), "not from pending"
    ended = await over(kept, run)
    late = replace(ended, status=RunStatus.RUNNING, completed_at=None)
    event = an_event(run, EventType.STEP_STARTED)
    assert not await kept.keep(late, steps=[Step(run.id, "a", "a", "a", StepStatus.RUNNING)], events=[event])
    assert (await kept.run(run.id)).status is RunStatus.SUCCEEDED
    assert not (await kept.steps(run.id)).items


async def test_steps_artifacts_and_events_are_kept_with_their_run_and_a_step_is_changed_in_place(kept, pipeline, database):
    run = a_run()
    await kept.add_run(run, [an_event(run)])
    running = run.to(RunStatus.RUNNING, NOW)
    first = Step(run.id, "a", "a", "a", StepStatus.RUNNING, (Attempt(1, "a.log", NOW),), NOW, inputs={"x": 1})
    assert await kept.keep(running, steps=[first], events=[an_event(run, EventType.STEP_STARTED)])
    second = Step(run.id, "b", "b", "b", StepStatus.SKIPPED)
    done = replace(first, status=StepStatus.SUCCEEDED, ended_at=NOW, outputs={"y": [1, 2]})
    made = Artifact(new_id(), run.id, "m", ArtifactType.METRICS, "s3://hearth/runs/m", {"size_bytes": 3}, "a")
    assert await kept.keep(running, steps=[second, done], artifacts=[made], events=[an_event(run, EventType.STEP_COMPLETED)])
    assert (await kept.steps(run.id)).items == [done, second]
    assert (await kept.run(run.id)).artifacts == (made,)
    told = await OutboxEventLog(database, {}).read(aggregate_id=run.id)
    assert [one.event.type for one in told] == [EventType.PIPELINE_RUN_CREATED, EventType.STEP_STARTED, EventType.STEP_COMPLETED]
    assert await kept.step(run.id, "b") == second
    with pytest.raises(NotFound):
        await kept.step(run.id, "c")


async def test_a_runs_id_is_used_once(kept, pipeline):
    run = a_run()
    await kept.add_run(run, [])
    with pytest.raises(AlreadyThere):
        await kept.add_run(replace(run, user_id="bob"), [])
    assert (await kept.run(run.id)).user_id == "ada"


async def test_pending_runs_wait_in_the_order_in_which_they_came(kept, pipeline):
    waiting = [a_run(at=n) for n in range(3)]
    for run in waiting:
        await kept.add_run(run, [])
    assert [await kept.ahead_of(run.id) for run in waiting] == [0, 1, 2]
    assert (await kept.next_pending()).id == waiting[0].id
    await kept.keep(waiting[0].to(RunStatus.RUNNING, NOW))
    assert (await kept.next_pending()).id == waiting[1].id
    assert [run.id for run in await kept.orphaned()] == [waiting[0].id]


@pytest.mark.parametrize("sort", [CREATED, DURATION, "recall"])
@pytest.mark.parametrize("descending", [True, False])
async def test_runs_come_in_the_order_asked_for_page_by_page(kept, pipeline, sort, descending):
    values = [3, 1, 2, 2, 5, 4, 1]
    runs = []
    for n, value in enumerate(values):
        runs.append(a_run(at=n))
        await kept.add_run(runs[-1], [])
        await over(kept, runs[-1], seconds=value, metrics={"recall": value / 10})
    by = {CREATED: list(range(len(values)))}.get(sort, values)
    order = sorted(zip(by, [r.id for r in runs], strict=True), reverse=descending)
    seen, cursor = [], ""
    while True:
        page = await kept.runs(RunFilter(sort=sort, descending=descending), limit=3, cursor=cursor)
        seen += [run.id for run in page.items]
        cursor = page.next_cursor
        if not cursor:
            break
    assert seen == [run_id for _, run_id in order]


async def test_runs_are_narrowed_by_pipeline_version_status_experiment_user_and_time(kept, pipeline):
    await kept.add_pipeline(a_pipeline(definition="a: 2"))
    experiment = Experiment(new_id(), "sizes", (), {}, NOW, "ada")
    await kept.add_experiment(experiment)
    one, two = a_run(experiment_id=experiment.id), a_run("greet@2", at=60)
    other = replace(a_run("greet@2", at=120), user_id="bob")
    for run in (one, two, other):
        await kept.add_run(run, [])
    await over(kept, two, status=RunStatus.FAILED)

    async def found(**wanted):
        return {run.id for run in (await kept.runs(RunFilter(**wanted))).items}

    assert await found(pipeline="greet") == {one.id, two.id, other.id}
    assert await found(pipeline="greet@2") == {two.id, other.id}
    assert await found(status=RunStatus.FAILED) == {two.id}
    assert await found(experiment_id=experiment.id) == {one.id}
    assert await found(user_id="bob") == {other.id}
    assert await found(since=NOW + timedelta(seconds=90)) == {other.id}


@pytest.mark.parametrize("cursor", ["x", "1", "nan nonsense", "2026 x y"])
async def test_a_cursor_that_no_page_gave_is_refused(kept, pipeline, cursor):
    with pytest.raises(BadInput):
        await kept.runs(RunFilter(), cursor=cursor)
    with pytest.raises(BadInput):
        await kept.steps("x", cursor=cursor + "!")


async def test_metrics_are_named_most_frequent_first(kept, pipeline):
    for metrics in ({"b": 1.0}, {"b": 2.0, "a": 1.0}):
        run = a_run()
        await kept.add_run(run, [])
        await over(kept, run, metrics=metrics)
    assert list(await kept.metric_names(RunFilter())) == ["b", "a"]


async def test_a_run_that_is_over_goes_with_all_it_has_and_its_objects_are_stale(kept, pipeline, database):
    run = a_run()
    await kept.add_run(run, [an_event(run)])
    with pytest.raises(IllegalStep):
        await kept.drop_run(run.id)
    made = Artifact(new_id(), run.id, "m", ArtifactType.DATASET, "s3://hearth/runs/m", {}, "a")
    running = run.to(RunStatus.RUNNING, NOW)
    await kept.keep(running, steps=[Step(run.id, "a", "a", "a", StepStatus.SUCCEEDED)], artifacts=[made])
    await kept.keep(replace(running.to(RunStatus.SUCCEEDED, NOW), metrics={"x": 1.0}))
    receipt, uris = await kept.drop_run(run.id)
    assert receipt.complete
    assert dict(receipt.removed) == {"artifacts": 1, "steps": 1, "metrics": 1, "events": 1, "runs": 1}
    assert list(uris) == [made.uri]
    with pytest.raises(NotFound):
        await kept.run(run.id)
    assert not await OutboxEventLog(database, {}).read(aggregate_id=run.id)


async def test_a_result_is_found_by_its_fingerprint_for_its_user_alone_the_latest_one_first_and_goes_with_its_run(kept, pipeline):
    runs = [a_run(), a_run(at=1), replace(a_run(at=2), user_id="bob")]
    for number, run in enumerate(runs):
        await kept.add_run(run, [])
        made = [
            Artifact(new_id(), run.id, name, ArtifactType.DATASET, f"s3://hearth/runs/{run.id}/{name}", {}, step) for name, step in (("m", "a"), ("n", "b"))
        ]
        steps = [Step(run.id, key, key, key, StepStatus.SUCCEEDED) for key in ("a", "b")]
        results = [StepResult(run.id, "a", "f" * 64, {"number": number, "whole": 3, "half": 3.0})]
        running = run.to(RunStatus.RUNNING, NOW)
        assert await kept.keep(running, steps=steps, artifacts=made, results=results)
        assert await kept.keep(running.to(RunStatus.FAILED, NOW))
    found = await kept.remembered("ada", "f" * 64)
    assert (found.run_id, found.key, found.result["number"], [a.name for a in found.files]) == (runs[1].id, "a", 1, ["m"])
    assert [type(found.result[name]) for name in ("whole", "half")] == [int, float]
    assert (await kept.remembered("bob", "f" * 64)).run_id == runs[2].id
    assert await kept.remembered("eve", "f" * 64) is None
    assert await kept.remembered("ada", "e" * 64) is None
    for left in (runs[0].id, None):
        await kept.drop_run(found.run_id)
        found = await kept.remembered("ada", "f" * 64)
        assert (found.run_id if found else None) == left


async def test_an_experiment_shows_one_user_no_metric_and_no_baseline_of_anothers_run(kept, pipeline):
    experiment = Experiment(new_id(), "sizes", (), {}, NOW, "ada")
    await kept.add_experiment(experiment)
    mine, theirs = a_run(experiment_id=experiment.id), replace(a_run(at=1, experiment_id=experiment.id), user_id="bob")
    for run, metrics in ((mine, {"loss": 1.0}), (theirs, {"loss": 2.0, "hers": 3.0})):
        await kept.add_run(run, [])
        await over(kept, run, metrics=metrics)
    await kept.set_baseline(experiment.id, theirs.id)
    (listed,) = (await kept.experiments(user_id="ada")).items
    for seen in (await kept.experiment(experiment.id, user_id="ada"), await kept.experiment_named("sizes", user_id="ada"), listed):
        assert (seen.runs, seen.metrics, seen.baseline) == ((mine.id,), {"loss": 1.0}, "")
    assert (await kept.experiment(experiment.id, user_id="bob")).baseline == theirs.id
    assert (await kept.experiment(experiment.id)).metrics == {"loss": 2.0, "hers": 3.0}


async def test_an_experiment_has_its_runs_and_the_latest_value_of_each_metric(kept, pipeline):
    experiment = Experiment(new_id(), "sizes", (), {}, NOW, "ada")
    await kept.add_experiment(experiment)
    with pytest.raises(AlreadyThere):
        await kept.add_experiment(replace(experiment, id=new_id()))
    runs = [a_run(at=n, experiment_id=experiment.id) for n in range(2)]
    for run, metrics in zip(runs, ({"recall": 0.5, "old": 1.0}, {"recall": 0.7}), strict=True):
        await kept.add_run(run, [])
        await over(kept, run, metrics=metrics)
    found = await kept.experiment_named("sizes")
    assert found == await kept.experiment(experiment.id)
    assert found.runs == (runs[1].id, runs[0].id)
    assert found.metrics == {"recall": 0.7, "old": 1.0}
    await kept.set_baseline(experiment.id, runs[0].id)
    assert (await kept.experiment(experiment.id)).baseline == runs[0].id
    with pytest.raises(NotFound):
        await kept.set_baseline(experiment.id, new_id())
    await kept.drop_run(runs[0].id)
    assert (await kept.experiment(experiment.id)).baseline == ""
    assert (await kept.drop_experiment(experiment.id)).complete
    assert (await kept.run(runs[1].id)).experiment_id == ""
    assert not (await kept.experiments()).items


async def test_a_run_that_goes_on_is_asked_to_end_once_and_no_other_is(kept, pipeline):
    runs = [a_run(at=n) for n in range(3)]
    for run in runs:
        await kept.add_run(run, [])
    await kept.keep(runs[0].to(RunStatus.RUNNING, NOW))
    await over(kept, runs[1])
    for run in runs:
        await kept.ask_to_end(run.id, "First.")
        await kept.ask_to_end(run.id, "Second.")
    assert await kept.asked_to_end() == {runs[0].id: "First."}
    await kept.keep(runs[0].to(RunStatus.RUNNING, NOW).to(RunStatus.FAILED, NOW, "First."))
    assert await kept.asked_to_end() == {}


async def test_a_trigger_belongs_to_a_pipeline_that_is_there_and_remembers_each_state_of_a_file_once(kept, pipeline, ada):
    trigger = Trigger(new_id(), "greet", TriggerKind.FILE, "s3://hearth/in/", {}, ada.id, NOW)
    with pytest.raises(NotFound):
        await kept.add_trigger(replace(trigger, pipeline_name="nothing"))
    await kept.add_trigger(trigger)
    assert (await kept.triggers()).items == [trigger]
    assert await kept.trigger(trigger.id) == trigger
    off = replace(trigger, enabled=False, problem="It is full.", last_at=NOW)
    await kept.change_trigger(off)
    assert (await kept.triggers(pipeline_name="greet")).items == [off]
    assert not (await kept.triggers(enabled_only=True)).items
    assert [await kept.seen_file(trigger.id, "s3://hearth/in/a", mark) for mark in ("1", "1", "2", "2")] == [True, False, True, False]
    await kept.drop_trigger(trigger.id)
    with pytest.raises(NotFound):
        await kept.drop_trigger(trigger.id)
    with pytest.raises(NotFound):
        await kept.trigger(trigger.id)


async def test_with_a_user_go_their_runs_triggers_and_the_names_of_their_artifacts(kept, pipeline, database, ada, bob):
    runs = [replace(a_run(), user_id=who.id) for who in (ada, bob)]
    made = [Artifact(new_id(), run.id, "m", ArtifactType.DATASET, f"s3://hearth/runs/{run.id}/m", {}, "a") for run in runs]
    for run, artifact in zip(runs, made, strict=True):
        await kept.add_run(run, [an_event(run)])
        steps = [Step(run.id, "a", "a", "a", StepStatus.SUCCEEDED)]
        await kept.keep(replace(run.to(RunStatus.RUNNING, NOW), metrics={"x": 1.0}), steps=steps, artifacts=[artifact])
    await kept.add_trigger(Trigger(new_id(), "greet", TriggerKind.SCHEDULE, "0 3 * * *", {}, ada.id, NOW))
    belongings = SqlBelongings(database)
    receipt, uris = await belongings.erase(ada.id)
    assert receipt.complete
    assert {kind: receipt.removed[kind] for kind in ("runs", "steps", "artifacts", "metrics", "triggers")} == dict.fromkeys(
        ("runs", "steps", "artifacts", "metrics", "triggers"), 1
    )
    assert list(uris) == [made[0].uri]
    assert [run.id for run in (await kept.runs(RunFilter())).items] == [runs[1].id]
    assert (await kept.run(runs[1].id)).artifacts == (made[1],)
    assert (await kept.pipeline("greet@1")).name == "greet", "what was defined outlives who did it"


async def test_what_another_program_asked_for_waits_until_it_was_acted_on(kept, database):
    log = OutboxEventLog(database, {EventType.PIPELINE_TRIGGER_RECEIVED: receive_triggers})
    good = Event(new_id(), EventType.PIPELINE_TRIGGER_RECEIVED, "ada", new_id(), NOW, {"pipeline": "greet", "parameters": {"n": 2}})
    bad = replace(good, id=new_id(), data={"parameters": {}})
    await log.publish([good, bad])
    assert await log.record() == 1
    assert list(await kept.received()) == [good]
    await kept.acted_on(good.id)
    assert not await kept.received()
