"""Every setting, read once at the start from the environment; nothing else in the house reads it.

The docstring under a field is its description: `hearth settings` and docs/settings.md print it.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from core.errors import SettingsError

PREFIX = "HEARTH_"
SERVICES = ("llm", "embeddings", "reranker", "stt", "tts")
INTERNAL = frozenset({"HEARTH_INFERENCE_TOKEN", "HEARTH_CRASH", "HEARTH_EXPECTED_LEGS", "HEARTH_PYTHON", "HEARTH_RUN", "HEARTH_RUN_EVENTS"})
"""Names with the prefix that are not settings: the parent process, the tests and the Makefile use them."""
_PASSWORD = re.compile(r"(://[^/?#@:]*:)[^/?#]*@")


def default_home() -> Path:
    """Where everything is kept unless told otherwise: ~/.hearth."""
    return Path.home() / ".hearth"


def _whole_paths(value: str) -> str:
    if not all(Path(path).is_absolute() for path in value.split(os.pathsep) if path):
        raise PydanticCustomError("paths", "a folder must be named by its whole path")
    return value


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as people read it: secrets masked. `source` is flag, environment or default."""

    name: str
    value: str
    source: str
    meaning: str


class Settings(BaseSettings):
    """What can be set. Every field is also the variable HEARTH_<FIELD>; no URL means embedded, with no server."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, use_attribute_docstrings=True, extra="forbid")

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    home: Path = Field(default_factory=default_home)
    """The folder that holds the database, the uploaded originals and the fetched models."""
    host: str = "127.0.0.1"
    """The address to listen on. Anything but loopback makes Hearth reachable from other machines."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """The port to listen on; 0 takes a free one."""
    admin_port: Annotated[int, Field(ge=0, le=65535)] = 8001
    """The port `hearth admin` listens on: the console alone, beside a running Hearth or without one."""
    chat_page: bool = True
    """Serve the chat page. Off: the API and the sign-in alone, which start sooner and take less memory."""
    log_level: Literal["debug", "info", "warning", "error"] = "warning"
    """How much the log says: debug, info, warning or error."""
    traces_url: str = ""
    """Where traces of answers, spoken turns, jobs and requests to models are sent: an OpenTelemetry collector that takes OTLP over HTTP, like
    http://host:4318; needs the extra `traces`. They hold stages, times, counts and names of models, and nobody's words. Empty: nothing is traced."""

    records_url: str = ""
    """Where users, conversations and documents are kept: postgresql://user:password@host/database. Empty: SQLite in the home folder."""
    vectors_url: str = ""
    """Where chunks are searched: Milvus, like http://user:password@host:19530; a path names a database of the server. Empty: the records themselves."""
    objects_url: str = ""
    """Where originals, sound and artifacts are kept: s3://key:secret@host:9000/bucket. Empty: a folder in the home folder.
    With ?public=https://files.example.org, the address under which browsers reach that server, artifacts of runs are saved from there."""
    sessions_url: str = ""
    """What sessions are asked of, and what several processes of a house share: redis://user:password@host:6379/0, or rediss:// for TLS; Redis 7 or Valkey 8,
    or newer. Empty: the records, and this process alone."""
    events_url: str = ""
    """Where what happens is told to other programs, and taken from them (docs/events.md): NATS with JetStream, nats://user:password@host:4222. Empty: nowhere;
    the records alone keep it."""

    llm_url: str = ""
    """The chat model: an OpenAI-compatible base URL and the model's name, like http://host:11434/v1#qwen3:8b. hearth+http://… where it
    is a `hearth inference`, which also knows who goes first and when a model had better quote. Empty: the local inference process."""
    llm_api_key: SecretStr = SecretStr("")
    """The key for the chat model's server; it is sent nowhere else."""
    llm_model: str = "smollm2-135m"
    """The chat model of the local inference process, as `hearth models list` names it."""
    llm_context_tokens: Annotated[int, Field(ge=256)] = 8192
    """How many tokens of prompt and answer a remote chat model takes; local models know it themselves."""
    llm_priority: Literal["none", "vllm", "sglang"] = "none"
    """Whether the remote server takes a priority field: none, vllm or sglang."""
    embeddings_url: str = ""
    """The embedding model, in the same form as HEARTH_LLM_URL. Empty: the local inference process."""
    embeddings_api_key: SecretStr = SecretStr("")
    """The key for the embedding model's server; it is sent nowhere else."""
    embeddings_model: str = "minilm-l6"
    """The embedding model of the local inference process."""
    reranker_url: str = ""
    """The reranker, in the same form as HEARTH_LLM_URL. Empty: the local inference process. `off`: fused order is final."""
    reranker_api_key: SecretStr = SecretStr("")
    """The key for the reranker's server; it is sent nowhere else."""
    reranker_model: str = "maxsim"
    """The reranker of the local inference process."""
    reranker_dialect: Literal["jina", "tei"] = "jina"
    """How the remote reranker speaks: jina (also vLLM, Infinity, llama.cpp) or tei."""

    stt_url: str = ""
    """The model that listens, in the same form as HEARTH_LLM_URL. Empty: the local inference process. `off`: nobody listens."""
    stt_api_key: SecretStr = SecretStr("")
    """The key for the listening model's server; it is sent nowhere else."""
    stt_model: str = "pocketsphinx"
    """The listening model of the local inference process."""
    tts_url: str = ""
    """The model that speaks, in the same form as HEARTH_LLM_URL. Empty: the local inference process. `off`: nobody speaks."""
    tts_api_key: SecretStr = SecretStr("")
    """The key for the speaking model's server; it is sent nowhere else."""
    tts_model: str = "flite"
    """The speaking model of the local inference process."""
    vad_model: str = "silero-vad"
    """What tells speech from silence and noise: silero-vad, or loudness, which needs no model and takes any loud sound for speech."""
    audio_max_mb: Annotated[int, Field(ge=1)] = 25
    """The largest recording that is listened to, in MB."""
    audio_max_s: Annotated[int, Field(ge=1)] = 600
    """The longest recording that is listened to, in seconds of sound."""

    inference_host: str = "127.0.0.1"
    """The address `hearth inference` listens on when it is started alone."""
    inference_port: Annotated[int, Field(ge=0, le=65535)] = 8100
    """The port `hearth inference` listens on when it is started alone."""
    inference_threads: Annotated[int, Field(ge=0)] = 0
    """Threads of the local models; 0 means all cores but one."""
    inference_idle_s: Annotated[float, Field(ge=-1)] = -1
    """Unload a local model after so many idle seconds; -1 never."""
    inference_queue: Annotated[int, Field(ge=1)] = 256
    """How many requests may wait for a model before the next is told that it is busy."""
    inference_chat_places: Annotated[int, Field(ge=1)] = 8
    """How many answers the local chat model writes at the same time; the others wait, and see their position. From two on, one place is kept for premium."""
    inference_audio_places: Annotated[int, Field(ge=1)] = 2
    """How many recordings are listened to, and how many texts spoken, at the same time. From two on, one place of each is kept for premium."""
    llm_places: Annotated[int, Field(ge=1)] = 200
    """How many answers a remote chat model is asked for at the same time; the others wait in Hearth, and see their position."""
    llm_max_tokens: Annotated[int, Field(ge=1)] = 512
    """The longest answer, in tokens, when the client does not say."""

    upload_max_mb: Annotated[int, Field(ge=1)] = 100
    """The largest file that may be uploaded, in MB."""
    url_ingest: bool = False
    """Let users take in pages by their address. The server then fetches what they name, from public addresses only."""
    sync_folders: Annotated[str, AfterValidator(_whole_paths)] = ""
    """Folders of the server that admins may take into collections, with everything in them but hidden files, each by its whole path and parted by colons.
    Empty: none, because whoever owns a collection can read what is taken into it."""
    parse_timeout_s: Annotated[float, Field(gt=0)] = 120
    """How long reading one file may take before it is given up, in seconds."""
    parse_memory_mb: Annotated[int, Field(ge=128)] = 1024
    """How much memory reading one file may take, in MB."""
    chunk_chars: Annotated[int, Field(ge=200, le=4000)] = 700
    """The length of a chunk in characters, for collections made from now on."""
    ingest_workers: Annotated[int, Field(ge=0, le=8)] = 1
    """How many documents are taken in at the same time; 0 leaves it to another process."""

    pipeline_runs: Annotated[int, Field(ge=0, le=64)] = 0
    """How many pipeline runs are at work at the same time; 0 means one for every two cores."""
    pipeline_max_h: Annotated[float, Field(gt=0)] = 6
    """How many hours a pipeline run may take before it is ended."""
    pipeline_log_mb: Annotated[float, Field(gt=0)] = 10
    """How much of what one step of a pipeline says is kept, in MB: its beginning and its end."""
    pipeline_files_gb: Annotated[float, Field(gt=0)] = 5
    """How much the files of a pipeline run may take while it lasts, in GB."""
    pipeline_house_url: str = ""
    """Where steps of pipelines find Hearth's API. Empty: at its own address on this machine, which a cluster can't reach."""
    kubeflow_url: str = ""
    """The cluster that runs Kubeflow pipelines: the address of Kubeflow Pipelines, like https://host/pipeline. Empty: they run on this machine."""
    kubeflow_token: SecretStr = SecretStr("")
    """The token for Kubeflow Pipelines; it is sent nowhere else."""
    argo_url: str = ""
    """The cluster that runs Argo pipelines: the address of the Argo server and a namespace, like https://host:2746#namespace. Empty: they run on this
    machine."""
    argo_token: SecretStr = SecretStr("")
    """The token for the Argo server; it is sent nowhere else."""
    workflow_python: str = ""
    """The Python that runs Kubeflow pipelines on this machine; it needs the package kfp. Empty: the one that Hearth runs in."""

    relevance_threshold: float | None = None
    """The rerank score below which a passage counts as not relevant. Empty: the reranker's own, where one is known."""
    quote_threshold: float | None = None
    """How well a sentence must match, by the reranker's score, before the embedded model quotes it; below it says that nothing relevant was found. Empty: the
    reranker's own, chosen on one half of the questions of docs/retrieval.md; a reranker by URL has none that is known, and then the best is always quoted."""

    session_cookie_secure: bool = False
    """Send the sign-in cookie over https only. Set it when Hearth stands behind a TLS proxy."""
    message_retention_days: Annotated[int, Field(ge=1)] = 30
    """How many days chat messages are kept."""
    backup_folder: Path | None = None
    """Where backups are kept. Empty: the folder `backups` in the home folder, which is no help when that disk dies."""
    backup_every_h: Annotated[float, Field(ge=0)] = 0
    """How many hours after the last backup the next one is made; 0 only when somebody asks. A backup keeps what is deleted after it was made."""
    backup_keep: Annotated[int, Field(ge=1)] = 7
    """How many backups are kept: the oldest is deleted once a newer one is whole."""
    quota_tokens: Annotated[int, Field(ge=0)] | None = None
    """How many tokens of prompts and answers a user may use in a day, unless an admin has set another number for them. Empty: as many as they like."""
    quota_requests: Annotated[int, Field(ge=0)] | None = None
    """How many questions a user may ask in a day, and texts have read out over the API, unless an admin has set another number for them. Empty: as many as
    they like."""
    quota_audio_s: Annotated[int, Field(ge=0)] | None = None
    """How many seconds of recordings a user may send in a day, unless an admin has set another number for them. Empty: as many as they like."""
    open_answers: Annotated[int, Field(ge=1)] = 200
    """How many answers may be written at the same time in one process; the next is told that Hearth is busy."""
    open_answers_per_user: Annotated[int, Field(ge=1)] = 20
    """How many answers may be written at the same time for one user; further messages of theirs are refused until one is finished."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in: the environment comes through `read_settings`, as a parameter."""
        return (init_settings,)

    @property
    def models_folder(self) -> Path:
        """Where fetched models lie."""
        return self.home / "models"

    @property
    def backups_folder(self) -> Path:
        """Where backups lie."""
        return self.backup_folder or self.home / "backups"

    @property
    def elsewhere(self) -> bool:
        """Whether a server keeps records or objects, so that the home folder isn't all of the house."""
        return bool(self.records_url or self.objects_url)

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders of the server that admins may take into collections."""
        return tuple(Path(path) for path in self.sync_folders.split(os.pathsep) if path)

    def explained(self) -> Sequence[Setting]:
        """Every setting, its value and where that comes from."""
        fields = type(self).model_fields.items()
        return [Setting(PREFIX + n.upper(), shown(getattr(self, n)), self._sources.get(n, "default"), field.description or "") for n, field in fields]

    def local_services(self) -> frozenset[str]:
        """Which of llm, embeddings, reranker, stt and tts run in the local inference process."""
        return frozenset(s for s in SERVICES if not getattr(self, f"{s}_url"))


def read_settings(environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    """The settings: what is `given` (flags) before the environment before the defaults.

    Raises: SettingsError for a value that can't be used, and for a name with our prefix that is no setting (a slip would be silent otherwise).
    """
    environ = os.environ if environ is None else environ
    fields = Settings.model_fields
    values: dict[str, Any] = {}
    for key, value in environ.items():
        if not key.startswith(PREFIX) or key in INTERNAL or key.startswith("HEARTH_TEST_"):
            continue
        name = key.removeprefix(PREFIX).lower()
        if name not in fields:
            raise SettingsError(f"{key} is not a setting.", hint="`hearth settings` lists them all.")
        if value != "":
            values[name] = value
    flags = {name: value for name, value in given.items() if value is not None}
    try:
        settings = Settings(**values | flags)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        shown = "a secret" if name.endswith(("_key", "_token")) else repr(str(first.get("input"))[:80])
        raise SettingsError(f"{PREFIX}{name.upper()} has the value {shown}: {first['msg']}.", hint="`hearth settings` says what each one means.") from error
    settings._sources |= dict.fromkeys(values, "environment") | dict.fromkeys(flags, "flag")
    return settings


def is_http(url: str) -> bool:
    """Whether it is an address that can be asked over HTTP."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that don't close, a port that is no number
        return False


def shown(value: object) -> str:
    """A value as `hearth settings` prints it: secrets masked, also a password inside a URL."""
    if isinstance(value, SecretStr):
        return "********" if value.get_secret_value() else ""
    text = "" if value is None else str(value)
    return _PASSWORD.sub(r"\1********@", text)  # not taken apart as an address: one that is wrong is shown too
