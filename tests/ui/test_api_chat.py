import asyncio
import json

import pytest
from echo_house import Served, ask, echo_settings, finished, taken_in

from core.app import LocalInference, open_app
from core.ids import new_id
from inference.server import application
from ui.gate import COOKIE
from ui.server import LatePage, web

pytestmark = pytest.mark.anyio
GUIDE = "# Lab handbook\n\n## Backups\nBackups run every night at 02:30 and are kept for 35 days.\n\n## Coffee\nThe machine is descaled on Fridays."
ASK = "/v1/chat/completions"
JSON = {"Content-Type": "application/json"}
SOURCE = {"document_id", "title", "page", "position", "quote", "score"}


def body(text="hello there", **given):
    return {"model": "default", "messages": [{"role": "user", "content": text}]} | given


def chunks_of(answer):
    """The chunks of a streamed answer; it must end as OpenAI's do."""
    lines = [line for line in answer.text.split("\n\n") if line]
    assert all(line.startswith("data: ") for line in lines)
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]


def text_of(answer):
    """The text, and what Hearth adds, of an answer of either form."""
    if answer.headers["content-type"].startswith("text/event-stream"):
        chunks = chunks_of(answer)
        return "".join(c["choices"][0]["delta"].get("content", "") for c in chunks), chunks[-1]["hearth"]
    whole = answer.json()
    return whole["choices"][0]["message"]["content"], whole["hearth"]


def assert_error(answer, *statuses):
    """An error in OpenAI's shape, with words in it."""
    assert answer.status_code in statuses, answer.text
    error = answer.json()["error"]
    assert {"message", "type", "code", "param"} <= set(error)
    assert error["message"]
    assert "Traceback" not in answer.text
    return error


async def test_a_whole_answer_has_openais_shape(api):
    answer = await api.post(ASK, json=body())
    assert answer.status_code == 200
    whole = answer.json()
    assert whole["object"] == "chat.completion"
    assert whole["id"].startswith("chatcmpl-")
    assert isinstance(whole["created"], int)
    assert whole["choices"] == [{"index": 0, "message": {"role": "assistant", "content": "You said: hello there"}, "finish_reason": "stop"}]
    usage = whole["usage"]
    assert usage["completion_tokens"] == 4
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert whole["hearth"]["rag_sources"] == []
    assert whole["hearth"]["retrieval"] is None


async def test_a_streamed_answer_has_openais_shape_and_ends_with_done(api):
    answer = await api.post(ASK, json=body(stream=True))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    first, *middle, last = chunks_of(answer)
    assert first["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
    assert {(c["object"], c["id"], c["model"]) for c in (first, *middle, last)} == {("chat.completion.chunk", first["id"], "default")}
    assert "".join(c["choices"][0]["delta"]["content"] for c in middle) == "You said: hello there"
    assert len(middle) > 1
    assert not any("usage" in c or "hearth" in c for c in (first, *middle))
    assert last["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert last["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_from_documents_says_what_it_rests_on(app, ada, api, stream):
    document, _ = await taken_in(app, ada, "guide.md", GUIDE)
    ids = {"conversation_id": new_id(), "message_id": new_id()}
    text, hearth = text_of(await api.post(ASK, json=body("How long are backups kept?", collection="lab", stream=stream, **ids)))
    assert "[1]" in text
    assert {k: hearth[k] for k in ids} == ids
    source = hearth["rag_sources"][0]
    assert set(source) >= SOURCE
    assert (source["document_id"], source["title"], source["number"], source["verified"]) == (document.id, "Lab handbook", 1, True)
    assert "35 days" in source["quote"]
    assert isinstance(source["score"], float)
    assert hearth["retrieval"]["considered"] == 2
    assert hearth["retrieval"]["returned"] == len(hearth["rag_sources"])
    assert hearth["retrieval"]["ms"] > 0


async def test_the_depth_of_the_search_can_be_chosen(app, ada, api):
    await taken_in(app, ada, "guide.md", "\n\n".join(f"## Rack {n}\nThe rack {n} holds switches and backups." for n in range(6)))
    answer = await api.post(ASK, json=body("What does the rack hold?", collection=["lab"], rag={"top_k": 2, "rerank": False}))
    assert len(answer.json()["hearth"]["rag_sources"]) == 2


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False), (True, True)], ids=str)
async def test_the_same_message_sent_twice_is_one_turn(api, first, second):
    ids = {"conversation_id": new_id(), "message_id": new_id()}
    one, told = text_of(await api.post(ASK, json=body("[tokens=5]", stream=first, **ids)))
    again, told_again = text_of(await api.post(ASK, json=body("[tokens=5]", stream=second, **ids)))
    assert one == again
    assert told["answer_id"] == told_again["answer_id"]
    stored = (await api.get(f"/v1/conversations/{ids['conversation_id']}")).json()["messages"]
    assert [m["role"] for m in stored] == ["user", "assistant"]


async def test_the_same_message_sent_at_the_same_time_is_one_turn(api):
    request = body("[tokens=20 rate=200]", conversation_id=new_id(), message_id=new_id())
    answers = await asyncio.gather(*(api.post(ASK, json=request | {"stream": n % 2 == 0}) for n in range(4)))
    assert len({text_of(a)[0] for a in answers}) == 1


@pytest.mark.parametrize("other", [{"text": "two"}, {"conversation_id": new_id()}], ids=["text", "conversation"])
async def test_a_used_message_id_with_another_body_is_a_conflict(api, other):
    request = {"text": "one", "conversation_id": new_id(), "message_id": new_id()}
    assert (await api.post(ASK, json=body(**request))).status_code == 200
    assert assert_error(await api.post(ASK, json=body(**request | other)), 409)["type"] == "conflict_error"


async def test_fields_that_hearth_does_not_know_are_ignored(api):
    unknown = {"n": 1, "user": "u-1", "tools": [], "stream_options": {"include_usage": True}, "logit_bias": {}, "x": {"y": [None]}}
    answer = await api.post(ASK, json=body(**unknown) | {"messages": [{"role": "user", "content": "hello there", "name": "ada"}]})
    assert text_of(answer)[0] == "You said: hello there"


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_the_length_of_an_answer_can_be_limited(api, field):
    answer = (await api.post(ASK, json=body("one two three four five six", **{field: 3}))).json()
    assert answer["usage"]["completion_tokens"] == 3


async def test_content_in_parts_is_taken_as_its_text(api):
    parts = [{"type": "text", "text": "hello"}, {"type": "text", "text": "there"}]
    answer = await api.post(ASK, json={"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": parts}]})
    assert text_of(answer)[0].split() == ["You", "said:", "hello", "there"]


async def test_a_clients_own_history_and_a_stored_one_both_reach_the_model(api):
    alone = (await api.post(ASK, json=body("and now?"))).json()["usage"]["prompt_tokens"]
    told = [{"role": "user", "content": "one two three"}, {"role": "assistant", "content": "four five"}, {"role": "user", "content": "and now?"}]
    assert (await api.post(ASK, json={"messages": told})).json()["usage"]["prompt_tokens"] == alone + 5
    conversation = new_id()
    await api.post(ASK, json=body("one two three", conversation_id=conversation))
    kept = await api.post(ASK, json=body("and now?", conversation_id=conversation))
    assert kept.json()["usage"]["prompt_tokens"] == alone + 3 + len("You said: one two three".split())


async def test_the_default_model_is_always_listed(api):
    listed = (await api.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert [m["id"] for m in listed["data"]][:2] == ["default", "echo"]
    assert all(m["object"] == "model" for m in listed["data"])


async def test_every_listed_model_can_be_named(api):
    for model in (await api.get("/v1/models")).json()["data"]:
        assert (await api.post(ASK, json=body(model=model["id"]))).status_code == 200


BAD = {
    "no messages": {},
    "empty messages": {"messages": []},
    "messages of another type": {"messages": "hello"},
    "a role nobody has": {"messages": [{"role": "tool", "content": "x"}]},
    "no content": {"messages": [{"role": "user"}]},
    "the answer last": {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]},
    "an empty message": body("  "),
    "a message over 256 KB": body("x" * 300_000),
    "a conversation id that is none": body(conversation_id="mine"),
    "a message id that is none": body(message_id="../../x"),
    "no tokens": body(max_tokens=0),
    "a hot temperature": body(temperature=9),
    "a depth of nothing": body(collection="lab", rag={"top_k": 0}),
    "a depth without end": body(collection="lab", rag={"top_k": 51}),
    "a collection of another type": body(collection=7),
    "a list": [],
    "half a character": {"messages": [{"role": "user", "content": [{"type": "text", "text": "\ud800"}]}]},
    "half a character in a string": body("\udfff"),
    "half a character as a model": body(model="\ud800"),
    "half a character as a collection": body(collection="\ud800"),
}


async def test_a_body_that_can_not_be_used_is_refused_in_openais_shape_and_leaves_nothing(api):
    for wrong in BAD.values():
        assert assert_error(await api.post(ASK, content=json.dumps(wrong), headers=JSON), 400, 422)["type"] == "invalid_request_error"
        assert (await api.get("/v1/conversations")).json()["items"] == []


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"null", b'{"messages":[', b"[" * 100_000], ids=lambda r: repr(r)[:20])
async def test_what_is_not_json_is_refused_in_openais_shape(api, raw):
    assert_error(await api.post(ASK, content=raw, headers=JSON), 400, 422)


async def test_half_a_character_in_a_clients_history_is_refused_too(api):
    told = [{"role": "user", "content": "\udc00"}, {"role": "assistant", "content": "yes"}, {"role": "user", "content": "and now?"}]
    assert_error(await api.post(ASK, content=json.dumps({"messages": told}), headers=JSON), 422)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_collection_that_is_not_there_is_the_clients_mistake_and_nothing_is_stored(api, stream):
    conversation = new_id()
    error = assert_error(await api.post(ASK, json=body("anything", collection="nowhere", conversation_id=conversation, stream=stream)), 404)
    assert "nowhere" in error["message"]
    assert (await api.get(f"/v1/conversations/{conversation}")).status_code == 404


async def test_a_model_that_is_not_there_is_said_in_a_sentence_and_the_question_is_kept(api):
    conversation = new_id()
    answer = await api.post(ASK, json=body("anything", model="nobody", conversation_id=conversation))
    assert answer.status_code == 502
    assert "nobody" in answer.json()["error"]["message"]
    assert (await api.get(f"/v1/conversations/{conversation}")).json()["messages"][0]["content"] == "anything"


async def test_an_answer_without_content_is_taken_as_openais_clients_send_it(api):
    told = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None}, {"role": "user", "content": "and now?"}]
    assert (await api.post(ASK, json={"messages": told})).status_code == 200


async def test_a_stream_that_fails_ends_with_the_error_and_with_done(api):
    last = chunks_of(await api.post(ASK, json=body("anything", model="nobody", stream=True)))[-1]
    assert last["choices"][0]["finish_reason"] == "error"
    assert "nobody" in last["error"]["message"]


async def test_a_house_that_is_busy_says_when_to_come_back(tmp_path, echo_server, open_client):
    async with open_app(echo_settings(tmp_path, open_answers=1), local=echo_server, serving=True) as house:
        await house.users.add("ada", "correct horse battery")
        ada = (await house.users.sign_in("ada", "correct horse battery", ""))[0]
        running = await house.chat.send(ada, ask("[tokens=5000 rate=100]"), detached=True)
        async with open_client(web(house, LatePage(wanted=False)), (await house.users.make_key(ada.user))[1]) as client:
            busy = await client.post(ASK, json=body())
            assert assert_error(busy, 429)["type"] == "rate_limit_error"
            assert int(busy.headers["retry-after"]) >= 1
        await house.chat.stop(ada.user, running.answer_id)
        await finished(running)


async def test_a_model_that_can_not_be_reached_is_a_502_with_a_sentence(tmp_path, open_client):
    nowhere = "http://127.0.0.1:9/v1#none"
    async with open_app(echo_settings(tmp_path, llm_url=nowhere, embeddings_url=nowhere, reranker_url="off"), serving=True) as house:
        user = await house.users.add("ada", None)
        async with open_client(web(house, LatePage(wanted=False)), (await house.users.make_key(user))[1]) as client:
            answer = await client.post(ASK, json=body())
            assert answer.status_code == 502
            assert "can't be reached" in answer.json()["error"]["message"]
            assert answer.json()["hearth"]["conversation_id"]


async def test_conversations_are_listed_latest_first_page_by_page(api):
    made = [(await api.post(ASK, json=body(f"question {n}"))).json()["hearth"]["conversation_id"] for n in range(5)]
    seen, cursor, pages = [], "", 0
    while True:
        page = (await api.get("/v1/conversations", params={"limit": 2, "cursor": cursor})).json()
        seen += [c["id"] for c in page["items"]]
        pages += 1
        if not (cursor := page["next_cursor"]):
            break
    assert seen == made[::-1]
    assert pages == 3


async def test_conversations_are_found_by_words_of_their_messages(api):
    for text in ("where are the backups", "who descales the machine", "100% of_it"):
        await api.post(ASK, json=body(text))
    found = {}
    for search in ("machine descales", "%", "_", "nothing of that"):
        found[search] = len((await api.get("/v1/conversations", params={"search": search})).json()["items"])
    assert found == {"machine descales": 1, "%": 1, "_": 1, "nothing of that": 0}


async def test_the_messages_of_a_conversation_come_in_order_and_page_backwards(api):
    conversation = new_id()
    for n in range(3):
        await api.post(ASK, json=body(f"question {n}", conversation_id=conversation))
    whole = (await api.get(f"/v1/conversations/{conversation}")).json()
    assert [m["role"] for m in whole["messages"]] == ["user", "assistant"] * 3
    assert whole["next_cursor"] == ""
    newest = (await api.get(f"/v1/conversations/{conversation}", params={"limit": 4})).json()
    older = (await api.get(f"/v1/conversations/{conversation}", params={"limit": 4, "before": newest["next_cursor"]})).json()
    assert older["messages"] + newest["messages"] == whole["messages"]
    assert {"tokens_used", "latency_ms", "rag_sources", "model_used"} <= set(whole["messages"][1]["metadata"])


async def test_a_deleted_conversation_gives_a_receipt_and_is_gone(api):
    conversation = (await api.post(ASK, json=body())).json()["hearth"]["conversation_id"]
    receipt = (await api.delete(f"/v1/conversations/{conversation}")).json()
    assert receipt["removed"]["messages"] == 2
    assert set(receipt["left"].values()) == {0}
    assert receipt["complete"] is True
    assert_error(await api.get(f"/v1/conversations/{conversation}"), 404)
    assert_error(await api.delete(f"/v1/conversations/{conversation}"), 404)


@pytest.mark.parametrize("cursor", ["x", "2026-01-01T00:00:00/x", "/", "\x00", "9" * 5000, "2026-01-01T00:00:00+00:00/"], ids=lambda c: repr(c)[:30])
async def test_a_cursor_that_nobody_gave_is_refused_or_ends_the_list(api, cursor):
    await api.post(ASK, json=body())
    answer = await api.get("/v1/conversations", params={"cursor": cursor})
    assert answer.status_code in (200, 400)
    if answer.status_code == 400:
        assert_error(answer, 400)


async def test_the_pages_own_cookie_works_for_the_api(app, ada, stranger):
    await app.users.set_password("ada", "correct horse battery")
    _, token = await app.users.sign_in("ada", "correct horse battery", "test")
    answer = await stranger.post(ASK, json=body(), headers={"Cookie": f"{COOKIE}={token}", "Sec-Fetch-Site": "same-origin"})
    assert text_of(answer)[0] == "You said: hello there"


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/nothing"), ("POST", "/v1/chat"), ("PUT", "/v1/models"), ("GET", "/v1/"), ("PATCH", "/v1/jobs/x")])
async def test_a_route_that_the_api_does_not_have_is_a_404_in_openais_shape(api, method, path):
    assert_error(await api.request(method, path), 404, 405)


# branches, verdicts, links, prompts


@pytest.fixture
async def asked_once(api):
    """(conversation id, question id, answer id) of one finished turn."""
    conversation, message = new_id(), new_id()
    answer = (await api.post(ASK, json=body("hello", conversation_id=conversation, message_id=message))).json()
    return conversation, message, answer["hearth"]["answer_id"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_question_is_answered_again_beside_the_first_answer(api, asked_once, stream):
    conversation, message, answer = asked_once
    again = new_id()
    given = await api.post(f"/v1/messages/{answer}/again", json={"id": again, "stream": stream})
    text, hearth = text_of(given)
    assert (text, hearth["answer_id"], hearth["message_id"]) == ("You said: hello", again, message)
    found = (await api.get(f"/v1/conversations/{conversation}")).json()
    assert found["branches"] == {again: [answer, again]}
    first = (await api.get(f"/v1/conversations/{conversation}", params={"at": answer})).json()
    assert [m["id"] for m in first["messages"]] == [message, answer]


async def test_a_question_is_answered_again_from_other_collections_at_another_depth(app, ada, api):
    for name in ("lab", "attic"):
        await taken_in(app, ada, f"{name}.md", f"# Rules\n\nBackups of the {name} are kept for 35 days.\n", name)
    first = (await api.post(ASK, json=body("How long are backups kept?", collection="lab"))).json()["hearth"]
    depth = {"top_k": 1, "rerank": False, "rerank_top_k": 1}
    again = (await api.post(f"/v1/messages/{first['answer_id']}/again", json={"collection": ["attic"], "rag": depth})).json()["hearth"]
    assert [s["title"] for s in first["rag_sources"]] == ["Rules"]
    assert ("lab" in first["rag_sources"][0]["quote"], len(again["rag_sources"])) == (True, 1)
    assert "attic" in again["rag_sources"][0]["quote"]
    assert (await api.post(f"/v1/messages/{first['answer_id']}/again", json={"collection": "nowhere"})).status_code == 404


async def test_another_wording_makes_a_branch(api, asked_once):
    conversation, message, _ = asked_once
    other = new_id()
    await api.post(ASK, json=body("hello again", conversation_id=conversation, message_id=other, parent_id=""))
    found = (await api.get(f"/v1/conversations/{conversation}")).json()
    assert [m["content"] for m in found["messages"]] == ["hello again", "You said: hello again"]
    assert found["branches"] == {other: [message, other]}
    assert found["messages"][1]["parent_id"] == other


async def test_a_finished_answer_is_streamed_again_from_where_the_reader_was(api, asked_once):
    whole = (await api.get(f"/v1/messages/{asked_once[2]}/stream")).text
    assert 'data: {"text":"You said: hello"}' in whole
    rest = (await api.get(f"/v1/messages/{asked_once[2]}/stream", params={"after": 10})).text
    assert rest.startswith('id: 15\ndata: {"text":"hello"}\n\nid: 15\nevent: finished\n')
    seen = (await api.get(f"/v1/messages/{asked_once[2]}/stream", params={"after": 15})).text
    assert "You said: hello" in seen
    assert '{"text"' not in seen


async def test_title_pin_tags_and_settings_are_changed_and_shown(api, asked_once):
    settings = {"model": "", "temperature": 0.5, "max_tokens": 3, "system_prompt": "Be brief.", "beside": ""}
    changed = await api.patch(f"/v1/conversations/{asked_once[0]}", json={"title": "Hi", "pinned": True, "tags": ["lab"], "settings": settings})
    assert changed.status_code == 200
    (listed,) = (await api.get("/v1/conversations", params={"tag": "lab"})).json()["items"]
    assert {k: listed[k] for k in ("title", "pinned", "tags", "settings")} == {"title": "Hi", "pinned": True, "tags": ["lab"], "settings": settings}
    assert (await api.get("/v1/tags")).json()["items"] == ["lab"]
    assert text_of(await api.post(ASK, json=body("one two three", conversation_id=asked_once[0])))[0] == "You said: one "
    for wrong in ({"title": " "}, {"settings": {"temperature": 9}}, {"tags": ["x" * 99]}):
        assert_error(await api.patch(f"/v1/conversations/{asked_once[0]}", json=wrong), 400, 422)


async def test_a_verdict_is_kept_and_taken_back(api, asked_once):
    conversation, message, answer = asked_once
    assert (await api.put(f"/v1/messages/{answer}/feedback", json={"verdict": "bad", "reason": "too short"})).status_code == 204
    assert (await api.get(f"/v1/conversations/{conversation}")).json()["feedback"][answer]["reason"] == "too short"
    assert (await api.delete(f"/v1/messages/{answer}/feedback")).status_code == 204
    assert (await api.get(f"/v1/conversations/{conversation}")).json()["feedback"] == {}
    assert_error(await api.put(f"/v1/messages/{answer}/feedback", json={"verdict": "fine"}), 422)
    assert_error(await api.put(f"/v1/messages/{message}/feedback", json={"verdict": "good"}), 404)


async def test_a_link_opens_for_anybody_until_it_is_revoked_and_shows_no_more_than_was_there(api, stranger, asked_once):
    conversation, _, answer = asked_once
    made = (await api.post(f"/v1/conversations/{conversation}/shares", json={"message_id": answer})).json()
    await api.post(ASK, json=body("what came later", conversation_id=conversation))
    shown = await stranger.get(made["path"])
    assert shown.status_code == 200
    assert "You said: hello" in shown.text
    assert "what came later" not in shown.text
    assert shown.headers["x-robots-tag"] == "noindex"
    secret = made["path"].rpartition("/")[2]
    for path in ("/v1/conversations", f"/v1/conversations/{conversation}"):
        assert (await stranger.get(path, headers={"Authorization": f"Bearer {secret}"})).status_code == 401
        assert (await stranger.get(path, headers={"Cookie": f"hearth_session={secret}"})).status_code == 401
    (listed,) = (await api.get(f"/v1/conversations/{conversation}/shares")).json()["items"]
    assert listed == {k: v for k, v in made.items() if k != "path"}
    assert (await api.delete(f"/v1/shares/{made['id']}")).status_code == 204
    gone, never = await stranger.get(made["path"]), await stranger.get("/share/never")
    assert (gone.status_code, gone.text) == (never.status_code, never.text) == (404, gone.text)


async def test_a_conversation_is_exported_as_markdown_and_as_json(api, asked_once):
    await api.patch(f"/v1/conversations/{asked_once[0]}", json={"title": 'Größe / "x"'})
    text = await api.get(f"/v1/conversations/{asked_once[0]}/export")
    assert text.text.startswith('# Größe / "x"\n')
    assert text.headers["content-disposition"] == "attachment; filename*=UTF-8''Gr%C3%B6%C3%9Fe%20%2F%20%22x%22.md"
    told = (await api.get(f"/v1/conversations/{asked_once[0]}/export", params={"format": "json"})).json()
    assert [m["content"] for m in told["messages"]] == ["hello", "You said: hello"]


async def test_prompts_are_saved_listed_and_deleted(api):
    saved = (await api.put("/v1/prompts", json={"name": "daily", "text": "What happened?"})).json()
    assert (await api.get("/v1/prompts")).json()["items"] == [saved]
    assert (await api.delete(f"/v1/prompts/{saved['id']}")).status_code == 204
    assert (await api.get("/v1/prompts")).json()["items"] == []
    assert_error(await api.put("/v1/prompts", json={"name": "", "text": "x"}), 400)


async def test_an_answer_is_stopped_over_the_api(api, app, ada):
    turn = await app.chat.send(ada, ask("[tokens=5000 rate=100]"), detached=True)
    assert (await api.post(f"/v1/messages/{turn.answer_id}/stop")).status_code == 204
    assert (await finished(turn)).status.value == "stopped"


async def test_a_streamed_answer_that_waits_says_so_in_chunks_that_clients_pass_over(tmp_path, open_client):
    settings = echo_settings(tmp_path, inference_chat_places=1)
    places = Served(application(settings, ""))
    async with open_app(settings, local=LocalInference(f"{places.url}/v1", ""), serving=True) as house:
        _, key = await house.users.make_key(await house.users.add("ada", None))
        async with open_client(web(house, LatePage(wanted=False)), key) as client:
            first, second = await asyncio.gather(*(client.post(ASK, json=body("[tokens=60 rate=100]", stream=True)) for _ in range(2)))
    places.stop()
    queued = [[c for c in chunks_of(answer) if "queue" in c.get("hearth", {})] for answer in (first, second)]
    assert sorted(map(bool, queued)) == [False, True], "one of the two had to wait"
    chunk = next(filter(None, queued))[0]
    assert chunk["choices"] == [{"index": 0, "delta": {}, "finish_reason": None}]
    assert chunk["hearth"]["queue"]["position"] == 1
    assert chunk["hearth"]["queue"]["eta_s"] > 0


async def test_an_answer_says_how_much_of_the_conversation_had_no_room(api):
    earlier = [{"role": role, "content": f"{role} {n}? {'word ' * 4000}"} for n in range(40) for role in ("user", "assistant")]
    messages = [*earlier, {"role": "user", "content": "And now?"}]
    for stream in (False, True):
        text, more = text_of(await api.post(ASK, json={"messages": messages, "stream": stream}))
        assert text == "You said: And now?"
        assert more["dropped"] > 0
        assert more["summary"].startswith("- user 0?")
