"""The database's form: what the migrations make is what the code expects, whatever happens on the way."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import upgrade
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from core.adapters.database_sql import SqliteDatabase
from core.adapters.migrations import run
from core.adapters.tables_sql import metadata
from core.errors import ServiceUnavailable

FULL_TEXT = ("chunk_text", "chunk_words")
"""SQLite's own tables for the full text, which no metadata can describe."""

# Migrates as Hearth does, and dies as if the power had gone just before the n-th statement or commit: every fifth of them, and each of the last forty, which
# are the newest revisions'. Forked, and alembic imported before: a life then takes milliseconds.
DIES = """
import asyncio, os, signal, sys
from pathlib import Path

import alembic.command, alembic.config
from sqlalchemy import Engine, event

from core.adapters.database_sql import SqliteDatabase


async def migrate(home):
    async with SqliteDatabase("", home=home) as database:
        await database.migrate()


def one_life(home, n):
    seen = 0

    @event.listens_for(Engine, "commit")
    @event.listens_for(Engine, "before_cursor_execute")
    def count(*_event):
        nonlocal seen
        seen += 1
        if seen == n:
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(migrate(home))
    return seen


def lives(n):
    home = Path(sys.argv[1]) / str(n)
    home.mkdir()
    reader, writer = os.pipe()
    if not (child := os.fork()):
        os.write(writer, str(one_life(home, n)).encode())
        os._exit(0)
    os.close(writer)
    seen, status = os.read(reader, 20), os.waitpid(child, 0)[1]
    print(n, os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status), flush=True)
    return int(seen or 0)


total = lives(100_000)
for n in sorted({*range(1, total, 5), *range(max(1, total - 40), total + 1)}):
    lives(n)
"""


def migrated(home):
    async def open_once():
        async with SqliteDatabase("", home=home) as database:
            await database.migrate()
            await database.check()

    asyncio.run(open_once())
    return home / "hearth.db"


def form_of(path):
    """Everything SQLite knows of the file's form: tables, indexes and triggers, with the text that made each."""
    with sqlite3.connect(path) as connection:
        found = dict(connection.execute("SELECT name, sql FROM sqlite_master").fetchall())
        version = connection.execute("SELECT version_num FROM alembic_version").fetchall() if "alembic_version" in found else []
    connection.close()
    return found, [row[0] for row in version]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """A database just migrated; tests read it and write to copies."""
    return migrated(tmp_path_factory.mktemp("fresh"))


def test_the_migrations_make_exactly_the_tables_of_the_code(fresh):
    def ours(name, kind, _parent):
        return kind != "table" or not name.startswith(FULL_TEXT)

    engine = create_engine(f"sqlite:///{fresh}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": ours, "compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_comparison_would_see_a_column_that_is_missing(fresh, tmp_path):
    changed = tmp_path / "changed.db"
    changed.write_bytes(fresh.read_bytes())
    engine = create_engine(f"sqlite:///{changed}")
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE messages ADD COLUMN nobody_knows_me TEXT")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": lambda name, kind, _: kind != "table" or not name.startswith(FULL_TEXT)})
        differences = compare_metadata(context, metadata)
    engine.dispose()
    assert [difference[0] for difference in differences] == ["remove_column"]


def test_migrating_again_changes_nothing(fresh):
    before = form_of(fresh)
    migrated(fresh.parent)
    assert form_of(fresh) == before


def test_the_head_that_the_program_names_is_the_last_revision_and_every_revision_is_reached(fresh):
    config = Config()
    config.set_main_option("script_location", run.__file__.rpartition("/")[0])
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [run.HEAD]
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True), "a newer Hearth's revision must sort after an older one's"
    assert form_of(fresh)[1] == [run.HEAD]


@pytest.mark.parametrize("revision", ["0099", "9999"])
def test_a_database_of_a_newer_hearth_is_refused_with_a_sentence_and_left_alone(fresh, tmp_path, revision):
    path = tmp_path / "hearth.db"
    path.write_bytes(fresh.read_bytes())
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()
    before = form_of(path)
    with pytest.raises(ServiceUnavailable) as refused:
        migrated(tmp_path)
    assert refused.value.message.endswith(".")
    assert revision in refused.value.message
    assert "Update Hearth" in refused.value.hint
    assert form_of(path) == before


def test_vectors_move_beside_their_passages_and_none_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "HEAD", "0013")
    path = migrated(tmp_path)
    with sqlite3.connect(path) as connection:
        connection.executescript("""
            INSERT INTO users (id, username, name_key, role, premium, disabled, preferences, created_at) VALUES ('u', 'ada', 'ada', 'admin', 0, 0, '{}', 1);
            INSERT INTO collections (id, owner_id, name, embedding_model, dimensions, chunker, version, created_at, added_version, removed_version)
                VALUES ('c', 'u', 'lab', 'tiny', 2, 'structure-1/700', 3, 7, 1, 0);
            INSERT INTO documents
                (id, collection_id, owner_id, title, content, source_url, status, version, sha256, media_type, size_bytes, uri, chunks, created_at)
                VALUES ('d', 'c', 'u', 'T', '', '', 'ready', 1, '', '', 1, '', 2, 1);
            INSERT INTO chunks (n, id, document_id, collection_id, version, position, start, "end", live, scope, title, heading, content, embedding)
                VALUES (5, 'one', 'd', 'c', 1, 0, 0, 1, 0, 'c', 'T', '', 'first words', x'01020304'),
                       (9, 'two', 'd', 'c', 1, 1, 1, 2, 0, 'c', 'T', '', 'second words', x'05060708');
            UPDATE chunks SET live = 1;""")
    connection.close()
    monkeypatch.undo()
    migrated(tmp_path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT chunk_n, version, hex(embedding) FROM chunk_vectors ORDER BY chunk_n").fetchall() == [
            (5, 3, "01020304"), (9, 3, "05060708"),
        ]  # fmt: skip
        known = connection.execute("SELECT collection_id, version, embedding_model, dimensions, state, made_at FROM collection_versions").fetchall()
        assert known == [("c", 3, "tiny", 2, "ready", 7)]
        assert connection.execute("SELECT rowid FROM chunk_text WHERE chunk_text MATCH 'second'").fetchall() == [(9,)]
    connection.close()


@pytest.fixture
def forms(tmp_path, monkeypatch):
    """What a database looks like at each revision."""
    found = []
    for revision in sorted(p.name[:4] for p in (Path(run.__file__).parent / "versions").glob("[0-9]*.py")):
        monkeypatch.setattr(run, "HEAD", revision)
        home = tmp_path / f"at-{revision}"
        home.mkdir()
        found.append(form_of(migrated(home)))
    monkeypatch.undo()
    return found


def test_documents_of_the_first_revision_keep_a_name_and_their_jobs_know_what_they_made(tmp_path):
    config = Config()
    config.set_main_option("script_location", run.__file__.rpartition("/")[0])
    engine = config.attributes["engine"] = create_engine(f"sqlite:///{tmp_path / 'hearth.db'}")
    upgrade(config, "0001")
    with sqlite3.connect(tmp_path / "hearth.db") as old:
        old.execute("INSERT INTO users VALUES ('u', 'ada', 'ada', NULL, 'admin', 0, 0, '{}', 1)")
        old.execute("INSERT INTO collections VALUES ('c', 'u', 'lab', 'm', 8, 'structure-1/700', 1, 1, 1, 0)")
        old.execute("INSERT INTO documents VALUES ('d', 'c', 'u', 'Guide', 'text', '', 'ready', 1, 'abc', 'text/plain', 4, 's3://hearth/d', 3, 1, 2)")
        old.execute("INSERT INTO ingest_jobs VALUES ('j', 'd', 'ready', 100, '', 1, 1, 2, NULL)")
    old.close()
    engine.dispose()
    migrated(tmp_path)
    with sqlite3.connect(tmp_path / "hearth.db") as new:
        assert new.execute("SELECT name FROM documents").fetchall() == [("Guide",)]
        assert new.execute("SELECT rerank_depth FROM collections").fetchall() == [(20,)]
        assert new.execute("SELECT version, sha256, size_bytes, uri, chunks, started_at FROM ingest_jobs").fetchall() == [
            (1, "abc", 4, "s3://hearth/d", 3, None)
        ]
    new.close()


@pytest.mark.timeout(200)
def test_a_crash_in_the_middle_of_a_migration_leaves_the_old_form_or_the_new(fresh, forms, tmp_path):
    done = subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    whole_life, *killed = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(killed) > 20, "it died at too few places to show anything"
    assert {number for _, number in killed} == {signal.SIGKILL}
    assert whole_life[1] == 0
    whole = form_of(fresh)
    assert forms[-1] == whole
    for n, _ in killed:
        form, version = form_of(tmp_path / str(n) / "hearth.db")
        # alembic's own empty table may be there already: it says "no revision", as its absence does.
        old = version == [] and {name for name in form if not name.startswith("sqlite_")} <= {"alembic_version"}
        assert old or (form, version) in forms, f"half a form after a crash before statement {n}"
    for n in (killed[0][0], killed[len(killed) // 2][0], killed[-1][0]):
        assert form_of(migrated(tmp_path / str(n))) == whole, f"after a crash before statement {n} the next start did not finish the work"
