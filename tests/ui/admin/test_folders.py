"""A folder of the server against a collection: what is new, changed and vanished, taking it in, and what may not be read."""

import asyncio
import os
import time
import zipfile
from contextlib import suppress

import pytest
from echo_house import taken_in
from seen import rows, said

from core.audit import Act
from core.console import folders
from core.console.folders import Kind
from core.errors import IllegalStep, NotAllowed, NotFound, ServiceBusy


def write(folder, **files):
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def papers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server") / "shared/papers"
    write(folder, a_md="# A\n\nThe lamp is green.", b_md="# B\n\nThe port is 8443.", sub__c_md="# C\n\nThe shed is locked.", sub__empty_md="", _hidden="no")
    return folder


@pytest.fixture
def house_settings(papers, tmp_path):
    return {"sync_folders": f"{papers.parent}:{tmp_path}", "backup_folder": papers.parent / "kept"}


@pytest.fixture
def console(console):
    """With a collection of Bob's."""
    console.room = console.app.console.folders
    console.collection = console.call(console.app.console.collections.create, console.admin, "bob", "lab", None).id
    return console


def over(console):
    """The sync when it has ended."""
    for _ in range(400):
        if (sync := console.call(console.room.sync, console.admin, console.collection)).over:
            return sync
        time.sleep(0.02)
    raise AssertionError(sync)


def compared(console, folder):
    console.call(console.room.compare, console.admin, console.collection, str(folder))
    return over(console)


def counts(sync):
    return {kind.value: count for kind, count in sync.counts.items() if count}


def names(console, kind):
    return [item.name for item in console.call(console.room.items, console.admin, console.collection, kind).items]


def settled(console):
    """Waits until everything is taken in."""
    for _ in range(400):
        if not console.call(console.app.console.collections.jobs, console.admin, console.collection).items:
            return
        time.sleep(0.02)


def paused(console):
    """What is accepted stays in the queue."""
    console.call(console.app.library.pause, console.call(console.app.users.named, "bob"))


def taken(console):
    """The sync that takes in what was found."""
    console.call(console.room.take_in, console.admin, console.collection)
    return over(console)


def test_a_folder_is_looked_at_taken_in_and_what_vanished_is_deleted_from_the_page(console, papers):
    at = {"collection": console.collection, "view": "folder", "folder": str(papers)}
    page = console.page("collection", **at)
    page.button(key="compare").click().run()
    over(console)
    page.run()
    assert "3 new · 1 left out" in said(page)
    page.button(key="take-in-folder").click().run()
    over(console)
    settled(console)
    page.run()
    assert "1 left out · 3 taken in" in said(page)
    assert {(r["File"], r["Is"]) for r in rows(page, "File")} == {
        ("papers/a.md", "taken in"), ("papers/b.md", "taken in"), ("papers/sub/c.md", "taken in"), ("papers/sub/empty.md", "left out"),
    }  # fmt: skip
    assert not [b for b in page.button if b.key in ("take-in-folder", "delete-vanished", "stop-sync")]

    write(papers, a_md="# A\n\nThe lamp is red.", d_md="# D\n\nBread is in the oven.")
    (papers / "b.md").unlink()
    page.button(key="compare").click().run()
    over(console)
    page.run()
    assert "1 new · 1 changed · 1 there already · 1 left out · 1 vanished" in said(page)
    assert [r["File"] for r in rows(console.page("collection", **at, what="vanished"), "File")] == ["papers/b.md"]
    page.button(key="delete-vanished").click().run()
    assert "This deletes documents of bob that are not in the folder any more." in said(page)
    assert "· 1 documents" in said(page)
    page.button(key="delete-vanished-yes").click().run()
    assert any("1 documents" in s.value and "0 left in every store" in s.value for s in page.success)
    page.button(key="take-in-folder").click().run()
    settled(console)
    assert counts(over(console)) == {"taken in": 2, "there already": 1, "left out": 1, "deleted": 1}
    settled(console)
    held = rows(console.page("collection", collection=console.collection), "Original")
    assert sorted((r["Title"], r["Version"]) for r in held) == [("A", 2), ("C", 1), ("D", 1)]
    for path in papers.rglob("*.md"):
        path.unlink()
    compared(console, papers)
    assert "The folder is empty: is its disk there?" in said(console.page("collection", **at))
    assert not [b for b in console.page("collection", **at | {"folder": str(papers.parent)}).button if b.key == "delete-vanished"], "of another folder"
    (deleted,) = console.noted(Act.DELETED)
    assert deleted == (f"documents of collection {console.collection}", {"name": "lab", "of": "bob", "folder": str(papers), "vanished": 1})
    assert console.noted(Act.CHANGED)[0][1] == {"name": "lab", "of": "bob", "folder": str(papers), "new": 1, "changed": 1, "archive": 0}
    assert (f"folder {papers}", {}) in console.noted(Act.READ)


def test_what_may_not_be_read_is_refused_and_the_page_says_so(console, papers):
    outside = papers.parent.parent / "secret"
    write(outside, x_md="secret")
    os.symlink(outside, papers.parent / "out")
    os.symlink(papers, papers.parent / "in")
    for bad in (outside, papers.parent / "out", papers / ".." / ".." / "secret", papers / ".git", "papers", "/", "/etc/passwd"):
        for ask in (console.room.place, lambda admin, folder: console.room.compare(admin, console.collection, folder)):
            with pytest.raises(NotAllowed):
                console.call(ask, console.admin, str(bad))
    for gone in (papers / "nothing", papers / "a.md", "\0"):
        with pytest.raises(NotFound):
            console.call(console.room.place, console.admin, str(gone))
    assert console.call(console.room.place, console.admin, str(papers.parent / "in")).folder == str(papers)
    assert console.call(console.room.place, console.admin, str(papers.parent)).inside == [str(papers)], "links are not offered"
    page = console.page("collection", collection=console.collection, view="folder", folder=str(outside))
    assert "That folder may not be read. HEARTH_SYNC_FOLDERS names those that may" in said(page)
    assert not [b for b in page.button if b.key == "compare"]


def test_the_houses_own_files_are_never_taken_in(console, papers):
    write(papers.parent, kept__backup_md="no", note_md="yes")
    compared(console, papers.parent)
    assert names(console, None) == ["shared/note.md", "shared/papers/a.md", "shared/papers/b.md", "shared/papers/sub/c.md", "shared/papers/sub/empty.md"]
    for own in (papers.parent / "kept", console.app.settings.home, console.app.settings.home / "objects"):
        with pytest.raises(NotAllowed):
            console.call(console.room.place, console.admin, str(own))


def test_a_file_that_becomes_a_link_after_the_look_is_not_followed(console, papers):
    outside = papers.parent.parent
    write(outside, secret_md="# Secret\n\nThe password is 1234.")
    compared(console, papers)
    (papers / "a.md").unlink()
    os.symlink(outside / "secret.md", papers / "a.md")
    (papers / "sub").rename(papers / "other")
    write(outside / "elsewhere", c_md="# C\n\nThe password is 1234.")
    os.symlink(outside / "elsewhere", papers / "sub")
    assert counts(taken(console)) == {"taken in": 1, "left out": 3}
    why = {i.name: i.why for i in console.call(console.room.items, console.admin, console.collection, Kind.LEFT_OUT).items}
    assert "can't be read" in why["papers/a.md"]
    assert "something else meanwhile" in why["papers/sub/c.md"]


def test_an_archive_and_what_came_out_of_it_is_neither_new_nor_vanished(console, papers):
    with zipfile.ZipFile(papers / "old.zip", "w") as archive:
        archive.writestr("x.md", "# X\n\nOnce upon a time.")
        archive.writestr("y.exe", "")
    assert counts(compared(console, papers)) == {"new": 3, "left out": 1, "archive": 1}
    taken(console)
    assert counts(compared(console, papers)) == {"there already": 3, "left out": 1, "archive": 1}
    (papers / "old.zip").unlink()
    compared(console, papers)
    assert names(console, Kind.VANISHED) == ["papers/old/x.md"]


def test_a_moved_file_a_copy_and_another_ones_document_do_not_vanish(console, papers):
    compared(console, papers)
    taken(console)
    (papers / "a.md").rename(papers / "renamed.md")
    write(papers, copy_md=(papers / "b.md").read_text())

    async def by_hand(app):
        who = await app.users.by_key((await app.users.make_key(await app.users.named("bob")))[1])
        await taken_in(app, who, "mine.md", b"# Mine\n\nNobody else's.")
        path = app.settings.home / "x"
        path.write_bytes(b"# Twin\n\nOf another folder that is called the same.")
        await app.library.take_in(who.user, "lab", "papers/twin.md", path, source_url="file:///elsewhere/papers/twin.md")

    console.call(by_hand, console.app)
    assert counts(compared(console, papers)) == {"there already": 4, "left out": 1}


def test_what_is_on_its_way_is_there_and_what_came_back_is_not_deleted(console, papers):
    paused(console)
    compared(console, papers)
    console.call(console.room.take_in, console.admin, console.collection)
    over(console)
    write(papers, a_md="# A\n\nThe lamp is red.")
    assert counts(compared(console, papers)) == {"there already": 2, "changed": 1, "left out": 1}
    console.call(console.room.take_in, console.admin, console.collection)
    over(console)
    assert counts(compared(console, papers)) == {"there already": 3, "left out": 1}
    (papers / "b.md").rename(papers.parent / "b.md")
    (papers / "a.md").unlink()
    assert counts(compared(console, papers))["vanished"] == 2
    (papers.parent / "b.md").rename(papers / "b.md")
    receipt = console.call(console.room.delete_vanished, console.admin, console.collection)
    assert (receipt.removed["documents"], receipt.complete) == (1, True)


def test_a_sync_is_stopped_and_a_second_one_takes_the_rest(console, papers, monkeypatch):
    paused(console)
    for n in range(60):
        write(papers, **{f"n{n}_md": f"# N\n\nNumber {n}."})
    monkeypatch.setattr(folders, "READ_AT_ONCE", 1)
    room, admin, collection = console.room, console.admin, console.collection

    async def hurried(begin, *given):
        done = await asyncio.gather(*(begin(admin, collection, *given) for _ in range(2)), return_exceptions=True)
        assert {type(error) for error in done} == {type(None), ServiceBusy}, "one at a time"
        await room.stop(admin, collection)

    console.call(hurried, room.compare, str(papers))
    stopped = over(console)
    assert (stopped.stopped, stopped.compared, stopped.counts[Kind.VANISHED]) == (True, False, 0)
    with pytest.raises(IllegalStep):
        console.call(room.take_in, admin, collection)
    assert counts(compared(console, papers)) == {"new": 63, "left out": 1}
    console.call(hurried, room.take_in)
    stopped = over(console)
    assert (stopped.stopped, 0 < stopped.counts[Kind.NEW] < 63) == (True, True)
    with pytest.raises(IllegalStep):
        console.call(room.stop, admin, collection)
    page = console.page("collection", collection=collection, view="folder", folder=str(papers))
    assert "It was stopped: what was taken in stays" in said(page)
    assert "place 1 in the queue" in [bar.proto.text.partition(": ")[2] for bar in page.get("progress")]
    assert len(rows(page, "File")) == 50
    page.button(key="synced-next").click().run()
    assert len(rows(page, "File")) == 14
    assert counts(compared(console, papers)) == {"new": stopped.counts[Kind.NEW], "there already": stopped.counts[Kind.TAKEN], "left out": 1}
    assert counts(taken(console)) == {"taken in": stopped.counts[Kind.NEW], "there already": stopped.counts[Kind.TAKEN], "left out": 1}


def test_a_collection_that_is_deleted_meanwhile_is_not_made_again(console, papers):
    paused(console)
    for n in range(20):
        write(papers, **{f"n{n}_md": f"# N\n\nNumber {n}."})
    compared(console, papers)
    rooms, admin = console.app.console, console.admin

    async def at_once():
        await rooms.folders.take_in(admin, console.collection)
        while (await rooms.collections.every(admin)).items:
            with suppress(IllegalStep):  # it still gets documents
                await rooms.collections.delete(admin, console.collection)
        while not (await rooms.folders.sync(admin, console.collection)).over:
            await asyncio.sleep(0.01)
        return (await rooms.collections.every(admin)).items

    assert console.call(at_once) == []


def test_what_can_not_be_read_has_not_vanished(console, papers, monkeypatch):
    compared(console, papers)
    taken(console)
    scandir = os.scandir

    def refusing(path):
        if str(path) == str(papers / "sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # tests may run as root, who may read everything
    assert counts(compared(console, papers)) == {"there already": 2, "left out": 1}
    (left_out,) = console.call(console.room.items, console.admin, console.collection, Kind.LEFT_OUT).items
    assert (left_out.name, left_out.why) == ("papers/sub", "It can't be read: Permission denied.")


def test_a_folder_with_too_many_files_is_refused_before_it_is_read(console, papers, monkeypatch):
    monkeypatch.setattr(folders, "MOST", 3)
    assert "more than 3 files" in compared(console, papers).problem
