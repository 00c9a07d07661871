"""Homes that are ready to be measured: with users, keys and sign-ins made before the house starts, and on the disk of the clone."""

import asyncio
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from running_house import PASSWORD

from core.app import open_app
from core.settings import Settings

ROOT = Path(__file__).parents[2]
MODELS = ROOT / ".test-home" / "models"


@contextmanager
def fresh_home():
    """An empty folder for the time of a measurement; not in a temporary file system, which would make every write free."""
    parent = ROOT / ".test-home"
    parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=parent, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@dataclass(frozen=True, slots=True)
class Person:
    """A user with an API key, and the cookie of a sign-in."""

    key: str
    cookie: str


async def people(home, count, *, sign_in=True, **given):
    """So many users of a home that nobody serves yet. given: its other settings."""
    async with open_app(Settings(home=home, **given)) as app:

        async def one(n):
            user = await app.users.add(f"user{n}", PASSWORD if sign_in else None)
            _, key = await app.users.make_key(user)
            cookie = (await app.users.sign_in(user.username, PASSWORD, "bench"))[1] if sign_in else ""
            return Person(key, cookie)

        return await asyncio.gather(*(one(n) for n in range(count)))


def linked_models(home):
    """Lets a fresh home use the fetched models. Raises: FileNotFoundError if they are not fetched."""
    if not (MODELS / "smollm2-135m" / "complete.json").is_file():
        raise FileNotFoundError("the embedded models are not fetched; `make bench` does that")
    (home / "models").symlink_to(MODELS)
