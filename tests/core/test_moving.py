"""A house that was lived in moves to other stores: everything is there, what it came from is as it was, and what is in the way is refused."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime

import pytest
import servers
from echo_house import ask, echo_settings, files_of, finished, rows_of, say, taken_in
from sqlalchemy import select, update

from core.adapters import moving_sql
from core.adapters.database_sql import SqliteDatabase
from core.adapters.objects_folder import FolderObjectStore
from core.adapters.records_sql import Records
from core.adapters.tables_sql import documents, users
from core.app import move, only_one, open_app
from core.errors import AlreadyThere, ServiceUnavailable, SettingsError
from core.ids import new_id
from core.moving import Moving, move_objects
from core.rag.model import RAGQuery
from core.workflow.model import Trigger, TriggerKind

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory, echo_server):
    """A house with a bit of everything, that has ended."""
    home = tmp_path_factory.mktemp("lived-in")

    async def live():
        async with open_app(echo_settings(home), local=echo_server, serving=True) as app:
            await app.users.add("ada", "correct horse battery", admin=True)
            ada, _ = await app.users.sign_in("ada", "correct horse battery", "test")
            for n in range(3):
                await taken_in(app, ada, f"guide-{n}.md", f"# Guide {n}\n\nBackups run every night at 02:{n:02}.")
            await finished(await app.chat.send(ada, ask("When do backups run?", collections=("lab",))))
            await app.voice.answer(ada, say("How long?"))

    asyncio.run(live())
    return home


@pytest.fixture
def home(lived_in, tmp_path):
    """A copy of it."""
    return shutil.copytree(lived_in, tmp_path / "from")


@asynccontextmanager
async def opened(*homes) -> AsyncIterator[list[SqliteDatabase]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(SqliteDatabase("", home=home)) for home in homes]


@asynccontextmanager
async def pair(home, tmp_path):
    """The house, and an empty database beside it."""
    (tmp_path / "to").mkdir(exist_ok=True)
    async with opened(home, tmp_path / "to") as (source, target):
        await target.migrate()
        yield source, target


async def test_every_row_arrives_and_what_it_came_from_is_as_it_was(home, tmp_path):
    before, moving = rows_of(home), Moving()
    async with pair(home, tmp_path) as (source, target):
        moved = await moving_sql.move_rows(source, target, {}, moving)
    there = rows_of(tmp_path / "to")
    left_out = moving_sql.OF_THE_MOMENT | {name for name in there if name.startswith(("sqlite_", "chunk_text"))}
    assert {n: r for n, r in there.items() if n not in left_out} == {n: r for n, r in before.items() if n not in left_out}
    assert rows_of(home) == before
    assert moving.done == moving.total == 2 * sum(kind.count for kind in moved)
    assert {kind.what: kind.count for kind in moved}["messages"] == len(before["messages"]) == 4


@pytest.mark.parametrize("batch", [1, 3])
async def test_a_move_that_broke_off_anywhere_goes_on(home, tmp_path, monkeypatch, batch):
    monkeypatch.setattr(moving_sql, "BATCH", batch)
    monkeypatch.setattr(moving_sql, "BATCH_LARGE", batch)
    tries = left = 0
    async with pair(home, tmp_path) as (source, target):
        write = target.write

        async def breaks(work):
            nonlocal left
            left -= 1
            if left < 0:
                raise ServiceUnavailable("gone", service="records")
            return await write(work)

        monkeypatch.setattr(target, "write", breaks)
        moved = None
        while moved is None:
            tries, left = tries + 1, 40  # each table has one for its numbers
            with suppress(ServiceUnavailable):
                moved = await moving_sql.move_rows(source, target, {}, Moving())
            assert tries < 100
        assert tries > 1
        monkeypatch.setattr(target, "write", write)
        assert await moving_sql.move_rows(source, target, {}, Moving()) == moved
    assert rows_of(tmp_path / "to")["chunk_vectors"] == rows_of(home)["chunk_vectors"]


async def test_what_was_moved_is_searched_and_numbered_on(home, tmp_path, echo_server):
    async with pair(home, tmp_path) as (source, target):
        await moving_sql.move_rows(source, target, {}, Moving())
    async with FolderObjectStore("", home=home) as here, FolderObjectStore("", home=tmp_path / "to") as there:
        await move_objects(here, there, Moving())
    assert files_of(tmp_path / "to") == files_of(home)
    async with open_app(echo_settings(tmp_path / "to"), local=echo_server, serving=True) as app:
        await _lives_on(app)


async def _lives_on(app):
    ada, _ = await app.users.sign_in("ada", "correct horse battery", "test")
    answer = await finished(await app.chat.send(ada, ask("When do backups run?", collections=("lab",))))
    assert answer.metadata.sources
    found = await app.retrieval.search(ada.user, RAGQuery("backups night", "lab"))
    assert any(candidate.lexical_rank for candidate in found.trace.candidates)
    document = (await app.library.documents(ada.user, "lab")).items[0]
    assert (await app.library.original(ada.user, document.id))[1].read_bytes().startswith(b"# Guide")
    await taken_in(app, ada, "guide-9.md", "# Guide 9\n\nThe lamp is green.")


async def test_another_house_is_not_mixed_with_this_one(home, tmp_path, echo_server):
    (tmp_path / "to").mkdir()
    async with open_app(echo_settings(tmp_path / "to"), local=echo_server) as app:
        await app.users.add("eve", "correct horse battery")
    before = rows_of(tmp_path / "to")
    async with pair(home, tmp_path) as (source, target):
        with pytest.raises(AlreadyThere, match="another house"):
            await moving_sql.move_rows(source, target, {}, Moving())
    assert rows_of(tmp_path / "to") == before


async def test_what_was_used_since_it_was_moved_is_not_overwritten(home, tmp_path):
    async with pair(home, tmp_path) as (source, target):
        await moving_sql.move_rows(source, target, {}, Moving())
        await target.write(lambda c: c.execute(update(users).values(premium=True)))
        with pytest.raises(AlreadyThere, match="see users"):
            await moving_sql.move_rows(source, target, {}, Moving())
        assert await target.read(lambda c: c.execute(select(users.c.premium)).scalar_one())


async def test_whoever_writes_meanwhile_shows_in_the_end(home, tmp_path, monkeypatch):
    async with pair(home, tmp_path) as (source, target):
        read = moving_sql._read

        async def late(database, table, moving):
            if table is users:
                await target.write(lambda c: c.execute(update(users).values(premium=True)))
            return await read(database, table, moving)

        monkeypatch.setattr(moving_sql, "_read", late)
        with pytest.raises(ServiceUnavailable, match=r"the rows differ \(users"):
            await moving_sql.move_rows(source, target, {}, Moving())


async def test_addresses_of_objects_are_those_of_the_new_bucket(home, tmp_path):
    incoming = "s3://hearth/incoming/"
    async with pair(home, tmp_path) as (source, target):
        ada = await source.read(lambda c: c.execute(select(users.c.id)).scalar_one())
        watching = Trigger(new_id(), "ingest-folder", TriggerKind.FILE, incoming, {"folder": incoming}, ada, datetime.now(UTC))
        await Records(source).workflows.add_trigger(watching)
        await source.write(lambda c: c.execute(update(documents).values(source_url="s3://hearth/incoming/a.md")))
        await moving_sql.move_rows(source, target, {"s3://hearth/": "s3://attic/"}, Moving())
        old = await source.read(lambda c: c.execute(select(documents.c.uri).order_by(documents.c.id)).scalars().all())
        new = await target.read(lambda c: c.execute(select(documents.c.uri).order_by(documents.c.id)).scalars().all())
        came_from = await target.read(lambda c: c.execute(select(documents.c.source_url)).scalars().all())
        moved = await Records(target).workflows.trigger(watching.id)
    assert new == [uri.replace("s3://hearth/", "s3://attic/") for uri in old]
    assert set(came_from) == {"s3://attic/incoming/a.md"}
    assert (moved.watched, dict(moved.parameters)) == ("s3://attic/incoming/", {"folder": "s3://attic/incoming/"})


async def test_a_copied_object_that_differs_is_found_and_another_in_its_place_stays(home, tmp_path):
    async with FolderObjectStore("", home=home) as here, FolderObjectStore("", home=tmp_path / "to") as there:
        one = (await here.all()).items[0].uri
        await there.put(one.removeprefix("s3://hearth/"), b"something else")
        with pytest.raises(AlreadyThere, match="another object under"):
            await move_objects(here, there, Moving())
        assert await there.get(one) == b"something else"


async def test_a_house_that_runs_or_names_no_server_is_not_moved(home):
    with pytest.raises(SettingsError, match="name no server"):
        await move(echo_settings(home), "servers", Moving())
    async with only_one(home):
        with pytest.raises(SettingsError, match="already runs"):
            await move(echo_settings(home, objects_url="s3+http://key:secret@127.0.0.1:9/hearth"), "servers", Moving())


async def test_a_bucket_of_another_name_alone_is_refused_because_the_records_have_the_addresses(home):
    with pytest.raises(SettingsError, match="addresses of objects are in the records"):
        await move(echo_settings(home, objects_url="s3+http://key:secret@127.0.0.1:9/attic"), "servers", Moving())


@pytest.mark.services
@pytest.mark.parametrize("leg", ["postgres-18"], ids=lambda leg: f"leg={leg}")
async def test_a_house_moves_to_servers_lives_there_and_comes_back(leg, home, tmp_path, echo_server):
    before = rows_of(home)
    with servers.postgres_18() as records, servers.s3_moto() as objects:
        served = {"records_url": records.url, "objects_url": objects.url.replace("/hearth", "/attic")}
        moved = await move(echo_settings(home, **served), "servers", Moving())
        assert rows_of(home) == before
        assert await move(echo_settings(home, **served), "servers", Moving()) == moved
        async with open_app(echo_settings(tmp_path / "there", **served), local=echo_server, serving=True) as app:
            await _lives_on(app)
        back = await move(echo_settings(tmp_path / "back", **served), "home", Moving())
        assert {kind.what: kind.count for kind in back}["documents"] == 4
    async with open_app(echo_settings(tmp_path / "back"), local=echo_server, serving=True) as app:
        ada, _ = await app.users.sign_in("ada", "correct horse battery", "test")
        assert len((await app.chat.conversations(ada.user)).items) == 3
        answer = await finished(await app.chat.send(ada, ask("What colour is the lamp?", collections=("lab",))))
        assert answer.metadata.sources
