"""The one place where everything is wired: settings in, an opened house out."""

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core import troubles
from core.adapters import ARGO, EVENTS, KUBEFLOW, OBJECTS, RECORDS, SESSIONS, TRACES, VECTORS, adapter
from core.backups import Backup, Backups, Manifest, Progress
from core.chat.answering import Answering
from core.chat.room import ChatRoom
from core.chat.shelf import Shelf
from core.console import Console
from core.console.begun import Begun
from core.console.collections import Collections
from core.console.folders import FolderRoom
from core.console.keeping import Keeping
from core.console.lab import Lab
from core.console.leftovers import LeftoverRoom
from core.console.logbook import Logbook
from core.console.models import ModelRoom
from core.console.notes import Notes
from core.console.overview import Overview, Percentiles, waits
from core.console.people import People
from core.console.reading import Reading
from core.console.trees import Trees
from core.console.versions import Versions
from core.courtesy import Courtesy
from core.doctor import examined
from core.errors import HearthError, NoSpace, SettingsError
from core.ids import new_id
from core.inference import Model, Queue, Service
from core.moving import Moved, Moving, Where, move_objects
from core.objects import beginning
from core.ports import (
    AudioCodec,
    AuditLog,
    Catalogue,
    ChatModel,
    ChunkIndex,
    Embedder,
    EventLog,
    ObjectStore,
    PipelineEngine,
    Processes,
    Reranker,
    Residency,
    Server,
    Store,
    Synthesizer,
    Traces,
    Transcriber,
    VoiceActivity,
)
from core.processes import BEAT_EVERY_S, Duty, Membership, ProcessRole
from core.rag.library import Library
from core.rag.pictures import PagePictures
from core.rag.reembedding import Reembedding
from core.rag.retrieval import Retrieval
from core.records import Health
from core.retention import Retention
from core.settings import Settings, shown
from core.users.model import Quota, Scope
from core.users.room import Users
from core.voice.calls import Calls
from core.voice.room import VoiceRoom
from core.workflow import argo, argo_cluster, kubeflow
from core.workflow.evaluation import Evaluation
from core.workflow.model import LENT, Engine, PipelineRun, Value
from core.workflow.room import PipelineRoom
from core.workflow.running import Dispatcher
from core.workflow.shipped import define_shipped
from core.workflow.triggers import LOOK_EVERY_S, Triggers

if TYPE_CHECKING:
    from core.adapters.database_sql import Database
    from core.adapters.records_sql import Records
    from inference.lanes import Lanes

log = logging.getLogger(__name__)

KEEP_UP_EVERY_S = 60
"""How often retention and backups look whether something is due."""
ALWAYS = ("records", "objects")
"""The stores that are asked whether they work also where they are embedded."""
SETTLE_EVERY_S = 15
"""How often the index of chunks is compared with the rows, where it lies elsewhere."""
RECORD_EVERY_S = 0.25
SHARED_EVERY_S = 1.0
ACCOUNTS_EVERY_S = 2.0
"""How soon a disabled user's open answers end; requests are refused at once."""
CHECK_TIMEOUT_S = 5.0
PICTURE_TIMEOUT_S = 20.0
"""Somebody looks at the page and waits for its picture."""
OURS = "hearth+"
"""Before the URL of a model: what serves it is `hearth inference`, as on this machine."""
NOT_STARTED = "http://127.0.0.1:9/v1"
"""Where commands that start no models find none: nothing listens on the discard port."""


@dataclass(frozen=True, slots=True)
class LocalInference:
    """Where the local inference process listens, and the token it takes."""

    url: str
    token: str


AnyModel = ChatModel | Embedder | Reranker | Transcriber | Synthesizer


@dataclass(frozen=True, slots=True)
class Models:
    """The model ports. `reranker`, `transcriber` and `synthesizer` are None when they are switched off, `codec` and `residency` where all are elsewhere."""

    llm: ChatModel
    embedder: Embedder
    reranker: Reranker | None
    transcriber: Transcriber | None
    synthesizer: Synthesizer | None
    codec: AudioCodec | None
    activity: Callable[[], Awaitable[VoiceActivity]]
    """Makes a detector of speech for one stream of sound. Raises: ModelError, ModelMissing."""
    catalogue: Catalogue
    residency: Residency | None
    queues: Callable[[], Mapping[Service, Queue]]
    """Who waits here for a model elsewhere: the local process has queues of its own."""

    def parts(self) -> list[tuple[str, AnyModel]]:
        """The models that are there, by service."""
        by_service: dict[str, AnyModel | None] = {
            "llm": self.llm,
            "embeddings": self.embedder,
            "reranker": self.reranker,
            "stt": self.transcriber,
            "tts": self.synthesizer,
        }
        return [(service, model) for service, model in by_service.items() if model is not None]


@asynccontextmanager
async def open_models(settings: Settings, local: LocalInference | None, lanes_of: Callable[..., "Lanes"] | None = None) -> AsyncIterator[Models]:
    """The model ports as the settings say: each at its own URL, or at the local process. lanes_of: makes what is before a model elsewhere."""
    from inference.audio_client import RemoteCodec, RemoteSynthesizer, RemoteTranscriber
    from inference.client import ModelServer, RemoteChatModel, RemoteEmbedder, RemoteReranker, parse_model_url
    from inference.lanes import Lanes
    from inference.shelf import LocalResidency, ModelShelf

    async with AsyncExitStack() as stack:
        lanes: dict[Service, Lanes] = {}

        def closed_later(made: ModelServer) -> ModelServer:
            stack.push_async_callback(made.close)
            return made

        def beside(service: Service) -> ModelServer:
            at = local or LocalInference(NOT_STARTED, "")
            return closed_later(ModelServer(service, at.url, getattr(settings, f"{service}_model"), key=at.token, local=True))

        def server(service: Service) -> ModelServer:
            url: str = getattr(settings, f"{service}_url")
            if not url:
                return beside(service)
            base, model = parse_model_url(url.removeprefix(OURS), f"HEARTH_{service.upper()}_URL")
            key: str = getattr(settings, f"{service}_api_key").get_secret_value()
            if url.startswith(OURS):  # it has lanes of its own, and says more of its models than others do
                return closed_later(ModelServer(service, base, model, key=key, local=True))
            places = settings.llm_places if service is Service.LLM else settings.open_answers
            lanes[service] = lanes_of(service.value, places, queue=settings.inference_queue) if lanes_of else Lanes(places, queue=settings.inference_queue)
            return closed_later(ModelServer(service, base, model, key=key, lanes=lanes[service]))

        here, activity = sorted(settings.local_services()), _detector(settings)
        opener = beside(Service.STT) if here else server(Service.STT) if settings.stt_url.startswith(OURS) else None

        yield Models(
            RemoteChatModel(server(Service.LLM), context_tokens=settings.llm_context_tokens, priority_field=settings.llm_priority),
            RemoteEmbedder(server(Service.EMBEDDINGS)),
            None if settings.reranker_url == "off" else RemoteReranker(server(Service.RERANKER), dialect=settings.reranker_dialect),
            None if settings.stt_url == "off" else RemoteTranscriber(server(Service.STT), activity, max_s=settings.audio_max_s),
            None if settings.tts_url == "off" else RemoteSynthesizer(server(Service.TTS)),
            RemoteCodec(opener) if opener is not None else None,
            activity,
            ModelShelf(settings.models_folder),
            LocalResidency(beside(Service(here[0]))) if here else None,
            lambda: {service: before.load() for service, before in lanes.items()},
        )


@dataclass(frozen=True, slots=True)
class Counters:
    """What the house counts, for /metrics."""

    sql_writes: int
    sql_commits: int
    open_answers: int


@dataclass(frozen=True, slots=True)
class App:
    """The opened house: its rooms."""

    settings: Settings
    users: Users
    chat: ChatRoom
    shelf: Shelf
    library: Library
    retrieval: Retrieval
    events: EventLog
    retention: Retention
    voice: VoiceRoom
    calls: Calls
    models: Models
    pipelines: PipelineRoom
    triggers: Triggers
    evaluation: Evaluation
    traces: Traces
    audit: AuditLog
    console: Console
    courtesy: Courtesy
    """What the console does beside the chats waits here first."""
    processes: Processes
    check: Callable[[], Awaitable[list[Health]]]
    examine: Callable[[], Awaitable[list[Health]]]
    """As `check`, and what takes longer: for `hearth doctor`."""
    counters: Callable[[], Counters]
    latency: Callable[[], Awaitable[Sequence[Percentiles]]]
    """Of each stage of the last day's answers, under the names that the console shows."""


def now() -> datetime:
    """The clock of the house."""
    return datetime.now(UTC)


def prepare_home(home: Path) -> None:
    """Makes the home folder, for its owner only. Raises: NoSpace if it can't be made or written."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = home / f".probe-{os.getpid()}"
        probe.write_bytes(b"hearth")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or "the system refused it"
        raise NoSpace(f"The home folder {home} can't be written: {reason}.", hint="Choose another with --home or HEARTH_HOME, or change its rights.") from error


@asynccontextmanager
async def only_one(home: Path) -> AsyncIterator[None]:
    """Holds the home folder for one serving process; the lock ends with the process, however it ends. Raises: SettingsError if another has it."""
    path = home / "up.lock"
    file = path.open("a+")
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            who = file.read().strip()
            raise SettingsError(
                f"Another Hearth already runs on {home}" + (f" (process {who})" if who else "") + ".",
                hint="Use that one, stop it, or give this one another --home.",
            ) from error
        file.seek(0)
        file.truncate()
        file.write(str(os.getpid()))
        file.flush()
        yield
    finally:
        file.close()


async def back_up(settings: Settings, file: Path | None, progress: Progress) -> Backup:
    """A backup of the home folder as it is, whether or not a house runs on it, and of whatever revision its tables are.

    file: where to; None puts it into the folder of backups and rotates those.   Raises: NotFound, AlreadyThere, NoSpace.
    """
    from core.adapters.backups_zip import ZipBackups

    store = ZipBackups(settings.home, settings.backups_folder, elsewhere=settings.elsewhere)
    if file is not None:
        return await store.write_to(file, now(), progress)
    return await Backups(store, now, every_h=0, keep=settings.backup_keep).make(progress)


async def restore(settings: Settings, file: Path, progress: Progress) -> Manifest:
    """Makes the home folder, which must be empty or not there yet, of a backup. Raises: as the adapter."""
    from core.adapters import backups_zip

    return await backups_zip.restore(file, settings.home, progress)


async def move(settings: Settings, to: Where, moving: Moving) -> list[Moved]:
    """Copies everything from the home folder to the servers that the settings name, or back. The source isn't changed; a move that broke off goes on.

    What has no server in the settings stays where it is. No Hearth may run on either side meanwhile: one that writes shows when all is compared in the end.
    Raises: SettingsError without servers, for a running Hearth, and for a source of another Hearth; AlreadyThere for a target with something else in it;
    ServiceUnavailable if the two sides differ in the end; NoSpace; ServiceError.
    """
    from core.adapters.moving_sql import move_rows, of_this_hearth

    if not settings.elsewhere:
        raise SettingsError("The settings name no server that could keep anything.", hint="Set HEARTH_RECORDS_URL and HEARTH_OBJECTS_URL first.")
    prepare_home(settings.home)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(only_one(settings.home))

        async def both(table: dict[str, str], url: str, setting: str) -> list[Any]:
            """(source, target)."""
            sides = [await stack.enter_async_context(adapter(table, given, setting)(given, home=settings.home)) for given in ("", url)]
            return sides if to == "servers" else sides[::-1]

        source, target = await both(OBJECTS, settings.objects_url, "HEARTH_OBJECTS_URL")
        before, after = beginning(source), beginning(target)
        addresses = {} if before == after else {before: after}
        if addresses and not settings.records_url:
            raise SettingsError(
                "The addresses of objects are in the records, and those are not to be moved.", hint="Name the bucket `hearth`, or set HEARTH_RECORDS_URL too."
            )
        moved = [await move_objects(source, target, moving)] if settings.objects_url else []
        if settings.records_url:
            source, target = await both(RECORDS, settings.records_url, "HEARTH_RECORDS_URL")
            await of_this_hearth(source)
            await target.migrate()
            moved += await move_rows(source, target, addresses, moving)
        return moved


@dataclass(frozen=True, slots=True)
class _Stores:
    """What keeps things, each in the home folder or on the server of its setting."""

    records: "Database"
    kept: "Records"
    objects: Any
    shared: Any
    index: Any
    events: Any

    def by_part(self) -> dict[str, Store]:
        """A part is named as its setting is."""
        return {"records": self.records, "objects": self.objects, "sessions": self.shared, "vectors": self.index, "events": self.events}


@asynccontextmanager
async def _open_stores(settings: Settings, process_id: str, clock: Callable[[], datetime]) -> AsyncIterator[_Stores]:
    from core.adapters.records_sql import EFFECTS, Records

    async with AsyncExitStack() as stack:

        async def opened(table: Mapping[str, str], part: str, **given: Any) -> Any:
            url: str = getattr(settings, f"{part}_url")
            return await stack.enter_async_context(adapter(table, url, f"HEARTH_{part.upper()}_URL")(url, **given))

        records = await opened(RECORDS, "records", home=settings.home)
        await records.migrate()
        kept = Records(records, process_id)
        objects = await opened(OBJECTS, "objects", home=settings.home)
        shared = await opened(SESSIONS, "sessions", sessions=kept.sessions, clock=clock)
        await stack.enter_async_context(_every(SHARED_EVERY_S, shared.keep_up, "what the processes share"))
        # Beside the rows, never instead of them: without a server these are the records' own.
        index = await opened(VECTORS, "vectors", rows=kept.index, database=records) if settings.vectors_url else kept.index
        told = {"database": records, "effects": EFFECTS, "message_days": settings.message_retention_days}
        events = await opened(EVENTS, "events", **told) if settings.events_url else kept.events
        yield _Stores(records, kept, objects, shared, index, events)


@asynccontextmanager
async def open_app(
    settings: Settings,
    *,
    local: LocalInference | None = None,
    serving: bool = False,
    role: ProcessRole = ProcessRole.UP,
    clock: Callable[[], datetime] = now,
    address: str = "",
) -> AsyncIterator[App]:
    """Opens everything, yields the rooms, and closes what it opened.

    local: the inference process, for the services that have no URL.   serving: this process does what its role says; the others only look or add.
    address: where its API listens, for what it starts itself.
    Raises: SettingsError, also for a role beside others without servers that all of them reach; NoSpace, ServiceError.
    """
    _demand_servers(settings, role)
    prepare_home(settings.home)
    process_id = new_id() if serving else ""
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(_open_stores(settings, process_id, clock))
        kept, objects, shared, index, events = stores.kept, stores.objects, stores.shared, stores.index, stores.events
        conversations, documents, audit = kept.conversations, kept.documents, kept.audit
        models = await stack.enter_async_context(open_models(settings, local, shared.lanes))
        traces_url = settings.traces_url if serving else ""
        tracer = adapter(TRACES, traces_url, "HEARTH_TRACES_URL")
        traces = await stack.enter_async_context(tracer(traces_url, service="worker" if role is ProcessRole.WORKER else "web"))

        from core.adapters.backups_zip import ZipBackups
        from core.adapters.page_renderer_child import ChildPageRenderer
        from core.adapters.pages_http import HttpPages
        from core.adapters.parser_child import ChildParser
        from core.adapters.passwords_argon2 import Argon2Passwords

        parser = ChildParser(timeout_s=settings.parse_timeout_s, memory_mb=settings.parse_memory_mb, max_bytes=settings.upload_max_mb * 1_000_000)
        retrieval = Retrieval(documents, index, models.embedder, models.reranker, settings.relevance_threshold, traces)
        answering = Answering(models.llm, retrieval, models.reranker, clock, max_tokens=settings.llm_max_tokens, quote_threshold=settings.quote_threshold)
        retention = Retention(conversations, shared.sessions, kept.spoken, documents, objects, kept.sweeps, clock, message_days=settings.message_retention_days)
        quota = Quota(settings.quota_tokens, settings.quota_requests, settings.quota_audio_s)
        chat = ChatRoom(
            conversations,
            answering,
            shared.signals,
            shared.limits,
            clock,
            open_answers=settings.open_answers,
            open_answers_per_user=settings.open_answers_per_user,
            quota=quota,
            traces=traces,
        )
        library = Library(
            documents,
            objects,
            parser,
            PagePictures(ChildPageRenderer(timeout_s=min(PICTURE_TIMEOUT_S, settings.parse_timeout_s), memory_mb=settings.parse_memory_mb)),
            models.embedder,
            index,
            clock,
            chunk_chars=settings.chunk_chars,
            max_bytes=settings.upload_max_mb * 1_000_000,
            workers=settings.ingest_workers if serving and role.works else 0,
            pages=HttpPages() if settings.url_ingest else None,
            traces=traces,
        )
        reembedding = Reembedding(kept.versions, models.embedder, index, clock)
        users = Users(kept.accounts, shared.sessions, Argon2Passwords(), audit, shared.limits, clock)
        voice = VoiceRoom(
            kept.spoken,
            objects,
            chat,
            library,
            users,
            shared.signals,
            models.transcriber,
            models.synthesizer,
            models.codec,
            clock,
            kept.usage,
            max_bytes=settings.audio_max_mb * 1_000_000,
            quota=quota,
            traces=traces,
        )

        engines = await stack.enter_async_context(_engines(settings, objects, clock))
        dispatcher = Dispatcher(
            kept.workflows,
            engines,
            objects,
            clock,
            partial(_lent, users, settings.pipeline_house_url or address, timedelta(hours=settings.pipeline_max_h)),
            folder=settings.home / "runs",
            at_once=settings.pipeline_runs or max(1, (os.cpu_count() or 2) // 2),
            wall_s=settings.pipeline_max_h * 3600,
            shows_logs=role is ProcessRole.WORKER,
        )
        pipelines = PipelineRoom(kept.workflows, engines, dispatcher, objects, audit, clock)
        triggers = Triggers(kept.workflows, pipelines, kept.accounts, objects, audit, clock)
        zipped = ZipBackups(settings.home, settings.backups_folder, elsewhere=settings.elsewhere)
        backups = Backups(zipped, clock, every_h=0 if settings.elsewhere else settings.backup_every_h, keep=settings.backup_keep)
        notes, begun = Notes(audit, clock), await stack.enter_async_context(Begun())

        if serving:
            stack.enter_context(troubles.kept(settings.home))
            member = await stack.enter_async_context(_joined(settings, kept.processes, role, clock, process_id))
            await conversations.expire_leases(clock())  # what the process before this one was writing
            await define_shipped(kept.workflows, engines, clock)
            if role.works:
                await stack.enter_async_context(_working(library, reembedding, dispatcher, triggers, events, retention, backups, index, member))
            if role.answers:
                await stack.enter_async_context(_answering(users, chat, voice))

        check = partial(_checked, settings, stores.by_part(), engines, models)
        yield App(
            settings=settings,
            users=users,
            chat=chat,
            shelf=Shelf(conversations, kept.shares, kept.prompts, clock),
            library=library,
            retrieval=retrieval,
            events=events,
            retention=retention,
            voice=voice,
            calls=Calls(chat, voice, users, kept.spoken, objects, models.activity, clock, traces),
            models=models,
            pipelines=pipelines,
            triggers=triggers,
            evaluation=Evaluation(pipelines, library, kept.golden, audit, clock),
            traces=traces,
            audit=audit,
            console=Console(
                overview=Overview(
                    check,
                    kept.traffic,
                    models.residency,
                    models.queues,
                    partial(troubles.latest, settings.home),
                    lambda: chat.open_answers,
                    _folders(settings),
                    clock,
                ),
                models=ModelRoom(
                    models.catalogue,
                    models.residency,
                    models.llm,
                    models.embedder,
                    models.reranker,
                    models.transcriber,
                    models.synthesizer,
                    partial(_models_checked, settings, models),
                    notes,
                    begun,
                ),
                keeping=Keeping(retention, backups, notes, begun, folder=settings.backups_folder),
                lab=Lab(retrieval, documents, kept.accounts, kept.talks, chat, models.llm, kept.golden, notes, clock, max_tokens=settings.llm_max_tokens),
                leftovers=LeftoverRoom(objects, kept.belongings, notes, begun, clock),
                logbook=Logbook(audit, settings, notes),
                people=People(
                    users,
                    kept.accounts,
                    shared.sessions,
                    kept.usage,
                    kept.belongings,
                    kept.prompts,
                    documents,
                    index,
                    objects,
                    chat,
                    voice,
                    notes,
                    clock,
                    quota=quota,
                ),
                reading=Reading(kept.talks, kept.accounts, kept.belongings, chat, events, notes),
                collections=Collections(kept.ledger, kept.accounts, library, objects, notes, begun),
                versions=Versions(reembedding, kept.ledger, kept.golden, models.embedder, models.catalogue, notes, begun),
                folders=FolderRoom(
                    kept.ledger,
                    kept.accounts,
                    library,
                    notes,
                    begun,
                    clock,
                    Trees(objects, library.demand_size, roots=settings.folders, closed=(settings.home, settings.backups_folder)),
                ),
            ),
            courtesy=Courtesy(lambda: chat.beginning),
            processes=kept.processes,
            check=check,
            examine=partial(examined, check, _servers(settings, stores.by_part()), kept.processes, clock),
            counters=lambda: Counters(stores.records.writes, stores.records.commits, chat.open_answers),
            latency=lambda: waits(kept.traffic, clock()),
        )


def _servers(settings: Settings, stores: Mapping[str, Any]) -> dict[str, Server]:
    """Those of the stores that are servers, by part. A part is named as its setting is."""
    return {part: store for part, store in stores.items() if getattr(settings, f"{part}_url")}


def _demand_servers(settings: Settings, role: ProcessRole) -> None:
    """Raises: SettingsError where one of several processes has something in a folder that the others don't see."""
    missing = [f"HEARTH_{name.upper()}_URL" for name in ("records", "objects") if not getattr(settings, f"{name}_url")]
    if missing and role is not ProcessRole.UP:
        raise SettingsError(
            f"`hearth {role.value}` is one of several processes, and these can't share a home folder.",
            hint=f"Set {' and '.join(missing)} to servers that all of them reach, or start everything with `hearth up`.",
        )


@asynccontextmanager
async def _joined(settings: Settings, processes: Processes, role: ProcessRole, clock: Callable[[], datetime], process_id: str) -> AsyncIterator[Membership]:
    """This process as one of the house's. Who alone has the records need not tell anybody that they live."""
    async with Membership(processes, role, settings.home, clock, process_id=process_id, alone=not settings.records_url) as member:
        if not settings.records_url:
            yield member
            return
        async with _every(BEAT_EVERY_S, member.beat, "the sign of life"):
            yield member


@asynccontextmanager
async def _working(
    library: Library,
    reembedding: Reembedding,
    dispatcher: Dispatcher,
    triggers: Triggers,
    events: EventLog,
    retention: Retention,
    backups: Backups,
    index: ChunkIndex,
    member: Membership,
) -> AsyncIterator[None]:
    """The rooms that work by themselves, and what is done again and again. Each round may be that of any process; the duties are one's at a time."""

    async def start_what_is_due() -> None:
        if member.has(Duty.TRIGGERS):
            await triggers.keep_up()

    async def settle_vectors() -> None:
        if member.has(Duty.VECTORS):
            await index.settle()

    async def back_up_when_due() -> None:
        if member.has(Duty.BACKUPS):
            await backups.keep_up()

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(_every(RECORD_EVERY_S, events.record, "the recorder"))
        await stack.enter_async_context(_every(KEEP_UP_EVERY_S, retention.keep_up, "the retention sweep"))
        await stack.enter_async_context(_every(KEEP_UP_EVERY_S, back_up_when_due, "the backup on schedule"))
        await stack.enter_async_context(_every(SETTLE_EVERY_S, settle_vectors, "what the index of chunks lacks"))
        await stack.enter_async_context(library)
        await stack.enter_async_context(reembedding)
        await stack.enter_async_context(dispatcher)
        await stack.enter_async_context(_every(LOOK_EVERY_S, start_what_is_due, "the triggers of pipelines"))
        yield


@asynccontextmanager
async def _answering(users: Users, chat: ChatRoom, voice: VoiceRoom) -> AsyncIterator[None]:
    """The rooms in which people are answered."""

    async def stop_for_the_disabled() -> None:
        for user_id in {*chat.answering_for(), *voice.answering_for()}:
            if not await users.usable(user_id):
                await voice.stop_all(user_id)
                await chat.stop_all(user_id)

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(chat)
        await stack.enter_async_context(_every(ACCOUNTS_EVERY_S, stop_for_the_disabled, "the watch over accounts"))
        await stack.enter_async_context(voice)
        yield


@asynccontextmanager
async def _engines(settings: Settings, objects: ObjectStore, clock: Callable[[], datetime]) -> AsyncIterator[dict[Engine, PipelineEngine]]:
    """What runs pipelines, by their language: a cluster, or this machine."""
    from core.adapters.engine_local import LocalEngine

    log_bytes, folder_bytes = int(settings.pipeline_log_mb * 1e6), int(settings.pipeline_files_gb * 1e9)
    engines: dict[Engine, PipelineEngine] = {
        Engine.ARGO: LocalEngine("Hearth's own, a part of Argo", "argo_worker.py", argo.local_spec, log_bytes=log_bytes, folder_bytes=folder_bytes),
        Engine.KUBEFLOW: LocalEngine(
            "kfp.local",
            "kubeflow_worker.py",
            kubeflow.local_spec,
            python=settings.workflow_python,
            needs="kfp",
            log_bytes=log_bytes,
            folder_bytes=folder_bytes,
        ),
    }
    async with AsyncExitStack() as stack:
        if settings.kubeflow_url:
            kind = adapter(KUBEFLOW, settings.kubeflow_url, "HEARTH_KUBEFLOW_URL")
            # A cluster writes to a server of objects; it doesn't reach a folder of this machine.
            shared = objects if settings.objects_url else None
            made = kind(settings.kubeflow_url, settings.kubeflow_token.get_secret_value(), kubeflow.cluster_spec, clock, objects=shared)
            stack.push_async_callback(made.close)
            engines[Engine.KUBEFLOW] = made
        if settings.argo_url:
            kind = adapter(ARGO, settings.argo_url, "HEARTH_ARGO_URL")
            token = settings.argo_token.get_secret_value()
            made = kind(settings.argo_url, token, argo_cluster.cluster_spec, clock, log_bytes=log_bytes, folder_bytes=folder_bytes)
            stack.push_async_callback(made.close)
            engines[Engine.ARGO] = made
        yield engines


@asynccontextmanager
async def _lent(users: Users, address: str, lasts: timedelta, run: PipelineRun) -> AsyncIterator[Mapping[str, Value]]:
    """What a run may use of the house while it lasts: its address, and a key of the run's user that opens documents, operations and chat.

    Raises: SettingsError where nobody has said what the address is.
    """
    if not address:
        raise SettingsError(
            "This pipeline uses Hearth's API, and the process that runs it has none.", hint="Set HEARTH_PIPELINE_HOUSE_URL to the address of `hearth web`."
        )
    async with users.lent_key(run.user_id, f"run {run.id}", (Scope.DOCUMENTS, Scope.OPERATIONS, Scope.CHAT), lasts) as key:
        yield dict(zip(LENT, (address, key), strict=True))


def _detector(settings: Settings) -> Callable[[], Awaitable[VoiceActivity]]:
    """Streams of one detector of speech, which is loaded once and stays: it is small, and a call must not wait for it."""
    from inference.catalog import detector
    from inference.residency import Resident

    resident = Resident(detector(settings.vad_model), settings.models_folder, threads=1, idle_s=-1)

    async def listen() -> VoiceActivity:
        async with resident.used() as loaded:
            stream: VoiceActivity = loaded.listen()
            return stream

    return listen


async def _checked(settings: Settings, stores: Mapping[str, Store], engines: Mapping[Engine, PipelineEngine], models: Models) -> list[Health]:
    """Every part of the house, asked now. Of the stores, by part, those that lie in the records need no asking of their own."""
    own = [(part, store.check, store.adapter) for part, store in stores.items() if part in ALWAYS or getattr(settings, f"{part}_url")]
    found, runs, answers = await asyncio.gather(
        asyncio.gather(*(_check(*part) for part in own)),
        asyncio.gather(*(_engine_checked(language, engine) for language, engine in engines.items())),
        _models_checked(settings, models),
    )
    return [*found, *runs, *answers]


async def _engine_checked(language: Engine, engine: PipelineEngine) -> Health:
    """What runs pipelines of a language. Software that somebody may do without and hasn't installed is said, and is no trouble."""
    found = await _check(language.value, engine.check, engine.adapter)
    return found if engine.survives or found.ready else replace(found, ready=True)


async def _models_checked(settings: Settings, models: Models) -> list[Health]:
    """Every service's model, asked now where it is served."""
    return list(await asyncio.gather(*(_check(part, port.check, _where(settings, part)) for part, port in models.parts())))


async def _check(part: str, ask: Callable[[], Awaitable[object]], by: str) -> Health:
    """Asks one part for something real. by: what does it."""
    begun = time.perf_counter()
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            answer = await ask()
    except HearthError as error:
        return Health(part, False, str(error), by)
    except TimeoutError:
        return Health(part, False, f"No answer within {CHECK_TIMEOUT_S:.0f} s.", by)
    return Health(part, True, answer.id if isinstance(answer, Model) else "", by, round((time.perf_counter() - begun) * 1000, 1))


def _where(settings: Settings, service: str) -> str:
    """What serves a model, as an admin may see it."""
    return shown(getattr(settings, f"{service}_url")) or "the local inference process"


def _folders(settings: Settings) -> dict[str, Path]:
    """What takes room on this machine, by kind."""
    home, here = settings.home, {}
    if not settings.records_url:
        here["database"] = home / "hearth.db"
    if not settings.objects_url:
        here["originals and sound"] = home / "objects"
    return here | {"models": settings.models_folder, "backups": settings.backups_folder}


@asynccontextmanager
async def _every(seconds: float, work: Callable[[], Awaitable[object]], name: str) -> AsyncIterator[None]:
    """Runs something again and again in the background; a failure is logged and the next round tries again."""

    async def rounds() -> None:
        while True:
            try:
                await work()
            except Exception as error:  # a supervised loop: it must outlive every failure
                log.error("%s could not do its round: %s", name, error, exc_info=not isinstance(error, HearthError))
            await asyncio.sleep(seconds)

    task = asyncio.create_task(rounds(), name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
