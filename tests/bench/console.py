"""The console over a large house: 200,000 chunks, 10,000 conversations, 1,000,000 events and 10,000 runs of pipelines, opened in a real Chromium.

Prints JSON lines: how long each page takes, warm, until its content is there; what five open overviews cost the web process; and whether a console in which
five admins open one page after the other moves the chats, in the chat page and over /v1. The browser has only what nobody else wants of the processor then: the
admins' own machines draw for them. The chats are asked by a process of their own: beside the browser's driver in one, they would wait for Python's lock.
`--scale S` makes everything S times as large, `--write` puts the figures into docs/benchmarks.md.
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import gradio_page, load
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
CHATS, TOKENS, ROUNDS, BLOCKS = 10, 100, 5, 16
PAUSE_MS = 1000
"""Between two pages: each of the five admins opens another one about every five seconds."""
BROWSERS = ("node", "chromium", "chromium-browse")
"""The names of the driver's process and of the browser's."""
PATHS = CHAT_PAGE, API = ("chat page", "`/v1`")
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
    browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
    consoles = [opened(browser, house.url) for _ in range(CONSOLES)]
    for page in consoles:  # who works here has been here before: the browsers keep the console's own files
        for path in PAGES.values():
            page.goto(house.url + path.format(collection=collection))
            there(page)
    chatting, seen = known[1 : CHATS + 1], {(path, busy): ([], []) for path in PATHS for busy in (False, True)}
    with ProcessPoolExecutor(1, get_context("spawn")) as others:
        for path in PATHS:
            others.submit(chats_of, house.url, chatting, path, 1).result()  # neither the process nor a session's first message is measured
        _part()
        for _ in range(BLOCKS):
            for (path, busy), (chats, opened_pages) in seen.items():
                done = others.submit(chats_of, house.url, chatting, path, ROUNDS)
                opened_pages.append(_open_pages(house, consoles if busy else (), collection, done, sum(opened_pages)))
                chats += done.result()
    browser.close()
    for (path, busy), (chats, opened_pages) in seen.items():
        yield {"figure": "console chats", "path": path, "busy": busy, "chats": CHATS, "pages_opened": sum(opened_pages), **load.figures(chats)}


def _part():
    """The browser, its driver and who drives it have the last core to themselves; the house, its model and the chats the others, also while no admin is there.

    To be nice or idle is not enough: whoever waits for a core that a browser has waits for milliseconds. Needs Linux and two cores.
    """
    *others, last = sorted(os.sched_getaffinity(0))
    if not others:
        sys.exit("whether the console moves the chats can't be told on one core: the browser's drawing would be in the figure")
    for process in psutil.Process().children(recursive=True):
        for thread in process.threads():
            os.sched_setaffinity(thread.id, [last] if process.name() in BROWSERS else others)
    os.sched_setaffinity(0, [last])


def chats_of(url, people_here, path, rounds):
    """Chats at once, one for each of these people; and so again."""

    async def chats():
        async with load.client() as session:
            if path == API:
                return await load.rounds_of(rounds, len(people_here), lambda n: load.chat(session, url, TOKENS, people_here[n].key))
            pages = await gradio_page.opened(session, url, [person.cookie for person in people_here])
            return await load.rounds_of(rounds, len(people_here), lambda n: gradio_page.chat(session, pages[n], TOKENS))

    return uvloop.run(chats())


def _open_pages(house, consoles, collection, until, before):
    """How many pages were opened, one after the other, until something was done. before: how many have been; it goes on with the next."""
    pages = 0
    while consoles and not until.done():
        page, path = consoles[pages % len(consoles)], list(PAGES.values())[(before + pages) % len(PAGES)]
        link = page.locator(f"[data-testid=stSidebarNavLink][href$='{path}']")
        if "?" in path or not link.count():  # what a row leads to, a reader's own mark
            page.goto(house.url + path.format(collection=collection), wait_until="commit")
        else:
            link.first.click()
        page.wait_for_timeout(PAUSE_MS)
        pages += 1
    return pages


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
