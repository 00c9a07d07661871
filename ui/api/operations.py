"""What admins do without the console: sweeps, backups, other versions of a collection's vectors, folders taken in.

Everybody starts evaluations, and reads what their runs were given.

Collections are the caller's own. It is what pipelines that ship with Hearth are made of: each step is one of these.
"""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from core.app import App
from core.backups import Backup
from core.console.versions import Compared
from core.errors import NotFound
from core.rag.model import CollectionVersion, FoundChunk
from core.users.model import Admin
from core.workflow.evaluation import MOST_SETTINGS, Promoted, Setting
from core.workflow.model import Experiment
from ui.api.auth import Hearth, KnownFirst, Who
from ui.api.files import file_response
from ui.api.shapes import CollectionOut, PageOut, ReceiptOut, Text

router = APIRouter(prefix="/v1/operations", tags=["operations"], route_class=KnownFirst)
SWEEP_PATIENCE_S = 600.0


async def the_admin(who: Who, app: Hearth) -> Admin:
    """The caller, as an admin. Raises: NotFound for everybody else."""
    return app.users.admin_of(who)


By = Annotated[Admin, Depends(the_admin)]


class DueOut(BaseModel):
    """What a sweep at that moment would remove, by kind."""

    at: datetime
    counts: dict[str, int]


class BackupsOut(BaseModel):
    """The backups, latest first. making: how far the one is that is being made, 0 to 1.   problem: why the last one failed, "" if it didn't."""

    items: list[Backup]
    making: float | None
    problem: str


class VersionIn(BaseModel):
    """A version to begin."""

    embedding_model: Text = Field(min_length=1, max_length=200)


class FolderIn(BaseModel):
    """A folder of the server, or one in the object store, as s3://bucket/folder/."""

    folder: Text = Field(min_length=1, max_length=4000, description="HEARTH_SYNC_FOLDERS names the folders of the server that may be read.")


class FolderOut(BaseModel):
    """How far the look at a folder, or taking it in, is. counts: files by what they are to the collection.   total: null while it isn't known."""

    folder: str
    doing: str
    done: int
    total: int | None
    counts: dict[str, int]
    compared: bool
    over: bool
    problem: str


class EvaluationIn(BaseModel):
    """Settings to compare over a golden set: a run for each."""

    golden_set: Text
    collection: Text
    settings: list[Setting] = Field(min_length=1, max_length=MOST_SETTINGS)
    experiment: Text = Field("", description="Its name; left out, one is made up.")
    answers: bool = Field(False, description="Whether each question is answered too, to see how much of what is quoted stands in its source.")


class PromotionIn(BaseModel):
    """A run of evaluate-rag whose settings the collection takes over."""

    run_id: Text


@router.post("/sweep", summary="Remove what is past its time")
async def sweep(by: By, app: Hearth, dry_run: bool = False) -> ReceiptOut | DueOut:
    """dry_run: nothing is removed; it says what would be."""
    if dry_run:
        due = (await app.console.keeping.rules(by)).due
        return DueOut(at=due.at, counts=dict(due.counts))
    return ReceiptOut.of(await app.console.keeping.sweep(by, patience_s=SWEEP_PATIENCE_S))


@router.get("/backups", summary="The backups")
async def backups(by: By, app: Hearth) -> BackupsOut:
    """With how far the one is that is being made."""
    state = await app.console.keeping.backup_state(by)
    return BackupsOut(items=list(await app.console.keeping.backups(by)), making=state.done, problem=state.problem)


@router.post("/backups", status_code=202, summary="Make a backup")
async def back_up(by: By, app: Hearth) -> BackupsOut:
    """It is being made when this answers; the list says how far it is."""
    await app.console.keeping.back_up(by)
    return await backups(by, app)


@router.get("/collections/{name}/versions", summary="The versions of a collection's vectors, latest first")
async def versions(name: str, by: By, app: Hearth) -> PageOut:
    """5 at most."""
    return PageOut(items=list(await app.console.versions.of(by, await _own(by, app, name))))


@router.post("/collections/{name}/versions", status_code=202, summary="Embed a collection with another model")
async def begin_version(name: str, body: VersionIn, by: By, app: Hearth) -> CollectionVersion:
    """The next version is made beside the one that is searched."""
    return await app.console.versions.begin(by, await _own(by, app, name), body.embedding_model)


@router.get("/collections/{name}/versions/{number}", summary="One version")
async def version(name: str, number: int, by: By, app: Hearth) -> CollectionVersion:
    """How far it is."""
    found = await app.console.versions.of(by, await _own(by, app, name))
    if (one := next((v for v in found if v.version == number), None)) is None:
        raise NotFound("There is no such version of that collection.", hint="It may have been removed meanwhile.")
    return one


@router.delete("/collections/{name}/versions/{number}", summary="Remove a version that is not searched")
async def drop_version(name: str, number: int, by: By, app: Hearth) -> ReceiptOut:
    """The receipt counts what is left (nothing)."""
    return ReceiptOut.of(await app.console.versions.drop(by, await _own(by, app, name), number))


@router.post("/collections/{name}/versions/{number}/serve", summary="Let a version be searched")
async def serve_version(name: str, number: int, by: By, app: Hearth) -> CollectionOut:
    """At once; the one before stays, to go back to."""
    return CollectionOut.of(await app.console.versions.serve(by, await _own(by, app, name), number))


@router.get("/collections/{name}/compare", summary="What each of two versions finds")
async def compare(name: str, first: int, second: int, by: By, app: Hearth) -> Compared:
    """By the questions of golden sets, or the passages' own first sentences where there are too few. 429 while it is being compared: ask again."""
    return await app.console.versions.compare(by, await _own(by, app, name), first, second)


@router.get("/collections/{name}/folder", summary="How far a folder is taken in")
async def folder(name: str, by: By, app: Hearth) -> FolderOut:
    """The one that goes on, or the last one."""
    sync = await app.console.folders.sync(by, await _own(by, app, name))
    if sync is None:
        raise NotFound("No folder was compared with this collection.", hint="Begin with one.")
    counts = {kind.value: count for kind, count in sync.counts.items()}
    return FolderOut(folder=sync.folder, counts=counts, **{k: getattr(sync, k) for k in ("doing", "done", "total", "compared", "over", "problem")})


@router.post("/collections/{name}/folder", status_code=202, summary="Compare a folder with a collection")
async def compare_folder(name: str, body: FolderIn, by: By, app: Hearth) -> FolderOut:
    """It goes on by itself. 429 while a folder is read."""
    await app.console.folders.compare(by, await _own(by, app, name), body.folder)
    return await folder(name, by, app)


@router.post("/collections/{name}/folder/take-in", status_code=202, summary="Take in what is new and changed")
async def take_folder_in(name: str, by: By, app: Hearth) -> FolderOut:
    """Of the folder that was compared. Each file becomes a job."""
    await app.console.folders.take_in(by, await _own(by, app, name))
    return await folder(name, by, app)


@router.get("/objects", summary="The bytes at an address that a step was given", response_model=None)
async def stored(who: Who, app: Hearth, uri: Annotated[Text, Query(min_length=1, max_length=4000)]) -> Response:
    """For everybody: what their own runs were given or have made. For admins also what others have put into the object store, where files start runs."""
    name, media_type, path = await app.pipelines.stored(who.user, uri)
    return file_response(path, name, media_type)


@router.get("/golden-sets", summary="The golden sets about your own collections, with how many rows each has")
async def golden_sets(who: Who, app: Hearth) -> PageOut:
    """For everybody: rows about other people's collections don't count."""
    return PageOut(items=[{"name": name, "rows": rows} for name, rows in (await app.evaluation.golden_sets(who.user)).items()])


@router.get("/golden-sets/{name}", summary="The rows of a golden set about your own collections")
async def golden_rows(name: str, who: Who, app: Hearth, limit: int = Query(50, ge=1, le=200), cursor: str = "") -> PageOut:
    """For everybody, with the text of the right passages; those that are gone are left out."""
    page, passages = await app.evaluation.questions(who.user, name, limit=limit, cursor=cursor)
    items = [
        {
            "id": row.id,
            "question": row.question,
            "collections": row.collections,
            "refuse": row.refuse,
            "passages": [_passage(passages[chunk_id]) for chunk_id in row.chunk_ids if chunk_id in passages],
        }
        for row in page.items
    ]
    return PageOut(items=items, next_cursor=page.next_cursor)


@router.post("/evaluations", status_code=202, summary="Compare retrieval settings over a golden set")
async def evaluate(body: EvaluationIn, who: Who, app: Hearth) -> Experiment:
    """For everybody, about their own collections. Starts a run of evaluate-rag for each setting, in the caller's name, all in one experiment."""
    return await app.evaluation.evaluate(who.user, body.golden_set, body.collection, body.settings, experiment=body.experiment, answers=body.answers)


@router.post("/promotions", summary="Take a run's settings over")
async def promote(body: PromotionIn, who: Who, app: Hearth) -> Promoted:
    """For everybody, of their own runs. What can be changed at once is changed; the answer says what needs more."""
    return await app.evaluation.promote(who.user, body.run_id)


async def _own(by: Admin, app: App, name: str) -> str:
    """The id of the caller's collection of that name. Raises: NotFound."""
    return (await app.library.collection(by.user, name)).id


def _passage(found: FoundChunk) -> dict[str, Any]:
    """A right passage: where it stands in its document's text, and the text itself."""
    at = found.chunk.metadata
    return {
        "chunk_id": found.chunk.id,
        "document_id": found.chunk.document_id,
        "title": found.title,
        "collection": found.collection,
        "start": at.start,
        "end": at.end,
        "content": found.chunk.content,
    }
