"""The console's rooms: what an admin may see and do across all users.

Every public method takes an `Admin` first, which only `Users` makes: there is no way in without one.
"""

from dataclasses import dataclass

from core.console.collections import Collections
from core.console.folders import FolderRoom
from core.console.keeping import Keeping
from core.console.lab import Lab
from core.console.leftovers import LeftoverRoom
from core.console.logbook import Logbook
from core.console.models import ModelRoom
from core.console.overview import Overview
from core.console.people import People
from core.console.reading import Reading
from core.console.versions import Versions


@dataclass(frozen=True, slots=True)
class Console:
    """The rooms, by name."""

    overview: Overview
    keeping: Keeping
    lab: Lab
    leftovers: LeftoverRoom
    logbook: Logbook
    models: ModelRoom
    people: People
    reading: Reading
    collections: Collections
    versions: Versions
    folders: FolderRoom
