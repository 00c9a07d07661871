"""Objects that no row names, which a crash between an object and its row leaves: looked for where the house keeps its own, and removed when somebody asks.

What other programs have put elsewhere into the store is theirs: it is neither looked at nor removed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import PurePosixPath

from core.audit import Act
from core.console.begun import Begun
from core.console.notes import Notes
from core.errors import HearthError, IllegalStep, ServiceBusy, ServiceUnavailable
from core.objects import OWN
from core.ports import Belongings, ObjectStore
from core.records import DeleteReceipt, Page, Stored, every_page
from core.users.model import Admin

YOUNG = timedelta(hours=1)
"""An object's row may still be on its way for so long."""
AT_ONCE = 5_000
SHOWN = 200
KIND = 2
"""Which part of a uri says of what kind the object is: s3:/bucket/kind/name."""
SUBJECT = "objects that no row names"


@dataclass(slots=True)
class Leftovers:
    """What a look has found so far.

    looked_at: how many objects.   kinds: (how many, bytes) of those that no row names, by the first part of the key.   first: some of them.
    dropped: (how many, bytes) of them are removed already.   problem: why it broke off.   stopped: somebody ended it.
    """

    at: datetime
    looked_at: int = 0
    kinds: dict[str, tuple[int, int]] = field(default_factory=dict)
    first: list[Stored] = field(default_factory=list)
    dropped: tuple[int, int] = (0, 0)
    problem: str = ""
    stopped: bool = False
    over: bool = False

    @property
    def found(self) -> tuple[int, int]:
        """(how many, bytes) of all kinds."""
        return sum(count for count, _ in self.kinds.values()), sum(size for _, size in self.kinds.values())

    def add(self, stored: Stored) -> None:
        """Counts one."""
        kind = PurePosixPath(stored.uri).parts[KIND]
        count, size = self.kinds.get(kind, (0, 0))
        self.kinds[kind] = count + 1, size + stored.size_bytes
        if len(self.first) < SHOWN:
            self.first.append(stored)


class LeftoverRoom:
    """Looks through what the house keeps of all users, once at a time. A look that is ended is simply repeated."""

    def __init__(self, objects: ObjectStore, belongings: Belongings, notes: Notes, begun: Begun, clock: Callable[[], datetime]) -> None:
        self._objects, self._belongings, self._notes, self._begun, self._clock = objects, belongings, notes, begun, clock
        self._last: Leftovers | None = None

    async def found(self, admin: Admin) -> Leftovers | None:
        """By the look that goes on, or the last one."""
        return self._last and replace(self._last, kinds=dict(self._last.kinds), first=list(self._last.first))

    async def look(self, admin: Admin) -> None:
        """Begins to look; it goes on by itself. Raises: ServiceBusy while somebody looks already."""
        await self._notes.look(admin, SUBJECT)
        self._begun.begin(self._look(self._claim()))

    async def drop(self, admin: Admin) -> DeleteReceipt:
        """Looks again, removes what it finds, and looks for what is left. Raises: ServiceBusy while somebody looks, or where it takes long: it then goes on."""
        self._demand_quiet()
        count, size = self._last.found if self._last else (0, 0)
        await self._notes.note(admin, Act.DELETED, SUBJECT, objects=count, bytes=size)
        late = ServiceBusy("There is much to delete, and it goes on.", hint="The page shows how far it is.")
        return await self._begun.within(self._drop(self._claim()), late)

    async def stop(self, admin: Admin) -> None:
        """Ends a look; what it has removed by then stays removed. Raises: IllegalStep where nobody looks."""
        if self._last is None or self._last.over:
            raise IllegalStep("Nobody is looking for objects.", hint="The page shows what was found.")
        self._last.stopped = True

    def _demand_quiet(self) -> None:
        if self._last is not None and not self._last.over:
            raise ServiceBusy("Somebody is looking for objects already.", hint="Wait until that is over, or stop it.")

    def _claim(self) -> Leftovers:
        """The look that begins now."""
        self._demand_quiet()
        self._last = Leftovers(self._clock())
        return self._last

    async def _drop(self, look: Leftovers) -> DeleteReceipt:
        gone = await self._look(look, drop=True)
        after = gone if gone.stopped or gone.problem else await self._look(self._claim())
        if after.problem:
            raise ServiceUnavailable(after.problem, hint="Look again: what is removed stays removed.")
        return DeleteReceipt({"objects": gone.dropped[0], "bytes": gone.dropped[1]}, {"objects": after.found[0] - after.dropped[0]})

    async def _look(self, now: Leftovers, *, drop: bool = False) -> Leftovers:
        try:
            await self._go_through(now, drop)
        except HearthError as error:
            now.problem = str(error)
        finally:
            now.over = True
        return now

    async def _go_through(self, now: Leftovers, drop: bool) -> None:
        """The names come first: an object whose row is written after that is young."""
        before, named = self._clock() - YOUNG, await self._named(now)
        for own in OWN:
            async for page in every_page(partial(self._page, own)):
                for stored in page:
                    if stored.uri in named or stored.put_at > before:
                        continue
                    now.add(stored)
                    if drop and not now.stopped and await self._objects.drop(stored.uri):
                        now.dropped = now.dropped[0] + 1, now.dropped[1] + stored.size_bytes
                now.looked_at += len(page)
                if now.stopped:
                    return

    async def _page(self, prefix: str, cursor: str) -> Page[Stored]:
        return await self._objects.all(prefix=prefix, limit=AT_ONCE, cursor=cursor)

    async def _named(self, now: Leftovers) -> set[str]:
        """About 20 MB for 100,000 objects."""
        named = set[str]()
        async for uris in every_page(lambda cursor: self._belongings.named(limit=AT_ONCE, cursor=cursor)):
            named.update(uris)
            if now.stopped:
                break
        return named
