"""Measures Hearth and writes docs/benchmarks.md.

`report.py` does everything; `--quick` does it in small sizes, to see that it works, and writes to .test-home; `--short` prints JSON lines of the streams
and fails on counts and ratios, never on milliseconds.
"""

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import ingest, memory, retrieval, start, stop, streams, thread
from bench.document import document
from bench.streams import Round
from bench.verdicts import against, verdicts

ROOT = Path(__file__).parents[2]
MEASURED = ("hearth", "gradio", "starlette", "uvicorn", "uvloop", "aiohttp", "sqlalchemy", "numpy", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    blocks: int
    cells: tuple[Round, ...]
    kills_after_s: tuple[float, ...]
    chunk_counts: tuple[int, ...]
    queries: int
    ingest_bytes: int
    stops: int
    memory_files: int


FULL = Plan(
    blocks=3,
    cells=(
        *(Round(path, 1, 3) for path in ("direct", "floor", "api")),
        *(Round(path, 10, 2) for path in ("direct", "floor", "api", "page")),
        *(Round(path, 50, rounds) for path, rounds in (("direct", 2), ("floor", 3), ("api", 10), ("page", 2))),
    ),
    kills_after_s=(2.6, 3.0, 3.4),
    chunk_counts=(10_000, 100_000),
    queries=200,
    ingest_bytes=200_000,
    stops=40,
    memory_files=300,
)
QUICK = Plan(
    blocks=1,
    cells=tuple(Round(path, chats, 1) for chats in (1, 10, 50) for path in ("direct", "floor", "api", "page") if (path, chats) != ("page", 1)),
    kills_after_s=(2.8,),
    chunk_counts=(2_000, 4_000),
    queries=50,
    ingest_bytes=20_000,
    stops=5,
    memory_files=10,
)
ON_SERVERS = ("turn overhead", "many chats", "recorder", "vectors", "migrate")
BY_THEMSELVES = ("voice", "interruption", "console page", "console watched", "console chats", "pipeline run", "pipeline evaluation", *ON_SERVERS)
"""Figures that other commands measure (`make bench-voice`, `make bench-console`, `make bench-pipelines`, `make bench-servers`)."""
SHORT = tuple(Round(path, chats, 1) for chats in (1, 10) for path in ("direct", "floor", "api"))
SHORT_LIMITS = {"failed": 0, "sql_writes_per_answer": 12, "sql_commits_per_answer": 7, "bytes_per_token": 250}
SHORT_CPU_TO_FLOOR = 6
"""At 10 chats, where what a turn costs weighs more than what a token costs; one round of a shared machine is a coarse measure."""


def machine(size):
    """What a reader must know to judge the figures."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT, check=False).stdout.strip()
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "commit": commit or "unknown",
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "system": f"{platform.system()} {platform.release()}",
        "versions": {"Python": platform.python_version(), "SQLite": sqlite3.sqlite_version} | {name: version(name) for name in MEASURED},
        "size": size,
    }


def _processor():
    try:
        named = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    except OSError:
        named = []
    return named[0] if named else platform.processor() or platform.machine()


def measured(plan):
    """Yields every line; a measurement that fails is a line too, and the others go on."""
    parts = {
        "start": lambda: [start.measure()],
        "streams": lambda: streams.measure(plan.blocks, plan.cells),
        "stop": lambda: [stop.measure(10, plan.stops)],
        "kill -9": lambda: (streams.kill_in_the_middle(after_s=s) for s in plan.kills_after_s),
        "retrieval": lambda: retrieval.measure(plan.chunk_counts, plan.queries),
        "thread": lambda: [thread.measure(500, plan.queries // 2)],
        "ingest": lambda: [ingest.measure(plan.ingest_bytes)],
        "memory": lambda: [memory.measure(plan.memory_files)],
    }
    for what, lines in parts.items():
        begun_s, before = time.monotonic(), os.getloadavg()[0]
        sys.stderr.write(f"{what} …\n")
        try:
            for line in lines():
                yield {"load_average_1min": round(before, 2)} | line
        except Exception as error:  # whatever it is, the other measurements go on  # noqa: BLE001
            yield {"figure": "missing", "what": what, "reason": f"{type(error).__name__}: {error}".splitlines()[0][:300]}
        sys.stderr.write(f"{what}: {time.monotonic() - begun_s:.0f} s\n")


def write(folder, about, lines):
    """The page and its raw figures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [{"figure": "machine"} | about, *lines]))
    (folder / "benchmarks.md").write_text(document(about, lines))
    sys.stderr.write(f"{folder / 'benchmarks.md'} is written\n")


def now_and_here():
    """What a line says that is measured by itself and kept among others'."""
    about = machine("")
    return {name: about[name] for name in ("date", "commit", "processor", "cores")} | {"load_average_1min": round(os.getloadavg()[0], 2)}


def read(folder):
    """(the machine, the lines) of the page as it stands."""
    about, *lines = map(json.loads, (folder / "benchmarks.jsonl").read_text("utf-8").splitlines())
    return {name: value for name, value in about.items() if name != "figure"}, lines


def keep(folder, figures, lines):
    """Puts lines in the place of those of the same figures, and writes the page again; the others stay as they were measured."""
    about, before = read(folder)
    write(folder, about, [*(line for line in before if line["figure"] not in figures), *lines])


def full(plan, folder, size):
    """Everything but what is measured by itself, whose lines stay; 1 if something could not be measured."""
    about = machine(size)
    lines = [line for line in read(folder)[1] if line["figure"] in BY_THEMSELVES] if (folder / "benchmarks.jsonl").is_file() else []
    for line in measured(plan):
        lines.append(line)
        print(json.dumps(line, ensure_ascii=False), flush=True)
    write(folder, about, lines)
    for v in verdicts(lines):
        print(f"{'?' if v.met is None else '✓' if v.met else '✗'} {v.measure}: {v.measured} (target {v.target})")
    return int(any(line["figure"] == "missing" for line in lines))


def short():
    """The streams alone; 1 if a count or a ratio is over its limit."""
    lines = []
    for line in streams.measure(1, SHORT):
        lines.append(line)
        print(json.dumps(line, ensure_ascii=False), flush=True)
    over = [
        f"{line['path']} at {line['chats']}: {name} is {line[name]}, at most {limit}"
        for line in lines
        for name, limit in SHORT_LIMITS.items()
        if line.get(name, 0) > limit
    ]
    ratio = against(lines, "api", "floor", 10, "cpu_us_per_token", lambda a, b: a / b)[0]
    if ratio > SHORT_CPU_TO_FLOOR:
        over.append(f"CPU per token at 10 chats is {ratio:.1f} times the floor's, at most {SHORT_CPU_TO_FLOOR}")
    for sentence in over:
        sys.stderr.write(f"bench-short: {sentence}\n")
    return int(bool(over))


def main():
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="small sizes, written to .test-home/bench-quick")
    size.add_argument("--short", action="store_true", help="streams only, as JSON lines")
    args = parser.parse_args()
    if args.short:
        return short()
    if args.quick:
        return full(QUICK, ROOT / ".test-home" / "bench-quick", "A quick run in small sizes: it shows that the measurements work and says nothing else.")
    return full(FULL, ROOT / "docs", f"{FULL.blocks} blocks.")


if __name__ == "__main__":
    sys.exit(main())
