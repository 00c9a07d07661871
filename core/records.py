"""What every store gives back: a page of a long list, the receipt of a delete, and how it is. And whom it serves first."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

T = TypeVar("T")

aside: ContextVar[bool] = ContextVar("aside", default=False)
"""Whether what is done here is for somebody who looks after the house, and yields to those who use it: a store keeps most of its places from it."""


@dataclass(frozen=True, slots=True)
class DeleteReceipt:
    """What a delete removed, by kind, and what a count afterwards still found (0 everywhere, or the delete failed)."""

    removed: Mapping[str, int]
    left: Mapping[str, int]

    @property
    def complete(self) -> bool:
        """Whether nothing is left anywhere."""
        return not any(self.left.values())


def summed(receipts: Sequence[DeleteReceipt]) -> DeleteReceipt:
    """One receipt for all of them."""
    removed, left = Counter[str](), Counter[str]()
    for receipt in receipts:
        removed.update(receipt.removed)
        left.update(receipt.left)
    return DeleteReceipt(dict(removed), dict(left))


@dataclass(frozen=True, slots=True)
class Stored:
    """An object in the object store. put_at: when its last byte was written."""

    uri: str
    size_bytes: int
    put_at: datetime


@dataclass(frozen=True, slots=True)
class Health:
    """One part of the house: whether it works, and a sentence if it doesn't. adapter: what does it.   ms: how long it took to answer."""

    part: str
    ready: bool
    detail: str
    adapter: str = ""
    ms: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server says of itself. version: "" where it doesn't tell.   oldest: the oldest that is good enough; "" for any.   at: its time."""

    version: str = ""
    oldest: str = ""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that went wrong inside: what was told, the reference it was told under, and where in the code."""

    at: datetime
    what: str
    where: str


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list. `next_cursor` asks for the rest; "" at the end."""

    items: Sequence[T]
    next_cursor: str = ""


async def every_page(ask: Callable[[str], Awaitable[Page[T]]]) -> AsyncIterator[Sequence[T]]:
    """The whole of a list, page by page. ask: gives the page that a cursor asks for."""
    page = await ask("")
    yield page.items
    while page.next_cursor:
        page = await ask(page.next_cursor)
        yield page.items
