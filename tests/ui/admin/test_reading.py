"""The pages of conversations and events."""

import json
import time
from datetime import UTC, datetime

import pytest
from echo_house import ask, finished, taken_in
from seen import rows, said

from core.audit import Act
from core.events import Event, EventType
from core.ids import new_id

HOSTILE = "<script>alert(1)</script> **bold** `$x$`"


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


def test_conversations_are_listed_without_their_words_and_found_by_a_search_that_is_noted(console, answer):
    page = console.page("conversations")
    (row,) = rows(page, "Messages")
    assert (row["Of"], row["Messages"], row["Title"]) == ("bob", 2, "shown by a search")
    assert console.noted(Act.READ) == []
    page.text_input(key="find").set_value("shed").run()
    assert rows(page, "Messages")[0]["Title"].startswith("Where is the key of the shed?")
    assert console.noted(Act.READ) == [("conversations", {"search": "shed"})]
    page.text_input(key="find").set_value("nobody said that").run()
    assert "There is no conversation like that." in said(page)
    page.text_input(key="talker").set_value("nobody").run()
    assert "There is no user named" in said(page)


def test_a_conversation_is_opened_with_its_figures_sources_verdict_and_stages_and_that_is_noted(console, answer):
    page = console.page("conversations", talk=answer.conversation_id)
    assert HOSTILE in said(page)
    assert "complete" in said(page)
    assert "👍 quick" in said(page)
    assert {r["Stage"] for r in rows(page, "Takes ms")} >= {"embed", "dense", "lexical", "rerank", "first_token"}
    assert console.noted(Act.READ) == [(f"conversation {answer.conversation_id}", {"of": "bob"})]
    page.button(key="pin").click().run()
    assert page.button(key="pin").label == "Unpin"
    page.button(key="delete-talk").click().run()
    page.button(key="delete-talk-yes").click().run()
    assert "0 left in every store" in said(page)
    assert console.noted(Act.DELETED) == [(f"conversation {answer.conversation_id}", {"of": "bob"})]


def test_a_conversation_is_downloaded_by_admins_alone(console, answer):
    path = f"conversations/{answer.conversation_id}"
    assert HOSTILE in console.download(f"{path}.md", "ada").text
    assert len(json.loads(console.download(f"{path}.json", "ada").content)["messages"]) == 2
    assert console.download(f"{path}.md", "bob").status_code == 404
    assert len(console.noted(Act.EXPORTED)) == 2


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
    assert "isn't said" in said(console.page("events", turn=answer.id)), "the whole log is not read for it"


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
    assert console.noted(Act.CHANGED) == [("dead letters", {"tried_again": 1})]
