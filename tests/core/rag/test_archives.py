"""Zip archives: their files become documents, and nothing that an archive can say leads outside or fills the disk."""

import io
import struct
import zipfile

import pytest
from echo_house import waited_for

from core.errors import BadInput, TooLong
from core.rag.archives import MAX_ENTRIES, is_archive, unpacked
from core.rag.model import IngestStage, Skipped

pytestmark = pytest.mark.anyio


def a_zip(*entries, method=zipfile.ZIP_DEFLATED):
    """entries: (name or ZipInfo, content)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content, method)
    return out.getvalue()


def special(name, mode):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def with_flag(content, flag):
    """The same archive with a flag set on its entries, in the local headers and in the directory."""
    content = bytearray(content)
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(signature, at + 1)) >= 0:
            content[at + offset] |= flag
    return bytes(content)


def read(tmp_path, content, max_bytes=1_000_000):
    path, target = tmp_path / "x.zip", tmp_path / "entry"
    path.write_bytes(content)
    taken, skipped = {}, {}
    for found in unpacked(path, "x.zip", target, max_bytes=max_bytes):
        if isinstance(found, Skipped):
            skipped[found.name] = found.reason
        else:
            taken[found] = target.read_bytes()
    return taken, skipped


REFUSED = {
    "../up.txt": "leads out",
    "a/../../up.txt": "leads out",
    "/etc/cron.d/x": "leads out",
    "..\\up.txt": "leads out",
    "C:\\windows\\x.txt": "leads out",
    "c:x.txt": "leads out",
    ".hidden": "hidden",
    "a/.git/config": "hidden",
    "__MACOSX/._a.txt": "hidden",
    "empty.txt": "empty",
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_entry_that_leads_out_or_is_hidden_is_left_out_with_a_sentence_and_the_others_are_taken(tmp_path, name):
    taken, skipped = read(tmp_path, a_zip((name, "" if name == "empty.txt" else "bad"), ("good/a.txt", "good")))
    assert taken == {"good/a.txt": b"good"}
    [(_, reason)] = skipped.items()
    assert REFUSED[name] in reason
    assert reason.endswith(".")


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o060666, 0o010666], ids=["symlink", "character-device", "block-device", "pipe"])
def test_links_and_devices_are_never_files(tmp_path, mode):
    taken, skipped = read(tmp_path, a_zip((special("link.txt", mode), "/etc/passwd"), ("a.txt", "good")))
    assert list(taken) == ["a.txt"]
    assert "link or a device" in skipped["link.txt"]


def test_a_name_with_a_nul_is_refused(tmp_path):
    content = a_zip(("a.txtXexe", "bad"), ("b.txt", "good")).replace(b"a.txtXexe", b"a.txt\x00exe")
    taken, skipped = read(tmp_path, content)
    assert list(taken) == ["b.txt"]
    assert "broken" in skipped["a.txt?exe"]


DAMAGED = {
    "encrypted": (with_flag(a_zip(("a.txt", "x" * 50)), 1), "encrypted"),
    "wrong checksum": (a_zip(("a.txt", "x" * 50), method=zipfile.ZIP_STORED).replace(b"x" * 50, b"y" * 50), "damaged"),
    "another packer": (a_zip(("a.txt", "x" * 50), method=zipfile.ZIP_BZIP2), "packed in a way"),
    "an archive inside": (a_zip(("a.txt", a_zip(("b.txt", "deep")))), "archive inside an archive"),
    "too large": (a_zip(("a.txt", "x" * 50)), "at most"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_what_can_not_be_unpacked_is_said(tmp_path, what):
    content, sentence = DAMAGED[what]
    taken, skipped = read(tmp_path, content, max_bytes=10 if what == "too large" else 1000)
    assert taken == {}
    assert sentence in skipped["a.txt"]


def a_directory_of(length):
    """An archive whose end says that its directory is so long; the zip64 form says it in its own record."""
    plain = bytearray(a_zip(("a.txt", "x")))
    struct.pack_into("<L", plain, plain.rfind(b"PK\x05\x06") + 12, length)
    return bytes(plain)


BOMBS = {
    "ratio": (a_zip(("a.txt", b"0" * 50_000_000)), "would grow to 50 MB"),
    "entries": (a_zip(*((f"{n}", "x") for n in range(MAX_ENTRIES + 1))), "at most 5,000"),
    "directory": (a_directory_of(1 << 30), "table of contents"),
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_is_refused_before_anything_is_unpacked(tmp_path, what):
    content, sentence = BOMBS[what]
    with pytest.raises(TooLong, match=sentence):
        read(tmp_path, content)
    assert not (tmp_path / "entry").exists()


@pytest.mark.parametrize(
    ("content", "archive"),
    [
        (a_zip(("a.txt", "x")), True),
        (a_zip(("[Content_Types].xml", "x"), ("word/document.xml", "x")), False),
        (a_zip(("mimetype", "application/epub+zip")), False),
        (a_zip(("a.txt", "x"))[:-10], False),
        (b"PK, a text that begins like one", False),
        (b"", False),
    ],
)
def test_an_archive_is_told_from_a_document_in_zips_clothes(tmp_path, content, archive):
    path = tmp_path / "x"
    path.write_bytes(content)
    assert is_archive(path, "x") is archive


async def test_an_archive_becomes_its_files_and_sent_again_only_what_changed(app, ada, tmp_path):
    async def send(*entries):
        (tmp_path / "x").write_bytes(a_zip(*entries))
        taken = await app.library.take_in(ada.user, "lab", "papers.zip", tmp_path / "x")
        return taken, [await waited_for(app, ada, job) for job in taken.jobs]

    taken, jobs = await send(("a/readme.md", "# One\n\nThe lamp is green."), ("b/readme.md", "# Two\n\nThe lamp is red."), ("../x", "bad"))
    assert [(j.name, j.version, j.stage) for j in jobs] == [
        ("papers/a/readme.md", 1, IngestStage.READY),
        ("papers/b/readme.md", 1, IngestStage.READY),
    ]
    assert [s.name for s in taken.skipped] == ["../x"]
    _, again = await send(("a/readme.md", "# One\n\nThe lamp is green."), ("b/readme.md", "# Two\n\nThe lamp is blue."))
    assert [(j.document_id == first.document_id, j.version) for j, first in zip(again, jobs, strict=True)] == [(True, 1), (True, 2)]
    assert len((await app.library.documents(ada.user, "lab")).items) == 2


async def test_an_archive_without_anything_to_take_says_why(app, ada, tmp_path):
    (tmp_path / "x").write_bytes(a_zip(("../a.txt", "x"), (".b", "y")))
    with pytest.raises(BadInput, match="holds no file") as refused:
        await app.library.take_in(ada.user, "lab", "x.zip", tmp_path / "x")
    assert "../a.txt: Its name leads out of the archive." in refused.value.hint
    assert (await app.library.collections(ada.user)).items == []
