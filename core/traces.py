"""Where the time of a piece of work goes, as whoever collects traces is told: names of stages and models, times and counts, never anybody's words.

What is begun inside a piece of work is a part of it, in another process too: `cause` names the work, and goes along with every request to a model.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Self, TypeAlias

if TYPE_CHECKING:
    from core.ports import Traces, Work

cause: ContextVar[str] = ContextVar("cause", default="")
"""The piece of work that goes on here, in the form of a traceparent; "" for none that is traced. Source: W3C Trace Context."""
Attributes: TypeAlias = Mapping[str, str | int | float | tuple[str, ...]]
Spent: TypeAlias = tuple[str, float, float]
"""(stage, begin in ms from that of the work, length in ms)."""


@contextmanager
def inside(work: str) -> Iterator[None]:
    """What is begun meanwhile is a part of the work of that cause."""
    token = cause.set(work)
    try:
        yield
    finally:
        cause.reset(token)


@contextmanager
def ending(work: "Work") -> Iterator["Work"]:
    """Ends the work however the block ends; of an error only the kind is told, for its sentence may name a document."""
    try:
        yield work
    except (asyncio.CancelledError, GeneratorExit):
        work.end({"hearth.status": "stopped"})
        raise
    except BaseException as error:
        work.end({"error.type": type(error).__name__}, failed=True)
        raise
    work.end()


@contextmanager
def traced(traces: "Traces", name: str, attributes: Attributes | None = None, *, ago_ms: float = 0.0, served: bool = False) -> Iterator["Work"]:
    """A piece of work for as long as the block, and the cause of all in it. The parameters are those of the port."""
    with ending(traces.begin(name, attributes, ago_ms=ago_ms, served=served)) as work, inside(work.cause):
        yield work


def in_order(lengths: Iterable[tuple[str, float]]) -> list[Spent]:
    """Stages that follow each other, each with its length in ms."""
    found, at = list[Spent](), 0.0
    for stage, length in lengths:
        found.append((stage, at, length))
        at += length
    return found


class Untold:
    """A piece of work that nobody is told of."""

    cause, ms = "", 0.0

    def stages(self, spent: Iterable[Spent]) -> None:
        """As the port says."""

    def end(self, attributes: Attributes | None = None, *, failed: bool = False) -> None:
        """As the port says."""


UNTOLD = Untold()


class NoTraces:
    """The Traces port where nobody collects them."""

    def __init__(self, _url: str = "", **_: object) -> None:
        """Takes what the other adapters take."""

    async def __aenter__(self) -> Self:
        """Nothing is opened."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is to be closed."""

    def begin(self, name: str, attributes: Attributes | None = None, *, ago_ms: float = 0.0, served: bool = False) -> Untold:
        """As the port says."""
        return UNTOLD


NO_TRACES = NoTraces()
