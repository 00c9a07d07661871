"""Collections and documents over HTTP."""

import tempfile
from pathlib import Path, PurePosixPath
from typing import Annotated

import anyio
import msgspec
from fastapi import APIRouter, File, Query, UploadFile
from starlette.responses import Response

from core.rag.library import MAX_WIDTH_PX, MIN_WIDTH_PX
from ui.api.auth import Hearth, KnownFirst, Who
from ui.api.files import file_response
from ui.api.shapes import (
    ChunkOut,
    CollectionChangeIn,
    CollectionIn,
    CollectionOut,
    DocumentOut,
    JobOut,
    PageOut,
    PausedOut,
    QueryIn,
    ReceiptOut,
    TakenInOut,
    TextIn,
    UrlIn,
    result_out,
)
from ui.errors import not_stored

router = APIRouter(prefix="/v1", tags=["documents"], route_class=KnownFirst)
files = APIRouter(include_in_schema=False, route_class=KnownFirst)
COPY_BYTES = 1 << 20


@router.get("/collections", summary="Your collections with their counts")
async def collections(who: Who, app: Hearth, limit: int = Query(50, ge=1, le=500), cursor: str = "") -> PageOut:
    """By name."""
    page = await app.library.collections(who.user, limit=limit, cursor=cursor)
    return PageOut(items=[CollectionOut.of(c, dict(counts)) for c, counts in page.items], next_cursor=page.next_cursor)


@router.post("/collections", status_code=201, summary="Make a collection")
async def create(body: CollectionIn, who: Who, app: Hearth) -> CollectionOut:
    """It is pinned to an embedding model, the present one if none is named, and to its chunk size."""
    model = body.embedding_model.strip()
    return CollectionOut.of(await app.library.create(who.user, body.name, chunk_chars=body.chunk_chars, rerank_depth=body.rerank_depth, model=model))


@router.get("/collections/{name}", summary="One collection")
async def collection(name: str, who: Who, app: Hearth) -> CollectionOut:
    """What it pins."""
    return CollectionOut.of(await app.library.collection(who.user, name))


@router.patch("/collections/{name}", summary="Change a collection's rerank depth")
async def change(name: str, body: CollectionChangeIn, who: Who, app: Hearth) -> CollectionOut:
    """From the next question on."""
    return CollectionOut.of(await app.library.set_rerank_depth(who.user, name, body.rerank_depth))


@router.delete("/collections/{name}", summary="Delete a collection with all its documents")
async def delete_collection(name: str, who: Who, app: Hearth) -> ReceiptOut:
    """The receipt counts what is left (nothing)."""
    return ReceiptOut.of(await app.library.delete_collection(who.user, name))


@router.get("/collections/{name}/documents", summary="The documents of a collection, newest first")
async def documents(name: str, who: Who, app: Hearth, limit: int = Query(50, ge=1, le=500), cursor: str = "") -> PageOut:
    """Without their text."""
    page = await app.library.documents(who.user, name, limit=limit, cursor=cursor)
    return PageOut(items=[DocumentOut.of(d) for d in page.items], next_cursor=page.next_cursor)


@router.post("/collections/{name}/documents", status_code=202, summary="Upload a document")
async def upload(name: str, file: Annotated[UploadFile, File()], who: Who, app: Hearth) -> JobOut | TakenInOut:
    """Accepted when this answers: the original is stored, the job goes on by itself.

    The same bytes again give the same document; other bytes under the same file name are its next version, and the old one is searched until that is ready.
    A zip archive becomes its files, each a document with a job; the answer then counts them and says what was left out.
    """
    with tempfile.TemporaryDirectory(prefix="hearth-upload-", ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "upload"
        try:
            async with await anyio.open_file(path, "wb") as out:
                while piece := await file.read(COPY_BYTES):
                    await out.write(piece)
        except OSError as error:
            raise not_stored(error) from error
        taken = await app.library.take_in(who.user, name, file.filename or "document", path)
    return TakenInOut.of(taken) if taken.archive else JobOut.of(taken.jobs[0])


@router.post("/collections/{name}/texts", status_code=202, summary="Take in a pasted text")
async def paste(name: str, body: TextIn, who: Who, app: Hearth) -> JobOut:
    """A document of that title; another text under the same title is its next version."""
    return JobOut.of(await app.library.paste(who.user, name, body.title, body.text))


@router.post("/collections/{name}/urls", status_code=202, summary="Take in a page by its address")
async def fetch(name: str, body: UrlIn, who: Who, app: Hearth) -> JobOut:
    """Only where HEARTH_URL_INGEST is on, and only from public addresses. The same address again is the next version, if the page has changed."""
    return JobOut.of(await app.library.fetch(who.user, name, body.url))


@router.post("/collections/{name}/query", summary="Search a collection", response_model=None)
async def query(name: str, body: QueryIn, who: Who, app: Hearth) -> Response:
    """A RAGResult with every stage's ranks, scores and milliseconds."""
    result = await app.retrieval.search(who.user, body.query_of(name))
    return Response(msgspec.json.encode(result_out(result)), media_type="application/json")


@router.get("/documents/{document_id}", summary="One document with its text")
async def document(document_id: str, who: Who, app: Hearth) -> DocumentOut:
    """With its text."""
    return DocumentOut.of(await app.library.document(who.user, document_id), whole=True)


@router.get("/documents/{document_id}/chunks", summary="The passages of a document, in reading order")
async def chunks(document_id: str, who: Who, app: Hearth, limit: int = Query(50, ge=1, le=500), cursor: str = "") -> PageOut:
    """Of its ready version; none before it has one."""
    page = await app.library.chunks(who.user, document_id, limit=limit, cursor=cursor)
    return PageOut(items=[ChunkOut.of(c) for c in page.items], next_cursor=page.next_cursor)


@router.delete("/documents/{document_id}", summary="Delete a document")
async def delete_document(document_id: str, who: Who, app: Hearth) -> ReceiptOut:
    """From every store; the receipt counts what is left (nothing)."""
    return ReceiptOut.of(await app.library.delete_document(who.user, document_id))


@router.get("/jobs", summary="Your ingest jobs, newest first")
async def jobs(who: Who, app: Hearth, collection: str = "", unfinished: bool = False, limit: int = Query(50, ge=1, le=500), cursor: str = "") -> PageOut:
    """unfinished: only those that are still on their way."""
    page = await app.library.jobs(who.user, collection=collection, unfinished=unfinished, limit=limit, cursor=cursor)
    return PageOut(items=[JobOut.of(j) for j in page.items], next_cursor=page.next_cursor)


@router.get("/jobs/{job_id}", summary="One ingest job")
async def job(job_id: str, who: Who, app: Hearth) -> JobOut:
    """Stage, percent and, if it failed, why."""
    return JobOut.of(await app.library.job(who.user, job_id))


@router.post("/jobs/pause", summary="Pause your queue")
async def pause(who: Who, app: Hearth) -> PausedOut:
    """The document that is being taken in is finished; no other is begun. What you upload meanwhile waits."""
    await app.library.pause(who.user)
    return PausedOut(paused=True)


@router.post("/jobs/resume", summary="Go on with your queue")
async def resume(who: Who, app: Hearth) -> PausedOut:
    """After a pause."""
    await app.library.resume(who.user)
    return PausedOut(paused=False)


@router.post("/jobs/{job_id}/retry", summary="Try a failed job again")
async def retry(job_id: str, who: Who, app: Hearth) -> JobOut:
    """From the original as it was uploaded."""
    return JobOut.of(await app.library.retry(who.user, job_id))


@router.post("/jobs/{job_id}/cancel", summary="Cancel a job that waits or runs")
async def cancel(job_id: str, who: Who, app: Hearth) -> JobOut:
    """Its version of the document is dropped; an earlier one that is ready stays."""
    return JobOut.of(await app.library.cancel(who.user, job_id))


@files.get("/files/{document_id}")
async def original(document_id: str, who: Who, app: Hearth) -> Response:
    """The original of a document, for its owner. Only what can't carry a script is shown in place, and even that in a sandbox."""
    found, path = await app.library.original(who.user, document_id)
    shown = PurePosixPath(found.name).name or found.title
    name = shown if "." in shown else shown + SUFFIXES.get(found.media_type, "")
    return file_response(path, name, found.media_type)


@files.get("/files/{document_id}/pages/{number}.png")
async def page_picture(
    document_id: str,
    number: int,
    who: Who,
    app: Hearth,
    chunk: str = "",
    quote: Annotated[str, Query(max_length=4000)] = "",
    width: Annotated[int, Query(ge=MIN_WIDTH_PX, le=MAX_WIDTH_PX)] = 1000,
) -> Response:
    """A page of a PDF with the passage marked, for its owner."""
    _, picture = await app.library.page_picture(who.user, document_id, number, chunk_id=chunk, quote=quote, width_px=width)
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache", "X-Marked": str(picture.marked).lower()}
    return Response(picture.png, media_type="image/png", headers=headers)


SUFFIXES = {
    "application/pdf": ".pdf",
    "text/plain": ".txt",
    "text/markdown": ".md",
    "text/html": ".html",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/epub+zip": ".epub",
    "message/rfc822": ".eml",
    "text/csv": ".csv",
}
