"""What `hearth doctor` asks beyond what every part is asked all the time: of servers their version and clock, and who serves this house."""

import asyncio
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from core.errors import HearthError
from core.ports import Processes, Server
from core.records import Facts, Health

SKEW = timedelta(seconds=2)
"""How far clocks may be apart: leases, signatures and the age of things are told by them."""
FACTS_TIMEOUT_S = 10.0


async def examined(
    check: Callable[[], Awaitable[Sequence[Health]]], servers: Mapping[str, Server], processes: Processes, clock: Callable[[], datetime]
) -> list[Health]:
    """Every part as `check` finds it; of the servers among them, by part, what they say of themselves. And which processes serve."""
    found = [await _told(health, servers[health.part], clock) if health.ready and health.part in servers else health for health in await check()]
    if servers:
        count = Counter(process.role.value for process in await processes.all())
        found.append(Health("processes", True, ", ".join(f"{n} {role}" for role, n in sorted(count.items())) or "none serves now"))
    return found


async def _told(health: Health, server: Server, clock: Callable[[], datetime]) -> Health:
    begun, before = time.perf_counter(), clock()
    try:
        async with asyncio.timeout(FACTS_TIMEOUT_S):
            facts = await server.facts()
    except HearthError as error:
        return replace(health, ready=False, detail=str(error))
    except TimeoutError:
        return replace(health, ready=False, detail=f"No answer within {FACTS_TIMEOUT_S:.0f} s.")
    took = timedelta(seconds=time.perf_counter() - begun)
    return judged(health, server.adapter, facts, before + took / 2, took)


def judged(health: Health, adapter: str, facts: Facts, now: datetime, took: timedelta) -> Health:
    """A part with what its server has said of itself. now: this machine's time at that moment.   took: how long the server took to say it."""
    if facts.oldest and _numbers(facts.version) < _numbers(facts.oldest):
        return replace(health, ready=False, detail=f"{adapter} is too old. Take {facts.oldest} or newer.")
    apart = abs(facts.at - now) if facts.at else timedelta(0)
    if apart > SKEW + took / 2:
        return replace(
            health, ready=False, detail=f"Its clock is {apart.total_seconds():.1f} s away from this machine's. Let both follow the same time server (NTP)."
        )
    clocks = f", clocks {apart.total_seconds():.1f} s apart" if facts.at else ""
    return replace(health, detail=f"{adapter}, round trip {took / timedelta(milliseconds=1):.0f} ms{clocks}")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
