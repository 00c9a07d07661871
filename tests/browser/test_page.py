"""What the chat page does with everything that is not the happy story."""

import pytest

pytestmark = pytest.mark.timeout(120)

HOSTILE = "<img src=x onerror=\"document.title='owned'\"> <script>document.title='owned'</script> [x](javascript:document.title='owned')"


def test_stop_keeps_what_was_written_and_offers_to_continue(ada):
    ada.page.fill("#text textarea", "[tokens=2000 rate=40]")
    ada.page.keyboard.press("Enter")
    ada.page.wait_for_selector(".growing .text >> text=t20:")
    ada.page.click("#stop")
    ada.page.wait_for_selector(".trouble >> text=You stopped this answer")
    assert "t20:" in ada.page.locator(".message.theirs").last.inner_text()
    ada.shoot("chat-stopped")
    ada.page.click(".trouble button")
    ada.page.wait_for_selector(".message.theirs >> nth=1")
    assert ada.problems == []


def test_a_reload_in_the_middle_of_an_answer_goes_on_showing_it(ada):
    ada.page.fill("#text textarea", "[tokens=150 rate=30]")
    ada.page.keyboard.press("Enter")
    ada.page.wait_for_selector(".growing .text >> text=t20:")
    ada.page.reload()
    ada.problems.clear()  # the reload cut a stream
    ada.page.wait_for_selector(".growing .text >> text=t60:")
    ada.page.wait_for_selector(".message.theirs:not(.growing) >> text=t149:")
    assert ada.problems == []


def test_what_is_typed_or_answered_never_runs(ada):
    ada.ask(HOSTILE)
    ada.page.wait_for_timeout(300)
    assert ada.page.title() != "owned"
    assert ada.page.locator("#transcript img, #transcript script, #transcript a[href^=javascript]").count() == 0
    assert "onerror" in ada.page.locator(".message.mine").last.inner_text()


def test_code_and_tables_are_shown_as_such_and_long_words_stay_inside(ada):
    ada.ask("x\n```python\ndef f(x):\n    return x + 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n" + "long" * 200)
    assert ada.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ada.shoot("chat-long")


def test_a_bad_file_is_explained_and_the_page_goes_on(ada, tmp_path):
    bad, large = tmp_path / "broken.pdf", tmp_path / "large.txt"
    bad.write_bytes(b"%PDF-1.7 broken")
    large.write_bytes(b"x" * 6_000_000)
    ada.upload(bad)
    ada.page.wait_for_selector("#jobs .job.failed >> text=is damaged")
    ada.shoot("chat-bad-file")
    ada.upload(large)
    ada.page.wait_for_selector("#jobs-sending .job.failed >> text=at most 5 MB")
    ada.page.click("#use input")
    ada.ask("still here?")
    assert "still here?" in ada.page.locator(".message.theirs").last.inner_text()
    ada.page.click("#use input")


def test_files_that_are_here_already_are_said_to_be(ada, tmp_path):
    notes = [tmp_path / f"note-{n}.md" for n in range(4)]
    for n, note in enumerate(notes):
        note.write_text(f"# Note {n}\n\nNumber {n} of four that come twice.")
    ada.upload(*notes)
    ada.page.wait_for_function("document.querySelectorAll('#jobs .job.done').length >= 4")
    ada.page.wait_for_selector("#jobs-sending .job", state="detached")
    copy = tmp_path / "copy.md"
    copy.write_bytes(notes[0].read_bytes())
    ada.upload(copy)
    ada.page.wait_for_selector("#jobs-sending .job:not(.failed) >> text=Already in documents, as note-0.md")
    ada.shoot("chat-already-here")
    notes[3].write_text("# Note 3\n\nNumber 3 has changed.")
    ada.upload(*notes)
    ada.page.wait_for_selector("#jobs-sending .job:not(.failed) >> text=4 / 4 · 3 already here")


def test_conversations_are_found_renamed_opened_and_deleted(ada):
    for text in ("about zebras", "about giraffes"):
        ada.page.click("#new")
        ada.page.wait_for_selector(".empty")
        ada.ask(text)
    ada.page.locator("#search input, #search textarea").press_sequentially("zebras")
    ada.page.wait_for_function("document.querySelectorAll('#listing .open').length === 1")
    ada.page.click("#listing .open")
    ada.page.wait_for_selector(".message.mine >> text=about zebras")
    ada.page.once("dialog", lambda d: d.accept("stripes"))
    ada.page.click("#listing [data-act=rename]")
    for _ in "zebras":
        ada.page.locator("#search input, #search textarea").press("Backspace")
    ada.page.wait_for_selector("#listing .open >> text=stripes")
    ada.page.once("dialog", lambda d: d.accept())
    ada.page.locator("#listing li", has_text="stripes").locator("[data-act=delete]").click()
    ada.page.wait_for_selector("#listing .open >> text=stripes", state="detached")
    ada.page.wait_for_selector(".empty")
    assert ada.problems == []


def test_an_example_is_asked_with_a_click(ada):
    ada.page.click(".empty .examples button >> nth=2")
    ada.page.wait_for_selector(".message.mine >> text=hash table")
    ada.page.wait_for_selector(".message.theirs .figures")


def test_light_and_dark_follow_the_button_and_are_remembered(ada, visit, house):
    phone = visit(house.url, viewport={"width": 390, "height": 844})
    phone.sign_in(house.url)
    phone.page.click("[data-toggle=side]")
    phone.page.click("[data-theme]")
    assert phone.page.evaluate("document.body.classList.contains('dark')")
    phone.page.reload()
    phone.page.wait_for_selector("#hearth #account form", state="attached")
    assert phone.page.evaluate("document.body.classList.contains('dark')")
    phone.page.click("[data-toggle=side]")
    phone.page.wait_for_timeout(300)
    phone.shoot("phone-conversations-dark")
    assert phone.page.locator("#new").is_visible()


def test_signing_out_closes_the_page_and_a_wrong_password_says_so(ada, house):
    ada.page.click("#account button")
    ada.page.wait_for_selector("[name=username]")
    ada.page.goto(f"{house.url}/chat")
    assert "/login" in ada.page.url
    ada.page.fill("[name=username]", "ada")
    ada.page.fill("[name=password]", "wrong wrong wrong")
    ada.page.click("button")
    assert "name or the password is wrong" in ada.page.locator("[role=alert]").inner_text()
    ada.shoot("login-wrong")


def test_an_expired_sign_in_keeps_what_was_typed(ada):
    ada.context.clear_cookies()
    ada.page.fill("#text textarea", "typed with care")
    ada.page.keyboard.press("Enter")
    ada.page.wait_for_selector("#notice >> text=Your sign-in has expired")
    assert ada.page.input_value("#text textarea") == "typed with care"
    ada.shoot("chat-expired")


def test_the_landing_page_leads_to_the_rooms(ada, house):
    ada.page.goto(house.url)
    ada.shoot("landing")
    assert ada.page.locator(".room[href='/admin/']").count() == 1
    ada.page.click("a.room[href='/chat']")
    ada.page.wait_for_selector("#hearth")
    assert ada.problems == []
