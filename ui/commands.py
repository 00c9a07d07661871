"""What each command does. Output is for people; progress is shown wherever somebody waits."""

import argparse
import asyncio
import getpass
import importlib.util
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from core.app import App, LocalInference, only_one, open_app, prepare_home
from core.app import back_up as app_backup
from core.app import move as app_move
from core.app import restore as app_restore
from core.audit import Act, AuditEntry
from core.backups import Progress as Done
from core.errors import BadInput, HearthError, NoSpace, NotFound, ServiceError, SettingsError
from core.inference import Service
from core.moving import Moving
from core.processes import ProcessRole
from core.rag.folders import Source, Watch, found_files
from core.rag.model import IngestJob, IngestStage
from core.records import Health
from core.settings import PREFIX, SERVICES, Settings, shown
from core.users.model import Role, Scope, User

T = TypeVar("T")

out = Console(highlight=False)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
BESIDE_SETTINGS = {
    "HEARTH_INFERENCE_TOKEN": "what `hearth inference` demands of its callers as their API key; needed where others can reach it, at least 32 characters.",
    "HEARTH_PYTHON": "the Python that `make` builds the environment with; otherwise one that is found, 3.11 or newer.",
    "HEARTH_TEST_CHROMIUM": "the browser that the tests of the pages start; otherwise the system's Chromium or Chrome.",
}
"""What a person may set that only one command or the Makefile reads."""
INFERENCE_ADDRESS = "inference.json"
POLLED_JOBS = 20
"""How many jobs are asked about at once: the oldest are taken first, so the others have nothing to tell yet."""


async def up(settings: Settings, _args: argparse.Namespace) -> None:
    """Starts the web process and, unless every model is remote, the inference process."""
    from ui.server import serve

    prepare_home(settings.home)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(only_one(settings.home))
        listening = bind(settings.host, settings.port)
        stack.callback(listening.close)
        local = await stack.enter_async_context(local_inference(settings))
        url = address_of(settings.host, listening.getsockname()[1])
        app = await stack.enter_async_context(open_app(settings, local=local, serving=True, address=url))
        setup = await app.users.prepare_setup()

        async def announce() -> None:
            out.print(f"\n[bold]Hearth is at {url}[/]")
            if setup:
                out.print(f"Nobody has an account yet. This link makes the first one, once:\n  {url}/setup?token={setup}", soft_wrap=True)
            if settings.host not in LOOPBACK:
                out.print("It can be reached from other machines. Put TLS in front of it and set HEARTH_SESSION_COOKIE_SECURE=true.")
            out.print("Ctrl+C stops it; everything is kept.\n")
            sys.stdout.flush()

        await serve(app, [listening], announce)


async def serve_alone(settings: Settings, args: argparse.Namespace) -> None:
    """One of several processes over servers: pages and API (`hearth web`), or the chat or the voice page with what it needs of the API."""
    from ui.server import serve

    role = ProcessRole(args.role)
    prepare_home(settings.home)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(only_one(settings.home))
        listening = bind(settings.host, settings.port)
        stack.callback(listening.close)
        url = address_of(settings.host, listening.getsockname()[1])
        app = await stack.enter_async_context(open_app(settings, serving=True, role=role, address=url))
        _say_what_is_missing(settings)
        if not (await app.users.everyone(1)).items:
            out.print("Nobody has an account yet. Make one with `hearth user add NAME --admin`.")

        async def announce() -> None:
            out.print(f"\n[bold]Hearth is at {url}[/] ({role.value})\nCtrl+C stops it; everything is kept.\n")
            sys.stdout.flush()

        await serve(app, [listening], announce, role)


async def worker(settings: Settings, _args: argparse.Namespace) -> None:
    """One of several processes over servers, for what nobody waits for at a page: documents, pipelines, and what is due."""
    prepare_home(settings.home)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(only_one(settings.home))
        await stack.enter_async_context(open_app(settings, serving=True, role=ProcessRole.WORKER))
        _say_what_is_missing(settings)
        out.print("[bold]A worker of Hearth is at work.[/] Ctrl+C stops it; what it was at goes on elsewhere.")
        sys.stdout.flush()
        asked = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, asked.set)
        await asked.wait()


def _say_what_is_missing(settings: Settings) -> None:
    if missing := sorted(settings.local_services()):
        names = ", ".join(f"HEARTH_{service.upper()}_URL" for service in missing)
        out.print(f"[yellow]This process starts no models.[/] What needs one that has no address will say so: {names}.", soft_wrap=True)


@asynccontextmanager
async def local_inference(settings: Settings) -> AsyncIterator[LocalInference | None]:
    """The supervised inference process; None where every model is remote."""
    if not settings.local_services():
        yield None
        return
    from inference.supervisor import Supervisor

    for missing in missing_models(settings):
        out.print(f"[yellow]The model {missing} is not here yet.[/] `hearth models fetch` gets it; answers that need it will say so.")
    async with Supervisor(settings) as supervisor:
        local = LocalInference(supervisor.url, supervisor.token)
        # Where the house's other commands find it; the folder is its owner's alone.
        address = settings.home / INFERENCE_ADDRESS
        with os.fdopen(os.open(address, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out_file:
            out_file.write(msgspec.json.encode(local))
        try:
            yield local
        finally:
            address.unlink(missing_ok=True)


async def admin(settings: Settings, _args: argparse.Namespace) -> None:
    """The console alone. It needs no models, takes in nothing and answers nobody, so it may run beside the Hearth of the same home."""
    from ui.server import serve_console

    prepare_home(settings.home)
    async with AsyncExitStack() as stack:
        listening = bind(settings.host, settings.admin_port)
        stack.callback(listening.close)
        app = await stack.enter_async_context(open_app(settings, local=running_inference(settings)))
        if not (await app.users.everyone(1)).items:
            raise NotFound("Nobody has an account yet.", hint="Make one with `hearth user add NAME --admin`.")
        url = address_of(settings.host, listening.getsockname()[1])

        async def announce() -> None:
            out.print(f"\n[bold]Hearth's console is at {url}/admin/[/]\nCtrl+C stops it.\n")
            sys.stdout.flush()

        await serve_console(app, [listening], announce)


async def backup(settings: Settings, args: argparse.Namespace) -> None:
    """Writes a backup with progress; nothing half made is left when somebody stops it."""
    done = Done()
    made = await _with_progress(DownloadColumn(), lambda: ("backing up", done.done_bytes, done.total_bytes), app_backup(settings, args.file, done))
    target, manifest = args.file or settings.backups_folder / made.name, made.manifest
    assert manifest is not None, "a new backup is always readable"
    out.print(f"[green]✓[/] {target}: {made.size_bytes / 1e6:,.1f} MB, {sum(manifest.rows.values()):,} rows and {manifest.files:,} files.", soft_wrap=True)
    if manifest.missing:
        out.print(f"[yellow]{manifest.missing:,} originals that the database names were not there.[/]")
    out.print("It holds everybody's words and documents: keep it as safe as this machine. What is deleted from now on stays in it.")


async def restore(settings: Settings, args: argparse.Namespace) -> None:
    """Restores with progress into the home folder, which must be empty or not there yet."""
    done = Done()
    manifest = await _with_progress(DownloadColumn(), lambda: ("restoring", done.done_bytes, done.total_bytes), app_restore(settings, args.file, done))
    out.print(
        f"[green]✓[/] {settings.home}: {sum(manifest.rows.values()):,} rows and {manifest.files:,} files of {manifest.made_at:%Y-%m-%d %H:%M} UTC.",
        soft_wrap=True,
    )
    out.print("Everybody signs in again. Models are not in a backup: `hearth models fetch` gets them.")


async def migrate(settings: Settings, args: argparse.Namespace) -> None:
    """Moves with progress, and says what was compared."""
    moving = Moving()
    work = app_move(settings, args.to, moving)
    moved = await _with_progress(TextColumn("{task.completed:,.0f}"), lambda: (moving.doing, moving.done, moving.total), work)
    table = Table("what", "moved", "SHA-256 of all, on both sides", box=None, pad_edge=False)
    for kind in moved:
        if kind.count:
            table.add_row(kind.what, f"{kind.count:,}", kind.sha256[:16] + "…")
    out.print(table)
    stays = "the home folder" if args.to == "servers" else "what the servers keep"
    out.print(f"[green]✓[/] Everything is there and was compared. Nothing was removed: {stays} is as it was.", soft_wrap=True)
    if args.to == "home":
        out.print("Start Hearth without HEARTH_RECORDS_URL and HEARTH_OBJECTS_URL to use it.")


async def _with_progress(count: ProgressColumn, told: Callable[[], tuple[str, int, int]], work: Coroutine[Any, Any, T]) -> T:
    """told: what is being done, how much of it is done, and of how much; 0 where that isn't known.   count: how these are written."""
    task = asyncio.ensure_future(work)
    with Progress(TextColumn("{task.description}"), BarColumn(), count, console=out, transient=True) as progress:
        shown_as = progress.add_task("", total=None)
        try:
            while not (await asyncio.wait([task], timeout=0.2))[0]:
                what, done, total = told()
                progress.update(shown_as, description=what, completed=done, total=total or None)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return task.result()


def running_inference(settings: Settings) -> LocalInference | None:
    """The inference process of the Hearth that runs on this home; None where it has none."""
    try:
        return msgspec.json.decode((settings.home / INFERENCE_ADDRESS).read_bytes(), type=LocalInference)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def missing_models(settings: Settings) -> list[str]:
    """The local models whose weights the settings need and that are not on the disk."""
    from inference.catalog import chosen, detector, state

    wanted = [chosen(getattr(settings, f"{service}_model"), Service(service)) for service in sorted(settings.local_services())]
    if settings.stt_url != "off":
        wanted.append(detector(settings.vad_model))
    weights = {e.weights or e.name: e.service for e in wanted}
    return sorted(name for name, service in weights.items() if state(name, settings.models_folder, service) == "missing")


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises: SettingsError if the port is taken or the address isn't ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise SettingsError(
            f"Port {port} on {host} can't be used: {error.strerror}.", hint="Choose another with --port or HEARTH_PORT, or stop what uses it."
        ) from error
    listening.setblocking(False)
    return listening


def address_of(host: str, port: int) -> str:
    """The URL to open in a browser on this machine."""
    name = "127.0.0.1" if host in ("0.0.0.0", "") else "[::1]" if host == "::" else f"[{host}]" if ":" in host else host  # noqa: S104  compared, not bound
    return f"http://{name}:{port}"


def inference(settings: Settings, _args: argparse.Namespace) -> None:
    """The model server alone; the token is HEARTH_INFERENCE_TOKEN, and it is required off loopback."""
    from inference.server import serve

    token = os.environ.get("HEARTH_INFERENCE_TOKEN", "")
    if settings.inference_host not in LOOPBACK and len(token) < 32:
        raise SettingsError("A model server that others can reach needs a token.", hint="Set HEARTH_INFERENCE_TOKEN to at least 32 random characters.")
    listening = bind(settings.inference_host, settings.inference_port)
    out.print(f"The model server is at {address_of(settings.inference_host, listening.getsockname()[1])}/v1")
    serve(settings, token, listening)


@asynccontextmanager
async def house(settings: Settings) -> AsyncIterator[tuple[App, bool]]:
    """The opened house, and whether it is this process that takes documents in and runs pipelines; it leaves that to whoever does it already."""
    prepare_home(settings.home)
    async with AsyncExitStack() as stack:
        alone = not await _others_work(settings)
        try:
            await stack.enter_async_context(only_one(settings.home))
        except SettingsError:
            alone = False  # the Hearth that runs on this home does it
        local = await stack.enter_async_context(local_inference(settings)) if alone else running_inference(settings)
        yield await stack.enter_async_context(open_app(settings, local=local, serving=alone)), alone


async def _others_work(settings: Settings) -> bool:
    """Whether another home's process over the same servers does: a command that ends would take what it had begun away from it."""
    if not settings.records_url:
        return False
    async with open_app(settings) as app:
        return any(process.role.works and process.lives(datetime.now(UTC)) for process in await app.processes.all())


async def ingest(settings: Settings, args: argparse.Namespace) -> None:
    """Uploads, then waits until every document is ready. What is there already is not taken in twice, so a broken run is simply repeated."""
    files = found_files(args.paths)
    if not files and not args.watch:
        raise BadInput("There is no file in those paths.", hint="Name files, or folders that hold some.")
    async with house(settings) as (app, _):
        user = await whose(app, args.user)
        if args.watch:
            await _watch(app, user, args.collection, Watch(args.paths), every_s=args.every)
        count, failed = await _ingest_with_progress(app, user, args.collection, files)
    if failed:
        raise BadInput(f"{len(failed)} of {count} files could not be taken in.", hint="The others are ready. Mend these and run the same command again.")
    out.print(f"[green]✓[/] {count} files are ready in {args.collection!r}.")


async def _watch(app: App, user: User, collection: str, watch: Watch, *, every_s: float) -> None:
    """Takes in what is new or has changed, again and again until somebody stops it. Nothing is removed by itself: what vanished is only said."""
    out.print(f"Watching for {collection!r}. Ctrl+C stops it.")
    while True:
        seen = await anyio.to_thread.run_sync(watch.look)
        for name in seen.vanished:
            out.print(f"{name} is gone from the folder. Its document stays until you delete it.", markup=False)
        try:
            if seen.changed:
                count, failed = await _ingest_with_progress(app, user, collection, seen.changed)
                out.print(f"[green]✓[/] {count - len(failed)} of {count} new or changed files are ready in {collection!r}.")
        except (ServiceError, NoSpace) as error:
            out.print(f"{error} The files are tried again at the next look.", markup=False)
            watch.forget(seen.changed)
        await asyncio.sleep(every_s)


async def _ingest_with_progress(app: App, user: User, collection: str, files: Sequence[Source]) -> tuple[int, list[IngestJob]]:
    """How many files there were (those in archives too), and the jobs that ended otherwise than ready, which are printed with their reasons."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn())
    count = 0
    failed: list[IngestJob] = []
    jobs: dict[str, IngestJob] = {}
    with Progress(*columns, console=out) as progress:
        sending = progress.add_task("uploading", total=len(files))
        for file in files:
            try:
                taken = await app.library.take_in(user, collection, file.name, file.path, source_url=file.path.resolve().as_uri())
                jobs |= {job.id: job for job in taken.jobs}
                count += len(taken.jobs)
                for left_out in taken.skipped:
                    progress.console.print(f"{file.path.name}: {left_out.name} was left out. {left_out.reason}", markup=False)
            except BadInput as error:
                failed.append(IngestJob("", "", user.id, collection, file.path.name, IngestStage.FAILED, 0, str(error)))
                count += 1
            progress.advance(sending)
        working = progress.add_task("reading", total=100 * max(1, len(jobs)))
        while pending := [i for i, j in jobs.items() if not j.done][:POLLED_JOBS]:
            for job_id in pending:
                jobs[job_id] = await app.library.job(user, job_id)
            doing = "paused" if jobs[pending[0]].paused else "reading"
            progress.update(working, completed=sum(100 if j.done else j.percent for j in jobs.values()), description=doing)
            if not all(jobs[job_id].done for job_id in pending):
                await asyncio.sleep(0.25)
    failed += [j for j in jobs.values() if j.done and j.stage is not IngestStage.READY]
    for job in failed:
        out.print(f"[red]✗[/] {escape(job.title)}: {escape(job.error)}")
    return count, failed


async def whose(app: App, name: str | None) -> User:
    """The named user; without a name the only one. Raises: NotFound, BadInput."""
    if name:
        return await app.users.named(name)
    page = await app.users.everyone(2)
    if not page.items:
        raise NotFound("Nobody has an account yet.", hint="Make one with `hearth user add NAME --admin`.")
    if len(page.items) > 1:
        raise BadInput("There are several users.", hint="Say whose it is with --user NAME.")
    return page.items[0]


def models(settings: Settings, args: argparse.Namespace) -> None:
    """The catalogue with what is on the disk, or fetches models with progress."""
    from inference.catalog import load, state

    if args.action == "fetch":
        return fetch_models(settings, args.names, args.service)
    table = Table("model", "service", "size", "licence", "state", "used", box=None, pad_edge=False)
    used = {getattr(settings, f"{service}_model") for service in settings.local_services()}
    for entry in load().values():
        size = f"{entry.download_bytes / 1e6:.0f} MB" if entry.download_bytes else ""
        table.add_row(entry.name, entry.service, size, entry.licence, state(entry.name, settings.models_folder), "yes" if entry.name in used else "")
    out.print(table)
    return None


def fetch_models(settings: Settings, names: Sequence[str], service: str | None = None) -> None:
    """Fetches what is missing; what is there stays as it is. service: of models of the hub that no setting names."""
    from inference.catalog import state
    from inference.fetch import fetch

    wanted = list(names) or missing_models(settings)
    if not wanted:
        out.print("Every model that the settings need is here.")
    prepare_home(settings.home)
    named = {getattr(settings, f"{s}_model"): s for s in SERVICES}
    for name in wanted:
        used_for = Service(found) if (found := service or named.get(name)) else None
        if state(name, settings.models_folder, used_for) != "missing":
            out.print(f"[green]✓[/] {name} is here.")
            continue
        with Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), console=out) as progress:
            task = progress.add_task(name, total=None)
            fetch(name, settings.models_folder, partial(_show, progress, task, name), used_for)
        out.print(f"[green]✓[/] {name} is ready.")


def _show(progress: Progress, task: TaskID, name: str, done: int, total: int | None, what: str) -> None:
    progress.update(task, completed=done, total=total, description=f"{name}: {what}")


async def user(settings: Settings, args: argparse.Namespace) -> None:
    """Lists users or changes one."""
    async with open_app(settings) as app:
        if args.action == "list":
            return await _list_users(app)
        if not args.name:
            raise BadInput("Say which user.", hint=f"hearth user {args.action} NAME")
        if args.action == "add":
            made = await app.users.add(args.name, None if args.no_password else ask_password(), admin=args.admin, premium=args.premium)
            await _note(app, Act.MADE, made.username, role=made.role.value)
            out.print(f"[green]✓[/] {made.username} can sign in." if not args.no_password else f"[green]✓[/] {made.username} can use API keys.")
            return None
        if args.action == "password":
            await app.users.set_password(args.name, ask_password())
            await _note(app, Act.CHANGED, args.name, what="password")
            out.print(f"[green]✓[/] {args.name} has a new password.")
            return None
        changes: dict[str, dict[str, object]] = {
            "disable": {"disabled": True},
            "enable": {"disabled": False},
            "premium": {"premium": True},
            "standard": {"premium": False},
            "admin": {"role": Role.ADMIN},
        }
        wanted = changes[args.action]
        _, changed = await app.users.change((await app.users.named(args.name)).id, **wanted)
        await _note(app, Act.ROLE if "role" in wanted else Act.CHANGED, changed.username, **wanted)
        out.print(f"[green]✓[/] {args.name}: {args.action}.")
        return None


async def _note(app: App, act: Act, username: str, **detail: object) -> None:
    """What was done on the command line, where nobody signs in, is the house's own doing."""
    await app.audit.write(AuditEntry(datetime.now(UTC), "", "", act, f"user {username}", {"at": "the command line", **detail}))


async def _list_users(app: App) -> None:
    table = Table("name", "role", "lane", "state", "since", box=None, pad_edge=False)
    cursor = ""
    while True:
        page = await app.users.everyone(100, cursor)
        for u in page.items:
            table.add_row(u.username, u.role.value, "premium" if u.premium else "standard", "disabled" if u.disabled else "", f"{u.created_at:%Y-%m-%d}")
        if not (cursor := page.next_cursor):
            break
    out.print(table if table.row_count else "Nobody has an account yet. `hearth up` prints a link that makes the first one.")


def ask_password() -> str:
    """A password typed twice, or one line of a pipe. Raises: BadInput if the two differ."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != first:
        raise BadInput("The two passwords differ.", hint="Type the same one twice.")
    return first


async def token(settings: Settings, args: argparse.Namespace) -> None:
    """Prints a new API key: alone on standard output, so that a script can take it."""
    async with open_app(settings) as app:
        key, secret = await app.users.make_key(
            await app.users.named(args.user), args.name, scopes=[Scope(name) for name in args.scope or Scope], days=args.days
        )
        await _note(app, Act.MADE, args.user, key=key.prefix, scopes=", ".join(key.scopes))
    sys.stdout.write(secret + "\n")
    sys.stderr.write(f"This key is shown once. Hearth keeps only its hash; you will know it by {key.prefix}…\n")


def show_settings(settings: Settings, args: argparse.Namespace) -> None:
    """Every setting with its value, where that comes from, and what it means."""
    if args.markdown:
        sys.stdout.write(settings_page())
        return
    table = Table("setting", "value", "from", "meaning", box=None, pad_edge=False)
    for setting in settings.explained():
        table.add_row(setting.name, setting.value, setting.source, setting.meaning)
    out.print(table)


def settings_page() -> str:
    """docs/settings.md, made from the settings themselves."""
    lines = [
        "# Settings",
        "",
        "Each is an environment variable. No URL means embedded: nothing to install or start. `hearth settings` shows the present values.",
        "",
    ]
    for name, field in Settings.model_fields.items():
        default = "~/.hearth" if name == "home" else shown(field.get_default(call_default_factory=False))
        lines += [f"## {PREFIX}{name.upper()}", "", field.description or "", "", f"Default: `{default}`" if default else "Default: empty", ""]
    lines += ["## Variables that are no settings", "", *(f"- `{name}`: {meaning}" for name, meaning in BESIDE_SETTINGS.items())]
    return "\n".join(lines).rstrip() + "\n"


async def doctor(settings: Settings, _args: argparse.Namespace) -> None:
    """Checks everything for real. Raises: SettingsError if something is red, so that scripts notice."""
    checks = [_python(), _home(settings)]
    try:
        async with AsyncExitStack() as stack:
            running = await _is_running(settings.home)
            checks += [Health("port", True, "Hearth is running on this home") if running else _port(settings), *_local_models(settings)]
            local = running_inference(settings) if running else await stack.enter_async_context(local_inference(settings))
            app = await stack.enter_async_context(open_app(settings, local=local))
            checks += await app.examine()
    except HearthError as error:
        checks.append(Health("stores", False, str(error)))
    for check in checks:
        out.print(f"{'[green]✓[/]' if check.ready else '[red]✗[/]'} {check.part}" + (f": {escape(check.detail)}" if check.detail else ""), soft_wrap=True)
    if bad := [c for c in checks if not c.ready]:
        raise SettingsError(f"{len(bad)} of {len(checks)} checks failed.", hint="Each line above says what to do.")


def _python() -> Health:
    version = ".".join(map(str, sys.version_info[:3]))
    return Health("python", sys.version_info >= (3, 11), version)


def _home(settings: Settings) -> Health:
    try:
        prepare_home(settings.home)
        with tempfile.TemporaryFile(dir=settings.home):
            return Health("home", True, str(settings.home))
    except (HearthError, OSError) as error:
        return Health("home", False, str(error))


async def _is_running(home: Path) -> bool:
    try:
        async with only_one(home):
            return False
    except SettingsError:
        return True


def _port(settings: Settings) -> Health:
    try:
        bind(settings.host, settings.port).close()
    except SettingsError as error:
        return Health("port", False, str(error))
    return Health("port", True, f"{settings.port} is free")


def _local_models(settings: Settings) -> list[Health]:
    if not settings.local_services():
        return []
    checks = []
    if settings.local_services() & {"llm", "embeddings", "reranker"}:
        torch = importlib.util.find_spec("torch") is not None
        checks = [Health("torch", torch, "" if torch else "The local models need it: `pip install 'hearth[local]'`, or point the model URLs at a server.")]
    missing = missing_models(settings)
    return [*checks, Health("models", not missing, f"Not fetched: {', '.join(missing)}. `hearth models fetch` gets them." if missing else "fetched")]
