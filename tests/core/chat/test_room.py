import asyncio
import time
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest
from echo_house import ask, echo_settings, finished, taken_in

from core.app import open_app
from core.chat import room
from core.chat.model import MessageContent, MessageStatus
from core.errors import AlreadyThere, BadInput, IllegalStep, NotFound
from core.events import CHAT_ORDER, EventType
from core.inference import TextDelta

pytestmark = pytest.mark.anyio
GUIDE = "# Lab handbook\n\n## Backups\nBackups run every night at 02:30 and are kept for 35 days.\n\n## Coffee\nThe machine is descaled on Fridays."


async def test_an_answer_streams_and_is_stored(app, ada):
    turn = await app.chat.send(ada, ask("hello there"))
    pieces = [u.text async for u in turn.follow() if isinstance(u, TextDelta)]
    assert len(pieces) > 1
    stored = (await app.chat.thread(ada.user, turn.conversation_id)).messages
    assert [m.content for m in stored] == ["hello there", "".join(pieces)]
    assert stored[1].status is MessageStatus.COMPLETE
    assert stored[1].metadata.tokens_used == len(pieces)


async def test_an_answer_begins_until_its_first_word_or_as_long_as_that_may_be_due(app, ada, monkeypatch):
    assert not app.chat.beginning
    monkeypatch.setattr(room, "FIRST_WORD", timedelta(seconds=20))
    turn = await app.chat.send(ada, ask("[tokens=300 rate=50 ttft=0.1]"))
    while not turn.chars:
        assert app.chat.beginning
        await asyncio.sleep(0)
    assert not app.chat.beginning
    await app.chat.stop(ada.user, turn.answer_id)
    slow = await app.chat.send(ada, ask("[tokens=3 rate=50 ttft=5]"))
    assert app.chat.beginning
    monkeypatch.undo()
    await asyncio.sleep(room.FIRST_WORD.total_seconds())
    assert not app.chat.beginning, "it is the model that is waited for"
    await app.chat.stop(ada.user, slow.answer_id)


async def test_the_same_message_sent_three_times_is_one_turn(app, ada):
    request = ask("[tokens=20 rate=200]")
    turns = await asyncio.gather(*(app.chat.send(ada, request) for _ in range(3)))
    answers = {(await finished(t)).content for t in turns}
    assert len(answers) == 1
    assert (await finished(await app.chat.send(ada, request))).content in answers
    assert len((await app.chat.thread(ada.user, request.conversation_id)).messages) == 2


async def test_a_draft_becomes_the_answer_when_its_message_is_sent(app, ada):
    first = await app.chat.send(ada, ask("hello there"))
    await finished(first)
    request = ask("and now?", first.conversation_id)
    draft = await app.chat.draft(ada, request)
    while draft.text != "You said: and now?":
        await asyncio.sleep(0.01)
    assert len((await app.chat.thread(ada.user, first.conversation_id)).messages) == 2, "nothing is stored before it is sent"
    assert await app.chat.send(ada, request) is draft
    answer = await finished(draft)
    stored = (await app.chat.thread(ada.user, first.conversation_id)).messages
    assert [m.content for m in stored] == ["hello there", "You said: hello there", "and now?", "You said: and now?"]
    assert (answer.parent_id, answer.reply_to) == (request.message_id, request.message_id)
    assert stored[3] == answer
    assert answer.created_at > stored[2].created_at
    happened = [r.event for r in await app.events.read(aggregate_id=first.conversation_id) if r.event.data.get("message_id") in (request.message_id, answer.id)]
    assert [e.type for e in happened] == [kind for kind in CHAT_ORDER[2:] if kind is not EventType.RAG_QUERY_EXECUTED]
    assert [e.at for e in happened] == sorted(e.at for e in happened)


async def test_of_a_draft_that_is_dropped_or_whose_message_changed_nothing_is_kept(app, ada):
    request = ask("[tokens=2000 rate=100]")
    draft = await app.chat.draft(ada, request)
    app.chat.drop_draft(draft.answer_id)
    assert (await app.chat.conversations(ada.user)).items == []
    again = ask("one thing", request.conversation_id, request.message_id)
    await app.chat.draft(ada, again)
    turn = await app.chat.send(ada, ask("another thing", request.conversation_id, request.message_id))
    assert (await finished(turn)).content == "You said: another thing"


async def test_a_draft_in_somebody_elses_conversation_is_never_sent(app, ada, bob):
    theirs = await app.chat.send(bob, ask("a secret"))
    await finished(theirs)
    request = ask("what was said?", theirs.conversation_id)
    draft = await app.chat.draft(ada, request)
    with pytest.raises(NotFound):
        await app.chat.send(ada, request)
    app.chat.drop_draft(draft.answer_id)
    assert "secret" not in draft.text


async def test_a_used_id_with_another_text_is_refused(app, ada):
    request = ask("one")
    await finished(await app.chat.send(ada, request))
    with pytest.raises(AlreadyThere):
        await app.chat.send(ada, ask("two", request.conversation_id, request.message_id))


async def test_stop_keeps_the_text_and_takes_less_than_200_ms(app, ada):
    turn = await app.chat.send(ada, ask("[tokens=2000 rate=100]"))
    async with aclosing(turn.follow()) as updates:
        async for update in updates:
            if isinstance(update, TextDelta):
                break
    begun = time.monotonic()
    await app.chat.stop(ada.user, turn.answer_id)
    answer = await finished(turn)
    assert time.monotonic() - begun < 0.2
    assert answer.status is MessageStatus.STOPPED
    assert answer.content.startswith("t0:")


async def test_a_disabled_users_open_answers_end_within_5_s_and_others_go_on(app, ada, bob):
    turn, other = await app.chat.send(ada, ask("[tokens=2000 rate=50]")), await app.chat.send(bob, ask("[tokens=2000 rate=50]"))
    await app.users.add("other", None, admin=True)
    await app.users.change(ada.user.id, disabled=True)
    async with asyncio.timeout(5):
        answer = await finished(turn)
    assert answer.status is MessageStatus.STOPPED
    assert answer.content
    assert not other.finished
    await app.chat.stop(bob.user, other.answer_id)


async def test_nobody_stops_or_reads_somebody_elses_answer(app, ada, bob):
    turn = await app.chat.send(ada, ask("[tokens=50 rate=100]"))
    with pytest.raises(NotFound):
        await app.chat.stop(bob.user, turn.answer_id)
    assert await app.chat.open_turn(bob.user, turn.answer_id) is None
    with pytest.raises(NotFound):
        await app.chat.send(bob, ask("mine", turn.conversation_id))
    assert (await finished(turn)).status is MessageStatus.COMPLETE


async def test_an_answer_nobody_follows_is_stopped_but_a_detached_one_is_not(app, ada):
    abandoned = await app.chat.send(ada, ask("[tokens=3000 rate=100]"))
    async with aclosing(app.chat.follow_or_stop(abandoned)) as updates:
        await anext(updates)
    kept = await app.chat.send(ada, ask("[tokens=250 rate=100]"), detached=True)
    answer = await finished(kept)
    assert answer.status is MessageStatus.COMPLETE
    assert (await app.chat.thread(ada.user, abandoned.conversation_id)).messages[-1].status is MessageStatus.STOPPED


async def test_closing_the_house_interrupts_and_the_answer_can_be_continued(tmp_path, echo_server):
    settings = echo_settings(tmp_path)
    async with open_app(settings, local=echo_server, serving=True) as house:
        await house.users.add("ada", "correct horse battery")
        ada = (await house.users.sign_in("ada", "correct horse battery", ""))[0]
        turn = await house.chat.send(ada, ask("[tokens=5000 rate=200]"), detached=True)
        await asyncio.sleep(0.3)
    async with open_app(settings, local=echo_server, serving=True) as house:
        broken = (await house.chat.thread(ada.user, turn.conversation_id)).messages[-1]
        assert broken.status is MessageStatus.INTERRUPTED
        assert broken.content.startswith("t0:")
        again = await house.chat.go_on(ada, broken.id)
        await house.chat.stop(ada.user, again.answer_id)
        await finished(again)
        assert len((await house.chat.thread(ada.user, turn.conversation_id)).messages) == 3
        assert (await house.chat.thread(ada.user, turn.conversation_id)).messages[1].content == broken.content


async def test_a_complete_answer_is_not_continued(app, ada):
    turn = await app.chat.send(ada, ask("done"))
    await finished(turn)
    with pytest.raises(IllegalStep):
        await app.chat.go_on(ada, turn.answer_id)


async def test_the_events_of_a_turn_come_in_their_order_and_retrieval_before_the_answer(app, ada):
    await taken_in(app, ada, "guide.md", GUIDE)
    turn = await app.chat.send(ada, ask("How long are backups kept?", collections=("lab",)))
    await finished(turn)
    mine = [e.event.type for e in await app.events.read(user_id=ada.user.id)]
    assert mine == list(CHAT_ORDER)
    without = await app.chat.send(ada, ask("hello"))
    await finished(without)
    assert EventType.RAG_QUERY_EXECUTED not in [e.event.type for e in await app.events.read(aggregate_id=without.conversation_id)]


async def test_an_answer_from_documents_names_its_sources_and_what_was_searched(app, ada):
    await taken_in(app, ada, "guide.md", GUIDE)
    answer = await finished(await app.chat.send(ada, ask("How long are backups kept?", collections=("lab",))))
    first = answer.metadata.sources[0]
    assert "35 days" in first.passage
    assert first.verified
    assert first.heading == "Lab handbook › Backups"
    assert "[1]" in answer.content
    trace = answer.metadata.retrieval
    assert trace["considered"] == 2
    assert {"embed", "dense", "lexical", "fuse", "load", "rerank", "total"} <= set(trace["ms"])
    assert any(c["dense_rank"] == 1 for c in trace["candidates"])


async def test_the_small_model_quotes_word_for_word_or_says_that_nothing_fits(tmp_path, extractive_server):
    async with open_app(echo_settings(tmp_path, llm_model="echo-extractive"), local=extractive_server, serving=True) as house:
        await house.users.add("ada", "correct horse battery")
        ada = (await house.users.sign_in("ada", "correct horse battery", ""))[0]
        await taken_in(house, ada, "guide.md", GUIDE)
        good = await finished(await house.chat.send(ada, ask("How long are backups kept?", collections=("lab",))))
        assert good.content == "> Backups run every night at 02:30 and are kept for 35 days. [1]"
        bad = await finished(await house.chat.send(ada, ask("Who painted the Mona Lisa?", collections=("lab",))))
        assert bad.content.startswith("Nothing relevant found in 2 passages in lab (best score 0.")
        assert bad.metadata.sources == ()


async def test_a_missing_collection_is_said_in_the_answer_and_the_message_is_kept(app, ada):
    answer = await finished(await app.chat.send(ada, ask("anything", collections=("nowhere",))))
    assert answer.status is MessageStatus.FAILED
    assert "nowhere" in answer.metadata.error


async def test_an_unreachable_model_fails_one_answer_with_a_sentence_and_keeps_the_question(tmp_path):
    settings = echo_settings(tmp_path, llm_url="http://127.0.0.1:9/v1#none", embeddings_url="http://127.0.0.1:9/v1#none", reranker_url="off")
    async with open_app(settings, serving=True) as house:
        await house.users.add("ada", "correct horse battery")
        ada = (await house.users.sign_in("ada", "correct horse battery", ""))[0]
        turn = await house.chat.send(ada, ask("hello"))
        answer = await finished(turn)
        assert answer.status is MessageStatus.FAILED
        assert "can't be reached" in answer.metadata.error
        assert (await house.chat.thread(ada.user, turn.conversation_id)).messages[0].content == "hello"


@pytest.mark.parametrize(("field", "value"), [("conversation_id", "not-a-uuid"), ("message_id", "")])
async def test_ids_must_be_uuids(field, value):
    with pytest.raises(BadInput):
        ask("x", **{field: value or "x"})


async def test_an_empty_or_huge_message_is_refused():
    with pytest.raises(BadInput):
        ask("   ")
    with pytest.raises(BadInput, match="at most 256 KB"):
        MessageContent("x" * 300_000)


async def test_deleting_a_conversation_leaves_nothing_of_it(app, ada):
    turn = await app.chat.send(ada, ask("[tokens=500 rate=100]"), detached=True)
    receipt = await app.chat.delete(ada.user, turn.conversation_id)
    assert receipt.complete
    assert await app.events.read(aggregate_id=turn.conversation_id) == []


async def test_messages_past_thirty_days_and_sessions_past_seven_are_swept(tmp_path, echo_server):
    clock = [datetime(2026, 1, 1, tzinfo=UTC)]
    async with open_app(echo_settings(tmp_path), local=echo_server, serving=True, clock=lambda: clock[0]) as house:
        await house.users.add("ada", "correct horse battery")
        ada, _ = await house.users.sign_in("ada", "correct horse battery", "")
        await finished(await house.chat.send(ada, ask("old")))
        clock[0] += timedelta(days=29)
        await finished(await house.chat.send(ada, ask("new")))
        clock[0] += timedelta(days=1, seconds=1)
        swept = await house.retention.sweep()
        assert (swept.removed["messages"], swept.removed["sessions"]) == (2, 1)
        assert [c.title for c in (await house.chat.conversations(ada.user)).items] == ["new"]
        assert "messages" not in (await house.retention.sweep()).removed
