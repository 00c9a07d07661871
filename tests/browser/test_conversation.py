"""Everything that can be done with a conversation, in a real browser: branches, verdicts, settings, links, drafts, the keyboard."""

import pytest

from core.ids import new_id

pytestmark = pytest.mark.timeout(120)
SEARCH = "#search input, #search textarea"


@pytest.fixture
def ada(ada):
    yield ada
    assert ada.problems == []


def last(page):
    return page.locator(".message.theirs:not(.growing)").last


def test_an_answer_is_given_again_and_the_first_is_a_step_away(ada):
    page = ada.page
    ada.ask("the first question")
    last(page).locator("[data-act=again]").click()
    page.wait_for_selector(".message.theirs .branch >> text=2/2")
    page.click(".message.theirs [aria-label='The one before']")
    page.wait_for_selector(".message.theirs .branch >> text=1/2")
    ada.ask("what follows the first answer")
    page.reload()
    page.wait_for_selector(".message.mine >> text=what follows the first answer")
    assert page.locator(".message.theirs .branch").first.inner_text().split() == ["‹", "1/2", "›"]


def test_an_edited_question_is_a_branch_and_cancel_changes_nothing(ada):
    page = ada.page
    ada.ask("how tall is it")
    page.locator(".message.mine").last.hover()
    page.locator("[data-edit]").last.click()
    page.fill(".said textarea", "something else")
    page.keyboard.press("Escape")
    assert page.locator(".said").last.inner_text() == "how tall is it"
    page.locator("[data-edit]").last.click()
    page.fill(".said textarea", "how deep is it")
    page.wait_for_timeout(300)
    ada.shoot("chat-edit")
    page.keyboard.press("Enter")
    page.wait_for_selector(".message.theirs >> text=You said: how deep is it")
    page.wait_for_selector(".message.mine .branch >> text=2/2")
    assert page.locator(".message").count() == 2
    page.click(".message.mine [aria-label='The one before']")
    page.wait_for_selector(".message.theirs >> text=You said: how tall is it")


def test_a_verdict_stays_after_a_reload_and_can_be_taken_back(ada):
    page = ada.page
    ada.ask("judge me")
    page.once("dialog", lambda d: d.accept("too short"))
    last(page).locator("[data-judge=bad]").click()
    page.wait_for_selector("[data-judge=bad][aria-pressed=true]")
    page.reload()
    page.wait_for_selector("[data-judge=bad][aria-pressed=true]")
    page.click("[data-judge=bad]")
    page.wait_for_selector("[data-judge=bad][aria-pressed=false]")


def test_settings_count_from_the_first_message_on_and_are_found_again(ada):
    page = ada.page
    page.click("[data-dialog=settings]")
    page.wait_for_function("document.querySelector('#dialog-settings select').options.length > 1")
    page.fill("#dialog-settings [name=max_tokens]", "3")
    page.fill("#dialog-settings [name=system_prompt]", "Be brief.")
    page.click("#dialog-settings .primary")
    ada.ask("one two three four")
    assert last(page).locator(".text").inner_text() == "You said: one"
    page.click("[data-dialog=settings]")
    page.wait_for_function("document.querySelector('#dialog-settings [name=max_tokens]').value === '3'")
    assert page.input_value("#dialog-settings [name=system_prompt]") == "Be brief."
    page.fill("#dialog-settings [name=tags]", "lab, doors")
    ada.shoot("chat-settings")
    page.click("#dialog-settings .primary")
    page.wait_for_selector("#dialog-settings", state="hidden")
    page.reload()
    page.wait_for_selector("#listing .tags >> text=doors")


def test_two_models_answer_side_by_side_and_both_stay(ada):
    page = ada.page
    page.click("[data-dialog=settings]")
    page.wait_for_function("document.querySelector('#dialog-settings [name=beside]').options.length > 1")
    page.select_option("#dialog-settings [name=beside]", "echo")
    page.click("#dialog-settings .primary")
    page.fill("#text textarea", "[tokens=60 rate=30]")
    page.keyboard.press("Enter")
    page.wait_for_function(
        "document.querySelectorAll('.growing .text').length === 2 && [...document.querySelectorAll('.growing .text')].every((e) => e.innerText.includes('t5:'))"
    )
    page.wait_for_function("document.querySelectorAll('.beside .message:not(.growing)').length === 2")
    ada.shoot("chat-beside")
    page.reload()
    page.wait_for_selector(".beside .branch >> text=2/2")
    assert all("t59:" in text for text in page.locator(".beside .text").all_inner_texts())


def test_a_prompt_is_saved_put_into_the_box_and_deleted(ada):
    page = ada.page
    page.fill("#text textarea", "What happened this week?")
    page.click("[data-dialog=settings]")
    page.fill("#dialog-settings [name=name]", "weekly")
    page.click("#dialog-settings [data-form=prompt] button")
    page.wait_for_selector("#dialog-settings .prompts >> text=weekly")
    page.keyboard.press("Escape")
    page.fill("#text textarea", "")
    page.click("[data-dialog=settings]")
    page.click("#dialog-settings .prompts >> text=weekly")
    assert page.input_value("#text textarea") == "What happened this week?"
    page.click("[data-dialog=settings]")
    page.click("#dialog-settings .prompts >> text=Delete")
    page.wait_for_selector("#dialog-settings .prompts >> text=weekly", state="detached")


def test_a_link_is_read_by_a_stranger_until_it_is_revoked(ada, visit, house):
    page = ada.page
    ada.ask("share this")
    page.click("[data-dialog=share]")
    page.click("[data-share=make]")
    page.wait_for_selector("#dialog-share .said-of >> text=/share/")
    address = page.inner_text("#dialog-share .said-of").removeprefix("Copied: ")
    ada.shoot("chat-share")
    stranger = visit(house.url)
    stranger.page.goto(address)
    assert "You said: share this" in stranger.page.inner_text("main")
    stranger.shoot("shared")
    with page.expect_download() as download:
        page.click("[data-export=markdown]")
    assert "share this" in download.value.path().read_text()
    page.click("#dialog-share .shares button")
    page.wait_for_selector("#dialog-share .shares li", state="detached")
    assert stranger.page.goto(address).status == 404
    assert "leads nowhere" in stranger.page.inner_text("main")


def test_a_draft_survives_a_reload_and_goes_when_it_is_sent(ada):
    page = ada.page
    page.locator("#text textarea").press_sequentially("half a thought")
    page.reload()
    page.wait_for_function("document.querySelector('#text textarea')?.value === 'half a thought'")
    page.wait_for_selector("#hearth #account form")  # the draft is there before the page can send
    page.keyboard.press("Enter") if page.locator("#text textarea").evaluate("e => e === document.activeElement") else page.click("#send")
    page.wait_for_selector(".message.theirs >> text=You said: half a thought")
    page.click("#new")
    page.wait_for_selector(".empty")
    page.reload()
    page.wait_for_selector(".empty")
    page.wait_for_timeout(300)
    assert page.input_value("#text textarea") == ""


def test_the_keyboard_does_what_its_sheet_says(ada):
    page = ada.page
    ada.ask("first")
    page.locator("#scroll").click()
    page.keyboard.press("?")
    page.wait_for_selector("#dialog-help[open] >> text=stop the answer")
    ada.shoot("chat-help")
    page.keyboard.press("Escape")
    page.wait_for_selector("#dialog-help", state="hidden")
    page.locator("#scroll").click()
    page.keyboard.press("/")
    page.keyboard.type("[tokens=2000 rate=40]")
    page.keyboard.press("Enter")
    page.wait_for_selector(".growing .text >> text=t10:")
    page.keyboard.press("Escape")
    page.wait_for_selector(".trouble >> text=You stopped this answer")
    page.keyboard.press("Control+k")
    page.keyboard.type("first")
    page.wait_for_selector("#listing mark >> text=first")
    page.keyboard.press("Control+Shift+O")
    page.wait_for_selector(".empty")


def test_a_pinned_conversation_is_first_and_says_so(ada):
    page = ada.page
    for text in ("pin the older", "the newer"):
        page.click("#new")
        page.wait_for_selector(".empty")
        ada.ask(text)
    row = page.locator("#listing li", has_text="pin the older")
    page.wait_for_selector("#listing li[aria-current] >> text=the newer")
    page.mouse.move(600, 400)
    row.hover()
    row.locator("[data-act=pin]").click()
    page.wait_for_selector("#listing li[data-pinned] >> text=pin the older")
    assert "pin the older" in page.locator("#listing li").first.inner_text()


def test_where_the_time_went_is_unfolded_under_the_answer(ada, tmp_path):
    page = ada.page
    guide = tmp_path / "guide.md"
    guide.write_text("# Backups\n\nBackups are kept for 35 days.\n")
    ada.upload(guide)
    page.wait_for_selector("#collections .token")
    page.wait_for_selector("#jobs .job.done")
    ada.ask("How long are backups kept?")
    last(page).locator("summary").click()
    names = last(page).locator(".waterfall th").all_inner_texts()
    assert names[:2] == ["question understood", "by meaning"]
    assert names[-1] == "writing"
    ada.shoot("chat-waterfall")


def test_a_diagram_is_drawn_as_a_picture_and_a_broken_one_stays_text(ada):
    page = ada.page
    ada.ask('so\n```mermaid\ngraph LR; A[Upload] --> B{Readable?}; B -->|yes| C[Chunks]; B -->|no| D["<img src=x onerror=alert(1)>"]\n```\n')
    page.wait_for_selector(".drawn-diagram img")
    assert page.evaluate("document.querySelector('.drawn-diagram img').naturalWidth") > 50
    ada.shoot("chat-diagram")
    ada.ask("so\n```mermaid\ngraph LR; A -->\n```\n")
    page.wait_for_timeout(800)
    assert "graph LR; A -->" in last(page).locator("pre").inner_text()
    assert page.locator("body > [id^=ddrawing]").count() == 0


def test_a_full_list_long_text_and_other_scripts_stay_readable_in_light_dark_and_on_a_phone(ada, visit, house):
    titles = (
        "Wie lange werden Sicherungskopien aufbewahrt, und wer darf sie zurückspielen?",
        "バックアップはどのくらい保存されますか?",
        "כמה זמן נשמרים הגיבויים?",
    )
    text = "# Überschrift\n\n" + "\n\n".join(f"{n}. {t} " + "Ein längerer Absatz mit `code` und **Betonung**. " * 4 for n, t in enumerate(titles))
    table = (
        "\n\n| Gerät | Port | ラベル |\n|---|---:|---|\n"
        + "\n".join(f"| Drucker {n} | {9100 + n} | 印刷機 |" for n in range(6))
        + "\n\n```python\nprint('grüße')\n```\n"
    )
    conversation = new_id()
    for title in titles:
        house.ask(title)
    house.ask(titles[0] + "\n" + text + table, conversation_id=conversation)
    ada.page.goto(f"{house.url}/chat?c={conversation}")
    ada.page.wait_for_selector(".message.theirs table")
    ada.shoot("chat-languages")
    phone = visit(house.url, viewport={"width": 390, "height": 844}, device_scale_factor=2, has_touch=True, is_mobile=True, color_scheme="dark")
    phone.sign_in(house.url)
    phone.page.goto(f"{house.url}/chat?c={conversation}")
    phone.page.wait_for_selector(".message.theirs table")
    phone.shoot("phone-languages-dark")
    assert phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    phone.page.click("[data-dialog=settings]")
    phone.page.wait_for_selector("#dialog-settings[open]")
    phone.shoot("phone-settings-dark")
    assert phone.problems == []
