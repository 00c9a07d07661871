"""The retrieval lab and its golden sets."""

import json

import httpx
import pytest
from echo_house import ask, finished, taken_in

from core.audit import Act
from ui.gate import COOKIE
from ui.server import LatePage, web

GUIDE = b"# Backups\n\nBackups are kept for 35 days.\n\n# Keys\n\nThe key of the shed hangs behind the door.\n\n# Tea\n\nTea is made at four.\n"


def tables(page, column):
    return [table.value.to_dict("records") for table in page.dataframe if column in table.value.columns]


def said(page):
    parts = [*page.caption, *page.text, *page.info, *page.warning, *page.success, *page.error, *page.code, *page.subheader]
    return "\n".join(str(part.value) for part in parts)


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
    assert console.call(console.app.audit.entries, act=Act.READ).items[0].subject == "documents of bob"


def test_a_past_answer_is_searched_again_beside_what_it_found(console, answer):
    page = console.page("lab", message=answer.id)
    assert len(tables(page, "Fused")) == 3
    page.button(key="keep-answer").click().run()
    (row,) = tables(console.page("golden"), "Question")[0]
    assert (row["Question"], row["From"]) == ("Where is the key of the shed?", "a good answer")
    assert row["Right passages"] == len(answer.metadata.rag_sources) > 0


def test_a_golden_row_is_kept_exported_and_deleted_with_a_receipt(console, answer):
    page = console.page("lab", lab_of="bob", lab_q="Where is the key of the shed?")
    page.multiselect(key="right").set_value([tables(page, "Fused")[0][0]["Chunk"]])
    next(b for b in page.button if b.label == "Keep as a golden row").click().run()

    async def download():
        transport = httpx.ASGITransport(web(console.app, LatePage(wanted=False)))
        async with httpx.AsyncClient(transport=transport, base_url="http://hearth.test", cookies={COOKIE: console.tokens["ada"]}) as client:
            return await client.get("/admin/files/golden/first.jsonl")

    (kept,) = [json.loads(line) for line in console.call(download).text.splitlines()]
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
