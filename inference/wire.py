"""HTTP as every route of the model server speaks it: bodies, errors in OpenAI's shape, the token, and clients that leave."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from core.errors import BadInput, HearthError, ModelMissing, NoSpeech, ServiceBusy, TooLong, Unreadable
from core.ids import new_id
from core.inference import Priority
from core.traces import inside
from inference.house import ModelHouse
from inference.lanes import Ticket

MAX_BODY_BYTES = 8 << 20


def error_body(error: HearthError) -> tuple[int, dict[str, Any], dict[str, str]]:
    """(status, body, headers) of an error in OpenAI's shape."""
    code, status, headers = "server_error", 500, {}
    if isinstance(error, TooLong):
        code, status = "context_length_exceeded", 400
    elif isinstance(error, NoSpeech | Unreadable):
        code, status = ("no_speech" if isinstance(error, NoSpeech) else "unreadable_audio"), 400
    elif isinstance(error, BadInput):
        code, status = "invalid_request_error", 400
    elif isinstance(error, ModelMissing):
        code, status = "model_missing", 404
    elif isinstance(error, ServiceBusy):
        code, status, headers = "rate_limit_exceeded", 429, {"Retry-After": f"{max(1.0, error.retry_after_s):.0f}"}
    # `hearth`: for our own client, which says the same in the same words.
    ours = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    return status, {"error": {"message": str(error), "type": code, "code": code, "param": None, "hearth": ours}}, headers


def refused(error: HearthError) -> Response:
    """The error as an answer."""
    status, body, headers = error_body(error)
    return JSONResponse(body, status, headers)


async def capped(request: Request, most_bytes: int, what: str = "A request", hint: str = "Send less at once.") -> AsyncGenerator[bytes, None]:
    """The body as it comes. what, hint: for the error. Raises: TooLong as soon as it is longer."""
    received = 0
    async for piece in request.stream():
        received += len(piece)
        if received > most_bytes:
            raise TooLong(f"{what} may have at most {most_bytes / 1e6:.0f} MB.", hint=hint)
        yield piece


async def read_bytes(request: Request, most_bytes: int) -> bytes:
    """The whole body. Raises: TooLong."""
    return b"".join([piece async for piece in capped(request, most_bytes)])


async def read_body(request: Request, shape: Any) -> Any:
    """The JSON body as a msgspec shape. Raises: TooLong, BadInput."""
    try:
        return msgspec.json.decode(await read_bytes(request, MAX_BODY_BYTES), type=shape)
    except msgspec.DecodeError as error:
        raise BadInput(f"The request can't be understood: {error}.") from error


def ticket(request: Request) -> Ticket:
    """Who asks, as our own client says it: nobody else has the token."""
    premium = request.headers.get("x-hearth-priority") == "premium"
    return Ticket(new_id(), request.headers.get("x-hearth-user", ""), Priority.PREMIUM if premium else Priority.STANDARD)


Result = TypeVar("Result")
Handler = Callable[[ModelHouse, Request], Awaitable[Response]]


def route(path: str, handler: Handler, house: ModelHouse, token: str, *methods: str) -> Route:
    """A handler behind the token, its errors told in OpenAI's shape."""

    async def endpoint(request: Request) -> Response:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and not secrets.compare_digest(given.encode(), token.encode()):
            return JSONResponse({"error": {"message": "The token is wrong.", "type": "authentication_error", "code": "authentication_error"}}, 401)
        try:
            with inside(request.headers.get("traceparent", "")):
                return await handler(house, request)
        except HearthError as error:
            return refused(error)
        except ClientDisconnect:
            return Response(status_code=499)

    return Route(path, endpoint, methods=list(methods))


async def while_wanted(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """What the work gives, unless the client leaves first: then it is ended. Raises: ClientDisconnect."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    """Returns when the client has gone. The body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
