"""The routes that listen and speak, over engines without weights: OpenAI's shapes, refusals, places that come back, premium first."""

import asyncio
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
from echo_house import Served, echo_settings, recorded
from packing import packed

from core.errors import BadInput, ModelMissing, NoSpeech, ServiceBusy, ServiceError, ServiceUnavailable, TooLong, Unreadable
from core.inference import Caller, Priority, Service
from core.voice.containers import wav
from core.voice.model import AudioData, AudioFormat
from inference.audio import HEARD_RATE_HZ, decode, encode, resampled
from inference.audio_client import RemoteCodec, RemoteSynthesizer, RemoteTranscriber
from inference.client import ModelServer
from inference.echo import tones, understood
from inference.engine import EngineSettings
from inference.server import application
from inference.voice_activity import Loudness

pytestmark = pytest.mark.anyio
HEAR, SAY = "/v1/audio/transcriptions", "/v1/audio/speech"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    made = Served(application(echo_settings(tmp_path_factory.mktemp("inference"), audio_max_mb=4, audio_max_s=60), "t" * 32))
    yield made
    made.stop()


@pytest.fixture
async def http(served):
    async with httpx.AsyncClient(base_url=served.url, headers={"Authorization": "Bearer " + "t" * 32}, timeout=30) as client:
        yield client


def file(text="hello there"):
    return {"file": ("x.wav", recorded(text).data if isinstance(text, str) else text)}


async def free(http, service):
    for _ in range(40):
        if not (await http.get("/v1/status")).json()["models"][service]["queue"]["serving"]:
            return True
        await asyncio.sleep(0.05)
    return False


async def test_a_recording_is_heard_in_openais_shape(http):
    heard = (await http.post(HEAR, files=file(), data={"model": "echo-stt", "language": "en"})).json()
    assert (heard["text"], heard["language"]) == ("hello there", "en")
    assert heard["duration"] == pytest.approx(len(tones("hello there")) / 16_000, abs=0.01)
    assert heard["hearth"]["declared_ms"] == heard["hearth"]["duration_ms"]
    assert (await http.post(HEAR, files=file(), data={"response_format": "text"})).text == "hello there"


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "unreadable_audio"),
        (wav(bytes(64_000), 16_000), "no_speech"),
        (wav(np.random.default_rng(0).normal(0, 60, 32_000).astype(np.int16).tobytes(), 16_000), "no_speech"),
        (wav(np.full(32_000, 9_000, np.int16).tobytes(), 16_000), "no_speech"),
        (b"#EXTM3U\nhttp://127.0.0.1:9/a.mp3", "unreadable_audio"),
        (recorded("x" * 2_000).data, "context_length_exceeded"),
        (bytes(4_100_000), "context_length_exceeded"),
    ],
    ids=["nothing", "silence", "noise", "loud without a word", "a playlist", "a minute and more", "four megabytes and more"],
)
async def test_what_is_no_speech_is_refused_with_a_sentence_and_frees_its_place(http, content, code):
    answer = await http.post(HEAR, files=file(content))
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert answer.json()["error"]["hearth"]["hint"]
    assert await free(http, "stt")


@pytest.mark.parametrize("body", [{"content": b"no form"}, {"data": {"model": "x"}}, {"files": {"other": b"x"}}], ids=["no form", "no file", "another file"])
async def test_a_form_without_a_file_is_refused(http, body):
    assert (await http.post(HEAR, **body)).status_code == 400


async def test_a_client_that_leaves_while_it_is_listened_to_frees_the_place_within_two_seconds(http):
    with pytest.raises(httpx.TimeoutException):
        await http.post(HEAR, files=file("[slow=60] on and on"), timeout=0.4)
    async with asyncio.timeout(2):
        assert await free(http, "stt")


@pytest.mark.parametrize("form", ["wav", "mp3", "webm", "pcm"])
async def test_a_text_is_spoken_in_every_form(http, form):
    answer = await http.post(SAY, json={"input": "How long?", "voice": "tones", "response_format": form})
    assert answer.status_code == 200
    if form == "pcm":
        sound = resampled(np.frombuffer(answer.content, np.int16), 24_000, HEARD_RATE_HZ)
    else:
        sound = (await decode(answer.content, max_s=60)).samples
    assert understood(sound) == "How long?"


async def test_the_sound_comes_while_it_is_made(http):
    body = {"input": "Quite a long sentence to be said in tones. rate=1", "response_format": "pcm"}
    async with http.stream("POST", SAY, json=body) as answer:
        times = [asyncio.get_running_loop().time() async for _ in answer.aiter_bytes()]
    assert times[-1] - times[0] > 0.5
    assert len(times) > 3


async def test_a_listener_that_leaves_frees_the_voice(http):
    body = {"input": "rate=1 " + "on and on " * 60, "response_format": "pcm"}
    async with http.stream("POST", SAY, json=body) as answer:
        heard = answer.aiter_bytes()
        await anext(heard)
        assert (await http.get("/v1/status")).json()["models"]["tts"]["queue"]["serving"] == 1
    async with asyncio.timeout(2):
        assert await free(http, "tts")


@pytest.mark.parametrize(
    "body",
    [
        {"input": ""},
        {"input": "x" * 5_000},
        {"input": "x", "voice": "nobody"},
        {"input": "x", "response_format": "flac"},
        {"input": "x", "speed": 9},
        {"voice": "tones"},
    ],
    ids=str,
)
async def test_what_can_not_be_said_is_refused_before_the_first_byte(http, body):
    answer = await http.post(SAY, json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"]
    assert await free(http, "tts")


async def test_a_text_with_a_zero_in_it_is_said_to_its_end(http):
    answer = await http.post(SAY, json={"input": "a\0b", "response_format": "pcm"})
    assert understood(resampled(np.frombuffer(answer.content, np.int16), 24_000, HEARD_RATE_HZ)) == "a b"


async def test_another_model_is_not_silently_replaced(http):
    assert (await http.post(SAY, json={"input": "x", "model": "tts-1"})).json()["error"]["code"] == "model_missing"
    assert (await http.post(HEAR, files=file(), data={"model": "whisper-1"})).json()["error"]["code"] == "model_missing"


async def test_premium_is_heard_first_and_one_place_is_kept_for_it(tmp_path):
    served = Served(application(echo_settings(tmp_path, inference_audio_places=1), ""))
    order = []

    async def heard(client, text, priority):
        await client.post(HEAR, files=file(f"[slow=0.3] {text}"), headers={"x-hearth-priority": priority, "x-hearth-user": text})
        order.append(text)

    async with httpx.AsyncClient(base_url=served.url, timeout=30) as client:
        first = asyncio.create_task(heard(client, "first", "standard"))
        await asyncio.sleep(0.15)
        rest = [asyncio.create_task(heard(client, name, lane)) for name, lane in (("a", "standard"), ("b", "standard"), ("p", "premium"))]
        await asyncio.gather(first, *rest)
    served.stop()
    assert order[:2] == ["first", "p"]


# The client of these routes


async def no_detector():
    raise ModelMissing("The detector is not on this machine.")


async def loudness():
    return Loudness(EngineSettings(Path(), 1, 0)).listen()


@pytest.fixture
async def ears(served):
    server = ModelServer(Service.STT, f"{served.url}/v1", "echo-stt", key="t" * 32, local=True)
    yield RemoteTranscriber(server, no_detector, max_s=60)
    await server.close()


@pytest.fixture
async def mouth(served):
    server = ModelServer(Service.TTS, f"{served.url}/v1", "echo-tts", key="t" * 32, local=True)
    yield RemoteSynthesizer(server)
    await server.close()


async def test_our_own_server_is_heard_through_the_port_with_its_own_words(ears):
    heard = await ears.transcribe(recorded("hello"), caller=Caller(), language="en-GB")
    assert (heard.text, heard.language, heard.model) == ("hello", "en", "echo-stt")
    with pytest.raises(NoSpeech, match="I heard nothing"):
        await ears.transcribe(AudioData(wav(bytes(64_000), 16_000), AudioFormat.WAV), caller=Caller())
    with pytest.raises(TooLong, match="longer than 60 s"):
        await ears.transcribe(recorded("x" * 2_000), caller=Caller())
    with pytest.raises(Unreadable, match="no sound in it"):
        await ears.transcribe(AudioData(wav(b"", 16_000), AudioFormat.WAV), caller=Caller())
    assert (await ears.info()).local
    assert (await ears.check()).id == "echo-stt"


async def test_our_own_server_speaks_through_the_port(mouth):
    chunks = [c async for c in mouth.speak("hello", caller=Caller(priority=Priority.PREMIUM), voice="tones")]
    assert [c.sequence for c in chunks] == list(range(len(chunks)))
    for form in AudioFormat:
        made = await mouth.synthesize("hello", caller=Caller(), audio_format=form)
        sound = await decode(made.audio.data, max_s=60)
        assert understood(sound.samples) == "hello"
        assert sound.declared_ms == pytest.approx(sound.duration_ms, abs=60), "a player shows how long it is"
    assert [v.id for v in await mouth.voices()] == ["tones", "low-tones"]
    with pytest.raises(BadInput, match="no voice"):
        await mouth.synthesize("hello", caller=Caller(), voice="nobody")


async def test_our_own_server_opens_what_the_domain_does_not_know(served):
    server = ModelServer(Service.STT, f"{served.url}/v1", "echo-stt", key="t" * 32, local=True)
    codec = RemoteCodec(server)
    for form in ("ogg", "flac", "mp4"):
        made = await codec.to_wav(packed(form, tones("hello there")), caller=Caller("ada", Priority.PREMIUM))
        assert understood((await decode(made.data, max_s=60)).samples) == "hello there"
    with pytest.raises(Unreadable, match="can't be read as ogg"):
        await codec.to_wav(b"OggS" + bytes(400), caller=Caller())
    with pytest.raises(TooLong, match="longer than 60 s"):
        await codec.to_wav(packed("ogg", np.zeros(61 * 16_000, np.int16)), caller=Caller())
    with pytest.raises(TooLong, match="4 MB"):
        await codec.to_wav(b"fLaC" + bytes(4_100_000), caller=Caller())
    await server.close()


async def test_a_voice_whose_program_is_missing_says_what_to_install(tmp_path, monkeypatch):
    served = Served(application(echo_settings(tmp_path, tts_model="flite"), ""))
    server = ModelServer(Service.TTS, f"{served.url}/v1", "flite", local=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    for asked in (RemoteSynthesizer(server).check(), RemoteSynthesizer(server).synthesize("hello", caller=Caller())):
        with pytest.raises(ModelMissing, match="apt install flite"):
            await asked
    await server.close()
    served.stop()


class Foreign:
    """An OpenAI-compatible server of somebody else: answers as it is told, and keeps what it was asked."""

    def __init__(self):
        self.seen, self.answers = [], {}

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while (message := await receive())["type"] != "lifespan.shutdown":
                await send({"type": f"{message['type']}.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message.get("more_body"):
                break
        self.seen.append((scope["path"], body, dict(scope["headers"])))
        status, content, kind = self.answers.get(scope["path"], (404, b"{}", b"application/json"))
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": content})


@pytest.fixture
async def foreign():
    script = Foreign()
    served = Served(script)
    servers = [ModelServer(service, f"{served.url}/v1", "whisper-1", key="secret") for service in (Service.STT, Service.TTS)]
    yield script, RemoteTranscriber(servers[0], loudness, max_s=60), RemoteSynthesizer(servers[1])
    for server in servers:
        await server.close()
    served.stop()


async def test_a_foreign_server_is_asked_as_openai_asks_and_told_nothing_of_the_user(foreign):
    script, ears, mouth = foreign
    script.answers[HEAR] = (200, b'{"text": " Hello. "}', b"application/json")
    script.answers[SAY] = (200, bytes(9_601), b"audio/pcm")
    heard = await ears.transcribe(recorded("hello"), caller=Caller("ada", Priority.PREMIUM), language="de-AT")
    assert (heard.text, heard.declared_ms) == ("Hello.", None)
    path, body, headers = script.seen[0]
    assert path == HEAR
    for part in (b'name="model"\r\n\r\nwhisper-1', b'name="language"\r\n\r\nde\r\n', b'filename="speech.wav"', recorded("hello").data):
        assert part in body
    assert headers[b"authorization"] == b"Bearer secret"
    assert not any(name.startswith(b"x-hearth") for name in headers)
    chunks = [c async for c in mouth.speak("hello", caller=Caller("ada"))]
    assert sum(len(c.data) for c in chunks) == 9_600, "half a sample at the end is none"
    assert b'"voice":"alloy"' in script.seen[-1][1]
    with pytest.raises(BadInput, match="WebM"):
        await mouth.synthesize("hello", caller=Caller(), audio_format=AudioFormat.WEBM)


@pytest.mark.parametrize("form", ["wav", "webm", "mp3"])
async def test_a_foreign_server_is_not_asked_what_silence_says(foreign, form):
    script, ears, _ = foreign
    script.answers[HEAR] = (200, b'{"text": "Thank you for watching."}', b"application/json")
    for rate_hz, silence in ((16_000, np.zeros(32_000, np.int16)), (44_100, np.zeros(88_200, np.int16))):
        with pytest.raises(NoSpeech, match="I heard nothing"):
            await ears.transcribe(AudioData(encode(silence, form, rate_hz), AudioFormat(form)), caller=Caller())
    assert script.seen == []
    said = AudioData(encode(tones("hello"), form, 16_000), AudioFormat(form))
    assert (await ears.transcribe(said, caller=Caller())).text == "Thank you for watching."


async def test_without_a_detector_a_foreign_server_judges_alone(foreign):
    script, ears, _ = foreign
    script.answers[HEAR] = (200, b'{"text": "Hello."}', b"application/json")
    alone = RemoteTranscriber(ears._server, no_detector, max_s=60)
    assert (await alone.transcribe(AudioData(wav(bytes(64_000), 16_000), AudioFormat.WAV), caller=Caller())).text == "Hello."


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"not json", ServiceUnavailable),
        (200, b'{"text": ""}', NoSpeech),
        (400, b'{"error": {"message": "bad"}}', ServiceError),
        (404, b"{}", ModelMissing),
        (401, b"{}", ServiceError),
        (429, b"{}", ServiceBusy),
        (500, b"{}", ServiceUnavailable),
    ],
    ids=str,
)
async def test_a_foreign_server_that_fails_is_told_in_our_words(foreign, monkeypatch, status, body, kind):
    from inference import client

    monkeypatch.setattr(client, "RETRIES", 0)
    script, ears, _ = foreign
    script.answers[HEAR] = (status, body, b"application/json")
    with pytest.raises(kind) as raised:
        await ears.transcribe(recorded("hello"), caller=Caller())
    assert raised.value.hint


async def test_a_voice_that_says_nothing_is_an_error(foreign):
    script, _, mouth = foreign
    script.answers[SAY] = (200, b"", b"audio/pcm")
    with pytest.raises(ServiceUnavailable, match="said nothing"):
        _ = [c async for c in mouth.speak("hello", caller=Caller(), voice="x")]
    with pytest.raises(ServiceUnavailable, match="said nothing"):
        await mouth.synthesize("hello", caller=Caller(), voice="x")


async def test_a_foreign_server_that_lists_its_voices_is_believed(foreign):
    script, _, mouth = foreign
    assert (await mouth.voices())[0].id == "alloy"
    script.answers["/v1/audio/voices"] = (200, b'{"voices": ["af_heart", {"id": "bm_daniel", "language": "en-gb"}]}', b"application/json")
    assert [(v.id, v.language) for v in await mouth.voices()] == [("af_heart", ""), ("bm_daniel", "en-gb")]


def test_a_whole_file_says_how_long_it_is():
    import av

    sound = resampled(tones("hello there"), 16_000, 24_000)
    for form in ("mp3", "webm"):
        with av.open(io.BytesIO(encode(sound, form))) as file:
            assert file.duration / 1_000_000 == pytest.approx(len(sound) / 24_000, abs=0.1)
