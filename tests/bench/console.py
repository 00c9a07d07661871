"""The console over a large house: 200,000 chunks, 10,000 conversations, 1,000,000 events and 10,000 runs of pipelines, opened in a real Chromium.

Prints JSON lines: how long each page takes, warm, until its content is there; what five open overviews cost the web process; and whether a console in which
five admins open one page after the other moves the chats (the browser has only what nobody else wants of the processor then: the admins' own machines draw for
them).
`--scale S` makes everything S times as large, `--write` puts the figures into docs/benchmarks.md.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import load
from bench.house import fresh_home, people
from bench.load import percentile
from bench.processes import cpu_s, serving
from bench.report import ROOT, keep, now_and_here
from browser.conftest import ARGUMENTS, chromium
from console_visits import DRAWN
from playwright.sync_api import sync_playwright
from running_house import PASSWORD, RunningHouse
from sqlalchemy import insert, update

from core.adapters.database_sql import SqliteDatabase
from core.adapters.tables_sql import (
    chunk_vectors,
    chunks,
    collection_versions,
    collections,
    conversations,
    documents,
    experiments,
    messages,
    outbox,
    pipeline_runs,
    pipelines,
    run_metrics,
    users,
)
from core.events import CHAT_ORDER
from core.ids import new_id

CHUNKS, CONVERSATIONS, EVENTS, USERS, RUNS = 200_000, 10_000, 1_000_000, 50, 10_000
EXPERIMENTS, METRICS = 50, 14
"""Among which the runs are, and how many each run has."""
CHUNKS_PER_DOCUMENT, DIMENSIONS = 100, 64
BATCH = 5_000
CONSOLES, WATCHED_S = 5, 20.0
CHATS, TOKENS, ROUNDS, BLOCKS = 10, 100, 5, 4
PAUSE_MS = 1000
"""Between two pages: each of the five admins opens another one about every five seconds."""
WORDS = "backup door garden network cellar key night morning water window bread milk station meeting kitchen light book sister fox dog".split()
PAGES = {
    "overview": "/admin/",
    "collections": "/admin/collections",
    "collection": "/admin/collection?collection={collection}",
    "map of 20,000 passages": "/admin/collection?collection={collection}&view=map",
    "lab": "/admin/lab",
    "golden": "/admin/golden",
    "pipelines": "/admin/pipelines",
    "runs": "/admin/runs",
    "runs by a metric": "/admin/runs?sort=recall_at_10",
    "runs that failed": "/admin/runs?status=failed",
    "experiments": "/admin/experiments",
    "experiment": "/admin/experiments?experiment=tuning-0",
    "conversations": "/admin/conversations",
    "events": "/admin/events",
    "models": "/admin/models",
    "users": "/admin/users",
    "retention": "/admin/retention",
    "backups": "/admin/backups",
    "settings": "/admin/settings",
    "audit": "/admin/audit",
}


async def seed(home, scale):
    """Fills a home; gives its people and the id of its largest collection."""
    people_here = await people(home, USERS)
    random, now = np.random.default_rng(1), datetime.now(UTC)
    async with SqliteDatabase("", home=home) as database:

        async def put(table, rows):
            batch = []
            for row in rows:
                batch.append(row)
                if len(batch) == BATCH:
                    await database.write(lambda c, given=batch: c.execute(insert(table), given))
                    batch = []
            if batch:
                await database.write(lambda c, given=batch: c.execute(insert(table), given))

        await database.write(lambda c: c.execute(update(users).where(users.c.username == "user0").values(role="admin")))
        known = [row.id for row in await database.read(lambda c: c.execute(users.select()).all())]
        collection = new_id()
        about = {"embedding_model": "echo-embed", "dimensions": DIMENSIONS, "chunker": "structure-1/700", "version": 1, "created_at": now}
        await put(
            collections,
            [{"id": collection, "owner_id": known[0], "name": "handbook", **about, "added_version": 1}]
            + [{"id": new_id(), "owner_id": owner, "name": "notes", **about, "added_version": 0} for owner in known[1:]],
        )
        first = {"version": 1, "embedding_model": "echo-embed", "dimensions": DIMENSIONS, "state": "ready", "made_at": now}
        await put(collection_versions, [{"collection_id": collection, **first}])
        count = int(CHUNKS * scale)
        made = [new_id() for _ in range(count // CHUNKS_PER_DOCUMENT)]
        await put(documents, (_document(document, n, collection, known[0], now) for n, document in enumerate(made)))
        vectors = _vectors(random, count)
        every = range(len(made) * CHUNKS_PER_DOCUMENT)
        await put(chunks, ({"n": n + 1, **_chunk(n, made[n // CHUNKS_PER_DOCUMENT], collection, random)} for n in every))
        await put(chunk_vectors, ({"chunk_n": n + 1, "version": 1, "embedding": vectors[n].tobytes()} for n in every))
        await database.write(lambda c: c.execute(update(chunks).values(live=1)))  # afterwards, as a version goes live: the full text follows by trigger
        talks = [(new_id(), known[n % USERS]) for n in range(int(CONVERSATIONS * scale))]
        await put(
            conversations, ({"id": c, "user_id": u, "title": _text(random, 5), "created_at": now - timedelta(minutes=n)} for n, (c, u) in enumerate(talks))
        )
        said = [message for n, (c, u) in enumerate(talks) for message in _turns(c, u, now - timedelta(minutes=n), random)]
        await put(messages, said)
        answers = [m for m in said if m["role"] == "assistant"]
        await put(outbox, _events(answers, int(EVENTS * scale), now))
        within = [new_id() for _ in range(EXPERIMENTS)]
        await put(experiments, ({"id": i, "name": f"tuning-{n}", "user_id": known[0], "baseline": "", "created_at": now} for n, i in enumerate(within)))
        definition = {"name": "embed-again", "version": 1, "engine": "argo", "definition": "kind: Workflow\n", "owner_id": known[0], "shared": False}
        await put(pipelines, [{"id": "embed-again@1", **definition, "created_at": now}])
        made_runs = [_run(n, known[n % USERS], within[n % EXPERIMENTS], now, random) for n in range(int(RUNS * scale))]
        await put(pipeline_runs, made_runs)
        await put(run_metrics, ({"run_id": run["id"], "name": name, "value": value} for run in made_runs for name, value in run["metrics"].items()))
    return people_here, collection


def _text(random, count):
    return " ".join(random.choice(WORDS, count))


def _vectors(random, count):
    """Directions around fifty topics, so that a map of them has a shape."""
    topics = random.standard_normal((50, DIMENSIONS))
    made = topics[np.arange(count) * 50 // max(count, 1)] + 0.6 * random.standard_normal((count, DIMENSIONS))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def _document(document, n, collection, owner, now):
    return {
        "id": document, "collection_id": collection, "owner_id": owner, "title": f"Chapter {n}", "content": "", "source_url": "",
        "status": "ready", "version": 1, "sha256": f"{n:064d}", "media_type": "text/markdown", "size_bytes": 60_000,
        "uri": f"s3://hearth/originals/{document}", "chunks": CHUNKS_PER_DOCUMENT, "created_at": now, "ingested_at": now, "name": f"chapter-{n}.md",
    }  # fmt: skip


def _chunk(n, document, collection, random):
    position = n % CHUNKS_PER_DOCUMENT
    return {
        "id": new_id(), "document_id": document, "collection_id": collection, "version": 1, "position": position, "page": None, "start": position * 600,
        "end": position * 600 + 600, "live": 0, "scope": f"c{collection.replace('-', '')}", "title": "Chapter", "heading": "", "content": _text(random, 12),
    }  # fmt: skip


def _turns(conversation, user, at, random):
    """Two questions with their answers."""
    parent = ""
    for n in range(2):
        asked, answered = new_id(), new_id()
        when = at + timedelta(seconds=n)
        common = {"conversation_id": conversation, "session_id": "", "user_id": user, "status": "complete"}
        told = {"tokens_used": 80, "latency_ms": 900.0, "model_used": "echo", "timing": {"queue_ms": 2.0, "first_token_ms": 120.0, "total_ms": 900.0}}
        question = {"id": asked, "role": "user", "content": _text(random, 8), "metadata": {}, "reply_to": "", "parent_id": parent, "created_at": when}
        answer = {
            "id": answered, "role": "assistant", "content": _text(random, 40), "metadata": told, "reply_to": asked, "parent_id": asked,
            "created_at": when + timedelta(microseconds=1),
        }  # fmt: skip
        yield common | question
        yield common | answer
        parent = answered


def _events(answers, count, now):
    kinds = [kind.value for kind in CHAT_ORDER[2:]]
    for n in range(count):
        answer = answers[n // len(kinds) % len(answers)]
        at = now - timedelta(days=30) * (1 - n / count)
        yield {
            "event_id": new_id(), "type": kinds[n % len(kinds)], "user_id": answer["user_id"], "aggregate_id": answer["conversation_id"], "at": at,
            "data": {"message_id": answer["id"]}, "recorded_at": at,
        }  # fmt: skip


def _run(n, user, experiment, now, random):
    """A run that is over; each tenth has failed."""
    failed = n % 10 == 9
    at = now - timedelta(minutes=n)
    metrics = {} if failed else {"recall_at_10": random.random(), "ms_p95": 100 * random.random()} | {f"loss_{m}": random.random() for m in range(METRICS - 2)}
    return {
        "id": new_id(), "pipeline_id": "embed-again@1", "pipeline_name": "embed-again", "status": "failed" if failed else "succeeded", "started_at": at,
        "completed_at": at + timedelta(seconds=30), "duration_us": 30_000_000, "parameters": {"collection": "handbook", "epochs": n % 7}, "user_id": user,
        "created_at": at, "cause": "console", "experiment_id": experiment, "rerun_of": "", "reason": "A step failed." if failed else "", "metrics": metrics,
        "external_id": "", "external_url": "", "unreachable_since": None, "ending": "",
    }  # fmt: skip


def there(page):
    """Waits until the page's script has run to its end and something of it is drawn."""
    page.wait_for_selector("[data-testid=stHeading] h1")
    page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]') && !document.querySelector('[data-stale=true]')")


def opened(browser, url):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{url}/login?next=/admin/")
    page.fill("[name=username]", "user0")
    page.fill("[name=password]", PASSWORD)
    page.keyboard.press("Enter")
    there(page)
    return page


def measure(scale):
    """Every line."""
    with fresh_home() as home, serving("stub.py") as stub:
        begun_s = time.monotonic()
        known, collection = uvloop.run(seed(home, scale))
        sys.stderr.write(f"seeded in {time.monotonic() - begun_s:.0f} s\n")
        size = {"chunks": int(CHUNKS * scale), "conversations": int(CONVERSATIONS * scale), "events": int(EVENTS * scale), "runs": int(RUNS * scale)}
        given = {"HEARTH_CHAT_PAGE": "true", "HEARTH_LLM_URL": f"{stub.url}/v1#stub"}
        with RunningHouse(home, **given) as house, sync_playwright() as playwright:
            house.wait_for_pages()
            browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
            page = opened(browser, house.url)
            for name, path in PAGES.items():
                took = []
                for _ in range(4):
                    begun_s = time.monotonic()
                    page.goto(house.url + path.format(collection=collection))
                    there(page)
                    if "view=map" in path:
                        page.wait_for_selector(DRAWN)
                        page.evaluate("new Promise(painted => requestAnimationFrame(() => requestAnimationFrame(painted)))")
                    took.append(time.monotonic() - begun_s)
                yield {"figure": "console page", "page": name, **size, "first_s": round(took[0], 2), "warm_p50_s": round(percentile(took[1:], 50), 2)}
            page.context.close()
            watching = [opened(browser, house.url) for _ in range(CONSOLES)]
            pid, begun_s = house.process.pid, time.monotonic()
            used_s = cpu_s(pid)
            watching[0].wait_for_timeout(WATCHED_S * 1000)
            share = (cpu_s(pid) - used_s) / (time.monotonic() - begun_s)
            yield {"figure": "console watched", "consoles": CONSOLES, "seconds": WATCHED_S, "core_percent": round(100 * share, 1)}
            for context in browser.contexts:
                context.close()
            browser.close()
            yield from _beside_chats(playwright, house, known, collection)


def _beside_chats(playwright, house, known, collection):
    """Chats alone and beside admins at work, in turns, so that whatever else the machine does falls on both alike."""
    with tempfile.TemporaryDirectory() as folder:
        gentle = Path(folder) / "chromium"
        # Chromium takes back what is only nice: where it may, as root may, two of its processes go before everybody else's.
        last = "chrt --idle 0" if shutil.which("chrt") else "nice -n 19"
        gentle.write_text(f'#!/bin/sh\nexec {last} "{chromium()}" "$@"\n')
        gentle.chmod(0o755)
        browser = playwright.chromium.launch(executable_path=gentle, args=ARGUMENTS)
        consoles = [opened(browser, house.url) for _ in range(CONSOLES)]
        blocks = [_block(house, known, consoles if busy else (), collection) for _ in range(BLOCKS) for busy in (False, True)]
        browser.close()
    for name, some in (("alone", blocks[::2]), ("beside a busy console", blocks[1::2])):
        chats = [chat for done, _ in some for chat in done]
        yield {"figure": "console chats", "path": name, "chats": CHATS, "pages_opened": sum(pages for _, pages in some), **load.figures(chats)}


def _block(house, known, consoles, collection):
    """(the chats, how many pages were opened meanwhile)."""

    async def chats():
        async with load.client() as session:
            return await load.rounds_of(ROUNDS, CHATS, lambda n: load.chat(session, house.url, TOKENS, known[n + 1].key))

    with ThreadPoolExecutor(1) as threads:
        done, pages = threads.submit(uvloop.run, chats()), 0
        while consoles and not done.done():
            page = consoles[pages % len(consoles)]
            page.goto(house.url + list(PAGES.values())[pages % len(PAGES)].format(collection=collection), wait_until="commit")
            page.wait_for_timeout(PAUSE_MS)
            pages += 1
        return done.result(), pages


def main():
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--scale", type=float, default=1.0)
    asked.add_argument("--write", action="store_true")
    given = asked.parse_args()
    lines = []
    for line in measure(given.scale):
        lines.append(now_and_here() | line)
        print(json.dumps(lines[-1]), flush=True)
    if given.write:
        keep(ROOT / "docs", ("console page", "console watched", "console chats"), lines)


if __name__ == "__main__":
    main()
