"""A model server without a model: OpenAI's streaming chat, at a pace that the prompt asks for. Started as a process of its own.

`[tokens=N rate=R ttft=S]` in the last message: N tokens, R a second, the first after S seconds; without it a text that can be read out. A token is
`t<number>:<monotonic ns> `, the moment it left; the clock is the same for every process of a machine, so whoever reads a token knows how old it is.
"""

import asyncio
import json
import re
import time

import uvloop
from aiohttp import web

ASKED = re.compile(r"\[tokens=(\d+) rate=([0-9.]+) ttft=([0-9.]+)")
HEAD = {"id": "cmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "stub"}
BEFORE = b"data: " + json.dumps(HEAD, separators=(",", ":")).encode()[:-1] + b',"choices":[{"index":0,"delta":{"content":"'
SPOKEN = """Here is what I know, as far as I can tell. The backups run every night, and they are kept for some weeks. The front door opens in the morning.
The garden is watered twice a week.""".split()
"""What is answered where the prompt asks for no pace: a word at a time, and long enough to be interrupted."""
SPOKEN_FIRST_S, SPOKEN_RATE_HZ = 0.3, 30.0
left_ns = []
AFTER = b'"},"finish_reason":null}]}\n\n'


def last_of(tokens):
    """What follows the last token."""
    usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
    end = HEAD | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}
    return b"data: " + json.dumps(end).encode() + b"\n\ndata: [DONE]\n\n"


async def chat(request):
    """One answer; a client that goes away ends it."""
    asked = ASKED.search((await request.json())["messages"][-1]["content"])
    tokens, rate_hz, first_s = (int(asked[1]), float(asked[2]), float(asked[3])) if asked else (len(SPOKEN), SPOKEN_RATE_HZ, SPOKEN_FIRST_S)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    await response.prepare(request)
    try:
        await asyncio.sleep(first_s)
        begun_s = time.monotonic()
        for n in range(tokens):
            await asyncio.sleep(max(0.0, begun_s + n / rate_hz - time.monotonic()))
            token = f"t{n}:{time.monotonic_ns()} " if asked else f"{SPOKEN[n]} "
            await response.write(BEFORE + token.encode() + AFTER)
        await response.write(last_of(tokens))
        await response.write_eof()
    except ConnectionResetError:
        left_ns.append(time.monotonic_ns())
    return response


async def left(_request):
    """When clients went away before the end of their answer; noticed with the next token, so up to a token later than it happened."""
    return web.json_response(left_ns)


async def models(_request):
    """The one model there is."""
    return web.json_response({"object": "list", "data": [{"id": "stub", "object": "model", "owned_by": "bench", "created": 1}]})


async def main():
    """Serves on a free port and prints the address."""
    app = web.Application()
    app.add_routes([web.get("/v1/models", models), web.post("/v1/chat/completions", chat), web.get("/left", left)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
