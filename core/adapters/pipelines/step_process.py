"""A step's process, with its output in a file of limited size, and what can be said of its files.

Imports nothing but the standard library: workers run in interpreters of their own.
"""

import os
import re
import subprocess
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

READ_BYTES = 1 << 16
DRAIN_S = 0.5
"""How long output is waited for once the process itself has ended: what it has left behind may hold the pipe open for ever."""


LAST_BYTES, LAST_CHARS = 8192, 500
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def uncoloured(text: str) -> str:
    """What a program says, without what a terminal makes colours of."""
    return _COLOURS.sub("", text)


def last_words(log: Path) -> str:
    """The last line of a log in which something stands, which is what a traceback ends with; "" where nothing was said."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LAST_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return next((line.strip()[:LAST_CHARS] for line in reversed(uncoloured(text).splitlines()) if line.strip()), "")


def taken_bytes(folder: Path) -> int:
    """What the files of a run take now; those that go meanwhile don't count."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_size
    return total


class Heard:
    """The end of a process's standard output, for what wants its result. most_bytes: how much of it."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._held = most_bytes, bytearray()

    def take(self, piece: bytes) -> None:
        """More of it."""
        self._held += piece
        if len(self._held) > 2 * self._most_bytes:
            del self._held[: -self._most_bytes]

    def end(self) -> bytes:
        """What it ends with, without one newline at the end."""
        return bytes(self._held).removesuffix(b"\n")[-self._most_bytes :]


def run_logged(command: Sequence[str], log: Path, *, env: Mapping[str, str], cwd: Path, max_bytes: int, heard: Heard | None = None) -> int:
    """The exit code (negative: the signal that ended it). What it says goes to the end of `log`: the beginning and the end of it where it is too much.

    max_bytes: of this command's output in the log.   heard: takes its standard output too; what it says there and as errors may then change places in the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    errors = subprocess.STDOUT if heard is None else subprocess.PIPE
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=dict(env), cwd=cwd) as process:
        kept = _Kept(log, max_bytes)
        readers = [threading.Thread(target=kept.read, args=(process.stdout, heard), daemon=True)]
        if heard is not None:
            readers.append(threading.Thread(target=kept.read, args=(process.stderr, None), daemon=True))
        for reader in readers:
            reader.start()
        code = process.wait()
        for reader in readers:
            reader.join(DRAIN_S)
        kept.close()
        if any(reader.is_alive() for reader in readers):
            process.stdout = process.stderr = None  # closing them would wait for whoever still writes
    return code


class _Kept:
    """The head of an output in its file as it comes, and its tail in memory until the end."""

    def __init__(self, log: Path, max_bytes: int) -> None:
        self._room = max_bytes // 2
        self._tail: deque[bytes] = deque()
        self._tail_bytes, self._most_tail_bytes, self._left_out = 0, max_bytes - self._room, 0
        self._lock, self._closed = threading.Lock(), False
        self._file = log.open("ab", buffering=0)

    def read(self, source: IO[bytes], heard: Heard | None) -> None:
        """Until its end."""
        while piece := source.read1(READ_BYTES):  # type: ignore[attr-defined]
            with self._lock:
                if self._closed:
                    return
                self._take(piece)
                if heard is not None:
                    heard.take(piece)

    def _take(self, piece: bytes) -> None:
        head, rest = piece[: self._room], piece[self._room :]
        if head:
            self._file.write(head)
            self._room -= len(head)
        if rest:
            self._tail.append(rest)
            self._tail_bytes += len(rest)
            while self._tail_bytes - len(self._tail[0]) >= self._most_tail_bytes:
                gone = len(self._tail.popleft())
                self._tail_bytes -= gone
                self._left_out += gone

    def close(self) -> None:
        """Writes the tail."""
        with self._lock:
            self._closed = True
            tail = b"".join(self._tail)
            left_out = self._left_out + max(0, len(tail) - self._most_tail_bytes)
            if left_out:
                self._file.write(f"\n… {left_out:,} bytes are left out here …\n".encode())
            self._file.write(tail[-self._most_tail_bytes :] if tail else b"")
            self._file.close()
