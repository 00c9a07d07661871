"""Users, their preferences, sessions and API keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

from core.errors import NotSignedIn, QuotaSpent
from core.inference import Caller, Priority

SESSION_LIFETIME = timedelta(days=7)


class Role(StrEnum):
    """What a user may do beyond their own things."""

    USER = "user"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a user chose once and expects to stay chosen."""

    voice_id: str = ""
    model_preference: str = "default"
    enable_rag: bool = True
    language: str = ""
    """Of the pages, as a code like "de"; "" follows the browser."""
    speech_language: str = ""
    """What they speak, as BCP 47 names it; "" lets the model guess."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What a user may use in a day that begins at 00:00 UTC; None for as much as they like.

    tokens: of prompts and answers together, as the model's server counts them.   requests: questions asked and recordings sent.   audio_s: of recordings.
    """

    tokens: int | None = None
    requests: int | None = None
    audio_s: int | None = None

    def over(self, usual: "Quota") -> "Quota":
        """This one where it says something, the usual one elsewhere."""
        mine, other = (self.tokens, self.requests, self.audio_s), (usual.tokens, usual.requests, usual.audio_s)
        return Quota(*(m if m is not None else o for m, o in zip(mine, other, strict=True)))


NO_QUOTA = Quota()
"""As much as they like."""


@dataclass(frozen=True, slots=True)
class Used:
    """What a user has used on one day."""

    tokens: int = 0
    requests: int = 0
    audio_ms: float = 0.0

    def demand(self, quota: Quota, now: datetime) -> None:
        """Raises: QuotaSpent if nothing is left of something."""
        for used, limit, what in (
            (self.tokens, quota.tokens, "tokens"),
            (self.requests, quota.requests, "requests"),
            (self.audio_ms / 1000, quota.audio_s, "seconds of sound"),
        ):
            if limit is not None and used >= limit:
                raise QuotaSpent(
                    f"Your quota of {limit} for today is used up ({what}).",
                    hint="The next day begins at 00:00 UTC; an admin can allow you more.",
                    retry_after_s=(next_day(now) - now).total_seconds(),
                )


def next_day(now: datetime) -> datetime:
    """When quotas begin again."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a name here. `premium` puts their requests into the premium lane."""

    id: str
    username: str
    premium: bool
    preferences: Preferences
    created_at: datetime
    role: Role = Role.USER
    disabled: bool = False
    quota: Quota = NO_QUOTA
    """Where it differs from the usual one."""

    @property
    def caller(self) -> Caller:
        """This user as the model dispatcher sees them."""
        return Caller(user_key=self.id, priority=Priority.PREMIUM if self.premium else Priority.STANDARD)


@dataclass(frozen=True, slots=True)
class Admin:
    """Somebody who may use the console's rooms. Made by `Users` alone, afresh for every call: a role that was taken away is gone at once."""

    user: User


@dataclass(frozen=True, slots=True)
class Session:
    """A stretch of time in which a user is known. It lives seven days from its start and is never reopened."""

    id: str
    user_id: str
    type: Literal["chat", "voice"]
    started_at: datetime
    last_activity: datetime
    metadata: Mapping[str, object] = field(default_factory=dict)

    @property
    def expires_at(self) -> datetime:
        """Fixed at the start: use does not prolong it."""
        return self.started_at + SESSION_LIFETIME

    def touched(self, now: datetime) -> "Session":
        """The session after use at `now`. Raises: NotSignedIn once it has expired."""
        if now >= self.expires_at:
            raise NotSignedIn("Your sign-in has expired.", hint="Sign in again; everything you wrote is kept.")
        return replace(self, last_activity=max(now, self.last_activity))


class Scope(StrEnum):
    """What a key opens."""

    CHAT = "chat"
    DOCUMENTS = "documents"
    VOICE = "voice"
    METRICS = "metrics"
    PIPELINES = "pipelines"
    OPERATIONS = "operations"
    """What admins do without the console: sweeps, backups, other versions of vectors."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key for programs. Only its hash is kept; `prefix` is what a person recognises it by."""

    id: str
    user_id: str
    name: str
    prefix: str
    created_at: datetime
    last_used_at: datetime | None = None
    scopes: tuple[Scope, ...] = tuple(Scope)
    expires_at: datetime | None = None
