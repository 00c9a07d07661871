"""A proxy before several web processes, as docs/several-processes.md wants one: pages stay where the sign-in cookie leads, the rest goes anywhere."""

import asyncio
import itertools
import threading
from hashlib import sha256

import aiohttp
from aiohttp import web

STAYING = ("/chat", "/voice", "/admin")
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authorization", "content-length"}


class FrontDoor:
    """`with` listens on a free port. urls: of the processes; one that doesn't answer is left out, as proxies do."""

    def __init__(self, *urls):
        self.urls = list(urls)
        self.asked = []
        """(path, whom it went to), of what was answered."""
        self._turns = itertools.count()

    def __enter__(self):
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _serve(self, ready):
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=1 << 28)
        app.router.add_route("*", "/{path:.*}", self._passed_on)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None, connect=2)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()) as self._session:
            ready.set()
            await self._over.wait()
        await runner.cleanup()

    def _order(self, request):
        """Whom to ask first, and whom then."""
        cookie = request.cookies.get("hearth_session", "")
        stays = request.path.startswith(STAYING) and cookie
        first = int(sha256(cookie.encode()).hexdigest(), 16) if stays else next(self._turns)
        return [self.urls[(first + n) % len(self.urls)] for n in range(len(self.urls))]

    async def _passed_on(self, request):
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        for url in self._order(request):
            try:
                answer = await self._session.request(request.method, url + str(request.rel_url), headers=headers, data=body, allow_redirects=False)
            except aiohttp.ClientConnectorError:
                continue
            async with answer:
                self.asked.append((request.path, url))
                told = web.StreamResponse(status=answer.status)
                for name, value in answer.headers.items():
                    if name.lower() not in HOP_BY_HOP:
                        told.headers.add(name, value)
                await told.prepare(request)
                async for piece in answer.content.iter_any():
                    await told.write(piece)
                return told
        return web.Response(status=502)
