"""The same house twice in one run: embedded, and over servers. Prints JSON lines; `--write` puts them into docs/benchmarks.md.

`turn overhead`: an answer of one token, asked one after the other and of both houses in turn; what the model alone takes is taken off. `many chats`: 50 streams
at the same time, again and again, each compared with what was stored. What else servers do is measured by the scripts in OTHERS.
"""

import argparse
import asyncio
import json
import subprocess
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
from bench.report import ON_SERVERS, ROOT, keep, now_and_here
from bench.streams import TOKENS, compare_stored
from running_house import RunningHouse

TURNS, CHATS, ROUNDS = 100, 50, 30
OTHERS = (
    ("moving.py", "50000"),
    ("events.py", "--records", "sqlite"),
    ("events.py", "--records", "postgres_18"),
    ("vectors.py", "milvus-2.3", "100000"),
)


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


def of_the_api():
    """PostgreSQL, NATS and Valkey behind it."""
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
        yield {"figure": "turn overhead", "turns": TURNS, **added, "ratio_p50": round(added["servers"]["p50_ms"] / added["embedded"]["p50_ms"], 2)}
        for name, house in houses.items():
            yield {"figure": "many chats", "house": name, "chats": CHATS, "rounds": ROUNDS, **uvloop.run(many(house, known[name], ROUNDS))}


def of_the_others():
    """Each script by itself, for its servers and its memory end with it."""
    for script, *how in OTHERS:
        told = subprocess.run([sys.executable, Path(__file__).with_name(script), *how], check=True, stdout=subprocess.PIPE, text=True, timeout=600)
        yield from map(json.loads, told.stdout.splitlines())


def main():
    """Prints, and writes where that was asked for."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--write", action="store_true")
    given, lines = asked.parse_args(), []
    for line in (*of_the_api(), *of_the_others()):
        lines.append(now_and_here() | line)
        print(json.dumps(lines[-1]), flush=True)
    if given.write:
        keep(ROOT / "docs", ON_SERVERS, lines)


if __name__ == "__main__":
    main()
