"""The one place that turns errors into what their reader sees: a sentence for a page, a status and JSON for a program, an exit code for a shell.

A HearthError is meant to be read. Anything else is a bug: it is logged with its trace under a short reference, and only the reference is shown.
"""

import logging
import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from core.errors import (
    AlreadyThere,
    BadInput,
    HearthError,
    IllegalStep,
    ModelError,
    ModelMissing,
    NoSpace,
    NotAllowed,
    NotFound,
    NotSignedIn,
    ServiceBusy,
    ServiceError,
    ServiceRefused,
    ServiceTimeout,
    SettingsError,
    TooLong,
)
from ui.words import _, told

log = logging.getLogger(__name__)

AWAY_S = 5.0
"""When a program should ask again where something is away: most of what Hearth depends on is back by then."""
# The most specific class that fits wins: (HTTP status, OpenAI's error type, exit code)
KINDS: dict[type[HearthError], tuple[int, str, int]] = {
    NotSignedIn: (401, "authentication_error", 77),
    NotAllowed: (403, "permission_error", 77),
    NotFound: (404, "not_found_error", 66),
    AlreadyThere: (409, "conflict_error", 73),
    IllegalStep: (409, "conflict_error", 65),
    TooLong: (413, "invalid_request_error", 65),
    BadInput: (400, "invalid_request_error", 65),
    SettingsError: (500, "settings_error", 78),
    NoSpace: (507, "storage_error", 74),
    ServiceBusy: (429, "rate_limit_error", 75),
    ServiceRefused: (502, "service_error", 69),
    ServiceTimeout: (504, "timeout_error", 75),
    ServiceError: (503, "service_error", 69),
    ModelMissing: (503, "model_missing", 69),
    ModelError: (502, "model_error", 69),
    HearthError: (500, "server_error", 70),
}


def kind(error: HearthError) -> tuple[int, str, int]:
    """HTTP status, error type and exit code (sysexits.h) of an error."""
    return next(KINDS[cls] for cls in type(error).__mro__ if cls in KINDS)


def sentence(error: BaseException) -> str:
    """What a person is told; a bug is logged here and told by its reference alone."""
    if isinstance(error, HearthError):
        return f"{told(error.message)} {told(error.hint)}".strip()
    reference = secrets.token_hex(4)
    log.error("unexpected error %s", reference, exc_info=error)
    return _("Something went wrong inside Hearth. Nothing you had stored is lost; the log names the cause under {reference}.", reference=reference)


def not_stored(error: OSError) -> NoSpace:
    """What an upload meets when its bytes can't be put down."""
    reason = error.strerror or "the system refused it"
    return NoSpace(
        f"The upload can't be stored: {reason}.", hint="Free some space on the disks of the home folder and of temporary files, then upload it again."
    )


def problem(error: BaseException) -> dict[str, Any]:
    """The body of an error in OpenAI's shape."""
    code = kind(error)[1] if isinstance(error, HearthError) else "server_error"
    body: dict[str, Any] = {"message": sentence(error), "type": code, "code": "context_length_exceeded" if isinstance(error, TooLong) else code, "param": None}
    if isinstance(error, HearthError) and error.hint:
        body |= {"message": told(error.message), "hint": told(error.hint)}
    return {"error": body}


def response(error: BaseException) -> JSONResponse:
    """The error as an HTTP answer."""
    status = kind(error)[0] if isinstance(error, HearthError) else 500
    after_s = error.retry_after_s if isinstance(error, ServiceBusy) else AWAY_S if isinstance(error, ServiceError) and error.retryable else None
    headers = {} if after_s is None else {"Retry-After": str(max(1, round(after_s)))}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(problem(error), status, headers)


async def handle(_request: Request, error: Exception) -> JSONResponse:
    """The exception handler of the web applications."""
    return response(error)
