"""What the processes of a house tell each other: small words, each about something that only one of them has."""

from enum import StrEnum


class Signal(StrEnum):
    """The words, and what each is about."""

    STOP_ANSWER = "stop answer"
    """The id of the user who wants it, and that of the answer."""
    STOP_SPOKEN = "stop spoken turn"
    """The id of the user who wants it, and that of the request."""
    STOP_CONVERSATION = "stop conversation"
    """The id of the user who deletes it, and its own."""
    STOP_USER = "stop user"
    """The id of a user for whom nothing is to be written or spoken any more."""
    GROWN = "answers grown"
    """The ids of answers of which more is stored."""
    ADMITTED = "admitted"
    """The ids of requests that have a place before a model now."""
