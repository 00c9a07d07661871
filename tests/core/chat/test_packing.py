"""What of a conversation is kept: whole exchanges, the newest first, never more than there is room for."""

from hypothesis import given
from hypothesis import strategies as st

from core.chat.grounding import prompt
from core.chat.packing import MESSAGE_TOKENS, first_kept, fits_clearly, room_tokens, worth_counting
from core.inference import Message, Model, Service, estimated_tokens

turns = st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.integers(0, 300)), max_size=30)


def said(messages):
    return [Message(role, "x" * tokens) for role, tokens in messages], [tokens for _, tokens in messages]


def cost(tokens):
    return sum(tokens) + MESSAGE_TOKENS * len(tokens)


@given(turns, st.integers(-50, 4000), st.integers(0, 40))
def test_what_is_kept_is_never_over_the_room_and_never_too_many(messages, room, most):
    history, tokens = said(messages)
    start = first_kept(history, tokens, room, most)
    assert start == len(history) or cost(tokens[start:]) <= room
    assert len(history) - start <= most


@given(turns, st.integers(0, 4000))
def test_an_answer_never_comes_without_its_question(messages, room):
    history, tokens = said(messages)
    start = first_kept(history, tokens, room)
    assert start == len(history) or history[start].role == "user"


@given(turns, st.integers(0, 4000), st.integers(0, 4000))
def test_more_room_never_keeps_less(messages, room, more):
    history, tokens = said(messages)
    assert first_kept(history, tokens, room + more) <= first_kept(history, tokens, room)


@given(turns, st.integers(0, 4000))
def test_nothing_is_left_out_that_would_fit(messages, room):
    history, tokens = said(messages)
    start = first_kept(history, tokens, room, len(history))
    earlier = [n for n, m in enumerate(history[:start]) if m.role == "user"]
    assert not earlier or cost(tokens[earlier[-1] :]) > room


@given(turns, st.text(min_size=1, max_size=3000), st.integers(300, 4000))
def test_the_question_is_never_cut_and_the_order_is_kept(messages, question, context_tokens):
    history, _ = said(messages)
    made = prompt(question, history, model=Model("m", Service.LLM, context_tokens=context_tokens), max_tokens=100)
    assert made[-1] == Message("user", question)
    kept = made[1:-1]
    assert kept == history[len(history) - len(kept) :]


@given(st.lists(st.text(max_size=200), max_size=30), st.integers(1, 500))
def test_what_is_not_worth_counting_could_not_fit(texts, room):
    first = worth_counting(texts, room)
    assert first == 0 or sum(len(t) + MESSAGE_TOKENS for t in texts[first:]) >= 8 * room


@given(st.lists(st.text(max_size=200), max_size=10), st.integers(1, 2000))
def test_what_fits_clearly_has_room_left(texts, room):
    tokens = [estimated_tokens(t) for t in texts]
    assert not fits_clearly(tokens, room) or cost(tokens) * 2 <= room


def test_the_room_is_what_the_model_is_good_for_without_the_answer():
    assert room_tokens(Model("m", Service.LLM, context_tokens=8192, useful_context_tokens=1000), 400) == 1000 - 400 - 64
    assert room_tokens(Model("m", Service.LLM, context_tokens=500), 4000) == 256
