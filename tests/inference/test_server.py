"""The model server over engines without weights: its routes, its refusals, and a child that is kept alive."""

import asyncio
import os
import signal

import httpx
import pytest
from echo_house import Served, echo_settings

from core.inference import Caller, Message, Service
from inference.client import ModelServer, RemoteChatModel
from inference.server import application
from inference.supervisor import Supervisor

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    made = Served(application(echo_settings(tmp_path_factory.mktemp("inference")), "t" * 32))
    yield made
    made.stop()


@pytest.fixture
async def http(served):
    async with httpx.AsyncClient(base_url=served.url, headers={"Authorization": "Bearer " + "t" * 32}) as client:
        yield client


async def test_every_route_but_health_asks_for_the_token(served):
    async with httpx.AsyncClient(base_url=served.url) as client:
        assert (await client.get("/healthz")).status_code == 200
        for method, path in (
            ("GET", "/v1/models"),
            ("GET", "/v1/status"),
            ("POST", "/v1/embeddings"),
            ("POST", "/v1/chat/completions"),
            ("POST", "/v1/rerank"),
            ("POST", "/v1/tokenize"),
            ("POST", "/v1/load"),
            ("POST", "/v1/unload"),
        ):
            assert (await client.request(method, path, headers={"Authorization": "Bearer wrong"})).status_code == 401


async def test_a_whole_answer_has_openais_shape(http):
    answer = (await http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "hi there"}]})).json()
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": "You said: hi there"}
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + answer["usage"]["completion_tokens"]


async def test_parts_of_a_message_are_read_too(http):
    parts = [{"type": "text", "text": "in"}, {"type": "text", "text": "parts"}]
    answer = (await http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": parts}]})).json()
    assert answer["choices"][0]["message"]["content"] == "You said: in\nparts"


async def test_embeddings_and_reranking_have_the_usual_shapes(http):
    vectors = (await http.post("/v1/embeddings", json={"input": ["a cat", "cats"]})).json()["data"]
    assert [v["index"] for v in vectors] == [0, 1]
    assert len(vectors[0]["embedding"]) == 384
    ranked = (await http.post("/v1/rerank", json={"query": "cat", "documents": ["dog", "cat"], "top_n": 1})).json()["results"]
    assert ranked == [{"index": 1, "relevance_score": 1.0}]
    assert (await http.post("/v1/embeddings", json={"input": []})).json()["data"] == []


async def test_any_embedding_model_of_the_catalogue_answers_beside_the_chosen_one_and_no_other_model_or_folder_does(http, tmp_path):
    async def asked(model):
        return await http.post("/v1/embeddings", json={"input": ["a cat"], "model": model})

    other = (await asked("echo-embed-small")).json()
    assert (other["model"], len(other["data"][0]["embedding"])) == ("echo-embed-small", 64)
    for model in ("echo", "no-such", f"file://{tmp_path}"):
        refused = await asked(model)
        assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_missing")
    assert (await asked("minilm-l6")).json()["error"]["message"].startswith("The model minilm-l6 is not on this machine.")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/chat/completions", {"messages": []}, 400, "invalid_request_error"),
        ("/v1/chat/completions", {"no": 1}, 400, "invalid_request_error"),
        ("/v1/chat/completions", {"model": "gpt-5", "messages": [{"role": "user", "content": "x"}]}, 404, "model_missing"),
        ("/v1/embeddings", {"input": ["x"] * 513}, 400, "invalid_request_error"),
        ("/v1/rerank", {"query": "x", "documents": ["x"] * 513}, 400, "invalid_request_error"),
        ("/v1/tokenize", {"texts": ["x"] * 513}, 400, "invalid_request_error"),
        ("/v1/tokenize", {}, 400, "invalid_request_error"),
        ("/v1/tokenize", {"texts": ["x"], "model": "gpt-5"}, 404, "model_missing"),
    ],
)
async def test_what_can_not_be_done_is_refused_in_openais_shape(http, path, body, status, code):
    answer = await http.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_texts_are_counted_each_and_messages_as_one_prompt(http):
    assert (await http.post("/v1/tokenize", json={"texts": ["one two", "", "three"]})).json()["tokens"] == [2, 0, 1]
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    assert (await http.post("/v1/tokenize", json={"messages": messages})).json()["tokens"] == 3


async def test_a_client_that_leaves_before_its_whole_answer_frees_its_place(http):
    with pytest.raises(httpx.TimeoutException):
        await http.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "[tokens=9999 rate=50]"}]}, timeout=0.3)
    for _ in range(40):
        if not (await http.get("/v1/status")).json()["models"]["llm"]["queue"]["serving"]:
            return
        await asyncio.sleep(0.05)
    pytest.fail("the model goes on for nobody")


async def test_models_say_what_our_own_client_needs(http):
    listed = {m["id"]: m["hearth"] for m in (await http.get("/v1/models")).json()["data"]}
    assert listed["echo-embed"]["dimensions"] == 384
    assert listed["echo"]["service"] == "llm"
    assert listed["echo-rerank"]["quote_threshold"] == 0.5


async def test_a_client_that_leaves_frees_its_place(http, served):
    async with http.stream("POST", "/v1/chat/completions", json={"stream": True, "messages": [{"role": "user", "content": "[tokens=9999 rate=50]"}]}) as answer:
        heard = answer.aiter_bytes()  # held: one that nobody holds is closed, and the answer with it
        await anext(heard)
        assert (await http.get("/v1/status")).json()["models"]["llm"]["queue"]["serving"] == 1
    for _ in range(40):
        if not (await http.get("/v1/status")).json()["models"]["llm"]["queue"]["serving"]:
            return
        await asyncio.sleep(0.05)
    pytest.fail("the model goes on for nobody")


async def test_a_killed_child_comes_back_on_the_same_address_and_goes_with_its_parent(tmp_path):
    async with Supervisor(echo_settings(tmp_path)) as supervisor:
        server = ModelServer(Service.LLM, supervisor.url, "echo", key=supervisor.token, local=True)
        chat = RemoteChatModel(server)

        async def said():
            return "".join([d.text async for d in chat.stream([Message("user", "hi")], caller=Caller()) if hasattr(d, "text")])

        assert await said() == "You said: hi"
        first = supervisor.pid
        os.kill(first, signal.SIGKILL)
        for _ in range(100):
            if supervisor.restarts and supervisor.state == "running":
                break
            await asyncio.sleep(0.05)
        assert await said() == "You said: hi"
        assert supervisor.pid != first
        last = supervisor.pid
        await server.close()
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


async def test_the_child_gets_no_secret_of_the_parent(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    supervisor = Supervisor(echo_settings(tmp_path, inference_chat_places=3, reranker_url="http://host/v1#m", reranker_api_key="secret"))
    environment = supervisor._environment()
    supervisor._listening.close()
    assert "secret" not in environment.values()
    assert environment["HEARTH_INFERENCE_CHAT_PLACES"] == "3"
    assert environment["HEARTH_RERANKER_URL"] == "http://elsewhere/v1#elsewhere"


async def test_a_model_is_loaded_and_unloaded_by_hand_but_not_while_it_answers(http):
    async def of(response):
        return response.json()["models"]["llm"]

    assert (await of(await http.post("/v1/load", json={"service": "llm"})))["loaded"]
    words = {"messages": [{"role": "user", "content": "[tokens=9999 rate=50]"}], "stream": True}
    async with http.stream("POST", "/v1/chat/completions", json=words) as answer:
        heard = answer.aiter_bytes()  # held, as above
        await anext(heard)
        assert (await of(await http.get("/v1/status")))["idle_s"] == 0
        assert (await http.post("/v1/unload", json={"service": "llm"})).status_code == 429
    for _ in range(100):
        if (freed := await http.post("/v1/unload", json={"service": "llm"})).status_code == 200:
            break
        await asyncio.sleep(0.05)
    assert not (await of(freed))["loaded"]
    assert (await http.post("/v1/unload", json={"service": "poetry"})).status_code == 400
