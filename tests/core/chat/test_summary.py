"""Summaries of what fell out: made without a model, by one, and without one again when it fails."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.chat.summary import cut, extracted, most_bytes, summarised
from core.inference import Caller, Grounding, Message, Model, Service
from inference.client import ModelServer, RemoteChatModel

pytestmark = pytest.mark.anyio
GENERATIVE, SMALL = Model("m", Service.LLM), Model("m", Service.LLM, Grounding.EXTRACTIVE)
FALLEN = [Message("user", "Where is the lamp? I need light."), Message("assistant", "In the hall."), Message("user", "Who is Bo?")]


@pytest.fixture
async def model(echo_server):
    server = ModelServer(Service.LLM, echo_server.url, "echo", local=True)
    yield RemoteChatModel(server)
    await server.close()


async def summed_up(model, info=GENERATIVE, before="", fallen=FALLEN, timeout_s=5.0):
    return await summarised(model, info, before, fallen, caller=Caller(), room_tokens=2000, timeout_s=timeout_s)


def test_an_extract_has_the_first_sentence_of_every_question_in_order():
    assert extracted("", FALLEN, 2000) == "- Where is the lamp?\n- Who is Bo?"


def test_an_extract_goes_on_from_the_one_before():
    first = extracted("", FALLEN[:2], 2000)
    assert extracted(first, FALLEN[2:], 2000) == extracted("", FALLEN, 2000)


def test_of_too_many_lines_the_first_and_the_newest_stay():
    text = extracted("", [Message("user", f"Question number {n} of many?") for n in range(500)], 400)
    lines = text.split("\n")
    assert (lines[0], lines[1], lines[-1]) == ("- Question number 0 of many?", "…", "- Question number 499 of many?")
    again = extracted(text, [Message("user", "And now?")], 400)
    assert (again.split("\n")[0], again.split("\n")[-1], again.count("…")) == (lines[0], "- And now?", 1)


@given(st.text(max_size=300), st.lists(st.text(max_size=300), max_size=30), st.integers(256, 4000))
def test_an_extract_never_takes_more_than_its_part_of_the_room(before, questions, room):
    text = extracted(before, [Message("user", q) for q in questions], room)
    assert len(text.encode()) <= most_bytes(room) <= room * 1.1
    assert cut(text, room) == text


async def test_a_model_that_can_be_trusted_sums_up_with_what_was_summed_up_before(model):
    text = await summed_up(model, before="They spoke of lamps.")
    assert text.startswith("You said: ")
    assert "They spoke of lamps." in text
    assert "Assistant: In the hall." in text


async def test_a_model_that_can_not_be_trusted_is_not_asked(model):
    assert await summed_up(model, SMALL) == extracted("", FALLEN, 2000)


async def test_a_slow_model_leaves_the_extract(model):
    slow = [Message("user", "[tokens=5 ttft=9] Where is it?")]
    assert await summed_up(model, fallen=slow, timeout_s=0.2) == extracted("", slow, 2000)


async def test_a_model_that_is_gone_leaves_the_extract():
    server = ModelServer(Service.LLM, "http://127.0.0.1:9/v1", "none")
    assert await summed_up(RemoteChatModel(server)) == extracted("", FALLEN, 2000)
    await server.close()
