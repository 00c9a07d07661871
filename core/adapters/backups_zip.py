"""Backups as zip files: the database by SQLite's online backup, the objects as they lie, a checksum for each, and a manifest that is read without them.

hearth.db         the database, without sessions
objects/<key>     as in the object store; not compressed again
files.json        {name: {"sha256": …, "bytes": …}} of all the above
manifest.json     `core.backups.Manifest`, with the checksum of files.json
"""

import asyncio
import hashlib
import os
import re
import shutil
import sqlite3
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import IO, ParamSpec, TypeVar

import anyio
import msgspec
from sqlalchemy import create_engine, func, inspect, select, table, union_all

from core.adapters.database_sql import SqliteDatabase
from core.adapters.migrations.run import HEAD, current
from core.adapters.objects_folder import BUCKET
from core.adapters.tables_sql import artifacts, documents, voice_requests, voice_responses
from core.backups import Backup, Manifest, Progress
from core.errors import AlreadyThere, HearthError, IllegalStep, NoSpace, NotFound, ServiceUnavailable, Unreadable

P = ParamSpec("P")
T = TypeVar("T")

FORMAT = 1
DATABASE, OBJECTS, FILES, MANIFEST = "hearth.db", "objects", "files.json", "manifest.json"
BLOCK_BYTES = 1 << 20
NAMED = "hearth-%Y%m%dT%H%M%SZ.zip"
_NAME = re.compile(r"hearth-\d{8}T\d{6}Z\.zip")
_NOT_COUNTED = ("sqlite_", "chunk_text_", "chunk_words")  # SQLite's own: they say nothing that the others don't
LEFT_OVER_S = 86_400
"""After which what a killed backup left is cleared away."""


class _File(msgspec.Struct):
    sha256: str
    bytes: int


class ZipBackups:
    """A folder of backups of the embedded stores of one home. `BackupStore`."""

    def __init__(self, home: Path, folder: Path, *, elsewhere: bool = False) -> None:
        """folder: need not be there yet.   elsewhere: a server keeps some of the house, so none is written: it would lack that."""
        self._home, self._folder, self._elsewhere = home, folder, elsewhere

    async def write(self, made_at: datetime, progress: Progress) -> Backup:
        """As the port says."""
        return await self.write_to(self._folder / made_at.astimezone(UTC).strftime(NAMED), made_at, progress)

    async def write_to(self, target: Path, made_at: datetime, progress: Progress) -> Backup:
        """The same, to a file of one's own choice. Raises: IllegalStep where a server keeps some of it."""
        if self._elsewhere:
            raise IllegalStep(
                "A backup of the home folder would lack what the servers keep, so none is made.",
                hint="Back up PostgreSQL with pg_dump and the bucket with its server's own tools.",
            )
        return await _in_thread(progress, _write, self._home, target, made_at, progress)

    async def all(self) -> Sequence[Backup]:
        """As the port says."""
        names = await self.names()
        return await anyio.to_thread.run_sync(lambda: [found for name in names if (found := _backup(self._folder / name))])

    async def names(self) -> Sequence[str]:
        """As the port says."""

        def listed() -> list[str]:
            try:
                return sorted((name for name in os.listdir(self._folder) if _NAME.fullmatch(name)), reverse=True)
            except FileNotFoundError:
                return []

        return await anyio.to_thread.run_sync(listed)

    async def latest_at(self) -> datetime | None:
        """As the port says."""
        names = await self.names()
        return _made_at(names[0]) if names else None

    async def path(self, name: str) -> Path:
        """As the port says."""
        if name not in await self.names():
            raise NotFound("There is no such backup.")
        return self._folder / name

    async def drop(self, name: str) -> bool:
        """As the port says."""
        if name not in await self.names():
            return False
        await anyio.to_thread.run_sync(lambda: (self._folder / name).unlink(missing_ok=True))
        return True


async def restore(file: Path, home: Path, progress: Progress) -> Manifest:
    """Makes a home folder of a backup: checks every byte, brings the tables up to date, and only then puts it in its place.

    Raises: AlreadyThere if the folder has anything in it; NotFound, Unreadable (also for a checksum that is wrong), ServiceUnavailable for a backup of a newer
    Hearth, NoSpace.
    """
    home = await anyio.to_thread.run_sync(home.resolve)
    staging, manifest = await _in_thread(progress, _unpack, file, home, progress)
    try:
        async with SqliteDatabase("", home=staging) as database:
            await database.migrate()
        await anyio.to_thread.run_sync(_move, staging, home)
    finally:
        await anyio.to_thread.run_sync(lambda: shutil.rmtree(staging, ignore_errors=True))
    return manifest


async def _in_thread(progress: Progress, work: Callable[P, T], *args: P.args, **given: P.kwargs) -> T:
    """Runs it in a thread; a caller that is cancelled stops it, and leaves when it has cleared up."""
    job = asyncio.ensure_future(asyncio.to_thread(work, *args, **given))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        progress.stop = True
        await asyncio.gather(job, return_exceptions=True)
        raise


def _made_at(name: str) -> datetime:
    return datetime.strptime(name, NAMED).replace(tzinfo=UTC)


def _backup(path: Path) -> Backup | None:
    """What a file of the folder says of itself; None if it has gone meanwhile."""
    try:
        size_bytes = path.stat().st_size
        with _opened(path) as archive:
            return Backup(path.name, _made_at(path.name), size_bytes, _manifest(archive))
    except (NotFound, FileNotFoundError):
        return None
    except HearthError as error:
        return Backup(path.name, _made_at(path.name), size_bytes, None, str(error))


@contextmanager
def _writing() -> Iterator[None]:
    """The disk's errors as ours."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or "the system refused it"
        raise NoSpace(f"The disk can't be written: {reason}.", hint="Free some space, or choose another folder.") from error


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """A backup's archive; whatever is wrong with it is one error."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}.") from error
    except OSError as error:
        reason = error.strerror or "the system refused it"
        raise Unreadable(f"{path} can't be read: {reason}.", hint="Name the zip file of a backup that you may read.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, msgspec.DecodeError) as error:
        raise Unreadable(f"{path.name} is no backup of Hearth, or it is damaged.", hint="Use another one; nothing was changed.") from error


def _manifest(archive: zipfile.ZipFile) -> Manifest:
    return msgspec.json.decode(archive.read(MANIFEST), type=Manifest)


def _blocks(source: IO[bytes], progress: Progress) -> Iterator[bytes]:
    while block := source.read(BLOCK_BYTES):
        if progress.stop:
            raise IllegalStep("It was stopped; nothing half made is left.")
        progress.done_bytes += len(block)
        yield block


def _room(folder: Path, needed_bytes: int) -> None:
    """Raises: NoSpace before anything is written that would not fit."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes:
        raise NoSpace(
            f"{needed_bytes / 1e6:,.0f} MB are needed in {folder}, {free_bytes / 1e6:,.0f} MB are free.", hint="Free some space, or choose another folder."
        )


def _write(home: Path, target: Path, made_at: datetime, progress: Progress) -> Backup:
    database, objects = home / DATABASE, home / OBJECTS
    if not database.is_file():
        raise NotFound(f"There is nothing to back up in {home}.", hint="Is it the right folder? --home chooses another.")
    if target.exists():
        raise AlreadyThere(f"{target} is there already.", hint="Choose another name: a backup overwrites nothing.")
    with _writing():
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        stored = [path for path in sorted(objects.rglob("*")) if path.is_file() and not path.name.startswith(".put-")]
        database_bytes = database.stat().st_size
        progress.total_bytes = database_bytes + sum(_size(path) for path in stored)
        _room(target.parent, progress.total_bytes + database_bytes)  # the copy of the database, and everything in the archive
        for left in target.parent.glob(".backup-*"):
            if time.time() - left.stat().st_mtime > LEFT_OVER_S:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as scratch:
            copy, part = Path(scratch) / DATABASE, Path(scratch) / target.name
            _copy_database(database, copy)
            revision, rows, named = _contents(copy)
            files: dict[str, _File] = {}
            with zipfile.ZipFile(part, "x", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                files[DATABASE] = _add(archive, DATABASE, copy, progress)
                for path in stored:
                    name = f"{OBJECTS}/{path.relative_to(objects).as_posix()}"
                    try:
                        files[name] = _add(archive, zipfile.ZipInfo(name), path, progress)
                    except FileNotFoundError:
                        continue  # deleted since the list was made
                listed = msgspec.json.encode(files)
                archive.writestr(FILES, listed)
                manifest = Manifest(
                    format=FORMAT,
                    hearth=version("hearth"),
                    revision=revision,
                    made_at=made_at,
                    rows=rows,
                    files=len(files) - 1,
                    content_bytes=sum(file.bytes for file in files.values()),
                    missing=len(named - files.keys()),
                    files_sha256=hashlib.sha256(listed).hexdigest(),
                )
                archive.writestr(MANIFEST, msgspec.json.encode(manifest))
            part.chmod(0o600)
            _sync(part)
            part.rename(target)
        _sync(target.parent)
        return Backup(target.name, made_at, target.stat().st_size, manifest)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _copy_database(path: Path, copy: Path) -> None:
    """All pages at once, under one read view: whoever writes meanwhile goes on, and is not in it. Source: SQLite's Online Backup API."""
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
            target.execute("PRAGMA secure_delete=ON")
            target.execute("DELETE FROM sessions")
            target.commit()
            target.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
    except sqlite3.Error as error:
        raise ServiceUnavailable(f"The database could not be copied: {error}.", service="records", hint="`hearth doctor` checks it.") from error


def _contents(path: Path) -> tuple[str, Mapping[str, int], set[str]]:
    """(revision, rows by table, names of the objects that rows point to). Of whatever revision the database is."""
    engine = create_engine(f"sqlite:///{path}")
    try:
        tables = [name for name in inspect(engine).get_table_names() if not name.startswith(_NOT_COUNTED)]
        pointing = [t for t in (documents, voice_requests, voice_responses, artifacts) if t.name in tables]
        with engine.connect() as connection:
            rows = {name: connection.execute(select(func.count()).select_from(table(name))).scalar_one() for name in tables}
            uris = connection.execute(union_all(*(select(t.c.uri).where(t.c.uri != "") for t in pointing))).scalars() if pointing else ()
            named = {uri.replace(f"s3://{BUCKET}/", f"{OBJECTS}/", 1) for uri in uris}
        return current(engine) or "", rows, named
    finally:
        engine.dispose()


def _add(archive: zipfile.ZipFile, member: str | zipfile.ZipInfo, path: Path, progress: Progress) -> _File:
    """A name is compressed, as the archive says; a ZipInfo is stored as it lies."""
    digest, count = hashlib.sha256(), 0
    with path.open("rb") as source, archive.open(member, "w", force_zip64=True) as out:
        for block in _blocks(source, progress):
            digest.update(block)
            out.write(block)
            count += len(block)
    return _File(digest.hexdigest(), count)


def _unpack(file: Path, home: Path, progress: Progress) -> tuple[Path, Manifest]:
    """The checked contents in a folder beside `home`, which the caller removes or moves."""
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise AlreadyThere(f"{home} has something in it.", hint="A restore overwrites nothing: name a folder that is empty or not there yet with --home.")
    with _opened(file) as archive:
        manifest = _manifest(archive)
        if manifest.format > FORMAT or manifest.revision > HEAD:
            raise ServiceUnavailable(
                f"The backup is of a newer Hearth ({manifest.hearth}, revision {manifest.revision}; this one knows {HEAD}).",
                service="records",
                hint="Update Hearth, then restore it.",
            )
        listed = archive.read(FILES)
        if hashlib.sha256(listed).hexdigest() != manifest.files_sha256:
            raise Unreadable("The list of files in the backup is not the one that was written.", hint="Use another backup; nothing was changed.")
        files = msgspec.json.decode(listed, type=dict[str, _File])
        if set(archive.namelist()) != {*files, FILES, MANIFEST}:
            raise Unreadable("The backup has other files than its list names.", hint="Use another backup; nothing was changed.")
        progress.total_bytes = manifest.content_bytes
        with _writing():
            home.parent.mkdir(parents=True, exist_ok=True)
            _room(home.parent, manifest.content_bytes)
            staging = Path(tempfile.mkdtemp(dir=home.parent, prefix=f".{home.name}-restored-"))
            try:
                for name, file_info in files.items():
                    _extract(archive, name, file_info, staging, progress)
                _check_database(staging / DATABASE, manifest)
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
    return staging, manifest


def _extract(archive: zipfile.ZipFile, name: str, expected: _File, staging: Path, progress: Progress) -> None:
    parts = PurePosixPath(name).parts
    if name != DATABASE and (len(parts) < 2 or parts[0] != OBJECTS or ".." in parts or "\\" in name or "\0" in name):
        raise Unreadable(f"The backup has a file {name[:80]!r}, which belongs nowhere in a home folder.", hint="Don't trust it; nothing was changed.")
    target, digest, count = staging.joinpath(*parts), hashlib.sha256(), 0
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with archive.open(name) as source, os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        for block in _blocks(source, progress):
            digest.update(block)
            if (count := count + len(block)) > expected.bytes:
                break  # its checksum can't be right, and the disk is not for filling
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    if digest.hexdigest() != expected.sha256:
        raise Unreadable(f"{name} is not what was backed up: its checksum is another.", hint="Use another backup; nothing was changed.")


def _check_database(path: Path, manifest: Manifest) -> None:
    try:
        with closing(sqlite3.connect(path)) as connection:
            sound = connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok"
    except sqlite3.DatabaseError:
        sound = False
    if not sound or _contents(path)[1] != manifest.rows:
        raise Unreadable("The database in the backup is damaged, or has other rows than it says.", hint="Use another backup; nothing was changed.")


def _move(staging: Path, home: Path) -> None:
    with _writing():
        _sync(staging)
        staging.rename(home)  # onto an empty folder too, and onto nothing else
        _sync(home.parent)
