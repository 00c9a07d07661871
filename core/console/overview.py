"""Whether all is well, and what to do where it is not."""

from collections.abc import Awaitable, Callable, Sequence

from core.records import Health
from core.users.model import Admin


class Overview:
    """What an operator looks at first."""

    def __init__(self, check: Callable[[], Awaitable[Sequence[Health]]]) -> None:
        self._check = check

    async def health(self, admin: Admin) -> Sequence[Health]:
        """Every part of the house, asked now."""
        return await self._check()
