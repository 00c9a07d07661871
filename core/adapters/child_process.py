"""Starting a child process that can be killed, for work on files that may be hostile or broken: they cost their own request and nothing else."""

import asyncio
import os
import signal
import sys
from contextlib import suppress

ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""numpy's threads would each take a share of the memory that a child has."""
KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "SYSTEMROOT")


def kept_environment() -> dict[str, str]:
    """What a child may inherit: a few named variables, and no secret."""
    return {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}


class ChildBroke(Exception):
    """The child ended in a way it should not."""


async def answer_of(module: str, *args: str, timeout_s: float, said: bytes = b"") -> bytes:
    """What `python -m module args` writes to its standard output. `said` is its standard input.

    Raises: TimeoutError when it took longer than `timeout_s` by the clock or by the processor; ChildBroke when it ended with anything but 0. In any case
    it is gone afterwards, with all that it started.
    """
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *args),
        stdin=asyncio.subprocess.PIPE if said else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
        env=kept_environment() | ONE_THREAD,
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, _ = await child.communicate(said or None)
    finally:
        if child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            await child.wait()
    if child.returncode == -signal.SIGXCPU:
        raise TimeoutError
    if child.returncode:
        raise ChildBroke
    return out
