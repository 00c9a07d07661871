"""A call over a real chat room. What is said is a tone, its words a table; the voice speaks a fixed time per word."""

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import numpy as np
import pytest
from echo_house import NOBODY, echo_settings

from core.app import open_app
from core.chat.model import MessageStatus
from core.errors import ServiceUnavailable
from core.events import VOICE_ORDER, EventType
from core.voice.call import FRAME_MS, RULES, State
from core.voice.talk import FRAME_SAMPLES, Choices, Talk

pytestmark = pytest.mark.anyio
VOICE_HZ = 16_000
WORD_MS = 100


def loudness(samples):
    return 0.9 if samples.max() > 3000 else 0.02


def sound(ms, level=0.5):
    return np.full(ms // FRAME_MS * FRAME_SAMPLES, level * 32767, "<i2").tobytes()


class Listener:
    """The other end of the line: keeps what comes, and plays it in no time unless told to listen in real time."""

    def __init__(self):
        self.told, self.heard, self.talk, self.plays = [], [], None, True

    def tell(self, kind, turn, **data):
        self.told.append((kind, turn, data))
        if kind == "response.audio.done" and self.plays:
            asyncio.get_running_loop().call_soon(lambda: self.talk.played(turn, self.sent_ms(turn), over=True))

    def play(self, turn, sequence, pcm):
        self.heard.append((turn, sequence, pcm))
        if not sequence:
            asyncio.get_running_loop().call_soon(lambda: self.talk.started(turn, 5.0))

    def sent_ms(self, turn):
        return sum(len(pcm) for t, _, pcm in self.heard if t == turn) / 2 / VOICE_HZ * 1000

    def kinds(self, turn=None):
        return [kind for kind, t, _ in self.told if kind != "session.state" and turn in (None, t)]

    def last(self, kind):
        return next((data for k, _, data in reversed(self.told) if k == kind), None)

    async def until(self, kind, count=1, timeout_s=5):
        begun = time.monotonic()
        while sum(k == kind for k, _, _ in self.told) < count:
            assert time.monotonic() - begun < timeout_s, self.told
            await asyncio.sleep(0.01)


class Words:
    """What a transcriber understands: the next text for every utterance, whatever it sounds like."""

    def __init__(self, *texts):
        self.texts, self.asked, self.error, self.slow_s = list(texts), [], None, 0.0

    async def hear(self, pcm, goes_on):
        self.asked.append(len(pcm) // 2 / 16)
        text = self.texts[0]
        await asyncio.sleep(self.slow_s)
        if self.error:
            raise self.error
        return text


async def speak(text):
    for _ in text.split():
        yield sound(WORD_MS * 2)[: WORD_MS * VOICE_HZ // 1000 * 2]
        await asyncio.sleep(0)


async def mute(_text):
    raise ServiceUnavailable("The voice server does not answer.", service="tts")
    yield b""


@asynccontextmanager
async def call(app, who, *texts, speak=speak, collections=(), language=""):
    listener, words = Listener(), Words(*texts)
    async with Talk(who, app.chat, loudness, listener, Choices(words.hear, speak, VOICE_HZ, collections, language), app.calls) as talk:
        listener.talk = talk
        yield talk, listener, words


async def say(talk, ms=640, then_ms=352):
    """Speaks for so long, as a microphone does it, a little faster than time."""
    for frame in range(ms // FRAME_MS):
        talk.hear(sound(FRAME_MS))
        await asyncio.sleep(0.001 if frame % 4 else 0)
    for _ in range(then_ms // FRAME_MS):
        talk.hear(sound(FRAME_MS, 0))
        await asyncio.sleep(0.001)


async def until(happened, timeout_s=5):
    begun = time.monotonic()
    while not happened():
        assert time.monotonic() - begun < timeout_s
        await asyncio.sleep(0.01)


async def messages(app, who, talk):
    return [(m.role, m.content, m.status) for m in (await app.chat.thread(who.user, talk.conversation_id)).messages]


async def test_a_turn_is_heard_answered_spoken_and_stored(app, ada):
    async with call(app, ada, "what is on, tonight") as (talk, listener, _):
        await say(talk)
        await listener.until("response.done")
        text = "You said: what is on, tonight"
        assert await messages(app, ada, talk) == [("user", "what is on, tonight", MessageStatus.COMPLETE), ("assistant", text, MessageStatus.COMPLETE)]
        assert listener.last("response.done")["text"] == text
        assert listener.sent_ms(1) == len(text.split()) * WORD_MS
        assert [s for _, s, _ in listener.heard] == list(range(len(listener.heard)))


async def test_the_messages_of_a_turn_come_in_their_order_and_name_it(app, ada):
    async with call(app, ada, "good day to you") as (talk, listener, _):
        await say(talk)
        await listener.until("response.done")
    order = [k for n, k in enumerate(listener.kinds()) if k not in listener.kinds()[:n]]
    assert order == [
        "input_audio_buffer.speech_started",
        "input_audio_transcription.delta",
        "input_audio_buffer.speech_stopped",
        "input_audio_transcription.completed",
        "response.text.delta",
        "response.audio.start",
        "response.audio.done",
        "response.done",
    ]
    assert {turn for kind, turn, _ in listener.told if kind != "session.state"} == {1}
    assert [d["state"] for k, _, d in listener.told if k == "session.state"] == ["listening", "hearing", "thinking", "speaking", "listening"]


async def test_every_stage_says_how_long_it_took(app, ada):
    async with call(app, ada, "good day to you") as (talk, listener, _):
        await say(talk)
        await listener.until("response.done")
    latency = listener.last("response.done")["latency"]
    assert latency.keys() == {"endpoint", "stt", "llm_ttft", "tts_ttfb", "playback"}
    assert all(0 <= ms < 2000 for ms in latency.values())


async def test_all_that_was_said_is_transcribed_with_what_came_just_before_it(app, ada):
    async with call(app, ada, "good day to you") as (talk, listener, words):
        await say(talk, 0, then_ms=3200)
        await say(talk, 640)
        await listener.until("response.done")
        assert words.asked[-1] == 320 + 640 + RULES.final_ms


async def test_the_final_text_is_asked_for_before_the_turn_ends(app, ada):
    async with call(app, ada, "good day to you") as (talk, listener, words):
        await say(talk, 640, then_ms=192)
        before = len(words.asked)
        assert "input_audio_buffer.speech_stopped" not in listener.kinds()
        await say(talk, 0, then_ms=160)
        await listener.until("response.done")
        assert len(words.asked) == before


async def test_an_interruption_ends_the_answer_and_only_what_was_heard_is_stored(app, ada):
    async with call(app, ada, "one two three four five six. seven eight nine ten, eleven, twelve") as (talk, listener, words):
        listener.plays = False
        await say(talk)
        await listener.until("response.audio.done")
        talk.played(1, 3 * WORD_MS, over=False)
        words.texts = ["stop it now"]
        await say(talk)
        await listener.until("response.cancelled")
        spoken = listener.last("response.cancelled")["spoken"]
        assert spoken.startswith("You said: one")
        assert "twelve" not in spoken
        listener.plays = True
        await listener.until("response.done")
        stored = await messages(app, ada, talk)
        assert stored[1] == ("assistant", spoken, MessageStatus.INTERRUPTED)
        assert stored[3] == ("assistant", "You said: stop it now", MessageStatus.COMPLETE)
        assert listener.kinds(1)[-1] == "response.cancelled"


async def test_an_answer_is_begun_before_the_turn_ends_but_nobody_is_told_and_nothing_is_kept(app, ada):
    said = []

    async def overheard(text):
        said.append(text)
        async for piece in speak(text):
            yield piece

    async with call(app, ada, "what is on tonight", speak=overheard) as (talk, listener, _):
        await say(talk, then_ms=RULES.endpoint_ms - FRAME_MS)
        await until(lambda: said)
        assert set(listener.kinds()) <= {"input_audio_buffer.speech_started", "input_audio_transcription.delta"}
        assert listener.heard == []
        assert (await app.chat.conversations(ada.user)).items == []
        await say(talk, ms=0, then_ms=FRAME_MS)
        await listener.until("response.done")
        assert said == ["You said: what is on tonight"]
        assert await messages(app, ada, talk) == [
            ("user", "what is on tonight", MessageStatus.COMPLETE),
            ("assistant", "You said: what is on tonight", MessageStatus.COMPLETE),
        ]
        waited = listener.last("response.done")["latency"]
        assert waited["stt"] == waited["llm_ttft"] == waited["tts_ttfb"] == 0, "all of it was there when the turn ended"


async def test_of_an_answer_that_was_begun_too_early_nothing_is_left(app, ada):
    async with call(app, ada, "what is on") as (talk, listener, words):
        await say(talk, then_ms=RULES.endpoint_ms - FRAME_MS)
        await asyncio.sleep(0.1)
        words.texts[:] = ["what is on tonight"]
        await say(talk)
        await listener.until("response.done")
        assert [content for _, content, _ in await messages(app, ada, talk)] == ["what is on tonight", "You said: what is on tonight"]
        assert {data["text"] for kind, _, data in listener.told if kind == "input_audio_transcription.completed"} == {"what is on tonight"}
    assert [recorded.event.type for recorded in await app.events.read(aggregate_id=talk.conversation_id)].count(EventType.MESSAGE_RECEIVED) == 1


async def test_who_hangs_up_before_the_turn_ends_has_said_nothing(app, ada):
    async with call(app, ada, "what is on tonight") as (talk, _listener, _):
        await say(talk, then_ms=RULES.endpoint_ms - FRAME_MS)
        await asyncio.sleep(0.1)
    assert (await app.chat.conversations(ada.user)).items == []
    assert app.chat.open_answers == 0


async def test_a_spoken_turn_is_kept_with_its_sound_and_its_events_in_the_domains_order(app, ada):
    async with call(app, ada, "good day to you") as (talk, listener, _):
        await say(talk)
        await listener.until("response.done")
        (message, _answer) = (await app.chat.thread(ada.user, talk.conversation_id)).messages
    turn = await app.voice.turn(ada.user, message.id)
    assert turn.transcription.text == "good day to you"
    assert turn.response.response_text == "You said: good day to you"
    assert len((await app.voice.sound(ada.user, message.id, "request")).data) == 44 + 2 * 16 * (640 + RULES.final_ms)
    assert len((await app.voice.sound(ada.user, message.id, "response")).data) == 44 + 2 * VOICE_HZ * 6 * WORD_MS // 1000
    happened = [recorded.event.type for recorded in await app.events.read(aggregate_id=message.id)]
    assert happened == [kind for kind in VOICE_ORDER if kind is not EventType.RAG_QUERY_EXECUTED]


async def test_a_spoken_turn_is_kept_with_what_was_chosen_for_the_call(app, ada):
    await app.library.create(ada.user, "lab")
    for language, collections in (("de", ()), ("", ("lab",))):
        async with call(app, ada, "good day to you", language=language, collections=collections) as (talk, listener, _):
            await say(talk)
            await listener.until("response.done")
            (message, _answer) = (await app.chat.thread(ada.user, talk.conversation_id)).messages
        request = (await app.voice.turn(ada.user, message.id)).request
        assert (request.language, request.enable_rag) == (language, bool(collections))


async def test_of_an_interrupted_turn_only_the_sound_that_was_heard_is_kept(app, ada):
    async with call(app, ada, "one two three four five six seven eight") as (talk, listener, _):
        listener.plays = False
        await say(talk)
        await listener.until("response.audio.done")
        talk.played(1, 3 * WORD_MS, over=False)
        talk.cancel()
        message = (await app.chat.thread(ada.user, talk.conversation_id)).messages[0]
        for _ in range(100):
            turn = await app.voice.turn(ada.user, message.id)
            if turn.response is not None and turn.response.uri:
                break
            await asyncio.sleep(0.01)
    assert turn.response.interrupted
    assert len((await app.voice.sound(ada.user, message.id, "response")).data) == 44 + 2 * VOICE_HZ * 3 * WORD_MS // 1000


async def test_a_cough_into_an_answer_lowers_it_and_it_goes_on(app, ada):
    async with call(app, ada, "one two three four five six") as (talk, listener, words):
        listener.plays = False
        await say(talk)
        await listener.until("response.audio.done")
        words.texts = [""]
        await say(talk, 256)
        await listener.until("input_audio_buffer.dropped")
        assert [d["on"] for k, _, d in listener.told if k == "response.duck"] == [True, False]
        talk.played(1, listener.sent_ms(1), over=True)
        await listener.until("response.done")
        assert (await messages(app, ada, talk))[1][1] == "You said: one two three four five six"


async def test_a_word_into_an_answer_that_is_over_before_its_text_comes_is_an_ordinary_turn(app, ada):
    async with call(app, ada, "one two three") as (talk, listener, _):
        listener.plays = False
        await say(talk)
        await listener.until("response.audio.done")

        async def late(_pcm, _goes_on):
            await listener.until("response.done")
            return "yes"

        talk.choices = replace(talk.choices, hear=late)
        talk.played(1, listener.sent_ms(1), over=True)
        await say(talk, 256)
        listener.plays = True
        await listener.until("response.done", 2)
        assert [m[1] for m in await messages(app, ada, talk)][2:] == ["yes", "You said: yes"]


async def test_what_is_said_before_the_first_half_was_understood_belongs_to_it(app, ada):
    async with call(app, ada, "what is the weather") as (talk, listener, words):
        words.slow_s = 0.5
        await say(talk)
        assert listener.kinds()[-1] == "input_audio_buffer.speech_stopped"
        words.texts = ["in Rome today"]
        await say(talk)
        await listener.until("response.done")
        assert [m[1] for m in await messages(app, ada, talk)] == ["what is the weather in Rome today", "You said: what is the weather in Rome today"]
        assert listener.kinds(1)[-1] == "input_audio_buffer.dropped"


async def test_a_slow_transcriber_is_not_asked_for_partials_all_the_time(app, ada):
    async with call(app, ada, "hello") as (talk, listener, words):
        words.slow_s = 0.3
        await say(talk, 6400)
        await listener.until("response.done")
        assert len(words.asked) <= 4


async def test_speech_without_a_word_is_said_and_makes_no_turn(app, ada):
    async with call(app, ada, "") as (talk, listener, _):
        await say(talk)
        await listener.until("error")
        assert listener.last("error")["what"] == "I heard no words."
        assert listener.last("error")["aloud"]
        await asyncio.sleep(0)
        assert listener.told[-1][2] == {"state": "listening"}
        assert (await app.chat.conversations(ada.user)).items == []


async def test_a_transcriber_that_is_away_is_said_and_the_microphone_comes_back(app, ada):
    async with call(app, ada, "hello") as (talk, listener, words):
        words.error = ServiceUnavailable("The speech server does not answer.", service="stt", hint="Try again.")
        await say(talk)
        await listener.until("error")
        words.error = None
        await say(talk)
        await listener.until("response.done")


async def test_a_voice_that_is_away_is_said_once_and_the_answer_is_there_in_writing(app, ada):
    async with call(app, ada, "one two three, four. five six seven.", speak=mute) as (talk, listener, _):
        await say(talk)
        await listener.until("response.done")
        assert [d["what"] for k, _, d in listener.told if k == "error"] == ["The voice is not available: The voice server does not answer."]
        assert listener.last("response.done")["text"].endswith("five six seven.")


async def test_a_question_can_be_typed_into_a_call(app, ada):
    async with call(app, ada) as (talk, listener, _):
        talk.type("how are you")
        await listener.until("response.done")
        assert [m[1] for m in await messages(app, ada, talk)] == ["how are you", "You said: how are you"]


async def test_who_hangs_up_finds_what_they_heard_in_the_chat_and_can_have_it_continued(app, ada):
    async with call(app, ada, "one two three four five six seven eight") as (talk, listener, _):
        listener.plays = False
        await say(talk)
        await listener.until("response.audio.done")
        talk.played(1, 5 * WORD_MS, over=False)
    (_question, answer) = (await app.chat.thread(ada.user, talk.conversation_id)).messages
    assert answer.status is MessageStatus.INTERRUPTED
    assert answer.content.startswith("You said: one two")
    assert "eight" not in answer.content
    assert app.chat.open_answers == 0
    turn = await app.voice.turn(ada.user, answer.reply_to)
    assert (turn.response.response_text, turn.response.interrupted) == (answer.content, True)
    more = await app.chat.go_on(ada, answer.id)
    assert (await messages(app, ada, talk))[2][0] == "assistant"
    await app.chat.stop(ada.user, more.answer_id)


async def test_what_a_slow_voice_has_not_said_yet_was_not_heard(app, ada):
    async def slowly(text):
        yield sound(256)
        await asyncio.sleep(60)

    async with call(app, ada, "one two three four five six seven eight", speak=slowly) as (talk, listener, _):
        await say(talk)
        await listener.until("response.audio.start")
        await until(lambda: talk.state is State.SPEAKING)
        talk.played(1, 256, over=False)
    assert (await messages(app, ada, talk))[1] == ("assistant", "You", MessageStatus.INTERRUPTED)


async def test_an_answer_without_a_voice_is_kept_as_far_as_it_was_written(app, ada):
    async with call(app, ada, "[tokens=400 rate=100]", speak=mute) as (talk, listener, _):
        await say(talk)
        await listener.until("error")
        await listener.until("response.text.delta", 20)
    stored = (await messages(app, ada, talk))[1]
    shown = "".join(data["text"] for kind, _, data in listener.told if kind == "response.text.delta")
    assert stored == ("assistant", shown.rstrip(), MessageStatus.INTERRUPTED)


async def test_no_sound_of_a_cancelled_turn_comes_after_it(app, ada):
    async with call(app, ada, "[tokens=400 rate=200]") as (talk, listener, words):
        listener.plays = False
        await say(talk)
        await listener.until("response.audio.start")
        talk.cancel()
        words.texts = ["and now, something else"]
        count = len(listener.heard)
        await asyncio.sleep(0.1)
        assert len(listener.heard) == count
        listener.plays = True
        await say(talk)
        await listener.until("response.done")
        assert {turn for turn, _, _ in listener.heard[count:]} == {2}


async def test_a_long_silence_keeps_nothing_but_the_pre_roll(app, ada):
    async with call(app, ada) as (talk, _, _):
        await say(talk, 0, then_ms=6400)
        assert len(talk._frames) * FRAME_MS <= 352


async def test_a_call_goes_on_where_the_store_of_sound_is_away_and_says_what_is_not_kept(tmp_path, echo_server):
    async with open_app(echo_settings(tmp_path, objects_url=NOBODY), local=echo_server, serving=True) as app:
        who = await app.users.by_key((await app.users.make_key(await app.users.add("ada", None)))[1])
        async with call(app, who, "good day to you") as (talk, listener, _):
            await say(talk)
            await listener.until("response.done")
            assert listener.heard
            await listener.until("error", timeout_s=20)
            (message, answer) = (await app.chat.thread(who.user, talk.conversation_id)).messages
        assert (message.content, answer.content) == ("good day to you", "You said: good day to you")
        assert "sound of this turn is not kept" in listener.last("error")["what"]
        assert (await app.voice.turn(who.user, message.id)).response.response_text == "You said: good day to you"
