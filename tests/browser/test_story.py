"""The first thing Hearth must do for a person, in a real browser with the real embedded models."""

import io

import pytest
from reportlab.pdfgen.canvas import Canvas
from running_house import PASSWORD, RunningHouse

pytestmark = pytest.mark.timeout(300)

REAL = {"HEARTH_LLM_MODEL": "smollm2-135m", "HEARTH_EMBEDDINGS_MODEL": "minilm-l6", "HEARTH_RERANKER_MODEL": "maxsim", "HEARTH_CHAT_PAGE": "true"}


def handbook():
    out = io.BytesIO()
    canvas = Canvas(out)
    canvas.setTitle("Lab handbook")
    pages = [
        ["Access to the lab", "The front door opens with a badge between 7:00 and 20:00.", "Visitors sign the book at the desk and are met by their host."],
        ["Backups", "Backups run every night at 02:30 and are kept for 35 days.", "Restores are asked for by mail and done within one working day."],
        ["Network", "The guest network is called orchard. Its password changes every Monday.", "The printer answers on port 9100."],
    ]
    for page in pages:
        for line, text in enumerate(page):
            canvas.drawString(72, 740 - 22 * line, text)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def test_from_the_first_link_to_an_answer_with_its_source_and_all_of_it_is_there_after_a_restart(tmp_path, models_folder, visit, stores):
    """Where servers keep things, each of them is killed once on the way and comes back: nothing of the story changes."""
    pdf = tmp_path / "lab-handbook.pdf"
    pdf.write_bytes(handbook())
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(models_folder)
    with RunningHouse(home, **REAL, **stores.settings) as house:
        visitor = visit(house.url)
        page = visitor.page
        page.goto(house.setup_link)
        page.fill("[name=username]", "ada")
        page.fill("[name=password]", PASSWORD)
        page.fill("[name=again]", PASSWORD)
        visitor.shoot("setup")
        page.click("button")
        page.wait_for_selector(".empty", timeout=40_000)
        visitor.problems.clear()  # while the page is still being loaded it answers 503 and comes by itself
        visitor.shoot("chat-empty-light")

        stores.die(house, "events", "sessions")
        visitor.upload(pdf)
        page.wait_for_selector("#jobs .job.done", timeout=60_000)
        page.wait_for_selector("#collections .token")
        stores.die(house, "vectors", "objects")
        visitor.ask("How long are backups kept?")
        answer = page.locator(".message.theirs").last
        assert "kept for 35 days" in answer.inner_text()
        answer.locator(".cite").first.click()
        panel = page.locator("#source")
        panel.locator("mark").wait_for()
        assert "kept for 35 days" in panel.locator("mark").inner_text()
        assert "page 2" in panel.inner_text()
        visitor.shoot("chat-light")
        original = page.request.get(house.url + panel.locator("a.original").get_attribute("href").split("#")[0])
        assert original.body() == pdf.read_bytes()

        visitor.ask("Who painted the Mona Lisa?")
        assert "Nothing relevant found" in page.locator(".message.theirs").last.inner_text()

        page.click("#use input")
        page.fill("#text textarea", "Explain how a hash table works, in detail.")
        page.keyboard.press("Enter")
        page.wait_for_selector(".growing .text >> text=/\\w+ \\w+ \\w+/", timeout=60_000)
        stores.die(house, "records")
        page.click("#stop")
        page.wait_for_selector(".trouble >> text=You stopped this answer")
        stopped = page.locator(".message.theirs").last.locator(".text").inner_text()
        assert stopped
        page.click("#use input")
        address = page.url

        port = int(house.url.rsplit(":", 1)[1])
        assert house.stop() == 0
        house.start(port)
        house.wait_for_pages()
        visitor.problems.clear()  # the connection was lost on purpose
        page.goto(address)
        page.wait_for_selector(".message.theirs .cite")
        assert page.locator(".message.theirs").count() == 3
        assert page.locator(".message.theirs").last.locator(".text").inner_text() == stopped
        assert page.locator("#listing .list li").count() == 1
        page.locator(".cite").first.click()
        page.wait_for_selector("#source mark")
        assert "kept for 35 days" in page.locator("#source mark").inner_text()
        visitor.ask("What is the guest network called?")
        assert "orchard" in page.locator(".message.theirs").last.inner_text()

        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(200)
        visitor.shoot("chat-dark")
        phone = visit(house.url, viewport={"width": 390, "height": 844}, device_scale_factor=2, has_touch=True, is_mobile=True)
        phone.sign_in(house.url)
        phone.page.goto(address)
        phone.page.wait_for_selector(".message.theirs .cite")
        phone.shoot("chat-phone")
        assert phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        phone.page.locator(".cite").first.tap()
        phone.page.wait_for_selector("#source mark")
        phone.shoot("chat-phone-source")
        for seen in (visitor, phone):
            assert seen.foreign == []
            assert seen.problems == []
