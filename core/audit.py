"""The audit log: who did what to whose things, and when. It is added to and read, never changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from core.ids import new_id


class Act(StrEnum):
    """Everything that leaves a row."""

    READ = "read"
    """Something of another user's was looked at."""
    CHANGED = "changed"
    DELETED = "deleted"
    EXPORTED = "exported"
    SIGNED_IN = "signed in"
    REFUSED = "sign-in refused"
    MADE = "made"
    """A user, a key, a pipeline."""
    RAN = "ran"
    """A pipeline."""
    ROLE = "role changed"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row. `actor_id` and `actor` are "" for the house itself; `subject` names what it was done to, by kind and id."""

    at: datetime
    actor_id: str
    actor: str
    act: Act
    subject: str
    detail: Mapping[str, object] = field(default_factory=dict)
    id: str = field(default_factory=new_id)
