"""Pipelines on this machine: one child process for each run, in a group of its own, which tells what its steps do on a pipe.

It inherits nothing but PATH: no secret of the house is in reach of a step. Whatever a run has started, daemons too, carries the run's id in its environment
and is ended with it.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import msgspec
import psutil

from core.adapters.child_process import kept_environment
from core.adapters.pipelines.step_process import last_words, taken_bytes
from core.errors import HearthError, SettingsError
from core.workflow.model import EngineReport, Order, PipelineSpec, Produced, RunReport, StepReport, StepStatus

log = logging.getLogger(__name__)

WORKERS = Path(__file__).parent / "pipelines"
MARK = "HEARTH_RUN"
"""The variable by which everything of a run is known."""
EVENTS = "HEARTH_RUN_EVENTS"
"""The variable that names the pipe's descriptor to the worker, which keeps it from the steps."""
GRACE_S, PATIENCE_S = 0.4, 3.0
"""How long a run may take to end by itself, and how long it is waited for after that."""
MAX_LINE_BYTES = 8 << 20
WATCH_S = 1.0
POLL_S = 0.05
WANTED = "wanted"
KILLED = (137, -signal.SIGKILL)


class Told(msgspec.Struct, frozen=True):
    """A line that a worker writes: of a step, or of the run when `status` says how it ended and `key` is "".

    With the status WANTED it asks what was made with that fingerprint, and waits for the line that answers.
    """

    status: str
    at: float
    key: str = ""
    name: str = ""
    task: str = ""
    attempt: int = 1
    log: str = ""
    inputs: dict[str, Any] = {}
    outputs: dict[str, Any] = {}
    artifacts: tuple[Produced, ...] = ()
    error: str = ""
    parent: str = ""
    fingerprint: str = ""
    result: dict[str, Any] = {}
    cached_from: str = ""

    def report(self) -> EngineReport:
        """What it says. Raises: ValueError for a status that there isn't."""
        if not self.key:
            return RunReport(self.status == "succeeded", self.error)
        moment = datetime.fromtimestamp(self.at, UTC)
        return StepReport(
            self.key,
            self.name or self.key,
            self.task or self.key,
            StepStatus(self.status),
            moment,
            self.attempt,
            self.log,
            self.inputs,
            self.outputs,
            self.artifacts,
            self.error,
            self.parent,
            self.fingerprint,
            self.result,
            self.cached_from,
        )


class LocalEngine:
    """Runs one language's pipelines with its worker, a script of the folder `pipelines`."""

    survives = False

    def __init__(
        self,
        adapter: str,
        worker: str,
        validate: Callable[[str], PipelineSpec],
        *,
        python: str = "",
        needs: str = "",
        log_bytes: int,
        folder_bytes: int,
    ) -> None:
        """python: the interpreter to run it with; "" for ours.   needs: the package that it must have, for `check`.

        log_bytes: of each step's output.   folder_bytes: what the files of a run may take while it lasts.
        """
        self.adapter, self._worker, self._validate = adapter, WORKERS / worker, validate
        self._python, self._needs = python or sys.executable, needs
        self._log_bytes, self._folder_bytes = log_bytes, folder_bytes

    def validate(self, definition: str) -> PipelineSpec:
        """As the port says."""
        return self._validate(definition)

    async def check(self) -> None:
        """As the port says."""
        if not self._needs or (self._python == sys.executable and find_spec(self._needs)):
            return
        missing = SettingsError(
            f"Pipelines of this kind need {self._needs}, which is not installed.",
            hint="Install it with `pip install 'hearth[workflow]'`, or name an interpreter that has it in HEARTH_WORKFLOW_PYTHON.",
        )
        if self._python == sys.executable:
            raise missing
        asked = (self._python, "-c", f"import importlib.util, sys; sys.exit(importlib.util.find_spec({self._needs!r}) is None)")
        try:
            if (await anyio.run_process(asked, check=False, env=kept_environment())).returncode:
                raise missing
        except OSError as error:
            raise missing from error

    async def run(self, order: Order) -> AsyncIterator[EngineReport]:
        """As the port says."""
        try:
            await self.check()
            await anyio.to_thread.run_sync(_prepare, order, self._log_bytes)
        except HearthError as error:
            yield RunReport(False, str(error))
            return
        # Sockets, not a pipe: uvloop closes the descriptor of a pipe twice, and by then it may be another thread's.
        here, there = socket.socketpair()
        said = (order.folder / "worker.log").open("wb")
        try:
            environment = kept_environment() | {
                "LANG": "C.UTF-8",
                "HOME": str(order.folder),
                "TMPDIR": str(order.folder / "scratch"),
                "PIP_NO_INDEX": "1",
                "PYTHONUNBUFFERED": "1",
                MARK: order.run_id,
                EVENTS: str(there.fileno()),
            }
            child = await asyncio.create_subprocess_exec(
                *(self._python, str(self._worker), str(order.folder)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=said,
                env=environment,
                cwd=order.folder,
                start_new_session=True,
                pass_fds=(there.fileno(),),
            )
        except BaseException:
            here.close()
            raise
        finally:
            there.close()  # or the reader never sees the end
            said.close()
        try:
            async for report in self._reports(order, child, here):
                yield report
        finally:
            with anyio.CancelScope(shield=True):
                await _end(child.pid, order.run_id)
                await child.wait()

    async def _reports(self, order: Order, child: asyncio.subprocess.Process, events: socket.socket) -> AsyncIterator[EngineReport]:
        reader, writer = await asyncio.open_connection(sock=events, limit=MAX_LINE_BYTES)
        too_much = asyncio.create_task(_outgrown(order.folder, self._folder_bytes))
        try:
            while True:
                line = asyncio.ensure_future(reader.readline())
                await asyncio.wait([line, too_much], return_when=asyncio.FIRST_COMPLETED)
                if too_much.done():
                    line.cancel()
                    yield RunReport(False, f"Its files took more than {self._folder_bytes / 1e9:g} GB, which is the most a run may have.")
                    return
                if not line.result():
                    break
                told = msgspec.json.decode(line.result(), type=Told)
                if told.status == WANTED:
                    await _answer(child, order, told.fingerprint)
                    continue
                report = told.report()
                yield report
                if isinstance(report, RunReport):
                    return
        except (ValueError, msgspec.DecodeError) as error:
            yield RunReport(False, f"The process of the run said something that can't be understood: {error}")
            return
        finally:
            too_much.cancel()
            writer.close()
        code = await child.wait()
        if code in KILLED:
            yield RunReport(False, "The process of the run was killed, probably because memory ran out.")
        else:
            said = await anyio.to_thread.run_sync(last_words, order.folder / "worker.log")
            yield RunReport(False, f"The process of the run ended with code {code}. {said}".strip())

    async def stop(self, order: Order) -> None:
        """As the port says."""
        await _end(0, order.run_id)


async def _answer(child: asyncio.subprocess.Process, order: Order, fingerprint: str) -> None:
    """A line for a worker that asks what was made with that fingerprint: a `Recalled`, or null. One that is gone hears nothing."""
    found = None
    if order.recall is not None:
        try:
            found = await order.recall(fingerprint)
        except HearthError as error:  # the step runs, as if nothing had been kept
            log.warning("What an earlier run has made can't be taken over: %s", error)
    pipe = child.stdin
    if pipe is not None:
        with suppress(ConnectionError):
            pipe.write(msgspec.json.encode(found) + b"\n")
            await pipe.drain()


def _prepare(order: Order, log_bytes: int) -> None:
    """The worker's input: definition.yaml as it is stored, and order.json."""
    (order.folder / "scratch").mkdir(parents=True, exist_ok=True)
    (order.folder / "definition.yaml").write_text(order.pipeline.definition, "utf-8")
    cache = order.cache and order.recall is not None
    told = {"run_id": order.run_id, "pipeline": order.pipeline.name, "parameters": order.parameters, "log_bytes": log_bytes, "cache": cache}
    (order.folder / "order.json").write_bytes(msgspec.json.encode(told))


async def _end(group: int, run_id: str) -> None:
    """Ends a run's process group (0: it has none), and whatever else carries its mark: the leader may obey SIGTERM while a step ignores it."""
    for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, PATIENCE_S)):
        waited_s = 0.0
        while waited_s <= patience_s:
            found = await anyio.to_thread.run_sync(_of_run, group, run_id)
            if not found:
                return
            if number == signal.SIGKILL or not waited_s:
                for process in found:
                    with suppress(psutil.Error):
                        process.send_signal(number)
            await asyncio.sleep(POLL_S)
            waited_s += POLL_S


def _of_run(group: int, run_id: str) -> list[psutil.Process]:
    """Every process that is in the group or carries the mark. Zombies don't count: whoever should have waited for them may be gone.

    One that has cleared its environment and left its group isn't found.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if (group and os.getpgid(process.pid) == group) or process.environ().get(MARK) == run_id:
                found.append(process)
    return found


async def _outgrown(folder: Path, most_bytes: int) -> None:
    """Returns once the folder holds more than that."""
    while True:
        if await anyio.to_thread.run_sync(taken_bytes, folder) > most_bytes:
            return
        await asyncio.sleep(WATCH_S)
