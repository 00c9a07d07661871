"""Ids: new ones that sort by time, and derived ones that come out the same every time."""

import hashlib
import re
import uuid
from datetime import datetime

from uuid_utils import compat

CHUNKS = uuid.UUID("6f2f6e0c-2f5e-5d0a-9d54-5b8a3f0f1c11")
REPLIES = uuid.UUID("0b7f4d52-6f0b-5f4e-8a42-8f3a4c6f7d22")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """A UUIDv7 as text: unique, and later ones sort after earlier ones (RFC 9562 §5.7)."""
    return str(compat.uuid7())


def timed_id(at: datetime, of: str) -> str:
    """The id of something that happened at that time and is told apart by `of`: as `new_id`, and the same every time, so that making it twice makes one."""
    made = min(max(0, int(at.timestamp() * 1000)), (1 << 48) - 1).to_bytes(6, "big") + hashlib.sha256(of.encode()).digest()[:10]
    bits = int.from_bytes(made, "big") & ~(0xF << 76) & ~(0x3 << 62) | (7 << 76) | (2 << 62)  # the version and the variant (RFC 9562 §4)
    return str(uuid.UUID(int=bits))


def is_id(text: str) -> bool:
    """Whether `text` is a UUID in its canonical lower-case form."""
    return _UUID.fullmatch(text) is not None


def chunk_id(document_id: str, version: int, position: int) -> str:
    """The id of a chunk: the same document, version and position always give the same id, so storing twice changes nothing."""
    return str(uuid.uuid5(CHUNKS, f"{document_id}/{version}/{position}"))


def reply_id(message_id: str) -> str:
    """The id of the answer to a user message: a retried send finds the same answer."""
    return str(uuid.uuid5(REPLIES, message_id))
