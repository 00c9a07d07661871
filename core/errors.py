"""Every error a person can meet, each with what happened and what to do next.

Knows nothing of HTTP, toasts or exit codes: `ui/errors.py` turns these into those.

HearthError
├─ SettingsError        a setting is wrong: names the key, the value and the allowed forms
├─ NotFound             it is not there, or it is not yours (the two are never told apart)
├─ NotAllowed           you are known, but this is not yours to do
├─ NotSignedIn          nobody is signed in, or the credential is wrong or has expired
├─ AlreadyThere         the same id with another body, or a name that is taken
├─ BadInput             what was sent can't be used
│  ├─ WrongShape        a vector of another size than the collection's
│  ├─ Unreadable        a file that can't be read as what it says it is
│  ├─ NoSpeech          a recording in which nobody is heard to say anything
│  └─ TooLong           longer than a limit: bytes of a file, tokens of a prompt
├─ IllegalStep          a state that can't follow from the present one
├─ NoSpace              the disk is full or can't be written
├─ ServiceError         something Hearth depends on did not do its part
│  ├─ ServiceRefused    it has answered no, and would again
│  ├─ ServiceUnavailable
│  ├─ ServiceTimeout
│  └─ ServiceBusy       busy is not broken: try again after `retry_after_s`
│     └─ QuotaSpent     what an admin allows for a day is used up
└─ ModelError
   └─ ModelMissing      names the command that fetches it, and the offline choice
"""


class HearthError(Exception):
    """Something a person should read: `message` says what happened, `hint` what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Both are whole sentences, without secrets, paths of the server or stack traces."""
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """The two sentences as one text."""
        return f"{self.message} {self.hint}".strip()


class SettingsError(HearthError):
    """A setting can't be used; names the key, the value and the allowed forms."""


class NotFound(HearthError):
    """It isn't there, or it belongs to somebody else: the caller can't tell which."""


class NotAllowed(HearthError):
    """The user is known, but this isn't theirs to do."""


class NotSignedIn(HearthError):
    """Nobody is signed in, or the credential is wrong, expired or revoked."""


class AlreadyThere(HearthError):
    """The same id with another body, or a name that is taken."""


class BadInput(HearthError):
    """What was sent can't be used; nothing was stored."""


class WrongShape(BadInput):
    """A vector has another size than the collection it is meant for."""


class Unreadable(BadInput):
    """A file can't be read as what it says it is."""


class NoSpeech(BadInput):
    """Nobody is heard to say anything: silence, noise, or speech without an understood word. Told aloud and in text, and no turn is made of it."""


class TooLong(BadInput):
    """Longer than a limit allows: bytes of a file, tokens of a prompt."""


class IllegalStep(HearthError):
    """The wanted state can't follow from the present one."""


class NoSpace(HearthError):
    """The disk is full or can't be written; nothing was accepted."""


class ServiceError(HearthError):
    """Something Hearth depends on did not do its part."""

    retryable = False

    def __init__(self, message: str, *, service: str = "", hint: str = "") -> None:
        """`service` is the port's name as in the settings: llm, embeddings, reranker, records …"""
        super().__init__(message, hint=hint)
        self.service = service


class ServiceRefused(ServiceError):
    """It has answered, and would answer the same again."""

    def __init__(self, message: str, *, status: int = 0, service: str = "", hint: str = "") -> None:
        """`status`: of HTTP; 0 where it has none."""
        super().__init__(message, service=service, hint=hint)
        self.status = status


class ServiceUnavailable(ServiceError):
    """It could not be reached or broke off; trying again may help."""

    retryable = True


class ServiceTimeout(ServiceError):
    """It did not answer in time."""

    retryable = True


class ServiceBusy(ServiceError):
    """It works, but has no room now."""

    retryable = True

    def __init__(self, message: str, *, service: str = "", hint: str = "", retry_after_s: float = 1.0) -> None:
        """`retry_after_s`: when a place is likely to be free."""
        super().__init__(message, service=service, hint=hint)
        self.retry_after_s = retry_after_s


class QuotaSpent(ServiceBusy):
    """A user has used up what they may use in a day; `retry_after_s` is until the next one begins."""


class ModelError(HearthError):
    """A model can't do what was asked of it."""

    def __init__(self, message: str, *, model: str = "", hint: str = "") -> None:
        """`model` as a person names it in settings."""
        super().__init__(message, hint=hint)
        self.model = model


class ModelMissing(ModelError):
    """The model isn't there; the hint names the command that fetches it and the offline choice."""
