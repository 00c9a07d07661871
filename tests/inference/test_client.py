"""The client against servers that behave, misbehave and disappear. The server is a script; the client is the real one."""

import asyncio

import numpy as np
import pytest
from aiohttp import web

from core.errors import ModelMissing, ServiceBusy, ServiceError, ServiceUnavailable, SettingsError, TooLong
from core.inference import Caller, Counted, Done, Message, Priority, Queued, Service, TextDelta
from core.traces import inside
from inference import client, lanes
from inference.client import ModelServer, RemoteChatModel, RemoteEmbedder, RemoteReranker, parse_model_url
from inference.lanes import Lanes
from inference.sse import EventReader

pytestmark = pytest.mark.anyio
HELLO = [Message("user", "hello")]
CHUNK = 'data: {"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n'
END = 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\ndata: [DONE]\n\n'


class Script:
    """A server that answers as it is told; `seen` is what it was asked."""

    def __init__(self):
        self.seen, self.handler, self.url = [], None, ""
        self.left = asyncio.Event()

    async def handle(self, request):
        body = await request.json() if request.can_read_body else None
        self.seen.append((request.path, body, dict(request.headers)))
        return await self.handler(request)

    def streams(self, *parts, pause_s=0.0, cut=False):
        async def handler(request):
            answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await answer.prepare(request)
            try:
                for part in parts:
                    await answer.write(part.encode() if isinstance(part, str) else part)
                    await asyncio.sleep(pause_s)
                if cut:
                    request.transport.abort()
            except (ConnectionError, asyncio.CancelledError):
                self.left.set()
                raise
            return answer

        self.handler = handler

    def answers(self, status, body, headers=None):
        async def handler(request):
            return web.json_response(body, status=status, headers=headers) if not isinstance(body, str) else web.Response(text=body, status=status)

        self.handler = handler


@pytest.fixture
async def script():
    made = Script()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield made
    await runner.cleanup()


@pytest.fixture
async def server(script):
    made = ModelServer(Service.LLM, script.url, "qwen3:8b", key="secret-key")
    yield made
    await made.close()


async def collected(chat, **given):
    return [d async for d in chat.stream(HELLO, caller=Caller("u"), **given)]


async def test_an_answer_is_its_deltas_and_one_done_with_the_usage(script, server):
    script.streams(CHUNK % "Hel", CHUNK % "lo", END)
    got = await collected(RemoteChatModel(server), max_tokens=9, temperature=0.5)
    assert got[:2] == [TextDelta("Hel"), TextDelta("lo")]
    assert isinstance(got[2], Done)
    assert (got[2].usage.prompt_tokens, got[2].usage.completion_tokens, got[2].usage.estimated) == (3, 2, False)
    path, body, headers = script.seen[0]
    assert path == "/v1/chat/completions"
    assert (body["model"], body["max_tokens"], body["temperature"], body["stream_options"]) == ("qwen3:8b", 9, 0.5, {"include_usage": True})
    assert headers["Authorization"] == "Bearer secret-key"
    assert "x-hearth-user" not in {h.lower() for h in headers}, "who asks is not a foreign server's business"


async def test_the_work_that_a_request_is_a_part_of_is_named_to_the_server_where_it_is_traced(script, server):
    script.streams(CHUNK % "a", END)
    await collected(RemoteChatModel(server))
    with inside("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"):
        await collected(RemoteChatModel(server))
    assert [headers.get("traceparent") for _, _, headers in script.seen] == [None, "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"]


async def test_a_server_without_usage_is_counted_and_said_to_be_estimated(script, server):
    script.streams(CHUNK % "a", CHUNK % "b", "data: [DONE]\n\n")
    got = await collected(RemoteChatModel(server))
    assert (got[-1].usage.completion_tokens, got[-1].usage.estimated) == (2, True)


async def test_positions_in_the_servers_queue_come_before_the_words(script, server):
    place = 'data: {"hearth":{"position":%d,"eta_s":%d},"choices":[]}\n\n'
    script.streams(place % (3, 12), place % (0, 0), CHUNK % "Hi", END)
    assert (await collected(RemoteChatModel(server)))[:3] == [Queued(3, 12.0), Queued(0, 0.0), TextDelta("Hi")]


async def test_a_wait_in_the_queue_does_not_count_as_silence_between_two_words(script, server, monkeypatch):
    monkeypatch.setattr(client, "IDLE_TIMEOUT_S", 0.1)
    script.streams('data: {"hearth":{"position":1,"eta_s":9},"choices":[]}\n\n', CHUNK % "Hi" + END, pause_s=0.4)
    assert (await collected(RemoteChatModel(server)))[1] == TextDelta("Hi")


async def test_in_front_of_a_foreign_server_the_wait_is_told_too(script, monkeypatch):
    monkeypatch.setattr(lanes, "QUIET_S", 0.01)
    script.streams(CHUNK % "a", CHUNK % "b", END, pause_s=0.1)
    server = ModelServer(Service.LLM, script.url, "m", lanes=Lanes(1))
    chat = RemoteChatModel(server)
    first, second = await asyncio.gather(collected(chat), collected(chat))
    assert not any(isinstance(d, Queued) for d in first)
    assert second[0] == Queued(1, 5.0)
    assert Queued(0, 0.0) in second
    assert second[-1].queue_ms > 100 > first[-1].queue_ms
    await server.close()


async def test_a_model_that_is_missing_after_the_wait_is_said_to_be_missing(script, server):
    script.streams('data: {"error":{"message":"The model m is not on this machine.","code":"model_missing"}}\n\n')
    with pytest.raises(ModelMissing, match="not on this machine"):
        await collected(RemoteChatModel(server))


async def test_a_text_is_counted_once_and_all_new_ones_in_one_request(script):
    async def counts(request):
        return web.json_response({"tokens": [len(t) for t in (await request.json())["texts"]]})

    script.handler = counts
    server = ModelServer(Service.LLM, script.url, "m", local=True)
    chat = RemoteChatModel(server)
    assert await chat.count(["a", "bb", "a"]) == Counted((1, 2, 1))
    assert await chat.count(["bb", "ccc"]) == Counted((2, 3))
    assert await chat.count(["ccc", "a"]) == Counted((3, 1))
    assert await chat.count([]) == Counted(())
    assert [body["texts"] for _, body, _ in script.seen] == [["a", "bb"], ["ccc"]]
    await server.close()


async def test_a_foreign_server_is_not_asked_to_count_and_the_estimate_says_so(script, server):
    assert await RemoteChatModel(server).count(["", "four", "日本"]) == Counted((0, 2, 2), estimated=True)
    assert script.seen == []


async def test_a_server_that_can_not_count_leaves_estimates(script):
    script.answers(500, "boom")
    server = ModelServer(Service.LLM, script.url, "m", local=True)
    assert await RemoteChatModel(server).count(["sixsix"]) == Counted((2,), estimated=True)
    await server.close()


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_events_come_out_whole_however_the_bytes_are_cut(cut):
    text = ": hi\r\n\r\ndata: one\u2028two\u0085\r\n\r\ndata:three\ndata: four\n\nevent: x\n\n".encode()
    reader = EventReader()
    got = [e for start in range(0, len(text), cut) for e in reader.feed(text[start : start + cut])]
    assert got == ["one\u2028two\u0085".encode(), b"three\nfour"]


@pytest.mark.parametrize(
    ("status", "body", "error", "words"),
    [
        (400, {"error": {"message": "maximum context length is 4096 tokens", "code": "context_length_exceeded"}}, TooLong, "longer than qwen3:8b"),
        (404, {"error": {"message": "model 'qwen3:8b' not found"}}, ModelMissing, "doesn't have the model qwen3:8b"),
        (401, {"error": "bad key"}, ServiceError, "refused the key"),
        (500, "boom", ServiceUnavailable, "HTTP 500: boom"),
        (400, {"detail": [{"msg": "no"}]}, ServiceError, "HTTP 400"),
    ],
)
async def test_every_refusal_becomes_a_sentence_and_never_shows_the_key(script, server, status, body, error, words):
    script.answers(status, body)
    with pytest.raises(error) as raised:
        await collected(RemoteChatModel(server))
    assert words in str(raised.value)
    assert "secret-key" not in str(raised.value)


async def test_a_busy_server_is_asked_again_and_then_said_to_be_busy(script, server, monkeypatch):
    script.answers(429, {"error": {"message": "slow down"}}, {"Retry-After": "0"})
    with pytest.raises(ServiceBusy):
        await collected(RemoteChatModel(server))
    assert len(script.seen) == 3


async def test_nobody_there_is_said_after_three_tries_and_then_at_once(server):
    gone = ModelServer(Service.LLM, "http://127.0.0.1:9/v1", "m")
    chat = RemoteChatModel(gone)
    for _ in range(2):
        with pytest.raises(ServiceUnavailable, match="can't be reached"):
            await collected(chat)
    begun = asyncio.get_running_loop().time()
    with pytest.raises(ServiceUnavailable, match="tries again by itself"):
        await collected(chat)
    assert asyncio.get_running_loop().time() - begun < 0.2
    await gone.close()


async def test_an_error_in_mid_stream_keeps_what_came(script, server):
    script.streams(CHUNK % "half", 'data: {"error":{"message":"out of memory"}}\n\n')
    stream = RemoteChatModel(server).stream(HELLO, caller=Caller())
    assert await anext(stream) == TextDelta("half")
    with pytest.raises(ServiceUnavailable, match="out of memory"):
        await anext(stream)


async def test_a_connection_that_breaks_in_mid_stream_is_an_error_and_not_an_end(script, server):
    script.streams(CHUNK % "half", cut=True, pause_s=0.05)
    with pytest.raises(ServiceUnavailable):
        await collected(RemoteChatModel(server))


async def test_a_server_that_falls_silent_is_given_up(script, server, monkeypatch):
    monkeypatch.setattr(client, "IDLE_TIMEOUT_S", 0.2)
    script.streams(CHUNK % "half", CHUNK % "never", pause_s=5)
    with pytest.raises(ServiceError, match="in time"):
        await collected(RemoteChatModel(server))


async def test_what_is_no_json_is_said(script, server):
    script.streams("data: {nonsense\n\n")
    with pytest.raises(ServiceUnavailable, match="can't be read"):
        await collected(RemoteChatModel(server))


async def test_leaving_the_answer_closes_the_connection(script, server):
    script.streams(*[CHUNK % "x"] * 500, pause_s=0.02)
    stream = RemoteChatModel(server).stream(HELLO, caller=Caller())
    await anext(stream)
    await stream.aclose()
    await asyncio.wait_for(script.left.wait(), 2)


async def test_redirects_are_not_followed_because_the_key_would_go_along(script, server):
    async def handler(request):
        raise web.HTTPFound("http://127.0.0.1:9/elsewhere")

    script.handler = handler
    with pytest.raises(ServiceError, match="HTTP 302"):
        await collected(RemoteChatModel(server))


@pytest.mark.parametrize(("field", "premium", "standard"), [("vllm", -10, 0), ("sglang", 20, 0), ("none", None, None)])
async def test_priority_is_passed_on_in_the_servers_own_direction(script, server, field, premium, standard):
    script.streams(CHUNK % "a", END)
    chat = RemoteChatModel(server, priority_field=field)
    for priority, wanted in ((Priority.PREMIUM, premium), (Priority.STANDARD, standard)):
        async for _ in chat.stream(HELLO, caller=Caller("u", priority)):
            pass
        assert script.seen[-1][1].get("priority") == wanted


async def test_vectors_come_back_in_order_and_with_unit_length(script, server):
    script.answers(200, {"data": [{"index": 1, "embedding": [0, 2]}, {"index": 0, "embedding": [3, 0]}]})
    vectors = (await RemoteEmbedder(server).embed(["a", "b"], "document", caller=Caller())).vectors
    np.testing.assert_allclose(vectors, [[1, 0], [0, 1]])
    assert "kind" not in script.seen[0][1]


async def test_another_model_is_asked_for_by_its_name_and_only_where_the_server_lists_it(script):
    async def handler(request):
        if request.path.endswith("/models"):
            return web.json_response({"data": [{"id": "bge"}, {"id": "e5"}]})
        return web.json_response({"data": [{"index": 0, "embedding": [1.0, 0.0]}]})  # whatever model it is asked for

    script.handler = handler
    server = ModelServer(Service.EMBEDDINGS, script.url, "bge")
    chosen = RemoteEmbedder(server)
    assert chosen.of("bge") is chosen
    assert chosen.of("e5") is chosen.of("e5")
    assert (await chosen.of("e5").embed(["a"], "query", caller=Caller())).model == "e5"
    assert script.seen[-1][1]["model"] == "e5"
    assert (await chosen.of("e5").info()).dimensions == 2
    with pytest.raises(ModelMissing, match="doesn't know the model old"):
        await chosen.of("old").embed(["a"], "query", caller=Caller())
    await server.close()


@pytest.mark.parametrize("data", [[], [{"index": 0, "embedding": [0, 0]}], [{"index": 7, "embedding": [1, 0]}]])
async def test_vectors_that_can_not_be_right_are_refused(script, server, data):
    script.answers(200, {"data": data})
    with pytest.raises(ServiceUnavailable):
        await RemoteEmbedder(server).embed(["a"], "query", caller=Caller())


@pytest.mark.parametrize(
    ("dialect", "body", "path"),
    [
        ("jina", {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]}, "/v1/rerank"),
        ("tei", [{"index": 1, "score": 0.9}, {"index": 0, "score": 0.1}], "/rerank"),
    ],
)
async def test_scores_come_back_in_the_documents_order_in_both_dialects(script, server, dialect, body, path):
    script.answers(200, body)
    assert list(await RemoteReranker(server, dialect=dialect).rerank("q", ["a", "b"], caller=Caller())) == [0.1, 0.9]
    assert script.seen[0][0] == path


@pytest.mark.parametrize(("local", "known"), [(True, 1.5), (False, None)])
async def test_only_our_own_server_is_believed_about_the_scale_of_a_rerankers_scores(script, local, known):
    script.answers(200, {"data": [{"id": "m", "hearth": {"quote_threshold": 1.5}}]})
    server = ModelServer(Service.RERANKER, script.url, "m", local=local)
    info = await RemoteReranker(server).info()
    assert (info.quote_threshold, info.relevance_threshold, info.local) == (known, None, local)
    await server.close()


@pytest.mark.parametrize("url", ["ftp://x/v1#m", "http://host/v1", "nonsense"])
def test_a_model_url_that_can_not_be_used_is_a_settings_error_with_an_example(url):
    with pytest.raises(SettingsError, match="#"):
        parse_model_url(url, "HEARTH_LLM_URL")


def test_a_model_url_is_a_base_and_a_name():
    assert parse_model_url("http://vllm:8000/v1#Qwen/Qwen3-8B", "X") == ("http://vllm:8000/v1", "Qwen/Qwen3-8B")
