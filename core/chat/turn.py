"""One turn while it is being answered: what happens is kept in order, and any number of followers read it from the start.

Knows no model and no store; the room writes, pages and routes follow.
"""

import asyncio
import math
import time
from dataclasses import dataclass, replace
from datetime import datetime

from core.chat.model import ChatMessage, MessageStatus
from core.events import Event
from core.inference import TextDelta
from core.ports import Work
from core.rag.model import RetrievalTrace, Source
from core.traces import UNTOLD
from core.updates import Updates


@dataclass(frozen=True, slots=True)
class Stage:
    """What the turn waits for now: retrieval, summary, queue, model or, where it is read out, the listener (speaking).

    In the queue: the position (1 is next) and about how long it still lasts.
    """

    name: str
    position: int = 0
    eta_s: float | None = None


@dataclass(frozen=True, slots=True)
class SourcesFound:
    """What the answer may cite, before its first word. `trace` is None when the turn is read from the store."""

    sources: tuple[Source, ...]
    trace: RetrievalTrace | None


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer as it is stored; always the last update."""

    message: ChatMessage


Update = Stage | SourcesFound | TextDelta | Finished


class Turn(Updates[Update]):
    """The answer to one message, from accepted to finished."""

    def __init__(self, answer: ChatMessage, question: str, started_at: datetime) -> None:
        super().__init__(Finished)
        self.answer = answer
        self.question = question
        self.started_at = started_at
        self.events: list[Event] = []
        """What has happened and is not yet stored."""
        self.saved_chars = 0
        self.unsaved_since = math.inf
        """When the oldest text that is not stored came, on the monotonic clock in seconds; infinite where there is none."""
        self.lease_until = started_at
        self.heard: asyncio.Future[int | None] | None = None
        """Where the answer is read out: how many characters of it the listener has heard, once that is known; None for all."""
        self.chars = 0
        self.work: Work = UNTOLD
        """What a trace tells of it."""
        self.sources_told = False
        self._speaks = False
        self._pieces: list[str] = []

    @classmethod
    def stored(cls, answer: ChatMessage) -> "Turn":
        """A turn that is over, as if it had been followed."""
        turn = cls(answer, "", answer.created_at)
        if answer.metadata.sources:
            turn.add(SourcesFound(answer.metadata.sources, None))
        if answer.content:
            turn.add(TextDelta(answer.content))
        turn.add(Finished(answer))
        return turn

    def speaks(self) -> None:
        """All of it is written; where it is read out, it waits for the listener now."""
        if not self._speaks:
            self._speaks = True
            self.add(Stage("speaking"))

    def sent(self, answer: ChatMessage) -> None:
        """The message that this answers has been sent, after the answer was begun. answer: the one that is stored, empty; its place and time hold."""
        self.answer = replace(self.answer, parent_id=answer.parent_id, created_at=answer.created_at, session_id=answer.session_id)
        self.events[:] = [replace(event, at=answer.created_at) for event in self.events]

    def placed(self, answer: ChatMessage) -> ChatMessage:
        """A finished answer at the place and time of the stored one: writing it may have begun before."""
        return replace(answer, parent_id=self.answer.parent_id, created_at=self.answer.created_at, session_id=self.answer.session_id)

    def unsaved(self, before: float, chars: int) -> bool:
        """Whether it holds text from before that moment, or so many characters, that are not stored."""
        return self.unsaved_since <= before or self.chars - self.saved_chars >= chars

    @property
    def answer_id(self) -> str:
        """The id of the assistant message."""
        return self.answer.id

    @property
    def conversation_id(self) -> str:
        """The conversation it stands in."""
        return self.answer.conversation_id

    @property
    def text(self) -> str:
        """The answer so far."""
        if len(self._pieces) > 1:
            self._pieces[:] = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    def add(self, update: Update) -> None:
        """Appends an update and wakes whoever follows."""
        if type(update) is TextDelta:
            self._pieces.append(update.text)
            self.chars += len(update.text)
            if self.unsaved_since == math.inf:
                self.unsaved_since = time.monotonic()
        self.sources_told |= type(update) is SourcesFound
        super().add(update)

    def hear(self, chars: int | None) -> None:
        """It is known how far the answer was heard; the first word on that counts."""
        if self.heard is not None and not self.heard.done():
            self.heard.set_result(chars)

    def end(self, answer: ChatMessage) -> None:
        """The last update."""
        self.answer = answer
        self.add(Finished(answer))

    def interrupted(self, error: str) -> ChatMessage:
        """The answer as far as it came."""
        status = MessageStatus.INTERRUPTED if self.chars else MessageStatus.FAILED
        return replace(self.answer, content=self.text, status=status, metadata=replace(self.answer.metadata, error=error))
