"""A step that says more than a disk holds: what Hearth keeps of it stays small, in memory and on the disk. The short form is 50 MB, the long one 10 GB."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from pipelining import works

from core.adapters.engine_local import LocalEngine
from core.adapters.pipelines.step_process import taken_bytes
from core.workflow import argo, kubeflow
from core.workflow.model import Engine, RunStatus, StepStatus

pytestmark = pytest.mark.anyio
PIPELINES = Path(__file__).parent.parent.parent / "pipelines"
LOG_BYTES = 100_000
MOST_MORE_BYTES = 32 << 20
"""How much more memory than at their beginning Hearth and the run's process may take."""


def of_argo(_python):
    engine = LocalEngine("Hearth's Argo subset", "argo_worker.py", argo.local_spec, log_bytes=LOG_BYTES, folder_bytes=10_000_000)
    return Engine.ARGO, engine, lambda megabytes: (PIPELINES / "argo" / "loud.yaml").read_text().replace("range(50)", f"range({megabytes})")


def of_kubeflow(python):
    engine = LocalEngine("kfp.local", "kubeflow_worker.py", kubeflow.local_spec, python=python, needs="kfp", log_bytes=LOG_BYTES, folder_bytes=10_000_000)
    text = (PIPELINES / "kubeflow" / "rude.yaml").read_text()
    return Engine.KUBEFLOW, engine, lambda megabytes: text.replace("defaultValue: 50.0", f"defaultValue: {megabytes}.0")


def of_run(run):
    """The living processes of a run that carry its mark, by whether each is its worker."""
    found = {True: [], False: []}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("HEARTH_RUN") == run.id and process.status() != psutil.STATUS_ZOMBIE:
                found[any("_worker.py" in part for part in process.cmdline())].append(process)
    return found


class Watched:
    """What Hearth and the run's worker take of memory, and the run of the disk, from the first word of the step on."""

    def __init__(self, here, run):
        self._here, self._run = here, run
        self.first, self.most, self.disk_bytes = {}, {}, 0

    async def to_its_end(self, within_s):
        async with asyncio.timeout(within_s):
            while not (now := await self._here.room.run(self._here.ada, self._run.id)).status.over:
                self._look(bool((await self._here.room.steps(self._here.ada, self._run.id)).items))
                await asyncio.sleep(0.1)
        return now

    def _look(self, begun):
        self.disk_bytes = max(self.disk_bytes, taken_bytes(self._here.dispatcher.folder_of(self._run.id)))
        for name, processes in (("hearth", [psutil.Process()]), ("worker", of_run(self._run)[True])):
            with suppress(psutil.Error, IndexError):
                taken = processes[0].memory_info().rss
                if begun:
                    self.first.setdefault(name, taken)
                    self.most[name] = max(self.most.get(name, 0), taken)

    def more(self):
        return {name: self.most[name] - self.first[name] for name in self.first}


@pytest.mark.parametrize("megabytes", [50, pytest.param(10_000, marks=[pytest.mark.full, pytest.mark.timeout(1800)])], ids=lambda n: f"{n}MB")
@pytest.mark.parametrize("dialect", [of_argo, of_kubeflow], ids=lambda one: one.__name__)
async def test_a_step_that_writes_without_end_takes_neither_memory_nor_disk(tmp_path, kfp_python, dialect, megabytes):
    language, engine, text = dialect(kfp_python)
    async with works(tmp_path, engine=engine, language=language, wall_s=1700) as here:
        began = time.monotonic()
        watched = Watched(here, run := await here.start(text(megabytes), "loud"))
        ended = await watched.to_its_end(1700)
        print(f"{megabytes} MB of output in {time.monotonic() - began:.1f} s: {watched.disk_bytes:,} bytes on the disk, {watched.more()} more in memory")
        assert (ended.status, ended.reason) == (RunStatus.SUCCEEDED, "")
        assert watched.disk_bytes < 10 * LOG_BYTES
        assert max(watched.more().values(), default=0) < MOST_MORE_BYTES
        loud = next(s for s in (await here.room.steps(here.ada, run.id)).items if s.key in ("loud", "flood"))
        part = await here.room.log(here.ada, run.id, loud.key, 1, limit=1 << 20)
        assert part.size_bytes < LOG_BYTES + 1000
        assert "bytes are left out here" in part.text
        assert {"first", "the beginning"} & set(part.text.splitlines())
        assert {"last", "the end"} & set(part.text.splitlines())


async def test_a_daemon_of_a_step_of_kubeflows_is_gone_with_the_run_and_holds_nothing_up(tmp_path, kfp_python):
    language, engine, text = of_kubeflow(kfp_python)
    async with works(tmp_path, engine=engine, language=language) as here:
        ended = await here.ended(run := await here.start(text(1), "rude"), 40)
        assert ended.status is RunStatus.SUCCEEDED
        assert {step.key: step.status for step in (await here.room.steps(here.ada, run.id)).items} == dict.fromkeys(
            ("flood", "daemonise"), StepStatus.SUCCEEDED
        )
        assert of_run(run) == {True: [], False: []}
