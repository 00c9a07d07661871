"""What admins take away from the console: streamed, never whole in memory, by routes in front of Streamlit's.

The gate lets nobody but admins past `/admin`; who asks is found out here again, because a room takes an `Admin`.
"""

import csv
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from core.app import App
from core.audit import Act, AuditEntry
from core.console.collections import Row
from core.console.logbook import Asked
from core.console.pieces import Pieces
from core.errors import BadInput, HearthError, NotFound
from core.users.model import Admin
from ui import errors
from ui.gate import CONSOLE, session_token

FOLDER = f"{CONSOLE}/files"
LOG_PART_BYTES = 1 << 20
BOXED = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
COLUMNS = ("at", "actor", "act", "subject", "detail", "actor_id", "id")


def routes(app: App) -> list[Route]:
    """Over an opened house; they stand before the console's mount, which would take them."""
    return [
        Route(f"{FOLDER}/audit.csv", _for_admins(app, partial(audit_log, lines=csv_lines, media_type="text/csv; charset=utf-8"))),
        Route(f"{FOLDER}/audit.jsonl", _for_admins(app, partial(audit_log, lines=json_lines, media_type="application/jsonl"))),
        Route(f"{FOLDER}/backups/{{name}}", _for_admins(app, backup)),
        Route(f"{FOLDER}/collections/{{collection_id}}.{{form}}", _for_admins(app, collection)),
        Route(f"{FOLDER}/documents/{{document_id}}", _for_admins(app, original)),
        Route(f"{FOLDER}/golden/{{name}}.jsonl", _for_admins(app, golden_set)),
        Route(f"{FOLDER}/users/{{user_id}}.zip", _for_admins(app, belongings)),
        Route(f"{FOLDER}/conversations/{{conversation_id}}.{{form}}", _for_admins(app, conversation)),
        Route(f"{FOLDER}/runs/{{run_id}}/log", _for_admins(app, log)),
        Route(f"{FOLDER}/runs/{{run_id}}/artifacts/{{artifact_id}}", _for_admins(app, artifact)),
        Route(f"{FOLDER}/runs/{{run_id}}/artifacts/{{artifact_id}}/page", _for_admins(app, artifact_page)),
    ]


Handler = Callable[[App, Admin, Request], Awaitable[Response]]


def _for_admins(app: App, handle: Handler) -> Callable[[Request], Awaitable[Response]]:
    """The route of a handler: who asks is found out, and what goes wrong is told."""

    async def handled(request: Request) -> Response:
        try:
            return await handle(app, await app.users.admin(session_token(app, request.cookies)), request)
        except HearthError as error:
            return errors.response(error)

    return handled


def audit_address(form: str, asked: Asked) -> str:
    """Where the rows that are asked for are downloaded. form: csv or jsonl."""
    query = {"actor": asked.actor, "act": asked.act or "", "since": _text(asked.since), "until": _text(asked.until)}
    return f"{FOLDER}/audit.{form}?{urlencode({name: value for name, value in query.items() if value})}"


def backup_address(name: str) -> str:
    """Where a backup is downloaded."""
    return f"{FOLDER}/backups/{quote(name)}"


def user_address(user_id: str) -> str:
    """Where everything of a user's is downloaded."""
    return f"{FOLDER}/users/{quote(user_id, safe='')}.zip"


async def belongings(app: App, admin: Admin, request: Request) -> Response:
    """Everything a user has."""
    name, pieces = await app.console.people.export(admin, request.path_params["user_id"])
    return StreamingResponse(pieces, media_type="application/zip", headers=_saved_as(name))


def conversation_address(conversation_id: str, form: str) -> str:
    """Where a conversation is downloaded. form: md or json."""
    return f"{FOLDER}/conversations/{quote(conversation_id, safe='')}.{form}"


async def conversation(app: App, admin: Admin, request: Request) -> Response:
    """One conversation, as Markdown for people or as JSON with every branch."""
    text, whole = await app.console.reading.export(admin, request.path_params["conversation_id"])
    name = request.url.path.rpartition("/")[2]
    if request.path_params["form"] == "json":
        return Response(msgspec.json.encode(whole), media_type="application/json", headers=_saved_as(name))
    return Response(text, media_type="text/markdown; charset=utf-8", headers=_saved_as(name))


def golden_address(name: str) -> str:
    """Where a golden set is downloaded."""
    return f"{FOLDER}/golden/{quote(name, safe='')}.jsonl"


async def golden_set(app: App, admin: Admin, request: Request) -> Response:
    """One golden set, a row a line."""
    pages = await app.console.lab.export(admin, request.path_params["name"])

    async def body() -> AsyncIterator[bytes]:
        async for page in pages:
            for row in page:
                yield msgspec.json.encode(row) + b"\n"

    return StreamingResponse(body(), media_type="application/jsonl", headers=_saved_as(request.url.path.rpartition("/")[2]))


def log_address(run_id: str, step: str, attempt: int) -> str:
    """Where the whole log of an attempt is downloaded."""
    return f"{FOLDER}/runs/{quote(run_id, safe='')}/log?{urlencode({'step': step, 'attempt': attempt})}"


async def log(app: App, admin: Admin, request: Request) -> Response:
    """What an attempt of a step has said until now."""
    step, attempt = request.query_params.get("step", ""), request.query_params.get("attempt", "")
    if not attempt.isdecimal():
        raise BadInput("That is no number of an attempt.", hint="The links on the page of the run are right.")
    first = await app.pipelines.log(admin.user, request.path_params["run_id"], step, int(attempt), limit=LOG_PART_BYTES)

    async def body() -> AsyncIterator[str]:
        part = first
        yield part.text
        while part.next_offset < first.size_bytes and part.next_offset > part.offset:
            part = await app.pipelines.log(admin.user, request.path_params["run_id"], step, int(attempt), offset=part.next_offset, limit=LOG_PART_BYTES)
            yield part.text

    return StreamingResponse(body(), media_type="text/plain; charset=utf-8", headers=_saved_as(f"{step.replace('/', '-')}-{attempt}.txt"))


def artifact_address(run_id: str, artifact_id: str) -> str:
    """Where an artifact of a run is downloaded."""
    return f"{FOLDER}/runs/{quote(run_id, safe='')}/artifacts/{quote(artifact_id, safe='')}"


async def artifact(app: App, admin: Admin, request: Request) -> Response:
    """An artifact; always as a file to be saved, whatever is in it, and from the object store itself where that lends addresses."""
    made, at = await app.pipelines.artifact_to_save(admin.user, request.path_params["run_id"], request.path_params["artifact_id"])
    if isinstance(at, str):
        return RedirectResponse(at, 303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
    return FileResponse(at, media_type="application/octet-stream", headers=_saved_as(made.name))


def artifact_page_address(run_id: str, artifact_id: str) -> str:
    """Where an artifact in HTML is shown, for a frame inside of the page of its run."""
    return f"{artifact_address(run_id, artifact_id)}/page"


async def artifact_page(app: App, admin: Admin, request: Request) -> Response:
    """An artifact in HTML as somebody's page in a box: its scripts don't run, and it asks nobody for anything."""
    _, path = await app.pipelines.artifact(admin.user, request.path_params["run_id"], request.path_params["artifact_id"])
    return FileResponse(path, media_type="text/html", headers={"Content-Security-Policy": BOXED, "Cache-Control": "no-store"})


def collection_address(collection_id: str, form: str) -> str:
    """Where a collection's rows are downloaded. form: jsonl or parquet."""
    return f"{FOLDER}/collections/{quote(collection_id, safe='')}.{form}"


def original_address(document_id: str) -> str:
    """Where a document's original is downloaded."""
    return f"{FOLDER}/documents/{quote(document_id, safe='')}"


async def original(app: App, admin: Admin, request: Request) -> Response:
    """A document's original; always as a file to be saved, whatever is in it."""
    document, path = await app.console.collections.original(admin, request.path_params["document_id"])
    return FileResponse(path, media_type="application/octet-stream", headers=_saved_as(document.name or document.title))


async def collection(app: App, admin: Admin, request: Request) -> Response:
    """Every searched row of a collection with its vector."""
    form = request.path_params["form"]
    if form not in ("jsonl", "parquet"):
        raise NotFound("There is nothing here.")
    held, pages = await app.console.collections.export(admin, request.path_params["collection_id"])
    name, media_type = f"{held.collection.name}.{form}", "application/jsonl" if form == "jsonl" else "application/vnd.apache.parquet"
    return StreamingResponse((_as_lines if form == "jsonl" else _as_parquet)(pages), media_type=media_type, headers=_saved_as(name))


def _as_dict(row: Row) -> dict[str, Any]:
    named = ("chunk_id", "document_id", "document", "heading", "page", "position", "content")
    return {name: getattr(row, name) for name in named} | {"embedding": row.embedding.tolist()}


async def _as_lines(pages: AsyncIterator[Sequence[Row]]) -> AsyncIterator[bytes]:
    async for page in pages:
        yield b"".join(msgspec.json.encode(_as_dict(row)) + b"\n" for row in page)


async def _as_parquet(pages: AsyncIterator[Sequence[Row]]) -> AsyncIterator[bytes]:
    """A row group for each page of rows, so that no more than one is in memory."""
    import pyarrow as pa  # some tens of milliseconds to import, and nobody else needs it here
    import pyarrow.parquet as pq

    kinds = {"page": pa.int32(), "position": pa.int32(), "embedding": pa.list_(pa.float32())}
    names = ("chunk_id", "document_id", "document", "heading", "page", "position", "content", "embedding")
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in names])
    pieces = Pieces()
    writer = pq.ParquetWriter(pieces, schema)
    async for page in pages:
        table = pa.Table.from_pylist([_as_dict(row) for row in page], schema=schema)
        await anyio.to_thread.run_sync(writer.write_table, table)
        yield pieces.take()
    writer.close()
    yield pieces.take()


async def audit_log(app: App, admin: Admin, request: Request, *, lines: Callable[[Sequence[AuditEntry]], str], media_type: str) -> Response:
    """The rows that the query asks for."""
    asked = _asked(request)
    pages = await app.console.logbook.export(admin, asked)

    async def body() -> AsyncIterator[str]:
        if media_type.startswith("text/csv"):
            yield _csv([COLUMNS])
        async for page in pages:
            yield lines(page)

    return StreamingResponse(body(), media_type=media_type, headers=_saved_as(request.url.path.rpartition("/")[2]))


async def backup(app: App, admin: Admin, request: Request) -> Response:
    """One backup."""
    path = await app.console.keeping.backup_file(admin, request.path_params["name"])
    return FileResponse(path, media_type="application/zip", headers=_saved_as(path.name))


def csv_lines(entries: Sequence[AuditEntry]) -> str:
    """As RFC 4180 has it, and nothing that a spreadsheet would take for a formula."""
    return _csv([(_text(e.at), e.actor, e.act.value, e.subject, json.dumps(dict(e.detail)), e.actor_id, e.id) for e in entries])


def json_lines(entries: Sequence[AuditEntry]) -> str:
    """One object per line."""
    values = ((_text(e.at), e.actor, e.act.value, e.subject, dict(e.detail), e.actor_id, e.id) for e in entries)
    return "".join(json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False) + "\n" for row in values)


def _asked(request: Request) -> Asked:
    query = request.query_params
    try:
        since, until = (datetime.fromisoformat(text).astimezone(UTC) if (text := query.get(name, "")) else None for name in ("since", "until"))
        return Asked(query.get("actor", ""), Act(query["act"]) if query.get("act") else None, since, until)
    except (ValueError, OverflowError) as error:
        raise BadInput("That is no time or no kind of act.", hint="The links on the audit page are right.") from error


def _csv(rows: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([f"'{cell}" if cell.startswith(FORMULA) else cell for cell in row] for row in rows)
    return out.getvalue()


def _text(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(timespec="milliseconds")


def _saved_as(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}", "Cache-Control": "no-store"}
