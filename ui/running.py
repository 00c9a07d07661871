"""`hearth run` and `hearth pipelines`: pipelines on the command line."""

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import anyio
from rich.live import Live
from rich.table import Table

from core.app import App, open_app
from core.errors import BadInput
from core.records import every_page
from core.settings import Settings
from core.users.model import User
from core.workflow.inputs import InputFile
from core.workflow.model import Cause, Engine, Parameter, Pipeline, PipelineRun, RunStatus, Step, StepStatus, Value, read_parameter
from core.workflow.room import MAX_DEFINITION_BYTES
from ui.commands import house, out, running_inference, whose

LOOK_EVERY_S = 0.2
FAILED = 1
"""The exit code of a run that failed."""
COLOURS = {RunStatus.SUCCEEDED: "green", RunStatus.FAILED: "red", StepStatus.SUCCEEDED: "green", StepStatus.CACHED: "green", StepStatus.FAILED: "red"}


async def run(settings: Settings, args: argparse.Namespace) -> int:
    """Runs a pipeline and follows it to its end. The exit code: 0 if it succeeded, otherwise FAILED. Stopping the command ends the run."""
    async with house(settings) as (app, alone):
        user = await whose(app, args.user)
        pipeline = await app.pipelines.pipeline(user, args.pipeline)
        if alone and await app.pipelines.borrows(user, pipeline):
            raise BadInput("This pipeline uses Hearth's API, and no Hearth is running.", hint="Start it with `hearth up`, and run this command beside it.")
        parameters, files = await _given(app, user, pipeline, args.parameters, args.file)
        started = await app.pipelines.start(user, pipeline.id, parameters, files=files, cause=Cause.COMMAND, experiment=args.experiment, cache=args.cache)
        try:
            ended = await _followed(app, user, started)
        except asyncio.CancelledError:
            out.print("Ending the run.")
            asyncio.current_task().uncancel()  # type: ignore[union-attr]  # a coroutine always runs in a task
            ended = await app.pipelines.terminate(user, started.id)
            _tell(ended)
            raise
        _tell(ended)
        told = False
        while app.pipelines.at_work:  # that of this run is over in a moment
            await asyncio.sleep(LOOK_EVERY_S)
            if app.pipelines.at_work and not told:
                out.print("Other runs are at work here; the command ends with them. Ctrl+C interrupts them.")
                told = True
    return 0 if ended.status is RunStatus.SUCCEEDED else FAILED


async def pipelines(settings: Settings, args: argparse.Namespace) -> None:
    """Lists the pipelines that the user may run, or adds a version. Raises: NotFound, NotAllowed, BadInput."""
    async with open_app(settings, local=running_inference(settings)) as app:
        user = await whose(app, args.user)
        if args.action == "list":
            await _list(app, user)
            return
        if not (args.name and args.file and args.engine):
            raise BadInput("Say which pipeline, and what it is written in.", hint="hearth pipelines add NAME FILE --engine kubeflow|argo")
        made = await app.pipelines.define(user, args.name, Engine(args.engine), await _text(args.file))
        out.print(f"[green]✓[/] {made.id} can be run.")


async def _given(app: App, user: User, pipeline: Pipeline, typed: Sequence[str], files: Sequence[str]) -> tuple[dict[str, Value], dict[str, InputFile]]:
    """The parameters by name, each read as its type asks, and those that get a whole file. Raises: BadInput."""
    known = {p.name: p for p in (await app.pipelines.spec(user, pipeline)).parameters}
    texts = dict(_pair(one, "KEY=VALUE") for one in typed)
    whole = {name: await _file(Path(text[1:])) for name, text in texts.items() if text.startswith("@") and not text.startswith("@@")}
    texts = {name: text[1:] if text.startswith("@@") else text for name, text in texts.items() if name not in whole}
    for one in files:
        name, path = _pair(one, "--file KEY=PATH")
        texts[name] = await _text(Path(path))
    return {name: read_parameter(known[name] if name in known else Parameter(name), text) for name, text in texts.items()}, whole


def _pair(typed: str, form: str) -> tuple[str, str]:
    name, equals, value = typed.partition("=")
    if not (name and equals):
        raise BadInput(f"{typed!r} is no parameter.", hint=f"Write {form}.")
    return name, value


async def _file(path: Path) -> InputFile:
    if not await anyio.Path(path).is_file():
        raise BadInput(f"{path} is no file.", hint="A value that begins with @ names a file; write @@ for an @ of its own.")
    return InputFile(path, path.name)


async def _text(path: Path) -> str:
    try:
        async with await anyio.open_file(path, "rb") as file:
            content = await file.read(MAX_DEFINITION_BYTES + 1)  # it may have no end
        if len(content) > MAX_DEFINITION_BYTES:
            raise BadInput(f"{path} has more than {MAX_DEFINITION_BYTES >> 20} MB.", hint="Keep data in collections or objects, not in a pipeline.")
        return content.decode("utf-8")
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}.", hint="Name a file that is there.") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no text.", hint="Name a file in UTF-8.") from error


async def _followed(app: App, user: User, run: PipelineRun) -> PipelineRun:
    """The run once it is over, shown as it goes: a table that is drawn anew in a terminal, lines elsewhere."""
    begun, told = time.monotonic(), dict[str, str]()
    ahead = await app.pipelines.ahead_of(user, run)
    out.print(f"Run {run.id} of {run.pipeline_id} waits for its turn" + (f", behind {ahead} others." if ahead else "."), markup=False)
    with Live(console=out, auto_refresh=False) if out.is_terminal else nullcontext() as live:
        while True:
            now = await app.pipelines.run(user, run.id)
            steps = await _steps(app, user, run.id)
            if isinstance(live, Live):
                live.update(_table(now, steps, time.monotonic() - begun), refresh=True)
            else:
                _say_news(steps, told)
            if now.status.over:
                return now
            await asyncio.sleep(LOOK_EVERY_S)


async def _steps(app: App, user: User, run_id: str) -> list[Step]:
    return [step async for page in every_page(lambda cursor: app.pipelines.steps(user, run_id, limit=1000, cursor=cursor)) for step in page]


def _table(run: PipelineRun, steps: Sequence[Step], waited_s: float) -> Table:
    """A line for each step; when there are more than the terminal has, those that are not over and the latest."""
    table = Table("step", "state", "seconds", box=None, pad_edge=False)
    room = max(3, out.height - 4)
    shown = steps if len(steps) <= room else sorted(steps, key=lambda step: not step.status.over)[-room:]
    if len(shown) < len(steps):
        table.add_row(f"… {len(steps) - len(shown)} others", "", "")
    for step in shown:
        table.add_row(step.name, _coloured(step.status), _seconds(step.started_at, step.ended_at))
    table.add_row("the run", _coloured(run.status), _seconds(run.started_at, run.completed_at) if run.started_at else f"{waited_s:.1f} waiting")
    return table


def _say_news(steps: Sequence[Step], told: dict[str, str]) -> None:
    """A line for each step that has changed. told: the state of each when it was last told."""
    for step in steps:
        if told.get(step.key) != step.status:
            told[step.key] = step.status
            took = f" after {_seconds(step.started_at, step.ended_at)} s" if step.status.over else ""
            out.print(f"{step.name}: {step.status.value}{took}" + (f". {step.error}" if step.error else ""), markup=False, soft_wrap=True)


def _tell(run: PipelineRun) -> None:
    """How it ended."""
    took = f" after {_seconds(run.started_at, run.completed_at)} s" if run.started_at else ""
    out.print(f"{_coloured(run.status)}{took}" + (":" if run.reason else "."), end=" " if run.reason else "\n")
    if run.reason:
        out.print(run.reason, markup=False, soft_wrap=True)
    if run.metrics:
        out.print(_measured(run.metrics), markup=False, soft_wrap=True)


def _measured(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in metrics.items())


def _coloured(status: RunStatus | StepStatus) -> str:
    return f"[{COLOURS[status]}]{status.value}[/]" if status in COLOURS else status.value


def _seconds(begun: datetime | None, ended: datetime | None) -> str:
    return "" if begun is None else f"{((ended or datetime.now(UTC)) - begun).total_seconds():.1f}"


async def _list(app: App, user: User) -> None:
    table = Table("pipeline", "version", "engine", "shared", "runs", "last run", "state", box=None, pad_edge=False)
    async for page in every_page(lambda cursor: app.pipelines.pipelines(user, cursor=cursor)):
        for one in page:
            last = f"{one.last_run_at:%Y-%m-%d %H:%M}" if one.last_run_at else ""
            p = one.pipeline
            table.add_row(
                p.name, str(p.version), p.engine.value, "yes" if p.shared else "", str(one.runs), last, one.last_status.value if one.last_status else ""
            )
    out.print(table if table.row_count else "There is no pipeline yet. `hearth pipelines add NAME FILE --engine kubeflow` adds one.")
