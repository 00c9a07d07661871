"""The contract of Conversations."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from core.adapters.conversations_sql import SqlConversations
from core.adapters.events_outbox import OutboxEventLog
from core.adapters.shares_sql import SqlShares
from core.chat.model import ChatMessage, ChatSettings, Checkpoint, Conversation, Feedback, MessageMetadata, MessageStatus, NewTurn, Share, Verdict
from core.errors import AlreadyThere, NotFound
from core.events import Event, EventType
from core.ids import new_id, reply_id

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def store(database):
    return SqlConversations(database)


def a_turn(user, text="What is the port?", conversation_id=None, message_id=None, at=NOW, history=0):
    conversation_id, message_id = conversation_id or new_id(), message_id or new_id()
    question = ChatMessage(message_id, conversation_id, "", user.id, "user", text, at)
    answer = ChatMessage(
        reply_id(message_id),
        conversation_id,
        "",
        user.id,
        "assistant",
        "",
        at + timedelta(microseconds=1),
        status=MessageStatus.GENERATING,
        reply_to=message_id,
    )
    received = Event(new_id(), EventType.MESSAGE_RECEIVED, user.id, conversation_id, at)
    return NewTurn(Conversation(conversation_id, user.id, text, at, at), question, answer, at + timedelta(seconds=30), (received,), history)


async def finish(store, turn, text="It is 8000.", status=MessageStatus.COMPLETE):
    await store.finish(replace(turn.answer, content=text, status=status), [])


async def test_an_accepted_turn_is_a_question_and_a_place_for_its_answer(store, ada):
    turn = a_turn(ada)
    assert (await store.accept(turn)).stored is None
    page = await store.thread_for(ada.id, turn.conversation.id)
    assert [(m.role, m.status) for m in page.messages] == [("user", MessageStatus.COMPLETE), ("assistant", MessageStatus.GENERATING)]


async def test_a_conversation_has_at_least_one_message(store, ada):
    turn = a_turn(ada)
    await store.accept(turn)
    assert len((await store.thread_for(ada.id, turn.conversation.id)).messages) >= 1


async def test_the_same_turn_sent_again_gives_its_answer_and_stores_nothing(store, ada):
    turn = a_turn(ada)
    await store.accept(turn)
    await finish(store, turn)
    again = await store.accept(turn)
    assert again.stored is not None
    assert again.stored.content == "It is 8000."
    assert len((await store.thread_for(ada.id, turn.conversation.id)).messages) == 2


async def test_the_same_id_with_another_text_is_refused(store, ada):
    turn = a_turn(ada)
    await store.accept(turn)
    with pytest.raises(AlreadyThere):
        await store.accept(a_turn(ada, "Another text", turn.conversation.id, turn.question.id))


async def test_a_message_belongs_to_exactly_one_conversation(store, ada):
    turn = a_turn(ada)
    await store.accept(turn)
    with pytest.raises(AlreadyThere):
        await store.accept(a_turn(ada, turn.question.content, new_id(), turn.question.id))


async def test_somebody_elses_conversation_is_not_found_and_nothing_is_written(store, ada, bob):
    turn = a_turn(ada)
    await store.accept(turn)
    with pytest.raises(NotFound):
        await store.accept(a_turn(bob, "mine now", turn.conversation.id))
    for attempt in (store.get_for, store.thread_for, store.delete_for):
        with pytest.raises(NotFound):
            await attempt(bob.id, turn.conversation.id)
    with pytest.raises(NotFound):
        await store.message_for(bob.id, turn.question.id)
    assert len((await store.thread_for(ada.id, turn.conversation.id)).messages) == 2


async def test_somebody_elses_turn_sent_again_is_not_found(store, ada, bob):
    turn = a_turn(ada)
    await store.accept(turn)
    stolen = a_turn(bob, turn.question.content, turn.conversation.id, turn.question.id)
    with pytest.raises(NotFound):
        await store.accept(stolen)


async def test_a_message_never_changes_once_created(store, database, ada):
    turn = a_turn(ada)
    await store.accept(turn)
    await finish(store, turn, "first")
    assert await store.finish(replace(turn.answer, content="second", status=MessageStatus.COMPLETE), []) is False
    await store.checkpoint([Checkpoint(turn.answer.id, "third", NOW)])
    assert (await store.message_for(ada.id, turn.answer.id)).content == "first"
    with pytest.raises(IntegrityError, match="never changes"):
        await database.write(lambda c: c.execute(text("UPDATE messages SET content = 'x' WHERE id = :id"), {"id": turn.question.id}))


async def test_a_checkpoint_survives_and_an_expired_lease_becomes_interrupted_with_the_text_kept(store, ada):
    turn = a_turn(ada)
    await store.accept(turn)
    await store.checkpoint([Checkpoint(turn.answer.id, "It is 80", NOW + timedelta(seconds=30))])
    assert await store.expire_leases(NOW + timedelta(seconds=29)) == 0
    assert await store.expire_leases(NOW + timedelta(seconds=31)) == 1
    kept = await store.message_for(ada.id, turn.answer.id)
    assert (kept.status, kept.content) == (MessageStatus.INTERRUPTED, "It is 80")


async def test_events_are_stored_with_their_turn_and_leave_with_it(store, database, ada):
    turn = a_turn(ada)
    await store.accept(turn)
    done = Event(new_id(), EventType.MESSAGE_STORED, ada.id, turn.conversation.id, NOW)
    await store.finish(replace(turn.answer, content="x", status=MessageStatus.COMPLETE), [done])
    log = OutboxEventLog(database, {})
    assert [r.event.type for r in await log.read(aggregate_id=turn.conversation.id)] == [EventType.MESSAGE_RECEIVED, EventType.MESSAGE_STORED]
    receipt = await store.delete_for(ada.id, turn.conversation.id)
    assert receipt.complete
    assert receipt.removed == {
        "events": 2, "feedback": 0, "golden rows": 0, "shares": 0, "messages": 2, "conversations": 1,
        "voice events": 0, "voice requests": 0, "voice responses": 0,
    }  # fmt: skip
    assert await log.read(aggregate_id=turn.conversation.id) == []


async def test_the_latest_conversation_comes_first_and_pages_leave_nothing_out(store, ada):
    turns = [a_turn(ada, f"question {n}", at=NOW + timedelta(minutes=n % 5)) for n in range(7)]
    for turn in turns:
        await store.accept(turn)
    seen, cursor = [], ""
    while True:
        page = await store.list_for(ada.id, limit=3, cursor=cursor)
        seen += [c.id for c in page.items]
        cursor = page.next_cursor
        if not cursor:
            break
    assert len(seen) == len(set(seen)) == 7
    whole = await store.list_for(ada.id)
    assert [c.id for c in whole.items] == seen
    times = [c.updated_at for c in whole.items]
    assert times == sorted(times, reverse=True)


async def test_search_wants_every_word_in_the_title_or_a_message(store, ada):
    turn = a_turn(ada, "Where does the 100% wool jumper come from?")
    await store.accept(turn)
    await finish(store, turn, "From Shetland.")
    await store.accept(a_turn(ada, "Something else"))
    for words, expected in (("wool shetland", 1), ("100%", 1), ("wool cotton", 0), ("%", 1), ("_", 0)):
        assert len((await store.list_for(ada.id, search=words)).items) == expected, words


async def test_older_messages_page_backwards(store, ada):
    conversation = new_id()
    for n in range(4):
        turn = a_turn(ada, f"q{n}", conversation, at=NOW + timedelta(minutes=n))
        await store.accept(turn)
        await finish(store, turn, f"a{n}")
    last = await store.thread_for(ada.id, conversation, limit=3)
    assert [m.content for m in last.messages] == ["a2", "q3", "a3"]
    assert last.older
    before = await store.thread_for(ada.id, conversation, limit=3, before=last.messages[0].id)
    assert [m.content for m in before.messages] == ["q1", "a1", "q2"]


async def test_history_comes_with_acceptance_and_is_what_was_there_before(store, ada):
    first = a_turn(ada, "q0")
    await store.accept(first)
    await finish(store, first, "a0")
    accepted = await store.accept(a_turn(ada, "q1", first.conversation.id, at=NOW + timedelta(minutes=1), history=10))
    assert [m.content for m in accepted.history] == ["q0", "a0"]


async def test_messages_past_their_time_go_and_empty_conversations_with_them(store, ada):
    old, new = a_turn(ada, "old"), a_turn(ada, "new", at=NOW + timedelta(days=31))
    await store.accept(old)
    await store.accept(new)
    assert await store.drop_before(NOW + timedelta(days=30), 1) == 1
    assert await store.drop_before(NOW + timedelta(days=30), 10) == 1
    assert await store.drop_before(NOW + timedelta(days=30), 10) == 0
    assert [c.title for c in (await store.list_for(ada.id)).items] == ["new"]


async def test_metadata_comes_back_as_it_was_stored(store, ada):
    turn = a_turn(ada)
    await store.accept(turn)
    meta = MessageMetadata(tokens_used=7, latency_ms=12.5, rag_sources=("a", "b"), model_used="m", retrieval={"considered": 3})
    await store.finish(replace(turn.answer, content="x", status=MessageStatus.COMPLETE, metadata=meta), [])
    assert (await store.message_for(ada.id, turn.answer.id)).metadata == meta


def next_turn(turn, user, text, minutes, **given):
    """A later turn of the same conversation."""
    return replace(a_turn(user, text, turn.conversation.id, at=NOW + timedelta(minutes=minutes), history=10), **given)


async def said(store, ada, turn, **at):
    return [m.content for m in (await store.thread_for(ada.id, turn.conversation.id, **at)).messages]


async def test_another_wording_is_a_branch_and_the_first_one_stays_as_it_was(store, ada):
    first = a_turn(ada, "q0")
    await store.accept(first)
    await finish(store, first, "a0")
    other = next_turn(first, ada, "q0 again", 1, parent_id="")
    accepted = await store.accept(other)
    await finish(store, other, "a0 again")
    assert accepted.history == ()
    assert await said(store, ada, first) == ["q0 again", "a0 again"]
    assert await said(store, ada, first, at=first.question.id) == ["q0", "a0"]
    thread = await store.thread_for(ada.id, first.conversation.id)
    assert thread.branches == {other.question.id: (first.question.id, other.question.id)}


async def test_a_question_can_have_two_answers_and_each_goes_on_by_itself(store, ada):
    first = a_turn(ada, "q0")
    await store.accept(first)
    await finish(store, first, "a0")
    second = replace(first.answer, id=new_id(), created_at=NOW + timedelta(minutes=1))
    turn = NewTurn(first.conversation, None, second, NOW + timedelta(minutes=2), (), 10, first.question.id)
    assert [m.content for m in (await store.accept(turn)).history] == ["q0"]
    await finish(store, turn, "b0")
    follow = next_turn(first, ada, "q1", 3, parent_id=first.answer.id)
    assert [m.content for m in (await store.accept(follow)).history] == ["q0", "a0"]
    await finish(store, follow, "a1")
    assert await said(store, ada, first) == ["q0", "a0", "q1", "a1"]
    assert await said(store, ada, first, at=second.id) == ["q0", "b0"]
    assert (await store.thread_for(ada.id, first.conversation.id, at=second.id)).branches == {second.id: (first.answer.id, second.id)}


async def test_nothing_follows_a_message_of_another_conversation(store, ada):
    first, other = a_turn(ada, "q0"), a_turn(ada, "elsewhere")
    await store.accept(first)
    await store.accept(other)
    with pytest.raises(NotFound):
        await store.accept(next_turn(first, ada, "q1", 1, parent_id=other.question.id))
    with pytest.raises(NotFound):
        await store.accept(replace(a_turn(ada, "new"), parent_id=other.question.id))
    assert len((await store.list_for(ada.id)).items) == 2


async def test_pinned_conversations_come_first_and_pages_leave_nothing_out(store, ada):
    turns = [a_turn(ada, f"c{n}", at=NOW + timedelta(minutes=n)) for n in range(5)]
    for turn in turns:
        await store.accept(turn)
    await store.change_for(ada.id, replace(turns[1].conversation, pinned=True))
    seen, cursor = [], ""
    while True:
        page = await store.list_for(ada.id, limit=2, cursor=cursor)
        seen += [c.title for c in page.items]
        if not (cursor := page.next_cursor):
            break
    assert seen == ["c1", "c4", "c3", "c2", "c0"]


async def test_title_tags_and_settings_are_kept_and_found_by_their_tag(store, ada, bob):
    turn = a_turn(ada, "q0")
    await store.accept(turn)
    changed = replace(turn.conversation, title="Doors", tags=("lab", "50 %"), settings=ChatSettings("m", 0.5, 100, "Be brief."))
    await store.change_for(ada.id, changed)
    kept = await store.get_for(ada.id, turn.conversation.id)
    assert (kept.title, kept.tags, kept.settings) == ("Doors", ("lab", "50 %"), ChatSettings("m", 0.5, 100, "Be brief."))
    assert [len((await store.list_for(ada.id, tag=tag)).items) for tag in ("lab", "50 %", "la", "%")] == [1, 1, 0, 0]
    assert await store.tags_for(ada.id) == ["50 %", "lab"]
    with pytest.raises(NotFound):
        await store.change_for(bob.id, changed)
    assert (await store.accept(next_turn(turn, ada, "q1", 1))).settings.system_prompt == "Be brief."


async def test_a_search_shows_the_words_around_what_it_found(store, ada):
    turn = a_turn(ada, "What is wool?")
    await store.accept(turn)
    await finish(store, turn, "x " * 200 + "It comes from Shetland sheep.")
    (found,) = (await store.list_for(ada.id, search="SHETLAND")).items
    assert "comes from Shetland sheep" in found.found
    assert found.found.startswith("…")
    assert len(found.found) < 200


async def test_the_last_verdict_on_an_answer_counts_and_can_be_taken_back(store, ada, bob):
    turn = a_turn(ada)
    await store.accept(turn)
    await finish(store, turn)
    for verdict in Verdict:
        await store.judge(Feedback(turn.answer.id, ada.id, verdict, "because", NOW), turn.answer.id, ada.id)
    assert (await store.feedback_for(ada.id, turn.conversation.id))[turn.answer.id].verdict is Verdict.BAD
    assert await store.feedback_for(bob.id, turn.conversation.id) == {}
    for user, message in ((bob, turn.answer), (ada, turn.question)):
        with pytest.raises(NotFound):
            await store.judge(None, message.id, user.id)
    await store.judge(None, turn.answer.id, ada.id)
    assert await store.feedback_for(ada.id, turn.conversation.id) == {}


async def test_deleting_a_conversation_takes_verdicts_and_links_along(store, database, ada):
    turn = a_turn(ada)
    await store.accept(turn)
    await finish(store, turn)
    await store.judge(Feedback(turn.answer.id, ada.id, Verdict.GOOD, "", NOW), turn.answer.id, ada.id)
    await SqlShares(database).add_share(Share(new_id(), ada.id, turn.conversation.id, turn.answer.id, NOW), "hash")
    receipt = await store.delete_for(ada.id, turn.conversation.id)
    assert (receipt.removed["feedback"], receipt.removed["shares"], receipt.complete) == (1, 1, True)
    with pytest.raises(NotFound):
        await SqlShares(database).shared("hash")
