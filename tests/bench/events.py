"""How long the recorder takes over messages of another program: each delivered one to five times, all shuffled, in conversations of twenty.

    python tests/bench/events.py [--events 10000] [--records sqlite|postgres_18|postgres_15]

Prints one JSON line. `cpu_s`: of this process.   `house_ms`: how long a write of the house had to wait meanwhile.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from contextlib import AsyncExitStack, nullcontext
from datetime import timedelta
from pathlib import Path

import msgspec
import nats

sys.path.insert(0, str(Path(__file__).parent.parent))

import servers
from bench.load import percentile

from core.adapters.accounts_sql import SqlAccounts
from core.adapters.database_postgres import PostgresDatabase
from core.adapters.database_sql import SqliteDatabase
from core.adapters.events_nats import NatsEventLog
from core.adapters.records_sql import EFFECTS
from core.app import now
from core.ids import new_id
from core.users.model import Preferences, User

THREAD = 20
SEED = 20261127


def written(user, count):
    """(subject, body) of that many messages, in threads."""
    found, before, thread, at = [], "", "", now()
    for n in range(count):
        if n % THREAD == 0:
            before, thread = "", new_id()
        data = {"id": new_id(), "role": "user", "content": f"message {n}", "parent_id": before}
        body = {"id": new_id(), "at": at + timedelta(milliseconds=n), "data": data}
        found.append((f"CHAT.{user.id}.{thread}.MessageStored", msgspec.msgpack.encode(body)))
        before = data["id"]
    return found


async def measure(count, records, url, server, home):
    kind = SqliteDatabase if records == "sqlite" else PostgresDatabase
    async with kind(url, home=home) as database, AsyncExitStack() as stack:
        await database.migrate()
        log = await stack.enter_async_context(NatsEventLog(server.url, database, EFFECTS, message_days=30))
        user = User(new_id(), "ada", False, Preferences(), now())
        await SqlAccounts(database).add(user, None)
        dealt, events = random.Random(SEED), written(user, count)
        delivered = [e for e in events for _ in range(dealt.randint(1, 5))]
        dealt.shuffle(delivered)
        async with await nats.connect(server.url) as outside:
            js = outside.jetstream(publish_async_max_pending=1000)
            for subject, body in delivered:
                await js.publish_async(subject, body)
            await js.publish_async_completed()
        waits, recorded = [], 0

        async def house():
            while True:
                begun = time.perf_counter()
                await database.write(lambda _: None)
                waits.append((time.perf_counter() - begun) * 1000)
                await asyncio.sleep(0.05)

        beside, begun = asyncio.create_task(house()), time.perf_counter()
        worked = time.process_time()
        while recorded < count and time.perf_counter() - begun < 120:
            recorded += await log.record()
        took_s, worked_s = time.perf_counter() - begun, time.process_time() - worked
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)
        stored = await database.read(lambda c: c.exec_driver_sql("SELECT count(*), count(DISTINCT content) FROM messages").one())
        in_order = await database.read(
            lambda c: c.exec_driver_sql(
                "SELECT count(*) FROM messages AS m JOIN messages AS p ON p.id = m.parent_id AND p.created_at < m.created_at"
            ).scalar_one()
        )
    return {
        "figure": "recorder",
        "records": records,
        "events": count,
        "delivered": len(delivered),
        "seconds": round(took_s, 2),
        "cpu_s": round(worked_s, 2),
        "load": os.getloadavg()[0],
        "lost": count - stored[1],
        "doubled": stored[0] - stored[1],
        "out_of_order": count - -(-count // THREAD) - in_order,
        "house_ms": {"p50": percentile(waits, 50), "max": round(max(waits), 1)},
    }


def main():
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--events", type=int, default=10_000)
    asked.add_argument("--records", default="sqlite", choices=["sqlite", "postgres_18", "postgres_15"])
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as home, servers.nats_2_15() as server:
        with nullcontext() if given.records == "sqlite" else getattr(servers, given.records)(durable=True) as kept:
            print(json.dumps(asyncio.run(measure(given.events, given.records, kept.url if kept else "", server, Path(home)))), flush=True)


if __name__ == "__main__":
    main()
