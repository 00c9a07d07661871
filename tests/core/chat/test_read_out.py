"""Answers that are read out are stored as far as they were heard, once."""

import asyncio

import pytest
from echo_house import ask, finished

from core.chat.model import MessageStatus
from core.chat.turn import Stage
from core.errors import NotFound
from core.inference import TextDelta

pytestmark = pytest.mark.anyio


async def written(turn):
    """Waits until the whole answer is there and only the listener is missing."""
    async for update in turn.follow():
        if update == Stage("speaking"):
            return


async def stored(app, who, turn):
    return (await app.chat.thread(who.user, turn.conversation_id)).messages[-1]


async def test_an_answer_that_was_heard_whole_is_complete(app, ada):
    turn = await app.chat.send(ada, ask("one two three", read_out=True))
    await written(turn)
    assert (await stored(app, ada, turn)).status is MessageStatus.GENERATING
    await app.chat.heard(ada.user, turn.answer_id)
    answer = await finished(turn)
    assert (answer.status, answer.content) == (MessageStatus.COMPLETE, "You said: one two three")
    assert await stored(app, ada, turn) == answer


async def test_of_an_answer_that_was_interrupted_only_what_was_heard_is_kept(app, ada):
    turn = await app.chat.send(ada, ask("one two three", read_out=True))
    await written(turn)
    await app.chat.heard(ada.user, turn.answer_id, len("You said: one"))
    answer = await finished(turn)
    assert (answer.status, answer.content) == (MessageStatus.INTERRUPTED, "You said: one")
    await app.chat.heard(ada.user, turn.answer_id)  # too late: a message never changes
    assert await stored(app, ada, turn) == answer


async def test_an_interruption_also_stops_the_model(app, ada):
    turn = await app.chat.send(ada, ask("[tokens=2000 rate=100]", read_out=True))
    async for update in turn.follow():
        if isinstance(update, TextDelta):
            break
    await app.chat.heard(ada.user, turn.answer_id, 2)
    answer = await asyncio.wait_for(finished(turn), 1)
    assert (answer.status, answer.content) == (MessageStatus.INTERRUPTED, "t0")


async def test_an_answer_whose_listener_stops_it_by_hand_keeps_its_text(app, ada):
    turn = await app.chat.send(ada, ask("one two three", read_out=True))
    await written(turn)
    await app.chat.stop(ada.user, turn.answer_id)
    assert (await finished(turn)).content == "You said: one two three"


async def test_the_time_of_listening_is_not_counted_as_the_models(app, ada):
    turn = await app.chat.send(ada, ask("one", read_out=True))
    await written(turn)
    await asyncio.sleep(0.6)
    await app.chat.heard(ada.user, turn.answer_id)
    assert (await finished(turn)).metadata.latency_ms < 600


async def test_a_house_that_closes_waits_for_no_listener(app, ada):
    turn = await app.chat.send(ada, ask("one", read_out=True))
    await written(turn)
    await asyncio.wait_for(app.chat.interrupt(), 2)
    assert turn.finished


async def test_nobody_else_says_what_was_heard(app, ada, bob):
    turn = await app.chat.send(ada, ask("one", read_out=True))
    await written(turn)
    with pytest.raises(NotFound):
        await app.chat.heard(bob.user, turn.answer_id)
    await app.chat.heard(ada.user, turn.answer_id)
    await finished(turn)
