"""What admins do and look at, written into the audit log."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta

from core.audit import Act, AuditEntry
from core.ports import AuditLog
from core.users.model import Admin

ONE_LOOK = timedelta(minutes=10)
"""A page is drawn again with every click: the same look within that time is one look."""


class Notes:
    """The console's rooms write here, one row for each thing that was done."""

    def __init__(self, audit: AuditLog, clock: Callable[[], datetime]) -> None:
        self._audit, self._clock = audit, clock
        self._looks: dict[tuple[str, str, str], datetime] = {}

    async def note(self, admin: Admin, act: Act, subject: str, /, **detail: object) -> None:
        """Something was done, or is about to be."""
        await self._audit.write(AuditEntry(self._clock(), admin.user.id, admin.user.username, act, subject, detail))

    async def look(self, admin: Admin, subject: str, /, **detail: object) -> None:
        """Something of another's is about to be looked at; before it is, so that a look that fails is noted too."""
        now = self._clock()
        self._looks = {look: at for look, at in self._looks.items() if now - at < ONE_LOOK}
        look = (admin.user.id, subject, json.dumps(detail, sort_keys=True, default=str))
        if look not in self._looks:
            await self.note(admin, Act.READ, subject, **detail)
            self._looks[look] = now
