"""Answers that another process of the house writes."""

import asyncio

import pytest
from echo_house import ask, echo_settings, finished

from core.app import open_app
from core.errors import NotFound
from core.inference import TextDelta

pytestmark = pytest.mark.anyio


@pytest.fixture
async def beside(app, echo_server):
    """A second house over the same records, which writes none of the answers."""
    async with open_app(echo_settings(app.settings.home), local=echo_server) as opened:
        yield opened


async def test_an_answer_that_is_written_elsewhere_grows_and_ends_as_it_is_stored(app, beside, ada):
    written = await app.chat.send(ada, ask("[tokens=60 rate=30]"))
    assert await beside.chat.open_turn(ada.user, written.answer_id) is None
    turn = await beside.chat.turn(ada.user, written.answer_id)
    assert await beside.chat.turn(ada.user, written.answer_id) is turn
    pieces = [update.text async for update in turn.follow() if isinstance(update, TextDelta)]
    assert len(pieces) > 1
    assert "".join(pieces) == turn.answer.content == (await finished(written)).content
    assert turn.answer == await app.chat.message(ada.user, written.answer_id)


async def test_the_same_message_sent_to_another_process_follows_the_answer(app, beside, ada):
    request = ask("[tokens=30 rate=30]")
    written = await app.chat.send(ada, request)
    assert (await finished(await beside.chat.send(ada, request))) == await finished(written)


async def test_nobody_follows_somebody_elses_answer(app, beside, ada, bob):
    written = await app.chat.send(ada, ask("[tokens=30 rate=100]"))
    with pytest.raises(NotFound):
        await beside.chat.turn(bob.user, written.answer_id)
    await finished(written)


async def test_a_deleted_answer_ends_for_who_follows_it(app, beside, ada):
    written = await app.chat.send(ada, ask("[tokens=2000 rate=50]"))
    following = asyncio.create_task(finished(await beside.chat.turn(ada.user, written.answer_id)))
    await app.chat.delete(ada.user, written.conversation_id)
    async with asyncio.timeout(5):
        assert (await following).status.final
