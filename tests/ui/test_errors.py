import logging
import re

import pytest

from core import errors
from core.errors import (
    AlreadyThere,
    BadInput,
    HearthError,
    NoSpace,
    NotFound,
    NotSignedIn,
    ServiceBusy,
    ServiceRefused,
    ServiceUnavailable,
    SettingsError,
    TooLong,
)
from ui import commands
from ui.cli import main
from ui.errors import KINDS, kind, not_stored, problem, response, sentence

SECRET = "/home/ada/.hearth/hearth.db SELECT password_hash"


def family(cls=HearthError):
    return {cls}.union(*(family(sub) for sub in cls.__subclasses__()))


def test_the_errors_of_the_house_are_all_in_one_place():
    ours = {cls for cls in family() if cls.__module__.split(".")[0] in ("core", "inference", "ui")}
    assert {cls.__module__ for cls in ours} == {errors.__name__}
    assert len(ours) >= 18


@pytest.mark.parametrize("cls", sorted(family() - {HearthError}, key=lambda c: c.__name__), ids=lambda c: c.__name__)
def test_every_error_has_a_status_a_type_and_an_exit_code_of_its_kind(cls):
    status, code, exit_code = kind(cls("It broke.", hint="Mend it."))
    assert 400 <= status < 600
    assert re.fullmatch(r"[a-z_]+", code)
    assert 64 <= exit_code <= 78
    assert (status, code, exit_code) != KINDS[HearthError], "the answer of last resort says nothing about what happened"


def test_the_most_specific_kind_wins():
    assert [kind(cls("x"))[0] for cls in (TooLong, BadInput, ServiceBusy, NotFound)] == [413, 400, 429, 404]


@pytest.mark.parametrize("cls", sorted(family(), key=lambda c: c.__name__), ids=lambda c: c.__name__)
def test_every_error_is_told_in_openais_shape_with_its_hint(cls):
    told = problem(cls("It broke.", hint="Mend it."))["error"]
    assert set(told) == {"message", "type", "code", "param", "hint"}
    assert (told["message"], told["hint"]) == ("It broke.", "Mend it.")
    assert sentence(cls("It broke.", hint="Mend it.")) == "It broke. Mend it."


@pytest.mark.parametrize(
    ("error", "header", "value"),
    [
        (NotSignedIn("x"), "www-authenticate", "Bearer"),
        (ServiceBusy("x", retry_after_s=2.4), "retry-after", "2"),
        (ServiceBusy("x", retry_after_s=0.01), "retry-after", "1"),
        (ServiceUnavailable("x"), "retry-after", "5"),
        (ServiceRefused("x"), "retry-after", None),
        (AlreadyThere("x"), "retry-after", None),
    ],
)
def test_the_headers_say_what_a_program_does_next(error, header, value):
    assert response(error).headers.get(header) == value


def test_a_prompt_that_is_too_long_has_the_code_that_openais_clients_know():
    assert problem(TooLong("x"))["error"]["code"] == "context_length_exceeded"


def test_an_upload_that_the_disk_refuses_is_told_without_a_path():
    error = not_stored(OSError(28, "No space left on device", SECRET))
    assert isinstance(error, NoSpace)
    assert "No space left on device" in str(error)
    assert SECRET not in str(error)


def test_a_bug_is_told_by_a_reference_that_the_log_explains(caplog):
    with caplog.at_level(logging.ERROR):
        told = sentence(KeyError(SECRET))
    assert SECRET not in told
    assert "KeyError" not in told
    reference = re.search(r"under ([0-9a-f]{8})\.$", told)[1]
    assert reference in caplog.text
    assert SECRET in caplog.text
    assert sentence(KeyError(SECRET)) != told


@pytest.mark.anyio
async def test_a_bug_in_a_route_is_a_500_with_a_reference_and_no_internals(served, stranger, caplog):
    def broken():
        raise RuntimeError(SECRET)

    application = served._inner._inner
    application.get("/static/broken")(broken)
    application.router.routes.insert(0, application.router.routes.pop())
    answer = await stranger.get("/static/broken")
    assert answer.status_code == 500
    assert answer.headers["x-content-type-options"] == "nosniff"
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("server_error", "server_error")
    for internal in (SECRET, "RuntimeError", "Traceback", "test_errors", "broken"):
        assert internal not in answer.text
    assert re.search(r"under ([0-9a-f]{8})", error["message"])[1] in caplog.text


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (RuntimeError(SECRET), 70, r"hearth: Something went wrong inside Hearth\..* under [0-9a-f]{8}\.\n"),
        (SettingsError("HEARTH_X is wrong.", hint="Mend it."), 78, r"hearth: HEARTH_X is wrong\.\n {8}Mend it\.\n"),
        (KeyboardInterrupt(), 130, r""),
    ],
    ids=["bug", "ours", "ctrl-c"],
)
def test_a_command_ends_with_a_sentence_and_the_exit_code_of_its_error(tmp_path, monkeypatch, capsys, error, code, told):
    def broken(_settings, _args):
        raise error

    monkeypatch.setattr(commands, "models", broken)
    assert main(["models", "--home", str(tmp_path)]) == code
    assert re.fullmatch(told, capsys.readouterr().err)
