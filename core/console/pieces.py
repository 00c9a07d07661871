"""A file that is written and taken away in pieces, so that it is never whole in memory."""

import io
from typing import Any


class Pieces(io.RawIOBase):
    """What is written, to be taken away in between; it can't be gone back in."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, data: Any) -> int:
        """Keeps it."""
        self._held += data
        return len(data)

    def take(self) -> bytes:
        """What was written since."""
        taken, self._held = bytes(self._held), bytearray()
        return taken
