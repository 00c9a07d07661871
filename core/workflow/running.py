"""Running what was asked for: pending runs are begun as places become free, and whatever an engine tells of them is kept before anybody sees it.

One transaction per report holds the rows and the events. A run of an engine that ends with Hearth is over once its process is gone, "interrupted"; one on a
cluster is taken up again.
"""

import asyncio
import hashlib
import json
import logging
import mimetypes
import re
import shutil
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from core.errors import BadInput, HearthError, IllegalStep, NotFound, ServiceTimeout
from core.events import Event, EventType
from core.ids import new_id
from core.objects import RUNS
from core.ports import ObjectStore, PipelineEngine, Workflows
from core.records import every_page
from core.workflow.model import (
    LENT,
    Artifact,
    ArtifactType,
    Attempt,
    Engine,
    EngineReport,
    Order,
    Pipeline,
    PipelineRun,
    Placed,
    Produced,
    Reach,
    Recalled,
    RunReport,
    RunStatus,
    Step,
    StepReport,
    StepResult,
    StepStatus,
    Value,
    merged,
)

log = logging.getLogger(__name__)

POLL_S = 1.0
ELSEWHERE_S = 10.0
"""How long another process may take to end a run of its own."""
INTERRUPTED = "It was interrupted: Hearth stopped while it ran."
MAX_METRICS_BYTES = 1 << 20
_NOT_IN_KEYS = re.compile(r"[^A-Za-z0-9._-]+")

Lend = Callable[[PipelineRun], AbstractAsyncContextManager[Mapping[str, Value]]]
"""Gives a run what it may use while it lasts, by the name of the parameter that it goes into: the address of the house, and a key of its own."""


@dataclass(slots=True)
class _Underway:
    """A run that is being followed. run: as it is in the records.   survives: whether it goes on without this process.   reason: why it is to end."""

    task: asyncio.Task[None]
    run: PipelineRun
    survives: bool
    steps: dict[str, Step] = field(default_factory=dict)
    reason: str = ""


class Dispatcher:
    """Everybody's runs. `async with` begins what waits, and takes up what a process left that is gone; any number of processes may do that."""

    def __init__(
        self,
        workflows: Workflows,
        engines: Mapping[Engine, PipelineEngine],
        objects: ObjectStore,
        clock: Callable[[], datetime],
        lend: Lend,
        *,
        folder: Path,
        at_once: int,
        wall_s: float,
        shows_logs: bool = False,
    ) -> None:
        """folder: holds a folder for each run while it lasts.   wall_s: the longest that a run may take.

        at_once: how many run here together; those on clusters don't count.   shows_logs: whether logs that still grow are put into the object store, for
        other processes to read.
        """
        self._workflows, self._engines, self._objects, self._clock, self._lend = workflows, engines, objects, clock, lend
        self._folder, self._at_once, self._wall_s, self._shows_logs = folder, at_once, wall_s, shows_logs
        self._shown: dict[str, int] = {}
        """How many bytes of a growing log are in the object store, by its key."""
        self._storing = asyncio.Lock()
        """While a log is put there: the last that is put has to be the whole one."""
        self._underway: dict[str, _Underway] = {}
        self._arrived, self._beginning = asyncio.Event(), asyncio.Lock()
        self._loop: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Ends or takes up what an earlier process left, and begins to look."""
        left = {run.id for run in await self._workflows.orphaned()}
        await asyncio.to_thread(_sweep, self._folder, left)
        await self._recover()
        self._loop = asyncio.create_task(self._work(), name="pipeline runs")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Runs of engines that end with Hearth are ended and kept as interrupted."""
        followed = [one.task for one in self._underway.values()]
        for task in [self._loop, *followed]:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in [self._loop, *followed] if task is not None), return_exceptions=True)

    def arrived(self) -> None:
        """A run is waiting."""
        self._arrived.set()

    def folder_of(self, run_id: str) -> Path:
        """Where a run's files are while it lasts."""
        return self._folder / run_id

    @property
    def at_work(self) -> int:
        """How many runs go on now that would end with this process."""
        return sum(not one.survives for one in self._underway.values())

    async def terminate(self, run: PipelineRun, reason: str) -> None:
        """Ends a run, whatever it is doing and whichever process runs it; it has failed by the time this returns. One that is over stays as it is.

        Raises: ServiceError of its cluster; ServiceTimeout if the process that runs it doesn't end it.
        """
        async with self._beginning:  # or it would be begun in this moment
            run = await self._workflows.run(run.id)
            if run.status is RunStatus.PENDING:
                begun = run.to(RunStatus.RUNNING, self._clock())
                if await self._workflows.hold(begun):
                    await self._ended(begun, RunReport(False, reason), {})
                    return
                run = await self._workflows.run(run.id)  # another process has begun it
        if run.status.over:
            return
        if run.id in self._underway:
            await self._end(run, reason)
            return
        await self._workflows.ask_to_end(run.id, reason)
        self.arrived()
        try:
            async with asyncio.timeout(ELSEWHERE_S):
                while True:
                    if (await self._workflows.run(run.id)).status.over:
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise ServiceTimeout("Nobody has ended the run yet.", hint="It ends when a Hearth is running: start it with `hearth up`.") from None

    async def _end(self, run: PipelineRun, reason: str) -> None:
        """Ends one that goes on here. Raises: ServiceError of its cluster."""
        one = self._underway[run.id]
        pipeline = await self._workflows.pipeline(run.pipeline_id)
        if (engine := self._engines[pipeline.engine]).survives:
            await engine.stop(Order(run.id, pipeline, {}, self.folder_of(run.id), run.external_id))
        one.reason = reason
        one.task.cancel()
        await asyncio.wait([one.task])
        if not (await self._workflows.run(run.id)).status.over:  # it was cancelled before its first line, or in the middle of its end
            await self._ended(one.run, RunReport(False, reason), one.steps)
        await asyncio.to_thread(shutil.rmtree, self.folder_of(run.id), ignore_errors=True)

    async def _end_those_asked(self) -> None:
        """Those that another process wants ended."""
        for run_id, reason in (await self._workflows.asked_to_end()).items():
            if run_id in self._underway:
                try:
                    await self._end(await self._workflows.run(run_id), reason)
                except HearthError as error:
                    log.warning("Run %s could not be ended: %s", run_id, error)

    async def _recover(self) -> None:
        """Runs whose process is gone: those that survive it are followed, of the others what is left here is ended."""
        for run in await self._workflows.orphaned():
            if run.id in self._underway or not await self._workflows.hold(run):
                continue
            pipeline = await self._workflows.pipeline(run.pipeline_id)
            engine = self._engines[pipeline.engine]
            steps = await self._steps_of(run.id)
            if engine.survives:
                self._follow(run, pipeline, steps)
                continue
            await self._stop(engine, run, pipeline)
            await self._ended(run, RunReport(False, INTERRUPTED), steps)

    async def _stop(self, engine: PipelineEngine, run: PipelineRun, pipeline: Pipeline) -> None:
        """Ends what is left of a run that is over for us."""
        try:
            await engine.stop(Order(run.id, pipeline, {}, self.folder_of(run.id), run.external_id))
        except HearthError as error:
            log.warning("What run %s left could not be ended: %s", run.id, error)

    async def _steps_of(self, run_id: str) -> dict[str, Step]:
        return {step.key: step async for page in every_page(lambda cursor: self._workflows.steps(run_id, cursor=cursor)) for step in page}

    async def _work(self) -> None:
        while True:
            self._arrived.clear()
            try:
                await self._recover()
                await self._end_those_asked()
                while self.at_work < self._at_once and await self._begin_next():
                    pass
                if self._shows_logs:
                    await self._show_logs()
            except Exception as error:  # a supervised loop: it must outlive every failure
                log.error("The next pipeline run could not be begun or ended: %s", error, exc_info=not isinstance(error, HearthError))
            try:
                async with asyncio.timeout(POLL_S):
                    await self._arrived.wait()
            except TimeoutError:
                pass

    async def _show_logs(self) -> None:
        """Puts the logs of steps that are at work into the object store, as far as they have grown."""
        growing = [(one, step, step.attempts[-1]) for one in self._underway.values() for step in one.steps.values() if not step.status.over and step.attempts]
        keys = {_key(one.run.id, step.key, _log_name(attempt.number)) for one, step, attempt in growing}
        self._shown = {key: size for key, size in self._shown.items() if key in keys}
        for one, step, attempt in growing:
            path, key = self.folder_of(one.run.id) / attempt.log, _key(one.run.id, step.key, _log_name(attempt.number))
            async with self._storing:
                size_bytes = await asyncio.to_thread(_size_bytes, path)
                if attempt.log and size_bytes > self._shown.get(key, 0) and not one.steps[step.key].status.over:
                    await self._objects.put(key, path)
                    self._shown[key] = size_bytes

    def shown_log(self, run_id: str, step: str, attempt: int) -> str:
        """The uri of an attempt's log in the object store, where it is once the process that runs it has put it there."""
        return self._objects.uri(_key(run_id, step, _log_name(attempt)))

    async def _begin_next(self) -> bool:
        async with self._beginning:
            run = await self._workflows.next_pending()
            if run is None:
                return False
            pipeline = await self._workflows.pipeline(run.pipeline_id)
            begun = run.to(RunStatus.RUNNING, self._clock())
            if await self._workflows.hold(begun):
                self._follow(begun, pipeline, {})
            return True

    def _follow(self, run: PipelineRun, pipeline: Pipeline, steps: dict[str, Step]) -> None:
        engine = self._engines[pipeline.engine]
        task = asyncio.create_task(self._drive(run, pipeline, engine), name=f"run {run.id}")
        self._underway[run.id] = _Underway(task, run, engine.survives, steps=steps)
        task.add_done_callback(lambda _: self._left(run.id))

    def _left(self, run_id: str) -> None:
        """Its place is free."""
        self._underway.pop(run_id, None)
        self.arrived()

    async def _drive(self, run: PipelineRun, pipeline: Pipeline, engine: PipelineEngine) -> None:
        """From beginning to end. It is cancelled to be terminated, and when the house closes."""
        one = self._underway[run.id]
        outcome = RunReport(False, "It ended without a result.")
        try:
            spec = await asyncio.to_thread(engine.validate, pipeline.definition)
            wanted = {p.name for p in spec.parameters}.intersection(LENT)
            async with asyncio.timeout(self._wall_s), self._lend(run) if wanted else nullcontext({}) as lent:
                await asyncio.to_thread(self.folder_of(run.id).mkdir, parents=True, exist_ok=True)
                parameters = {**run.parameters, **{name: lent[name] for name in wanted}}
                recall = partial(self._recalled, run) if run.cache else None
                order = Order(run.id, pipeline, parameters, self.folder_of(run.id), run.external_id, run.cache, recall)
                async with aclosing(engine.run(order)) as reports:  # type: ignore[type-var]
                    async for report in reports:
                        if isinstance(report, RunReport):
                            outcome = report
                            break
                        await self._kept(one, report)
        except asyncio.CancelledError:
            if not one.reason and engine.survives:
                raise
            outcome = RunReport(False, one.reason or INTERRUPTED)
        except TimeoutError:
            outcome = RunReport(False, f"It took longer than {self._wall_s / 3600:g} h, which is the most a run may take.")
            await self._stop(engine, one.run, pipeline)
        except HearthError as error:
            outcome = RunReport(False, str(error))
        except Exception:  # a bug ends one run and no other; it is logged and told
            log.exception("Run %s broke off", run.id)
            outcome = RunReport(False, "Something went wrong inside Hearth; its log says what.")
        await self._ended(one.run, outcome, one.steps)

    async def _recalled(self, run: PipelineRun, fingerprint: str) -> Recalled | None:
        """What an earlier step of the same user has made, its files copied into the run's folder; None also where one of them is gone."""
        found = await self._workflows.remembered(run.user_id, fingerprint)
        if found is None:
            return None
        files, folder = {}, self.folder_of(run.id)
        for number, artifact in enumerate(a for a in found.files if a.type is not ArtifactType.LOGS):
            files[artifact.name] = f"recalled/{fingerprint}/{number}"
            try:
                held = await self._objects.local_path(artifact.uri)
                await asyncio.to_thread(_copied, held, folder / files[artifact.name])
            except (NotFound, FileNotFoundError):
                return None
        return Recalled(found.run_id, found.result, files)

    async def _kept(self, one: _Underway, report: EngineReport) -> None:
        """Puts a report into the records."""
        if isinstance(report, Placed):
            await self._keep(one, replace(one.run, external_id=report.external_id, external_url=report.url))
        elif isinstance(report, Reach):
            if report.unreachable_since != one.run.unreachable_since:
                await self._keep(one, replace(one.run, unreachable_since=report.unreachable_since))
        elif isinstance(report, StepReport):
            await self._step_kept(one, report)

    async def _keep(
        self,
        one: _Underway,
        run: PipelineRun,
        step: Step | None = None,
        artifacts: Sequence[Artifact] = (),
        events: Sequence[Event] = (),
        result: StepResult | None = None,
    ) -> None:
        """Keeps how far the run is. Being cancelled meanwhile doesn't part what is known here from what is in the records: it waits for them."""
        one.run = run
        if step is not None:
            one.steps[step.key] = step
        kept = self._workflows.keep(run, steps=[step] if step else [], artifacts=artifacts, events=events, results=[result] if result else [])
        keeping = asyncio.ensure_future(kept)
        try:
            held = await asyncio.shield(keeping)
        except asyncio.CancelledError:
            await asyncio.wait([keeping])
            raise
        if not held:
            raise IllegalStep("Another process has taken up this run.")

    async def _step_kept(self, one: _Underway, report: StepReport) -> None:
        run, before = one.run, one.steps.get(report.key)
        if before is not None and before.status.over:
            return
        events, made = [], list[Artifact]()
        told = before is not None or report.status not in (StepStatus.SKIPPED, StepStatus.OMITTED)
        if before is None and told:
            events.append(self._event(run, EventType.STEP_STARTED, step=report.key))
        step = _after(before, report, run.id)
        if report.status.over and told:
            made = await self._stored(run, report)
            step = replace(step, attempts=_logged(step.attempts, made))
            events.append(self._event(run, EventType.STEP_COMPLETED, step=report.key, status=report.status.value))
            events += [self._event(run, EventType.ARTIFACT_PRODUCED, step=report.key, artifact=a.id, name=a.name, type=a.type.value, uri=a.uri) for a in made]
        elif report.attempt > 1 and before is not None and len(step.attempts) > len(before.attempts):
            made = await self._logs_stored(run, before)
            step = replace(step, attempts=_logged(step.attempts, made))
        result = StepResult(run.id, step.key, report.fingerprint, report.result) if report.fingerprint else None
        await self._keep(one, replace(run, metrics={**run.metrics, **merged(made)}), step, made, events, result)

    async def _ended(self, run: PipelineRun, outcome: RunReport, steps: Mapping[str, Step]) -> None:
        """Steps that are still at work end with their run; what they said is kept."""
        now, ended, made = self._clock(), list[Step](), list[Artifact]()
        events: list[Event] = []
        for step in steps.values():
            if step.status.over:
                continue
            logs = await self._logs_stored(run, step)
            made += logs
            attempts = tuple(replace(a, ended_at=a.ended_at or now) for a in _logged(step.attempts, logs))
            ended.append(replace(step, status=StepStatus.FAILED, ended_at=now, error=step.error or outcome.reason, attempts=attempts))
            events.append(self._event(run, EventType.STEP_COMPLETED, step=step.key, status=StepStatus.FAILED.value))
        over = run.to(RunStatus.SUCCEEDED if outcome.succeeded else RunStatus.FAILED, now, outcome.reason)
        events.append(self._event(run, EventType.PIPELINE_RUN_COMPLETED, status=over.status.value, reason=over.reason))
        await self._workflows.keep(over, steps=ended, artifacts=made, events=events)
        await asyncio.to_thread(shutil.rmtree, self.folder_of(run.id), ignore_errors=True)

    async def _stored(self, run: PipelineRun, report: StepReport) -> list[Artifact]:
        """What a step has made, in the object store, its log with it. Raises: NoSpace, ServiceError; BadInput for a file that isn't the run's."""
        files = list(report.artifacts)
        if report.log:
            files.append(_log_of(report.attempt, report.log))
        return [await self._put(run, report.key, file) for file in files]

    async def _logs_stored(self, run: PipelineRun, step: Step) -> list[Artifact]:
        """The logs of its attempts that are still files."""
        made = []
        for attempt in step.attempts:
            if not attempt.log or attempt.log.startswith("s3://"):
                continue
            path = self.folder_of(run.id) / attempt.log
            if not path.is_file():  # another process ran it: what it has shown is kept
                with suppress(NotFound):
                    await asyncio.to_thread(_copied, await self._objects.local_path(self.shown_log(run.id, step.key, attempt.number)), path)
            if path.is_file():
                made.append(await self._put(run, step.key, _log_of(attempt.number, attempt.log)))
        return made

    async def _put(self, run: PipelineRun, step: str, file: Produced) -> Artifact:
        if file.uri:
            if not file.uri.startswith(self._objects.uri(f"{RUNS}{run.id}/")):  # it would go with the run, whosever it is
                raise BadInput(f"The artifact {file.name!r} of step {step!r} lies outside of the run's folder.", hint="Write it where the definition says.")
            return Artifact(new_id(), run.id, file.name, file.type, file.uri, dict(file.metadata), step)
        folder = self.folder_of(run.id)
        path = await asyncio.to_thread((folder / file.path).resolve)
        if not path.is_relative_to(await asyncio.to_thread(folder.resolve)):
            raise BadInput(f"The artifact {file.name!r} of step {step!r} lies outside of the run's folder.", hint="Write it where the definition says.")
        if not await asyncio.to_thread(path.is_file):
            raise NotFound(f"The artifact {file.name!r} of step {step!r} was not written.", hint="Write it where the definition says.")
        told = await asyncio.to_thread(described, path, file)
        async with self._storing if file.type is ArtifactType.LOGS else nullcontext():
            uri = await self._objects.put(_key(run.id, step, file.name), path)
        return Artifact(new_id(), run.id, file.name, file.type, uri, {**file.metadata, **told}, step)

    def _event(self, run: PipelineRun, kind: EventType, **data: object) -> Event:
        return Event(new_id(), kind, run.user_id, run.id, self._clock(), {"pipeline": run.pipeline_id, **data})


def _after(before: Step | None, report: StepReport, run_id: str) -> Step:
    """The step as it is after that report."""
    step = before or Step(run_id, report.key, report.name, report.task, StepStatus.RUNNING, started_at=report.at, parent=report.parent)
    attempts = {attempt.number: attempt for attempt in step.attempts}
    if before is not None or report.status.ran:
        if report.attempt - 1 in attempts and attempts[report.attempt - 1].ended_at is None:
            attempts[report.attempt - 1] = replace(attempts[report.attempt - 1], ended_at=report.at, error=report.error)
        known = attempts.get(report.attempt, Attempt(report.attempt, report.log, report.at))
        over = {"ended_at": report.at, "error": report.error} if report.status.over else {}
        stored = known.log.startswith("s3://")  # a cluster's engine that is taken up again tells of it once more
        attempts[report.attempt] = replace(known, log=known.log if stored else report.log or known.log, **over)  # type: ignore[arg-type]
    return replace(
        step,
        status=report.status,
        attempts=tuple(attempts[number] for number in sorted(attempts)),
        ended_at=report.at if report.status.over else None,
        inputs={**step.inputs, **report.inputs},
        outputs={**step.outputs, **report.outputs},
        error=report.error if report.status.over else "",
        cached_from=report.cached_from,
    )


def in_key(name: str) -> str:
    """A name as a part of an object's key. What can't stand there is left out, and a digest keeps two names apart that would be one then."""
    plain = _NOT_IN_KEYS.sub("-", name).strip(".-")
    return plain if plain == name else f"{plain[:100]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}".lstrip("-")


def _copied(held: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(held, to)


def _sweep(folder: Path, kept: Set[str]) -> None:
    """Removes the folders of runs that ended as their process did."""
    for left in folder.iterdir() if folder.is_dir() else ():
        if left.name not in kept:
            shutil.rmtree(left, ignore_errors=True)


def _key(run_id: str, step: str, name: str) -> str:
    """Where what a step has made lies in the object store."""
    return f"{RUNS}{run_id}/{in_key(step)}/{in_key(name)}"


def _log_name(attempt: int) -> str:
    return f"log-{attempt}.txt"


def _size_bytes(path: Path) -> int:
    """0 for one that isn't there."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _log_of(attempt: int, path: str) -> Produced:
    return Produced(_log_name(attempt), ArtifactType.LOGS, path, metadata={"attempt": attempt})


def _logged(attempts: Sequence[Attempt], made: Sequence[Artifact]) -> tuple[Attempt, ...]:
    """The attempts with the uris of their logs."""
    uris = {a.metadata.get("attempt"): a.uri for a in made if a.type is ArtifactType.LOGS}
    return tuple(replace(attempt, log=uris.get(attempt.number, attempt.log)) for attempt in attempts)


def described(path: Path, file: Produced) -> dict[str, object]:
    """What is said of a file: its size, checksum and kind, and of metrics the numbers."""
    with path.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    size_bytes = path.stat().st_size
    told: dict[str, object] = {"size_bytes": size_bytes, "sha256": digest, "media_type": mimetypes.guess_type(file.name)[0] or ""}
    if file.type is ArtifactType.METRICS and "metrics" not in file.metadata and size_bytes <= MAX_METRICS_BYTES:
        try:
            held = json.loads(path.read_text("utf-8"))
        except ValueError:
            return told
        if isinstance(held, dict):
            told["metrics"] = {k: v for k, v in held.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    return told
