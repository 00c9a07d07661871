"""Reads files in a child process that can be killed, with limits on time and memory: a hostile or broken file costs its own job and nothing else."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from core.errors import BadInput, TooLong, Unreadable
from core.rag.model import ParsedDocument

KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""numpy's threads would each take a share of the memory that a child has."""
ERRORS: dict[str, type[BadInput]] = {"Unreadable": Unreadable, "TooLong": TooLong, "BadInput": BadInput}


class _Answer(msgspec.Struct):
    document: ParsedDocument | None = None
    error: str = ""
    message: str = ""
    hint: str = ""


class ChildParser:
    """The Parser port over `python -m core.adapters.parsing`."""

    def __init__(self, *, timeout_s: float, memory_mb: int, max_bytes: int) -> None:
        """timeout_s: of one file, by the clock and by the processor.   memory_mb: of the child.   max_bytes: of the file."""
        self._timeout_s, self._memory_mb, self._max_bytes = timeout_s, memory_mb, max_bytes

    async def parse(self, path: Path, filename: str) -> ParsedDocument:
        """As the port says."""
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "core.adapters.parsing", str(path), filename),
            *(str(self._memory_mb), str(max(1, round(self._timeout_s))), str(self._max_bytes)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ} | ONE_THREAD,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                out, _ = await child.communicate()
        except TimeoutError as error:
            raise self._too_slow(filename) from error
        finally:
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                await child.wait()
        if child.returncode:
            if child.returncode == -signal.SIGXCPU:
                raise self._too_slow(filename)
            raise Unreadable(f"{filename} broke the reader.", hint="It may be damaged; save it again or in another form.")
        answer = msgspec.json.decode(out, type=_Answer)
        if answer.document is None:
            raise ERRORS.get(answer.error, Unreadable)(answer.message, hint=answer.hint)
        return answer.document

    def _too_slow(self, filename: str) -> Unreadable:
        return Unreadable(f"Reading {filename} took longer than {self._timeout_s:.0f} s and was given up.", hint="Split it, or save it in a simpler form.")
