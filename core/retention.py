"""What is kept how long, and the one sweep that enforces it. Permanent things are named too, so that nothing is kept by oversight."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.ports import Conversations, Sessions

BATCH = 500


@dataclass(frozen=True, slots=True)
class Policy:
    """How long one kind of thing is kept; None: until somebody deletes it."""

    kind: str
    keep: timedelta | None


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep removed."""

    messages: int
    sessions: int


class Retention:
    """The sweep: idempotent, in batches, on a given clock."""

    def __init__(self, conversations: Conversations, sessions: Sessions, clock: Callable[[], datetime], *, message_days: int) -> None:
        self._conversations, self._sessions, self._clock = conversations, sessions, clock
        self.policies = (Policy("chat message", timedelta(days=message_days)), Policy("session", timedelta(days=7)), Policy("chunk and embedding", None))
        self._messages = timedelta(days=message_days)

    async def sweep(self) -> Swept:
        """Removes everything that is past its time."""
        now, messages = self._clock(), 0
        while removed := await self._conversations.drop_before(now - self._messages, BATCH):
            messages += removed
        return Swept(messages, await self._sessions.drop_expired(now))
