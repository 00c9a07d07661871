"""Taking documents in: every kind of file, every kind of bad file, and what deleting leaves."""

import asyncio
import importlib.util
import io
import zipfile
from email.message import EmailMessage

import numpy as np
import pytest
from docx import Document as WordDocument
from echo_house import taken_in
from openpyxl import Workbook
from pptx import Presentation
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from core.adapters.parsing import ocr, pdf, picture
from core.errors import BadInput, NotFound, TooLong, Unreadable, WrongShape
from core.inference import Embedded
from core.rag.model import IngestStage, RAGQuery

pytestmark = pytest.mark.anyio


def a_pdf(*pages, password=None):
    out = io.BytesIO()
    canvas = Canvas(out, encrypt=password)
    for text in pages:
        canvas.drawString(72, 720, text)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def a_docx():
    document = WordDocument()
    document.add_heading("Rules", 1)
    document.add_paragraph("The badge opens the north door.")
    table = document.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "Door", "Code 4711"
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def a_pptx():
    deck = Presentation()
    for title, text in (("Welcome", "Hello to all."), ("Doors", "The south door opens at seven.")):
        slide = deck.slides.add_slide(deck.slide_layouts[1])
        slide.shapes.title.text, slide.placeholders[1].text = title, text
    slide.notes_slide.notes_text_frame.text = "Say that the key is blue."
    table = slide.shapes.add_table(1, 2, 0, 0, 100, 100).table
    table.cell(0, 0).text, table.cell(0, 1).text = "Hall", "C4"
    out = io.BytesIO()
    deck.save(out)
    return out.getvalue()


def an_xlsx():
    book = Workbook()
    book.active.title = "Stock"
    for row in (("part", "room", "count"), ("fan", "cellar", 12), ("belt", None, 7.5)):
        book.active.append(row)
    book.create_sheet("Empty")
    book.create_sheet("Notes").append(["Order the filters in May."])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


CONTAINER = '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="O/b.opf"/></rootfiles></container>'
PACKAGE = """<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><dc:title>The Harbour</dc:title></metadata>
<manifest><item id="b" href="two%20b.xhtml" media-type="application/xhtml+xml"/><item id="a" href="../one.xhtml" media-type="application/xhtml+xml"/>
<item id="p" href="p.png" media-type="image/png"/></manifest>
<spine><itemref idref="a"/><itemref idref="b"/><itemref idref="p"/><itemref idref="gone"/></spine></package>"""


def a_zip(entries, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as package:
        for name, content in entries.items():
            package.writestr(name, content)
    return out.getvalue()


def an_epub(**more):
    chapter = "<html><body><h1>{}</h1><p>{}</p></body></html>"
    return a_zip(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": CONTAINER,
            "O/b.opf": PACKAGE,
            "O/two b.xhtml": chapter.format("Night", "The lighthouse blinks twice."),
            "one.xhtml": chapter.format("Day", "The ships sleep."),
        }
        | more
    )


def an_eml():
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "Grace <g@example.org>", "ada@example.org", "Übergabe der Pumpe"
    mail.set_content("The pump moves to hall seven.")
    mail.add_alternative("<p>The pump moves to hall <b>seven</b>.</p>", subtype="html")
    mail.add_attachment(b"%PDF-1.7 secret plan", maintype="application", subtype="pdf", filename="plan.pdf")
    return mail.as_bytes()


def a_picture(text="", kind="PNG", size=(900, 200)):
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).text((30, 60), text, fill="black", font=ImageFont.load_default(size=40))
    out = io.BytesIO()
    picture.save(out, kind)
    return out.getvalue()


def a_scan(text):
    out = io.BytesIO()
    canvas = Canvas(out)
    canvas.drawImage(ImageReader(io.BytesIO(a_picture(text))), 50, 500, 450, 100)
    canvas.save()
    return out.getvalue()


def a_bomb():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("word/document.xml", b"0" * 200_000_000)
    return out.getvalue()


GOOD = {
    "manual.pdf": (a_pdf("The lamp is green.", "The port is 8445."), "Which port?", 2, "8445"),
    "rules.docx": (a_docx(), "north door badge", None, "north door"),
    "page.html": (b"<html><title>T</title><nav>skip me</nav><h1>Food</h1><p>Lunch is at noon.</p><script>alert(1)</script>", "When is lunch?", None, "noon"),
    "notes.md": (b"# Top\n\n## Sub\n\nThe cat is called Miso.\n", "What is the cat called?", None, "Miso"),
    "plain.txt": ("Die Tür heißt Ölberg.".encode("latin-1"), "Ölberg", None, "Ölberg"),
    "code.py": (b"import os\n\n\ndef reindex_everything():\n    return 42\n", "reindex_everything", None, "42"),
    "deck.pptx": (a_pptx(), "When does the south door open?", 2, "Hall | C4"),
    "stock.xlsx": (an_xlsx(), "fan cellar", None, "fan | cellar | 12\nbelt |  | 7.5"),
    "stock.csv": (b'part;room;count\nfan;cellar;12\n"a;b";attic;3\n', "attic", None, "a;b | attic | 3"),
    "stock.tsv": (b"part\troom\nfan\tcellar\n", "cellar", None, "fan | cellar"),
    "harbour.epub": (an_epub(), "lighthouse", None, "blinks twice"),
    "mail.eml": (an_eml(), "Where does the pump move?", None, "Attachments (not opened): plan.pdf"),
    "lying.txt": (a_pdf("A PDF whose name lies."), "name lies", 1, "lies"),
}


@pytest.mark.parametrize("name", GOOD)
async def test_every_kind_of_document_is_found_by_its_words(app, ada, name):
    content, question, page, expected = GOOD[name]
    _, job = await taken_in(app, ada, name, content)
    assert job.stage is IngestStage.READY, job.error
    result = await app.retrieval.search(ada.user, RAGQuery(question, "lab"))
    assert expected in result.chunks[0].chunk.content
    assert result.chunks[0].chunk.metadata.page == page
    assert "alert" not in result.chunks[0].chunk.content
    assert "skip me" not in result.chunks[0].chunk.content


needs_ocr = pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="the extra `ocr` is not installed")


@needs_ocr
@pytest.mark.parametrize(("name", "make"), [("photo.png", a_picture), ("fax.tiff", lambda text: a_picture(text, "TIFF")), ("scan.pdf", a_scan)])
async def test_text_in_pictures_and_scans_is_found(app, ada, name, make):
    _, job = await taken_in(app, ada, name, make("The spare key hangs in room 512"))
    assert job.error == ""
    found = (await app.retrieval.search(ada.user, RAGQuery("Where is the spare key?", "lab"))).chunks[0].chunk
    assert "room 512" in found.content
    assert found.metadata.page == (1 if name == "scan.pdf" else None)


@pytest.mark.parametrize(("reader", "content"), [(picture.read, a_picture("x")), (pdf.read, a_scan("x"))])
def test_without_the_extra_a_picture_says_what_to_install(monkeypatch, reader, content):
    monkeypatch.setattr(ocr, "find_spec", lambda _name: None)
    with pytest.raises(Unreadable, match=r"not installed.*hearth\[ocr\]"):
        raise_with_hint(reader, content)


def raise_with_hint(reader, content):
    """The sentence as a person reads it: message and hint."""
    try:
        reader(content, "scan")
    except Unreadable as error:
        raise Unreadable(str(error)) from error


BILLION_LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha">' + "".join(f'<!ENTITY {chr(98 + n)} "{("&" + chr(97 + n) + ";") * 10}">' for n in range(9)) + "]><x>&j;</x>"
FOREIGN_ENTITY = '<!DOCTYPE html [<!ENTITY f SYSTEM "file:///etc/passwd">]><package xmlns="http://www.idpf.org/2007/opf"><title>&f;</title></package>'
BAD = {
    "broken.pptx": (a_pptx()[:9000], "breaks off"),
    "broken.xlsx": (a_zip({"xl/workbook.xml": "<x"}), "damaged"),
    "laughs.xlsx": (a_zip({"xl/workbook.xml": BILLION_LAUGHS}), "damaged"),
    "laughs.epub": (an_epub(**{"O/b.opf": BILLION_LAUGHS}), "damaged"),
    "foreign.epub": (an_epub(**{"O/b.opf": FOREIGN_ENTITY}), "no text"),
    "protected.epub": (
        an_epub(**{"META-INF/encryption.xml": '<e xmlns:k="http://www.w3.org/2001/04/xmlenc#"><k:CipherReference URI="one.xhtml"/></e>'}),
        "protected against copying",
    ),
    "no.epub": (b"just words", "is not an EPUB book"),
    "no.eml": (b"just words without a head", "is not an e-mail"),
    "sheet.ods": (a_zip({"mimetype": "application/vnd.oasis.opendocument.spreadsheet"}), "OpenDocument"),
    "tiny.png": (b"\x89PNG\r\n\x1a\n" + b"x" * 99, "a PNG picture"),
    "encrypted.pdf": (a_pdf("secret", password="x"), "encrypted"),
    "truncated.pdf": (a_pdf("hello")[:300], "damaged"),
    "picture.txt": (b"\x89PNG\r\n\x1a\n" + b"x" * 99, "a PNG picture"),
    "wrong.pdf": (b"this is no pdf at all", "is not a PDF"),
    "broken.docx": (a_docx()[:900], "breaks off"),
    "bomb.docx": (a_bomb(), "would grow"),
    "blank.pdf": (a_pdf(""), "without text" if importlib.util.find_spec("rapidocr") is None else "no text"),
    "binary.bin": (bytes(range(256)) * 40, "not text"),
    "spaces.txt": (b"   \n\t ", "empty"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_file_fails_with_a_sentence_and_nothing_of_it_is_searched(app, ada, name):
    content, sentence = BAD[name]
    document, job = await taken_in(app, ada, name, content)
    assert job.stage is IngestStage.FAILED
    assert sentence in job.error
    assert (await app.library.document(ada.user, document.id)).status == "failed"
    assert (await app.retrieval.search(ada.user, RAGQuery("hello secret", "lab"))).chunks == ()


@pytest.mark.parametrize(("pages", "stage"), [(5_000, IngestStage.READY), (5_001, IngestStage.FAILED)])
async def test_a_pdf_of_five_thousand_pages_is_read_to_its_last_one_and_a_longer_one_is_refused_with_what_to_do(app, ada, pages, stage):
    _, job = await taken_in(app, ada, "long.pdf", a_pdf(*(f"Page {n} says that lamp {n} is green." for n in range(pages))))
    assert job.stage is stage
    if stage is IngestStage.FAILED:
        assert "5,001 pages; at most 5,000 are read. Split it." in job.error
    else:
        found = (await app.retrieval.search(ada.user, RAGQuery("lamp 4999", "lab"))).chunks[0].chunk
        assert found.metadata.page == 5_000


async def test_empty_and_oversized_files_are_refused_before_anything_is_stored(app, ada, tmp_path):
    empty, large = tmp_path / "empty", tmp_path / "large"
    empty.write_bytes(b"")
    with large.open("wb") as out:
        out.truncate(200_000_000)
    with pytest.raises(BadInput, match="is empty"):
        await app.library.upload(ada.user, "lab", "empty.txt", empty)
    with pytest.raises(TooLong, match="200 MB; at most 100 MB"):
        await app.library.upload(ada.user, "lab", "large.txt", large)
    assert (await app.library.collections(ada.user)).items == []


async def test_the_same_file_twice_is_one_document(app, ada):
    first, _ = await taken_in(app, ada, "a.txt", "Same words.")
    second, _ = await taken_in(app, ada, "b.txt", "Same words.")
    assert first.id == second.id
    objects = [p for p in (app.settings.home / "objects").rglob("*") if p.is_file()]
    assert len(objects) == 1


async def test_deleting_a_collection_leaves_no_row_no_vector_and_no_object(app, ada):
    for n in range(3):
        await taken_in(app, ada, f"{n}.txt", f"Document number {n} about tea.")
    receipt = await app.library.delete_collection(ada.user, "lab")
    assert receipt.complete
    assert receipt.removed["documents"] == receipt.removed["objects"] == receipt.removed["vectors"] == 3
    assert not [p for p in (app.settings.home / "objects").rglob("*") if p.is_file()]
    with pytest.raises(NotFound):
        await app.library.collection(ada.user, "lab")


async def test_nobody_finds_or_opens_another_users_documents(app, ada, bob):
    document, _ = await taken_in(app, ada, "secret.txt", "The vault code is 991.")
    for attempt in (app.library.document, app.library.original, app.library.delete_document):
        with pytest.raises(NotFound):
            await attempt(bob.user, document.id)
    with pytest.raises(NotFound):
        await app.retrieval.search(bob.user, RAGQuery("vault code", "lab"))


async def test_another_embedding_model_is_refused_with_what_to_do(app, ada, monkeypatch):
    await taken_in(app, ada, "a.txt", "Some words.")

    class Other:
        def of(self, model):
            return self

        async def embed(self, texts, kind, *, caller):
            return Embedded(np.ones((len(texts), 16), np.float32) / 4, "other")

    monkeypatch.setattr(app.retrieval, "_embedder", Other())
    with pytest.raises(WrongShape, match=r"384 dimensions.*HEARTH_EMBEDDINGS_URL"):
        await app.retrieval.search(ada.user, RAGQuery("words", "lab"))


async def test_without_the_embedder_words_still_find_and_the_answer_says_so(app, ada, monkeypatch):
    from core.errors import ServiceUnavailable

    await taken_in(app, ada, "a.txt", "The quiet harbour.")

    class Away:
        def of(self, model):
            return self

        async def embed(self, texts, kind, *, caller):
            raise ServiceUnavailable("The embeddings server can't be reached.")

    monkeypatch.setattr(app.retrieval, "_embedder", Away())
    result = await app.retrieval.search(ada.user, RAGQuery("harbour", "lab"))
    assert "harbour" in result.chunks[0].chunk.content
    assert "Only words were searched" in result.trace.degraded


async def test_defaults_are_five_reranked_to_three(app, ada):
    for n in range(8):
        await taken_in(app, ada, f"{n}.txt", f"The lamp number {n} is on the {n} floor.")
    query = RAGQuery("lamp floor", "lab")
    assert (query.top_k, query.rerank, query.rerank_top_k) == (5, True, 3)
    result = await app.retrieval.search(ada.user, query)
    assert (len(result.chunks), result.reranked) == (3, True)
    plain = await app.retrieval.search(ada.user, RAGQuery("lamp floor", "lab", rerank=False))
    assert (len(plain.chunks), plain.reranked) == (5, False)


async def test_a_parser_that_hangs_is_killed_and_only_its_document_fails(app, ada, monkeypatch):
    monkeypatch.setattr(app.library._parser, "_timeout_s", 0.05)
    _, job = await taken_in(app, ada, "slow.txt", "x")
    assert job.stage is IngestStage.FAILED
    assert "given up" in job.error
    await asyncio.sleep(0)
