"""How often growing answers are drawn: at once for their first words, then at a pace that the number of open streams and the drawing's own cost allow."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from core.chat.turn import Finished, SourcesFound, Stage, Turn
from core.inference import TextDelta
from core.rag.model import Source

MIN_S, PER_STREAM_S, MAX_S = 0.08, 0.004, 0.4
DRAWING_SHARE = 0.2
"""The most of its time that a stream may spend on being drawn: a long answer, or a busy house, is drawn less often."""


@dataclass(frozen=True, slots=True)
class View:
    """An answer as far as it has come."""

    text: str = ""
    stage: str = "queued"
    position: int = 0
    """In the queue of the model: 1 is next, 0 where the stage is another."""
    eta_s: float | None = None
    sources: tuple[Source, ...] = ()
    finished: bool = False


@dataclass(slots=True)
class Pace:
    """Counts the open streams of this process."""

    streams: int = field(default=0)

    @property
    def interval_s(self) -> float:
        """The least time between two drawings of one answer."""
        return min(MAX_S, max(MIN_S, PER_STREAM_S * self.streams))


async def paced(pace: Pace, *turns: Turn) -> AsyncIterator[list[View]]:
    """The newest view of each turn whenever one of them has changed, to their end.

    The first views have everything that was there already; the last ones are finished. Leaving early ends nothing but the watching.
    """
    views, changed = [View() for _ in turns], asyncio.Event()

    async def read(n: int, turn: Turn) -> None:
        async with aclosing(turn.follow()) as updates:  # type: ignore[type-var]
            async for update in updates:
                if isinstance(update, SourcesFound):
                    views[n] = replace(views[n], sources=update.sources)
                elif isinstance(update, Stage):
                    views[n] = replace(views[n], stage=update.name, position=update.position, eta_s=update.eta_s)
                elif isinstance(update, Finished):
                    views[n] = replace(views[n], text=update.message.content, finished=True)
                else:
                    assert isinstance(update, TextDelta)  # its text is taken from the turn when it is drawn
                changed.set()

    reading = [asyncio.create_task(read(n, turn)) for n, turn in enumerate(turns)]
    pace.streams += 1
    try:
        over = False
        while not over:
            await changed.wait()
            changed.clear()
            shown = [v if v.finished else replace(v, text=turn.text) for v, turn in zip(views, turns, strict=True)]
            over = all(v.finished for v in shown)
            begun_s = time.monotonic()
            yield shown
            if not over and any(v.text for v in shown):
                await asyncio.sleep(max(pace.interval_s, (time.monotonic() - begun_s) * (1 / DRAWING_SHARE - 1)))
    finally:
        pace.streams -= 1
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
