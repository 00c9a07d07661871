"""The catalogue: which models there are, what is known of each, and whether its files are here. Loads no model."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from core.errors import ModelError, ModelMissing
from core.inference import Grounding, Service

HUB = re.compile(r"hf:[\w.-]+/[\w.-]+@[0-9a-f]{40}")
COMPLETE = "complete.json"
"""Written last into a fetched model's folder; a folder without it is not a model."""
EXTRAS = {"faster-whisper": "whisper", "kokoro": "kokoro", "piper": "piper"}
"""Engines whose software is in an extra of its own."""
State = Literal["ready", "missing", "built in"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One model as the catalogue or a reference describes it."""

    name: str
    service: Service
    engine: str
    source: str = ""
    sha256: str = ""
    download_bytes: int = 0
    root: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    convert: str = ""
    weights: str = ""
    licence: str = "unknown"
    context_tokens: int | None = None
    useful_context_tokens: int | None = None
    grounding: Grounding = Grounding.GENERATIVE
    dimensions: int | None = None
    max_tokens: int | None = None
    relevance_threshold: float | None = None
    quote_threshold: float | None = None
    temperature: float = 0.7
    """Where a request says none."""
    languages: tuple[str, ...] = ()
    """What it hears or speaks; () where the model itself says."""
    detector: bool = False
    """Whether it only tells speech from everything else."""
    note: str = ""
    """What somebody who uses it should know."""
    extra: str = "local"
    """The extra of Hearth that brings its software."""


@cache
def load() -> Mapping[str, Entry]:
    """Every entry by name."""
    tables = tomllib.loads(files("inference").joinpath("catalog.toml").read_text("utf-8"))
    return {name: _entry(name, table) for name, table in tables.items()}


def _entry(name: str, table: dict[str, Any]) -> Entry:
    given = table | {"service": Service(table["service"]), "grounding": Grounding(table.get("grounding", "generative"))}
    return Entry(name=name, **given | {"languages": tuple(table.get("languages", ()))})


def entry(reference: str, service: Service | None = None) -> Entry:
    """The entry of a name, or of a reference `hf:owner/name@commit` or `file:///folder`, which only the user of it knows the service of.

    Raises: ModelError for a name nobody knows, with those that exist; for an hf: reference without a commit.
    """
    if (known := load().get(reference)) is not None:
        return known
    if service is not None and reference.startswith(("hf:", "file:///")):
        if reference.startswith("hf:") and not HUB.fullmatch(reference):
            raise ModelError(f"{reference} names no commit.", model=reference, hint="Write it as hf:owner/name@<40 hex digits>, so that it stays what it is.")
        engine = _engine(reference, service)
        return Entry(reference, service, engine, source=reference, extra=EXTRAS.get(engine, "local"))
    if HUB.fullmatch(reference):
        raise ModelError(
            f"Nobody has said what {reference} is for.", model=reference, hint="Say it with --service, or name it in a setting like HEARTH_LLM_MODEL."
        )
    names = _names(service)
    raise ModelError(f"There is no model named {reference!r}.", model=reference, hint=f"Known: {names}; or hf:owner/name@commit, or file:///folder.")


def _names(service: Service | None, *, detector: bool = False) -> str:
    return ", ".join(sorted(n for n, e in load().items() if service in (None, e.service) and e.detector is detector))


def chosen(reference: str, service: Service) -> Entry:
    """The entry that a setting names as the model of a service. Raises: as `entry`; ModelError for a model that does something else."""
    found, setting, offered = entry(reference, service), f"HEARTH_{service.upper()}_MODEL", _names(service)
    if found.detector:
        raise ModelError(f"{setting} is {reference}, which only tells speech from silence.", model=reference, hint=f"Choose one of {offered}.")
    if found.service is not service:
        raise ModelError(f"{setting} is {reference}, which is for {found.service}.", model=reference, hint=f"Choose one of {offered}.")
    return found


def detector(reference: str) -> Entry:
    """The entry that a setting names as the detector of speech. Raises: ModelError for anything else."""
    found = load().get(reference)
    if found is None or not found.detector:
        offered = _names(Service.STT, detector=True)
        raise ModelError(f"HEARTH_VAD_MODEL is {reference}, which is no detector of speech.", model=reference, hint=f"Choose one of {offered}.")
    return found


def _engine(reference: str, service: Service) -> str:
    """What runs a model that the catalogue doesn't know: by its files where they are here, else by its name."""
    folder = Path(reference.removeprefix("file://")) if reference.startswith("file:///") else None
    named = reference.lower()
    if service is Service.STT:
        converted = (folder / "model.bin").is_file() if folder else "faster-whisper" in named
        return "faster-whisper" if converted else "transformers-whisper"
    if service is Service.TTS:
        return "kokoro" if (any(folder.glob("voices*")) if folder else "kokoro" in named) else "piper"
    if service is Service.RERANKER:
        return "cross-encoder" if folder and (folder / "model.onnx").is_file() else "maxsim"
    return {Service.LLM: "transformers-chat", Service.EMBEDDINGS: "transformers-embeddings"}[service]


def folder_of(wanted: Entry, models_folder: Path) -> Path:
    """Where a model's files lie."""
    if wanted.weights:
        return folder_of(load()[wanted.weights], models_folder)
    if wanted.source.startswith("file:///"):
        return Path(wanted.source.removeprefix("file://"))
    return models_folder / re.sub(r"[^\w.-]+", "-", wanted.name)


def state(reference: str, models_folder: Path, service: Service | None = None) -> State:
    """Whether the model could be loaded now."""
    wanted = entry(reference, service)
    if not wanted.source and not wanted.weights:
        return "built in"
    folder = folder_of(wanted, models_folder)
    if wanted.source.startswith("file:///"):
        return "ready" if folder.exists() else "missing"
    return "ready" if (folder / COMPLETE).is_file() else "missing"


def demand(wanted: Entry, models_folder: Path) -> Path:
    """The model's folder. Raises: ModelMissing with the command that fetches it and the offline choice; ModelError for a folder that asks to run code."""
    if state(wanted.name, models_folder, wanted.service) == "missing":
        fetched = wanted.weights or wanted.name
        hint = f"`hearth models fetch {fetched}` gets it."
        if wanted.source.startswith("hf:"):
            hint = f"{hint} It needs the model hub; without one, choose a model that `hearth models list` shows."
        if wanted.source.startswith("file:///"):
            hint = "Check the path."
        raise ModelMissing(f"The model {wanted.name} is not on this machine.", model=wanted.name, hint=hint)
    folder = folder_of(wanted, models_folder)
    config = folder / "config.json"
    if config.is_file() and "auto_map" in json.loads(config.read_text("utf-8")):
        raise ModelError(
            f"The model {wanted.name} wants to run its own code.", model=wanted.name, hint="Hearth never does that; choose a model without auto_map."
        )
    return folder
