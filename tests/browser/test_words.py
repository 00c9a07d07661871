"""Two languages on one house: what a user chose, what a browser asks for, and what scripts say."""

from pathlib import Path

import httpx
import pytest

SHOTS = Path(__file__).parent.parent.parent / ".test-home/screenshots"
PHONE = {"viewport": {"width": 375, "height": 760}, "has_touch": True}
TEXT = "# Backups\n\nBackups run at 3:15 every night and are kept for 30 days.\n\n" + "The tower stands on the hill. " * 60


@pytest.fixture
def ada(house, visit):
    """Ada, whose browser asks for English; each test begins with English chosen."""
    visitor = visit(house.url, locale="en-GB")
    visitor.sign_in(house.url)
    yield visitor
    choose(visitor, "en", "Sign out")
    # Choosing leaves the page, and whatever it was fetching at that moment is broken off.
    assert (visitor.foreign, [p for p in visitor.problems if "Connection errored out" not in p]) == ([], [])


def choose(visitor, code, expected):
    if visitor.page.locator("#account select").input_value() != code:
        with visitor.page.expect_navigation():
            visitor.page.select_option("#account select", code)
    visitor.page.wait_for_selector(f"#account button >> text={expected}")


def test_a_user_who_chooses_german_reads_german_everywhere_and_after_a_reload(house, ada, tmp_path):
    page = ada.page
    choose(ada, "de", "Abmelden")
    assert page.locator("#new").inner_text() == "+ Neuer Chat"
    assert page.get_attribute("html", "lang") == "de"
    assert page.get_attribute("#text textarea", "placeholder") == "Stell eine Frage"
    assert "Meine Dokumente nutzen" in page.locator("#use").inner_text()
    assert page.locator(".empty h2").inner_text() == "Frag deine eigenen Dokumente"
    ada.shoot("german-empty")
    page.reload()
    page.wait_for_selector("#account button >> text=Abmelden")
    assert page.locator("#new").inner_text() == "+ Neuer Chat"

    (tmp_path / "backups.md").write_text(TEXT)
    ada.upload(tmp_path / "backups.md")
    page.wait_for_selector(".job.done >> text=fertig")
    ada.ask("When do backups run?")
    page.wait_for_selector(".figures >> text=erste Worte nach")
    assert page.locator("summary >> text=Wohin die Zeit ging").count()
    page.locator(".chip").first.click()
    page.wait_for_selector("#source >> text=Wie sie gefunden wurde")
    ada.shoot("german-answer")

    asked = []
    page.on("dialog", lambda d: (asked.append(d.message), d.dismiss()))
    page.hover("#listing li")
    page.click("#listing [data-act=delete]")
    page.wait_for_timeout(200)
    assert asked == ["„When do backups run?“ mit allen Nachrichten löschen? Das lässt sich nicht rückgängig machen."]
    page.locator("[data-edit]").first.click()
    assert page.locator(".editing button").all_inner_texts() == ["Senden", "Abbrechen"]

    for name in ("settings", "share", "help"):
        page.click(f"[data-dialog={name}]")
        page.wait_for_selector(f"#dialog-{name}[open]")
        ada.shoot(f"german-{name}")
        page.click(f"#dialog-{name} [data-dialog-close]")
    page.click("[data-theme]")
    ada.shoot("german-dark")
    page.click("[data-theme]")

    with ada.context.expect_page() as opened:
        page.locator("#source .whole").click()
    document = opened.value
    document.wait_for_selector(".facts >> text=Abschnitte")
    assert document.get_attribute("html", "lang") == "de"
    document.screenshot(path=SHOTS / "german-document.png")
    document.set_viewport_size(PHONE["viewport"])
    document.emulate_media(color_scheme="dark")
    document.evaluate("delete document.documentElement.dataset.theme")
    document.screenshot(path=SHOTS / "german-phone-document-dark.png")
    assert document.evaluate("document.documentElement.scrollWidth") <= 375


def test_an_answer_that_grows_speaks_german_until_its_end(house, ada):
    page = ada.page
    choose(ada, "de", "Abmelden")
    page.fill("#text textarea", "one two three")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelectorAll('.message.theirs:not(.growing)').length > 0")
    said = page.locator(".message.theirs").inner_text()
    assert "erste Worte nach" in said
    assert "first words" not in said


def test_what_failed_is_told_in_german(house, ada, tmp_path):
    choose(ada, "de", "Abmelden")
    (tmp_path / "leer.pdf").write_bytes(b"%PDF-1.4 broken")
    ada.upload(tmp_path / "leer.pdf")
    ada.page.wait_for_selector(".job.failed >> text=leer.pdf ist beschädigt und kann nicht als PDF geöffnet werden.")
    ada.page.wait_for_selector(".job.failed >> text=Noch einmal")
    choose(ada, "en", "Sign out")
    ada.page.wait_for_selector(".job.failed >> text=leer.pdf is damaged and can't be opened as a PDF.")


def test_the_sign_in_page_follows_the_browser(house, visit):
    german = visit(house.url, locale="de-DE")
    german.page.goto(f"{house.url}/login")
    assert german.page.locator("h1").inner_text() == "Anmelden"
    german.page.fill("[name=username]", "ada")
    german.page.fill("[name=password]", "wrong")
    german.page.click("button")
    german.page.wait_for_selector("text=Name oder Passwort ist falsch.")
    german.shoot("german-login")
    english = visit(house.url, locale="en-GB")
    english.page.goto(f"{house.url}/login")
    assert english.page.locator("h1").inner_text() == "Sign in"


def test_nothing_in_german_is_wider_than_a_phone(house, visit):
    phone = visit(house.url, locale="de-DE", **PHONE)
    page = phone.page
    page.goto(f"{house.url}/login?next=/chat")
    phone.shoot("german-phone-login")
    page.fill("[name=username]", "ada")
    page.fill("[name=password]", "correct horse battery")
    page.click("button")
    page.wait_for_selector("#account form", state="attached")
    page.evaluate("fetch('/language', { method: 'POST', body: new URLSearchParams({ language: 'de' }) })")
    page.goto(f"{house.url}/chat")
    page.wait_for_selector(".empty h2 >> text=Frag deine eigenen Dokumente")
    phone.shoot("german-phone")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.click("[data-toggle=side]")
    phone.shoot("german-phone-side")
    account = page.locator("#account .prose").bounding_box()
    for part in page.locator("#account select, #account button").all():
        box = part.bounding_box()
        assert box["x"] + box["width"] <= account["x"] + account["width"] + 1
    page.mouse.click(360, 400)
    page.click("[data-dialog=settings]")
    phone.shoot("german-phone-settings")
    page.goto(f"{house.url}/")
    phone.shoot("german-phone-landing")
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert phone.foreign == []


def test_the_languages_are_known_to_the_house_and_the_script_is_small(house, ada):
    cookies = {c["name"]: c["value"] for c in ada.context.cookies()}
    choose(ada, "de", "Abmelden")
    assert len(httpx.get(f"{house.url}/words.js", cookies=cookies).content) < 6000
