"""Draws pages of PDFs in a child process that can be killed, with limits on time and memory."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from core.adapters.child_process import ChildBroke, answer_of
from core.adapters.rendering import Job, Told
from core.errors import HearthError, NotFound, TooLong, Unreadable
from core.rag.model import PagePicture

ERRORS: dict[str, type[HearthError]] = {"Unreadable": Unreadable, "TooLong": TooLong, "NotFound": NotFound}
HINT = "Open the original instead."


class ChildPageRenderer:
    """The PageRenderer port over `python -m core.adapters.rendering`."""

    def __init__(self, *, timeout_s: float, memory_mb: int) -> None:
        """timeout_s: of one page, by the clock and by the processor.   memory_mb: of the child."""
        self._timeout_s, self._memory_mb = timeout_s, memory_mb

    async def page(self, path: Path, name: str, number: int, *, passage: str, quote: str, width_px: int) -> PagePicture:
        """As the port says."""
        told, png = await self._done(Job(str(path), name, number, passage, quote, width_px))
        return PagePicture(png, told.width_px, told.height_px, told.marked)

    async def sizes(self, path: Path, name: str) -> Sequence[tuple[float, float]]:
        """As the port says."""
        return (await self._done(Job(str(path), name)))[0].sizes

    async def _done(self, job: Job) -> tuple[Told, bytes]:
        limits = (str(self._memory_mb), str(max(1, round(self._timeout_s))))
        try:
            out = await answer_of("core.adapters.rendering", *limits, timeout_s=self._timeout_s, said=msgspec.json.encode(job))
        except TimeoutError as error:
            raise Unreadable(f"Drawing a page of {job.name} took longer than {self._timeout_s:.0f} s and was given up.", hint=HINT) from error
        except ChildBroke as error:
            raise Unreadable(f"A page of {job.name} can't be drawn: it broke the reader.", hint=HINT) from error
        line, _, png = out.partition(b"\n")
        told = msgspec.json.decode(line, type=Told)
        if told.error:
            raise ERRORS.get(told.error, Unreadable)(told.message, hint=told.hint)
        return told, png
