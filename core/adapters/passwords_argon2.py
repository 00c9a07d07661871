"""Password hashes with argon2id, in a worker thread: hashing is slow on purpose and must not stop the streams (RFC 9106)."""

import anyio
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

PROFILE = RFC_9106_LOW_MEMORY
"""How slow a hash is, and how much memory it takes."""


class Argon2Passwords:
    """argon2id with RFC 9106's low-memory profile."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher.from_parameters(PROFILE)
        self._nobody = ""
        self._limiter: anyio.CapacityLimiter | None = None

    async def hash(self, password: str) -> str:
        """As the port says."""
        return await anyio.to_thread.run_sync(self._hasher.hash, password, limiter=self._one_at_a_time())

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """As the port says."""
        if password_hash is None and not self._nobody:
            self._nobody = await self.hash("nobody has this password")

        def check() -> bool:
            try:
                return self._hasher.verify(password_hash or self._nobody, password) and password_hash is not None
            except (VerificationError, InvalidHashError):
                return False

        return await anyio.to_thread.run_sync(check, limiter=self._one_at_a_time())

    def _one_at_a_time(self) -> anyio.CapacityLimiter:
        """Each hash takes 64 MB for a moment."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(2)
        return self._limiter
