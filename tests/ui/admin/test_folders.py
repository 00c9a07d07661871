"""A folder against a collection: what is new, changed and vanished, taking it in, and what may not be read.

A folder is one of the server, or one of the object store, which is embedded or a server.
"""

import asyncio
import http.client
import os
import time
import zipfile
from contextlib import suppress
from io import BytesIO
from urllib.parse import urlsplit

import pytest
import servers
from echo_house import taken_in
from seen import rows, said

from core.adapters.objects_s3 import S3ObjectStore
from core.audit import Act
from core.console import folders
from core.console.folders import Kind
from core.console.trees import FolderTree, PrefixTree
from core.errors import BadInput, IllegalStep, NotAllowed, NotFound, ServiceBusy
from core.ids import new_id


class Shelf:
    """A folder with files in it, on the disk: one of the server, or of the embedded object store. place: what an admin chooses for it."""

    def __init__(self, folder, place):
        self.folder, self.place = folder, place

    def put(self, name, content):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def get(self, name):
        return (self.folder / name).read_bytes()

    def drop(self, name):
        (self.folder / name).unlink()

    def move(self, name, to):
        self.put(to, self.get(name))
        self.drop(name)


class Bucket(Shelf):
    """The same on a server of objects."""

    def __init__(self, store, bucket):
        self._client, self._bucket = store._client, bucket
        self._client.make_bucket(bucket)
        self.place = f"s3://{bucket}/shared/papers/"

    def put(self, name, content):
        self._client.put_object(self._bucket, f"shared/papers/{name}", BytesIO(content), len(content))

    def get(self, name):
        with self._client.get_object(self._bucket, f"shared/papers/{name}") as answer:
            return answer.read()

    def drop(self, name):
        self._client.remove_object(self._bucket, f"shared/papers/{name}")


def put_under_its_very_key(papers, key, content):
    """As another program can that takes more for a key than our client does; moto asks for no signature."""
    connection = http.client.HTTPConnection(urlsplit(papers.url).netloc.rpartition("@")[2])
    connection.request("PUT", f"/{urlsplit(papers.url).path.strip('/')}/{''.join(f'%{byte:02X}' for byte in key.encode())}", content)
    assert connection.getresponse().status == 200
    connection.close()


def write(papers, **files):
    """Of names without dots and slashes: `sub__c_md` is sub/c.md."""
    for name, text in files.items():
        papers.put(name.replace("__", "/").replace("_", "."), text.encode())


@pytest.fixture(scope="module")
def moto():
    with servers.s3_moto() as server:
        yield server


IN_FOLDER = ["a folder"]
IN_STORE = ["a prefix", pytest.param("moto", marks=pytest.mark.services, id="leg=moto")]
PLACES = [*IN_FOLDER, *IN_STORE]
in_a_folder = pytest.mark.parametrize("place", IN_FOLDER, indirect=True)
in_the_store = pytest.mark.parametrize("place", IN_STORE, indirect=True)


@pytest.fixture(params=PLACES)
def place(request):
    return request.param


@pytest.fixture
def papers(request, place, tmp_path, tmp_path_factory):
    if place == "moto":
        url, bucket = request.getfixturevalue("moto").url, f"b{new_id()[-12:]}"
        shelf = Bucket(S3ObjectStore(url, home=tmp_path), bucket)
        shelf.url = f"{url.rpartition('/')[0]}/{bucket}"
    elif place == "a prefix":
        shelf = Shelf(tmp_path / "objects/shared/papers", "s3://hearth/shared/papers/")
    else:
        folder = tmp_path_factory.mktemp("server") / "shared/papers"
        shelf = Shelf(folder, str(folder))
    write(shelf, a_md="# A\n\nThe lamp is green.", b_md="# B\n\nThe port is 8443.", sub__c_md="# C\n\nThe shed is locked.", sub__empty_md="", _hidden="no")
    return shelf


@pytest.fixture
def house_settings(place, papers, tmp_path):
    if place == "moto":
        return {"objects_url": papers.url}
    return {"sync_folders": f"{papers.folder.parent}:{tmp_path}", "backup_folder": papers.folder.parent / "kept"}


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


def compared(console, papers):
    console.call(console.room.compare, console.admin, console.collection, papers if isinstance(papers, str) else papers.place)
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
    at = {"collection": console.collection, "view": "folder", "folder": papers.place}
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
    papers.drop("b.md")
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
    for name in ("a.md", "d.md", "sub/c.md", "sub/empty.md"):
        papers.drop(name)
    compared(console, papers)
    assert "The folder is empty: is its disk there?" in said(console.page("collection", **at))
    other = papers.place.replace("papers", "") if papers.place.endswith("/") else str(papers.folder.parent)
    assert not [b for b in console.page("collection", **at | {"folder": other}).button if b.key == "delete-vanished"], "of another folder"
    (deleted,) = console.noted(Act.DELETED)
    assert deleted == (f"documents of collection {console.collection}", {"name": "lab", "of": "bob", "folder": papers.place, "vanished": 1})
    assert console.noted(Act.CHANGED)[0][1] == {"name": "lab", "of": "bob", "folder": papers.place, "new": 1, "changed": 1, "archive": 0}
    assert (f"folder {papers.place}", {}) in console.noted(Act.READ)


@in_a_folder
def test_what_may_not_be_read_is_refused_and_the_page_says_so(console, papers):
    papers = papers.folder
    outside = papers.parent.parent / "secret"
    outside.mkdir()
    (outside / "x.md").write_text("secret")
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


@in_a_folder
def test_the_houses_own_files_are_never_taken_in(console, papers):
    papers = papers.folder
    write(Shelf(papers.parent, ""), kept__backup_md="no", note_md="yes")
    compared(console, str(papers.parent))
    assert names(console, None) == ["shared/note.md", "shared/papers/a.md", "shared/papers/b.md", "shared/papers/sub/c.md", "shared/papers/sub/empty.md"]
    for own in (papers.parent / "kept", console.app.settings.home, console.app.settings.home / "objects"):
        with pytest.raises(NotAllowed):
            console.call(console.room.place, console.admin, str(own))


@in_a_folder
def test_a_file_that_becomes_a_link_after_the_look_is_not_followed(console, papers):
    compared(console, papers)
    papers = papers.folder
    outside = papers.parent.parent
    write(Shelf(outside, ""), secret_md="# Secret\n\nThe password is 1234.", elsewhere__c_md="# C\n\nThe password is 1234.")
    (papers / "a.md").unlink()
    os.symlink(outside / "secret.md", papers / "a.md")
    (papers / "sub").rename(papers / "other")
    os.symlink(outside / "elsewhere", papers / "sub")
    assert counts(taken(console)) == {"taken in": 1, "left out": 3}
    why = {i.name: i.why for i in console.call(console.room.items, console.admin, console.collection, Kind.LEFT_OUT).items}
    assert "can't be read" in why["papers/a.md"]
    assert "something else meanwhile" in why["papers/sub/c.md"]


def test_an_archive_and_what_came_out_of_it_is_neither_new_nor_vanished(console, papers):
    with zipfile.ZipFile(packed := BytesIO(), "w") as archive:
        archive.writestr("x.md", "# X\n\nOnce upon a time.")
        archive.writestr("y.exe", "")
    papers.put("old.zip", packed.getvalue())
    assert counts(compared(console, papers)) == {"new": 3, "left out": 1, "archive": 1}
    taken(console)
    assert counts(compared(console, papers)) == {"there already": 3, "left out": 1, "archive": 1}
    papers.drop("old.zip")
    compared(console, papers)
    assert names(console, Kind.VANISHED) == ["papers/old/x.md"]


def test_a_moved_file_a_copy_and_another_ones_document_do_not_vanish(console, papers):
    compared(console, papers)
    taken(console)
    papers.move("a.md", "renamed.md")
    papers.put("copy.md", papers.get("b.md"))

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
    port = papers.get("b.md")
    papers.drop("b.md")
    papers.drop("a.md")
    assert counts(compared(console, papers))["vanished"] == 2
    papers.put("b.md", port)
    receipt = console.call(console.room.delete_vanished, console.admin, console.collection)
    assert (receipt.removed["documents"], receipt.complete) == (1, True)


def test_a_sync_is_stopped_and_a_second_one_takes_the_rest(console, papers, monkeypatch):
    paused(console)
    for n in range(60):
        write(papers, **{f"n{n}_md": f"# N\n\nNumber {n}."})
    for tree in (FolderTree, PrefixTree):
        monkeypatch.setattr(tree, "at_once", 1)
    room, admin, collection = console.room, console.admin, console.collection

    async def hurried(begin, *given):
        done = await asyncio.gather(*(begin(admin, collection, *given) for _ in range(2)), return_exceptions=True)
        assert {type(error) for error in done} == {type(None), ServiceBusy}, "one at a time"
        await room.stop(admin, collection)

    console.call(hurried, room.compare, papers.place)
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
    page = console.page("collection", collection=collection, view="folder", folder=papers.place)
    assert "It was stopped: what was taken in stays" in said(page)
    assert "place 1 in the queue" in [bar.proto.text.partition(": ")[2] for bar in page.get("progress")]
    assert len(rows(page, "File")) == 50
    page.button(key="synced-next").click().run()
    assert len(rows(page, "File")) == 14
    assert counts(compared(console, papers)) == {"new": stopped.counts[Kind.NEW], "there already": stopped.counts[Kind.TAKEN], "left out": 1}
    assert counts(taken(console)) == {"taken in": stopped.counts[Kind.NEW], "there already": stopped.counts[Kind.TAKEN], "left out": 1}


def test_a_look_for_another_collection_does_not_forget_this_ones_until_there_are_many(console, papers):
    others = [console.call(console.app.console.collections.create, console.admin, "bob", f"lab-{n}", None).id for n in range(folders.REMEMBERED)]
    assert counts(compared(console, papers)) == {"new": 3, "left out": 1}
    first, console.collection = console.collection, others[0]
    compared(console, papers)
    console.collection = first
    assert counts(taken(console)) == {"taken in": 3, "left out": 1}
    for console.collection in others:
        compared(console, papers)
    assert console.call(console.room.sync, console.admin, first) is None
    assert console.call(console.room.sync, console.admin, others[0]).compared


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


@in_a_folder
def test_what_can_not_be_read_has_not_vanished(console, papers, monkeypatch):
    compared(console, papers)
    taken(console)
    scandir = os.scandir

    def refusing(path):
        if str(path) == str(papers.folder / "sub"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # tests may run as root, who may read everything
    assert counts(compared(console, papers)) == {"there already": 2, "left out": 1}
    (left_out,) = console.call(console.room.items, console.admin, console.collection, Kind.LEFT_OUT).items
    assert (left_out.name, left_out.why) == ("papers/sub", "It can't be read: Permission denied.")


def test_a_folder_with_too_many_files_is_refused_before_it_is_read(console, papers, monkeypatch):
    monkeypatch.setattr(folders, "MOST", 3)
    assert "more than 3 files" in compared(console, papers).problem


def test_what_goes_between_the_look_and_the_taking_in_is_left_out_and_the_rest_is_taken(console, papers):
    compared(console, papers)
    papers.drop("a.md")
    assert counts(taken(console)) == {"taken in": 2, "left out": 2}
    why = {i.name: i.why for i in console.call(console.room.items, console.admin, console.collection, Kind.LEFT_OUT).items}
    assert set(why) == {"papers/a.md", "papers/sub/empty.md"}
    assert why["papers/a.md"] in ("It can't be read: No such file or directory. Check its rights.", "It is not there any more. Look again.")


def test_what_is_too_large_is_left_out_before_it_is_read_also_where_it_grew_meanwhile(console, papers):
    console.app.library._max_bytes = 100
    papers.put("large.md", b"x" * 101)
    assert counts(compared(console, papers)) == {"new": 3, "left out": 2}
    papers.put("a.md", b"y" * 101)
    assert counts(taken(console)) == {"taken in": 2, "left out": 3}
    why = {i.name: i.why for i in console.call(console.room.items, console.admin, console.collection, Kind.LEFT_OUT).items}
    assert all("at most 0 MB are taken" in why[name] for name in ("papers/a.md", "papers/large.md"))


@in_the_store
def test_a_prefix_that_holds_nothing_is_a_folder_without_files(console, papers):
    sync = compared(console, papers.place.replace("papers", "nothing"))
    assert (counts(sync), sync.compared, sync.problem) == ({}, True, "")
    assert counts(taken(console)) == {}
    page = console.page("collection", collection=console.collection, view="folder", folder=papers.place.replace("papers", "nothing"))
    assert "no file" in said(page)


@in_the_store
def test_what_the_house_keeps_and_what_is_no_prefix_of_its_store_is_not_taken_in(console, papers):
    bucket = papers.place.removesuffix("shared/papers/")
    bad = [bucket, "s3://", "s3://other/incoming/", f"{bucket}/", f"{bucket}shared/../originals/"]
    bad += [bucket + own for own in ("originals/", "originals", "originals/x/", "voice/", "runs/", "checks/")]
    for one in bad:
        for ask in (console.room.place, lambda admin, place: console.room.compare(admin, console.collection, place)):
            with pytest.raises(BadInput):
                console.call(ask, console.admin, one)
    page = console.page("collection", collection=console.collection, view="folder", folder=f"{bucket}originals/")
    assert f"Hearth keeps files of its own there. Name another one, such as {bucket}incoming/." in said(page)
    assert not [b for b in page.button if b.key == "compare"]


@in_the_store
def test_a_folder_of_the_store_is_chosen_by_typing_its_address(console, papers):
    page = console.page("collection", collection=console.collection, view="folder")
    assert f"Or type the address of one in the object store, such as {papers.place.removesuffix('shared/papers/')}incoming/." in said(page)
    page = console.page("collection", collection=console.collection, view="folder", folder=papers.place.rstrip("/"))
    assert page.selectbox(key="place").options == [papers.place, "all folders"]
    page.button(key="compare").click().run()
    assert over(console).folder == papers.place


@in_the_store
def test_hostile_keys_lead_nowhere_else_and_what_is_still_being_written_waits(console, place, papers):
    for name in (".part-d.md", "sub/.e.md", "__pycache__/f.md", "ü ?#%2e&=.md", "-rf.md", "x" * 200 + ".md"):
        papers.put(name, f"# N\n\nOf {name}.".encode())
    if place == "moto":  # the folder of the embedded store can't have such names
        for name in ("../../originals/x.md", "a/./b.md", "/c.md", "back\\slash.md", "bell\x07.md", "folder/"):
            put_under_its_very_key(papers, f"shared/papers/{name}", f"# N\n\nOf {name!r}.".encode())
    compared(console, papers)
    found = names(console, Kind.NEW)
    expected = {"papers/a.md", "papers/b.md", "papers/sub/c.md", "papers/ü ?#%2e&=.md", "papers/-rf.md", f"papers/{'x' * 200}.md"}
    assert set(found) >= expected
    assert not [name for name in found if any(part.startswith(".") or part == "__pycache__" for part in name.split("/"))]
    assert counts(taken(console))["taken in"] == len(found)
    settled(console)
    assert counts(compared(console, papers)) == {"there already": len(found), "left out": 1}


@pytest.mark.parametrize("place", IN_STORE[1:], indirect=True)
def test_nothing_that_was_fetched_is_kept(console, papers):
    paused(console)
    compared(console, papers)
    assert counts(taken(console))["taken in"] == 3
    home = console.app.settings.home
    assert not [path for path in (home / "fetched").rglob("*") if path.is_file()]


@in_the_store
def test_a_document_knows_its_object_and_that_of_a_folder_of_the_same_name_does_not_vanish(console, papers):
    compared(console, papers)
    taken(console)
    known = console.call(console.app.console.folders._ledger.known, console.collection, 10)
    assert {d.name: d.source_url for d in known}["papers/a.md"] == f"{papers.place}a.md"
    assert counts(compared(console, papers.place.replace("shared/", "other/"))) == {}
    papers.drop("a.md")
    assert counts(compared(console, papers)) == {"there already": 2, "left out": 1, "vanished": 1}
