"""The model server: OpenAI's routes over the engines, with lanes in front. It runs beside the web process, or alone on a GPU machine.

Knows no user and no document. Torch is imported by the engines only, when a model is loaded.
"""

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from core.errors import BadInput, HearthError, ModelMissing, NoSpeech, ServiceBusy, TooLong, Unreadable
from core.ids import new_id
from core.inference import Done, Message, Priority, Queued, Samples, Service, TextDelta
from core.settings import SERVICES, Settings, read_settings
from core.voice.model import MAX_SPEED, MAX_SPOKEN_CHARS, MIN_SPEED, SPEECH_RATE_HZ
from inference import audio
from inference.catalog import Entry, entry
from inference.device import threads
from inference.engine import ChatRequest
from inference.lanes import Lanes, Ticket
from inference.residency import Resident
from inference.voice_activity import speaks

WORK_PLACES = 1
MAX_BODY_BYTES = 8 << 20
FRAME_BYTES = 64 << 10
"""What a form adds to the file it carries."""
MAX_INPUTS = 512
IDLE_CHECK_S = 5.0
MEDIA_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg", "webm": "audio/webm", "pcm": f"audio/L16;rate={SPEECH_RATE_HZ};channels=1"}
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


class SpeechBody(msgspec.Struct):
    """OpenAI's speech request."""

    input: str
    model: str = "default"
    voice: str = ""
    response_format: str = "mp3"
    speed: float = 1.0


class ModelHouse:
    """The models of this process: what each service's is, and the lanes in front of it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        services = [Service(name) for name in SERVICES if name in settings.local_services()]
        self.entries: dict[Service, Entry] = {s: entry(getattr(settings, f"{s}_model"), s) for s in services}
        count = threads(settings.inference_threads)

        def resident(wanted: Entry) -> Resident:
            return Resident(wanted, settings.models_folder, threads=count, idle_s=settings.inference_idle_s)

        self.residents = {s: resident(e) for s, e in self.entries.items()}
        self.voice_activity = resident(entry(settings.vad_model, Service.STT))
        chat = Lanes(settings.inference_chat_places, queue=settings.inference_queue)
        # Embedding and reranking share the same cores: one lane for both.
        work = Lanes(WORK_PLACES, queue=settings.inference_queue)
        places = settings.inference_audio_places
        listening, speaking = (Lanes(places, queue=settings.inference_queue) for _ in range(2))
        self.lanes = {Service.LLM: chat, Service.EMBEDDINGS: work, Service.RERANKER: work, Service.STT: listening, Service.TTS: speaking}

    def resident(self, service: Service, named: str) -> Resident:
        """The service's model. Raises: ModelMissing for another name."""
        resident = self.residents.get(service)
        if resident is None or named not in ("", "default", resident.entry.name):
            known = ", ".join(e.name for e in self.entries.values())
            raise ModelMissing(f"This server doesn't have {named!r} as its {service} model.", model=named, hint=f"It has: {known}.")
        return resident

    async def preload(self) -> None:
        """Loads what every question needs, the smallest first, so that the first finds it ready. Voices are loaded when somebody speaks."""
        for service in (Service.EMBEDDINGS, Service.RERANKER, Service.LLM):
            if service in self.residents:
                await self.residents[service].preload()
        # What has been loaded stays: it need not be looked at by every collection.
        gc.collect()
        gc.freeze()

    async def keep_idle(self) -> None:
        """Unloads what has not been used for long."""
        while True:
            await asyncio.sleep(IDLE_CHECK_S)
            for resident in (*self.residents.values(), self.voice_activity):
                await resident.unload_if_idle()

    async def close(self) -> None:
        """Frees everything."""
        for resident in (*self.residents.values(), self.voice_activity):
            await resident.close()


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


async def _bytes(request: Request, most: int) -> bytes:
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > most:
            raise TooLong(f"A request may have at most {most // 1_000_000} MB.", hint="Send less at once.")
    return bytes(data)


async def _form(request: Request, most: int) -> tuple[bytes, dict[str, str]]:
    """(the file named `file`, the fields) of a multipart form. Raises: BadInput, TooLong."""
    data = await _bytes(request, most + FRAME_BYTES)

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield data

    hint = "Send multipart/form-data with the recording as `file`."
    try:
        form = await MultiPartParser(request.headers, pieces(), max_files=1, max_fields=20).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadInput("The form can't be understood.", hint=hint) from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise BadInput("There is no file in the form.", hint=hint)
        return await file.read(), {name: value for name, value in form.items() if isinstance(value, str)}
    finally:
        await form.close()


async def _body(request: Request, shape: Any) -> Any:
    try:
        return msgspec.json.decode(await _bytes(request, MAX_BODY_BYTES), type=shape)
    except msgspec.DecodeError as error:
        raise BadInput(f"The request can't be understood: {error}.") from error


def _ticket(request: Request) -> Ticket:
    premium = request.headers.get("x-hearth-priority") == "premium"
    return Ticket(new_id(), request.headers.get("x-hearth-user", ""), Priority.PREMIUM if premium else Priority.STANDARD)


Result = TypeVar("Result")
Handler = Callable[[ModelHouse, Request], Awaitable[Response]]


def _route(path: str, handler: Handler, house: ModelHouse, token: str, *methods: str) -> Route:
    async def endpoint(request: Request) -> Response:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token and not secrets.compare_digest(given.encode(), token.encode()):
            return JSONResponse({"error": {"message": "The token is wrong.", "type": "authentication_error", "code": "authentication_error"}}, 401)
        try:
            return await handler(house, request)
        except HearthError as error:
            return refused(error)
        except ClientDisconnect:
            return Response(status_code=499)

    return Route(path, endpoint, methods=list(methods))


async def chat(house: ModelHouse, request: Request) -> Response:
    """`/v1/chat/completions`."""
    body = await _body(request, ChatBody)
    resident = house.resident(Service.LLM, body.model)
    if not body.messages:
        raise BadInput("There is no message.")
    wanted = ChatRequest(
        _messages(body.messages),
        body.max_completion_tokens or body.max_tokens or house.settings.llm_max_tokens,
        resident.entry.temperature if body.temperature is None else body.temperature,
    )
    answer = _answer(house, resident, wanted, _ticket(request))
    if not body.stream:
        return await _while_wanted(request, _whole(answer, resident.entry.name))
    # The first piece decides whether this is an answer or an error with a status of its own; a request that waits is answered at once with its position.
    try:
        first = await anext(answer)
    except BaseException:
        await answer.aclose()
        raise
    return StreamingResponse(_events(first, answer, resident.entry.name), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def _while_wanted(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
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


def _messages(given: list[dict[str, Any]]) -> list[Message]:
    return [Message(m.get("role", "user"), _text(m.get("content"))) for m in given]


def _text(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


Piece: TypeAlias = Queued | TextDelta | Done


async def _answer(house: ModelHouse, resident: Resident, wanted: ChatRequest, ticket: Ticket) -> AsyncGenerator[Piece, None]:
    """The position while it waits, then the engine's pieces; how long it waited is told with the last."""
    with house.lanes[Service.LLM].entered(ticket) as entered:
        async with aclosing(entered.changes()) as positions:  # type: ignore[type-var]
            async for position in positions:
                yield position
        async with resident.used() as engine, aclosing(engine.stream(wanted)) as pieces:
            async for piece in pieces:
                yield piece if isinstance(piece, TextDelta) else Done(piece.usage, piece.finish_reason, round(entered.queue_ms, 1))


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
    body = await _body(request, TokenizeBody)
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
    body = await _body(request, EmbedBody)
    resident = house.resident(Service.EMBEDDINGS, body.model)
    texts = [body.input] if isinstance(body.input, str) else body.input
    if len(texts) > MAX_INPUTS:
        raise BadInput(f"At most {MAX_INPUTS} texts are taken at once, not {len(texts)}.")
    if not texts:
        return JSONResponse({"object": "list", "model": resident.entry.name, "data": [], "usage": {"prompt_tokens": 0, "total_tokens": 0}})
    async with house.lanes[Service.EMBEDDINGS].place(_ticket(request)), resident.used() as engine:
        vectors = await engine.embed(texts, "query" if body.kind == "query" else "document")
    data = [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(vectors.tolist())]
    words = sum(len(t.split()) for t in texts)
    whole = {"object": "list", "model": resident.entry.name, "data": data, "usage": {"prompt_tokens": words, "total_tokens": words}}
    return Response(_encode(whole), media_type="application/json")


async def rerank(house: ModelHouse, request: Request) -> Response:
    """`/v1/rerank`, best first."""
    body = await _body(request, RerankBody)
    resident = house.resident(Service.RERANKER, body.model)
    if len(body.documents) > MAX_INPUTS:
        raise BadInput(f"At most {MAX_INPUTS} documents are taken at once, not {len(body.documents)}.")
    scores: list[float] = []
    if body.documents:
        async with house.lanes[Service.RERANKER].place(_ticket(request)), resident.used() as engine:
            scores = await engine.rerank(body.query, body.documents)
    ranked = sorted(enumerate(scores), key=lambda pair: (-pair[1], pair[0]))[: body.top_n]
    return JSONResponse({"model": resident.entry.name, "results": [{"index": n, "relevance_score": score} for n, score in ranked]})


async def transcribe(house: ModelHouse, request: Request) -> Response:
    """`/v1/audio/transcriptions`."""
    most = house.settings.audio_max_mb * 1_000_000
    data, said = await _form(request, most)
    resident = house.resident(Service.STT, said.get("model", ""))
    if len(data) > most:
        raise TooLong(f"The recording has more than {house.settings.audio_max_mb} MB.", hint="Send a shorter one, or pack it as WebM.")
    return await _while_wanted(request, _heard(house, resident, data, said, _ticket(request)))


async def _heard(house: ModelHouse, resident: Resident, data: bytes, said: dict[str, str], ticket: Ticket) -> Response:
    """What is said in a recording; nothing is asked of a model before there is speech in it."""
    async with house.lanes[Service.STT].place(ticket) as queue_ms:
        begun = time.perf_counter()
        decoded = await audio.decode(data, max_s=house.settings.audio_max_s)
        async with house.voice_activity.used() as detector:
            if not await asyncio.to_thread(speaks, detector, decoded.samples):
                raise NoSpeech("I heard nothing: there is no speech in the recording.", hint="Check the microphone, and speak a little louder.")
        decoded_ms = (time.perf_counter() - begun) * 1000
        async with resident.used() as engine:
            heard = await engine.transcribe(decoded.samples, said.get("language", ""))
    if not heard.text.strip():
        raise NoSpeech("I heard somebody speak, but understood no word.", hint="Say it again, a little slower or closer to the microphone.")
    if said.get("response_format") == "text":
        return Response(heard.text, media_type="text/plain; charset=utf-8")
    took_ms = {"queue_ms": round(queue_ms, 1), "decode_ms": round(decoded_ms, 1), "total_ms": round((time.perf_counter() - begun) * 1000, 1)}
    more = {"declared_ms": decoded.declared_ms, "duration_ms": round(decoded.duration_ms, 1), "model": resident.entry.name, **took_ms}
    whole = {"text": heard.text, "language": heard.language, "duration": round(decoded.duration_ms / 1000, 3), "hearth": more}
    return Response(_encode(whole), media_type="application/json")


async def speak(house: ModelHouse, request: Request) -> Response:
    """`/v1/audio/speech`; the sound is sent as it is made. `pcm` has SPEECH_RATE_HZ, as OpenAI's."""
    body = await _body(request, SpeechBody)
    resident = house.resident(Service.TTS, body.model)
    if not body.input.strip():
        raise BadInput("There is nothing to say.", hint="Put the text into `input`.")
    if len(body.input) > MAX_SPOKEN_CHARS:
        raise TooLong(f"At most {MAX_SPOKEN_CHARS} characters are spoken at once, not {len(body.input)}.", hint="Send the text in parts.")
    if not MIN_SPEED <= body.speed <= MAX_SPEED:
        raise BadInput(f"The speed must be between {MIN_SPEED:g} and {MAX_SPEED:g}, not {body.speed:g}.")
    encoder = await asyncio.to_thread(audio.Encoder, body.response_format)
    body.input = body.input.replace("\0", " ")  # the end of a text to most voices
    sound = _spoken(house, resident, body, encoder, _ticket(request))
    try:
        first = await _while_wanted(request, _first(sound))
    except BaseException:
        await sound.aclose()
        raise
    return StreamingResponse(_after(first, sound), media_type=MEDIA_TYPES[body.response_format], headers={"Cache-Control": "no-store"})


async def _spoken(house: ModelHouse, resident: Resident, body: SpeechBody, encoder: audio.Encoder, ticket: Ticket) -> AsyncGenerator[bytes, None]:
    """The packed pieces. The voice doesn't wait for who listens, so that a slow connection holds no place; a text is short, and its sound bounded."""
    made: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()

    async def work() -> None:
        try:
            async with house.lanes[Service.TTS].place(ticket), resident.used() as engine:
                async with aclosing(engine.speak(body.input, body.voice, body.speed)) as pieces:
                    async for samples, rate_hz in pieces:
                        if data := await asyncio.to_thread(_packed, encoder, samples, rate_hz):
                            made.put_nowait(data)
            made.put_nowait(await asyncio.to_thread(encoder.close))
            made.put_nowait(None)
        except HearthError as error:
            made.put_nowait(error)

    working = asyncio.create_task(work())
    working.add_done_callback(lambda task: None if task.cancelled() or task.exception() is None else made.put_nowait(task.exception()))
    try:
        while (piece := await made.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def _packed(encoder: audio.Encoder, samples: Samples, rate_hz: int) -> bytes:
    return encoder.feed(audio.resampled(audio.trimmed(samples, rate_hz), rate_hz, SPEECH_RATE_HZ))


async def _first(sound: AsyncGenerator[bytes, None]) -> bytes:
    """The first bytes decide whether this is sound or an error with a status of its own."""
    async for piece in sound:
        if piece:
            return piece
    raise BadInput("The voice said nothing.", hint="There may be no word in the text that it can say.")


async def _after(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(rest):
        yield first
        async for piece in rest:
            yield piece


async def voices(house: ModelHouse, request: Request) -> Response:
    """`/v1/audio/voices`, the usual one first."""
    resident = house.resident(Service.TTS, request.query_params.get("model", ""))
    async with resident.used() as engine:
        return Response(_encode({"model": resident.entry.name, "voices": list(engine.voices)}), media_type="application/json")


async def models(house: ModelHouse, request: Request) -> Response:
    """`/v1/models`; `hearth` has what our own client asks for."""
    named = ("service", "grounding", "context_tokens", "useful_context_tokens", "dimensions", "relevance_threshold", "licence", "languages", "note")
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
    """`/v1/status`: what is loaded, and how full the lanes are."""
    loads = {s.value: house.lanes[s].load() for s in house.entries}
    loaded = {s.value: {"model": r.entry.name, "loaded": r.loaded, "load_ms": r.load_ms} for s, r in house.residents.items()}
    return Response(_encode({"models": loaded, "lanes": loads}), media_type="application/json")


def application(settings: Settings, token: str) -> ASGIApp:
    """The server's application; with a token every route but /healthz asks for it."""
    house = ModelHouse(settings)

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(house.preload()), asyncio.create_task(house.keep_idle())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await house.close()

    posts = {"/v1/chat/completions": chat, "/v1/tokenize": tokenize, "/v1/embeddings": embed, "/v1/rerank": rerank}
    posts |= {"/v1/audio/transcriptions": transcribe, "/v1/audio/speech": speak}
    gets = {"/v1/models": models, "/v1/status": status, "/v1/audio/voices": voices}
    routes = [_route(p, h, house, token, "POST") for p, h in posts.items()] + [_route(p, h, house, token, "GET") for p, h in gets.items()]
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
