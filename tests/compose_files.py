"""The compose files as compose reads them, without its program: merged, and filled with what .env would say."""

import re
from pathlib import Path

import yaml

from core.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "compose"
SETS = {
    "apps": ("compose.yaml",),
    "servers": ("compose.yaml", "services.yaml"),
    "gpu": ("compose.yaml", "services.yaml", "gpu.yaml"),
    "minio": ("compose.yaml", "services.yaml", "minio.yaml"),
}
COMING = {"HEARTH_SESSIONS_URL", "HEARTH_EVENTS_URL", "HEARTH_VECTORS_URL"} - {PREFIX + name.upper() for name in Settings.model_fields}
"""Settings of servers that are being built."""


class Loader(yaml.SafeLoader):
    """Compose's own tags say how files are merged; what they stand on is a plain value."""


class Override(list):
    """A list that takes the place of the one before it."""


Loader.add_constructor("!override", lambda loader, node: Override(loader.construct_sequence(node, deep=True)))


def filled(value):
    """With the variables of .env: what must be set has its name as value, the rest its default."""
    if isinstance(value, dict):
        return {key: filled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return type(value)(filled(inner) for inner in value)
    if not isinstance(value, str):
        return value
    value = re.sub(r"(?<!\$)\$\{(\w+):\?[^}]*\}", lambda m: "example:1.0" if m[1].endswith("_IMAGE") else f"random-{m[1].lower()}-" + "0" * 32, value)
    return re.sub(r"(?<!\$)\$\{\w+:-([^}]*)\}", r"\1", value)


def merged(first, second):
    """As compose merges two files."""
    if isinstance(first, dict) and isinstance(second, dict):
        return first | {key: merged(first[key], value) if key in first else value for key, value in second.items()}
    if isinstance(first, list) and isinstance(second, list) and not isinstance(second, Override):
        return first + second
    return second


def read(name):
    return yaml.load((FOLDER / name).read_text("utf-8"), Loader)


def house(names):
    whole = {}
    for name in names:
        whole = merged(whole, read(name))
    return filled(whole)
