"""Twenty who talk at once, over lanes as they are: nobody is lost, and premium is heard first."""

import asyncio

import pytest
from echo_house import Served, echo_settings, say

from core.app import LocalInference, open_app
from core.voice.turn import Answered, Transcribed
from inference.client import ModelServer
from inference.server import application

pytestmark = pytest.mark.anyio
CROWD = 20


@pytest.fixture(params=[1, 2], ids=lambda places: f"places={places}")
async def crowded(request, tmp_path):
    """(places, house, its model server) with so many places for listening; nobody else asks it."""
    settings = echo_settings(tmp_path, inference_audio_places=request.param)
    served = Served(application(settings, ""))
    server = ModelServer("stt", f"{served.url}/v1", "echo-stt", local=True)
    async with open_app(settings, local=LocalInference(f"{served.url}/v1", ""), serving=True) as app:
        yield request.param, app, server
    await server.close()
    served.stop()


async def queue(server):
    return (await server.get("status"))["models"]["stt"]["queue"]


async def test_of_twenty_turns_at_once_none_is_lost_and_premium_is_heard_first(crowded):
    places, app, server = crowded
    people = [await app.users.add(f"user{n}", None, premium=n % 2 == 1) for n in range(CROWD)]
    keys = [(await app.users.make_key(user))[1] for user in people]
    guests = [await app.users.by_key(key) for key in keys]
    heard, answers = [], {}

    async def talks(n, seconds):
        spoken = say(f"[slow={seconds}] this is number {n}")
        turn = await app.voice.send(guests[n], spoken)
        async for update in turn.follow():
            if isinstance(update, Transcribed):
                heard.append(n)
            if isinstance(update, Answered):
                answers[n] = (spoken, update.response)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        # The first of each kind keep every place, until all others wait: who came when decides nothing then.
        for n in range(CROWD):
            group.create_task(talks(n, 3 if n < places else 0.1))
            while n < places and (await queue(server))["serving"] <= n:
                await asyncio.sleep(0.02)
        while (waiting := await queue(server))["waiting_premium"] + waiting["waiting_standard"] < CROWD - places:
            assert waiting["serving"] == places, "they were served before all had come"
            await asyncio.sleep(0.02)

    assert sorted(heard) == sorted(answers) == list(range(CROWD))
    for n, (spoken, response) in answers.items():
        assert (response.error, response.response_text) == ("", f"You said: {response.transcription}")
        assert f"number {n}" in response.transcription
        assert response.uri, "and spoken"
        messages = (await app.chat.thread(people[n], spoken.conversation_id)).messages
        assert [m.content for m in messages] == [response.transcription, response.response_text]
    after = [people[n].premium for n in heard if n >= places]
    # Of two who are heard side by side either may be done first.
    assert all(after[: sum(after) - (places - 1)]), heard
    assert await queue(server) == {"serving": 0, "waiting_premium": 0, "waiting_standard": 0, "first": []}
