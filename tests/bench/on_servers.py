"""The API of the same house twice in one run: embedded, and over PostgreSQL, NATS and Valkey. Prints JSON lines.

    .venv/bin/python tests/bench/on_servers.py [--rounds 30]

`turn overhead`: an answer of one token, asked one after the other and of both houses in turn; what the model alone takes is taken off. `many chats`: 50 streams
at the same time, again and again, each compared with what was stored.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import servers
import uvloop
from bench import load
from bench.house import fresh_home, people
from bench.load import percentile
from bench.processes import serving
from bench.streams import TOKENS, compare_stored
from running_house import RunningHouse

TURNS, CHATS = 100, 50


async def overhead(stub, houses):
    """Milliseconds that each house adds to a turn."""
    took = {name: [] for name in ("model", *houses)}
    async with load.client() as session:
        for turn in range(TURNS + 5):
            model = await load.chat(session, stub.url, 1)
            seen = {"model": model} | {name: await load.chat(session, house.url, 1, house.key) for name, house in houses.items()}
            assert not any(chat.error for chat in seen.values()), [chat.error for chat in seen.values()]
            for name, chat in seen.items() if turn >= 5 else ():
                took[name].append(chat.total_ms)
    base = percentile(took.pop("model"), 50)
    return {name: {"p50_ms": round(percentile(ms, 50) - base, 1), "p95_ms": round(percentile(ms, 95) - base, 1)} for name, ms in took.items()}


async def many(house, known, rounds):
    """50 chats at the same time."""
    async with load.client() as session:
        begun_s = time.monotonic()
        done = await load.rounds_of(rounds, CHATS, lambda n: load.chat(session, house.url, TOKENS, known[n].key))
        wall_s = time.monotonic() - begun_s
        await asyncio.sleep(1)
        await compare_stored(session, house, done)
    return load.figures(done) | {"wall_s": round(wall_s, 1)}


def main():
    """Both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    with ExitStack() as stack:
        stub = stack.enter_context(serving("stub.py"))
        parts = {
            "records": stack.enter_context(servers.postgres_18(durable=True)),
            "events": stack.enter_context(servers.nats_2_15()),
            "sessions": stack.enter_context(servers.valkey_8()),
        }
        houses, known = {}, {}
        for name, given in (("embedded", {}), ("servers", {f"{part}_url": server.url for part, server in parts.items()})):
            home = stack.enter_context(fresh_home())
            known[name] = uvloop.run(people(home, CHATS, sign_in=False, **given))
            environment = {f"HEARTH_{setting.upper()}": value for setting, value in given.items()}
            houses[name] = stack.enter_context(RunningHouse(home, HEARTH_LLM_URL=f"{stub.url}/v1#stub", **environment))
            houses[name].key = known[name][0].key
        added = uvloop.run(overhead(stub, houses))
        ratio = round(added["servers"]["p50_ms"] / added["embedded"]["p50_ms"], 2)
        print(
            json.dumps({"figure": "turn overhead", "turns": TURNS, **added, "ratio_p50": ratio, "load_average_1min": round(os.getloadavg()[0], 2)}), flush=True
        )
        for name, house in houses.items():
            print(
                json.dumps({"figure": "many chats", "house": name, "chats": CHATS, "rounds": rounds, **uvloop.run(many(house, known[name], rounds))}),
                flush=True,
            )


if __name__ == "__main__":
    main()
