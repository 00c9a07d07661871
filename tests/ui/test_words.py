"""The language of a request, and sentences that were made elsewhere."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from core.errors import BadInput, Unreadable
from ui import errors, words
from ui.gate import COOKIE
from ui.words import figure, language, moment, ngettext, speak, told

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def english():
    speak("")
    yield
    speak("")


@pytest.mark.parametrize(
    ("wishes", "spoken"),
    [
        (("de",), "de"),
        (("de-AT,de;q=0.9,en;q=0.8",), "de"),
        (("en;q=0.3, de;q=0.7",), "de"),
        (("fr, de;q=0.2",), "de"),
        (("en-GB,de;q=0.5",), "en"),
        (("fr,ja",), "en"),
        (("de;q=0",), "en"),
        (("de;q=much",), "en"),
        (("",), "en"),
        (("", "de"), "de"),
        (("en", "de"), "en"),
        (("xx", "de"), "de"),
    ],
)
def test_the_first_wish_that_can_be_met_is_spoken(wishes, spoken):
    speak(*wishes)
    assert language() == spoken


def test_what_is_counted_has_the_forms_of_its_language_and_its_figures():
    assert [ngettext("{count} page", "{count} pages", n) for n in (1, 1234)] == ["1 page", "1,234 pages"]
    speak("de")
    assert [ngettext("{count} page", "{count} pages", n) for n in (0, 1, 1234)] == ["0 Seiten", "1 Seite", "1.234 Seiten"]
    assert figure("1,234.5") == "1.234,5"
    assert moment(datetime(2026, 3, 4, 5, 6, tzinfo=UTC)) == "4. März 2026, 05:06 UTC"


@pytest.mark.parametrize(
    ("sentence", "german"),
    [
        ("There is no such document.", "Dieses Dokument gibt es nicht."),
        ("a.pdf is empty. Check the file and upload it again.", "a.pdf ist leer. Prüfe die Datei und lade sie noch einmal hoch."),
        ("a. b is empty.pdf is empty.", "a. b is empty.pdf ist leer."),
        ("x.zip would grow to 1,234 MB when it is unpacked; it was not.", "x.zip würde beim Entpacken auf 1.234 MB wachsen und wurde nicht entpackt."),
        ("Waiting: The llm server can't be reached.", "Wartet: Der llm-Server ist nicht erreichbar."),
        ("b.rar is a RAR archive, which Hearth can't read.", "b.rar ist ein RAR-Archiv; das kann Hearth nicht lesen."),
        ("Only words were searched, not meaning: The llm server can't be reached. The passages could not be reranked: The llm server broke off.",
         "Nur nach Wörtern wurde gesucht, nicht nach Bedeutung: Der llm-Server ist nicht erreichbar. "
         "Die Abschnitte konnten nicht neu geordnet werden: Der llm-Server brach ab."),
        ("A model's own words: {0} %s {", "A model's own words: {0} %s {"),
        ("{name} is empty.", "{name} ist leer."),
    ],
)  # fmt: skip
def test_a_sentence_made_elsewhere_is_known_again_with_its_values(sentence, german):
    assert told(sentence) == sentence
    speak("de")
    assert told(sentence) == german


def test_a_long_text_is_no_sentence_and_costs_no_time():
    speak("de")
    assert told("x is damaged " * 10_000) == "x is damaged " * 10_000


def test_an_error_is_told_in_the_readers_language():
    error = Unreadable("a.pdf is empty.", hint="Check the file and upload it again.")
    assert errors.sentence(error) == "a.pdf is empty. Check the file and upload it again."
    speak("de")
    assert errors.sentence(error) == "a.pdf ist leer. Prüfe die Datei und lade sie noch einmal hoch."
    assert errors.problem(BadInput("The message is empty.", hint="Write something first."))["error"]["hint"] == "Schreib erst etwas."


async def test_a_stranger_is_spoken_to_as_their_browser_asks(app, stranger):
    await app.users.add("ada", "correct horse battery")
    german = await stranger.get("/login", headers={"Accept-Language": "de-DE,de;q=0.9"})
    assert '<html lang="de">' in german.text
    assert "Anmelden" in german.text
    refused = await stranger.post("/login", data={"username": "ada", "password": "wrong"}, headers={"Accept-Language": "de"})
    assert "Name oder Passwort ist falsch." in refused.text
    assert '<html lang="en">' in (await stranger.get("/login")).text


async def test_what_a_user_chose_goes_before_what_their_browser_asks(app, ada, stranger):
    _, token = await app.users._open_session(ada.user, "test")
    stranger.cookies.set(COOKIE, token, domain="hearth.test")
    chosen = await stranger.post("/language", data={"language": "de", "next": "/chat?c=1"})
    assert (chosen.status_code, chosen.headers["location"]) == (303, "/chat?c=1")
    assert (await app.users.named("ada")).preferences == replace(ada.user.preferences, language="de")
    assert "Schön, dass du da bist, ada." in (await stranger.get("/", headers={"Accept-Language": "en"})).text
    missing = await stranger.get("/v1/documents/x", headers={"Accept-Language": "en"})
    assert missing.json()["error"]["message"] == "Dieses Dokument gibt es nicht."
    script = await stranger.get("/words.js")
    assert 'document.documentElement.lang="de"' in script.text
    assert "Neu anmelden" in script.text
    assert script.headers["content-type"].startswith("text/javascript")


async def test_a_language_that_is_not_spoken_is_not_kept_and_nobody_is_sent_to_another_site(app, ada, stranger):
    _, token = await app.users._open_session(ada.user, "test")
    stranger.cookies.set(COOKIE, token, domain="hearth.test")
    answer = await stranger.post("/language", data={"language": "../../etc", "next": "//evil.test"})
    assert answer.headers["location"] == "/chat"
    assert (await app.users.named("ada")).preferences.language == ""


async def test_a_program_with_a_key_is_told_in_english(api):
    assert (await api.get("/v1/documents/x")).json()["error"]["message"] == "There is no such document."


def test_english_needs_no_catalogue_and_its_script_no_texts():
    assert words.script() == 'document.documentElement.lang="en";window.hearthWords={};'
