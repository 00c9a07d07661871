"""Adapters: one file per technology behind a port. The prefix of a file is its port, so a listing of this folder is the diagram.

Each table below says which adapter a URL's scheme picks; no URL means embedded. Adapters are named as text, so that none is imported before it is chosen; in
brackets the extra that it needs, as entry points write it.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from core.errors import SettingsError

RECORDS = {"": "core.adapters.database_sql:SqliteDatabase"} | dict.fromkeys(
    ("postgresql", "postgresql+psycopg"), "core.adapters.database_postgres:PostgresDatabase [services]"
)
OBJECTS = {"": "core.adapters.objects_folder:FolderObjectStore"} | dict.fromkeys(("s3", "s3+http"), "core.adapters.objects_s3:S3ObjectStore [services]")
SESSIONS = {"": "core.adapters.shared_process:ProcessShared"} | dict.fromkeys(
    ("valkey", "valkeys", "redis", "rediss"), "core.adapters.shared_valkey:ValkeyShared [services]"
)
VECTORS = dict.fromkeys(("http", "https"), "core.adapters.chunk_index_milvus:MilvusChunkIndex [services]")
EVENTS = dict.fromkeys(("nats", "tls"), "core.adapters.events_nats:NatsEventLog [services]")
"""Beside the outbox, never instead of it."""
KUBEFLOW = dict.fromkeys(("http", "https"), "core.adapters.engine_kubeflow:KubeflowEngine")
ARGO = dict.fromkeys(("http", "https"), "core.adapters.engine_argo:ArgoEngine")
TRACES = {"": "core.traces:NoTraces"} | dict.fromkeys(("http", "https"), "core.adapters.traces_otlp:OtlpTraces [traces]")


def adapter(table: Mapping[str, str], url: str, setting: str) -> Any:
    """The adapter class that `url` picks. Raises: SettingsError for a scheme the table doesn't know, with those it knows; for an extra that isn't installed."""
    scheme = url.partition(":")[0]
    if scheme not in table:
        known = ", ".join(sorted(filter(None, table))) or "none yet"
        raise SettingsError(
            f"{setting} starts with {scheme!r}, which Hearth doesn't speak.", hint=f"Leave it empty to do without a server; known schemes: {known}."
        )
    path, _, extra = table[scheme].partition(" ")
    module, _, name = path.partition(":")
    try:
        return getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{setting} needs software that is not installed ({error.name}).", hint=f"Install it with `pip install 'hearth{extra}'`, or leave it empty."
        ) from error
