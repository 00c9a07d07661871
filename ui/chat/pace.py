"""How often a growing answer is drawn: at once for its first words, then at a pace that the number of open streams allows.

Gradio's event queue costs most of a streamed page's time; drawing every token would saturate it at ten chats (docs/benchmarks.md).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from core.chat.turn import Finished, SourcesFound, Stage, Turn
from core.inference import TextDelta
from core.rag.model import Source

MIN_S, PER_STREAM_S, MAX_S = 0.08, 0.004, 0.4


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


async def paced_together(turns: Sequence[Turn], pace: Pace) -> AsyncIterator[list[View]]:
    """The newest view of each turn, whenever one of them has changed; ends when all are finished."""
    views = [View() for _ in turns]
    changed: asyncio.Queue[int] = asyncio.Queue()

    async def read(n: int, turn: Turn) -> None:
        async with aclosing(paced(turn, pace)) as own:  # type: ignore[type-var]
            async for view in own:
                views[n] = view
                changed.put_nowait(n)
        changed.put_nowait(-1)

    reading = [asyncio.create_task(read(n, turn)) for n, turn in enumerate(turns)]
    try:
        over = 0
        while over < len(turns):
            if await changed.get() < 0:
                over += 1
            else:
                yield list(views)
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


async def paced(turn: Turn, pace: Pace) -> AsyncIterator[View]:
    """Views of a turn from now to its end. The last one is finished and has everything; leaving early ends nothing but the watching."""
    view, changed = View(), asyncio.Event()

    async def read() -> None:
        nonlocal view
        try:
            async for update in turn.follow():
                if isinstance(update, TextDelta):
                    view = replace(view, text=view.text + update.text)
                elif isinstance(update, SourcesFound):
                    view = replace(view, sources=update.sources)
                elif isinstance(update, Stage):
                    view = replace(view, stage=update.name, position=update.position, eta_s=update.eta_s)
                elif isinstance(update, Finished):
                    view = replace(view, text=update.message.content, finished=True)
                changed.set()
        finally:
            changed.set()

    reading = asyncio.create_task(read())
    pace.streams += 1
    try:
        shown = view
        yield shown
        while not shown.finished and not (reading.done() and view is shown):
            await changed.wait()
            changed.clear()
            shown = view
            yield shown
            if not shown.finished:
                await asyncio.sleep(pace.interval_s)
    finally:
        pace.streams -= 1
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
