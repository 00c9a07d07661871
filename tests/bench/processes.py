"""The processes that are measured: started, and asked what they cost."""

import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Child:
    """A script that serves at `url`."""

    pid: int
    url: str


@contextmanager
def serving(script, *arguments):
    """Runs a script of this folder, which prints its address first; ends it afterwards."""
    process = subprocess.Popen([sys.executable, str(HERE / script), *arguments], stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip()
        assert url, f"{script} did not start"
        yield Child(process.pid, url)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def cpu_s(pid):
    """Processor seconds that a process has used, its own and the kernel's for it, without its children."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def rss_mb(pid):
    """Resident memory."""
    return psutil.Process(pid).memory_info().rss / 1e6


def maps_torch(pid):
    """Whether torch's library is in the process; None where the system doesn't tell."""
    try:
        return any("torch" in Path(m.path).name for m in psutil.Process(pid).memory_maps())
    except (AttributeError, psutil.Error):
        return None
