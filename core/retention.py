"""What is kept how long, and the one sweep that enforces it. Permanent things are named too, so that nothing is kept by oversight."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.ports import Conversations, Documents, ObjectStore, Sessions, SpokenTurns

BATCH = 500
AUDIO_KEPT = timedelta(hours=1)


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
    spoken_turns: int = 0
    sounds: int = 0


class Retention:
    """The sweep: idempotent, in batches, on a given clock."""

    def __init__(
        self,
        conversations: Conversations,
        sessions: Sessions,
        spoken: SpokenTurns,
        documents: Documents,
        objects: ObjectStore,
        clock: Callable[[], datetime],
        *,
        message_days: int,
    ) -> None:
        """message_days: of messages, and of the text of spoken turns, which are messages too."""
        self._conversations, self._sessions, self._spoken, self._clock = conversations, sessions, spoken, clock
        self._documents, self._objects = documents, objects
        self._messages = timedelta(days=message_days)
        self.policies = (
            Policy("chat message", self._messages),
            Policy("voice request and response", self._messages),
            Policy("sound of a voice request or response", AUDIO_KEPT),
            Policy("session", timedelta(days=7)),
            Policy("chunk and embedding", None),
        )

    async def sweep(self) -> Swept:
        """Removes everything that is past its time."""
        sounds = await self.sweep_audio()
        now, messages, turns = self._clock(), 0, 0
        while removed := await self._conversations.drop_before(now - self._messages, BATCH):
            messages += removed
        while removed := await self._spoken.drop_before(now - self._messages, BATCH):
            turns += removed
        return Swept(messages, await self._sessions.drop_expired(now), turns, sounds)

    async def sweep_audio(self) -> int:
        """Removes sound that is past its hour, and the objects of what was deleted; says how many sounds. Cheap: to be called often.

        The object goes first: what a crash leaves is a row that names nothing, and the next sweep forgets it.
        """
        sounds = 0
        while uris := await self._spoken.audio_before(self._clock() - AUDIO_KEPT, BATCH):
            for uri in uris:
                await self._objects.drop(uri)
            await self._spoken.forget_audio(uris)
            sounds += len(uris)
        while stale := await self._documents.stale_objects(BATCH):
            for uri in stale:
                await self._objects.drop(uri)
            await self._documents.forget_objects(stale)
        return sounds
