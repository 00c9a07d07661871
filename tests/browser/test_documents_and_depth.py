"""Documents from the page by every way in, and a question asked again with another depth, in a real browser."""

import pytest

pytestmark = pytest.mark.timeout(120)


def test_a_pasted_text_goes_into_the_chosen_collection_and_is_asked(ada):
    page = ada.page
    page.click("#pick")
    page.fill("#dialog-add [name=collection]", "notes")
    page.fill("#dialog-add [name=title]", "What the caretaker said")
    page.fill("#dialog-add [name=text]", "# Lamps\n\nThe lamp in the hall is changed every second Tuesday.\n")
    ada.shoot("chat-add")
    page.click("#dialog-add [data-form=text] footer button")
    page.wait_for_selector("#dialog-add", state="hidden")
    page.wait_for_selector("#jobs .job.done >> text=What the caretaker said")
    page.wait_for_selector("#collections .token >> text=notes (1)")
    ada.ask("When is the lamp in the hall changed?")
    page.locator(".message.theirs .chip").first.click()
    page.wait_for_selector("#source >> text=every second Tuesday")
    assert ada.problems == []


def test_a_page_by_its_address_is_not_offered_where_it_is_off_and_says_how_to_switch_it_on(ada):
    ada.page.click("#pick")
    ada.page.wait_for_selector("#dialog-add >> text=HEARTH_URL_INGEST=true")
    assert ada.page.locator("#dialog-add [name=url]").count() == 0


def test_files_chosen_in_the_dialog_go_into_its_collection_which_is_remembered(ada, tmp_path):
    page, guide = ada.page, tmp_path / "guide.md"
    guide.write_text("# Keys\n\nThe key of the shed hangs behind the door.\n")
    page.click("#pick")
    page.fill("#dialog-add [name=collection]", "handbooks")
    with page.expect_file_chooser() as chooser:
        page.click("#dialog-add [data-add=files]")
    chooser.value.set_files(str(guide))
    page.wait_for_selector("#collections .token >> text=handbooks (1)")
    page.click("#pick")
    assert page.input_value("#dialog-add [name=collection]") == "handbooks"
    assert ada.problems == []


def test_a_question_is_asked_again_with_another_depth_beside_the_first_answer(ada, house):
    page = ada.page
    for name, text in (("a.md", "# Backups\n\nBackups are kept for 35 days.\n"), ("b.md", "# Tapes\n\nBackups on tape are kept for ten years.\n")):
        house.job_done(house.upload(name, text.encode(), name.partition(".")[0])[1]["id"])
    page.reload()
    page.wait_for_selector("#collections .token >> text=b (1)")
    ada.ask("How long are backups kept?")
    page.locator(".message.theirs .chip").first.click()
    page.wait_for_selector("#source .scores")
    ranks = page.inner_text("#source .scores")
    assert all(stage in ranks for stage in ("by meaning", "by words", "fused", "reranked"))
    page.click("#source [data-dialog=again]")
    page.wait_for_selector("#dialog-again .checks input")
    assert page.locator("#dialog-again .checks input:checked").count() >= 2
    for box in page.locator("#dialog-again .checks input").all():
        box.set_checked(box.get_attribute("value") == "b")
    page.fill("#dialog-again [name=top_k]", "1")
    page.uncheck("#dialog-again [name=rerank]")
    ada.shoot("chat-again")
    page.click("#dialog-again .primary")
    page.wait_for_selector(".message.theirs:not(.growing) .branch >> text=2/2")
    assert page.locator(".message.theirs .chip").count() == 1
    assert "Tapes" in page.locator(".message.theirs .chip").inner_text()
    page.locator(".message.theirs .chip").click()
    page.wait_for_selector("#source >> text=from 1 collection")
    assert "reranked\t–" in page.inner_text("#source .scores")
    page.click(".message.theirs [aria-label='The one before']")
    page.wait_for_selector(".message.theirs .branch >> text=1/2")
    assert page.locator(".message.theirs .chip").count() > 1
    assert ada.problems == []


def test_a_click_on_a_tag_lists_only_what_carries_it_until_the_next_click(ada, house):
    page, ids = ada.page, {}
    for title in ("the door", "the window"):
        ids[title] = house.ask(title)[1]["hearth"]["conversation_id"]
    house.request("PATCH", f"/v1/conversations/{ids['the door']}", {"tags": ["lab/doors"]})
    page.reload()
    page.click("#listing .tags >> text=lab/doors")
    page.wait_for_function("document.querySelectorAll('#listing .open').length === 1")
    assert "the door" in page.inner_text("#listing .list")
    ada.shoot("chat-tag")
    page.click("#listing .open")
    page.wait_for_selector(".message.mine >> text=the door")
    ada.ask("and its hinge?")
    assert page.locator("#listing .open").count() == 1
    page.click("#listing .chosen button")
    page.wait_for_selector("#listing .open >> text=the window")
    assert ada.problems == []


def test_what_was_deleted_is_said_in_a_sentence(ada):
    page = ada.page
    ada.ask("delete me")
    page.once("dialog", lambda d: d.accept())
    page.locator("#listing li", has_text="delete me").locator("[data-act=delete]").click()
    page.wait_for_selector("#notices >> text=Nothing of it is left.")
    ada.shoot("chat-deleted")
