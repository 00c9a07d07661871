"""Pictures of pages: the passage is marked where it stands, and a hostile file costs its own request only."""

import asyncio
import io
import time

import psutil
import pypdfium2 as pdfium
import pytest
from echo_house import taken_in
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from core.adapters.page_renderer_child import ChildPageRenderer
from core.errors import BadInput, NotFound, ServiceBusy, Unreadable
from core.rag import pictures
from core.rag.model import Document
from core.rag.pictures import PagePictures

pytestmark = pytest.mark.anyio
COLUMNS = (
    ["The lamp beside the door", "is green while the lab", "is open to its mem-", "bers and red at night."],
    ["Backups run every night.", "They are kept for a month."],
)


def a_pdf(password=None, size=(595, 842)):
    out = io.BytesIO()
    canvas = Canvas(out, encrypt=password, pagesize=size)
    canvas.setTitle("Guide")
    for x, lines in zip((60, 330), COLUMNS, strict=True):
        for n, line in enumerate(lines):
            canvas.drawString(x, 740 - 20 * n, line)
    canvas.showPage()
    canvas.drawString(60, 740, "The second page.")
    canvas.showPage()
    canvas.save()
    return out.getvalue()


@pytest.fixture
def renderer():
    return ChildPageRenderer(timeout_s=20, memory_mb=1024)


@pytest.fixture
def pdf(tmp_path):
    path = tmp_path / "guide"
    path.write_bytes(a_pdf())
    return path


def coloured(picture):
    """Where a picture of black on white has colour: (left, top, right, bottom) in shares of its size, or None."""
    image = Image.open(io.BytesIO(picture.png))
    found = image.convert("HSV").getchannel("S").point(lambda s: 255 if s > 20 else 0).getbbox()
    return found and tuple(round(v / of, 2) for v, of in zip(found, image.size * 2, strict=True))


async def drawn(renderer, pdf, passage="", quote="", **given):
    return await renderer.page(pdf, "guide.pdf", **({"number": 1, "passage": passage, "quote": quote, "width_px": 800} | given))


async def test_a_page_without_a_passage_is_black_on_white(renderer, pdf):
    picture = await drawn(renderer, pdf)
    assert (picture.width_px, picture.marked, coloured(picture)) == (800, False, None)


async def test_a_passage_is_marked_in_its_own_column_only(renderer, pdf):
    left = coloured(await drawn(renderer, pdf, "The lamp beside the door is green"))
    right = coloured(await drawn(renderer, pdf, "Backups run every night. They are kept"))
    assert left[0] == pytest.approx(0.1, abs=0.02)
    assert left[2] < 0.5 < right[0]
    assert left[1] == pytest.approx(1 - 752 / 842, abs=0.02)


@pytest.mark.parametrize("quote", ["open to its members and red", "open to its mem-\nbers and red", "OPEN TO ITS\u00a0MEMBERS"])
async def test_a_word_broken_at_the_end_of_a_line_is_marked_on_both(renderer, pdf, quote):
    picture = await drawn(renderer, pdf, quote=quote)
    box = coloured(picture)
    assert picture.marked
    assert box[2] < 0.5
    assert box[3] - box[1] > 30 / 842


async def test_a_passage_on_a_turned_page_is_marked_where_it_is_seen(renderer, tmp_path):
    path = tmp_path / "turned"
    document = pdfium.PdfDocument(a_pdf())
    document[0].set_rotation(90)
    document.save(path)
    document.close()
    picture = await drawn(renderer, path, "Backups run every night.")
    box = coloured(picture)
    assert picture.width_px > picture.height_px
    assert box[1] > 0.5
    assert box[2] - box[0] < box[3] - box[1]


async def test_what_does_not_stand_on_the_page_is_not_marked(renderer, pdf):
    for words in ("Nobody ever wrote this sentence.", "…!?", "The second page."):
        picture = await drawn(renderer, pdf, words, words)
        assert (picture.marked, coloured(picture)) == (False, None)


@pytest.mark.parametrize("number", [0, -1, 3, 9999])
async def test_a_page_that_is_not_there_is_named_with_how_many_there_are(renderer, pdf, number):
    with pytest.raises(NotFound, match=f"no page {number}. It has 2 pages"):
        await drawn(renderer, pdf, number=number)


HOSTILE = {
    "encrypted": (a_pdf(password="x"), "encrypted"),
    "cut": (a_pdf()[:200], "damaged"),
    "none": (b"%PDF-1.7\n" + b"\x00" * 5000, "damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_file_that_can_not_be_drawn_is_explained(renderer, tmp_path, name):
    content, why = HOSTILE[name]
    (tmp_path / name).write_bytes(content)
    for attempt in (drawn(renderer, tmp_path / name), renderer.sizes(tmp_path / name, "x.pdf")):
        with pytest.raises(Unreadable, match=why) as told:
            await attempt
        assert told.value.hint


async def test_a_page_without_measure_is_drawn_small_instead_of_filling_the_memory(renderer, tmp_path):
    path = tmp_path / "tall"
    path.write_bytes(a_pdf(size=(20, 14_000)))
    picture = await drawn(renderer, path, width_px=2000)
    assert picture.width_px * picture.height_px <= 13_000_000


async def test_a_page_that_takes_too_long_is_given_up_and_its_process_is_gone(tmp_path):
    out = io.BytesIO()
    canvas = Canvas(out, pageCompression=1)
    canvas._code.append("0 0 m 595 842 l S\n" * 2_000_000)
    canvas.save()
    (tmp_path / "endless").write_bytes(out.getvalue())
    begun = time.monotonic()
    with pytest.raises(Unreadable, match="longer than 1 s"):
        await drawn(ChildPageRenderer(timeout_s=0.6, memory_mb=1024), tmp_path / "endless")
    assert time.monotonic() - begun < 5
    assert [p for p in psutil.Process().children(recursive=True) if "core.adapters.rendering" in p.cmdline()] == []


async def test_too_little_memory_breaks_the_child_and_nothing_else(pdf):
    with pytest.raises(BadInput):
        await drawn(ChildPageRenderer(timeout_s=20, memory_mb=25), pdf)


class Watched(ChildPageRenderer):
    """The renderer, counting."""

    at_once = most = drawn = 0

    async def page(self, *args, **given):
        self.at_once += 1
        self.drawn += 1
        self.most = max(self.most, self.at_once)
        try:
            return await super().page(*args, **given)
        finally:
            self.at_once -= 1


@pytest.fixture
def watched():
    return Watched(timeout_s=20, memory_mb=1024)


def ask_for(kept, pdf, number, owner="ada"):
    async def path():
        return pdf

    return kept.page(Document("d", "lab", "T", "", "", None, owner_id=owner), path, number, passage="", quote=owner, width_px=400)


async def test_pictures_are_drawn_one_at_a_time_for_each_user_and_once(watched, pdf):
    kept = PagePictures(watched)
    await asyncio.gather(*(ask_for(kept, pdf, 1 + n % 2) for n in range(8)))
    assert (watched.most, watched.drawn) == (1, 2)
    await asyncio.gather(*(ask_for(kept, pdf, 1, owner) for owner in ("bob", "eve", "zoe")))
    assert 1 < watched.most <= pictures.AT_ONCE


async def test_whoever_waits_for_too_many_pages_is_told(monkeypatch, watched, pdf):
    monkeypatch.setattr(pictures, "MAX_WAITING", 2)
    kept = PagePictures(watched)
    told = await asyncio.gather(*(ask_for(kept, pdf, 1 + n % 2) for n in range(5)), return_exceptions=True)
    assert [type(t) for t in told].count(ServiceBusy) == 3
    assert (await ask_for(kept, pdf, 2)).png


async def test_pictures_are_kept_up_to_a_size_and_forgotten_with_their_document(watched, pdf):
    first = await ask_for(PagePictures(watched), pdf, 1)
    kept = PagePictures(watched, keep_bytes=len(first.png) + 100)
    for number in (1, 1, 2, 2, 1):
        await ask_for(kept, pdf, number)
    assert watched.drawn == 1 + 3
    kept.forget("d")
    await ask_for(kept, pdf, 1)
    assert watched.drawn == 1 + 4


async def test_the_library_draws_for_the_owner_alone_and_marks_what_is_theirs(app, ada, bob):
    document, _ = await taken_in(app, ada, "guide.pdf", a_pdf())
    chunk = (await app.library.chunks(ada.user, document.id)).items[0]
    _, picture = await app.library.page_picture(ada.user, document.id, 1, chunk_id=chunk.id, quote="lamp beside the door", width_px=10)
    assert picture.marked
    assert picture.width_px == 400
    assert not (await app.library.page_picture(ada.user, document.id, 2, chunk_id=chunk.id))[1].marked
    assert len(await app.library.page_sizes(ada.user, document.id)) == 2
    with pytest.raises(NotFound):
        await app.library.page_picture(bob.user, document.id, 1)
    with pytest.raises(NotFound):
        await app.library.chunks(bob.user, document.id)
    note, _ = await taken_in(app, ada, "note.txt", "no pages here")
    with pytest.raises(BadInput, match="no pages"):
        await app.library.page_picture(ada.user, note.id, 1)
    await app.library.delete_document(ada.user, document.id)
    with pytest.raises(NotFound):
        await app.library.page_picture(ada.user, document.id, 1)
