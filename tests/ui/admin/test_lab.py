"""The retrieval lab and its golden sets."""

import json

import pytest
from echo_house import ask, finished, taken_in
from seen import said, tables

from core.audit import Act
from core.errors import BadInput, NotFound

GUIDE = b"# Backups\n\nBackups are kept for 35 days.\n\n# Keys\n\nThe key of the shed hangs behind the door.\n\n# Tea\n\nTea is made at four.\n"


async def _asked(app):
    who = await app.users.by_key((await app.users.make_key(await app.users.named("bob")))[1])
    await taken_in(app, who, "guide.md", GUIDE)
    answer = await finished(await app.chat.send(who, ask("Where is the key of the shed?", collections=("lab",))))
    await app.chat.judge(who.user, answer.id, "good", "")
    return answer


@pytest.fixture
def answer(console):
    return console.call(_asked, console.app)


def test_the_lab_says_what_to_do_until_something_is_asked(console):
    assert "Nobody is chosen." in said(console.page("lab"))
    assert "There is no user named" in said(console.page("lab", lab_of="nobody"))
    assert "ada has no collection." in said(console.page("lab", lab_of="ada"))


def test_two_settings_are_shown_side_by_side_with_every_stage_and_the_prompt(console, answer):
    page = console.page("lab", lab_of="bob", lab_q="Where is the key of the shed?", a_k="3", b_rerank="false")
    one, other = tables(page, "Fused")
    assert any("shed" in row["Passage"] for row in one)
    assert [row["Final"] for row in one] == list(range(1, len(one) + 1))
    assert one[0]["Reranked"] == 1
    assert all(row["Moved"] == "" for row in other), "it was not reranked"
    assert "Where is the key of the shed?" in said(page)
    assert any("dense" in c.value and "ms" in c.value for c in page.caption)
    assert [subject for subject, _ in console.noted(Act.READ)] == ["documents of bob"], "both sides, and one look"
    page.text_input(key="golden_set").set_value("another").run()
    assert len(console.noted(Act.READ)) == 1, "what is clicked beside it searches nothing again"


def test_a_past_answer_is_searched_again_beside_what_it_found(console, answer):
    page = console.page("lab", message=answer.id)
    assert len(tables(page, "Fused")) == 3
    page.button(key="keep-answer").click().run()
    (row,) = tables(console.page("golden"), "Question")[0]
    assert (row["Question"], row["From"]) == ("Where is the key of the shed?", "a good answer")
    assert row["Right passages"] == len(answer.metadata.rag_sources) > 0
    page.button(key="keep-answer").click().run()
    assert "That answer is in this golden set already." in said(page)
    assert [subject for subject, _ in console.noted(Act.MADE)] == [f"golden row {row['Id']}"]


def test_a_follow_up_is_searched_as_it_was_and_what_it_found_is_named_whatever_is_searched_now(console, answer):
    async def follow_up():
        who = await console.app.users.by_key((await console.app.users.make_key(await console.app.users.named("bob")))[1])
        await taken_in(console.app, who, "other.md", b"# Other\n\nNothing of that.\n", "other")
        return await finished(await console.app.chat.send(who, ask("And where is it?", answer.conversation_id, collections=("lab",))))

    later = console.call(follow_up)
    past = console.call(console.app.console.lab.past, console.admin, later.id)
    assert past.searched != past.question == "And where is it?"
    page = console.page("lab", message=later.id)
    assert page.text_input(key="lab_q").value == past.searched
    page = console.page("lab", message=later.id, lab_in="other")
    assert not any(row["Passage"] == "(deleted since)" for row in tables(page, "Fused")[-1])


def test_a_question_out_of_an_answer_goes_with_its_conversation(console, answer):
    lab = console.app.console.lab
    console.call(lab.keep_answer, console.admin, "verdicts", answer.id)
    console.call(lab.keep, console.admin, "verdicts", "bob", "Where is the key of the shed?", ["lab"], [], message_id=answer.id)
    console.call(lab.keep, console.admin, "verdicts", "bob", "An admin's own question", ["lab"], [])
    receipt = console.call(console.app.console.reading.delete, console.admin, answer.conversation_id)
    assert (receipt.removed["golden rows"], receipt.complete) == (2, True)
    assert [row.question for row in console.call(lab.golden_rows, console.admin, "verdicts").items] == ["An admin's own question"]


def test_a_set_is_opened_by_its_name_from_its_first_page(console, answer):
    lab = console.app.console.lab
    for name in ("a", "b"):
        console.call(lab.keep, console.admin, name, "bob", f"One of {name}", ["lab"], [])
    page = console.page("golden", set="b", golden="zzzz")
    assert page.selectbox(key="set").value == "b"
    page.selectbox(key="set").set_value("a").run()
    assert [row["Question"] for row in tables(page, "Question")[0]] == ["One of a"]


@pytest.mark.parametrize(
    ("name", "collections", "chunks"), [("a/b", ["lab"], []), ("", ["lab"], []), ("a", ["nowhere"], []), ("a", ["lab"], ["nonsense"])], ids=str
)
def test_a_row_that_nobody_could_use_is_not_kept(console, answer, name, collections, chunks):
    with pytest.raises((BadInput, NotFound)):
        console.call(console.app.console.lab.keep, console.admin, name, "bob", "Where?", collections, chunks)
    assert console.call(console.app.console.lab.golden_sets, console.admin) == {}


def test_a_golden_row_is_kept_exported_and_deleted_with_a_receipt(console, answer):
    page = console.page("lab", lab_of="bob", lab_q="Where is the key of the shed?")
    page.multiselect(key="right").set_value([tables(page, "Fused")[0][0]["Chunk"]])
    next(b for b in page.button if b.label == "Keep as a golden row").click().run()

    (kept,) = [json.loads(line) for line in console.download("golden/first.jsonl").text.splitlines()]
    assert (kept["question"], len(kept["chunk_ids"]), kept["refuse"]) == ("Where is the key of the shed?", 1, False)
    page = console.page("golden")
    page.multiselect(key="gone").set_value([kept["id"]]).run()
    page.button(key="delete-golden").click().run()
    page.button(key="delete-golden-yes").click().run()
    assert "0 left in every store" in said(page)
    assert "There is no golden set." in said(page)


def test_what_makes_no_sense_is_not_kept(console, answer):
    page = console.page("lab", lab_of="bob", lab_q="Where is the key of the shed?")
    page.multiselect(key="right").set_value([tables(page, "Fused")[0][0]["Chunk"]])
    page.toggle(key="refuse").set_value(True)
    next(b for b in page.button if b.label == "Keep as a golden row").click().run()
    assert "A question that should be refused has no right passage." in said(page)
