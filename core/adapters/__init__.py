"""Adapters: one file per technology behind a port. The prefix of a file is its port, so a listing of this folder is the diagram.

Each table below says which adapter a URL's scheme picks; no URL means embedded. Adapters are named as text, so that none is imported before it is chosen.
"""

from importlib import import_module
from typing import Any

from core.errors import SettingsError

RECORDS = {"": "core.adapters.database_sql:SqliteDatabase"}
OBJECTS = {"": "core.adapters.objects_folder:FolderObjectStore"}


def adapter(table: dict[str, str], url: str, setting: str) -> Any:
    """The adapter class that `url` picks. Raises: SettingsError for a scheme the table doesn't know, with those it knows."""
    scheme = url.partition(":")[0]
    if scheme not in table:
        known = ", ".join(sorted(filter(None, table))) or "none yet"
        raise SettingsError(
            f"{setting} starts with {scheme!r}, which Hearth doesn't speak.", hint=f"Leave it empty for the embedded store; known schemes: {known}."
        )
    module, _, name = table[scheme].partition(":")
    return getattr(import_module(module), name)
