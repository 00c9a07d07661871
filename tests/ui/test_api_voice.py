"""Speaking and listening over HTTP, as a program does it."""

import base64
import struct

import numpy as np
import pytest
from echo_house import echo_settings, recorded, taken_in
from packing import packed

from core.app import open_app
from core.ids import new_id
from core.users.model import Quota
from core.voice.containers import wav
from inference.audio import HEARD_RATE_HZ, decode, encode, resampled
from inference.echo import tones, understood
from ui.server import LatePage, web

pytestmark = pytest.mark.anyio
GUIDE = "# Lab handbook\n\n## Backups\nBackups run every night at 02:30 and are kept for 35 days."
SILENCE = wav(bytes(64_000), 16_000)


def b64(data):
    return base64.b64encode(data).decode()


def body(text="How long?", **given):
    return {"audio_b64": b64(recorded(text).data), "format": "wav"} | given


async def said(data):
    return understood((await decode(data, max_s=600)).samples)


async def test_a_voice_request_gets_its_voice_response(app, ada, api):
    await taken_in(app, ada, "guide.md", GUIDE)
    ids = {"id": new_id(), "conversation_id": new_id()}
    answer = (await api.post("/v1/voice", json=body("How long are backups kept?", collection="lab", **ids))).json()
    assert (answer["request_id"], answer["conversation_id"]) == (ids["id"], ids["conversation_id"])
    assert answer["transcription"] == "How long are backups kept?"
    assert answer["rag_docs_used"] == 1
    assert answer["latency_ms"] > 0
    assert "[1]" in answer["response_text"]
    assert await said(base64.b64decode(answer["audio_b64"])) == "You said: How long are backups kept?", "citations are read, not read aloud"
    thread = (await api.get(f"/v1/conversations/{ids['conversation_id']}")).json()["messages"]
    assert [m["id"] for m in thread] == [ids["id"], answer["id"]]
    assert thread[1]["metadata"]["rag_sources"]


@pytest.mark.parametrize("sent", ["wav", "webm", "mp3"])
@pytest.mark.parametrize("wanted", ["wav", "webm", "mp3"])
async def test_every_form_comes_in_and_goes_out(api, sent, wanted):
    data = encode(resampled(tones("How long?"), 16_000, 24_000), sent)
    answer = (await api.post("/v1/voice", json={"audio_b64": b64(data), "format": sent, "audio_format": wanted})).json()
    assert (answer["transcription"], answer["audio_format"]) == ("How long?", wanted)
    assert await said(base64.b64decode(answer["audio_b64"])) == "You said: How long?"


@pytest.mark.parametrize("sent", ["ogg", "flac", "mp4"])
async def test_what_another_recorder_made_is_wav_before_it_is_a_request(app, ada, api, sent):
    data, ids = packed(sent, tones("How long?")), {"id": new_id(), "conversation_id": new_id()}
    asked = {"audio_b64": b64(data), "format": sent} | ids
    answer = (await api.post("/v1/voice", json=asked)).json()
    assert answer["transcription"] == "How long?"
    kept = await app.voice.sound(ada.user, ids["id"], "request")
    assert (kept.format, await said(kept.data)) == ("wav", "How long?")
    assert (await api.post("/v1/voice", json=asked)).json() == answer, "the same file is the same request"
    heard = await api.post("/v1/audio/transcriptions", files={"file": (f"x.{sent}", data)})
    assert heard.json()["text"] == "How long?"


async def test_the_same_request_again_is_the_stored_response_and_another_under_its_id_is_a_409(api):
    ids = {"id": new_id(), "conversation_id": new_id()}
    first = (await api.post("/v1/voice", json=body(**ids))).json()
    assert (await api.post("/v1/voice", json=body(**ids))).json() == first
    assert (await api.get(f"/v1/voice/{ids['id']}")).json() == first
    assert (await api.post("/v1/voice", json=body("Something else", **ids))).status_code == 409


async def test_silence_is_an_error_that_is_also_said_aloud(api):
    answer = await api.post("/v1/voice", json={"audio_b64": b64(SILENCE), "format": "wav", "audio_format": "mp3"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["message"].startswith("I heard nothing")
    assert await said(base64.b64decode(error["audio_b64"])) == error["message"]
    assert (await api.get("/v1/conversations")).json()["items"] == []


HOSTILE = b"RIFF" + struct.pack("<I4s4sIHHIIHH4sI", 4_000, b"WAVE", b"fmt ", 16, 1, 32, 192_000, 192_000 * 64, 64, 16, b"data", 4_000) + bytes(4_000)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"audio_b64": "###"}, 400),
        ({"audio_b64": ""}, 400),
        ({"format": "flac"}, 400),
        ({"format": "aiff"}, 400),
        ({"audio_b64": b64(packed("flac", tones("x"))), "format": "ogg"}, 400),
        ({"audio_b64": b64(packed("mp4", tones("x"))[:400]), "format": "mp4"}, 400),
        ({"audio_b64": b64(b"OggS" + bytes(400)), "format": "ogg"}, 400),
        ({"audio_b64": b64(packed("flac", np.zeros(16_000, np.int16))), "format": "flac"}, 400),
        ({"format": "webm"}, 400),
        ({"audio_format": "flac"}, 400),
        ({"audio_b64": b64(b"#EXTM3U\nhttp://127.0.0.1:9/"), "format": "mp3"}, 400),
        ({"audio_b64": b64(HOSTILE)}, 413),
        ({"audio_b64": b64(b"\x1a\x45\xdf\xa3" + bytes(20) + b"webm" + bytes(300)), "format": "webm"}, 400),
        ({"id": "1"}, 400),
        ({"language": "English, please"}, 400),
        ({"speed": 100}, 422),
        ({"format": None}, 422),
    ],
    ids=lambda given: str(given)[:60],
)
async def test_what_can_not_be_heard_is_refused_with_a_sentence_and_nothing_is_stored(api, given, status):
    answer = await api.post("/v1/voice", json=body() | given)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"].endswith((".", "!", "?"))
    assert (await api.get("/v1/conversations")).json()["items"] == []


async def test_a_recording_over_the_limit_is_a_413_before_it_is_decoded(tmp_path, echo_server, open_client):
    async with open_app(echo_settings(tmp_path, audio_max_mb=1), local=echo_server) as app:
        key = (await app.users.make_key(await app.users.add("ada", None)))[1]
        async with open_client(web(app, LatePage(wanted=False)), key) as client:
            large = wav(bytes(1_200_000), 16_000)
            for answer in (
                await client.post("/v1/voice", json={"audio_b64": b64(large), "format": "wav"}),
                await client.post("/v1/audio/transcriptions", files={"file": ("x.wav", large)}),
            ):
                assert answer.status_code == 413
                assert "HEARTH_AUDIO_MAX_MB" in answer.json()["error"]["hint"]


async def test_a_recording_is_heard_in_openais_shape(api):
    heard = (await api.post("/v1/audio/transcriptions", files={"file": ("x.webm", recorded("hello").data)}, data={"model": "whisper-1"})).json()
    assert heard["text"] == "hello"
    assert heard["duration"] > 0
    plain = await api.post("/v1/audio/transcriptions", files={"file": ("x", recorded("hello").data)}, data={"response_format": "text"})
    assert plain.text == "hello"
    assert (await api.post("/v1/audio/transcriptions", files={"file": ("x.wav", b"no sound")})).status_code == 400
    assert (await api.post("/v1/audio/transcriptions", files={"file": ("x.wav", b"")})).status_code == 400
    assert (await api.post("/v1/audio/transcriptions", files={"file": ("x.ogg", b"OggS" + bytes(400))})).status_code == 400
    assert (await api.post("/v1/audio/transcriptions", data={"model": "x"})).status_code == 422


async def test_what_a_cut_off_recording_says_of_its_length_is_told(api):
    cut = recorded("hello there, this goes on").data
    heard = (await api.post("/v1/audio/transcriptions", files={"file": ("x.wav", cut[: len(cut) // 2])})).json()
    assert heard["hearth"]["declared_ms"] > heard["hearth"]["duration_ms"] * 1.9


@pytest.mark.parametrize("form", ["mp3", "wav", "webm", "pcm"])
async def test_a_text_is_spoken_in_openais_shape(api, form):
    answer = await api.post("/v1/audio/speech", json={"model": "tts-1", "input": "hello", "voice": "tones", "response_format": form})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "private, no-store"
    if form == "pcm":
        assert understood(resampled(np.frombuffer(answer.content, np.int16), 24_000, HEARD_RATE_HZ)) == "hello"
    else:
        assert await said(answer.content) == "hello"


async def test_a_text_that_is_read_out_counts_as_a_request(app, ada, api):
    await app.users.change(ada.user.id, quota=Quota(requests=1))
    first, second = [await api.post("/v1/audio/speech", json={"input": "hello", "response_format": form}) for form in ("wav", "pcm")]
    assert (first.status_code, second.status_code) == (200, 429)
    assert "Your quota of 1 for today is used up" in second.json()["error"]["message"]


@pytest.mark.parametrize(
    ("given", "status"),
    [({"input": " "}, 400), ({"input": "x", "voice": "nobody"}, 400), ({"input": "x" * 5_000}, 422), ({"input": "x", "speed": 9}, 422)],
    ids=str,
)
@pytest.mark.parametrize("form", ["mp3", "pcm"])
async def test_what_can_not_be_said_is_refused(api, given, status, form):
    answer = await api.post("/v1/audio/speech", json={"response_format": form} | given)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


async def test_voice_and_language_are_chosen_once(api):
    listed = (await api.get("/v1/audio/voices")).json()
    assert ([v["id"] for v in listed["voices"]], listed["chosen"]) == (["tones", "low-tones"], "")
    assert (await api.patch("/v1/preferences", json={"voice_id": "low-tones", "speech_language": "en-GB"})).status_code == 200
    assert (await api.get("/v1/audio/voices")).json()["chosen"] == "low-tones"
    assert (await api.get("/v1/preferences")).json() == {
        "voice_id": "low-tones", "speech_language": "en-GB", "model_preference": "default", "enable_rag": True,
    }  # fmt: skip
    assert (await api.post("/v1/audio/transcriptions", files={"file": ("x.wav", recorded("hello").data)})).json()["language"] == "en"
    assert (await api.patch("/v1/preferences", json={"voice_id": "nobody"})).status_code == 400
    assert (await api.patch("/v1/preferences", json={"speech_language": "x y"})).status_code == 400
    assert (await api.patch("/v1/preferences", json={"voice_id": ""})).json()["voice_id"] == ""


async def test_sound_is_replayed_from_a_route_of_its_own(api):
    ids = {"id": new_id(), "conversation_id": new_id()}
    answer = (await api.post("/v1/voice", json=body(**ids, audio_format="mp3"))).json()
    mine = await api.get(f"/files/voice/{ids['id']}/request")
    theirs = await api.get(f"/files/voice/{ids['id']}/response")
    assert (mine.content, mine.headers["content-type"]) == (recorded("How long?").data, "audio/wav")
    assert (theirs.content, theirs.headers["content-type"]) == (base64.b64decode(answer["audio_b64"]), "audio/mpeg")
    assert theirs.headers["cache-control"] == "private, no-store"
    assert (await api.get(f"/files/voice/{ids['id']}/other")).status_code == 422


async def test_a_turn_that_is_over_can_be_stopped_and_stays_as_it_is(api):
    ids = {"id": new_id(), "conversation_id": new_id()}
    first = (await api.post("/v1/voice", json=body(**ids))).json()
    assert (await api.post(f"/v1/voice/{ids['id']}/stop")).status_code == 204
    assert (await api.get(f"/v1/voice/{ids['id']}")).json() == first
    assert (await api.post(f"/v1/voice/{new_id()}/stop")).status_code == 404


async def test_premium_is_the_users_and_not_the_clients_to_say(app, ada, api):
    ids = {"id": new_id(), "conversation_id": new_id()}
    await api.post("/v1/voice", json=body(premium=True, **ids))
    assert not (await app.voice.turn(ada.user, ids["id"])).request.premium
