"""Keeps the local inference process alive: starts it, restarts it after a crash, ends it.

The listening socket belongs to the parent and is handed to the child. It survives a crash: a request that comes in between waits for the new child
instead of being refused. Imports no torch.
"""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Self

from core.settings import PREFIX, SERVICES, Settings
from inference.device import threads

log = logging.getLogger(__name__)

BACK_OFF_S = (0.1, 0.5, 2.0, 5.0, 15.0)
STEADY_S = 30.0
"""A child that ran so long is restarted at once when it ends."""
STOP_S = 5.0
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "HF_HOME", "VIRTUAL_ENV", "SYSTEMROOT")


class Supervisor:
    """`async with` runs the child; `url` and `token` are good from the start, also while it loads."""

    def __init__(self, settings: Settings) -> None:
        """Takes what the child needs from the settings: home, models, threads."""
        self._settings = settings
        self.token = secrets.token_urlsafe(32)
        self.restarts = 0
        self.pid = 0
        self.state: Literal["stopped", "running", "restarting"] = "stopped"
        self._listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._task: asyncio.Task[None] | None = None
        self._alive: tuple[int, int] = (-1, -1)

    @property
    def url(self) -> str:
        """The base URL of the child."""
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1"

    async def __aenter__(self) -> Self:
        """Opens the socket and starts the child."""
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(512)
        self._alive = os.pipe()
        self._task = asyncio.create_task(self._supervise(), name="inference supervisor")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Ends the child: asked first, then killed."""
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._listening.close()
        for end in self._alive:
            os.close(end)

    def _environment(self) -> dict[str, str]:
        """What the child may know: its own settings and the process token; no key of any server."""
        settings, kept = self._settings, {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        models, how = [f"{name}_model" for name in (*SERVICES, "vad")], ("threads", "idle_s", "queue", "chat_places", "audio_places")
        named = ("home", "traces_url", "llm_max_tokens", "audio_max_mb", "audio_max_s", *models, *(f"inference_{name}" for name in how))
        own = {PREFIX + name.upper(): str(getattr(settings, name)) for name in named}
        # A service that is remote has a URL here too, so that the child does not load a model for it; which URL is not its business.
        remote = {f"{PREFIX}{s.upper()}_URL": "http://elsewhere/v1#elsewhere" for s in SERVICES if s not in settings.local_services()}
        count = str(threads(settings.inference_threads))
        return {**kept, **own, **remote, "HEARTH_INFERENCE_TOKEN": self.token, "OMP_NUM_THREADS": count, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}

    def _log(self) -> BinaryIO:
        folder: Path = self._settings.home / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / "inference.log").open("ab")

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            begun = loop.time()
            await self._run_once()
            failures = 0 if loop.time() - begun > STEADY_S else failures + 1
            self.state = "restarting"
            self.restarts += 1
            wait_s = BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)]
            log.warning("the inference process ended; it starts again in %.1f s", wait_s)
            await asyncio.sleep(wait_s)

    async def _run_once(self) -> None:
        """One life of the child."""
        listening, pipe = self._listening.fileno(), self._alive[0]
        with self._log() as out:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "inference.server", str(listening), str(pipe)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                pass_fds=(listening, pipe),
                start_new_session=True,
                env=self._environment(),
            )
        self.pid, self.state = child.pid, "running"
        try:
            await child.wait()
        finally:
            if child.returncode is None:
                await asyncio.shield(self._end(child))
            self.state = "stopped"

    async def _end(self, child: asyncio.subprocess.Process) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            with suppress(TimeoutError):
                await asyncio.wait_for(child.wait(), STOP_S)
                return
