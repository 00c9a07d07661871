"""Pipelines, runs, experiments and triggers over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Annotated, TypeVar

from fastapi import APIRouter, Form, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import UploadFile
from starlette.responses import Response

from core.errors import BadInput
from core.workflow.inputs import InputFile, put_down
from core.workflow.model import Cause, RunStatus
from core.workflow.room import LOG_BYTES, MOST_LISTED
from core.workflow.shelf import CREATED, RunFilter
from ui.api.auth import Hearth, KnownFirst, Who
from ui.api.files import file_response
from ui.api.pipeline_shapes import (
    AgainOut,
    BaselineIn,
    DefinitionIn,
    EnabledIn,
    ExperimentOut,
    ListedOut,
    LogOut,
    PipelineIn,
    PipelineOut,
    RerunIn,
    RunIn,
    RunOut,
    SharedIn,
    SpecOut,
    StepOut,
    Time,
    TriggerIn,
    TriggerOut,
)
from ui.api.shapes import PageOut, ReceiptOut

router = APIRouter(prefix="/v1", tags=["pipelines"], route_class=KnownFirst)
Limit = Annotated[int, Query(ge=1, le=MOST_LISTED)]
MAX_OFFSET = 1 << 50
In = TypeVar("In", bound=BaseModel)
AS_JSON = "What is sent without files, as JSON."


@router.get("/pipelines", summary="The pipelines that you may run")
async def pipelines(who: Who, app: Hearth, limit: Limit = 50, cursor: str = "") -> PageOut:
    """By name: the latest version of each, with how its runs went."""
    page = await app.pipelines.pipelines(who.user, limit=limit, cursor=cursor)
    return PageOut(items=[ListedOut.listed(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/pipelines", status_code=201, summary="Define the next version of a pipeline")
async def define(body: PipelineIn, who: Who, app: Hearth) -> PipelineOut:
    """For admins: a pipeline runs code on this machine. The same definition as the last version's is that one."""
    return PipelineOut.of(await app.pipelines.define(who.user, body.name, body.engine, body.definition))


@router.post("/pipelines/validate", summary="Look at a definition")
async def validate(body: DefinitionIn, who: Who, app: Hearth) -> SpecOut:
    """Its parameters, its graph, and what will be otherwise here than on a cluster. Nothing is kept and nothing is run."""
    return SpecOut.of(await app.pipelines.validate(who.user, body.engine, body.definition))


@router.get("/pipelines/{pipeline}", summary="One version of a pipeline")
async def pipeline(pipeline: str, who: Who, app: Hearth) -> PipelineOut:
    """By its id, or the latest by its name; with the definition, byte for byte, and what it says."""
    found = await app.pipelines.pipeline(who.user, pipeline)
    try:
        return PipelineOut.of(found, whole=True, spec=await app.pipelines.spec(who.user, found))
    except BadInput as error:
        return PipelineOut.of(found, whole=True, problem=str(error))


@router.get("/pipelines/{pipeline}/versions", summary="The versions of a pipeline")
async def versions(pipeline: str, who: Who, app: Hearth, limit: Limit = 50, cursor: str = "") -> PageOut:
    """Latest first."""
    found = await app.pipelines.pipeline(who.user, pipeline)
    page = await app.pipelines.versions(who.user, found.name, limit=limit, cursor=cursor)
    return PageOut(items=[PipelineOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.patch("/pipelines/{pipeline}", summary="Share a pipeline, or no more")
async def share(pipeline: str, body: SharedIn, who: Who, app: Hearth) -> PipelineOut:
    """For admins. All its versions: whoever may run one may run each."""
    name = (await app.pipelines.pipeline(who.user, pipeline)).name
    await app.pipelines.share(who.user, name, body.shared)
    return PipelineOut.of(await app.pipelines.pipeline(who.user, pipeline))


@router.delete("/pipelines/{pipeline}", summary="Delete a version of a pipeline")
async def delete_pipeline(pipeline: str, who: Who, app: Hearth) -> ReceiptOut:
    """For admins: by its id, or the latest by its name. One that has runs is refused."""
    found = await app.pipelines.pipeline(who.user, pipeline)
    return ReceiptOut.of(await app.pipelines.delete_pipeline(who.user, found.id))


@router.post("/runs", status_code=202, summary="Run a pipeline")
async def start(body: RunIn, who: Who, app: Hearth) -> RunOut:
    """Accepted when this answers: it waits for its turn, and goes on by itself."""
    made = await app.pipelines.start(who.user, body.pipeline, body.parameters, cause=Cause.API, experiment=body.experiment, run_id=body.id, cache=body.cache)
    return RunOut.of(made, ahead=await app.pipelines.ahead_of(who.user, made))


@router.post("/runs/with-files", status_code=202, summary="Run a pipeline with files")
async def start_with_files(run: Annotated[str, Form(description=AS_JSON)], request: Request, who: Who, app: Hearth) -> RunOut:
    """A form: `run`, as JSON, and for each parameter that gets a file a part of the parameter's name.

    Each file is kept with its run, and its address is the parameter's value; a step reads it at /v1/operations/objects.
    """
    body = _read(run, RunIn)
    async with _files(request) as given:
        made = await app.pipelines.start(
            who.user, body.pipeline, body.parameters, files=given, cause=Cause.API, experiment=body.experiment, run_id=body.id, cache=body.cache
        )
    return RunOut.of(made, whole=True, ahead=await app.pipelines.ahead_of(who.user, made))


@router.get("/runs", summary="Your runs")
async def runs(
    who: Who,
    app: Hearth,
    pipeline: str = "",
    status: RunStatus | None = None,
    experiment: str = "",
    mine: bool = False,
    since: Time | None = None,
    sort: str = CREATED,
    descending: bool = True,
    limit: Limit = 50,
    cursor: str = "",
) -> PageOut:
    """Of an admin everybody's, unless `mine`. pipeline: a name, or an id with its version. sort: created, duration, or a metric's name."""
    within = (await app.pipelines.experiment(who.user, experiment)).id if experiment else ""
    wanted = RunFilter(pipeline, status, within, who.user.id if mine else "", since, sort, descending)
    page = await app.pipelines.runs(who.user, wanted, limit=limit, cursor=cursor)
    return PageOut(items=[RunOut.of(run) for run in page.items], next_cursor=page.next_cursor)


@router.get("/runs/{run_id}", summary="One run")
async def run(run_id: str, who: Who, app: Hearth) -> RunOut:
    """With its artifacts and, while it waits, how many wait before it."""
    found = await app.pipelines.run(who.user, run_id)
    waiting = found.status is RunStatus.PENDING
    return RunOut.of(found, whole=True, ahead=await app.pipelines.ahead_of(who.user, found) if waiting else None)


@router.get("/runs/{run_id}/steps", summary="The steps of a run")
async def steps(run_id: str, who: Who, app: Hearth, limit: Annotated[int, Query(ge=1, le=1000)] = 200, cursor: str = "") -> PageOut:
    """In the order in which they began, each with its attempts."""
    page = await app.pipelines.steps(who.user, run_id, limit=limit, cursor=cursor)
    return PageOut(items=[StepOut.of(step) for step in page.items], next_cursor=page.next_cursor)


@router.get("/runs/{run_id}/log", summary="A part of the log of a step")
async def step_log(
    run_id: str,
    who: Who,
    app: Hearth,
    step: Annotated[str, Query(description="The step's key.")] = "",
    attempt: Annotated[int, Query(ge=0, le=10_000, description="Left out, the latest.")] = 0,
    offset: Annotated[int, Query(ge=-MAX_OFFSET, le=MAX_OFFSET, description="In bytes; a negative one counts from the end.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1 << 20, description="In bytes.")] = LOG_BYTES,
) -> LogOut:
    """Also while it is being written: ask again from `next_offset` until it is over."""
    known = await app.pipelines.step(who.user, run_id, step)
    number = attempt or (known.attempts[-1].number if known.attempts else 0)
    return LogOut.of(await app.pipelines.log(who.user, run_id, step, number, offset=offset, limit=limit))


@router.get("/runs/{run_id}/artifacts/{artifact_id}", summary="The bytes of an artifact", response_model=None)
async def artifact(run_id: str, artifact_id: str, who: Who, app: Hearth) -> Response:
    """As a file. Only what can't carry a script is shown in place."""
    found, path = await app.pipelines.artifact(who.user, run_id, artifact_id)
    return file_response(path, found.name, str(found.metadata.get("media_type", "")))


@router.post("/runs/{run_id}/terminate", summary="End a run")
async def terminate(run_id: str, who: Who, app: Hearth) -> RunOut:
    """It has failed, with that as its reason, when this answers. One that was over before stays as it is."""
    return RunOut.of(await app.pipelines.terminate(who.user, run_id))


@router.get("/runs/{run_id}/rerun", summary="What a rerun begins with")
async def again(run_id: str, who: Who, app: Hearth, latest: bool = False) -> AgainOut:
    """The parameters of a version, those of the run that still fit it, and those that don't. latest: the latest version instead of the run's own."""
    version = (await app.pipelines.run(who.user, run_id)).pipeline_name if latest else ""
    return AgainOut.of(await app.pipelines.again(who.user, run_id, version))


@router.post("/runs/{run_id}/rerun", status_code=202, summary="Run it once more")
async def rerun(run_id: str, body: RerunIn, who: Who, app: Hearth) -> RunOut:
    """Another run with the same parameters, but for those that are given."""
    made = await app.pipelines.rerun(who.user, run_id, body.parameters, latest=body.latest, drop=body.drop, experiment=body.experiment, cache=body.cache)
    return RunOut.of(made)


@router.post("/runs/{run_id}/rerun/with-files", status_code=202, summary="Run it once more with other files")
async def rerun_with_files(run_id: str, run: Annotated[str, Form(description=AS_JSON)], request: Request, who: Who, app: Hearth) -> RunOut:
    """A form, as for a first run. Files that aren't given are those of the other run, copied."""
    body = _read(run, RerunIn)
    async with _files(request) as given:
        made = await app.pipelines.rerun(
            who.user, run_id, body.parameters, files=given, latest=body.latest, drop=body.drop, experiment=body.experiment, cache=body.cache
        )
    return RunOut.of(made, whole=True)


def _read(text: str, shape: type[In]) -> In:
    """The part of a form that is JSON. Raises: RequestValidationError."""
    try:
        return shape.model_validate_json(text)
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", "run", *one["loc"])} for one in error.errors()]) from error


@asynccontextmanager
async def _files(request: Request) -> AsyncIterator[dict[str, InputFile]]:
    """The files of a form by the names of their parts, as files of this machine while this lasts. Raises: NoSpace."""
    parts = {name: part for name, part in (await request.form()).items() if isinstance(part, UploadFile)}
    with ExitStack() as stack:
        yield await asyncio.to_thread(stack.enter_context, put_down({name: (part.file, part.filename or name) for name, part in parts.items()}))


@router.delete("/runs/{run_id}", summary="Delete a run that is over")
async def delete_run(run_id: str, who: Who, app: Hearth) -> ReceiptOut:
    """With its steps, artifacts and events; the receipt counts what is left (nothing)."""
    return ReceiptOut.of(await app.pipelines.delete_run(who.user, run_id))


@router.get("/experiments", summary="All experiments, latest first")
async def experiments(who: Who, app: Hearth, limit: Limit = 50, cursor: str = "") -> PageOut:
    """Everybody may add runs to each."""
    page = await app.pipelines.experiments(who.user, limit=limit, cursor=cursor)
    return PageOut(items=[ExperimentOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/experiments/{experiment}", summary="One experiment")
async def experiment(experiment: str, who: Who, app: Hearth) -> ExperimentOut:
    """By its id or its name, with those of its latest 200 runs that you may see, and their metrics."""
    found = await app.pipelines.experiment(who.user, experiment)
    page = await app.pipelines.runs(who.user, RunFilter(experiment_id=found.id), limit=MOST_LISTED)
    return ExperimentOut.of(found, page.items)


@router.put("/experiments/{experiment}/baseline", summary="Choose what the runs of an experiment are compared with")
async def baseline(experiment: str, body: BaselineIn, who: Who, app: Hearth) -> ExperimentOut:
    """For admins."""
    found = await app.pipelines.experiment(who.user, experiment)
    await app.pipelines.set_baseline(who.user, found.id, body.run_id)
    return ExperimentOut.of(await app.pipelines.experiment(who.user, found.id))


@router.delete("/experiments/{experiment}", summary="Delete an experiment")
async def delete_experiment(experiment: str, who: Who, app: Hearth) -> ReceiptOut:
    """For admins. Its runs stay."""
    found = await app.pipelines.experiment(who.user, experiment)
    return ReceiptOut.of(await app.pipelines.delete_experiment(who.user, found.id))


@router.get("/triggers", summary="Your triggers, the oldest first")
async def triggers(who: Who, app: Hearth, pipeline: str = "", limit: Limit = 50, cursor: str = "") -> PageOut:
    """Of an admin everybody's. pipeline: a name."""
    page = await app.triggers.triggers(who.user, pipeline_name=pipeline, limit=limit, cursor=cursor)
    return PageOut(items=[TriggerOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/triggers", status_code=201, summary="Let something start runs by itself")
async def add_trigger(body: TriggerIn, who: Who, app: Hearth) -> TriggerOut:
    """In your name and with your rights, of the version that is the latest by then. Files that are there already start nothing."""
    return TriggerOut.of(await app.triggers.add(who.user, body.pipeline, body.kind, body.watched, body.parameters, experiment=body.experiment))


@router.get("/triggers/{trigger_id}", summary="One trigger")
async def trigger(trigger_id: str, who: Who, app: Hearth) -> TriggerOut:
    """When it comes round next, and why the last time made no run."""
    return TriggerOut.of(await app.triggers.trigger(who.user, trigger_id))


@router.patch("/triggers/{trigger_id}", summary="Switch a trigger on or off")
async def enable(trigger_id: str, body: EnabledIn, who: Who, app: Hearth) -> TriggerOut:
    """What it misses while it is off starts nothing."""
    return TriggerOut.of(await app.triggers.enable(who.user, trigger_id, body.enabled))


@router.delete("/triggers/{trigger_id}", status_code=204, summary="Delete a trigger")
async def delete_trigger(trigger_id: str, who: Who, app: Hearth) -> None:
    """Its runs stay."""
    await app.triggers.delete(who.user, trigger_id)
