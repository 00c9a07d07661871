"""The model server: OpenAI's routes over the engines, with lanes in front. It runs beside the web process, or alone on a GPU machine.

Knows no user and no document. Torch is imported by the engines only, when a model is loaded.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeAlias

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from core.adapters import TRACES, adapter
from core.errors import BadInput, HearthError, ServiceBusy
from core.ids import new_id
from core.inference import Done, Message, Queued, Service, TextDelta
from core.ports import Work
from core.settings import Settings, read_settings
from core.traces import ending, in_order
from inference import audio_routes
from inference.engine import ChatRequest
from inference.house import ModelHouse
from inference.lanes import Ticket
from inference.residency import Resident
from inference.wire import Handler, error_body, read_body, route, ticket, while_wanted

MAX_INPUTS = 512
_encode = msgspec.json.Encoder().encode


class ChatBody(msgspec.Struct):
    """What of OpenAI's chat request is understood; the rest is ignored."""

    messages: list[dict[str, Any]]
    model: str = "default"
    stream: bool = False
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None


class EmbedBody(msgspec.Struct):
    """OpenAI's embeddings request; `kind` is ours."""

    input: str | list[str]
    model: str = "default"
    kind: str = "document"


class RerankBody(msgspec.Struct):
    """Jina's rerank request."""

    query: str
    documents: list[str]
    model: str = "default"
    top_n: int | None = None


class TokenizeBody(msgspec.Struct):
    """Either texts, each counted by itself, or the messages of one prompt, counted in the model's template."""

    texts: list[str] | None = None
    messages: list[dict[str, Any]] | None = None
    model: str = "default"


async def chat(house: ModelHouse, request: Request) -> Response:
    """`/v1/chat/completions`."""
    body = await read_body(request, ChatBody)
    resident = house.resident(Service.LLM, body.model)
    if not body.messages:
        raise BadInput("There is no message.")
    wanted = ChatRequest(
        _messages(body.messages),
        body.max_completion_tokens or body.max_tokens or house.settings.llm_max_tokens,
        resident.entry.temperature if body.temperature is None else body.temperature,
    )
    answer = _answer(house, resident, wanted, ticket(request))
    if not body.stream:
        return await while_wanted(request, _whole(answer, resident.entry.name))
    # The first piece decides whether this is an answer or an error with a status of its own; a request that waits is answered at once with its position.
    try:
        first = await anext(answer)
    except BaseException:
        await answer.aclose()
        raise
    return StreamingResponse(_events(first, answer, resident.entry.name), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


def _messages(given: list[dict[str, Any]]) -> list[Message]:
    return [Message(m.get("role", "user"), _text(m.get("content"))) for m in given]


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


Piece: TypeAlias = Queued | TextDelta | Done


async def _answer(house: ModelHouse, resident: Resident, wanted: ChatRequest, ticket: Ticket) -> AsyncGenerator[Piece, None]:
    """The position while it waits, then the engine's pieces; how long it waited is told with the last."""
    with ending(house.asked(resident)) as work:
        async with house.lanes[Service.LLM].entered(ticket) as entered:
            async with aclosing(entered.changes()) as positions:  # type: ignore[type-var]
                async for position in positions:
                    yield position
            async with resident.used() as engine, aclosing(engine.stream(wanted)) as pieces:
                async for piece in pieces:
                    yield piece if isinstance(piece, TextDelta) else _done(work, piece, entered.queue_ms)


def _done(work: Work, done: Done, queue_ms: float) -> Done:
    """The end of an answer with how long it waited, told to the trace too."""
    work.stages(in_order([("queue", queue_ms), ("model", work.ms - queue_ms)]))
    usage = {"gen_ai.usage.input_tokens": done.usage.prompt_tokens, "gen_ai.usage.output_tokens": done.usage.completion_tokens}
    work.end({**usage, "gen_ai.response.finish_reasons": (done.finish_reason,)})
    return Done(done.usage, done.finish_reason, round(queue_ms, 1))


async def _events(first: Piece, rest: AsyncGenerator[Piece, None], model: str) -> AsyncIterator[bytes]:
    """The pieces as OpenAI's chunks; what is the same in all is written once. A position is a chunk without a choice, which clients pass over."""
    head = _encode({"id": f"chatcmpl-{new_id()}", "object": "chat.completion.chunk", "created": int(time.time()), "model": model})[:-1]
    before, after = b"data: " + head + b',"choices":[{"index":0,"delta":{"content":', b'},"finish_reason":null}]}\n\n'
    async with aclosing(rest):
        piece = first
        try:
            while True:
                if isinstance(piece, TextDelta):
                    yield before + _encode(piece.text) + after
                elif isinstance(piece, Queued):
                    yield b"data: " + head + b"," + _encode({"choices": [], "hearth": piece})[1:] + b"\n\n"
                else:
                    yield b"data: " + head + b"," + _encode(_end(piece))[1:] + b"\n\n"
                piece = await anext(rest)
        except StopAsyncIteration:
            pass
        except HearthError as error:
            yield b"data: " + _encode(error_body(error)[1]) + b"\n\n"
        yield b"data: [DONE]\n\n"


def _end(done: Done) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": done.finish_reason}], "usage": _usage(done), "hearth": {"queue_ms": done.queue_ms}}


def _usage(done: Done) -> dict[str, int]:
    used = done.usage
    return {"prompt_tokens": used.prompt_tokens, "completion_tokens": used.completion_tokens, "total_tokens": used.prompt_tokens + used.completion_tokens}


async def _whole(answer: AsyncGenerator[Piece, None], model: str) -> Response:
    """The answer in one piece."""
    text: list[str] = []
    end: dict[str, Any] = {}
    async with aclosing(answer):
        async for piece in answer:
            if isinstance(piece, TextDelta):
                text.append(piece.text)
            elif isinstance(piece, Done):
                end = {"finish_reason": piece.finish_reason, "usage": _usage(piece), "hearth": {"queue_ms": piece.queue_ms}}
    message = {"role": "assistant", "content": "".join(text)}
    choice = {"index": 0, "message": message, "finish_reason": end.pop("finish_reason", "stop")}
    return JSONResponse({"id": f"chatcmpl-{new_id()}", "object": "chat.completion", "created": int(time.time()), "model": model, "choices": [choice], **end})


async def tokenize(house: ModelHouse, request: Request) -> Response:
    """`/v1/tokenize`: `{"tokens": n}` for messages, `{"tokens": [n, …]}` for texts. Waits for no place: counting is no answering."""
    body = await read_body(request, TokenizeBody)
    resident = house.resident(Service.LLM, body.model)
    if (body.texts is None) == (body.messages is None):
        raise BadInput("Give either `texts` or `messages`.")
    if len(body.texts or ()) > MAX_INPUTS:
        raise BadInput(f"At most {MAX_INPUTS} texts are taken at once, not {len(body.texts or ())}.")
    async with resident.used() as engine:
        tokens = await engine.count_prompt(_messages(body.messages)) if body.messages is not None else await engine.count(body.texts)
    return JSONResponse({"model": resident.entry.name, "tokens": tokens})


async def embed(house: ModelHouse, request: Request) -> Response:
    """`/v1/embeddings`."""
    body = await read_body(request, EmbedBody)
    resident = house.resident(Service.EMBEDDINGS, body.model)
    texts = [body.input] if isinstance(body.input, str) else body.input
    if len(texts) > MAX_INPUTS:
        raise BadInput(f"At most {MAX_INPUTS} texts are taken at once, not {len(texts)}.")
    if not texts:
        return JSONResponse({"object": "list", "model": resident.entry.name, "data": [], "usage": {"prompt_tokens": 0, "total_tokens": 0}})
    async with house.served(resident, ticket(request)) as engine:
        vectors = await engine.embed(texts, "query" if body.kind == "query" else "document")
    data = [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(vectors.tolist())]
    words = sum(len(t.split()) for t in texts)
    whole = {"object": "list", "model": resident.entry.name, "data": data, "usage": {"prompt_tokens": words, "total_tokens": words}}
    return Response(_encode(whole), media_type="application/json")


async def rerank(house: ModelHouse, request: Request) -> Response:
    """`/v1/rerank`, best first."""
    body = await read_body(request, RerankBody)
    resident = house.resident(Service.RERANKER, body.model)
    if len(body.documents) > MAX_INPUTS:
        raise BadInput(f"At most {MAX_INPUTS} documents are taken at once, not {len(body.documents)}.")
    scores: list[float] = []
    if body.documents:
        async with house.served(resident, ticket(request)) as engine:
            scores = await engine.rerank(body.query, body.documents)
    ranked = sorted(enumerate(scores), key=lambda pair: (-pair[1], pair[0]))[: body.top_n]
    return JSONResponse({"model": resident.entry.name, "results": [{"index": n, "relevance_score": score} for n, score in ranked]})


async def models(house: ModelHouse, request: Request) -> Response:
    """`/v1/models`; `hearth` has what our own client asks for."""
    limits = ("context_tokens", "useful_context_tokens", "dimensions", "relevance_threshold", "quote_threshold")
    named = ("service", "grounding", *limits, "licence", "languages", "note")
    data = [
        {
            "id": e.name,
            "object": "model",
            "created": 0,
            "owned_by": "hearth",
            "hearth": {n: getattr(e, n) for n in named} | {"loaded": house.residents[s].loaded},
        }
        for s, e in house.entries.items()
    ]
    return Response(_encode({"object": "list", "data": data}), media_type="application/json")


async def status(house: ModelHouse, request: Request) -> Response:
    """`/v1/status`: what is loaded, how full the lanes are, and how much memory this process takes."""
    return Response(_encode(house.status()), media_type="application/json")


class ServiceBody(msgspec.Struct):
    """Which model is meant."""

    service: Service


async def load(house: ModelHouse, request: Request) -> Response:
    """`/v1/load`: brings a service's model into memory, where it stays as if it had been used. Says the new status."""
    async with house.resident((await read_body(request, ServiceBody)).service, "").used():
        return await status(house, request)


async def unload(house: ModelHouse, request: Request) -> Response:
    """`/v1/unload`: frees a service's model, unless somebody uses it. Says the new status."""
    resident = house.resident((await read_body(request, ServiceBody)).service, "")
    if not await resident.unload():
        raise ServiceBusy(f"Somebody uses {resident.entry.name} just now.", service=resident.entry.service, hint="Try again in a moment.")
    return await status(house, request)


def application(settings: Settings, token: str) -> ASGIApp:
    """The server's application; with a token every route but /healthz asks for it."""
    traces = adapter(TRACES, settings.traces_url, "HEARTH_TRACES_URL")(settings.traces_url, service="inference", begins=False)
    house = ModelHouse(settings, traces)

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(house.preload()), asyncio.create_task(house.keep_idle())]
        try:
            async with traces:
                yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await house.close()

    posts: dict[str, Handler] = {
        "/v1/chat/completions": chat,
        "/v1/tokenize": tokenize,
        "/v1/embeddings": embed,
        "/v1/rerank": rerank,
        "/v1/load": load,
        "/v1/unload": unload,
    }
    posts |= audio_routes.POSTS
    gets: dict[str, Handler] = {"/v1/models": models, "/v1/status": status, **audio_routes.GETS}
    routes = [route(p, h, house, token, "POST") for p, h in posts.items()] + [route(p, h, house, token, "GET") for p, h in gets.items()]
    return Starlette(routes=[Route("/healthz", healthz), *routes], lifespan=lifespan)


def serve(settings: Settings, token: str, listening: socket.socket) -> None:
    """Serves on a socket until SIGTERM. With all models on the disk nothing looks for a model hub."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    config = uvicorn.Config(application(settings, token), access_log=False, log_level=settings.log_level, timeout_graceful_shutdown=2, server_header=False)
    uvicorn.Server(config).run(sockets=[listening])


def die_with_parent(pipe: int) -> None:
    """Ends this process when the other end of the pipe is closed, which the system does when the parent dies, however it dies."""

    def watch() -> None:
        while os.read(pipe, 1):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="parent-watch").start()


def main() -> None:
    """`python -m inference.server LISTENING_FD PIPE_FD`, as the supervisor starts it."""
    listening_fd, pipe = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(pipe)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    serve(read_settings(os.environ), os.environ.get("HEARTH_INFERENCE_TOKEN", ""), socket.socket(fileno=listening_fd))


if __name__ == "__main__":
    main()
