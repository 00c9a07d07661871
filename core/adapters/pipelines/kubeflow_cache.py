"""What a step of a Kubeflow pipeline was given and has made, so that a later one that does the same with the same needn't run.

Imports nothing but the standard library: the worker runs in an interpreter of its own.
"""

import hashlib
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

PASSING = re.compile(r"\{\{\$\.(?:pipeline_|workspace_)")
"""Placeholders that stand for something else in every run."""
LOST = (OSError, KeyError, tarfile.TarError)
"""What `restored` raises where something of a result isn't there, or is damaged."""
MAX_RESULT_CHARS = 200_000
"""A result is kept in the records; a longer one isn't, and its step runs every time."""


def content_of(values: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What a step was given, by name: parameters as they are, of artifacts the kind, the metadata and a digest of the bytes.

    folder: the run's; uris are relative to it or absolute. An artifact that was never written has its name alone.
    """

    def told(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [told(one) for one in value]
        if hasattr(value, "schema_title"):
            return {"schema": value.schema_title, "metadata": value.metadata, "sha256": _digest(folder / value.uri)}
        return value

    return {name: told(value) for name, value in values.items()}


def result_of(outputs: Mapping[str, Any], made: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, Any] | None:
    """What a step has made, in the form in which it is kept; None for what can't be kept so that it is the same afterwards.

    outputs: kfp's.   made: how its artifacts were told, by which they are found again.
    """
    parameters, artifacts = {}, {}
    files = {one["name"] for one in made}
    for name, value in outputs.items():
        if isinstance(value, list) and any(hasattr(one, "schema_title") for one in value):
            return None
        if not hasattr(value, "schema_title"):
            parameters[name] = value
            continue
        file = next((one for one in (name, f"{name}.json", f"{name}.tar") if one in files), "")
        kind = "" if not file else "folder" if (folder / value.uri).is_dir() else "file" if file == name else "numbers"
        artifacts[name] = {"schema": value.schema_title, "metadata": value.metadata, "file": file, "kind": kind}
    result = {"parameters": parameters, "artifacts": artifacts}
    try:
        text = json.dumps(result, allow_nan=False)
    except (TypeError, ValueError):
        return None
    return result if len(text) <= MAX_RESULT_CHARS and json.loads(text) == result else None


def restored(found: Mapping[str, Any], folder: Path, to: Path, make: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """The outputs of a step that is taken over.

    found: the `result` that was kept, and where its `files` lie, by name.   to: the folder that they are put into.
    make: an artifact of kfp's from its fields.
    Raises: LOST.
    """
    to.mkdir(parents=True, exist_ok=True)
    outputs = dict(found["result"]["parameters"])
    for name, told in found["result"]["artifacts"].items():
        path = to / name
        if told["kind"] == "folder":
            with tarfile.open(folder / found["files"][told["file"]]) as packed:
                packed.extractall(to, filter="data")
        elif told["kind"] == "file":
            shutil.move(folder / found["files"][told["file"]], path)
        fields = {"name": name, "uri": str(path), "metadata": told["metadata"], "type": {"schemaTitle": told["schema"]}}
        outputs[name] = make(fields)
    return outputs


def _digest(path: Path) -> str:
    """Of a file, or of all that is in a folder."""
    digest = hashlib.sha256()
    for name, file in _files(path):
        digest.update(f"{name}\0{os.lstat(file).st_size}\0".encode())
        if file.is_symlink():
            digest.update(os.readlink(file).encode())
            continue
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    """Every file with its name, in an order that doesn't depend on the disk; folders without files count too."""
    if path.is_dir() and not path.is_symlink():
        for where, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names) + [one for one in folders if os.path.islink(os.path.join(where, one))]:
                file = Path(where, name)
                yield str(file.relative_to(path)), file
    elif os.path.lexists(path):
        yield "", path
