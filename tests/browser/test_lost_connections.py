"""What the page does when the connection, the house or the sign-in goes away: nothing typed or answered is lost, and it goes on by itself."""

import pytest

pytestmark = pytest.mark.timeout(120)


def ask(page, text):
    page.fill("#text textarea", text)
    page.keyboard.press("Enter")


def test_an_answer_goes_on_after_a_lost_connection_without_a_reload(ada):
    page = ada.page
    ask(page, "[tokens=240 rate=40]")
    page.wait_for_selector(".growing .text >> text=t20:")
    page.evaluate("window.sameDocument = true")
    ada.context.set_offline(True)
    page.wait_for_timeout(1500)
    ada.context.set_offline(False)
    page.wait_for_selector(".message.theirs:not(.growing) >> text=t239:", timeout=30_000)
    assert page.evaluate("window.sameDocument")
    assert all(f"t{n}:" in page.locator(".message.theirs").last.inner_text() for n in range(0, 240, 10))


def test_what_could_not_be_sent_stays_in_its_box_and_is_sent_when_the_connection_is_back(ada):
    page = ada.page
    ada.context.set_offline(True)
    ask(page, "written on a train")
    page.wait_for_selector("text=Connection to the server was lost")
    assert page.input_value("#text textarea") == "written on a train"
    page.evaluate("window.sameDocument = true")
    ada.context.set_offline(False)
    # The page loads itself anew when it is connected again, and has the draft.
    page.wait_for_function("!window.sameDocument && document.querySelector('#text textarea')?.value === 'written on a train'")
    page.click("#send")
    page.wait_for_selector(".message.theirs:not(.growing) >> text=You said: written on a train")
    assert page.input_value("#text textarea") == ""
    assert page.locator(".message.mine").count() == 1


def test_a_draft_outlives_an_expired_sign_in_and_is_sent_after_the_next_one(ada, house):
    page = ada.page
    page.locator("#text textarea").press_sequentially("typed before the sign-in expired")
    ada.context.clear_cookies()
    page.keyboard.press("Enter")
    page.wait_for_selector("#notice >> text=Your sign-in has expired")
    ada.sign_in(house.url)
    page.wait_for_function("document.querySelector('#text textarea')?.value === 'typed before the sign-in expired'")
    page.click("#send")
    page.wait_for_selector(".message.theirs:not(.growing) >> text=You said: typed before the sign-in expired")


def test_a_house_that_is_killed_and_started_again_is_noticed_and_the_conversation_goes_on(ada, house):
    page = ada.page
    ask(page, "[tokens=2000 rate=40]")
    page.wait_for_selector(".growing .text >> text=t60:")
    address = page.url
    page.evaluate("window.sameDocument = true")
    port = int(house.url.rsplit(":", 1)[1])
    house.kill()
    page.wait_for_timeout(500)
    house.start(port)
    house.wait_for_pages()
    page.wait_for_selector(".trouble >> text=This answer was broken off", timeout=60_000)
    assert "t20:" in page.locator(".message.theirs").last.inner_text()
    ask(page, "and after the restart?")
    page.wait_for_selector(".message.theirs:not(.growing) >> text=You said: and after the restart?")
    assert page.evaluate("window.sameDocument")
    assert page.url == address
    assert page.locator(".message.mine").count() == 2
