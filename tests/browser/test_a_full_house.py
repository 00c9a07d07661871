"""The page with much in it: a model without a free place, and a conversation of five hundred messages."""

import threading

import pytest
from running_house import RunningHouse

from core.ids import new_id

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def small_house(tmp_path_factory):
    """One place at the model, and pages may be taken in by their address."""
    with RunningHouse(tmp_path_factory.mktemp("full") / "home", HEARTH_CHAT_PAGE="true", HEARTH_INFERENCE_CHAT_PLACES="1", HEARTH_URL_INGEST="true") as running:
        running.make_user()
        running.wait_for_pages()
        yield running


@pytest.fixture
def ada(small_house, visit):
    visitor = visit(small_house.url)
    visitor.sign_in(small_house.url)
    yield visitor
    assert visitor.foreign == []
    assert visitor.problems == []


def test_an_answer_that_waits_shows_its_place_and_about_how_long_and_then_comes(ada, small_house):
    small_house.ask("so that the house knows how long an answer takes [tokens=20 rate=20]")
    before = threading.Thread(target=small_house.ask, args=("[tokens=120 rate=20]",))
    before.start()
    ada.page.wait_for_timeout(500)
    ada.page.fill("#text textarea", "is it my turn?")
    ada.page.keyboard.press("Enter")
    ada.page.wait_for_selector(".growing .waiting >> text=/1st in the queue, about [0-9]+ s/")
    ada.shoot("chat-queue")
    ada.page.wait_for_selector(".message.theirs:not(.growing) >> text=You said: is it my turn?")
    assert "waited" in ada.page.locator(".figures").last.inner_text()
    before.join()


def test_a_conversation_of_five_hundred_messages_opens_at_its_end_and_shows_the_rest_when_asked(ada, small_house):
    conversation = new_id()
    for n in range(250):
        assert small_house.ask(f"Question number {n}?", conversation_id=conversation)[0] == 200
    ada.page.goto(f"{small_house.url}/chat?c={conversation}")
    ada.page.wait_for_selector(".message.theirs >> text=Question number 249?")
    assert ada.page.locator(".message").count() == 100
    ada.page.click("[data-act=older]")
    ada.page.wait_for_function("document.querySelectorAll('.message').length === 500")
    assert "Question number 0?" in ada.page.locator(".message").first.inner_text()


@pytest.mark.parametrize("address", ["http://127.0.0.1:8000/secret", "http://169.254.169.254/latest", "file:///etc/passwd"])
def test_an_address_inside_the_house_is_refused_with_a_reason_and_stays_in_the_form(ada, address):
    page = ada.page
    page.click("#pick")
    page.fill("#dialog-add [name=url]", address)
    page.click("#dialog-add [data-form=address] button")
    page.wait_for_function("document.querySelector('#dialog-add .said-of').innerText.length > 20")
    ada.shoot("chat-add-address")
    assert page.input_value("#dialog-add [name=url]") == address
    assert page.locator("#jobs .job").count() == 0
    ada.problems.clear()  # the browser notes that it was refused
