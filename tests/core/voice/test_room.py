"""A spoken turn from its recording to its answer, over models that hear and say tones."""

import asyncio
import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from echo_house import NOBODY, Served, ask, echo_settings, finished, recorded, say, taken_in

from core.app import LocalInference, open_app
from core.chat.model import MessageStatus
from core.chat.turn import Finished
from core.errors import AlreadyThere, BadInput, NoSpeech, NotFound, ServiceBusy, ServiceError, ServiceUnavailable, TooLong, Unreadable
from core.events import VOICE_ORDER
from core.ids import new_id, reply_id
from core.inference import TextDelta
from core.users.model import Preferences
from core.voice.containers import wav
from core.voice.model import AudioChunk, AudioData, AudioFormat
from core.voice.room import OPEN_TURNS_PER_USER, REST, cut_to_speak
from core.voice.turn import Answered, Refused, Speaking, Transcribed
from inference.audio import HEARD_RATE_HZ, decode, resampled
from inference.echo import understood
from inference.server import application

pytestmark = pytest.mark.anyio
GUIDE = "# Lab handbook\n\n## Backups\nBackups run every night at 02:30 and are kept for 35 days."
SILENCE = AudioData(wav(bytes(64_000), 16_000), AudioFormat.WAV)


async def heard_in(data):
    return understood((await decode(data, max_s=600)).samples)


async def events_of(app, request_id):
    return [e.event for e in await app.events.read(aggregate_id=request_id)]


@pytest.mark.parametrize("audio_format", AudioFormat)
async def test_a_recording_is_heard_answered_in_its_conversation_and_spoken(app, ada, audio_format):
    spoken = say("How long?", audio_format=audio_format)
    answer = await app.voice.answer(ada, spoken)
    assert (answer.transcription, answer.response_text, answer.error) == ("How long?", "You said: How long?", "")
    assert answer.audio_format is audio_format
    assert await heard_in(base64.b64decode(answer.audio_b64)) == "You said: How long?"
    thread = await app.chat.thread(ada.user, spoken.conversation_id)
    assert [(m.id, m.role, m.content) for m in thread.messages] == [
        (spoken.request_id, "user", "How long?"),
        (answer.id, "assistant", "You said: How long?"),
    ]


async def test_spoken_and_written_turns_are_one_conversation(app, ada):
    conversation = new_id()
    first = await app.voice.answer(ada, say("one", conversation_id=conversation))
    second = await app.voice.answer(ada, say("two", conversation_id=conversation))
    messages = (await app.chat.thread(ada.user, conversation)).messages
    assert [m.id for m in messages][1::2] == [first.id, second.id]
    assert messages[2].parent_id == first.id


async def test_the_messages_of_a_spoken_turn_are_in_a_voice_session_that_lasts(app, ada):
    conversation = new_id()
    for text in ("one", "two"):
        await app.voice.answer(ada, say(text, conversation_id=conversation))
    sessions = {m.session_id for m in (await app.chat.thread(ada.user, conversation)).messages}
    assert len(sessions) == 1
    assert sessions != {ada.session.id}
    (created,) = [e.event for e in await app.events.read(aggregate_id=sessions.pop())]
    assert (created.type, created.data) == ("SessionCreated", {"type": "voice"})


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("enable_rag", [False, True])
async def test_events_come_in_the_domains_order(app, ada, streamed, enable_rag):
    await taken_in(app, ada, "guide.md", GUIDE)
    spoken = say("How long are backups kept?", enable_rag=enable_rag, streamed=streamed)
    answer = await app.voice.answer(ada, spoken)
    events = await events_of(app, spoken.request_id)
    assert [e.type for e in events] == [kind for kind in VOICE_ORDER if enable_rag or kind != "RAGQueryExecuted"]
    assert [e.at for e in events] == sorted(e.at for e in events)
    assert all(e.user_id == ada.user.id for e in events)
    assert answer.rag_docs_used == int(enable_rag)


async def test_documents_are_read_as_the_user_chose_once_unless_the_request_says_otherwise(app, ada):
    await taken_in(app, ada, "guide.md", GUIDE)
    never = replace(ada, user=replace(ada.user, preferences=Preferences(enable_rag=False)))
    assert (await app.voice.answer(ada, say("backups kept?"))).rag_docs_used == 1
    assert (await app.voice.answer(never, say("backups kept?"))).rag_docs_used == 0
    assert (await app.voice.answer(never, say("backups kept?", enable_rag=True))).rag_docs_used == 1
    assert (await app.voice.answer(ada, say("backups kept?", collections=("lab",)))).rag_docs_used == 1


async def test_a_collection_that_is_not_there_is_told_as_the_answer(app, ada):
    answer = await app.voice.answer(ada, say("hello", collections=("nowhere",)))
    assert "nowhere" in answer.error
    assert answer.response_text == answer.error, "a request that is stored gets its one response"


async def test_a_streamed_answer_begins_to_sound_before_it_is_written(app, ada):
    text = "[tokens=60 rate=40] "
    turn = await app.voice.send(ada, say(f"{text} Go.", streamed=True))
    updates = [u async for u in turn.follow()]
    kinds = [type(u) for u in updates]
    assert kinds.index(Transcribed) < kinds.index(TextDelta) < kinds.index(Speaking) < kinds.index(AudioChunk) < kinds.index(Finished)
    assert kinds[-1] is Answered
    chunks = [u for u in updates if isinstance(u, AudioChunk)]
    assert [c.sequence for c in chunks] == list(range(len(chunks)))
    assert max(c.duration_ms for c in chunks) <= 200


async def test_every_piece_is_spoken_in_order_and_the_stored_sound_is_all_of_it(app, ada):
    turn = await app.voice.send(ada, say("First a clause, then a sentence. And **another** one!", streamed=True))
    updates = [u async for u in turn.follow()]
    pieces = [u.text for u in updates if isinstance(u, Speaking)]
    assert pieces == ["You said: First a clause,", "then a sentence.", "And another one!"]
    raw = b"".join(u.data for u in updates if isinstance(u, AudioChunk))
    kept = await app.voice.sound(ada.user, turn.request_id, "response")
    assert kept.data[44:] == raw
    assert (await app.voice.turn(ada.user, turn.request_id)).response.response_text == "You said: First a clause, then a sentence. And **another** one!"


def test_a_long_answer_is_spoken_as_far_as_a_listener_listens():
    long = "A sentence of a few words. " * 400
    spoken = cut_to_speak(long)
    assert len(spoken) <= 4096
    assert spoken.endswith(f"words.{REST}")
    assert len(cut_to_speak("x" * 9_000)) == 4096


async def test_the_same_request_again_gives_the_stored_response(app, ada):
    spoken = say("How long?")
    first = await app.voice.answer(ada, spoken)
    assert await app.voice.answer(ada, spoken) == first
    assert len((await app.chat.thread(ada.user, spoken.conversation_id)).messages) == 2
    assert len(await events_of(app, spoken.request_id)) == len(VOICE_ORDER) - 1


async def test_the_same_request_while_it_is_answered_is_the_same_turn(app, ada):
    spoken = say("[tokens=5 rate=20]")
    assert await app.voice.send(ada, spoken) is await app.voice.send(ada, spoken)
    assert app.voice.open_turn(ada.user, spoken.request_id) is not None
    await app.voice.answer(ada, spoken)
    assert app.voice.open_turn(ada.user, spoken.request_id) is None


async def test_the_same_id_with_another_recording_is_refused(app, ada, bob):
    spoken = say("one")
    await app.voice.answer(ada, spoken)
    with pytest.raises(AlreadyThere):
        await app.voice.answer(ada, replace(spoken, audio=recorded("two")))
    with pytest.raises(AlreadyThere):
        await app.voice.answer(ada, replace(spoken, conversation_id=new_id()))
    with pytest.raises(NotFound):
        await app.voice.answer(bob, spoken)


@pytest.mark.parametrize(
    ("audio", "kind"),
    [
        (SILENCE, NoSpeech),
        (AudioData(wav(bytes([200, 0]) * 40_000, 16_000), AudioFormat.WAV), NoSpeech),
        (AudioData(wav(b"", 16_000), AudioFormat.WAV), Unreadable),
        (AudioData(wav(b"\x10\x27\xf0\xd8" * 30_000, 16_000), AudioFormat.WAV), NoSpeech),
        (AudioData(b"\x1a\x45\xdf\xa3" + b"\0" * 20 + b"webm" + b"\0" * 300, AudioFormat.WEBM), Unreadable),
        (AudioData(b"ID3" + b"\0" * 500, AudioFormat.MP3), Unreadable),
    ],
    ids=["silence", "a hum", "no samples", "loud without a word", "half a webm", "an mp3 of nothing"],
)
async def test_where_nothing_is_heard_nothing_is_stored(app, ada, audio, kind):
    spoken = say(audio)
    with pytest.raises(kind) as refused:
        await app.voice.answer(ada, spoken)
    assert refused.value.hint
    with pytest.raises(NotFound):
        await app.voice.turn(ada.user, spoken.request_id)
    assert await events_of(app, spoken.request_id) == []
    assert (await app.chat.conversations(ada.user)).items == []
    assert app.voice.open_turn(ada.user, spoken.request_id) is None


async def test_a_recording_that_is_too_large_is_not_even_sent_on(app, ada):
    large = AudioData(wav(bytes(26_000_000), 16_000), AudioFormat.WAV)
    with pytest.raises(TooLong, match="25 MB"):
        await app.voice.send(ada, say(large))


async def test_one_user_can_not_fill_the_house_with_recordings(app, ada, bob):
    turns = [await app.voice.send(ada, say(f"[tokens=50 rate=20] {n}")) for n in range(OPEN_TURNS_PER_USER)]
    with pytest.raises(ServiceBusy):
        await app.voice.send(ada, say("one more"))
    assert (await app.voice.answer(bob, say("hello"))).response_text == "You said: hello"
    for turn in turns:
        await app.voice.stop(ada.user, turn.request_id)
    assert (await app.voice.answer(ada, say("hello"))).response_text == "You said: hello"


async def test_stopping_ends_model_and_voice_and_keeps_what_was_spoken(app, ada):
    spoken = say("First of all, rate=1 this goes on. And on, and on. rate=1 Still going on.", streamed=True)
    turn = await app.voice.send(ada, spoken)
    pieces = 0
    async for update in turn.follow():
        pieces += isinstance(update, Speaking)
        if pieces == 2 and isinstance(update, AudioChunk):
            break
    await app.voice.stop(ada.user, turn.request_id)
    stored = (await app.voice.turn(ada.user, turn.request_id)).response
    assert stored.interrupted
    assert stored.response_text == "You said: First of all,"
    assert isinstance(turn.end, Answered)
    assert (await app.voice.sound(ada.user, turn.request_id, "response")).data[:4] == b"RIFF"
    assert await app.voice.stop(ada.user, turn.request_id) is None


async def test_stopping_while_the_model_writes_stops_it_too(app, ada):
    turn = await app.voice.send(ada, say("[tokens=500 rate=20]", streamed=True))
    async for update in turn.follow():
        if isinstance(update, TextDelta):
            break
    await app.voice.stop(ada.user, turn.request_id)
    message = await app.chat.message(ada.user, reply_id(turn.request_id))
    assert message.status is MessageStatus.STOPPED
    assert message.content
    assert (await app.voice.turn(ada.user, turn.request_id)).response.interrupted
    kinds = [e.type for e in await events_of(app, turn.request_id)]
    assert kinds == [kind for kind in VOICE_ORDER if kind in kinds]
    assert "LLMResponseGenerated" in kinds


async def test_a_client_that_leaves_in_mid_turn_frees_its_place_within_two_seconds(app, ada, echo_server):
    for text in ("[slow=30] listening", "[tokens=900 rate=20] writing"):
        turn = await app.voice.send(ada, say(text, streamed=True))
        updates = app.voice.follow_or_stop(turn)
        await anext(updates)
        await updates.aclose()
        begun = asyncio.get_running_loop().time()
        while app.voice.open_turn(ada.user, turn.request_id) is not None:
            await asyncio.sleep(0.05)
        assert asyncio.get_running_loop().time() - begun < 2
    from inference.client import ModelServer

    server = ModelServer("stt", echo_server.url, "echo-stt", key=echo_server.token, local=True)
    for _ in range(40):
        serving = {name: of["queue"]["serving"] for name, of in (await server.get("status"))["models"].items()}
        if not any(serving.values()):
            break
        await asyncio.sleep(0.05)
    await server.close()
    assert set(serving.values()) == {0}


async def test_a_crash_after_a_request_was_stored_loses_nothing(tmp_path, echo_server):
    """The house goes down while it answers; the same request to the next house is answered without being heard again."""
    spoken = say("[tokens=400 rate=20] go on", streamed=True)
    async with open_app(echo_settings(tmp_path), local=echo_server, serving=True) as app:
        await app.users.add("ada", None)
        who = await app.users.by_key((await app.users.make_key(await app.users.named("ada")))[1])
        turn = await app.voice.send(who, spoken)
        async for update in turn.follow():
            if isinstance(update, TextDelta):
                break
    async with open_app(echo_settings(tmp_path), local=echo_server, serving=True) as app:
        again = await app.voice.answer(who, spoken)
        assert again.interrupted
        assert again.transcription == "[tokens=400 rate=20] go on"
        assert len((await app.chat.thread(who.user, spoken.conversation_id)).messages) == 2


@pytest.fixture
async def halves(tmp_path, tmp_path_factory):
    """Houses of which a part is missing: opens one with these settings."""
    served = []

    async def opened(stack, **given):
        settings = echo_settings(tmp_path, **given)
        server = Served(application(settings, ""))
        served.append(server)
        app = await stack.enter_async_context(open_app(settings, local=LocalInference(f"{server.url}/v1", ""), serving=True))
        return app, await app.users.by_key((await app.users.make_key(await app.users.add("ada", None)))[1])

    yield opened
    for server in served:
        server.stop()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("given", [{"tts_url": "off"}, {"tts_url": "http://127.0.0.1:9/v1#nobody"}, {"tts_model": "piper-joe"}], ids=str)
async def test_without_a_voice_the_answer_is_text_and_says_why_there_is_no_sound(halves, given, streamed):
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        app, who = await halves(stack, **given)
        answer = await app.voice.answer(who, say("How long?", streamed=streamed))
        assert answer.response_text == "You said: How long?"
        assert answer.audio_b64 == ""
        assert "spoken" in answer.error or "Speaking" in answer.error
        if "tts_model" in given:
            assert "hearth models fetch piper-joe" in answer.error


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        ({"stt_url": "off"}, ServiceUnavailable, "switched off"),
        ({"stt_url": "http://127.0.0.1:9/v1#nobody"}, ServiceError, "stt"),
        ({"vad_model": "silero-vad"}, ServiceError, "hearth models fetch silero-vad"),
    ],
    ids=str,
)
async def test_without_somebody_who_listens_nothing_is_stored_and_the_error_says_what_to_do(halves, given, kind, words):
    from contextlib import AsyncExitStack

    from core.errors import ModelMissing

    async with AsyncExitStack() as stack:
        app, who = await halves(stack, **given)
        spoken = say("How long?")
        with pytest.raises((kind, ModelMissing)) as refused:
            await app.voice.answer(who, spoken)
        assert words in str(refused.value)
        with pytest.raises(NotFound):
            await app.voice.turn(who.user, spoken.request_id)


async def test_a_model_that_fails_is_told_in_the_one_response(halves):
    from contextlib import AsyncExitStack

    async with AsyncExitStack() as stack:
        app, who = await halves(stack, llm_url="http://127.0.0.1:9/v1#nobody")
        answer = await app.voice.answer(who, say("How long?"))
        assert "llm" in answer.error
        assert answer.response_text == answer.error


async def test_where_every_model_is_elsewhere_only_the_domains_own_forms_are_taken(tmp_path):
    nowhere = "http://127.0.0.1:9/v1#nobody"
    given = {f"{service}_url": nowhere for service in ("llm", "embeddings", "stt", "tts")} | {"reranker_url": "off"}
    async with open_app(echo_settings(tmp_path, **given)) as app:
        user = await app.users.add("ada", None)
        assert (await app.voice.recording(user, recorded("x").data)).format == "wav"
        with pytest.raises(Unreadable) as refused:
            await app.voice.recording(user, b"OggS" + bytes(60))
        assert refused.value.hint == "Send wav, webm, mp3."


async def test_sound_is_gone_after_an_hour_and_text_after_thirty_days(tmp_path, echo_server):
    now = [datetime(2026, 5, 1, 12, tzinfo=UTC)]
    async with open_app(echo_settings(tmp_path), local=echo_server, serving=True, clock=lambda: now[0]) as app:
        await app.users.add("ada", None)
        who = await app.users.by_key((await app.users.make_key(await app.users.named("ada")))[1])
        spoken = say("How long?")
        answer = await app.voice.answer(who, spoken)
        files = [p for p in (tmp_path / "objects").rglob("*") if p.is_file()]
        assert len(files) == 2
        now[0] += timedelta(minutes=59)
        assert await app.retention.sweep_audio() == 0
        assert (await app.voice.sound(who.user, spoken.request_id, "request")).data == spoken.audio.data
        now[0] += timedelta(minutes=2)
        assert await app.retention.sweep_audio() == 2
        assert [p for p in (tmp_path / "objects").rglob("*") if p.is_file()] == [], "the object is gone"
        kept = await app.voice.turn(who.user, spoken.request_id)
        assert (kept.transcription.text, kept.response.response_text) == ("How long?", answer.response_text), "the row is kept"
        for side in ("request", "response"):
            with pytest.raises(NotFound, match="not there any more"):
                await app.voice.sound(who.user, spoken.request_id, side)
        assert (await app.voice.answer(who, spoken)).audio_b64 == "", "the same request again says the same, without its sound"
        assert await app.retention.sweep_audio() == 0
        now[0] += timedelta(days=29, hours=22)
        assert "spoken turns" not in (await app.retention.sweep()).removed
        now[0] += timedelta(hours=2)
        assert (await app.retention.sweep()).removed["spoken turns"] == 1
        with pytest.raises(NotFound):
            await app.voice.turn(who.user, spoken.request_id)
        assert await events_of(app, spoken.request_id) == []


async def test_a_deleted_conversation_takes_its_recordings_along(app, ada):
    spoken = say("How long?")
    await app.voice.answer(ada, spoken)
    receipt = await app.chat.delete(ada.user, spoken.conversation_id)
    assert receipt.complete
    assert (receipt.removed["voice requests"], receipt.removed["voice responses"]) == (1, 1)
    await app.retention.sweep_audio()
    assert [p for p in (app.settings.home / "objects").rglob("*") if p.is_file()] == []
    with pytest.raises(NotFound):
        await app.voice.turn(ada.user, spoken.request_id)


async def test_nobody_hears_or_ends_what_is_somebody_elses(app, ada, bob):
    spoken = say("[tokens=30 rate=20] secret")
    turn = await app.voice.send(ada, spoken)
    assert app.voice.open_turn(bob.user, spoken.request_id) is None
    assert await app.voice.stop(bob.user, spoken.request_id) is None
    await app.voice.answer(ada, spoken)
    assert not turn.end.response.interrupted
    for asked in (app.voice.turn(bob.user, spoken.request_id), app.voice.sound(bob.user, spoken.request_id, "request")):
        with pytest.raises(NotFound):
            await asked


async def test_a_disabled_users_turn_ends(app, ada):
    turn = await app.voice.send(ada, say("[tokens=900 rate=20]", streamed=True))
    await app.users.add("other", None, admin=True)
    await app.users.change(ada.user.id, disabled=True)
    async with asyncio.timeout(6):
        async for _ in turn.follow():
            pass
    assert turn.finished


async def test_the_users_own_voice_speaks_and_an_unknown_one_is_named(app, ada):
    assert [v.id for v in await app.voice.voices()] == ["tones", "low-tones"]
    chosen = replace(ada.user, preferences=Preferences(voice_id="nobody"))
    with pytest.raises(BadInput, match="no voice 'nobody'"):
        await app.voice.say(chosen, "hello")
    assert (await app.voice.say(chosen, "hello", voice="tones")).audio.duration_ms > 100


async def test_what_is_spoken_as_raw_samples_is_what_is_spoken_as_a_file(app, ada):
    raw = b"".join([c.data async for c in app.voice.speak(ada.user, "hello there")])
    file = (await app.voice.say(ada.user, "hello there")).audio
    assert file.data[44:] == raw
    import numpy as np

    assert understood(resampled(np.frombuffer(raw, np.int16), 24_000, HEARD_RATE_HZ)) == "hello there"


async def test_a_turn_that_was_refused_can_be_followed_to_its_end(app, ada):
    turn = await app.voice.send(ada, say(SILENCE))
    updates = [u async for u in turn.follow()]
    assert isinstance(updates[-1], Refused)
    assert isinstance(updates[-1].error, NoSpeech)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_spoken_turn_goes_on_where_the_store_of_sound_is_away_and_says_what_is_not_kept(tmp_path, echo_server, streamed):
    async with open_app(echo_settings(tmp_path, objects_url=NOBODY), local=echo_server, serving=True) as app:
        who = await app.users.by_key((await app.users.make_key(await app.users.add("ada", None)))[1])
        spoken = say("How long?", streamed=streamed)
        answer = await app.voice.answer(who, spoken)
        assert (answer.transcription, answer.response_text) == ("How long?", "You said: How long?")
        assert await heard_in(base64.b64decode(answer.audio_b64)) == "You said: How long?", "it is heard once, live"
        assert answer.error.startswith("Sorry, the sound of this turn is not kept")
        assert [m.content for m in (await app.chat.thread(who.user, spoken.conversation_id)).messages] == ["How long?", "You said: How long?"]
        again = await app.voice.answer(who, spoken)
        assert (again.response_text, again.audio_b64, again.error) == (answer.response_text, "", answer.error)
        assert [e.type for e in await events_of(app, spoken.request_id)] == [kind for kind in VOICE_ORDER if kind != "RAGQueryExecuted"]


async def test_where_the_store_of_originals_is_away_chat_goes_on_and_an_upload_is_refused_before_it_is_accepted(tmp_path, echo_server):
    async with open_app(echo_settings(tmp_path, objects_url=NOBODY), local=echo_server, serving=True) as app:
        who = await app.users.by_key((await app.users.make_key(await app.users.add("ada", None)))[1])
        with pytest.raises(ServiceUnavailable, match="store of objects"):
            await taken_in(app, who, "guide.md", GUIDE)
        assert (await app.library.jobs(who.user)).items == []
        assert (await finished(await app.chat.send(who, ask("still there?")))).content == "You said: still there?"
