"""Reads files in a child process that can be killed, with limits on time and memory: a hostile or broken file costs its own job and nothing else."""

from pathlib import Path

import msgspec

from core.adapters.child_process import ChildBroke, answer_of
from core.errors import BadInput, TooLong, Unreadable
from core.rag.model import ParsedDocument

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
        limits = (str(self._memory_mb), str(max(1, round(self._timeout_s))), str(self._max_bytes))
        try:
            out = await answer_of("core.adapters.parsing", str(path), filename, *limits, timeout_s=self._timeout_s)
        except TimeoutError as error:
            raise self._too_slow(filename) from error
        except ChildBroke as error:
            raise Unreadable(f"{filename} broke the reader.", hint="It may be damaged; save it again or in another form.") from error
        answer = msgspec.json.decode(out, type=_Answer)
        if answer.document is None:
            raise ERRORS.get(answer.error, Unreadable)(answer.message, hint=answer.hint)
        return answer.document

    def _too_slow(self, filename: str) -> Unreadable:
        return Unreadable(f"Reading {filename} took longer than {self._timeout_s:.0f} s and was given up.", hint="Split it, or save it in a simpler form.")
