"""From the click on Stop in the chat page to the moment the model is free, while other answers go on growing."""

import asyncio
import time

import uvloop
from bench import gradio_page, load
from bench.house import fresh_home, people
from bench.load import percentile
from bench.processes import serving
from running_house import RunningHouse

TOKENS = 5_000
"""More than any chat here lives to see."""
BETWEEN_S = 0.25
LIMIT_S = 5


def measure(chats, stops):
    """One line: so often one of so many growing answers is stopped, and another one begun in its place."""
    with fresh_home() as home, serving("stub.py") as stub:
        known = uvloop.run(people(home, chats))
        with RunningHouse(home, HEARTH_LLM_URL=f"{stub.url}/v1#stub", HEARTH_CHAT_PAGE="true") as house:
            house.wait_for_pages()
            freed_ms = uvloop.run(_stopped(house.url, stub.url, [person.cookie for person in known], stops))
    return {"figure": "stop", "chats": chats, "stops": len(freed_ms), "freed_p50_ms": percentile(freed_ms, 50), "freed_p95_ms": percentile(freed_ms, 95)}


async def _stopped(url, stub_url, cookies, stops):
    """Milliseconds of each stop."""
    async with load.client() as session:
        pages = await gradio_page.opened(session, url, cookies)
        growing = [await _begun(session, page) for page in pages]
        freed_ms = []
        for n in range(stops):
            page, (answer_id, stream) = pages[n % len(pages)], growing[n % len(pages)]
            await asyncio.sleep(BETWEEN_S)
            before, begun_ns = len(await _left(session, stub_url)), time.monotonic_ns()
            headers = gradio_page.signed_in(page.cookie) | {"Sec-Fetch-Site": "same-origin"}
            async with session.post(f"{url}/v1/messages/{answer_id}/stop", headers=headers) as answer:
                answer.raise_for_status()
            freed_ms.append((await _next_left(session, stub_url, before) - begun_ns) / 1e6)
            stream.close()
            growing[n % len(pages)] = await _begun(session, page)
        for _, stream in growing:
            stream.close()
    return freed_ms


async def _begun(session, page):
    """(answer id, its open stream) of a new answer whose first words are there."""
    answer_id, _ = await gradio_page.sent(session, page, TOKENS)
    stream = await session.get(f"{page.url}/growing", params={"answer": answer_id}, headers=gradio_page.signed_in(page.cookie))
    async for line in stream.content:
        if b"t0:" in line:
            return answer_id, stream
    raise AssertionError(f"an answer ended before its first word: {answer_id}")


async def _left(session, stub_url):
    async with session.get(f"{stub_url}/left") as answer:
        return await answer.json()


async def _next_left(session, stub_url, before):
    """When the next client left the stub, on the clock all processes share. Raises: TimeoutError."""
    async with asyncio.timeout(LIMIT_S):
        while len(left := await _left(session, stub_url)) <= before:
            await asyncio.sleep(0.01)
    return left[before]
