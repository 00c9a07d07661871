"""The routes of sound beside hearing and speaking as such: the forms they give, what becomes of another, and clients that leave."""

import asyncio

import httpx
import pytest
from echo_house import Served, echo_settings

from core.voice.containers import container_of, wav
from inference.server import application

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    made = Served(application(echo_settings(tmp_path_factory.mktemp("inference"), audio_max_s=60, audio_max_mb=1), "t" * 32))
    yield made
    made.stop()


@pytest.fixture
async def http(served):
    async with httpx.AsyncClient(base_url=served.url, headers={"Authorization": "Bearer " + "t" * 32}, timeout=30) as client:
        yield client


def silence(seconds, rate_hz=16_000):
    return wav(bytes(2 * round(seconds * rate_hz)), rate_hz)


@pytest.mark.parametrize("form", ["wav", "mp3", "webm"])
async def test_a_recording_is_made_into_another_form(http, form):
    made = await http.post(f"/v1/audio/convert?format={form}", content=silence(1))
    assert container_of(made.content) == form
    assert float(made.headers["x-hearth-duration-ms"]) == 1000
    back = await http.post("/v1/audio/convert?format=wav", content=made.content)
    assert float(back.headers["x-hearth-duration-ms"]) == pytest.approx(1000, abs=60)


async def test_what_is_no_recording_is_made_into_nothing(http):
    for path, content in (("convert?format=exe", silence(1)), ("convert", b"#EXTM3U\nhttp://127.0.0.1/x.wav"), ("convert", b"")):
        assert (await http.post(f"/v1/audio/{path}", content=content)).status_code == 400


async def test_transcripts_come_in_openais_shapes(http):
    file = {"file": ("x.wav", (await http.post("/v1/audio/speech", json={"input": "hello", "response_format": "wav"})).content)}
    ask = "/v1/audio/transcriptions"
    assert (await http.post(ask, files=file, data={"model": "echo-stt"})).json()["text"] == "hello"
    assert (await http.post(ask, files=file, data={"response_format": "text"})).text == "hello"
    whole = (await http.post(ask, files=file, data={"response_format": "verbose_json", "language": "de"})).json()
    assert (whole["task"], whole["language"], whole["text"]) == ("transcribe", "de", "hello")
    assert whole["segments"] == [{"id": 0, "start": 0.0, "end": whole["duration"], "text": "hello"}]
    assert whole["hearth"]["duration_ms"] == pytest.approx(240, abs=5)
    for data in ({"response_format": "srt"}, {"model": "whisper-1"}):
        assert (await http.post(ask, files=file, data=data)).status_code in (400, 404)
    assert (await http.post(ask, json={})).json()["error"]["code"] == "invalid_request_error"
    assert (await http.post(ask, data={"model": "x"}, files={"other": b"x"})).json()["error"]["code"] == "invalid_request_error"


async def test_a_file_that_is_whole_knows_its_length(http):
    made = await http.post("/v1/audio/speech", json={"input": "hello", "response_format": "wav", "stream": False})
    assert int.from_bytes(made.content[40:44], "little") == len(made.content) - 44
    assert float(made.headers["x-hearth-duration-ms"]) == pytest.approx(240, abs=1)


async def places(http, lane):
    return (await http.get("/v1/status")).json()["models"][lane]["queue"]["serving"]


async def freed(http, lane):
    """Whether the place is free within 2 s."""
    for _ in range(40):
        if not await places(http, lane):
            return True
        await asyncio.sleep(0.05)
    return False


async def taken(http, lane):
    for _ in range(40):
        if await places(http, lane):
            return True
        await asyncio.sleep(0.05)
    return False


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_while_it_is_spoken_to_frees_its_place(http, stream):
    body = {"input": "[rate=1] a long story " * 50, "response_format": "pcm", "stream": stream}
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(http.post("/v1/audio/speech", json=body))
        assert await taken(http, "tts")
        asking.cancel()
    assert await freed(http, "tts")


async def test_a_client_that_reads_slowly_holds_no_place(http):
    async with http.stream("POST", "/v1/audio/speech", json={"input": "x" * 4096, "response_format": "pcm"}) as answer:
        heard = answer.aiter_raw()
        await anext(heard)
        assert await freed(http, "tts")


async def test_every_route_of_sound_asks_for_the_token(served):
    async with httpx.AsyncClient(base_url=served.url) as client:
        for method, path in (("POST", "transcriptions"), ("POST", "speech"), ("POST", "convert"), ("GET", "voices")):
            assert (await client.request(method, f"/v1/audio/{path}")).status_code == 401
