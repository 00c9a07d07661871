"""Chats at the same time against an OpenAI-compatible address, each token timed by the stub's own clock and the text checked token by token."""

import asyncio
import re
import time
from dataclasses import dataclass, field
from itertools import pairwise

import aiohttp
import msgspec
import numpy as np

from core.ids import new_id

TOKEN = re.compile(r"t(\d+):(\d+) ")
FIRST_TOKEN_S = 0.05
TIMEOUT_S = 120
_decode = msgspec.json.Decoder().decode


@dataclass(slots=True)
class Chat:
    """One chat as its client saw it."""

    conversation_id: str = ""
    key: str = ""
    text: str = ""
    error: str = ""
    ttft_ms: float = float("nan")
    total_ms: float = float("nan")
    latencies_ms: list[float] = field(default_factory=list)
    arrivals_ns: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    received_bytes: int = 0

    def check(self, tokens):
        """Notes an error unless every token came, once and in order."""
        if not self.error and self.numbers != list(range(tokens)):
            self.error = f"{len(self.numbers)} tokens of {tokens}, or not in order"

    def take(self, number, sent_ns, now_ns):
        """A token has come."""
        self.numbers.append(number)
        self.latencies_ms.append((now_ns - sent_ns) / 1e6)
        self.arrivals_ns.append(now_ns)


def asked(tokens, rate_hz=50):
    """The question that makes the stub answer with so many tokens."""
    return f"hello [tokens={tokens} rate={rate_hz} ttft={FIRST_TOKEN_S}]"


def client():
    """A session without limits of its own."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), read_bufsize=2**20, cookie_jar=aiohttp.DummyCookieJar()
    )


async def chat(session, url, tokens, key="", *, rate_hz=50):
    """Asks one question in a new conversation and reads the answer to its end."""
    seen = Chat(new_id(), key)
    body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": asked(tokens, rate_hz)}], "conversation_id": seen.conversation_id}
    begun_ns = time.monotonic_ns()
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"} if key else {}) as answer:
            if answer.status != 200:
                seen.error = f"HTTP {answer.status} {(await answer.text())[:120]}"
                return seen
            await _read(answer, seen)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        seen.error = repr(error)[:120]
    seen.total_ms = (time.monotonic_ns() - begun_ns) / 1e6
    if seen.arrivals_ns:
        seen.ttft_ms = (seen.arrivals_ns[0] - begun_ns) / 1e6
    seen.check(tokens)
    return seen


async def _read(answer, seen):
    rest = b""
    async for piece in answer.content.iter_any():
        now_ns = time.monotonic_ns()
        seen.received_bytes += len(piece)
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                _take(seen, _decode(line[6:]), now_ns)


def _take(seen, chunk, now_ns):
    if "error" in chunk:
        seen.error = str(chunk["error"])[:120]
    for choice in chunk.get("choices", ()):
        text = choice["delta"].get("content") or ""
        seen.text += text
        for number, sent_ns in TOKEN.findall(text):
            seen.take(int(number), int(sent_ns), now_ns)


async def rounds_of(count, chats, one):
    """`chats` chats at the same time, `count` times one after the other; `one(n)` is the n-th chat of a round."""
    done = []
    for _ in range(count):
        done += await asyncio.gather(*(one(n) for n in range(chats)))
    return done


def percentile(values, percent):
    """NaN of nothing."""
    return round(float(np.percentile(values, percent)), 2) if len(values) else float("nan")


def figures(done):
    """What a number of chats say together. The first token of each is in the time to the first token, not in the token latency."""
    good = [c for c in done if not c.error]
    ttft_ms, total_ms = [c.ttft_ms for c in good], [c.total_ms for c in good]
    latency_ms = [ms for c in good for ms in c.latencies_ms[1:]]
    gap_ms = [(later - earlier) / 1e6 for c in good for earlier, later in pairwise(c.arrivals_ns)]
    tokens = sum(len(c.numbers) for c in good)
    return {
        "turns": len(done),
        "failed": len(done) - len(good),
        "errors": sorted({c.error for c in done if c.error})[:3],
        "tokens": tokens,
        "ttft_p50_ms": percentile(ttft_ms, 50),
        "ttft_p95_ms": percentile(ttft_ms, 95),
        "token_latency_p50_ms": percentile(latency_ms, 50),
        "token_latency_p95_ms": percentile(latency_ms, 95),
        "token_latency_p99_ms": percentile(latency_ms, 99),
        "gap_p95_ms": percentile(gap_ms, 95),
        "total_p50_ms": percentile(total_ms, 50),
        "bytes_per_token": round(sum(c.received_bytes for c in good) / tokens, 1) if tokens else float("nan"),
    }
