"""Where in the object store the house keeps what is its own. Whatever lies elsewhere was put there by others, and stays theirs."""

import shutil
from pathlib import Path
from typing import IO

from core.errors import BadInput, NoSpace
from core.ports import ObjectStore

ORIGINALS, SOUND, RUNS, CHECKS = "originals/", "voice/", "runs/", "checks/"
OWN = (ORIGINALS, SOUND, RUNS, CHECKS)
"""What the keys of everything begin with that the house puts there: uploaded files, spoken turns, what runs are given and make, and tries."""


def beginning(store: ObjectStore) -> str:
    """What the addresses of all its objects begin with."""
    return store.uri("x")[:-1]


def prefix_of(store: ObjectStore, typed: str) -> str:
    """What the keys begin with that somebody means by a folder of the store, with or without s3:// and the bucket.

    Raises: BadInput, also for the house's own.
    """
    bucket = beginning(store)
    key = typed.removeprefix(bucket)
    if not key or "://" in key:
        raise BadInput(f"{typed[:80]!r} is no folder in the object store.", hint=f"Name another one, such as {bucket}incoming/.")
    store.uri(key)
    if any(key.casefold().startswith(own) or own.startswith(key.casefold()) for own in OWN):  # some disks don't tell the two apart
        raise BadInput("Hearth keeps files of its own there.", hint=f"Name another one, such as {bucket}incoming/.")
    return key


def written(source: IO[bytes], to: Path, name: str) -> None:
    """Copies what is read into a file. Raises: NoSpace."""
    try:
        with to.open("wb") as out:
            shutil.copyfileobj(source, out, 1 << 20)
    except OSError as error:
        raise NoSpace(f"{name} can't be copied: {error.strerror or 'the system refused it'}.", hint="Free some space for temporary files.") from error
