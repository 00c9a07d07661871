"""Answers that another process writes, followed here by what it stores of them: a checkpoint behind, and with the same end."""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace

from core.chat.model import ChatMessage, MessageStatus
from core.chat.turn import SourcesFound, Turn
from core.errors import HearthError, NotFound
from core.inference import TextDelta
from core.ports import Conversations, Signals
from core.signals import Signal

LOOK_EVERY_S = 1.0
"""How often the store is asked where no signal comes: signals may be lost, and there are none where nothing carries them."""
UNWATCHED_S = 5.0
"""An answer that nobody has followed for so long is let go."""


class Elsewhere:
    """The turns that are written by other processes and followed in this one."""

    def __init__(self, conversations: Conversations, signals: Signals) -> None:
        self._conversations = conversations
        self._turns: dict[str, Turn] = {}
        self._grown: dict[str, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        signals.on(Signal.GROWN, self._hear)

    def turn(self, answer: ChatMessage) -> Turn:
        """The turn of a stored answer that isn't written here, to be followed: as a whole once it is final."""
        if answer.status.final:
            return Turn.stored(answer)
        if (turn := self._turns.get(answer.id)) is None:
            turn = self._turns[answer.id] = Turn(answer, "", answer.created_at)
            self._grown[answer.id] = asyncio.Event()
            task = asyncio.create_task(self._watch(turn, answer), name=f"watch {answer.id}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return turn

    async def close(self) -> None:
        """Ends them for whoever follows; the answers go on where they are written."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _hear(self, *answer_ids: str) -> None:
        for answer_id in answer_ids:
            if (grown := self._grown.get(answer_id)) is not None:
                grown.set()

    async def _watch(self, turn: Turn, answer: ChatMessage) -> None:
        grown, followed_at = self._grown[answer.id], time.monotonic()
        try:
            while not answer.status.final and time.monotonic() - followed_at < UNWATCHED_S:
                _take(turn, answer)
                with suppress(TimeoutError):
                    await asyncio.wait_for(grown.wait(), LOOK_EVERY_S)
                grown.clear()
                if turn.followers:
                    followed_at = time.monotonic()
                answer = await self._read(answer)
        finally:
            del self._turns[answer.id], self._grown[answer.id]
            _take(turn, answer)
            turn.end(answer)  # in any case: somebody may just have begun to follow

    async def _read(self, answer: ChatMessage) -> ChatMessage:
        try:
            return await self._conversations.message_for(answer.user_id, answer.id)
        except NotFound:
            return replace(answer, status=MessageStatus.INTERRUPTED)
        except HearthError:  # the store is away for a moment
            return answer


def _take(turn: Turn, answer: ChatMessage) -> None:
    """Adds what is stored beyond what the turn has."""
    if answer.metadata.sources and not turn.sources_told:
        turn.add(SourcesFound(answer.metadata.sources, None))
    if len(answer.content) > turn.chars:
        turn.add(TextDelta(answer.content[turn.chars :]))
