"""What files are called, which are meant, what changed in them, and that nobody is led elsewhere by a link."""

import os

import pytest

from core.errors import BadInput, NotFound, Unreadable
from core.rag.folders import Watch, found_files, inside, opened


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


def test_hidden_files_links_tools_folders_and_closed_ones_are_left_out(tmp_path):
    for name in ("a.md", ".env", ".git/config", "node_modules/x.js", "kept/b.md", "sub/c.md"):
        write(tmp_path / "lab" / name, name)
    os.symlink(tmp_path / "lab/a.md", tmp_path / "lab/link.md")
    os.symlink(tmp_path, tmp_path / "lab/around")
    assert [s.name for s in inside(tmp_path / "lab", closed=[tmp_path / "lab/kept"])] == ["lab/a.md", "lab/sub/c.md"]
    assert [s.name for s in found_files([tmp_path / "lab"])] == ["lab/a.md", "lab/kept/b.md", "lab/sub/c.md"]


def test_only_what_is_still_the_file_that_was_found_is_opened(tmp_path):
    tmp_path = tmp_path.resolve()
    write(tmp_path / "lab/a.md", "mine")
    write(tmp_path / "other/a.md", "secret")
    with opened(tmp_path / "lab/a.md") as file:
        assert file.read() == b"mine"
    os.symlink(tmp_path / "other/a.md", tmp_path / "lab/link.md")
    os.symlink(tmp_path / "other", tmp_path / "lab/way")
    os.mkfifo(tmp_path / "lab/pipe")
    for other in ("link.md", "way/a.md", "pipe", "gone.md"):
        with pytest.raises(Unreadable):
            opened(tmp_path / "lab" / other)
