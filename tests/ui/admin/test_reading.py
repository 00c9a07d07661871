"""The pages of conversations and events."""

import json
import time
from datetime import UTC, datetime

import httpx
import pytest
from echo_house import ask, finished, taken_in

from core.audit import Act
from core.events import Event, EventType
from core.ids import new_id
from ui.gate import COOKIE
from ui.server import LatePage, web

HOSTILE = "<script>alert(1)</script> **bold** `$x$`"


def rows(page, column):
    return next(table.value.to_dict("records") for table in page.dataframe if column in table.value.columns)


def said(page):
    parts = [*page.caption, *page.text, *page.info, *page.warning, *page.success, *page.error, *page.subheader]
    return "\n".join(str(part.value) for part in parts)


async def _talked(app, text):
    who = await app.users.by_key((await app.users.make_key(await app.users.named("bob")))[1])
    await taken_in(app, who, "guide.md", b"# Keys\n\nThe key of the shed hangs behind the door.\n")
    answer = await finished(await app.chat.send(who, ask(text, collections=("lab",))))
    await app.chat.judge(who.user, answer.id, "good", "quick")
    return answer


@pytest.fixture
def answer(console):
    """What Bob was told, out of a document."""
    return console.call(_talked, console.app, f"Where is the key of the shed? {HOSTILE}")


def noted(console, act):
    return [(e.subject, dict(e.detail)) for e in console.call(console.app.audit.entries, act=act).items]


def test_conversations_are_listed_without_their_words_and_found_by_a_search_that_is_noted(console, answer):
    page = console.page("conversations")
    (row,) = rows(page, "Messages")
    assert (row["Of"], row["Messages"], row["Title"]) == ("bob", 2, "shown by a search")
    assert noted(console, Act.READ) == []
    page.text_input(key="find").set_value("shed").run()
    assert rows(page, "Messages")[0]["Title"].startswith("Where is the key of the shed?")
    assert noted(console, Act.READ) == [("conversations", {"search": "shed"})]
    page.text_input(key="find").set_value("nobody said that").run()
    assert "There is no conversation like that." in said(page)
    page.text_input(key="talker").set_value("nobody").run()
    assert "There is no user named" in said(page)


def test_a_conversation_is_opened_with_its_figures_sources_verdict_and_stages_and_that_is_noted(console, answer):
    page = console.page("conversations", talk=answer.conversation_id)
    assert HOSTILE in said(page)
    assert "complete" in said(page)
    assert "quick" in said(page)
    assert {r["Stage"] for r in rows(page, "Takes ms")} >= {"embed", "dense", "lexical", "rerank", "first_token"}
    assert noted(console, Act.READ) == [(f"conversation {answer.conversation_id}", {"of": "bob"})]
    page.button(key="pin").click().run()
    assert page.button(key="pin").label == "Unpin"
    page.button(key="delete-talk").click().run()
    page.button(key="delete-talk-yes").click().run()
    assert "0 left in every store" in said(page)
    assert noted(console, Act.DELETED) == [(f"conversation {answer.conversation_id}", {"of": "bob"})]


def test_a_conversation_is_downloaded_by_admins_alone(console, answer):
    async def download(name, form):
        transport = httpx.ASGITransport(web(console.app, LatePage(wanted=False)))
        async with httpx.AsyncClient(transport=transport, base_url="http://hearth.test", cookies={COOKIE: console.tokens[name]}) as client:
            return await client.get(f"/admin/files/conversations/{answer.conversation_id}.{form}")

    assert HOSTILE in console.call(download, "ada", "md").text
    assert len(json.loads(console.call(download, "ada", "json").content)["messages"]) == 2
    assert console.call(download, "bob", "md").status_code == 404
    assert len(noted(console, Act.EXPORTED)) == 2


def test_events_are_filtered_and_a_turn_is_replayed(console, answer):
    page = console.page("events")
    assert {r["Type"] for r in rows(page, "Seq")} >= {"UserLogin", "MessageReceived", "ResponseGenerated"}
    page.selectbox(key="type").set_value(EventType.RESPONSE_GENERATED).run()
    assert [r["Type"] for r in rows(page, "Seq")] == ["ResponseGenerated"]
    page.text_input(key="by").set_value("ada").run()
    assert "Nothing like that has happened." in said(page)
    turn = rows(console.page("events", of=answer.conversation_id, turn=answer.id), "Seq")
    assert [r["Type"] for r in turn][-2:] == ["ResponseGenerated", "MessageStored"]
    assert turn[0]["When"] == "+0.0 ms"


def test_an_event_that_can_not_be_recorded_holds_up_no_other_and_is_tried_again_from_the_page(console):
    bad = Event(new_id(), EventType.MESSAGE_STORED, "nobody", new_id(), datetime.now(UTC), {"id": new_id(), "role": "user", "content": "for nobody"})
    good = Event(new_id(), EventType.MESSAGE_STORED, console.ada.id, new_id(), datetime.now(UTC), {"id": new_id(), "role": "user", "content": "from outside"})
    console.call(console.app.events.publish, [bad, good])
    for _ in range(100):
        if console.call(console.app.events.dead).items:
            break
        time.sleep(0.1)
    assert console.call(console.app.chat.thread, console.ada, good.aggregate_id).messages[0].content == "from outside"
    page = console.page("events")
    (letter,) = rows(page, "Given up")
    assert letter["Attempts"] == 5
    assert "IntegrityError" in letter["Error"]
    page.button(key="retry").click().run()
    assert noted(console, Act.CHANGED) == [("dead letters", {"tried_again": 1})]
