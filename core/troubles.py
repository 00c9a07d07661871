"""The last errors of the house, kept through a restart: what the log says at level error, as lines of JSON in the home folder.

A store that is away is met by every loop of the house many times a minute; `OnceAMinute` keeps that from filling the log.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from core.records import Trouble

FILE = "errors.jsonl"
MAX_BYTES = 500_000
SHOWN = 20
READ_BYTES = 64_000
MAX_CHARS = 500
REPEATED_S = 60.0


class OnceAMinute(logging.Filter):
    """Lets a warning or an error with the same words through once a minute; what says something else, and what only informs, always."""

    def __init__(self) -> None:
        """Of a handler of its own: each handler tells its own readers."""
        super().__init__()
        self._told: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """As logging wants it."""
        if record.levelno < logging.WARNING:
            return True
        what = record.name, record.getMessage()
        if record.created - self._told.get(what, -REPEATED_S) < REPEATED_S:
            return False
        self._told = {w: at for w, at in self._told.items() if record.created - at < REPEATED_S} | {what: record.created}
        return True


class _Lines(logging.Formatter):
    """One line per error. The words of an exception may hold what somebody has typed, so only its kind and place are kept."""

    def format(self, record: logging.LogRecord) -> str:
        """As JSON."""
        where = f"{record.name}:{record.lineno}"
        if record.exc_info and record.exc_info[0] is not None:
            trace = record.exc_info[2]
            while trace is not None and trace.tb_next is not None:
                trace = trace.tb_next
            at = f" in {trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace is not None else ""
            where = f"{record.exc_info[0].__name__}{at}"
        return json.dumps({"at": datetime.fromtimestamp(record.created, UTC).isoformat(), "what": record.getMessage()[:MAX_CHARS], "where": where})


@contextmanager
def kept(home: Path) -> Iterator[None]:
    """Keeps the errors that are logged meanwhile; two files of half a megabyte at most."""
    handler = RotatingFileHandler(home / FILE, maxBytes=MAX_BYTES, backupCount=1, encoding="utf-8", delay=True)
    handler.setLevel(logging.ERROR)
    handler.setFormatter(_Lines())
    handler.addFilter(OnceAMinute())
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()


def latest(home: Path) -> Sequence[Trouble]:
    """The last ones, the newest first."""
    try:
        with (home / FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - READ_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    found = []
    for line in reversed(lines):
        try:
            said = json.loads(line)
            found.append(Trouble(datetime.fromisoformat(said["at"]), said["what"], said["where"]))
        except (ValueError, KeyError, TypeError):
            continue  # the first line may be the end of one
        if len(found) == SHOWN:
            break
    return found
