"""Traces of a house and its inference process: one for each piece of work, with the names that the pages show, and nobody's words."""

import asyncio
import base64
import time

import pytest
from collector import Collector, family
from echo_house import Served, ask, echo_settings, finished, recorded, say, taken_in
from running_house import RunningHouse

from core.adapters import traces_otlp
from core.app import LocalInference, open_app
from core.chat.stages import stages
from core.ids import new_id
from core.rag.stages import OF_SEARCH
from core.voice.calls import Wishes
from core.voice.containers import WAV_HEADER_BYTES
from core.voice.model import SPEECH_RATE_HZ
from core.voice.stages import STAGES
from core.voice.talk import FRAME_SAMPLES, RATE_HZ
from inference.server import application
from ui.server import LatePage, web

pytestmark = pytest.mark.anyio
GUIDE = "# Lab handbook\n\n## Backups\nBackups run every night at 02:30 and are kept for 35 days.\n\n## Coffee\nThe machine is descaled on Fridays."
SENT_EVERY_S = 0.05


@pytest.fixture(scope="module")
def collector():
    with pytest.MonkeyPatch.context() as sooner:
        sooner.setattr(traces_otlp, "SENT_EVERY_MS", SENT_EVERY_S * 1000)
        made = Collector()
        yield made
        made.stop()


@pytest.fixture(scope="module")
def inference(tmp_path_factory, collector):
    served = Served(application(echo_settings(tmp_path_factory.mktemp("echo"), traces_url=collector.url), ""))
    yield LocalInference(f"{served.url}/v1", "")
    served.stop()


@pytest.fixture
async def app(tmp_path, collector, inference):
    collector.received.clear()
    async with open_app(echo_settings(tmp_path, traces_url=collector.url), local=inference, serving=True) as opened:
        yield opened


@pytest.fixture
def served(app):
    return web(app, LatePage(wanted=False))


async def test_a_question_is_one_trace_through_both_processes_with_the_stages_of_the_page(app, ada, collector):
    await taken_in(app, ada, "handbook.md", GUIDE)
    answer = await finished(await app.chat.send(ada, ask("When do backups run?", collections=("lab",))))
    models = {"chat echo": "chat turn", "embeddings echo-embed": "retrieval", "rerank echo-rerank": "retrieval"}
    spans = collector.trace_with("chat turn", *models)
    shown = {stage for stage, _, _ in stages(answer)}
    assert shown >= {*OF_SEARCH, "first_token", "writing"}
    told = {("web", stage, "retrieval" if stage in OF_SEARCH else "chat turn") for stage in shown}
    asked = {("inference", name, part) for name, part in models.items()}
    within = {("inference", stage, name) for name in models for stage in ("queue", "model")}
    assert family(spans) == {("web", "chat turn", ""), ("web", "retrieval", "chat turn")} | told | asked | within
    lengths = {span.name: (span.end - span.begin) * 1000 for span in spans if span.service == "hearth-web"}
    assert {stage: lengths[stage] for stage in shown} == pytest.approx({stage: ms for stage, _, ms in stages(answer)}, abs=0.01)
    root = next(span for span in spans if not span.parent)
    assert root.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.conversation.id": answer.conversation_id,
        "gen_ai.request.model": "echo",
        "gen_ai.usage.input_tokens": answer.metadata.usage.prompt_tokens,
        "gen_ai.usage.output_tokens": answer.metadata.tokens_used,
        "hearth.message.id": answer.id,
        "hearth.status": "complete",
        "hearth.sources": len(answer.metadata.sources),
    }
    assert all(root.begin - 0.01 <= span.begin <= span.end <= root.end + 0.01 for span in spans)


@pytest.mark.parametrize(
    ("path", "body", "parts"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hello"}], "stream": True}, {"chat turn", "first_token", "chat echo"}),
        ("/v1/collections/lab/query", {"query": "backups"}, {"retrieval", "embed", "lexical", "embeddings echo-embed"}),
        ("/v1/audio/speech", {"input": "hello there", "response_format": "wav"}, {"speech echo-tts", "model"}),
        ("/v1/audio/transcriptions", None, {"transcription echo-stt", "queue", "decode", "vad", "model"}),
    ],
)
async def test_a_request_that_asks_a_model_is_a_trace_by_its_route(app, ada, api, collector, path, body, parts):
    await app.library.create(ada.user, "lab")
    given = {"json": body} if body else {"files": {"file": ("said.wav", recorded("hello there").data)}}
    answer = await api.post(path, **given)
    assert answer.status_code == 200, answer.text
    route = path.replace("/lab/", "/{id}/")
    spans = collector.trace_with(f"POST {route}", *parts)
    root = next(span for span in spans if not span.parent)
    assert root.attributes == {"http.request.method": "POST", "http.route": route, "http.response.status_code": 200}


async def test_what_asks_no_model_is_no_trace(ada, api, collector):
    for path in ("/v1/models", "/v1/collections", "/v1/conversations", "/metrics", "/readyz"):
        assert (await api.get(path)).status_code == 200
    assert (await api.post("/v1/collections", json={"name": "lab"})).status_code == 201
    await asyncio.sleep(6 * SENT_EVERY_S)
    assert collector.spans() == []


async def test_a_document_is_a_trace_with_the_stages_of_its_job(app, ada, collector):
    document, job = await taken_in(app, ada, "handbook.md", GUIDE)
    spans = collector.trace_with("ingest", "embeddings echo-embed")
    assert family(spans) == {
        ("web", "ingest", ""),
        *(("web", stage, "ingest") for stage in ("parsing", "embedding", "storing")),
        ("inference", "embeddings echo-embed", "embedding"),
        *(("inference", stage, "embeddings echo-embed") for stage in ("queue", "model")),
    }
    root = next(span for span in spans if not span.parent)
    assert root.attributes == {
        "hearth.job.id": job.id,
        "hearth.document.id": document.id,
        "hearth.document.bytes": len(GUIDE),
        "hearth.document.chunks": job.chunks,
    }


async def test_a_document_that_can_not_be_read_is_told_by_the_kind_of_its_error(app, ada, collector):
    await taken_in(app, ada, "secret-plan.pdf", b"%PDF-1.7 broken")
    spans = collector.trace_with("ingest")
    assert {(span.name, span.failed, span.attributes.get("error.type")) for span in spans} == {(name, True, "Unreadable") for name in ("ingest", "parsing")}


async def test_a_spoken_turn_is_one_trace_with_the_chat_turn_inside(app, ada, collector):
    await app.voice.answer(ada, say("How long?", streamed=True))
    spans = collector.trace_with("voice turn", "chat echo", "transcription echo-stt", "speech echo-tts")
    assert family(spans) >= {
        ("web", "voice turn", ""),
        *(("web", stage, "voice turn") for stage in STAGES if stage != "rag"),
        ("web", "chat turn", "voice turn"),
        ("web", "first_token", "chat turn"),
        ("inference", "chat echo", "chat turn"),
        ("inference", "transcription echo-stt", "voice turn"),
        ("inference", "speech echo-tts", "voice turn"),
    }


class Line:
    """A listener who plays what comes in no time."""

    def __init__(self):
        self.talk, self.sent, self.done = None, 0, asyncio.Event()

    def tell(self, kind, turn, **_):
        if kind == "response.audio.done":
            asyncio.get_running_loop().call_soon(lambda: self.talk.played(turn, self.sent / 2 / SPEECH_RATE_HZ * 1000, over=True))
        if kind == "response.done":
            self.done.set()

    def play(self, turn, sequence, pcm):
        self.sent += len(pcm)
        if not sequence:
            asyncio.get_running_loop().call_soon(lambda: self.talk.started(turn, 5.0))


async def test_a_turn_of_a_call_is_one_trace_with_what_its_speaker_waited_for(app, ada, collector):
    line = Line()
    async with await app.calls.open(ada, line, Wishes()) as line.talk:
        said = recorded("how long does it take until somebody answers").data[WAV_HEADER_BYTES:] + bytes(RATE_HZ)
        for at in range(0, len(said), FRAME_SAMPLES * 2):
            line.talk.hear(said[at : at + FRAME_SAMPLES * 2])
            await asyncio.sleep(0.002)
        async with asyncio.timeout(10):
            await line.done.wait()
    spans = collector.trace_with("voice turn", "chat echo", "speech echo-tts", "playback")
    assert family(spans) >= {
        *(("web", stage, "voice turn") for stage in ("endpoint", "stt", "llm_ttft", "tts_ttfb", "playback", "chat turn")),
        ("inference", "chat echo", "chat turn"),
        ("inference", "speech echo-tts", "voice turn"),
    }


async def test_a_stopped_answer_ends_its_trace_in_both_processes(app, ada, collector):
    turn = await app.chat.send(ada, ask("[tokens=9999 rate=100]"))
    while not turn.chars:
        await asyncio.sleep(0.01)
    await app.chat.stop(ada.user, turn.answer_id)
    await finished(turn)
    spans = collector.trace_with("chat turn", "chat echo")
    assert {span.name: span.attributes.get("hearth.status") for span in spans if span.name.startswith("chat")} == {
        "chat turn": "stopped",
        "chat echo": "stopped",
    }


async def test_no_word_of_anybody_leaves_the_house(app, ada, api, collector):
    await app.library.create(ada.user, "personnel")
    await taken_in(app, ada, "salaries-of-zoe.md", GUIDE.replace("35 days", "thirtyfive days"), collection="personnel")
    conversation = new_id()
    for body in ({"stream": False, "collection": "personnel"}, {"stream": True, "model": "my-private-model"}):
        await api.post(
            "/v1/chat/completions", json={"messages": [{"role": "user", "content": "Who descales zoes machine?"}], "conversation_id": conversation, **body}
        )
    await api.post("/v1/collections/personnel/query", json={"query": "Whose salary?"})
    sound = recorded("a private word")
    heard = await api.post("/v1/voice", json={"audio_b64": base64.b64encode(sound.data).decode(), "format": "wav", "conversation_id": conversation})
    assert "private word" in heard.json()["transcription"]
    collector.trace_with("POST /v1/voice", "transcription echo-stt")
    await asyncio.sleep(6 * SENT_EVERY_S)
    sent = b"".join(collector.received).lower()
    assert b"chat turn" in sent
    secret = api.headers["authorization"].removeprefix("Bearer ")
    words = ("descale", "zoes ", "of-zoe", "salar", "personnel", "thirtyfive", "lab handbook", "coffee", "private", "you said", secret, ada.user.id)
    assert [word for word in words if word.lower().encode() in sent] == []


async def test_a_collector_that_is_away_changes_no_answer(tmp_path, inference, open_client):
    settings = echo_settings(tmp_path / "away", traces_url="http://127.0.0.1:9")
    async with open_app(settings, local=inference, serving=True) as app:
        who = await app.users.by_key((await app.users.make_key(await app.users.add("ada", None)))[1])
        begun = time.perf_counter()
        for n in range(20):
            assert (await finished(await app.chat.send(who, ask(f"hello {n}")))).content == f"You said: hello {n}"
        assert time.perf_counter() - begun < 10
        closing = time.perf_counter()
    assert time.perf_counter() - closing < 3


def test_one_setting_is_enough_for_both_processes_of_a_real_house(tmp_path, collector):
    collector.received.clear()
    with RunningHouse(tmp_path / "home", HEARTH_TRACES_URL=collector.url) as house:
        house.make_user()
        assert house.ask("hello")[0] == 200
        assert house.stop() == 0  # and what waits is sent at the end
    spans = collector.trace_with("POST /v1/chat/completions", "chat echo", timeout_s=1)
    assert {("web", "chat turn", "POST /v1/chat/completions"), ("inference", "chat echo", "chat turn")} <= family(spans)
