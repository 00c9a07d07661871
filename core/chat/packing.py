"""What of a conversation goes into a prompt: the newest exchanges that fit, whole. Pure arithmetic over tokens; knows no model.

What falls out is summed up (`core/chat/summary.py`) and told with the answer; the question is no part of this, because it is never cut.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from core.inference import Message, Model

MARGIN_TOKENS = 64
"""For what a template writes around a whole prompt."""
MESSAGE_TOKENS = 8
"""For what a template writes around each message."""
LEAST_ROOM_TOKENS = 256
DEFAULT_CONTEXT_TOKENS = 8192
KEPT_MESSAGES = 80
"""At most so many earlier messages are kept as they are. Fewer than are read for a turn, so that each is summed up before it is out of sight."""
CLEARLY = 0.5
"""What is estimated to fill no more of the room needs no counting."""
MOST_BYTES_PER_TOKEN = 8
"""Text of so many bytes for each token of room doesn't fit, whatever the tokenizer."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a summary stands for: the first `messages` messages of a conversation, up to and with the one of the id `until`."""

    text: str
    messages: int
    until: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """The messages before a turn, in order, as far as they were read; `ids` has one for each, empty where the client holds them.

    instructions: system messages of the client's own.   summary: the last one that was made on this way to here.
    """

    messages: tuple[Message, ...] = ()
    ids: tuple[str, ...] = ()
    instructions: tuple[str, ...] = ()
    summary: Summary | None = None

    @property
    def stored(self) -> bool:
        """Whether a summary that is made for it will be found again."""
        return any(self.ids)

    @property
    def summarised(self) -> int:
        """How many of these messages the summary stands for."""
        return self.ids.index(self.summary.until) + 1 if self.summary is not None and self.summary.until in self.ids else 0

    @property
    def unseen(self) -> int:
        """How many messages the summary stands for that were not read."""
        return max(0, self.summary.messages - self.summarised) if self.summary is not None else 0


def room_tokens(model: Model, max_tokens: int) -> int:
    """How many tokens a prompt may have. max_tokens: of the answer."""
    context = min(model.context_tokens or DEFAULT_CONTEXT_TOKENS, model.useful_context_tokens or 1 << 30)
    return max(context - max_tokens - MARGIN_TOKENS, LEAST_ROOM_TOKENS)


def fits_clearly(tokens: Sequence[int], room: int) -> bool:
    """Whether estimates leave so much of the room that nobody need count."""
    return sum(tokens) + MESSAGE_TOKENS * len(tokens) <= room * CLEARLY


def worth_counting(texts: Sequence[str], room: int) -> int:
    """The index of the oldest text that could still fit, the newest first; those before it need no counting."""
    left, first = room * MOST_BYTES_PER_TOKEN, len(texts)
    while first and left > 0:
        first -= 1
        left -= len(texts[first]) + MESSAGE_TOKENS
    return first


def first_kept(history: Sequence[Message], tokens: Sequence[int], room: int, most: int = KEPT_MESSAGES) -> int:
    """The index of the first message that is kept with all after it; `len(history)` where none is.

    tokens: of each message by itself.   room: for all of them, with what stands around each.   most: messages.
    Exchanges are kept whole, from the newest back: an answer never comes without its question, and more room never keeps less.
    """
    kept = used = 0
    for back, (message, cost) in enumerate(zip(reversed(history), reversed(tokens), strict=True), 1):
        used += cost + MESSAGE_TOKENS
        if used > room or back > most:
            break
        if message.role == "user":
            kept = back
    return len(history) - kept
