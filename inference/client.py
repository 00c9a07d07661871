"""The client of every model server that speaks OpenAI's protocol: our own inference process, vLLM, llama.cpp, Ollama, TEI and their like.

Knows nothing of torch and of where models come from. aiohttp, because a page's worth of streams costs a third of httpx's CPU (docs/adr/0006).
"""

import asyncio
import hashlib
import io
import logging
import math
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import aiohttp
import msgspec
import numpy as np

from core.errors import (
    BadInput,
    HearthError,
    ModelError,
    ModelMissing,
    NoSpeech,
    ServiceBusy,
    ServiceError,
    ServiceTimeout,
    ServiceUnavailable,
    SettingsError,
    TooLong,
    Unreadable,
    WrongShape,
)
from core.ids import new_id
from core.inference import Caller, Counted, Done, Embedded, Grounding, Message, Model, Priority, Queued, Service, TextDelta, Usage, estimated_tokens
from core.settings import is_http, shown
from core.traces import cause
from inference.lanes import Entered, Lanes, Ticket
from inference.sse import EventReader

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
FIRST_TOKEN_TIMEOUT_S = 300.0
IDLE_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 120.0
INFO_TIMEOUT_S = 15.0
INFO_KEPT_S = 60.0
RETRIES = 2
RETRIED = frozenset({429, 502, 503, 504})
REFUSED = frozenset({401, 403})
MAX_WAIT_S = 5.0
OPEN_AFTER = 5
"""Connections that fail in a row before a server is left alone for a while."""
OPEN_FOR_S = 5.0
MAX_SENTENCE_CHARS = 300
COUNT_TIMEOUT_S = 30.0
"""Long enough for a model that is only being loaded: the answer would wait for it too."""
COUNTED_AT_ONCE = 256
COUNTS_KEPT = 20_000
LARGE_BYTES = 256 << 10
SPOKEN_OF = (Service.STT, Service.TTS)
"""Services whose refusals are about what the user sent, and are told in the server's words."""


class _Delta(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Hearth(msgspec.Struct):
    queue_ms: float | None = None
    position: int | None = None
    eta_s: float = 0.0


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None
    hearth: _Hearth | None = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


def parse_model_url(url: str, setting: str) -> tuple[str, str]:
    """(base URL with its version prefix, model name) of `http://host:port/v1#model`. Raises: SettingsError."""
    if not is_http(url):
        raise SettingsError(f"{setting} is {shown(url)[:120]!r}, which is no model URL.", hint="Write it like http://host:11434/v1#qwen3:8b.")
    parts = urlsplit(url)
    if not parts.fragment:
        raise SettingsError(f"{setting} names no model.", hint=f"Add it after a #, like {shown(url)[:120]}#qwen3:8b.")
    return parts._replace(fragment="").geturl().rstrip("/"), parts.fragment


@dataclass(slots=True)
class _Breaker:
    """Leaves a server alone for a while after it could not be reached several times in a row."""

    failures: int = 0
    open_until: float = 0.0

    def check(self, service: str) -> None:
        """Raises: ServiceUnavailable while it is open."""
        if time.monotonic() < self.open_until:
            raise ServiceUnavailable(
                f"The {service} server can't be reached.", service=service, hint="`hearth doctor` checks it; Hearth tries again by itself."
            )

    def reached(self) -> None:
        """It answered."""
        self.failures = 0

    def failed(self) -> None:
        """It could not be reached."""
        self.failures += 1
        if self.failures >= OPEN_AFTER:
            self.open_until = time.monotonic() + OPEN_FOR_S


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent, as bytes, so that it can be sent again."""

    data: bytes
    content_type: str

    @classmethod
    def form(cls, fields: Mapping[str, str], name: str, filename: str, media_type: str, content: bytes) -> "Body":
        """A multipart form: the fields, then one file. Source: RFC 7578."""
        boundary = f"hearth-{new_id()}"  # random, so that no content has it
        parts = [f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode() for key, value in fields.items()]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: {media_type}\r\n\r\n'
        return cls(b"".join([*parts, head.encode(), content, f"\r\n--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}")


class ModelServer:
    """One server at one URL: connections, timeouts, retries before the first byte, and errors in our words. Used by the three ports below."""

    def __init__(self, service: Service, base_url: str, model: str, *, key: str = "", local: bool = False, lanes: Lanes | None = None) -> None:
        """base_url: with its version prefix.   key: sent there and nowhere else (redirects are not followed).   local: our own inference process.

        lanes: the dispatcher in front of a foreign server; our own process has its own.
        """
        self.service, self.base_url, self.model, self.local, self._lanes = service, base_url, model, local, lanes
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._breaker = _Breaker()
        self._session: aiohttp.ClientSession | None = None
        self._named: list[ModelServer] = []

    def named(self, model: str) -> "ModelServer":
        """The same server for another of its models; it is closed with this one."""
        other = ModelServer(self.service, self.base_url, model, local=self.local, lanes=self._lanes)
        other._headers, other._breaker = self._headers, self._breaker
        self._named.append(other)
        return other

    async def close(self) -> None:
        """Closes the connections."""
        for other in self._named:
            await other.close()
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            # The bound on what runs at once is admission's; a second one here would queue without saying so.
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), headers=self._headers, trust_env=False)
        return self._session

    @asynccontextmanager
    async def post(self, path: str, body: Mapping[str, Any] | Body, caller: Caller, timeout: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer with status 200. Raises: ServiceError, ModelError, TooLong; also for what breaks while the answer is read."""
        async with self.entered(caller) as entered:
            if entered is not None:
                await entered.admitted()
            async with self.asked(path, body, caller, timeout) as response:
                yield response

    @asynccontextmanager
    async def entered(self, caller: Caller) -> AsyncIterator[Entered | None]:
        """A place or a position in the lanes in front of this server; None where it has its own. Raises: ServiceBusy."""
        if self._lanes is None:
            yield None
            return
        async with self._lanes.entered(Ticket(new_id(), caller.user_key, caller.priority)) as entered:
            yield entered

    @asynccontextmanager
    async def asked(self, path: str, body: Mapping[str, Any] | Body, caller: Caller, timeout: aiohttp.ClientTimeout) -> AsyncIterator[aiohttp.ClientResponse]:
        """As `post`, for who has a place already."""
        async with AsyncExitStack() as stack:
            with_caller = {"x-hearth-priority": caller.priority.value, "x-hearth-user": caller.user_key} if self.local else {}
            traced = {"traceparent": on_account_of} if (on_account_of := cause.get()) else {}
            data, kind = (body.data, body.content_type) if isinstance(body, Body) else (msgspec.json.encode(body), "application/json")
            response = await self._answer("POST", path, data, {"Content-Type": kind, **with_caller, **traced}, timeout)
            stack.callback(response.close)
            try:
                yield response
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise self._translated(error) from error

    async def get(self, path: str) -> Any:
        """The JSON of an answer with status 200. Raises: as `post`."""
        response = await self._answer("GET", path, None, {}, aiohttp.ClientTimeout(total=INFO_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S))
        try:
            return msgspec.json.decode(await response.read())
        except msgspec.DecodeError as error:
            raise ServiceUnavailable(
                f"The {self.service} server answered with something that is not JSON.", service=self.service, hint=self._where()
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._translated(error) from error
        finally:
            response.release()

    async def ping(self) -> None:
        """Asks for the list of models, once. A server that answers, even that it has no such list, is there. Raises: ServiceError."""
        timeout = aiohttp.ClientTimeout(total=INFO_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        try:
            response = await self._open().request("GET", f"{self.base_url}/models", timeout=timeout, allow_redirects=False)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._translated(error) from error
        if response.status in REFUSED | RETRIED:
            raise await self._refused(response, "models")
        response.release()

    async def _answer(self, method: str, path: str, data: bytes | None, headers: Mapping[str, str], timeout: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """The first good answer of at most three tries."""
        url = path if path.startswith("http") else f"{self.base_url}/{path}"
        for attempt in range(RETRIES + 1):
            self._breaker.check(self.service)
            wait_s = min(MAX_WAIT_S, 0.2 * 2**attempt) * random.uniform(0.5, 1.5)  # noqa: S311  jitter, not a secret
            try:
                # A recording may be large: as a file it is sent in pieces.
                content = io.BytesIO(data) if data is not None and len(data) > LARGE_BYTES else data
                response = await self._open().request(method, url, data=content, headers=headers, timeout=timeout, allow_redirects=False)
            except aiohttp.ClientConnectorError as error:
                self._breaker.failed()
                if attempt == RETRIES:
                    raise self._translated(error) from error
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self._breaker.failed()
                raise self._translated(error) from error
            else:
                self._breaker.reached()
                if response.status == 200:
                    return response
                if response.status not in RETRIED or attempt == RETRIES:
                    raise await self._refused(response, path)
                wait_s = _retry_after(response, wait_s)
                response.release()
            await asyncio.sleep(wait_s)
        raise AssertionError("unreachable")

    async def _refused(self, response: aiohttp.ClientResponse, path: str) -> HearthError:
        """The error of an answer that is not 200, with the server's own sentence."""
        body = b""
        try:
            body = await response.read()
            text, code = _sentence_of(body)
        except (aiohttp.ClientError, TimeoutError, OSError):
            text, code = "", ""
        finally:
            response.release()
        status = response.status
        if self.local and self.service in SPOKEN_OF and (ours := _ours(body)) is not None:
            return ours
        said = f": {text}" if text else ""
        if status in (400, 413, 422) and (
            code == "context_length_exceeded" or ("context" in text.lower() and "token" in text.lower()) or "too long" in text.lower()
        ):
            return TooLong(
                f"The prompt is longer than {self.model} can take{said}.",
                hint="Shorten the message, begin a new conversation, or use a model with a larger context.",
            )
        if status == 404 and path == "models":
            return ServiceError(f"The {self.service} server can't say which models it has.", service=self.service, hint=self._where())
        if status == 404 or code in ("model_not_found", "model_missing"):
            return ModelMissing(f"The {self.service} server doesn't have the model {self.model}{said}.", model=self.model, hint=await self._offered())
        if status == 429:
            return ServiceBusy(
                f"The {self.service} server is busy{said}.", service=self.service, hint="Try again in a moment.", retry_after_s=_retry_after(response, 1.0)
            )
        if status in REFUSED:
            return ServiceError(
                f"The {self.service} server refused the key (HTTP {status}).", service=self.service, hint=f"Check HEARTH_{self.service.upper()}_API_KEY."
            )
        kind = ServiceUnavailable if status >= 500 else ServiceError
        return kind(f"The {self.service} server answered HTTP {status}{said}.", service=self.service, hint=self._where())

    async def _offered(self) -> str:
        """The names the server knows, as a hint; a server that can't say is no further error."""
        if self.local:
            return f"`hearth models fetch {self.model}` gets it; `hearth models list` shows what works offline."
        try:
            names = [str(entry["id"]) for entry in (await self.get("models"))["data"]][:8]
        except (HearthError, KeyError, TypeError):
            return self._where()
        return f"It offers: {', '.join(names)}." if names else self._where()

    def _where(self) -> str:
        return (
            "`hearth doctor` checks it; the log of the inference process says more."
            if self.local
            else f"Check HEARTH_{self.service.upper()}_URL; `hearth doctor` tries it."
        )

    def _translated(self, error: Exception) -> ServiceError:
        """What broke, in our words; the most specific first."""
        if isinstance(error, TimeoutError):
            return ServiceTimeout(f"The {self.service} server did not answer in time.", service=self.service, hint=self._where())
        if isinstance(error, aiohttp.ClientConnectorError):
            return ServiceUnavailable(f"The {self.service} server can't be reached.", service=self.service, hint=self._where())
        return ServiceUnavailable(f"The {self.service} server broke off.", service=self.service, hint="Try again; what has come so far is kept.")


class _Ours(msgspec.Struct):
    kind: str
    message: str
    hint: str = ""


class _OurError(msgspec.Struct):
    hearth: _Ours


class _OurErrors(msgspec.Struct):
    error: _OurError


def _ours(body: bytes) -> HearthError | None:
    """What our own server says of a recording, a text or its own model, in its own words; None for anything else."""
    try:
        said = msgspec.json.decode(body, type=_OurErrors).error.hearth
    except msgspec.DecodeError:
        return None
    kind = {known.__name__: known for known in (BadInput, Unreadable, NoSpeech, TooLong, ModelMissing, ModelError)}.get(said.kind)
    return None if kind is None else kind(said.message, hint=said.hint)


def _retry_after(response: aiohttp.ClientResponse, otherwise_s: float) -> float:
    try:
        return min(MAX_WAIT_S, max(0.0, float(response.headers.get("Retry-After", ""))))
    except ValueError:
        return otherwise_s


def _sentence_of(body: bytes) -> tuple[str, str]:
    """(sentence, code) of an error body in whatever shape: OpenAI's, FastAPI's, or plain text."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return body[:MAX_SENTENCE_CHARS].decode("utf-8", "replace").strip().rstrip("."), ""
    code = ""
    for _ in range(3):
        if isinstance(found, dict):
            code = str(found.get("code") or code)
            found = found.get("error") or found.get("message") or found.get("detail") or ""
    return str(found)[:MAX_SENTENCE_CHARS].strip().rstrip("."), code


class Known:
    """What a server said of a model, kept for a minute."""

    def __init__(self) -> None:
        self.model: Model | None = None
        self.until = 0.0

    def get(self) -> Model | None:
        """The model, while what is known of it is fresh."""
        return self.model if time.monotonic() < self.until else None

    def put(self, model: Model) -> Model:
        """Keeps it and gives it back."""
        self.model, self.until = model, time.monotonic() + INFO_KEPT_S
        return model


async def entry_of(server: ModelServer) -> dict[str, Any]:
    """What a server that lists its models says of this one. Raises: ModelMissing if it doesn't know it."""
    for entry in (await server.get("models"))["data"]:
        if entry["id"] == server.model:
            return cast(dict[str, Any], entry.get("hearth") or {})
    hint = "`hearth models list` shows what it knows." if server.local else f"{server.base_url}/models shows what it knows."
    raise ModelMissing(f"The {server.service} server doesn't know the model {server.model}.", model=server.model, hint=hint)


class RemoteChatModel:
    """The ChatModel port over a server."""

    def __init__(self, server: ModelServer, *, context_tokens: int = 8192, priority_field: str = "none") -> None:
        """context_tokens: of a foreign model, which doesn't say.   priority_field: none, vllm (lower first) or sglang (higher first)."""
        self._server, self._context_tokens, self._priority_field, self._known = server, context_tokens, priority_field, Known()
        self._counts: OrderedDict[bytes, int] = OrderedDict()
        """Tokens by the hash of the text, the latest last."""

    async def info(self) -> Model:
        """As the port says."""
        if (known := self._known.get()) is not None:
            return known
        server = self._server
        if not server.local:
            return self._known.put(Model(server.model, Service.LLM, context_tokens=self._context_tokens))
        said = await entry_of(server)
        return self._known.put(
            Model(
                server.model,
                Service.LLM,
                Grounding(said.get("grounding", "generative")),
                context_tokens=said.get("context_tokens"),
                useful_context_tokens=said.get("useful_context_tokens"),
                local=True,
            )
        )

    async def check(self) -> Model:
        """As the port says."""
        await self._server.ping()
        return await self.info()

    async def count(self, texts: Sequence[str]) -> Counted:
        """As the port says; only our own server is asked, in one request for all that is not known yet."""
        if not self._server.local:
            return Counted(tuple(estimated_tokens(text) for text in texts), estimated=True)
        keys = [hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
        unknown = {key: text for key, text in zip(keys, texts, strict=True) if key not in self._counts}
        found = {key: self._counts[key] for key in keys if key in self._counts}
        try:
            for some in _parts(list(unknown.items()), COUNTED_AT_ONCE):
                found |= zip((key for key, _ in some), await self._asked_for_counts([text for _, text in some]), strict=True)
        except HearthError as error:
            log.warning("tokens are estimated: %s", error)
            return Counted(tuple(found.get(key, estimated_tokens(text)) for key, text in zip(keys, texts, strict=True)), estimated=True)
        self._counts |= found
        for key in found:
            self._counts.move_to_end(key)
        while len(self._counts) > COUNTS_KEPT:
            self._counts.popitem(last=False)
        return Counted(tuple(found[key] for key in keys))

    async def _asked_for_counts(self, texts: Sequence[str]) -> list[int]:
        server, timeout = self._server, aiohttp.ClientTimeout(total=COUNT_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        async with server.asked("tokenize", {"model": server.model, "texts": list(texts)}, Caller(), timeout) as response:
            counts: list[int] = decoded(await response.read(), _Tokens, server).tokens
        if len(counts) != len(texts):
            raise ServiceUnavailable(f"The llm server counted {len(counts)} of {len(texts)} texts.", service=server.service, hint="Check its version.")
        return counts

    async def models(self) -> Sequence[Model]:
        """As the port says."""
        listed = (await self._server.get("models")).get("data", [])
        return [Model(str(e["id"]), Service.LLM, local=self._server.local) for e in listed if (e.get("hearth") or {"service": "llm"}).get("service") == "llm"]

    async def stream(
        self, messages: Sequence[Message], *, caller: Caller, model: str = "default", max_tokens: int | None = None, temperature: float | None = None
    ) -> AsyncIterator[Queued | TextDelta | Done]:
        """As the port says."""
        server = self._server
        body: dict[str, Any] = {
            "model": server.model if model in ("", "default") else model,
            "messages": [{"role": m.role, "content": m.content} for m in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        optional = {"max_tokens": max_tokens, "temperature": temperature, "priority": self._priority(caller)}
        body |= {name: value for name, value in optional.items() if value is not None}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=FIRST_TOKEN_TIMEOUT_S)
        deltas, usage, reason, queue_ms = 0, None, "stop", None
        async with server.entered(caller) as entered:
            if entered is not None:
                async with aclosing(entered.changes()) as positions:  # type: ignore[type-var]
                    async for position in positions:
                        yield position
                queue_ms = round(entered.queue_ms, 1)
            async with server.asked("chat/completions", body, caller, timeout) as response:
                async for chunk in _chunks(response, server):
                    if chunk.usage is not None:
                        usage = Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
                    if chunk.hearth is not None:
                        queue_ms = queue_ms if chunk.hearth.queue_ms is None else chunk.hearth.queue_ms
                        if chunk.hearth.position is not None:
                            yield Queued(chunk.hearth.position, chunk.hearth.eta_s)
                    for choice in chunk.choices:
                        reason = choice.finish_reason or reason
                        if choice.delta is not None and choice.delta.content:
                            deltas += 1
                            yield TextDelta(choice.delta.content)
        yield Done(usage or Usage(0, deltas, estimated=True), reason, queue_ms)

    def _priority(self, caller: Caller) -> int | None:
        """VLLM takes the lower first, SGLang the higher; an ordinary request keeps the engine's default."""
        premium = caller.priority is Priority.PREMIUM
        return {"vllm": -10 if premium else 0, "sglang": 20 if premium else 0}.get(self._priority_field)


async def _chunks(response: aiohttp.ClientResponse, server: ModelServer) -> AsyncIterator[_Chunk]:
    """The stream's chunks until [DONE] or its end. Raises: ServiceUnavailable for an error inside the stream or one that can't be read."""
    events = EventReader()
    reading = aiter(response.content.iter_any())
    first = True
    while True:
        try:
            received = await anext(reading)
        except StopAsyncIteration:
            return
        if first and b'"delta"' in received:  # a position in the queue is no word: the first may take much longer
            first = False
            if response.connection is not None and response.connection.protocol is not None:
                response.connection.protocol.read_timeout = IDLE_TIMEOUT_S  # from now on it bounds the pause between two tokens
        for data in events.feed(received):
            if data == b"[DONE]":
                return
            try:
                chunk = _decode_chunk(data)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ServiceUnavailable(
                    "The model's answer can't be read.", service=server.service, hint="The server does not speak OpenAI's protocol."
                ) from error
            if chunk.error:
                raise _broken(chunk.error, server)
            yield chunk


def _broken(error: Any, server: ModelServer) -> HearthError:
    """An error inside a stream, in our words."""
    text, code = _sentence_of(msgspec.json.encode({"error": error}))
    if code == "context_length_exceeded":
        return TooLong(f"The prompt is longer than {server.model} can take.", hint="Shorten it, or use a model with a larger context.")
    if code == "model_missing":
        return ModelMissing(f"{text}.", model=server.model)
    return ServiceUnavailable(f"The model broke off: {text}.", service=server.service, hint="What has come so far is kept; ask it to continue.")


def _parts(items: list[tuple[bytes, str]], size: int) -> Iterator[list[tuple[bytes, str]]]:
    return (items[n : n + size] for n in range(0, len(items), size))


class RemoteEmbedder:
    """The Embedder port over a server."""

    def __init__(self, server: ModelServer, *, chosen: bool = True) -> None:
        """chosen: whether the settings name this model; another one may not be there."""
        self._server, self._chosen, self._known, self._listed = server, chosen, Known(), False
        self._others: dict[str, RemoteEmbedder] = {}

    def of(self, model: str) -> "RemoteEmbedder":
        """As the port says."""
        if model == self._server.model:
            return self
        if model not in self._others:
            self._others[model] = RemoteEmbedder(self._server.named(model), chosen=False)
        return self._others[model]

    async def info(self) -> Model:
        """As the port says; the dimensions of a model that isn't listed with them are found by embedding one word."""
        if (known := self._known.get()) is not None:
            return known
        server = self._server
        if server.local and self._chosen:
            dimensions = (await entry_of(server)).get("dimensions")
        else:
            dimensions = (await self.embed(["dimensions"], "query", caller=Caller())).vectors.shape[1]
        return self._known.put(Model(server.model, Service.EMBEDDINGS, dimensions=dimensions, local=server.local))

    async def check(self) -> Model:
        """As the port says."""
        await self._server.ping()
        return await self.info()

    async def embed(self, texts: Sequence[str], kind: Literal["query", "document"], *, caller: Caller) -> Embedded:
        """As the port says; only our own server is told the kind."""
        if not texts:
            return Embedded(np.zeros((0, (await self.info()).dimensions or 0), np.float32), self._server.model)
        if not self._chosen and not self._server.local and not self._listed:
            await entry_of(self._server)  # a server with one model answers with it whatever name it is asked for
            self._listed = True
        body = {"model": self._server.model, "input": list(texts), "encoding_format": "float"} | ({"kind": kind} if self._server.local else {})
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        async with self._server.post("embeddings", body, caller, timeout) as response:
            answer = decoded(await response.read(), _Embeddings, self._server)
        ordered = sorted(answer.data, key=lambda entry: entry.index)
        if [entry.index for entry in ordered] != list(range(len(texts))):
            raise ServiceUnavailable(
                f"The embeddings server gave {len(ordered)} vectors for {len(texts)} texts.", service=self._server.service, hint="Check the model."
            )
        if len({len(entry.embedding) for entry in ordered}) != 1:
            raise WrongShape("The embeddings server gave vectors of different sizes.", hint="Check the model.")
        vectors = np.asarray([entry.embedding for entry in ordered], np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(vectors).all() or (lengths == 0).any():
            raise ServiceUnavailable("The embeddings server gave a vector that is no direction.", service=self._server.service, hint="Check the model.")
        return Embedded(vectors / lengths, self._server.model)


class RemoteReranker:
    """The Reranker port over a server."""

    def __init__(self, server: ModelServer, *, dialect: str = "jina") -> None:
        """dialect: jina (`rerank` under the base URL; vLLM, Infinity, llama.cpp and ours) or tei (`/rerank` off the root)."""
        self._server, self._dialect, self._known = server, dialect, Known()

    async def info(self) -> Model:
        """As the port says."""
        if (known := self._known.get()) is not None:
            return known
        said = await entry_of(self._server) if self._server.local else {}  # the scale of a foreign one is not known
        relevance, quote = said.get("relevance_threshold"), said.get("quote_threshold")
        return self._known.put(Model(self._server.model, Service.RERANKER, relevance_threshold=relevance, quote_threshold=quote, local=self._server.local))

    async def check(self) -> Model:
        """As the port says."""
        await self._server.ping()
        return await self.info()

    async def rerank(self, query: str, documents: Sequence[str], *, caller: Caller) -> Sequence[float]:
        """As the port says."""
        if not documents:
            return []
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S)
        if self._dialect == "tei":
            parts = urlsplit(self._server.base_url)
            path, body = f"{parts.scheme}://{parts.netloc}/rerank", {"query": query, "texts": list(documents), "truncate": True}
        else:
            path, body = "rerank", {"model": self._server.model, "query": query, "documents": list(documents), "top_n": len(documents)}
        async with self._server.post(path, body, caller, timeout) as response:
            received = await response.read()
        if self._dialect == "tei":
            pairs = [(e.index, e.score) for e in decoded(received, list[_TeiScore], self._server)]
        else:
            pairs = [(e.index, e.relevance_score) for e in decoded(received, _JinaScores, self._server).results]
        if sorted(i for i, _ in pairs) != list(range(len(documents))) or not all(math.isfinite(s) for _, s in pairs):
            raise ServiceUnavailable(
                f"The reranker gave {len(pairs)} scores for {len(documents)} passages.", service=self._server.service, hint="Check its dialect."
            )
        return [score for _, score in sorted(pairs)]


class _Tokens(msgspec.Struct):
    tokens: list[int]


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Embeddings(msgspec.Struct):
    data: list[_Vector]


class _TeiScore(msgspec.Struct):
    index: int
    score: float


class _JinaScore(msgspec.Struct):
    index: int
    relevance_score: float


class _JinaScores(msgspec.Struct):
    results: list[_JinaScore]


def decoded(body: bytes, shape: Any, server: ModelServer) -> Any:
    """The JSON of an answer. Raises: ServiceUnavailable if it has another shape."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.DecodeError as error:
        raise ServiceUnavailable(
            f"The {server.service} server's answer can't be read.", service=server.service, hint="Check that the URL speaks OpenAI's protocol."
        ) from error
