import asyncio
import os

import pytest

from core.errors import BadInput, NotFound
from ui.commands import _watch
from ui.watching import Watch, found_files


def write(path, text, at=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if at is not None:
        os.utime(path, (at, at))


def names(seen):
    return sorted(source.name for source in seen.changed)


def test_files_are_called_by_their_own_name_and_those_in_folders_by_their_path(tmp_path):
    write(tmp_path / "a/readme.md", "one")
    write(tmp_path / "b/readme.md", "two")
    write(tmp_path / "c.md", "three")
    found = found_files([tmp_path / "a", tmp_path / "b", tmp_path / "c.md", tmp_path / "c.md"])
    assert [s.name for s in found] == ["a/readme.md", "b/readme.md", "c.md"]


def test_two_files_that_would_replace_each_other_are_refused(tmp_path):
    write(tmp_path / "a/readme.md", "one")
    write(tmp_path / "b/readme.md", "two")
    with pytest.raises(BadInput, match=r"would both be called 'readme\.md'"):
        found_files([tmp_path / "a/readme.md", tmp_path / "b/readme.md"])
    with pytest.raises(NotFound):
        found_files([tmp_path / "nothing"])


def test_a_file_is_handed_out_once_it_has_settled_and_again_only_with_other_bytes(tmp_path):
    file, watch = tmp_path / "lab/a.md", Watch([tmp_path / "lab"])
    write(file, "one", 1000)
    assert names(watch.look()) == []
    write(file, "one and more", 1001)
    assert names(watch.look()) == []
    assert names(watch.look()) == ["lab/a.md"]
    assert names(watch.look()) == []
    os.utime(file, (2000, 2000))
    assert [names(watch.look()) for _ in range(3)] == [[], [], []]
    write(file, "two", 3000)
    assert [names(watch.look()) for _ in range(3)] == [[], ["lab/a.md"], []]


def test_what_could_not_be_taken_in_is_handed_out_again(tmp_path):
    watch = Watch([tmp_path / "lab"])
    write(tmp_path / "lab/a.md", "one")
    watch.look()
    seen = watch.look()
    watch.forget(seen.changed)
    assert [names(watch.look()) for _ in range(2)] == [["lab/a.md"], []]


def test_what_vanished_is_said_once_and_taken_in_again_when_it_comes_back(tmp_path):
    watch = Watch([tmp_path / "lab"])
    for name in ("a.md", "b.md", ".hidden"):
        write(tmp_path / "lab" / name, name)
    watch.look()
    assert names(watch.look()) == ["lab/a.md", "lab/b.md"]
    (tmp_path / "lab/a.md").unlink()
    assert watch.look().vanished == ["lab/a.md"]
    assert watch.look().vanished == []
    write(tmp_path / "lab/a.md", "back")
    assert [names(watch.look()) for _ in range(2)] == [[], ["lab/a.md"]]
    for path in (tmp_path / "lab").iterdir():
        path.unlink()
    (tmp_path / "lab").rmdir()
    assert watch.look().vanished == ["lab/a.md", "lab/b.md"]


@pytest.mark.anyio
async def test_a_watched_folder_keeps_its_collection_up_to_date_and_removes_nothing(app, ada, tmp_path, capsys):
    async def ready(*expected):
        while True:
            page = await app.library.documents(ada.user, "lab") if (await app.library.collections(ada.user)).items else None
            if page and sorted((d.name, d.version, d.status.value) for d in page.items) == sorted((*e, "ready") for e in expected):
                return
            await asyncio.sleep(0.05)

    folder = tmp_path / "notes"
    write(folder / "a.md", "The lamp is green.", 1000)
    watching = asyncio.create_task(_watch(app, ada.user, "lab", Watch([folder]), every_s=0.05))
    try:
        async with asyncio.timeout(30):
            await ready(("notes/a.md", 1))
            write(folder / "a.md", "The lamp is red.", 2000)
            write(folder / "b.md", "The port is 8443.", 2000)
            await ready(("notes/a.md", 2), ("notes/b.md", 1))
            (folder / "a.md").unlink()
            while "notes/a.md is gone" not in capsys.readouterr().out:
                await asyncio.sleep(0.05)
            await ready(("notes/a.md", 2), ("notes/b.md", 1))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
