"""What a step of a Kubeflow pipeline has made, as files of its run. Imports nothing but the standard library: the worker runs in an interpreter of its own."""

import json
import math
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_METRICS = ("system.Metrics", "system.ClassificationMetrics", "system.SlicedClassificationMetrics")
"""The kinds that are numbers in their metadata: kfp writes no file for them."""
TYPES = {"system.Model": "model", **dict.fromkeys(_METRICS, "metrics")}
"""What the kinds are here; every other one is a dataset."""
DATASET = "dataset"


def of(outputs: Mapping[str, Any], folder: Path, log: Path) -> Iterator[dict[str, Any]]:
    """The artifacts among a step's outputs (kfp's, or lists of them), as they are told: name, type, path from the run's folder, metadata.

    A folder becomes a tar file, metrics become JSON. One that was never written is left out, and `log` says so.
    Raises: ValueError for one that is no file of the run.
    """
    for name, value in outputs.items():
        several = isinstance(value, list)
        for number, artifact in enumerate(value if several else [value]):
            if hasattr(artifact, "schema_title"):
                yield from _told(f"{name}-{number}" if several else name, artifact, folder, log)


def _told(name: str, artifact: Any, folder: Path, log: Path) -> Iterator[dict[str, Any]]:
    path, title = folder / artifact.uri, artifact.schema_title
    if "://" in artifact.uri or not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"The artifact {name!r} lies outside of the run's folder: write it to its path.")
    metadata = {"schema": title, **artifact.metadata}
    if title in _METRICS:
        numbers = {k: v for k, v in artifact.metadata.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
        metadata = {**{k: v for k, v in metadata.items() if k not in numbers}, "metrics": numbers}
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(plain(artifact.metadata)), "utf-8")
            name = f"{name}.json"
    if path.is_dir() and not path.is_symlink():
        packed = path.with_name(f"{path.name}.tar")
        with tarfile.open(packed, "w") as file:
            file.add(path, name)
        path, name = packed, f"{name}.tar"
    if not os.path.lexists(path):
        with log.open("a", encoding="utf-8") as said:
            said.write(f"\nThe artifact {name} was not written.\n")
        return
    yield {"name": name, "type": TYPES.get(title, DATASET), "path": os.path.relpath(path, folder), "metadata": metadata}


def plain(value: Any) -> Any:
    """The value with every number that JSON doesn't know as a text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(held) for held in value]
    return value
