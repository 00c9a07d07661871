"""Chats through an opened chat page as a browser has them, without one: an event of the page, the stream of its answer, the event of its end."""

import json
import re
import secrets
import time
from dataclasses import dataclass

import aiohttp
import msgspec
from bench.load import Chat, asked

# In the page's HTML the space after a token may have become the end of a paragraph.
TOKEN = re.compile(r"t(\d+):(\d{6,})")
PLACE = re.compile(r'data-growing="([^"]+)".* data-conversation="([^"]+)"', re.DOTALL)
_decode = msgspec.json.Decoder().decode


def signed_in(cookie):
    """The headers of a browser that has signed in."""
    return {"Cookie": f"hearth_session={cookie}"}


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the page: its number, and what its inputs hold when the page is opened, by their name."""

    number: int
    inputs: dict

    def body(self, page, given, event_data=None):
        """The request of a browser whose inputs hold what is given."""
        return {"data": list((self.inputs | given).values()), "event_data": event_data, "fn_index": self.number, "session_hash": page, "trigger_id": None}


@dataclass(frozen=True, slots=True)
class Page:
    """An opened page: its own name, its reader's cookie, and the events that send a message and show a whole answer."""

    url: str
    name: str
    cookie: str
    sending: Event
    ending: Event


async def opened(session, url, cookies):
    """A page for each cookie. The page's events are private and have no names; they are found by what sets them off, with the inputs they have today."""
    async with session.get(f"{url}/chat/config", headers=signed_in(cookies[0])) as answer:
        config = await answer.json()
    components = {c["id"]: c["props"] for c in config["components"]}
    named = {props.get("elem_id"): number for number, props in components.items()}

    def event(trigger, part=None):
        found = next(d for d in config["dependencies"] for target, kind in d["targets"] if kind == trigger and part in (None, *_names(named, target)))
        # The first input is the browser's place, which has no name on the page.
        return Event(found["id"], {components[i].get("elem_id") or "here": components[i].get("value") for i in found["inputs"]})

    loading, sending, ending = event("load"), event("submit", "text"), event("end", "transcript")
    pages = [Page(url, secrets.token_hex(5), cookie, sending, ending) for cookie in cookies]
    for page in pages:
        await _drawn(session, page, loading, {})
    return pages


def _names(named, number):
    return [name for name, known in named.items() if known == number]


async def _drawn(session, page, event, given, event_data=None, seen=None):
    """What an event draws first."""
    body = event.body(page.name, given, event_data)
    async with session.post(f"{page.url}/chat/gradio_api/run/predict", json=body, headers=signed_in(page.cookie)) as answer:
        text = await answer.text()
        if answer.status != 200:
            raise aiohttp.ClientError(f"HTTP {answer.status} {text[:120]}")
    if seen:
        seen.received_bytes += len(text)
    return _decode(text)["data"][0]


async def sent(session, page, tokens, seen=None):
    """(answer id, conversation id) of one message in a new conversation. Raises: AttributeError if the page has no place for its answer."""
    return PLACE.search(await _drawn(session, page, page.sending, {"text": asked(tokens)}, seen=seen)).groups()


async def chat(session, page, tokens):
    """One message in a new conversation, until the page has the whole answer."""
    seen = Chat()
    begun_ns = time.monotonic_ns()
    try:
        answer_id, seen.conversation_id = await sent(session, page, tokens, seen)
        async with session.get(f"{page.url}/growing", params={"answer": answer_id}, headers=signed_in(page.cookie)) as answer:
            await _read(answer, seen)
        here = json.dumps({"conversation": seen.conversation_id, "leaf": answer_id})
        whole = await _drawn(session, page, page.ending, {"here": here}, {"id": answer_id}, seen)
        if "data-growing" in whole or f"t{tokens - 1}:" not in whole:
            seen.error = "the page does not have the whole answer at its end"
    except (aiohttp.ClientError, OSError, TimeoutError, AttributeError) as error:
        seen.error = repr(error)[:120]
    seen.total_ms = (time.monotonic_ns() - begun_ns) / 1e6
    if seen.arrivals_ns:
        seen.ttft_ms = (seen.arrivals_ns[0] - begun_ns) / 1e6
    seen.check(tokens)
    return seen


async def _read(answer, seen):
    """The stream as a browser draws it: each event keeps the beginning of what was drawn."""
    html = ""
    async for line in answer.content:
        now_ns = time.monotonic_ns()
        seen.received_bytes += len(line)
        if line == b"event: finished\n":
            return
        if not line.startswith(b"data: ["):
            continue
        kept, added = _decode(line[6:])
        html = html[:kept] + added
        for number, sent_ns in TOKEN.findall(html):
            if int(number) == len(seen.numbers):  # an event may repeat what was there before
                seen.take(int(number), int(sent_ns), now_ns)
