"""The floor: Starlette on uvicorn passing the stub's bytes through, without users, storage or parsing. The least a Python relay can cost.

Started as a process of its own, with the address to relay to.
"""

import socket
import sys

import aiohttp
import uvicorn
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import Route


def relay(upstream_url):
    """An application that hands every chat on."""
    sessions = []

    async def chat(request):
        if not sessions:
            sessions.append(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        body = await request.body()

        async def passed_on():
            async with sessions[0].post(f"{upstream_url}/v1/chat/completions", data=body, headers={"Content-Type": "application/json"}) as answer:
                async for piece in answer.content.iter_any():
                    yield piece

        return StreamingResponse(passed_on(), media_type="text/event-stream")

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(relay(sys.argv[1]), access_log=False, log_level="warning")).run(sockets=[listening])
