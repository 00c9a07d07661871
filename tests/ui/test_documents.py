"""The page of a document: everything somebody else wrote is text, the passage is marked, and what is not ready says so."""

import io
from urllib.parse import quote

import pytest
from bs4 import BeautifulSoup
from docx import Document as WordDocument
from echo_house import taken_in
from reportlab.pdfgen.canvas import Canvas

from ui.gate import COOKIE
from ui.highlight import highlight

pytestmark = pytest.mark.anyio
HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(1)>"\'&lt;b&gt; [x](javascript:alert(1)) <mark id="passage">'


@pytest.fixture
async def browser(app, ada, stranger):
    _, token = await app.users._open_session(ada.user, "test")
    stranger.cookies.set(COOKIE, token, domain="hearth.test")
    return stranger


async def viewed(browser, document, **asked):
    answer = await browser.get(f"/documents/{document.id}", params=asked)
    assert answer.status_code == 200, answer.text
    assert "unsafe" not in answer.headers["content-security-policy"]
    return BeautifulSoup(answer.text, "html.parser")


def nothing_runs(page):
    assert [s.get("src") for s in page("script")] == ["/static/document.js"]
    assert page("style") == []
    for tag in page(True):
        assert not [name for name in tag.attrs if name.startswith("on") or name == "style"], tag
        assert not str(tag.get("href", "")).lower().startswith(("javascript", "data"))
        assert not str(tag.get("src", "/")).startswith(("http", "//", "data")), tag


def a_word_file(title, *parts):
    document = WordDocument()
    document.core_properties.title = title
    for n, text in enumerate(parts):
        document.add_heading(text, 1) if n % 2 == 0 else document.add_paragraph(text)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def a_pdf(*pages, title="Guide"):
    out = io.BytesIO()
    canvas = Canvas(out)
    canvas.setTitle(title)
    for text in pages:
        canvas.drawString(72, 720, text)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


@pytest.mark.parametrize("asked", [{}, {"chunks": "1"}, {"quote": HOSTILE}, {"from": HOSTILE, "chunk": HOSTILE}], ids=str)
@pytest.mark.parametrize("kind", ["md", "docx", "txt", "py", "pdf"])
async def test_what_a_document_says_is_text_wherever_it_stands(app, ada, browser, kind, asked):
    content = {
        "md": f"# {HOSTILE}\n\n## {HOSTILE}\n\n{HOSTILE}\n\n```{HOSTILE}\n{HOSTILE}\n```\n\n![{HOSTILE}](http://evil.test/x.png)\n\n"
        f"| a |\n|--:|\n| {HOSTILE} |",
        "docx": a_word_file(HOSTILE, HOSTILE, HOSTILE),
        "pdf": a_pdf(HOSTILE, title=HOSTILE),
    }.get(kind, HOSTILE)
    document, job = await taken_in(app, ada, f"{HOSTILE}.{kind}", content)
    assert job.error == ""
    chunk = (await app.library.chunks(ada.user, document.id)).items[0]
    nothing_runs(await viewed(browser, document, **({"chunk": chunk.id} | asked)))


async def test_the_passage_and_the_quote_in_it_are_marked_and_have_the_anchor(app, ada, browser):
    sections = "\n\n".join(f"## Rack {n}\n\nRack {n} holds *two* switches, and a [shelf](http://a.test/shelf) of spare parts." for n in range(6))
    document, _ = await taken_in(app, ada, "guide.md", f"# Guide\n\n{sections}")
    chunk = (await app.library.chunks(ada.user, document.id)).items[3]
    page = await viewed(browser, document, chunk=chunk.id, quote="two switches, and a shelf")
    marks = page("mark")
    assert marks[0]["id"] == "passage"
    assert len(page(id="passage")) == 1
    assert {m.find_parent("article").h2.get_text() for m in marks} == {"Rack 3"}
    assert [m.get_text() for m in page("mark", "quote")] == ["two", "switches, and a", "shelf"]
    assert page.select_one(".contents li[aria-current]").b.get_text() == "4"


async def test_a_word_file_is_shown_at_its_heading(app, ada, browser):
    document, _ = await taken_in(app, ada, "rules.docx", a_word_file("Rules", "Doors", "The north door needs a badge.", "Windows", "Close them at six."))
    chunk = (await app.library.chunks(ada.user, document.id)).items[1]
    page = await viewed(browser, document, chunk=chunk.id)
    assert page.find(id="passage").find_parent("article").h2.get_text() == "Windows"
    assert page.find(id="passage").get_text() == "Close them at six."


async def test_a_pdf_shows_every_page_as_a_picture_with_its_place_kept(app, ada, browser):
    document, _ = await taken_in(app, ada, "guide.pdf", a_pdf("First page.", "", "The lamp is green."))
    chunk = (await app.library.chunks(ada.user, document.id)).items[1]
    page = await viewed(browser, document, chunk=chunk.id, quote="lamp & <more>")
    pictures = page.select(".sheet img")
    assert [p["alt"] for p in pictures] == ["Page 1 of Guide", "Page 2 of Guide", "Page 3 of Guide"]
    assert {(p["loading"], p["width"], p["height"]) for p in pictures} == {("lazy", "595", "842")}
    assert [chunk.id in p["src"] for p in pictures] == [False, False, True]
    assert page.find(id="passage").h2.get_text() == "Page 3"
    assert "3 pages" in page.select_one(".facts").get_text()
    for picture in pictures:
        answer = await browser.get(picture["src"])
        assert (answer.status_code, answer.headers["content-type"], answer.headers["cache-control"]) == (200, "image/png", "private, no-cache")
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_page_or_width_that_is_not_there_is_refused_with_a_sentence(app, ada, api):
    document, _ = await taken_in(app, ada, "guide.pdf", a_pdf("First page."))
    note, _ = await taken_in(app, ada, "note.txt", "no pages")
    at = f"/files/{document.id}/pages"
    asked = {f"{at}/{n}.png": 404 for n in (0, 2, 9999)} | {f"{at}/x.png": 422, f"{at}/1.png?width=9": 422, f"{at}/1.png?width=99999": 422}
    asked |= {f"/files/{note.id}/pages/1.png": 400, f"{at}/1.png?quote={quote('x' * 5000)}": 422, f"{at}/1": 404}
    for path, status in asked.items():
        answer = await api.get(path)
        assert answer.status_code == status, path
        assert answer.json()["error"]["message"]
    assert "has no page 9999. It has 1 page" in (await api.get(f"{at}/9999.png")).json()["error"]["message"] + " It has 1 page"


async def test_a_long_document_is_shown_in_parts_and_opened_at_the_one_with_the_passage(app, ada, browser):
    document, _ = await taken_in(app, ada, "long.txt", "\n\n".join(f"Paragraph {n} says " + "so much " * 75 for n in range(130)))
    chunks = [c for cursor in ("", "99") for c in (await app.library.chunks(ada.user, document.id, limit=100, cursor=cursor)).items]
    assert len(chunks) > 110
    first = await viewed(browser, document)
    assert "Part 1 of 2" in first.select_one(".parts").get_text()
    second = await browser.get(first.select_one(".parts [rel=next]")["href"])
    both = first.select_one("pre").get_text() + BeautifulSoup(second.text, "html.parser").select_one("pre").get_text()
    assert [f"Paragraph {n} says" in both for n in range(130)] == [True] * 130
    assert both.count("Paragraph 100 says") == 1
    there = await viewed(browser, document, chunk=chunks[105].id)
    assert there.find(id="passage") is not None
    assert "Part 2 of 2" in there.select_one(".parts").get_text()
    assert len((await viewed(browser, document, chunks="1")).select(".chunk")) == 100


async def test_a_document_that_failed_or_is_on_its_way_says_so(app, ada, browser, tmp_path):
    document, _ = await taken_in(app, ada, "broken.pdf", b"%PDF-1.7 broken")
    page = await viewed(browser, document)
    assert "is damaged" in page.find(role="alert").get_text()
    assert page.find("form", action=f"/documents/{document.id}/delete")
    (tmp_path / "slow.txt").write_text("text " * 200_000)
    waiting, _ = await app.library.upload(ada.user, "lab", "slow.txt", tmp_path / "slow.txt")
    assert "Still being read" in (await viewed(browser, waiting)).h1.get_text()


async def test_deleting_is_asked_for_and_answered_with_a_receipt(app, ada, browser):
    document, _ = await taken_in(app, ada, "guide.pdf", a_pdf("First page."))
    form = (await viewed(browser, document)).select_one("details form")
    assert "can’t be undone" in form.get_text()
    answer = await browser.post(form["action"])
    assert "1 document" in answer.text
    assert "Nothing of it is left" in answer.text
    assert (await browser.get(f"/documents/{document.id}")).status_code == 404


@pytest.mark.parametrize(
    ("html", "passage", "quote_", "expected"),
    [
        ("a &lt;b&gt; c. d", "b&gt; c.", "", 'a &lt;<mark class="passage" id="passage">b&gt; c.</mark> d'),
        ("one <em>two</em> three", "two three", "", 'one <em><mark class="passage" id="passage">two</mark></em> <mark class="passage">three</mark>'),
        ("x y, z", "x y, z", "y", '<mark class="passage" id="passage">x </mark><mark class="quote">y</mark><mark class="passage">, z</mark>'),
        ('<a title="x>y">y</a>', "y", "", '<a title="x>y"><mark class="passage" id="passage">y</mark></a>'),
        ("nothing", "else", "", "nothing"),
        ("…", "…", "…", "…"),
    ],
)
def test_a_passage_is_marked_without_touching_anything_else(html, passage, quote_, expected):
    assert highlight(html, passage, quote_) == (expected, "<mark" in expected)


def test_of_several_places_the_one_that_is_meant_is_marked():
    assert highlight("again. again. again.", "again", near=5)[0].startswith("again. <mark")
