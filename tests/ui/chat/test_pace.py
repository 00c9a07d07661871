import asyncio
import time
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest

from core.chat.model import ChatMessage, MessageMetadata, MessageStatus
from core.chat.turn import SourcesFound, Stage, Turn
from core.inference import TextDelta
from core.rag.model import Source
from ui.chat.pace import DRAWING_SHARE, MAX_S, MIN_S, Pace, paced

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SOURCE = Source(1, "c1", "d1", "Lab handbook", 3, 0, "quote", 0.9)


def a_turn():
    return Turn(ChatMessage("m1", "c1", "s1", "u1", "assistant", "", NOW, status=MessageStatus.GENERATING), "question", NOW)


def end(turn, status=MessageStatus.COMPLETE):
    turn.end(replace(turn.answer, content=turn.text, status=status, metadata=MessageMetadata(sources=(SOURCE,))))


@pytest.mark.parametrize(("streams", "interval_s"), [(0, MIN_S), (1, MIN_S), (20, MIN_S), (50, 0.2), (100, MAX_S), (5000, MAX_S)])
def test_the_more_answers_grow_the_less_often_each_is_drawn_within_limits(streams, interval_s):
    assert Pace(streams).interval_s == pytest.approx(interval_s)


async def test_the_last_view_is_finished_and_has_everything():
    turn = a_turn()

    async def write():
        turn.add(Stage("retrieval"))
        turn.add(SourcesFound((SOURCE,), None))
        turn.add(Stage("model"))
        for n in range(200):
            turn.add(TextDelta(f"{n} "))
            if n % 20 == 0:
                await asyncio.sleep(0)
        end(turn)

    writing = asyncio.create_task(write())
    views = [view async for (view,) in paced(Pace(), turn)]
    await writing
    assert views[-1].finished
    assert views[-1].text == "".join(f"{n} " for n in range(200))
    assert views[-1].sources == (SOURCE,)
    assert not any(v.finished for v in views[:-1])
    assert all(later.text.startswith(earlier.text) for earlier, later in pairwise(views))
    assert len(views) < 20


async def test_a_stage_is_shown_before_the_first_word():
    turn = a_turn()
    turn.add(Stage("retrieval"))
    async with aclosing(paced(Pace(), turn)) as views:
        assert (await anext(views))[0].stage == "retrieval"
        turn.add(TextDelta("So"))
        assert (await anext(views))[0].text == "So"


async def test_a_view_has_the_place_in_the_queue_while_there_is_one():
    turn = a_turn()
    turn.add(Stage("queue", 3, 12.0))
    async with aclosing(paced(Pace(), turn)) as views:
        (waiting,) = await anext(views)
        assert (waiting.stage, waiting.position, waiting.eta_s) == ("queue", 3, 12.0)
        turn.add(Stage("model"))
        (served,) = await anext(views)
        assert (served.stage, served.position, served.eta_s) == ("model", 0, None)


@pytest.mark.parametrize("status", [s for s in MessageStatus if s.final])
async def test_a_turn_that_is_over_is_shown_whole_however_it_ended(status):
    stored = ChatMessage("m1", "c1", "s1", "u1", "assistant", "the text", NOW, MessageMetadata(sources=(SOURCE,)), status)
    views = [view async for (view,) in paced(Pace(), Turn.stored(stored))]
    assert (views[-1].text, views[-1].sources, views[-1].finished) == ("the text", (SOURCE,), True)


async def test_the_text_that_was_stored_wins_over_what_was_streamed():
    turn = a_turn()
    turn.add(TextDelta("draft"))
    turn.end(replace(turn.answer, content="as stored", status=MessageStatus.COMPLETE))
    assert [view async for (view,) in paced(Pace(), turn)][-1].text == "as stored"


async def test_open_streams_are_counted_while_they_are_watched_and_no_longer():
    pace, turns = Pace(), [a_turn() for _ in range(3)]
    for turn in turns:
        turn.add(Stage("model"))
    watched = [paced(pace, turn) for turn in turns]
    for views in watched:
        await anext(views)
    assert pace.streams == 3
    await watched[0].aclose()
    assert pace.streams == 2
    for turn, views in zip(turns[1:], watched[1:], strict=True):
        end(turn)
        assert [view async for (view,) in views][-1].finished
    assert pace.streams == 0


async def test_leaving_early_ends_the_watching_and_not_the_turn():
    turn = a_turn()
    views = paced(Pace(), turn)
    turn.add(TextDelta("So"))
    await anext(views)
    await views.aclose()
    assert turn.followers == 0
    assert not turn.finished
    end(turn)
    assert [view async for (view,) in paced(Pace(), turn)][-1].text == "So"


async def test_whoever_comes_late_begins_with_everything_that_is_there():
    turn = a_turn()
    for piece in ("So ", "it ", "is"):
        turn.add(TextDelta(piece))
    async with aclosing(paced(Pace(), turn)) as views:
        assert (await anext(views))[0].text == "So it is"


async def test_answers_side_by_side_end_when_the_last_of_them_ends():
    fast, slow = a_turn(), a_turn()
    fast.add(TextDelta("fast"))
    end(fast)
    async with aclosing(paced(Pace(), fast, slow)) as views:
        assert [v.text for v in await anext(views)] == ["fast", ""]
        slow.add(TextDelta("slow"))
        assert [(v.text, v.finished) for v in await anext(views)] == [("fast", True), ("slow", False)]
        end(slow)
        assert all(v.finished for v in await anext(views))
        with pytest.raises(StopAsyncIteration):
            await anext(views)


async def test_what_takes_long_to_draw_is_drawn_less_often():
    turn = a_turn()
    turn.add(TextDelta("a long one"))
    async with aclosing(paced(Pace(), turn)) as views:
        await anext(views)
        await asyncio.sleep(0.1)  # the drawing
        turn.add(TextDelta(" goes on"))
        begun_s = time.monotonic()
        await anext(views)
        assert time.monotonic() - begun_s >= 0.1 * (1 / DRAWING_SHARE - 1) - 0.01
