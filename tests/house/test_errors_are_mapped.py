"""No error of a library reaches a person: each one its library knows today is translated, and one it gains tomorrow fails here."""

import asyncio

import aiohttp
import pytest
import sqlalchemy.exc
from sqlalchemy.exc import DBAPIError, IntegrityError

from core.adapters.database_sql import translated
from core.errors import HearthError, NoSpace, ServiceBusy, ServiceError, ServiceTimeout, ServiceUnavailable
from core.inference import Caller, Service
from inference import client
from inference.client import ModelServer

NOT_OURS_TO_MEET = {
    "WebSocketError": "no web socket is opened",
    "WSMessageTypeError": "no web socket is opened",
    "EofStream": "the end of a stream, which its iterator takes for its own end",
    "EmulatedDBAPIException": "what an asynchronous driver's errors are made of before sqlalchemy wraps them in DBAPIError; no such driver is used",
}


def errors_of(module):
    """Every exception class that a library shows; warnings are pytest's to turn into errors."""
    classes = {value for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, Exception) and not name.startswith("_")}
    return sorted((c for c in classes if not issubclass(c, Warning) and c.__name__ not in NOT_OURS_TO_MEET), key=lambda c: c.__name__)


class Answer:
    """A good answer, as far as `post` looks before its body is read."""

    status = 200

    def close(self):
        pass

    def release(self):
        pass


class Broken(Answer):
    """An answer whose body breaks off."""

    def __init__(self, error):
        self.error = error

    async def read(self):
        raise self.error


async def get(server):
    await server.get("models")


def post(error=None):
    """Posts, and then meets `error` while the answer is read."""

    async def ask(server):
        async with server.post("chat/completions", {}, Caller(), aiohttp.ClientTimeout()):
            raise error

    return ask


async def met(ask, answer_or_error, monkeypatch):
    """Which of our errors somebody meets who asks a server that fails in this way."""

    async def request(*_args, **_given):
        if isinstance(answer_or_error, Exception):
            raise answer_or_error
        return answer_or_error

    monkeypatch.setattr(aiohttp.ClientSession, "request", request)
    monkeypatch.setattr(client, "RETRIES", 0)  # what is tried again ends as the same error, only later
    server = ModelServer(Service.LLM, "http://127.0.0.1:9/v1", "some-model")
    try:
        with pytest.raises(ServiceError) as raised:
            await ask(server)
    finally:
        await server.close()
    assert raised.value.service == "llm"
    assert raised.value.hint
    return type(raised.value)


# Made without their constructors, which differ and want live connections: what counts is the class.
@pytest.mark.parametrize("kind", errors_of(aiohttp))
def test_every_error_of_the_http_client_becomes_one_of_ours(kind, monkeypatch):
    error = kind.__new__(kind)

    async def everywhere():
        return {
            "sending": await met(post(), error, monkeypatch),
            "reading a stream": await met(post(error), Answer(), monkeypatch),
            "reading a body": await met(get, Broken(error), monkeypatch),
        }

    expected = ServiceTimeout if issubclass(kind, TimeoutError) else ServiceUnavailable
    assert asyncio.run(everywhere()) == dict.fromkeys(("sending", "reading a stream", "reading a body"), expected)


@pytest.mark.parametrize("error", [TimeoutError(), ConnectionResetError(), BrokenPipeError(), OSError(113, "No route to host")])
def test_errors_of_the_system_become_ours_too(error, monkeypatch):
    assert issubclass(asyncio.run(met(get, error, monkeypatch)), ServiceError)


@pytest.mark.parametrize("kind", errors_of(sqlalchemy.exc))
def test_every_error_of_the_database_library_becomes_one_of_ours_or_is_a_broken_constraint(kind):
    error = kind("SELECT 1", {}, Exception("the driver's words")) if issubclass(kind, DBAPIError) else kind.__new__(kind)
    # A broken constraint passes: only the caller knows that it means "this name is taken".
    expected = IntegrityError if kind is IntegrityError else HearthError
    with pytest.raises(expected) as raised, translated():
        raise error
    if kind is not IntegrityError:
        assert raised.value.hint
        assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("database or disk is full", NoSpace),
        ("disk I/O error", NoSpace),
        ("attempt to write a readonly database", NoSpace),
        ("unable to open database file", NoSpace),
        ("database is locked", ServiceBusy),
        ("database table is locked: messages", ServiceBusy),
        ("no such table: users", ServiceUnavailable),
        ("database disk image is malformed", ServiceUnavailable),
    ],
)
def test_what_the_database_says_decides_what_a_person_can_do(words, expected):
    with pytest.raises(HearthError) as raised, translated():
        raise sqlalchemy.exc.OperationalError("INSERT", {}, Exception(words))
    assert type(raised.value) is expected
