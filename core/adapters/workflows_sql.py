"""Pipelines, runs, steps, artifacts, experiments and triggers in SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from core.adapters.database_sql import Database, upsert
from core.adapters.events_outbox import append, forget
from core.adapters.processes_sql import is_gone
from core.adapters.tables_sql import (
    artifacts,
    experiments,
    files_seen,
    outbox,
    pipeline_runs,
    pipelines,
    run_metrics,
    run_steps,
    stale_objects,
    step_results,
    triggers,
    triggers_received,
)
from core.errors import AlreadyThere, BadInput, IllegalStep, NotFound
from core.events import Event, EventType
from core.records import DeleteReceipt, Page
from core.workflow.model import (
    FOLLOWS,
    Artifact,
    ArtifactType,
    Attempt,
    Cause,
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
    pipeline_id,
)
from core.workflow.shelf import CREATED, DURATION, Listed, RunFilter

R, P, S = pipeline_runs.c, pipelines.c, run_steps.c
MOST_RUNS = 200
"""Of an experiment, as it is read whole."""
UNTOLD = ("duration_us", "ending", "holder")
"""Columns that a run doesn't show."""
ORPHANED = and_(R.status == RunStatus.RUNNING.value, or_(R.holder == "", is_gone(R.holder)))
MOST_ORPHANED = 1000
MOST_METRICS = 100
MOST_DIGITS = 18
"""Of the whole numbers that SQL keeps in 64 bits."""


class SqlWorkflows:
    """Workflows over a SQL database."""

    def __init__(self, database: Database, holder: str = "") -> None:
        """holder: the process that runs what is held; "" for one that only looks."""
        self._database, self._holder = database, holder

    async def add_pipeline(self, pipeline: Pipeline) -> Pipeline:
        """As the port says."""
        latest = select(pipelines).where(P.name == pipeline.name).order_by(P.version.desc()).limit(1)

        def work(connection: Connection) -> Pipeline:
            row = connection.execute(latest).one_or_none()
            if row is not None and row.engine != pipeline.engine.value:
                raise IllegalStep(f"{pipeline.name!r} is a pipeline for {row.engine}.", hint="Give this one another name.")
            if row is not None and row.definition == pipeline.definition:
                return _pipeline(row)
            version = row.version + 1 if row is not None else 1
            values = {c.name: getattr(pipeline, c.name) for c in P}
            values |= {"id": pipeline_id(pipeline.name, version), "version": version, "engine": pipeline.engine.value}
            values["shared"] = row.shared if row is not None else pipeline.shared
            connection.execute(insert(pipelines).values(values))
            return _pipeline(connection.execute(select(pipelines).where(P.id == values["id"])).one())

        return await self._database.write(work)

    async def pipeline(self, pipeline_id: str) -> Pipeline:
        """As the port says."""
        query = select(pipelines).where(or_(P.id == pipeline_id, P.name == pipeline_id)).order_by(P.version.desc()).limit(1)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        if row is None:
            raise _no("pipeline")
        return _pipeline(row)

    async def pipelines(self, *, shared_only: bool = False, limit: int = 50, cursor: str = "") -> Page[Listed]:
        """As the port says."""
        latest = select(P.name, func.max(P.version).label("version"), func.count().label("versions")).group_by(P.name).subquery()
        runs = select(func.count()).where(R.pipeline_name == P.name).scalar_subquery().label("runs")
        last = select(R.id).where(R.pipeline_name == P.name).order_by(R.created_at.desc()).limit(1).scalar_subquery().label("last")
        query = select(pipelines, latest.c.versions, runs, last).join(latest, and_(latest.c.name == P.name, latest.c.version == P.version))
        query = query.where(P.name > cursor).order_by(P.name).limit(limit + 1)
        if shared_only:
            query = query.where(P.shared)

        def work(connection: Connection) -> list[Listed]:
            rows = connection.execute(query).all()
            found = connection.execute(select(R.id, R.created_at, R.status).where(R.id.in_([row.last for row in rows if row.last])))
            lasts = {row.id: row for row in found}
            listed = []
            for row in rows:
                one = lasts.get(row.last)
                at, status = (one.created_at, RunStatus(one.status)) if one is not None else (None, None)
                listed.append(Listed(_pipeline(row), row.versions, row.runs, at, status))
            return listed

        listed = await self._database.read(work)
        return Page(listed[:limit], listed[limit - 1].pipeline.name if len(listed) > limit else "")

    async def versions(self, name: str, *, limit: int = 50, cursor: str = "") -> Page[Pipeline]:
        """As the port says."""
        query = select(pipelines).where(P.name == name).order_by(P.version.desc()).limit(limit + 1)
        if cursor:
            query = query.where(P.version < _number(cursor))
        rows = await self._database.read(lambda c: c.execute(query).all())
        return Page([_pipeline(row) for row in rows[:limit]], str(rows[limit - 1].version) if len(rows) > limit else "")

    async def share(self, name: str, shared: bool) -> None:
        """As the port says."""
        if not await self._database.write(lambda c: c.execute(update(pipelines).where(P.name == name).values(shared=shared)).rowcount):
            raise _no("pipeline")

    async def drop_pipeline(self, pipeline_id: str) -> DeleteReceipt:
        """As the port says."""

        def work(connection: Connection) -> DeleteReceipt:
            runs = connection.execute(select(func.count()).where(R.pipeline_id == pipeline_id)).scalar_one()
            if runs:
                raise IllegalStep(f"{runs} runs refer to this version.", hint="Delete them first, or leave it: a newer version is what is run.")
            name = connection.execute(select(P.name).where(P.id == pipeline_id)).scalar()
            if not connection.execute(delete(pipelines).where(P.id == pipeline_id)).rowcount:
                raise _no("pipeline")
            gone = {"pipelines": 1, "triggers": 0}
            if connection.execute(select(P.id).where(P.name == name)).first() is None:
                gone["triggers"] = connection.execute(delete(triggers).where(triggers.c.pipeline_name == name)).rowcount
            return DeleteReceipt(gone, {"pipelines": 0})

        return await self._database.write(work)

    async def add_run(self, run: PipelineRun, events: Sequence[Event]) -> None:
        """As the port says."""
        unstored = (*UNTOLD, "pipeline_name", "status", "cause")
        values = {c.name: getattr(run, c.name) for c in R if c.name not in unstored}
        values |= {"pipeline_name": run.pipeline_name, "status": run.status.value, "cause": run.cause.value}

        def work(connection: Connection) -> None:
            if connection.execute(select(R.id).where(R.id == run.id)).first():
                raise AlreadyThere("That id was used for another run.", hint="Make a new id for each.")
            if run.experiment_id and not connection.execute(select(experiments.c.id).where(experiments.c.id == run.experiment_id)).first():
                raise _no("experiment")
            connection.execute(insert(pipeline_runs).values(values))
            if run.artifacts:
                _keep_artifacts(connection, run.artifacts)
            append(connection, events)

        try:
            await self._database.write(work)
        except IntegrityError as error:
            raise _no("pipeline") from error

    async def run(self, run_id: str) -> PipelineRun:
        """As the port says."""

        def work(connection: Connection) -> PipelineRun:
            row = connection.execute(select(pipeline_runs).where(R.id == run_id)).one_or_none()
            if row is None:
                raise _no("run")
            made = connection.execute(select(artifacts).where(artifacts.c.run_id == run_id).order_by(artifacts.c.id)).all()
            return _run(row, tuple(_artifact(a) for a in made))

        return await self._database.read(work)

    async def runs(self, wanted: RunFilter, *, limit: int = 50, cursor: str = "") -> Page[PipelineRun]:
        """As the port says."""
        by: Any = R.created_at if wanted.sort == CREATED else R.duration_us if wanted.sort == DURATION else run_metrics.c.value
        query = _narrowed(select(pipeline_runs, by.label("by")), wanted)
        if wanted.sort not in (CREATED, DURATION):
            query = query.join(run_metrics, and_(run_metrics.c.run_id == R.id, run_metrics.c.name == wanted.sort))
        if wanted.sort == DURATION:
            query = query.where(R.completed_at.is_not(None))
        order = (by.desc(), R.id.desc()) if wanted.descending else (by, R.id)
        if cursor:
            value, last = _place(cursor, wanted.sort)
            past = by < value if wanted.descending else by > value
            tie = R.id < last if wanted.descending else R.id > last
            query = query.where(or_(past, and_(by == value, tie)))
        rows = await self._database.read(lambda c: c.execute(query.order_by(*order).limit(limit + 1)).all())
        return Page([_run(row) for row in rows[:limit]], _cursor(rows[limit - 1]) if len(rows) > limit else "")

    async def metric_names(self, wanted: RunFilter) -> Sequence[str]:
        """As the port says."""
        count = func.count()
        query = select(run_metrics.c.name)
        if replace(wanted, sort=CREATED, descending=True) != RunFilter():  # of all runs the index of metrics alone tells, in a quarter of the time
            query = _narrowed(query.join(pipeline_runs, R.id == run_metrics.c.run_id), wanted)
        query = query.group_by(run_metrics.c.name).order_by(count.desc(), run_metrics.c.name).limit(MOST_METRICS)
        return await self._database.read(lambda c: c.execute(query).scalars().all())

    async def next_pending(self) -> PipelineRun | None:
        """As the port says."""
        query = select(pipeline_runs).where(R.status == RunStatus.PENDING.value).order_by(R.id).limit(1)
        row = await self._database.read(lambda c: c.execute(query).one_or_none())
        return None if row is None else _run(row)

    async def ahead_of(self, run_id: str) -> int:
        """As the port says."""
        query = select(func.count()).where(R.status == RunStatus.PENDING.value, R.id < run_id)
        return await self._database.read(lambda c: c.execute(query).scalar_one())

    async def hold(self, run: PipelineRun) -> bool:
        """As the port says."""
        free = or_(R.status == RunStatus.PENDING.value, ORPHANED)
        values = {"status": RunStatus.RUNNING.value, "started_at": run.started_at, "holder": self._holder}
        return bool(await self._database.write(lambda c: c.execute(update(pipeline_runs).where(R.id == run.id, free).values(values)).rowcount))

    async def orphaned(self) -> Sequence[PipelineRun]:
        """As the port says."""
        query = select(pipeline_runs).where(ORPHANED).order_by(R.id).limit(MOST_ORPHANED)
        return [_run(row) for row in await self._database.read(lambda c: c.execute(query).all())]

    async def ask_to_end(self, run_id: str, reason: str) -> None:
        """As the port says."""
        here = (R.id == run_id, R.status == RunStatus.RUNNING.value, R.ending == "")
        await self._database.write(lambda c: c.execute(update(pipeline_runs).where(*here).values(ending=reason)))

    async def asked_to_end(self) -> Mapping[str, str]:
        """As the port says."""
        query = select(R.id, R.ending).where(R.status == RunStatus.RUNNING.value, R.ending != "")
        return {row.id: row.ending for row in await self._database.read(lambda c: c.execute(query).all())}

    async def keep(
        self,
        run: PipelineRun,
        *,
        steps: Sequence[Step] = (),
        artifacts: Sequence[Artifact] = (),
        events: Sequence[Event] = (),
        results: Sequence[StepResult] = (),
    ) -> bool:
        """As the port says."""
        changing = ("status", "started_at", "completed_at", "reason", "external_id", "external_url", "unreachable_since", "metrics")
        values = {name: getattr(run, name) for name in changing} | {"status": run.status.value}
        if run.started_at is not None and run.completed_at is not None:
            values["duration_us"] = (run.completed_at - run.started_at) // timedelta(microseconds=1)

        def work(connection: Connection) -> bool:
            stored = connection.execute(select(R.status, R.holder).where(R.id == run.id)).one_or_none()
            if stored is None or stored.holder not in ("", self._holder):
                return False
            status = RunStatus(stored.status)
            if status.over or (run.status is not status and run.status not in FOLLOWS[status]):
                return False
            connection.execute(update(pipeline_runs).where(R.id == run.id).values(values))
            for step in steps:
                _keep_step(connection, step)
            if artifacts:
                _keep_artifacts(connection, artifacts)
            if results:
                told = [{c.name: getattr(one, c.name) for c in step_results.c if c.name != "n"} for one in results]
                connection.execute(upsert(step_results).on_conflict_do_nothing(), told)
            measured = [{"run_id": run.id, "name": name[:200], "value": value} for name, value in run.metrics.items()]
            if measured:
                made = upsert(run_metrics)
                connection.execute(made.on_conflict_do_update(index_elements=["run_id", "name"], set_={"value": made.excluded.value}), measured)
            append(connection, events)
            return True

        return await self._database.write(work)

    async def steps(self, run_id: str, *, limit: int = 200, cursor: str = "") -> Page[Step]:
        """As the port says."""
        query = select(run_steps).where(S.run_id == run_id, S.n > _number(cursor)).order_by(S.n).limit(limit + 1)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return Page([_step(row) for row in rows[:limit]], str(rows[limit - 1].n) if len(rows) > limit else "")

    async def step(self, run_id: str, key: str) -> Step:
        """As the port says."""
        row = await self._database.read(lambda c: c.execute(select(run_steps).where(S.run_id == run_id, S.key == key)).one_or_none())
        if row is None:
            raise _no("step")
        return _step(row)

    async def remembered(self, user_id: str, fingerprint: str) -> StepResult | None:
        """As the port says."""
        made = step_results.c
        query = select(step_results).join(pipeline_runs, R.id == made.run_id).where(made.fingerprint == fingerprint, R.user_id == user_id)

        def work(connection: Connection) -> StepResult | None:
            row = connection.execute(query.order_by(made.n.desc()).limit(1)).one_or_none()
            if row is None:
                return None
            files = select(artifacts).where(artifacts.c.run_id == row.run_id, artifacts.c.step == row.key).order_by(artifacts.c.id)
            return StepResult(row.run_id, row.key, row.fingerprint, row.result, tuple(_artifact(a) for a in connection.execute(files)))

        return await self._database.read(work)

    async def drop_run(self, run_id: str) -> tuple[DeleteReceipt, Sequence[str]]:
        """As the port says."""

        def work(connection: Connection) -> tuple[DeleteReceipt, Sequence[str]]:
            status = connection.execute(select(R.status).where(R.id == run_id)).scalar()
            if status is None:
                raise _no("run")
            if not RunStatus(status).over:
                raise IllegalStep("This run is not over.", hint="Terminate it first.")
            uris = connection.execute(select(artifacts.c.uri).where(artifacts.c.run_id == run_id)).scalars().all()
            if uris:
                connection.execute(upsert(stale_objects).on_conflict_do_nothing(), [{"uri": uri} for uri in set(uris)])
            forget(connection, [run_id])
            gone = {
                "artifacts": connection.execute(delete(artifacts).where(artifacts.c.run_id == run_id)).rowcount,
                "steps": connection.execute(delete(run_steps).where(S.run_id == run_id)).rowcount,
                "metrics": connection.execute(delete(run_metrics).where(run_metrics.c.run_id == run_id)).rowcount,
                "events": connection.execute(delete(outbox).where(outbox.c.aggregate_id == run_id)).rowcount,
                "runs": connection.execute(delete(pipeline_runs).where(R.id == run_id)).rowcount,
            }
            connection.execute(update(experiments).where(experiments.c.baseline == run_id).values(baseline=""))
            left = {"runs": connection.execute(select(func.count()).where(R.id == run_id)).scalar_one()}
            return DeleteReceipt(gone, left), uris

        return await self._database.write(work)

    async def add_experiment(self, experiment: Experiment) -> None:
        """As the port says."""
        values = {c.name: getattr(experiment, c.name) for c in experiments.c}
        try:
            await self._database.write(lambda c: c.execute(insert(experiments).values(values)))
        except IntegrityError as error:
            raise AlreadyThere(f"There is an experiment {experiment.name!r} already.", hint="Choose another name, or add runs to that one.") from error

    async def experiment(self, experiment_id: str, *, user_id: str = "") -> Experiment:
        """As the port says."""
        return await self._experiment(select(experiments).where(experiments.c.id == experiment_id), user_id)

    async def experiment_named(self, name: str, *, user_id: str = "") -> Experiment:
        """As the port says."""
        return await self._experiment(select(experiments).where(experiments.c.name == name), user_id)

    async def _experiment(self, query: Select[Any], user_id: str) -> Experiment:
        def work(connection: Connection) -> Experiment:
            row = connection.execute(query).one_or_none()
            if row is None:
                raise _no("experiment")
            return _experiment(connection, row, user_id)

        return await self._database.read(work)

    async def experiments(self, *, user_id: str = "", limit: int = 50, cursor: str = "") -> Page[Experiment]:
        """As the port says."""
        query = select(experiments).order_by(experiments.c.id.desc()).limit(limit + 1)
        if cursor:
            query = query.where(experiments.c.id < cursor)

        def work(connection: Connection) -> Page[Experiment]:
            rows = connection.execute(query).all()
            return Page([_experiment(connection, row, user_id) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else "")

        return await self._database.read(work)

    async def set_baseline(self, experiment_id: str, run_id: str) -> None:
        """As the port says."""

        def work(connection: Connection) -> None:
            if run_id and not connection.execute(select(R.id).where(R.id == run_id, R.experiment_id == experiment_id)).first():
                raise _no("run of that experiment")
            if not connection.execute(update(experiments).where(experiments.c.id == experiment_id).values(baseline=run_id)).rowcount:
                raise _no("experiment")

        await self._database.write(work)

    async def drop_experiment(self, experiment_id: str) -> DeleteReceipt:
        """As the port says."""

        def work(connection: Connection) -> DeleteReceipt:
            if not connection.execute(delete(experiments).where(experiments.c.id == experiment_id)).rowcount:
                raise _no("experiment")
            connection.execute(update(pipeline_runs).where(R.experiment_id == experiment_id).values(experiment_id=""))
            connection.execute(update(triggers).where(triggers.c.experiment_id == experiment_id).values(experiment_id=""))
            return DeleteReceipt({"experiments": 1}, {"experiments": 0})

        return await self._database.write(work)

    async def add_trigger(self, trigger: Trigger) -> None:
        """As the port says."""

        def work(connection: Connection) -> None:
            if not connection.execute(select(P.id).where(P.name == trigger.pipeline_name)).first():
                raise _no("pipeline")
            if trigger.experiment_id and not connection.execute(select(experiments.c.id).where(experiments.c.id == trigger.experiment_id)).first():
                raise _no("experiment")
            connection.execute(insert(triggers).values({c.name: getattr(trigger, c.name) for c in triggers.c} | {"kind": trigger.kind.value}))

        await self._database.write(work)

    async def trigger(self, trigger_id: str) -> Trigger:
        """As the port says."""
        row = await self._database.read(lambda c: c.execute(select(triggers).where(triggers.c.id == trigger_id)).one_or_none())
        if row is None:
            raise _no("trigger")
        return _trigger(row)

    async def triggers(self, *, pipeline_name: str = "", user_id: str = "", enabled_only: bool = False, limit: int = 50, cursor: str = "") -> Page[Trigger]:
        """As the port says."""
        query = select(triggers).where(triggers.c.id > cursor).order_by(triggers.c.id).limit(limit + 1)
        for column, wanted in ((triggers.c.pipeline_name, pipeline_name), (triggers.c.user_id, user_id)):
            if wanted:
                query = query.where(column == wanted)
        if enabled_only:
            query = query.where(triggers.c.enabled)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return Page([_trigger(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else "")

    async def change_trigger(self, trigger: Trigger) -> None:
        """As the port says."""
        values = {name: getattr(trigger, name) for name in ("enabled", "last_at", "next_at", "problem")}
        await self._database.write(lambda c: c.execute(update(triggers).where(triggers.c.id == trigger.id).values(values)))

    async def drop_trigger(self, trigger_id: str) -> None:
        """As the port says."""
        if not await self._database.write(lambda c: c.execute(delete(triggers).where(triggers.c.id == trigger_id)).rowcount):
            raise _no("trigger")

    async def seen_file(self, trigger_id: str, uri: str, mark: str) -> bool:
        """As the port says."""
        this = (files_seen.c.trigger_id == trigger_id, files_seen.c.object_uri == uri)

        def work(connection: Connection) -> bool:
            if connection.execute(select(files_seen.c.mark).where(*this)).scalar() == mark:
                return False
            connection.execute(delete(files_seen).where(*this))
            connection.execute(insert(files_seen).values(trigger_id=trigger_id, object_uri=uri, mark=mark))
            return True

        return await self._database.write(work)

    async def received(self, limit: int = 20) -> Sequence[Event]:
        """As the port says."""
        t = triggers_received.c
        query = select(triggers_received).where(t.acted_on.is_(False)).order_by(t.at).limit(limit)
        rows = await self._database.read(lambda c: c.execute(query).all())
        return [Event(row.event_id, EventType.PIPELINE_TRIGGER_RECEIVED, row.user_id, row.aggregate_id, row.at, row.data) for row in rows]

    async def acted_on(self, event_id: str, problem: str = "") -> None:
        """As the port says."""
        here = triggers_received.c.event_id == event_id
        await self._database.write(lambda c: c.execute(update(triggers_received).where(here).values(acted_on=True, problem=problem)))


def receive_triggers(connection: Connection, events: Sequence[Event]) -> None:
    """The effect of other programs' PipelineTriggerReceived: they wait for the dispatcher. Raises: BadInput for one that names no pipeline."""
    if not all(isinstance(event.data.get("pipeline"), str) for event in events):
        raise BadInput("The event names no pipeline.", hint='Its data has to have "pipeline", and may have "parameters" and "experiment".')
    rows = [{"event_id": e.id, "user_id": e.user_id, "aggregate_id": e.aggregate_id, "at": e.at, "data": dict(e.data)} for e in events]
    connection.execute(upsert(triggers_received).on_conflict_do_nothing(), rows)


def _narrowed(query: Select[Any], wanted: RunFilter) -> Select[Any]:
    if wanted.pipeline:
        query = query.where(R.pipeline_id == wanted.pipeline if "@" in wanted.pipeline else R.pipeline_name == wanted.pipeline)
    if wanted.status is not None:
        query = query.where(R.status == wanted.status.value)
    if wanted.experiment_id:
        query = query.where(R.experiment_id == wanted.experiment_id)
    if wanted.user_id:
        query = query.where(R.user_id == wanted.user_id)
    if wanted.since is not None:
        query = query.where(R.created_at >= wanted.since)
    return query


def _cursor(row: Row[Any]) -> str:
    value = row.by.isoformat() if isinstance(row.by, datetime) else repr(row.by)
    return f"{value} {row.id}"


def _place(cursor: str, sort: str) -> tuple[Any, str]:
    """The value and the id that a cursor stands for. Raises: BadInput."""
    value, _, last = cursor.partition(" ")
    try:
        return (datetime.fromisoformat(value).astimezone(UTC) if sort == CREATED else float(value) if sort != DURATION else _number(value)), last
    except (ValueError, OverflowError) as error:
        raise _no_cursor() from error


def _number(cursor: str) -> int:
    if cursor and not (cursor.isdecimal() and len(cursor) <= MOST_DIGITS):
        raise _no_cursor()
    return int(cursor or 0)


def _no_cursor() -> BadInput:
    return BadInput("That is no cursor of this list.", hint="Give `next_cursor` back as it came.")


def _no(what: str) -> NotFound:
    return NotFound(f"There is no such {what}.", hint="It may have been deleted meanwhile.")


def _keep_step(connection: Connection, step: Step) -> None:
    values = {c.name: getattr(step, c.name) for c in S if c.name not in ("n", "status")} | {"status": step.status.value}
    made = upsert(run_steps).values(values)
    rest = {name: value for name, value in values.items() if name not in ("run_id", "key")}
    connection.execute(made.on_conflict_do_update(index_elements=["run_id", "key"], set_=rest))


def _keep_artifacts(connection: Connection, made: Sequence[Artifact]) -> None:
    rows = [{c.name: getattr(artifact, c.name) for c in artifacts.c} | {"type": artifact.type.value} for artifact in made]
    connection.execute(upsert(artifacts).on_conflict_do_nothing(), rows)


def _pipeline(row: Row[Any]) -> Pipeline:
    given = {c.name: row._mapping[c.name] for c in P}
    return Pipeline(**given | {"engine": Engine(row.engine)})


def _run(row: Row[Any], made: tuple[Artifact, ...] = ()) -> PipelineRun:
    given = {c.name: row._mapping[c.name] for c in R if c.name not in (*UNTOLD, "pipeline_name")}
    return PipelineRun(**given | {"status": RunStatus(row.status), "cause": Cause(row.cause), "artifacts": made})


def _step(row: Row[Any]) -> Step:
    given = {c.name: row._mapping[c.name] for c in S if c.name != "n"}
    return Step(**given | {"status": StepStatus(row.status), "attempts": msgspec.convert(row.attempts, tuple[Attempt, ...])})


def _artifact(row: Row[Any]) -> Artifact:
    m = row._mapping
    return Artifact(row.id, row.run_id, row.name, ArtifactType(row.type), row.uri, m["metadata"], row.step)


def _experiment(connection: Connection, row: Row[Any], user_id: str) -> Experiment:
    """With the metrics of its runs: of each name the latest run's. user_id: whose runs alone count; "" for everybody's."""
    seen = [R.experiment_id == row.id, *([R.user_id == user_id] if user_id else [])]
    found = connection.execute(select(R.id, R.metrics).where(*seen).order_by(R.id.desc()).limit(MOST_RUNS)).all()
    baseline = row.baseline
    if user_id and baseline and connection.execute(select(R.id).where(*seen, R.id == baseline)).first() is None:
        baseline = ""
    metrics: dict[str, float] = {}
    for run in reversed(found):
        metrics |= run.metrics
    return Experiment(row.id, row.name, tuple(run.id for run in found), metrics, row.created_at, row.user_id, baseline)


def _trigger(row: Row[Any]) -> Trigger:
    return Trigger(**{c.name: row._mapping[c.name] for c in triggers.c} | {"kind": TriggerKind(row.kind)})
