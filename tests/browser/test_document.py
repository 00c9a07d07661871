"""A document in a real browser: its pages with the passage marked, its headings, its passages; light, dark and on a phone."""

import io
import time

import pytest
from reportlab.lib.pagesizes import A4
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from running_house import PASSWORD

pytestmark = pytest.mark.timeout(150)
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}

LEFT = """The laboratory is open to members from seven
in the morning until eight in the evening.
Every door has a reader for bad-
ges beside it. A lost badge is reported at
the front desk on the same day, and a new one
is made within an hour.

Visitors sign the book at the desk, wear a
visitor's badge and are met by their host.""".split("\n")
RIGHT = """Backups run every night at half past two.
They are kept for thirty-five days, and the
first of each month for a year.

Restores are asked for by mail. They are
done within one working day.""".split("\n")

NOTES = """# Field notes

Written down by the expedition, in the order in which things happened.

## The first camp

We reached the river at noon. The **northern bank** is stony; the tents stand on the southern one. Water is fetched
twice a day and boiled for ten minutes.

| Day | Distance | Height |
|-----|---------:|-------:|
| 1 | 14 km | 320 m |
| 2 | 9 km | 1,140 m |

```python
def pace(km, hours):
    return km / hours
```

## Voices

### Deutsch

Die Donaudampfschifffahrtsgesellschaft fährt im Winter nicht; die Fähre über den Fluss verkehrt täglich von 8 bis 18 Uhr.

### 日本語

川は正午に着いた。水は一日に二回汲み、十分間沸かす。橋の手前に小さな茶屋がある。

### العربية

وصلنا إلى النهر عند الظهر. تقع الخيام على الضفة الجنوبية، ويغلى الماء عشر دقائق.
"""


def handbook():
    pdfmetrics.registerFont(UnicodeCIDFont("HeiseiMin-W3"))
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=A4)
    canvas.setTitle("Handbook of the laboratory")
    canvas.setFont("Times-Bold", 20)
    canvas.drawString(60, 770, "Handbook of the laboratory")
    canvas.setFont("Times-Roman", 11)
    for x, lines in ((60, LEFT), (320, RIGHT)):
        for n, line in enumerate(lines):
            canvas.drawString(x, 730 - 16 * n, line)
    canvas.showPage()
    canvas.setFont("Helvetica-Bold", 15)
    canvas.drawString(60, 770, "Network")
    canvas.setFont("Helvetica", 11)
    canvas.drawString(60, 740, "The guest network is called orchard. Its password changes every Monday.")
    canvas.showPage()
    canvas.rect(100, 300, 400, 300)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


@pytest.fixture(scope="module")
def shelf(house):
    """What lies in the house: a PDF of two columns, notes in four languages, and one with a name without end."""
    ids = {}
    files = {
        "handbook.pdf": handbook(),
        "notes.md": NOTES.encode(),
        "A very long title " + "that goes on and on " * 6 + "until it ends.txt": ("First line.\n\nSecond line <b>is not bold</b>.\n" * 40).encode(),
    }
    for name, content in files.items():
        job = house.upload(name, content)[1]
        assert house.job_done(job["id"])["stage"] == "ready"
        ids[name[:5]] = job["document_id"]
    return ids


def entered(house, visitor):
    """Signs in without the chat, which goes on loading while somebody leaves it."""
    visitor.page.goto(f"{house.url}/login?next=/")
    visitor.page.fill("[name=username]", "ada")
    visitor.page.fill("[name=password]", PASSWORD)
    visitor.page.click("button")
    visitor.page.wait_for_selector(".rooms")
    return visitor


@pytest.fixture
def reader(house, visit):
    visitor = entered(house, visit(house.url))
    yield visitor
    assert visitor.foreign == []
    assert visitor.problems == []


def chunk_with(house, document_id, words):
    hits = house.post("/v1/collections/lab/query", {"query": words, "top_k": 20, "rerank_top_k": 20})[1]["chunks"]
    return next(h for h in hits if h["document_id"] == document_id and words.split()[0] in h["content"])


def opened(visitor, house, path):
    visitor.page.goto(house.url + path)
    visitor.page.wait_for_selector(".viewer")
    visitor.page.wait_for_load_state("networkidle")


def loaded(visitor):
    """Waits until every picture near the window is there. Asked from here: in the page, whose policy forbids eval, only a first look would be allowed."""
    near = "[...document.querySelectorAll('.picture img')].filter((i) => i.getBoundingClientRect().y < innerHeight)"
    until_s = time.monotonic() + 20
    while not visitor.page.evaluate(f"{near}.every((i) => i.complete && i.naturalWidth > 0)"):
        assert time.monotonic() < until_s, "a picture never came"
        visitor.page.wait_for_timeout(50)


def test_a_pdf_shows_its_pages_with_the_passage_marked_beside_its_text(house, shelf, reader, visit):
    passage = chunk_with(house, shelf["handb"], "Backups run every night")
    address = f"/documents/{shelf['handb']}?chunk={passage['id']}&quote=kept+for+thirty-five+days#passage"
    opened(reader, house, address)
    loaded(reader)
    assert reader.page.locator(".sheet").count() == 3
    assert reader.page.locator("mark.quote").first.inner_text() == "kept for thirty-five days"
    assert "No text on this page" in reader.page.locator(".sheet").last.inner_text()
    reader.shoot("document-pdf-light")
    reader.page.emulate_media(color_scheme="dark")
    reader.shoot("document-pdf-dark")
    reader.page.emulate_media(color_scheme="light")
    phone = entered(house, visit(house.url, **PHONE))
    opened(phone, house, address)
    loaded(phone)
    phone.shoot("document-pdf-phone")
    assert phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert phone.problems == []


def test_a_page_keeps_its_place_while_its_picture_is_loaded(house, shelf, reader):
    reader.page.route("**/pages/*.png*", lambda route: (time.sleep(0.5), route.continue_()))
    reader.page.goto(f"{house.url}/documents/{shelf['handb']}")
    before = reader.page.evaluate("document.documentElement.scrollHeight")
    loaded(reader)
    assert reader.page.evaluate("document.documentElement.scrollHeight") == before


def test_markdown_is_shown_by_heading_and_scrolled_to_the_passage(house, shelf, reader, visit):
    passage = chunk_with(house, shelf["notes"], "Donaudampfschifffahrtsgesellschaft fährt")
    address = f"/documents/{shelf['notes']}?chunk={passage['id']}&quote=verkehrt+t%C3%A4glich#passage"
    opened(reader, house, f"/documents/{shelf['notes']}")
    reader.shoot("document-markdown-light")
    assert reader.page.locator("h2").all_inner_texts() == ["Field notes", "The first camp", "Deutsch", "日本語", "العربية"]
    opened(reader, house, address)
    reader.page.emulate_media(color_scheme="dark")
    reader.shoot("document-markdown-dark")
    reader.page.emulate_media(color_scheme="light")
    assert reader.page.locator("mark.quote").inner_text() == "verkehrt täglich"
    assert reader.page.evaluate(
        "(() => { const b = document.querySelector('#passage').getBoundingClientRect(); return b.top >= 0 && b.bottom <= innerHeight })()"
    )
    phone = entered(house, visit(house.url, **PHONE))
    opened(phone, house, address)
    phone.shoot("document-markdown-phone")
    assert phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_passages_can_be_shown_and_gone_to(house, shelf, reader):
    long = next(v for k, v in shelf.items() if k.startswith("A ver"))
    opened(reader, house, f"/documents/{long}")
    assert "<b>is not bold</b>" in reader.page.locator(".section").first.inner_text()
    reader.page.click(".actions >> text=Show passages")
    reader.page.wait_for_selector(".chunk")
    reader.page.click(".contents li:nth-child(2) a")
    reader.page.wait_for_selector(".chunk.chosen")
    assert reader.page.locator(".chunk.chosen").inner_text().startswith("Passage 2")
    reader.shoot("document-passages")
    assert reader.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_deleting_asks_first_and_shows_the_receipt(house, reader):
    job = house.upload("short.txt", b"Nobody needs this any more.")[1]
    house.job_done(job["id"])
    opened(reader, house, f"/documents/{job['document_id']}")
    assert not reader.page.locator(".deletion button").is_visible()
    reader.page.click(".deletion summary")
    reader.shoot("document-delete")
    reader.page.click(".deletion button")
    reader.page.wait_for_selector("text=Nothing of it is left")
    reader.shoot("document-deleted")
    assert house.get(f"/v1/documents/{job['document_id']}")[0] == 404


def test_the_chat_shows_the_page_and_leads_to_the_passage(house, shelf, reader):
    reader.page.goto(f"{house.url}/chat")
    reader.page.wait_for_selector("#collections .token")
    reader.ask("Which password changes every Monday on the guest network?")
    reader.page.locator(".message.theirs").last.locator(".chip", has_text="Handbook").first.click()
    picture = reader.page.locator("#source .page img")
    picture.wait_for()
    reader.page.wait_for_function("(document.querySelector('#source .page img') || {}).naturalWidth > 0")
    reader.shoot("chat-source-page")
    seen = reader.page.locator("#source mark").bounding_box()
    assert 0 <= seen["y"] < 820, "the panel opens at the quoted words"
    with reader.context.expect_page() as opening:
        reader.page.click("#source .whole")
    opening.value.wait_for_selector(".sheet#passage mark")
