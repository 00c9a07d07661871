"""Pipelines for people: defining them, running them, looking into runs, and comparing these.

Admins define pipelines, because running one is running code as Hearth's own user; others run those that are shared with them, and see their own runs.
"""

import asyncio
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from core.audit import Act, AuditEntry
from core.errors import AlreadyThere, BadInput, NotAllowed, NotFound
from core.events import Event, EventType
from core.ids import is_id, new_id
from core.ports import AuditLog, ObjectStore, PipelineEngine, Workflows
from core.records import DeleteReceipt, Page
from core.users.model import Role, User
from core.workflow.inputs import InputFile, Inputs
from core.workflow.model import (
    LENT,
    Artifact,
    Cause,
    Engine,
    Experiment,
    Pipeline,
    PipelineRun,
    PipelineSpec,
    RunStatus,
    Step,
    Value,
    carried,
    demand_name,
    given,
    pipeline_id,
)
from core.workflow.running import Dispatcher
from core.workflow.shelf import Listed, RunFilter

MAX_DEFINITION_BYTES = 1 << 20
LOG_BYTES = 64 << 10
MOST_LISTED = 200


@dataclass(frozen=True, slots=True)
class LogPart:
    """A part of a log. next_offset: where the next one begins.   over: whether nothing more will come."""

    text: str
    offset: int
    next_offset: int
    size_bytes: int
    over: bool


@dataclass(frozen=True, slots=True)
class Again:
    """What a run begins with that does another one once more. spec: without what the house fills in.   parameters: those of the other run that still fit.

    dropped: those that don't, each with the reason.
    """

    pipeline: Pipeline
    spec: PipelineSpec
    parameters: Mapping[str, Value]
    dropped: Mapping[str, str]


class PipelineRoom:
    """Everybody's pipelines and runs."""

    def __init__(
        self,
        workflows: Workflows,
        engines: Mapping[Engine, PipelineEngine],
        dispatcher: Dispatcher,
        objects: ObjectStore,
        audit: AuditLog,
        clock: Callable[[], datetime],
    ) -> None:
        self._workflows, self._engines, self._dispatcher, self._objects = workflows, engines, dispatcher, objects
        self._audit, self._clock, self._inputs = audit, clock, Inputs(objects)

    async def validate(self, user: User, engine: Engine, definition: str) -> PipelineSpec:
        """What a definition says; nothing of it is run. Raises: BadInput with the place in it; NotAllowed."""
        demand_admin(user)
        return await self._spec(engine, definition)

    async def define(self, user: User, name: str, engine: Engine, definition: str) -> Pipeline:
        """Keeps a definition as the next version of its name; the same as the last one's is that one. Raises: BadInput, IllegalStep, NotAllowed."""
        demand_admin(user)
        await self._spec(engine, definition)
        kept = await self._workflows.add_pipeline(Pipeline(pipeline_id(demand_name(name), 1), name, 1, engine, definition, user.id, self._clock()))
        await self._note(user, Act.MADE, f"pipeline {kept.id}")
        return kept

    async def spec(self, user: User, pipeline: Pipeline) -> PipelineSpec:
        """The parameters that somebody gives and the graph of a version; `engine.validate` may find it can't be run here any more. Raises: BadInput."""
        spec = await self._spec(pipeline.engine, pipeline.definition)
        return replace(spec, parameters=tuple(p for p in spec.parameters if p.name not in LENT))

    async def borrows(self, user: User, pipeline: Pipeline) -> bool:
        """Whether its runs use the API of the house. Raises: BadInput."""
        return any(p.name in LENT for p in (await self._spec(pipeline.engine, pipeline.definition)).parameters)

    async def _spec(self, engine: Engine, definition: str) -> PipelineSpec:
        if len(definition.encode()) > MAX_DEFINITION_BYTES:
            raise BadInput(f"The definition has more than {MAX_DEFINITION_BYTES >> 20} MB.", hint="Keep data in collections or objects, not in a pipeline.")
        if engine not in self._engines:
            raise BadInput(f"Nothing here runs pipelines for {engine.value}.", hint="An admin can see in `hearth doctor` what is missing.")
        return await asyncio.to_thread(self._engines[engine].validate, definition)

    async def pipelines(self, user: User, *, limit: int = 50, cursor: str = "") -> Page[Listed]:
        """By name; those that the user may run."""
        return await self._workflows.pipelines(shared_only=user.role is not Role.ADMIN, limit=_bounded(limit), cursor=cursor)

    async def pipeline(self, user: User, pipeline: str) -> Pipeline:
        """A version by its id, or the latest by its name. Raises: NotFound."""
        found = await self._workflows.pipeline(pipeline)
        if user.role is not Role.ADMIN and not found.shared:
            raise NotFound("There is no such pipeline.", hint="It may have been deleted meanwhile.")
        return found

    async def versions(self, user: User, name: str, *, limit: int = 50, cursor: str = "") -> Page[Pipeline]:
        """Latest first. Raises: NotFound."""
        await self.pipeline(user, name)
        return await self._workflows.versions(name, limit=_bounded(limit), cursor=cursor)

    async def share(self, user: User, name: str, shared: bool) -> None:
        """Lets others run it, or no more. Raises: NotFound, NotAllowed."""
        demand_admin(user)
        await self._workflows.share(name, shared)
        await self._note(user, Act.CHANGED, f"pipeline {name}", shared=shared)

    async def delete_pipeline(self, user: User, pipeline: str) -> DeleteReceipt:
        """Removes a version without runs. Raises: NotFound, IllegalStep, NotAllowed."""
        demand_admin(user)
        receipt = await self._workflows.drop_pipeline(pipeline)
        await self._note(user, Act.DELETED, f"pipeline {pipeline}")
        return receipt

    async def fitting(self, user: User, pipeline: str, parameters: Mapping[str, Value]) -> tuple[Pipeline, dict[str, Value]]:
        """The version that a run with these parameters would be one of, and all its parameters by name; nothing is started. Raises: NotFound, BadInput."""
        found = await self.pipeline(user, pipeline)
        spec = await self._spec(found.engine, found.definition)
        for name in LENT:
            if name in parameters:
                raise BadInput(f"{name} is filled in by Hearth.", hint="Leave it out.")
        spec = replace(spec, parameters=tuple(replace(p, required=False) if p.name in LENT else p for p in spec.parameters))
        return found, {name: value for name, value in given(spec, parameters).items() if name not in LENT}

    async def start(
        self,
        user: User,
        pipeline: str,
        parameters: Mapping[str, Value],
        *,
        files: Mapping[str, InputFile] | None = None,
        cause: Cause = Cause.API,
        experiment: str = "",
        run_id: str = "",
        rerun_of: str = "",
        cache: bool = True,
    ) -> PipelineRun:
        """A run that waits for its turn; it is accepted when this returns, and survives a restart.

        pipeline: a version's id, or a name for its latest.   experiment: its name; one that isn't there is made.   run_id: made by the caller, so that asking
        twice makes one run.   cache: whether steps may take over what earlier runs of the same user have made, where the definition lets them.
        files: by parameter; each is kept with the run, and the parameter's value is its address.
        Raises: NotFound; TooLong, NoSpace for a file; BadInput for parameters that the pipeline doesn't take and for a definition that can't be run here;
        AlreadyThere if the id was used for another run.
        """
        if run_id and not is_id(run_id):
            raise BadInput("A run's id is a UUID.", hint="Leave it out, and one is made.")
        asked, run_id = bool(run_id), run_id or new_id()
        async with self._inputs.of(run_id, parameters, files or {}, partial(self.run, user)) as inputs:
            addresses = {str(artifact.metadata["parameter"]): artifact.uri for _, artifact in inputs}
            found, checked = await self.fitting(user, pipeline, {**parameters, **addresses})
            if asked and (known := await self._known(user, run_id, found, checked)) is not None:
                return known
            within = (await self.experiment_for(user, experiment)).id if experiment else ""
            made = tuple(artifact for _, artifact in inputs)
            run = PipelineRun(run_id, found.id, RunStatus.PENDING, None, None, checked, made, user.id, self._clock(), cause, within, rerun_of, cache=cache)
            await self._inputs.store(inputs)
            return await self._add(user, run, found, checked)

    async def _add(self, user: User, run: PipelineRun, found: Pipeline, checked: dict[str, Value]) -> PipelineRun:
        """Keeps a run and lets it be begun. If that fails, what it was given is left over, and found as such: it may be another's of the same id."""
        events = [
            Event(new_id(), kind, user.id, run.id, self._clock(), {"pipeline": found.id, "cause": run.cause.value})
            for kind in (EventType.PIPELINE_TRIGGER_RECEIVED, EventType.PIPELINE_RUN_CREATED)
        ]
        try:
            await self._workflows.add_run(run, events)
        except AlreadyThere:  # another process was asked for the same at the same time
            if (known := await self._known(user, run.id, found, checked)) is None:
                raise
            return known
        await self._note(user, Act.RAN, f"run {run.id}", pipeline=found.id, cause=run.cause.value)
        self._dispatcher.arrived()
        return run

    async def _known(self, user: User, run_id: str, pipeline: Pipeline, parameters: Mapping[str, Value]) -> PipelineRun | None:
        """The user's run with that id. Raises: AlreadyThere if it is another."""
        try:
            known = await self.run(user, run_id)
        except NotFound:
            return None
        if (known.pipeline_id, dict(known.parameters)) != (pipeline.id, parameters):
            raise AlreadyThere("That id was used for another run.", hint="Make a new id for each.")
        return known

    async def again(self, user: User, run_id: str, version: str = "") -> Again:
        """What the same run once more begins with. version: an id, or a name for its latest; "" for the run's own. Raises: NotFound, BadInput."""
        run = await self.run(user, run_id)
        pipeline = await self.pipeline(user, version or run.pipeline_id)
        spec = await self.spec(user, pipeline)
        return Again(pipeline, spec, *carried(spec, run.parameters))

    async def rerun(
        self,
        user: User,
        run_id: str,
        changes: Mapping[str, Value],
        *,
        files: Mapping[str, InputFile] | None = None,
        latest: bool = False,
        drop: bool = False,
        experiment: str = "",
        cache: bool = True,
    ) -> PipelineRun:
        """The same run once more, with some parameters or files changed. latest: of the pipeline's latest version instead of the same one.

        drop: whether parameters that this version doesn't take as they were are left out.   Raises: as `start`; BadInput naming those that would be.
        """
        run = await self.run(user, run_id)
        within = experiment or ((await self._workflows.experiment(run.experiment_id)).name if run.experiment_id else "")
        begins = await self.again(user, run_id, run.pipeline_name if latest else "")
        if (lost := sorted(set(begins.dropped) - set(changes) - set(files or {}))) and not drop:
            told = " ".join(f"{name}: {begins.dropped[name]}" for name in lost)
            raise BadInput(
                f"{begins.pipeline.id} doesn't take all parameters of that run. {told}",
                hint="Give these another value, or say that they are to be dropped.",
            )
        parameters = {**begins.parameters, **changes}
        return await self.start(user, begins.pipeline.id, parameters, files=files, cause=Cause.RERUN, experiment=within, rerun_of=run.id, cache=cache)

    async def run(self, user: User, run_id: str) -> PipelineRun:
        """With its artifacts. Raises: NotFound, also for somebody else's unless an admin asks."""
        run = await self._workflows.run(run_id)
        if user.role is not Role.ADMIN and run.user_id != user.id:
            raise NotFound("There is no such run.", hint="It may have been deleted meanwhile.")
        return run

    async def runs(self, user: User, wanted: RunFilter, *, limit: int = 50, cursor: str = "") -> Page[PipelineRun]:
        """Those that the user may see, in the order asked for, without artifacts. Raises: BadInput."""
        return await self._workflows.runs(_seen_by(user, wanted), limit=_bounded(limit), cursor=cursor)

    async def metric_names(self, user: User, wanted: RunFilter) -> Sequence[str]:
        """The metrics that such runs have, most frequent first."""
        return await self._workflows.metric_names(_seen_by(user, wanted))

    async def ahead_of(self, user: User, run: PipelineRun) -> int:
        """How many wait before it."""
        return await self._workflows.ahead_of(run.id)

    @property
    def at_work(self) -> int:
        """How many runs of everybody's go on now that would end with this process."""
        return self._dispatcher.at_work

    async def steps(self, user: User, run_id: str, *, limit: int = 200, cursor: str = "") -> Page[Step]:
        """In the order in which they began. Raises: NotFound."""
        await self.run(user, run_id)
        return await self._workflows.steps(run_id, limit=min(max(limit, 1), 1000), cursor=cursor)

    async def step(self, user: User, run_id: str, key: str) -> Step:
        """Raises: NotFound."""
        await self.run(user, run_id)
        return await self._workflows.step(run_id, key)

    async def log(self, user: User, run_id: str, key: str, attempt: int, *, offset: int = 0, limit: int = LOG_BYTES) -> LogPart:
        """A part of what an attempt of a step has said; offset: in bytes; a negative one counts from the end. Raises: NotFound."""
        step = await self.step(user, run_id, key)
        found = next((a for a in step.attempts if a.number == attempt), None)
        if found is None:
            raise NotFound("There is no such attempt.")
        limit, over = min(max(limit, 1), 1 << 20), found.ended_at is not None
        here = self._dispatcher.folder_of(run_id)
        if not found.log.startswith("s3://") and not await asyncio.to_thread(here.exists):  # another process runs it
            try:
                told = await self._objects.get(self._dispatcher.shown_log(run_id, key, attempt))
            except NotFound:
                told = b""
            return _part(io.BytesIO(told), offset, limit, over)
        path = await self._objects.local_path(found.log) if found.log.startswith("s3://") else here / found.log
        return await asyncio.to_thread(_read, path, offset, limit, over)

    async def artifact(self, user: User, run_id: str, artifact_id: str) -> tuple[Artifact, Path]:
        """An artifact with its bytes as a file. Raises: NotFound."""
        found = await self._artifact(user, run_id, artifact_id)
        return found, await self._objects.local_path(found.uri)

    async def artifact_to_save(self, user: User, run_id: str, artifact_id: str) -> tuple[Artifact, Path | str]:
        """An artifact with its bytes as a file, or the address of them that the object store lends: they may be gigabytes. Raises: NotFound."""
        found = await self._artifact(user, run_id, artifact_id)
        return found, await self._objects.lent(found.uri, name=found.name) or await self._objects.local_path(found.uri)

    async def _artifact(self, user: User, run_id: str, artifact_id: str) -> Artifact:
        found = next((a for a in (await self.run(user, run_id)).artifacts if a.id == artifact_id), None)
        if found is None:
            raise NotFound("There is no such artifact.", hint="It may have been deleted meanwhile.")
        return found

    async def stored(self, user: User, uri: str) -> tuple[str, str, Path]:
        """What a step of the user's may read at an address. Raises: as `Inputs.read`."""
        return await self._inputs.read(user, uri, self._workflows.run)

    async def terminate(self, user: User, run_id: str) -> PipelineRun:
        """Ends a run; it is over when this returns. One that was over before stays as it is. Raises: NotFound; ServiceError of its cluster."""
        run = await self.run(user, run_id)
        if not run.status.over:
            await self._dispatcher.terminate(run, f"It was cancelled by {user.username}.")
            await self._note(user, Act.CHANGED, f"run {run_id}", terminated=True)
        return await self._workflows.run(run_id)

    async def delete_run(self, user: User, run_id: str) -> DeleteReceipt:
        """Removes a run that is over, with its artifacts. Raises: NotFound, IllegalStep."""
        await self.run(user, run_id)
        receipt, uris = await self._workflows.drop_run(run_id)
        dropped = sum([await self._objects.drop(uri) for uri in uris])
        left = sum([await self._objects.exists(uri) for uri in uris])
        await self._note(user, Act.DELETED, f"run {run_id}")
        return DeleteReceipt({**receipt.removed, "objects": dropped}, {**receipt.left, "objects": left})

    async def experiment_for(self, user: User, name: str) -> Experiment:
        """The experiment of that name, with those of its runs that the user may see; it is made where there is none. Raises: BadInput."""
        try:
            return await self._workflows.experiment_named(name, user_id=_only(user))
        except NotFound:
            made = Experiment(new_id(), demand_name(name, "an experiment"), (), {}, self._clock(), user.id)
            try:
                await self._workflows.add_experiment(made)
            except AlreadyThere:
                return await self._workflows.experiment_named(name, user_id=_only(user))
            return made

    async def experiment(self, user: User, experiment_id: str) -> Experiment:
        """By its id or its name, with those of its runs and metrics that the user may see. Raises: NotFound."""
        seen = _only(user)
        if is_id(experiment_id):
            return await self._workflows.experiment(experiment_id, user_id=seen)
        return await self._workflows.experiment_named(experiment_id, user_id=seen)

    async def experiments(self, user: User, *, limit: int = 50, cursor: str = "") -> Page[Experiment]:
        """Latest first, each with those of its runs and metrics that the user may see."""
        return await self._workflows.experiments(user_id=_only(user), limit=_bounded(limit), cursor=cursor)

    async def set_baseline(self, user: User, experiment_id: str, run_id: str) -> None:
        """Which run the others are compared with; "" for none. Raises: NotFound, NotAllowed."""
        demand_admin(user)
        await self._workflows.set_baseline(experiment_id, run_id)

    async def delete_experiment(self, user: User, experiment_id: str) -> DeleteReceipt:
        """Its runs stay. Raises: NotFound, NotAllowed."""
        demand_admin(user)
        receipt = await self._workflows.drop_experiment(experiment_id)
        await self._note(user, Act.DELETED, f"experiment {experiment_id}")
        return receipt

    async def _note(self, user: User, act: Act, subject: str, **detail: object) -> None:
        await self._audit.write(AuditEntry(self._clock(), user.id, user.username, act, subject, detail))


def demand_admin(user: User) -> None:
    """Raises: NotAllowed for everybody else."""
    if user.role is not Role.ADMIN:
        raise NotAllowed("Only admins do that.", hint="Ask one: a pipeline runs code on this machine.")


def _only(user: User) -> str:
    """Whose runs a user sees: their own; "" for everybody's."""
    return "" if user.role is Role.ADMIN else user.id


def _seen_by(user: User, wanted: RunFilter) -> RunFilter:
    return wanted if user.role is Role.ADMIN else replace(wanted, user_id=user.id)


def _bounded(limit: int) -> int:
    return min(max(limit, 1), MOST_LISTED)


def _read(path: Path, offset: int, limit: int, over: bool) -> LogPart:
    try:
        with path.open("rb") as file:
            return _part(file, offset, limit, over)
    except FileNotFoundError:
        return LogPart("", 0, 0, 0, over)


def _part(file: BinaryIO, offset: int, limit: int, over: bool) -> LogPart:
    size = file.seek(0, 2)
    start = max(0, size + offset) if offset < 0 else min(offset, size)
    file.seek(start)
    text = file.read(limit)
    return LogPart(text.decode("utf-8", "replace"), start, start + len(text), size, over)
