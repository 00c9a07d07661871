"""`hearth`, with scripts in Argo's place: for tests that need runs in a process of its own."""

import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from pipelining import scripted
from seeded_runs import SPEC

import core.app
from core.workflow.model import Engine
from ui.cli import main

if __name__ == "__main__":
    core.app._engines = lambda *_: nullcontext({Engine.ARGO: scripted(SPEC)})
    sys.exit(main())
