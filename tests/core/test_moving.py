"""A house moves from one database to another whole, whatever happens on the way."""

from itertools import count

import pytest
from echo_house import ask, echo_settings, finished, taken_in
from sqlalchemy import func, select

from core.adapters.chunk_index_sql import SqliteChunkIndex
from core.adapters.database_sql import SqliteDatabase
from core.adapters.moving_sql import move_rows
from core.adapters.tables_sql import messages, metadata
from core.app import open_app
from core.errors import AlreadyThere, ServiceUnavailable

pytestmark = pytest.mark.anyio


async def quiet(*_told):
    pass


@pytest.fixture
async def lived_in(app, ada):
    """The home folder of a house with a document, a conversation, a golden row or two, closed again by the test."""
    document, job = await taken_in(app, ada, "notes.md", "# Doors\n\nThe code of the north door is 4711.\n\n# Keys\n\nThe key lies under the mat.")
    assert job.stage == "ready"
    await finished(await app.chat.send(ada, ask("What is the code of the north door?", collections=("lab",))))
    return document


async def moved(source_home, target_home, **given):
    async with SqliteDatabase("", home=source_home) as source, SqliteDatabase("", home=target_home) as target:
        await source.migrate()
        await target.migrate()
        return await move_rows(source, target, given.pop("told", quiet), **given)


async def test_every_row_arrives_and_its_words_are_found(app, ada, lived_in, tmp_path):
    (tmp_path / "new").mkdir()
    content = await moved(app.settings.home, tmp_path / "new")
    assert set(content) == set(metadata.tables)
    assert content["messages"].rows == 2
    assert content["chunks"].rows >= 1
    async with SqliteDatabase("", home=tmp_path / "new") as database:
        collection = await app.library.collection(ada.user, "lab")
        assert await SqliteChunkIndex(database).matching([collection.id], "the code of the door", 3)


async def test_a_move_that_broke_off_anywhere_is_finished_by_the_next(app, lived_in, tmp_path):
    home = tmp_path / "new"
    home.mkdir()

    class Gone(Exception):
        pass

    for n in count(1, 4):
        seen = count(1)

        async def told(_table, _done, _total, seen=seen, n=n):
            if next(seen) == n:
                raise Gone

        try:
            content = await moved(app.settings.home, home, told=told)
        except Gone:
            continue
        break
    assert n > 5
    assert content == await moved(app.settings.home, home)


async def test_a_database_of_another_house_is_left_as_it_is(app, lived_in, tmp_path, echo_server):
    (tmp_path / "other").mkdir()
    async with open_app(echo_settings(tmp_path / "other"), local=echo_server) as other:
        await other.users.add("eve", None)
    with pytest.raises(AlreadyThere, match="not of this house"):
        await moved(app.settings.home, tmp_path / "other")
    async with SqliteDatabase("", home=tmp_path / "other") as database:
        assert await database.read(lambda c: c.execute(select(func.count()).select_from(messages)).scalar_one()) == 0


async def test_a_row_that_changes_meanwhile_is_noticed(app, lived_in, tmp_path):
    (tmp_path / "new").mkdir()
    async with SqliteDatabase("", home=app.settings.home) as source, SqliteDatabase("", home=tmp_path / "new") as target:
        await target.migrate()

        async def told(table, _done, _total):
            if table == "usage":
                await target.write(lambda c: c.exec_driver_sql("UPDATE users SET premium = NOT premium"))

        with pytest.raises(ServiceUnavailable, match="differ in users"):
            await move_rows(source, target, told)


async def test_uris_of_objects_are_rewritten_where_the_bucket_has_another_name(app, lived_in, tmp_path):
    (tmp_path / "new").mkdir()
    await moved(app.settings.home, tmp_path / "new", rewrite=("s3://hearth/", "s3://house/"))
    async with SqliteDatabase("", home=tmp_path / "new") as database:
        assert await database.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM documents WHERE uri LIKE 's3://house/%'").scalar()) == 1
