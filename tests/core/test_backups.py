"""A house is backed up while it runs, and what is restored is compared with it row by row and byte by byte."""

import asyncio
import json
import sqlite3
import struct
import zipfile
import zlib
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from echo_house import ask, echo_settings, files_of, finished, rows_of, say, taken_in

from core.adapters import backups_zip
from core.adapters.backups_zip import ZipBackups, restore
from core.app import open_app
from core.backups import Backups, Progress
from core.errors import AlreadyThere, NoSpace, NotFound, NotSignedIn, ServiceBusy, ServiceUnavailable, Unreadable

pytestmark = pytest.mark.anyio
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def lived_in(app, ada):
    """A house with a bit of everything."""
    for n in range(3):
        await taken_in(app, ada, f"guide-{n}.md", f"# Guide {n}\n\nBackups run every night at 02:{n:02}.")
    await finished(await app.chat.send(ada, ask("When do backups run?", collections=("lab",))))
    await app.voice.answer(ada, say("How long?"))
    return app


@pytest.fixture
def store(app):
    return ZipBackups(app.settings.home, app.settings.backups_folder)


async def test_what_is_restored_is_what_was_there_row_by_row_and_byte_by_byte(lived_in, ada, store, tmp_path, echo_server):
    backup = await store.write(NOON, Progress())
    there, files = rows_of(lived_in.settings.home), files_of(lived_in.settings.home)
    assert len(there["chunks"]) >= 3
    assert len(files) == 5
    new = tmp_path / "new"
    new.mkdir()
    progress = Progress()
    assert await restore(store._folder / backup.name, new, progress) == backup.manifest
    assert progress.done_bytes == progress.total_bytes > 0
    assert rows_of(new) == there
    assert files_of(new) == files
    assert (backup.manifest.files, backup.manifest.missing, backup.manifest.rows["messages"]) == (5, 0, 4)
    assert backup.manifest.rows["sessions"] == 0
    async with open_app(echo_settings(new), local=echo_server, serving=True) as house:
        who, _ = await house.users.sign_in("ada", "correct horse battery", "test")
        assert len((await house.chat.conversations(who.user)).items) == 2
        answer = await finished(await house.chat.send(who, ask("When do backups run?", collections=("lab",))))
        assert answer.metadata.sources


async def test_an_old_sign_in_is_not_restored(app, store, tmp_path, echo_server):
    await app.users.add("ada", "correct horse battery")
    _, token = await app.users.sign_in("ada", "correct horse battery", "test")
    backup = await store.write(NOON, Progress())
    await restore(store._folder / backup.name, tmp_path / "new", Progress())
    async with open_app(echo_settings(tmp_path / "new"), local=echo_server) as house:
        with pytest.raises(NotSignedIn):
            await house.users.by_session(token)


async def test_a_backup_is_whole_while_others_write(lived_in, ada, store, tmp_path):
    writing = True

    async def write():
        while writing:
            await finished(await lived_in.chat.send(ada, ask("again")))

    busy = asyncio.create_task(write())
    made = [await store.write(NOON + timedelta(seconds=n), Progress()) for n in range(3)]
    writing = False
    await busy
    counts = []
    for n, backup in enumerate(made):
        await restore(store._folder / backup.name, tmp_path / f"new-{n}", Progress())
        counts.append(backup.manifest.rows["messages"])
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


async def test_a_restore_overwrites_nothing(lived_in, store, tmp_path):
    backup = await store.write(NOON, Progress())
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "a").write_text("mine")
    for home in (tmp_path / "taken", lived_in.settings.home, tmp_path / "taken" / "a"):
        with pytest.raises(AlreadyThere, match="overwrites nothing"):
            await restore(store._folder / backup.name, home, Progress())
    assert (tmp_path / "taken" / "a").read_text() == "mine"
    with pytest.raises(AlreadyThere):
        await store.write(NOON, Progress())


def changed(path, name, content):
    """The same archive with other content under a name."""
    target = path.with_name("hearth-20200101T000000Z.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            if member != name:
                new.writestr(member, old.read(member))
        if content is not None:
            new.writestr(name, content)
    return target


def with_a_bit_changed(content, inside, unpacked):
    """The archive with one bit of a file's packed bytes changed, near their middle: the first one there that makes it another file.

    Not every bit does: of a run of zeros it is all the same from how far back they are repeated.
    """
    name_bytes, extra_bytes = struct.unpack_from("<HH", content, inside.header_offset + 26)
    begin = inside.header_offset + 30 + name_bytes + extra_bytes
    for at in range(begin + inside.compress_size // 2, begin + inside.compress_size):
        changed = bytearray(content)
        changed[at] ^= 1
        try:
            if zlib.decompress(changed[begin : begin + inside.compress_size], -zlib.MAX_WBITS) != unpacked:
                return changed
        except zlib.error:
            return changed
    raise AssertionError("every bit is as good as its opposite")


async def test_what_was_tampered_with_or_is_newer_is_refused_and_nothing_is_left(lived_in, store, tmp_path):
    path = store._folder / (await store.write(NOON, Progress())).name
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        inside = archive.getinfo("hearth.db")
        database, stored = archive.read("hearth.db"), next(n for n in archive.namelist() if n.startswith("objects/"))
    cut = store._folder / "cut.zip"
    cut.write_bytes(path.read_bytes()[:-1000])
    hit = store._folder / "hit.zip"
    hit.write_bytes(with_a_bit_changed(path.read_bytes(), inside, database))
    cases = [
        (changed, ("hearth.db", database[:-1] + b"x"), Unreadable),
        (changed, (stored, b"other"), Unreadable),
        (changed, (stored, None), Unreadable),
        (changed, ("objects/../../evil", b"x"), Unreadable),
        (changed, ("files.json", b"{}"), Unreadable),
        (changed, ("manifest.json", b"[]"), Unreadable),
        (changed, ("manifest.json", json.dumps(manifest | {"revision": "9999"}).encode()), ServiceUnavailable),
        (changed, ("manifest.json", json.dumps(manifest | {"format": 2}).encode()), ServiceUnavailable),
        (changed, ("manifest.json", json.dumps(manifest | {"rows": manifest["rows"] | {"users": 9}}).encode()), Unreadable),
    ]
    for make, args, error in cases:
        with pytest.raises(error):
            await restore(make(path, *args), tmp_path / "new", Progress())
    for damaged, error in ((cut, Unreadable), (hit, Unreadable), (tmp_path / "none.zip", NotFound), (tmp_path, Unreadable)):
        with pytest.raises(error):
            await restore(damaged, tmp_path / "new", Progress())
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".new-restored-*"))


async def test_a_list_of_files_that_leads_out_of_the_folder_is_refused(lived_in, store, tmp_path):
    """Its author can make every checksum right: the names themselves are looked at."""
    import hashlib

    path = store._folder / (await store.write(NOON, Progress())).name
    with zipfile.ZipFile(path) as archive:
        files, manifest = json.loads(archive.read("files.json")), json.loads(archive.read("manifest.json"))
    for name in ("objects/../../evil", "/evil", "models/evil", "objects", "objects/a\\..\\b"):
        listed = json.dumps(files | {name: {"sha256": hashlib.sha256(b"x").hexdigest(), "bytes": 1}}).encode()
        evil = changed(changed_again(path, "files.json", listed), "manifest.json", json.dumps(manifest | {"files_sha256": hashlib.sha256(listed).hexdigest()}))
        with zipfile.ZipFile(evil, "a") as archive:
            archive.writestr(name, b"x")
        with pytest.raises(Unreadable, match="belongs nowhere"):
            await restore(evil, tmp_path / "new", Progress())
    assert not (tmp_path / "evil").exists()


def changed_again(path, name, content):
    made = changed(path, name, content)
    return made.rename(made.with_name("between.zip"))


async def test_an_older_backup_is_brought_up_to_date(tmp_path, monkeypatch):
    from core.adapters.database_sql import SqliteDatabase
    from core.adapters.migrations import run

    old = tmp_path / "old"
    old.mkdir()
    newest = run.HEAD
    monkeypatch.setattr(run, "HEAD", "0003")
    async with SqliteDatabase("", home=old) as database:
        await database.migrate()
    monkeypatch.undo()
    with closing(sqlite3.connect(old / "hearth.db")) as connection:
        connection.execute("INSERT INTO users VALUES ('u', 'ada', 'ada', NULL, 'admin', 0, 0, '{}', 1)")
        connection.commit()
    store = ZipBackups(old, old / "backups")
    backup = await store.write(NOON, Progress())
    assert backup.manifest.revision == "0003"
    await restore(store._folder / backup.name, tmp_path / "new", Progress())
    with closing(sqlite3.connect(tmp_path / "new" / "hearth.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (newest,)
        assert connection.execute("SELECT username FROM users").fetchall() == [("ada",)]
    with closing(sqlite3.connect(old / "hearth.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0003",), "a backup changes nothing"


async def test_there_is_no_backup_of_nothing_and_none_where_there_is_no_room(tmp_path, lived_in, store, monkeypatch):
    with pytest.raises(NotFound):
        await ZipBackups(tmp_path / "nowhere", tmp_path / "b").write(NOON, Progress())
    monkeypatch.setattr(backups_zip.shutil, "disk_usage", lambda _: type("usage", (), {"free": 1000}))
    with pytest.raises(NoSpace, match="0 MB are free"):
        await store.write(NOON, Progress())
    assert await store.names() == []


async def test_a_backup_that_is_stopped_leaves_nothing(lived_in, store):
    with pytest.raises(Exception, match="stopped"):
        await store.write(NOON, Progress(stop=True))
    assert list(store._folder.iterdir()) == []


async def test_backups_come_on_schedule_and_the_oldest_go(lived_in, store):
    now = [NOON]
    backups = Backups(store, lambda: now[0], every_h=24, keep=2)
    assert await backups.next_at() == NOON
    await backups.keep_up()
    await backups.keep_up()
    assert len(await backups.all()) == 1
    for _ in range(3):
        now[0] += timedelta(hours=24)
        await backups.keep_up()
    found = await backups.all()
    assert [b.made_at for b in found] == [NOON + timedelta(days=3), NOON + timedelta(days=2)]
    assert all(b.manifest.rows["messages"] == 4 and b.size_bytes > 1000 for b in found)
    assert await backups.next_at() == NOON + timedelta(days=4)
    (store._folder / found[0].name).write_bytes(b"broken")
    assert [b.problem == "" for b in await backups.all()] == [False, True]
    assert (await backups.delete(found[0].name)).complete
    with pytest.raises(NotFound):
        await backups.delete("../hearth.db")
    assert await Backups(store, lambda: now[0], every_h=0, keep=2).next_at() is None


async def test_a_backup_on_schedule_that_fails_says_why_and_is_tried_again_later(lived_in, store, monkeypatch):
    now = [NOON]
    backups = Backups(store, lambda: now[0], every_h=24, keep=2)
    monkeypatch.setattr(backups_zip.shutil, "disk_usage", lambda _: type("usage", (), {"free": 1000}))
    await backups.keep_up()
    assert "are free" in backups.plan.problem
    assert await backups.next_at() == NOON + timedelta(minutes=15)
    monkeypatch.undo()
    await backups.keep_up()
    assert await backups.all() == []
    now[0] += timedelta(minutes=15)
    await backups.keep_up()
    assert (len(await backups.all()), backups.plan.problem) == (1, "")


async def test_one_backup_is_made_at_a_time(lived_in, store):
    backups = Backups(store, lambda: NOON, every_h=0, keep=2)
    first = asyncio.create_task(backups.make())
    await asyncio.sleep(0)
    with pytest.raises(ServiceBusy):
        await backups.make()
    await first
    assert backups.progress is None
