"""Streamed answers: the stub itself, the floor, our API and our page in turn, and what a kill -9 leaves of answers that are being written."""

import asyncio
import os
import re
import time
from dataclasses import dataclass

import uvloop
from bench import gradio_page, load
from bench.house import fresh_home, people
from bench.processes import cpu_s, rss_mb, serving
from running_house import RunningHouse

TOKENS = 100
SETTLE_S = 0.7
"""After the last answer, so that what is still written for it is counted too."""
STORED = re.compile(r"^hearth_(sql_writes|sql_commits)_total (\S+)$", re.MULTILINE)
STAMP = re.compile(r"t\d+:(\d+) ")


@dataclass(frozen=True, slots=True)
class Round:
    """One cell of a block: a path, chats at the same time, and how often."""

    path: str
    chats: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Target:
    """What a path's chats are sent to, and the process that is charged for them."""

    pid: int
    chat: object
    """chat(n): the n-th chat of a round."""
    stored: bool = False


def measure(blocks, cells):
    """Yields one line per cell and block. Every block does all cells, so that whatever else the machine does falls on all paths alike."""
    wants_page = any(c.path == "page" for c in cells)
    users = max(c.chats for c in cells)
    with fresh_home() as home, serving("stub.py") as stub, serving("floor.py", stub.url) as floor:
        known = uvloop.run(people(home, users, sign_in=wants_page))
        given = {"HEARTH_LLM_URL": f"{stub.url}/v1#stub", "HEARTH_CHAT_PAGE": str(wants_page).lower()}
        with RunningHouse(home, **given) as house:
            house.wait_for_pages()
            house.key = known[0].key
            uvloop.run(_warm_up(cells, stub, floor, house, known))
            for block in range(1, blocks + 1):
                yield from uvloop.run(_block(block, cells, stub, floor, house, known))


async def _block(block, cells, stub, floor, house, known):
    lines = []
    for cell in cells:
        # New connections for every cell: one that was idle for seconds may be closed by the server in the moment it is used again.
        async with load.client() as session:
            target = await _target(cell.path, session, stub, floor, house, known[: cell.chats])
            lines.append({"figure": "streams", "block": block} | await _cell(cell, target, session, house))
    return lines


async def _target(path, session, stub, floor, house, known):
    if path == "direct":
        return Target(stub.pid, lambda _: load.chat(session, stub.url, TOKENS))
    if path == "floor":
        return Target(floor.pid, lambda _: load.chat(session, floor.url, TOKENS))
    if path == "api":
        return Target(house.process.pid, lambda n: load.chat(session, house.url, TOKENS, known[n].key), stored=True)
    pages = await gradio_page.opened(session, house.url, [p.cookie for p in known])
    return Target(house.process.pid, lambda n: gradio_page.chat(session, pages[n], TOKENS), stored=True)


async def _warm_up(cells, stub, floor, house, known):
    """Every path has answered once and every key has its session, so that no cell pays for being the first."""
    async with load.client() as session:
        for path in {c.path for c in cells}:
            await (await _target(path, session, stub, floor, house, known[:1])).chat(0)
        for person in known:
            await load.chat(session, house.url, 1, person.key)


async def _cell(cell, target, session, house):
    before, load_average = await _counted(session, house), os.getloadavg()[0]
    cpu_before_s, begun_s = cpu_s(target.pid), time.monotonic()
    done = await load.rounds_of(cell.rounds, cell.chats, target.chat)
    wall_s = time.monotonic() - begun_s
    await asyncio.sleep(SETTLE_S)
    used_s, after = cpu_s(target.pid) - cpu_before_s, await _counted(session, house)
    if cell.path == "api":
        await compare_stored(session, house, done)
    line = {"path": cell.path, "chats": cell.chats, "rounds": cell.rounds} | load.figures(done)
    line |= {
        "cpu_us_per_token": round(used_s / line["tokens"] * 1e6, 1) if line["tokens"] else None,
        "rss_mb": round(rss_mb(target.pid), 1),
        "wall_s": round(wall_s, 2),
        "load_average_1min": round(load_average, 2),
    }
    if target.stored:
        line |= {f"{name}_per_answer": round((after[name] - before[name]) / len(done), 2) for name in before}
    return line


async def _counted(session, house):
    async with session.get(f"{house.url}/metrics", headers={"Authorization": f"Bearer {house.key}"}) as answer:
        return {name: float(value) for name, value in STORED.findall(await answer.text())}


async def compare_stored(session, house, done):
    """A chat whose answer isn't stored exactly as it was streamed has failed."""
    few = asyncio.Semaphore(4)

    async def one(seen):
        async with few, session.get(f"{house.url}/v1/conversations/{seen.conversation_id}", headers={"Authorization": f"Bearer {seen.key}"}) as answer:
            body = await answer.json()
            messages = body.get("messages", [{}])
            if (len(messages), messages[-1].get("content"), messages[-1].get("status")) != (2, seen.text, "complete"):
                seen.error = seen.error or f"stored otherwise than streamed (HTTP {answer.status})"

    await asyncio.gather(*(one(seen) for seen in done if not seen.error))


def kill_in_the_middle(streams=10, after_s=3.0):
    """Kills the house with so many answers open, starts it again, and says by how many seconds of text the stored answers are behind."""
    with fresh_home() as home, serving("stub.py") as stub:
        known = uvloop.run(people(home, streams, sign_in=False))
        with RunningHouse(home, HEARTH_LLM_URL=f"{stub.url}/v1#stub") as house:
            seen = uvloop.run(_killed(house, known, after_s))
            house.start()
            behind_s, kept = [], 0
            for chat, person in zip(seen, known, strict=True):
                house.key = person.key
                answer = house.get(f"/v1/conversations/{chat.conversation_id}")[1]["messages"][-1]
                kept += answer["status"] == "interrupted" and bool(answer["content"])
                behind_s.append(_seconds_between(answer["content"], chat.text))
    return {"figure": "kill_9", "streams": streams, "answers_kept": kept, "text_behind_max_s": round(max(behind_s), 3), "text_behind_s": sorted(behind_s)}


async def _killed(house, known, after_s):
    async with load.client() as session:
        chats = [asyncio.create_task(load.chat(session, house.url, 500, p.key)) for p in known]
        await asyncio.sleep(after_s)
        house.kill()
        return await asyncio.gather(*chats)


def _seconds_between(kept, streamed):
    """How much older the last stored token is than the last streamed one, by the stub's clock."""
    last_kept, last_streamed = STAMP.findall(kept), STAMP.findall(streamed)
    if not last_kept:
        return float("inf")
    return round(max(0, int(last_streamed[-1]) - int(last_kept[-1])) / 1e9, 3)
