"""Chats through the chat page's own queue, as a browser sends them: join, then read the events of one page. Needs sign-in cookies, no browser."""

import re
import secrets
import time
from dataclasses import dataclass

import aiohttp
import msgspec
from bench.load import Chat, asked

# In the page's HTML the space after a token may have become the end of a paragraph.
TOKEN = re.compile(rb"t(\d+):(\d{6,})")
_decode = msgspec.json.Decoder().decode


def signed_in(cookie):
    """The headers of a browser that has signed in."""
    return {"Cookie": f"hearth_session={cookie}"}


@dataclass(frozen=True, slots=True)
class Event:
    """The event that sends a message: its number, and what the page's inputs hold when it is opened, the text in front."""

    number: int
    inputs: tuple


async def sending_event(session, url, cookie):
    """The event that Enter in the text box sets off. It is private, so it has no name; its inputs are read from the page, whatever they are today."""
    async with session.get(f"{url}/chat/config", headers=signed_in(cookie)) as answer:
        config = await answer.json()
    components = {c["id"]: c["props"] for c in config["components"]}
    text_box = next(id for id, props in components.items() if props.get("elem_id") == "text")
    found = next(d for d in config["dependencies"] if [text_box, "submit"] in [list(t) for t in d["targets"]])
    assert found["inputs"][0] == text_box, "the text is no longer the first input"
    return Event(found["id"], tuple(components[id].get("value") for id in found["inputs"][1:]))


async def chat(session, url, event, tokens, cookie):
    """One message in a new conversation of a page of its own, until the page has the whole answer."""
    seen, page = Chat(), secrets.token_hex(5)
    body = {"data": [asked(tokens), *event.inputs], "event_data": None, "fn_index": event.number, "session_hash": page, "trigger_id": None}
    begun_ns = time.monotonic_ns()
    try:
        async with session.post(f"{url}/chat/gradio_api/queue/join", json=body, headers=signed_in(cookie)) as answer:
            if answer.status != 200:
                seen.error = f"HTTP {answer.status} {(await answer.text())[:120]}"
                return seen
        async with session.get(f"{url}/chat/gradio_api/queue/data", params={"session_hash": page}, headers=signed_in(cookie)) as answer:
            await _read(answer, seen)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        seen.error = repr(error)[:120]
    seen.total_ms = (time.monotonic_ns() - begun_ns) / 1e6
    if seen.arrivals_ns:
        seen.ttft_ms = (seen.arrivals_ns[0] - begun_ns) / 1e6
    seen.check(tokens)
    return seen


async def _read(answer, seen):
    async for line in answer.content:
        now_ns = time.monotonic_ns()
        seen.received_bytes += len(line)
        if not line.startswith(b"data:"):
            continue
        for number, sent_ns in TOKEN.findall(line):
            if int(number) == len(seen.numbers):  # an event repeats what was there before
                seen.take(int(number), int(sent_ns), now_ns)
        if b'"process_completed"' in line:
            if not _decode(line[5:]).get("success"):
                seen.error = line.decode()[:120]
            return
