"""A small TCP proxy before a server, in the words of toxiproxy: what it is told to be, the way to the server is.

`with Proxy(port) as way:` listens on `way.port`. `way.mode` may be set at any time: "" hands everything on; "down" refuses connections and cuts those that
there are; "latency" hands on after `way.delay_s`; "timeout" takes connections and is silent; "reset_peer" resets one with the first bytes that come.
"""

import asyncio
import socket
import struct
import threading
from contextlib import suppress

MODES = ("", "down", "latency", "timeout", "reset_peer")
LOOK_S = 0.02


class Proxy:
    """The proxy runs in a thread of its own, so tests with a loop and tests without one use it alike."""

    def __init__(self, to_port):
        self.to_port, self.delay_s = to_port, 5.0
        self._mode, self._server, self._ways = "", None, set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def __enter__(self):
        self._thread.start()
        self.mode = ""
        return self

    def __exit__(self, *_):
        self.mode = "down"
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    @property
    def mode(self):
        return self._mode

    @mode.setter
    def mode(self, mode):
        """When this is through, the way is so."""
        assert mode in MODES, mode
        asyncio.run_coroutine_threadsafe(self._become(mode), self._loop).result(5)

    async def _become(self, mode):
        self._mode = mode
        if mode == "down" and self._server is not None:
            self._server.close()
            self._server = None
            await self._end()
        if mode != "down" and self._server is None:
            self._server = await asyncio.start_server(self._taken, "127.0.0.1", self.port)

    async def _end(self):
        ways = list(self._ways)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)

    async def _taken(self, reader, writer):
        self._ways.add(way := asyncio.current_task())
        onward = None
        try:
            away, onward = await asyncio.open_connection("127.0.0.1", self.to_port)
            directions = [asyncio.create_task(self._relay(reader, onward)), asyncio.create_task(self._relay(away, writer))]
            try:
                await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for direction in directions:
                    direction.cancel()
                await asyncio.gather(*directions, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._ways.discard(way)
            for end in (writer, onward):
                if end is not None:
                    with suppress(OSError, RuntimeError):
                        end.close()

    async def _relay(self, reader, writer):
        while data := await reader.read(65536):
            while self.mode == "timeout":  # taken, then silence
                await asyncio.sleep(LOOK_S)
            if self.mode == "latency":
                await asyncio.sleep(self.delay_s)
            if self.mode == "reset_peer":  # RST and not FIN: SO_LINGER on, 0 s
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                return
            writer.write(data)
            await writer.drain()
