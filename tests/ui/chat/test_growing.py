import asyncio
import json
import random
from dataclasses import replace

import pytest
from echo_house import ask, finished
from starlette.applications import Starlette

from core.app import open_app
from ui.chat.growing import route, shared, utf16_units
from ui.gate import COOKIE, Gate


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [("", "", 0), ("", "a", 0), ("abc", "abc", 3), ("abc", "abcd", 3), ("abcd", "abc", 3), ("abXd", "abYd", 2), ("x", "y", 0)],
)
def test_what_two_drawings_share_at_their_beginning_is_found(before, now, kept):
    assert shared(before, now) == kept


def test_what_two_drawings_share_is_found_wherever_they_part():
    rng = random.Random(7)
    for _ in range(200):
        before = "".join(rng.choices("ab", k=rng.randrange(40)))
        now = before[: rng.randrange(41)] + "".join(rng.choices("abc", k=rng.randrange(10)))
        kept = shared(before, now)
        assert before[:kept] == now[:kept]
        assert before[kept : kept + 1] != now[kept : kept + 1] or kept == min(len(before), len(now))


@pytest.mark.parametrize("text", ["", "plain", "größer", "日本語", "👋🏽 hi", "a𝔘b"])
def test_lengths_are_counted_as_javascript_counts_them(text):
    assert utf16_units(text) == len(text.encode("utf-16-le")) // 2


@pytest.fixture
def followed(app, open_client):
    """Follows an answer with somebody's cookie, so many events of it: (status, events)."""
    served = Starlette(routes=[route(app)])

    async def follow(token, answer_id, events=10_000, house=served):
        async with open_client(house, cookies={COOKIE: token}) as client, client.stream("GET", "/growing", params={"answer": answer_id}) as answer:
            lines, found = answer.aiter_lines(), []
            async for line in lines:
                found += [line] if line else []
                if len(found) == events:
                    break
            return answer.status_code, found

    return follow


def drawn(events):
    """The HTML that a browser has after these events."""
    html = ""
    for event in events:
        if event.startswith("data: ["):
            kept, added = json.loads(event.removeprefix("data: "))
            html = html.encode("utf-16-le")[: 2 * kept].decode("utf-16-le") + added
    return html


async def token_of(app, who):
    return (await app.users._open_session(who.user, "test"))[1]


@pytest.mark.anyio
async def test_an_answer_is_drawn_by_what_changed_and_ends_with_everything(app, ada, followed):
    turn = await app.chat.send(ada, ask("[tokens=60 rate=100] 👋🏽"), detached=True)
    status, events = await followed(await token_of(app, ada), turn.answer_id)
    assert status == 200
    assert events[-2:] == ["event: finished", "data: {}"]
    assert "t59:" in drawn(events)
    added = [json.loads(e.removeprefix("data: "))[1] for e in events if e.startswith("data: [")]
    assert len(added) > 2
    assert sum(map(len, added)) < 3 * len(drawn(events))


@pytest.mark.anyio
async def test_whoever_follows_again_begins_with_all_that_is_there(app, ada, followed):
    turn = await app.chat.send(ada, ask("[tokens=200 rate=100]"), detached=True)
    token = await token_of(app, ada)
    while "t40:" not in turn.text:
        await asyncio.sleep(0.02)
    _, (first, *_) = await followed(token, turn.answer_id)
    assert json.loads(first.removeprefix("data: "))[0] == 0
    assert "t0:" in first
    assert "t40:" in first


@pytest.mark.anyio
async def test_a_finished_answer_is_drawn_at_once(app, ada, followed):
    turn = await app.chat.send(ada, ask("already over"), detached=True)
    await finished(turn)
    _, events = await followed(await token_of(app, ada), turn.answer_id)
    assert "You said: already over" in drawn(events)
    assert "event: finished" in events


@pytest.mark.anyio
async def test_what_an_answer_waits_for_is_said_in_the_language_of_whoever_follows_it(app, ada, followed):
    await app.users.save_preferences(ada.user, replace(ada.user.preferences, language="de"))
    token, house = await token_of(app, ada), Gate(Starlette(routes=[route(app)]), app)
    turn = await app.chat.send(ada, ask("[tokens=2 rate=0 ttft=1]"), detached=True)
    _, events = await followed(token, turn.answer_id, events=1, house=house)
    assert "Denkt nach…" in drawn(events) or "Wartet, bis sie an der Reihe ist…" in drawn(events)


@pytest.mark.anyio
async def test_nobody_follows_somebody_elses_answer_or_without_a_sign_in(app, ada, bob, followed):
    turn = await app.chat.send(ada, ask("[tokens=20 rate=40]"), detached=True)
    assert (await followed(await token_of(app, bob), turn.answer_id))[0] == 404
    assert (await followed("", turn.answer_id))[0] == 401


@pytest.mark.anyio
async def test_an_answer_that_is_written_elsewhere_grows_with_what_is_stored(app, ada, echo_server, followed):
    turn = await app.chat.send(ada, ask("[tokens=60 rate=30]"), detached=True)
    async with open_app(app.settings, local=echo_server) as other:
        _, events = await followed(await token_of(app, ada), turn.answer_id, house=Starlette(routes=[route(other)]))
    assert events[-2:] == ["event: finished", "data: {}"]
    assert len(events) >= 4, "more than once before its end"
    assert "t59:" in drawn(events)
