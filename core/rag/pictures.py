"""Pictures of pages: drawn one at a time for each user, and kept for a while, because a page is looked at more than once."""

import asyncio
from collections import Counter, OrderedDict, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from core.errors import ServiceBusy
from core.ports import PageRenderer
from core.rag.model import Document, PagePicture

MAX_WAITING = 40
"""Pictures that one user may wait for; a viewer asks for those near the window only."""
AT_ONCE = 2
"""Pictures drawn at the same time for everybody together."""


class PagePictures:
    """Draws through a renderer, and keeps at most `keep_bytes` of what was drawn last."""

    def __init__(self, renderer: PageRenderer, *, keep_bytes: int = 32_000_000) -> None:
        self._renderer, self._keep_bytes = renderer, keep_bytes
        self._kept: OrderedDict[tuple[object, ...], PagePicture] = OrderedDict()
        self._sizes: OrderedDict[tuple[str, int], Sequence[tuple[float, float]]] = OrderedDict()
        self._kept_bytes = 0
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._waiting: Counter[str] = Counter()
        self._places = asyncio.Semaphore(AT_ONCE)

    async def page(self, document: Document, path: Callable[[], Awaitable[Path]], number: int, *, passage: str, quote: str, width_px: int) -> PagePicture:
        """The page with its marks. Raises: ServiceBusy when its owner waits for too many already; else as the renderer's."""
        key = (document.id, document.version, number, passage, quote, width_px)
        if key not in self._kept:
            async with self._turn(document.owner_id):
                if key not in self._kept:
                    picture = await self._renderer.page(await path(), document.title, number, passage=passage, quote=quote, width_px=width_px)
                    self._keep(key, picture)
                    return picture
        self._kept.move_to_end(key)
        return self._kept[key]

    async def sizes(self, document: Document, path: Callable[[], Awaitable[Path]]) -> Sequence[tuple[float, float]]:
        """Width and height of every page in points. Raises: as `page`."""
        key = (document.id, document.version)
        if key not in self._sizes:
            async with self._turn(document.owner_id):
                self._sizes[key] = await self._renderer.sizes(await path(), document.title)
            if len(self._sizes) > 100:
                self._sizes.popitem(last=False)
        return self._sizes.get(key, ())

    def forget(self, document_id: str) -> None:
        """Drops what is kept of a document that is being deleted."""
        for key in [k for k in self._kept if k[0] == document_id]:
            self._kept_bytes -= len(self._kept.pop(key).png)
        for sized in [k for k in self._sizes if k[0] == document_id]:
            del self._sizes[sized]

    def _keep(self, key: tuple[object, ...], picture: PagePicture) -> None:
        self._kept[key] = picture
        self._kept_bytes += len(picture.png)
        while self._kept_bytes > self._keep_bytes and self._kept:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1].png)

    @asynccontextmanager
    async def _turn(self, user_id: str) -> AsyncIterator[None]:
        """One after the other for each user, and not too many altogether."""
        if self._waiting[user_id] >= MAX_WAITING:
            raise ServiceBusy("You are waiting for many pages already.", hint="Try again in a moment.", retry_after_s=2)
        self._waiting[user_id] += 1
        try:
            async with self._turns[user_id], self._places:
                yield
        finally:
            self._waiting[user_id] -= 1
            if not self._waiting[user_id]:
                del self._waiting[user_id], self._turns[user_id]
