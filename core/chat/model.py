"""Conversations and their messages. A message never changes once it is created.

An answer that is still being written is a `generating` message with a lease: it is not yet created in that sense. It becomes `complete`,
`stopped`, `failed` or `interrupted` exactly once, and from then on nothing changes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from core.errors import BadInput, IllegalStep
from core.events import Event
from core.ids import is_id
from core.inference import Usage
from core.rag.model import RAGQuery, Source
from core.users.model import NO_QUOTA, Quota

MAX_MESSAGE_BYTES = 256 * 1024
MAX_TEMPERATURE = 2.0
MAX_ANSWER_TOKENS = 32_768
MAX_SYSTEM_PROMPT_CHARS = 20_000
MAX_REASON_CHARS = 2_000


class MessageStatus(StrEnum):
    """How far a message has come; every state but GENERATING is final."""

    GENERATING = "generating"
    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def final(self) -> bool:
        """Whether nothing may change any more."""
        return self is not MessageStatus.GENERATING

    def to(self, status: "MessageStatus") -> "MessageStatus":
        """The next state. Raises: IllegalStep out of a final state, or back to generating."""
        if self.final or status is MessageStatus.GENERATING:
            raise IllegalStep(f"A message can't go from {self} to {status}.")
        return status


@dataclass(frozen=True, slots=True)
class MessageContent:
    """What is said, and how many tokens it is (0 where nobody counted)."""

    text: str
    tokens: int = 0

    def __post_init__(self) -> None:
        """Raises: BadInput if the text is larger than a message may be."""
        if len(self.text.encode()) > MAX_MESSAGE_BYTES:
            raise BadInput(
                f"A message may have at most {MAX_MESSAGE_BYTES // 1024} KB of text.",
                hint="Put long text into a document and ask about it.",
            )


@dataclass(frozen=True, slots=True)
class Timing:
    """Where the time of an answer went, in milliseconds; None where a part didn't happen or isn't known."""

    queue_ms: float | None = None
    retrieval_ms: float | None = None
    first_token_ms: float | None = None
    total_ms: float | None = None


@dataclass(frozen=True, slots=True)
class MessageMetadata:
    """What an answer cost and what it rests on. `rag_sources` are chunk ids; `sources` is what was shown for them."""

    tokens_used: int = 0
    latency_ms: float = 0.0
    rag_sources: tuple[str, ...] = ()
    model_used: str = ""
    sources: tuple[Source, ...] = ()
    retrieval: Mapping[str, object] | None = None
    """The stages of the retrieval: ranks, scores and milliseconds, as JSON."""
    timing: Timing = field(default_factory=Timing)
    usage: Usage | None = None
    error: str = ""
    caution: str = ""
    """Why the answer should not be relied on, where Hearth knows a reason."""
    continues: str = ""
    """The id of the interrupted answer that this one goes on from."""
    dropped: int = 0
    """How many earlier messages of the conversation had no room in the prompt."""
    summary: str = ""
    """What stood in the prompt for them."""
    summarised: int = 0
    """How many of the conversation's first messages the summary stands for: those that were dropped, and some that will be next."""
    summarised_to: str = ""
    """The id of the last of them."""


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of one conversation."""

    id: str
    conversation_id: str
    session_id: str
    user_id: str
    role: Literal["user", "assistant", "system"]
    content: str
    created_at: datetime
    metadata: MessageMetadata = field(default_factory=MessageMetadata)
    status: MessageStatus = MessageStatus.COMPLETE
    reply_to: str = ""
    """The user message that an assistant message answers."""
    parent_id: str = ""
    """The message before it; "" for the first. Messages with the same parent are branches: another wording, another answer."""


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """How the answers of one conversation are made; what is left empty is as the house has it."""

    model: str = ""
    temperature: float | None = None
    max_tokens: int | None = None
    system_prompt: str = ""
    beside: str = ""
    """A second model that answers every question too, so that the two can be read side by side; "" for none."""

    def __post_init__(self) -> None:
        """Raises: BadInput for a value out of range."""
        if self.temperature is not None and not 0 <= self.temperature <= MAX_TEMPERATURE:
            raise BadInput(f"The temperature must be between 0 and {MAX_TEMPERATURE:g}, not {self.temperature:g}.", hint="0 is the most predictable.")
        if self.max_tokens is not None and not 1 <= self.max_tokens <= MAX_ANSWER_TOKENS:
            raise BadInput(f"An answer may have 1 to {MAX_ANSWER_TOKENS:,} tokens, not {self.max_tokens:,}.")
        if len(self.system_prompt) > MAX_SYSTEM_PROMPT_CHARS:
            raise BadInput(f"A system prompt may have at most {MAX_SYSTEM_PROMPT_CHARS:,} characters.", hint="Put long text into a document.")


@dataclass(frozen=True, slots=True)
class Conversation:
    """A tree of messages; it has at least one, and one path of it is read at a time. `messages` may be a page of that path.

    found: where a search led here, the words around what was found in a message.
    """

    id: str
    user_id: str
    title: str
    created_at: datetime
    updated_at: datetime
    messages: tuple[ChatMessage, ...] = ()
    pinned: bool = False
    tags: tuple[str, ...] = ()
    settings: ChatSettings = field(default_factory=ChatSettings)
    found: str = ""


@dataclass(frozen=True, slots=True)
class Thread:
    """One path through a conversation, in its order.

    branches: for each message of the path that has siblings, all of them by age, itself included.   older: there are messages before these.
    """

    messages: tuple[ChatMessage, ...]
    branches: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    older: bool = False


class Verdict(StrEnum):
    """What a reader thinks of an answer."""

    GOOD = "good"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Feedback:
    """A reader's verdict on one answer; the last one counts."""

    message_id: str
    user_id: str
    verdict: Verdict
    reason: str
    created_at: datetime

    def __post_init__(self) -> None:
        """Raises: BadInput for a reason that is a whole text."""
        if len(self.reason) > MAX_REASON_CHARS:
            raise BadInput(f"A reason may have at most {MAX_REASON_CHARS:,} characters.")


@dataclass(frozen=True, slots=True)
class SavedPrompt:
    """A text that a user asks again and again, under a name of theirs."""

    id: str
    user_id: str
    name: str
    text: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Share:
    """A link with which anybody may read one path of a conversation until it is revoked. Only a hash of its secret is kept.

    leaf_id: the last message that is shown; what is written later is not shared.
    """

    id: str
    user_id: str
    conversation_id: str
    leaf_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SendMessage:
    """What a client sends: ids of its own making, so that sending again is safe.

    collections: names; empty means that no documents are read.   rag: the retrieval's depth, if it is not the usual one.
    history: earlier messages that the client holds itself (OpenAI clients do); None means the stored conversation.
    parent_id: the message that this one follows; None for the newest of the conversation, "" to begin it anew.
    """

    conversation_id: str
    message_id: str
    content: MessageContent
    collections: tuple[str, ...] = ()
    rag: RAGQuery | None = None
    model: str = "default"
    max_tokens: int | None = None
    temperature: float | None = None
    history: tuple[tuple[Literal["system", "user", "assistant"], str], ...] | None = None
    continues: str = ""
    parent_id: str | None = None
    settings: ChatSettings = field(default_factory=ChatSettings)
    """Of a conversation that begins with this message; one that is there keeps its own."""
    read_out: bool = False
    """The answer is spoken: it is stored when, and as far as, it has been heard (`ChatRoom.heard`)."""

    def __post_init__(self) -> None:
        """Raises: BadInput if an id isn't a UUID or the text is empty."""
        for name, value in (("conversation_id", self.conversation_id), ("message_id", self.message_id)):
            if not is_id(value):
                raise BadInput(f"{name} must be a UUID in lower case, not {value[:60]!r}.", hint="Make a new UUIDv7 for each.")
        if not self.content.text.strip():
            raise BadInput("The message is empty.", hint="Write something first.")


@dataclass(frozen=True, slots=True)
class NewTurn:
    """One turn as it is stored before anything is answered. `question` is None where an earlier one is answered again or its answer continued.

    parent_id: what the question (or, without one, the answer) follows; None for the newest message of the conversation.
    history: how many earlier messages the answer may need; they come back in `Accepted`.
    quota: what its user may use on that day.
    """

    conversation: Conversation
    question: ChatMessage | None
    answer: ChatMessage
    lease_until: datetime
    events: tuple[Event, ...]
    history: int = 0
    parent_id: str | None = None
    quota: Quota = NO_QUOTA


@dataclass(frozen=True, slots=True)
class Accepted:
    """`stored`: the answer of the same turn sent before, None if this one is new.

    history: the messages before this turn on its path, in their order.   settings: of the conversation.   parent_id: where the answer now stands.
    """

    stored: ChatMessage | None
    history: tuple[ChatMessage, ...] = ()
    settings: ChatSettings = field(default_factory=ChatSettings)
    parent_id: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The text of an answer so far, and what has happened since the last one; keeps its lease alive."""

    message_id: str
    text: str
    lease_until: datetime
    events: tuple[Event, ...] = ()
