"""A conversation that is longer than its model's context: what doesn't fit is summed up once, told with the answer, and found by the next turn."""

from dataclasses import replace

import pytest
from echo_house import ask, echo_settings, finished

from core.app import open_app
from core.chat.room import HISTORY_MESSAGES
from core.chat.turn import Stage
from core.ids import new_id

pytestmark = pytest.mark.anyio
ROOM_TOKENS = 600
MOST = 100_000 - 64 - ROOM_TOKENS
"""The echo model takes 100,000 tokens: an answer of so many leaves little room for the prompt."""
LONG = "Then " + " ".join(f"word{n}" for n in range(60))


async def said(app, who, text, conversation, **given):
    return await finished(await app.chat.send(who, ask(text, conversation, max_tokens=MOST, **given)))


async def spoken(app, who, conversation, turns, text=LONG):
    return [await said(app, who, f"Question {n}? {text}", conversation) for n in range(turns)]


async def test_what_fits_leaves_nothing_out(app, ada):
    answers = await spoken(app, ada, new_id(), 3, "Short.")
    assert [(a.metadata.dropped, a.metadata.summary) for a in answers] == [(0, "")] * 3


async def test_what_does_not_fit_is_summed_up_and_told_and_the_prompt_stays_in_its_room(app, ada):
    answers = await spoken(app, ada, new_id(), 12)
    dropped = [a.metadata.dropped for a in answers]
    assert dropped == sorted(dropped)
    assert dropped[0] == 0 < dropped[-1]
    assert all(a.metadata.usage.prompt_tokens <= ROOM_TOKENS for a in answers)
    assert answers[-1].metadata.summary.startswith("You said: ")
    assert answers[-1].content.startswith("You said: Question 11?")


async def test_a_summary_is_made_once_and_serves_several_turns(app, ada):
    conversation, made = new_id(), []
    for n in range(16):
        turn = await app.chat.send(ada, ask(f"Question {n}? {LONG}", conversation, max_tokens=MOST))
        made.append(any([u == Stage("summary") async for u in turn.follow()]))
    answers = [m.metadata for m in (await app.chat.thread(ada.user, conversation)).messages if m.role == "assistant"]
    with_summary = [a for a in answers if a.summary]
    assert 1 < sum(made) < len(with_summary)
    assert sum(made) == len({a.summary for a in with_summary})
    assert all(a.summarised >= a.dropped for a in with_summary)


async def test_a_turn_with_more_room_sees_again_what_was_left_out(app, ada):
    conversation = new_id()
    assert (await spoken(app, ada, conversation, 8))[-1].metadata.dropped > 0
    answer = await finished(await app.chat.send(ada, ask("And now?", conversation)))
    assert (answer.metadata.dropped, answer.metadata.summary) == (0, "")


async def test_messages_beyond_those_that_are_read_are_counted_in_the_summary(app, ada):
    conversation = new_id()
    turns = HISTORY_MESSAGES // 2 + 10
    for n in range(turns):
        answer = await finished(await app.chat.send(ada, ask(f"Question {n}?", conversation)))
    meta = answer.metadata
    assert meta.dropped + 80 == 2 * (turns - 1), "each message before this turn is in the prompt or counted"
    assert meta.summarised >= meta.dropped


async def test_a_client_that_holds_its_messages_gets_an_extract_without_a_second_call(app, ada):
    earlier = tuple((role, f"{role} {n}? {LONG}") for n in range(10) for role in ("user", "assistant"))
    turn = await app.chat.send(ada, ask("And?", max_tokens=MOST, history=(("system", "Be brief."), *earlier)))
    assert Stage("summary") not in [u async for u in turn.follow()]
    meta = turn.answer.metadata
    assert meta.dropped > 0
    assert meta.summary.startswith("- user 0?")
    assert meta.usage.prompt_tokens <= ROOM_TOKENS


async def test_a_foreign_server_that_counts_nothing_gets_a_prompt_by_estimate(tmp_path, echo_server):
    settings = echo_settings(tmp_path, llm_url=f"{echo_server.url}#echo", llm_context_tokens=1200, llm_max_tokens=200)
    async with open_app(settings, local=echo_server, serving=True) as house:
        await house.users.add("ada", "correct horse battery")
        ada = (await house.users.sign_in("ada", "correct horse battery", ""))[0]
        conversation = new_id()
        for n in range(10):
            answer = await finished(await house.chat.send(ada, ask(f"Question {n}? {LONG}", conversation)))
        assert answer.metadata.dropped > 0
        assert answer.metadata.usage.prompt_tokens <= 1200 - 200


async def test_a_small_model_gets_the_extract(tmp_path, extractive_server):
    async with open_app(echo_settings(tmp_path, llm_model="echo-extractive"), local=extractive_server, serving=True) as house:
        await house.users.add("ada", "correct horse battery")
        ada = (await house.users.sign_in("ada", "correct horse battery", ""))[0]
        answer = (await spoken(house, ada, new_id(), 10))[-1]
        assert answer.metadata.summary.startswith("- Question 0?\n- Question 1?")


async def test_a_summary_that_does_not_come_in_time_is_extracted_and_the_answer_comes(app, ada):
    app.chat._answering._summary_timeout_s = 0.2
    conversation = new_id()
    slow = replace(ask(f"Question 0? [tokens=1 ttft=3] {LONG}", conversation), max_tokens=MOST)
    await finished(await app.chat.send(ada, slow))
    answers = await spoken(app, ada, conversation, 9)
    first = next(a for a in answers if a.metadata.summary)
    assert first.metadata.summary.startswith("- Question 0?")
    assert first.content.startswith("You said: Question ")
