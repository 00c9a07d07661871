"""Keeps the sound of turns where that can be done. A store that is away or full takes nobody's words from them, and no answer: it is said, and that is all."""

import asyncio
import logging

from core.errors import NoSpace, ServiceError, ServiceUnavailable
from core.ports import ObjectStore

log = logging.getLogger(__name__)

KEPT_WITHIN_S = 10.0
"""A store that takes longer counts as away: somebody waits for the end of their turn."""


async def keep(objects: ObjectStore, key: str, sound: bytes) -> ServiceError | None:
    """Puts sound that a row names already; what to tell the speaker where it can't be put, None where it is kept.

    The row goes on naming it: whether a store that broke off has it or not, the sweep drops it after its hour.
    """
    try:
        async with asyncio.timeout(KEPT_WITHIN_S):
            await objects.put(key, sound)
    except (ServiceError, NoSpace, TimeoutError) as error:
        log.warning("the sound %s was not kept: %s", key, error or "no answer in time")
        return ServiceUnavailable("Sorry, the sound of this turn is not kept: its store is away or full.", service="objects", hint="Its text is kept.")
    return None
