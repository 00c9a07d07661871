"""`hearth`, with scripts in Kubeflow's place: for tests that need runs of their own making in a process of its own. Argo's place is as it is."""

import sys
from contextlib import asynccontextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from pipelining import scripted
from seeded_runs import SPEC

import core.app
from core.workflow.model import Engine
from ui.cli import main

opened = core.app._engines


@asynccontextmanager
async def engines(*given):
    """Those of the house, but for one."""
    async with opened(*given) as found:
        yield {**found, Engine.KUBEFLOW: scripted(SPEC)}


if __name__ == "__main__":
    core.app._engines = engines
    sys.exit(main())
