"""Writes each pipeline's YAML beside it, with the interpreter that has kfp: `.venv/workflow/bin/python tests/pipelines/kubeflow/compile.py`."""

import importlib
import sys
from pathlib import Path

from kfp import compiler

HERE = Path(__file__).parent

if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    for source in sorted(set(HERE.glob("*.py")) - {Path(__file__)}):
        compiler.Compiler().compile(getattr(importlib.import_module(source.stem), source.stem), str(source.with_suffix(".yaml")))
