import asyncio
import io
import json
from urllib.parse import quote, urljoin, urlsplit

import pytest
from echo_house import ask, echo_settings, finished, say, taken_in
from reportlab.pdfgen.canvas import Canvas
from starlette.routing import Mount, WebSocketRoute

from core.app import open_app
from core.ids import new_id
from core.users.model import Admin, Scope
from ui.gate import COOKIE
from ui.server import LatePage, web

pytestmark = pytest.mark.anyio
SITE = "http://hearth.test"
PASSWORD = "correct horse battery"

# Every route is in exactly one of these lists: a new one is put here by hand, after somebody has thought about who may use it.
PUBLIC = {
    ("GET", "/login"), ("POST", "/login"), ("GET", "/setup"), ("POST", "/setup"),
    ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/favicon.ico"), ("MOUNT", "/static"), ("GET", "/share/{secret}"),
}  # fmt: skip
OWN_CHECK = {
    ("POST", "/v1/chat/completions"), ("GET", "/v1/models"),
    ("GET", "/v1/conversations"), ("GET", "/v1/conversations/{conversation_id}"), ("DELETE", "/v1/conversations/{conversation_id}"),
    ("PATCH", "/v1/conversations/{conversation_id}"), ("GET", "/v1/conversations/{conversation_id}/export"), ("GET", "/v1/tags"),
    ("GET", "/v1/conversations/{conversation_id}/shares"), ("POST", "/v1/conversations/{conversation_id}/shares"), ("DELETE", "/v1/shares/{share_id}"),
    ("POST", "/v1/messages/{message_id}/again"), ("POST", "/v1/messages/{message_id}/stop"), ("GET", "/v1/messages/{message_id}/stream"),
    ("PUT", "/v1/messages/{message_id}/feedback"), ("DELETE", "/v1/messages/{message_id}/feedback"),
    ("GET", "/v1/prompts"), ("PUT", "/v1/prompts"), ("DELETE", "/v1/prompts/{prompt_id}"),
    ("GET", "/v1/collections"), ("POST", "/v1/collections"), ("GET", "/v1/collections/{name}"), ("DELETE", "/v1/collections/{name}"),
    ("PATCH", "/v1/collections/{name}"), ("POST", "/v1/collections/{name}/texts"), ("POST", "/v1/collections/{name}/urls"),
    ("GET", "/v1/collections/{name}/documents"), ("POST", "/v1/collections/{name}/documents"), ("POST", "/v1/collections/{name}/query"),
    ("GET", "/v1/documents/{document_id}"), ("DELETE", "/v1/documents/{document_id}"), ("GET", "/v1/documents/{document_id}/chunks"),
    ("GET", "/v1/jobs"), ("GET", "/v1/jobs/{job_id}"), ("POST", "/v1/jobs/{job_id}/retry"), ("POST", "/v1/jobs/{job_id}/cancel"),
    ("POST", "/v1/jobs/pause"), ("POST", "/v1/jobs/resume"),
    ("POST", "/v1/audio/transcriptions"), ("POST", "/v1/audio/speech"), ("GET", "/v1/audio/voices"), ("GET", "/v1/preferences"), ("PATCH", "/v1/preferences"),
    ("POST", "/v1/voice"), ("GET", "/v1/voice/{request_id}"), ("POST", "/v1/voice/{request_id}/stop"), ("GET", "/files/voice/{request_id}/{side}"),
    ("GET", "/files/{document_id}"), ("GET", "/files/{document_id}/pages/{number}.png"), ("GET", "/metrics"),
    ("GET", "/v1/pipelines"), ("POST", "/v1/pipelines"), ("POST", "/v1/pipelines/validate"), ("GET", "/v1/pipelines/{pipeline}"),
    ("PATCH", "/v1/pipelines/{pipeline}"), ("DELETE", "/v1/pipelines/{pipeline}"), ("GET", "/v1/pipelines/{pipeline}/versions"),
    ("GET", "/v1/runs"), ("POST", "/v1/runs"), ("GET", "/v1/runs/{run_id}"), ("DELETE", "/v1/runs/{run_id}"), ("GET", "/v1/runs/{run_id}/steps"),
    ("GET", "/v1/runs/{run_id}/log"), ("GET", "/v1/runs/{run_id}/artifacts/{artifact_id}"),
    ("POST", "/v1/runs/{run_id}/terminate"), ("GET", "/v1/runs/{run_id}/rerun"), ("POST", "/v1/runs/{run_id}/rerun"),
    ("POST", "/v1/runs/with-files"), ("POST", "/v1/runs/{run_id}/rerun/with-files"),
    ("GET", "/v1/experiments"), ("GET", "/v1/experiments/{experiment}"), ("DELETE", "/v1/experiments/{experiment}"),
    ("PUT", "/v1/experiments/{experiment}/baseline"),
    ("GET", "/v1/triggers"), ("POST", "/v1/triggers"), ("GET", "/v1/triggers/{trigger_id}"), ("PATCH", "/v1/triggers/{trigger_id}"),
    ("DELETE", "/v1/triggers/{trigger_id}"),
    ("GET", "/v1/operations/objects"), ("GET", "/v1/operations/golden-sets"), ("GET", "/v1/operations/golden-sets/{name}"),
    ("POST", "/v1/operations/evaluations"), ("POST", "/v1/operations/promotions"),
}  # fmt: skip
ADMINS_ALONE = {
    ("POST", "/v1/operations/sweep"), ("GET", "/v1/operations/backups"), ("POST", "/v1/operations/backups"),
    ("GET", "/v1/operations/collections/{name}/versions"), ("POST", "/v1/operations/collections/{name}/versions"),
    ("GET", "/v1/operations/collections/{name}/versions/{number}"), ("DELETE", "/v1/operations/collections/{name}/versions/{number}"),
    ("POST", "/v1/operations/collections/{name}/versions/{number}/serve"), ("GET", "/v1/operations/collections/{name}/compare"),
    ("GET", "/v1/operations/collections/{name}/folder"), ("POST", "/v1/operations/collections/{name}/folder"),
    ("POST", "/v1/operations/collections/{name}/folder/take-in"),
}  # fmt: skip
"""Beyond a check of their own they ask for an admin; to everybody else they aren't there."""
BEHIND_THE_GATE = {
    ("GET", "/documents/{document_id}"), ("POST", "/documents/{document_id}/delete"), ("GET", "/voice/turns/{request_id}/speech"), ("SOCKET", "/voice/ws"),
    ("GET", "/"), ("POST", "/logout"), ("POST", "/language"), ("GET", "/words.js"),
    ("GET", "/openapi.json"), ("GET", "/docs"), ("GET", "/docs/oauth2-redirect"),
    ("GET", "/admin/files/audit.csv"), ("GET", "/admin/files/audit.jsonl"), ("GET", "/admin/files/backups/{name}"),
    ("MOUNT", "/static-offline-docs"), ("MOUNT", ""),
    ("GET", "/admin/files/users/{user_id}.zip"), ("GET", "/admin/files/golden/{name}.jsonl"),
    ("GET", "/admin/files/collections/{collection_id}.{form}"), ("GET", "/admin/files/documents/{document_id}"),
    ("GET", "/admin/files/conversations/{conversation_id}.{form}"), ("GET", "/admin/files/runs/{run_id}/log"),
    ("GET", "/admin/files/runs/{run_id}/artifacts/{artifact_id}"), ("GET", "/admin/files/runs/{run_id}/artifacts/{artifact_id}/page"),
}  # fmt: skip
NOWHERE = {("MOUNT", "/v1"), ("MOUNT", "/files")}
OF_PIPELINES = ("/v1/pipelines", "/v1/runs", "/v1/experiments", "/v1/triggers")
"""What admins see of everybody, and what is everybody's: test_api_pipelines.py says who sees what there."""
WITH_AN_ID = sorted((m, p) for m, p in OWN_CHECK if "{" in p and not p.startswith(OF_PIPELINES))
MAKES_A_COLLECTION = {("POST", f"/v1/collections/{{name}}/{what}") for what in ("documents", "texts", "urls")}
"""What is sent there goes into a collection of one's own, whoever else has one of that name."""
BODIES = {
    "/v1/collections/{name}": {"json": {"rerank_depth": 10}},
    "/v1/collections/{name}/query": {"json": {"query": "backups"}},
    "/v1/collections/{name}/texts": {"json": {"title": "Notes", "text": "Bob's own text."}},
    "/v1/collections/{name}/urls": {"json": {"url": "http://127.0.0.1/"}},
    "/v1/chat/completions": {"json": {"messages": [{"role": "user", "content": "x"}]}},
    "/v1/conversations/{conversation_id}": {"json": {"title": "mine now"}},
    "/v1/conversations/{conversation_id}/shares": {"json": {"message_id": new_id()}},
    "/v1/messages/{message_id}/again": {"json": {}},
    "/v1/messages/{message_id}/feedback": {"json": {"verdict": "good"}},
    "/v1/prompts": {"json": {"name": "n", "text": "t"}},
    "/v1/pipelines/{pipeline}": {"json": {"shared": True}},
    "/v1/runs/{run_id}/rerun": {"json": {}},
    "/v1/runs/{run_id}/rerun/with-files": {"data": {"run": "{}"}},
    "/v1/experiments/{experiment}/baseline": {"json": {"run_id": ""}},
    "/v1/triggers/{trigger_id}": {"json": {"enabled": False}},
    "/v1/operations/collections/{name}/versions": {"json": {"embedding_model": "echo-embed"}},
    "/v1/operations/collections/{name}/folder": {"json": {"folder": "/"}},
    "/v1/operations/evaluations": {"json": {"golden_set": "g", "collection": "lab", "settings": [{"top_k": 3}]}},
    "/v1/operations/promotions": {"json": {"run_id": new_id()}},
}


def application(served):
    """The FastAPI application inside the gate and the body limit."""
    return served._inner._inner


def walk(routes):
    """(method, path) of every route, those of included routers too."""
    for route in routes:
        if hasattr(route, "original_router"):
            yield from walk(route.original_router.routes)
        elif isinstance(route, Mount):
            yield "MOUNT", route.path
        elif isinstance(route, WebSocketRoute):
            yield "SOCKET", route.path
        else:
            yield from ((method, route.path) for method in route.methods if method != "HEAD")


def filled(path, value="x"):
    path = path.replace("{number}", "1").replace("{side}", "request")
    return path.partition("{")[0] + value + path.partition("}")[2] if "{" in path else path


def sent(path, **given):
    return BODIES.get(path, {}) | given


async def signed_in(client, **given):
    """Signs Ada in as a browser does; the cookie stays in the client."""
    answer = await client.post("/login", data={"username": "ada", "password": PASSWORD} | given)
    assert answer.status_code == 303
    return answer


@pytest.fixture
async def browser(app, ada, stranger):
    """Ada's browser: a client with her session's cookie and no key. The session is opened without a password, whose hashing takes most of the time."""
    _, token = await app.users._open_session(ada.user, "test")
    stranger.cookies.set(COOKIE, token, domain="hearth.test")
    return stranger


# 1: the inventory of routes


async def test_every_route_is_listed_with_who_may_use_it(served):
    found = list(walk(application(served).router.routes))
    assert set(found) == PUBLIC | OWN_CHECK | ADMINS_ALONE | BEHIND_THE_GATE | NOWHERE
    assert len(found) == len(set(found))


async def test_a_route_outside_the_lists_is_refused_for_strangers(served, stranger):
    application(served).get("/brand/new")(lambda: "secret")
    answer = await stranger.get("/brand/new")
    assert answer.status_code == 401
    assert "secret" not in answer.text


@pytest.mark.parametrize("credentials", [{}, {"Authorization": "Bearer hk_wrong"}, {"Authorization": "Basic YWRhOngK"}, {"Cookie": f"{COOKIE}=wrong"}], ids=str)
async def test_every_route_that_is_not_public_refuses_strangers(ada, stranger, credentials):
    refused = {}
    for method, path in sorted(OWN_CHECK | ADMINS_ALONE | BEHIND_THE_GATE):
        answer = await stranger.request("GET" if method == "MOUNT" else method, filled(path) or "/chat", headers=credentials, **BODIES.get(path, {}))
        refused[method, path] = answer.status_code
        assert answer.json()["error"]["type"] == "authentication_error"
    assert set(refused.values()) == {401}


async def test_what_is_for_admins_is_not_there_for_others_and_not_opened_by_a_key_without_that_scope(app, ada, bob, bobs, served, open_client):
    _, secret = await app.users.make_key(ada.user, scopes=[scope for scope in Scope if scope is not Scope.OPERATIONS])
    async with open_client(served, secret) as narrow:
        for method, path in sorted(ADMINS_ALONE):
            for client, status in ((bobs, 404), (narrow, 403)):
                answer = await client.request(method, filled(path), params={"first": 1, "second": 2}, json=BODIES.get(path, {}).get("json"))
                assert answer.status_code == status, (method, path, answer.text)


async def test_a_visitor_without_a_session_is_sent_to_sign_in_and_back(stranger):
    for path in ("/", "/chat", "/chat/", "/chat/gradio_api/info", "/chat/gradio_api/queue/data", "/docs", "/openapi.json", "/login/", "/chat?c=1"):
        answer = await stranger.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == 303
        assert answer.headers["location"] == f"/login?next={quote(path, safe='')}"


@pytest.mark.parametrize("path", ["/v1/../chat", "/v1/nothing", "/files/../chat/", "/files/a/b", "/static/../chat", "//chat", "/v1//collections", "/metrics/x"])
async def test_no_spelling_of_a_path_gets_past_the_gate(ada, served, stranger, path):
    asked = []

    async def page(scope, receive, send):
        asked.append(scope["path"])

    application(served).router.routes[-1].app = page
    status, _ = await raw(served, path)
    assert status in (401, 404)
    assert asked == []


async def raw(served, path, method="GET", kind="http", headers=(), messages=()):
    """One request as a server hands it over: a client would tidy the path. Gives the status and the body."""
    told = []
    waiting = list(messages) or [{"type": "http.request", "body": b"", "more_body": False} if kind == "http" else {"type": "websocket.connect"}]

    async def receive():
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message):
        told.append(message)

    scope = {
        "type": kind, "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(), "root_path": "",
        "query_string": b"", "headers": [(b"host", b"hearth.test"), *headers], "server": ("hearth.test", 80), "client": ("127.0.0.1", 1), "scheme": "http",
    }  # fmt: skip
    await served(scope, receive, send)
    return (told[-1]["code"] if kind == "websocket" else told[0]["status"]), b"".join(m.get("body", b"") for m in told)


@pytest.mark.parametrize("path", ["/voice/ws", "/chat/socket"])
@pytest.mark.parametrize(("headers", "code"), [((), 4401), (((b"cookie", b"hearth_session=x"),), 4401), (((b"origin", b"http://evil.test"),), 4403)], ids=str)
async def test_a_socket_without_a_session_or_from_another_site_is_closed(served, path, headers, code):
    assert (await raw(served, path, kind="websocket", headers=headers))[0] == code


async def test_a_strangers_body_is_not_even_read(served):
    read = []

    def pieces():
        while True:
            read.append(1)
            yield {"type": "http.request", "body": b"x" * 1000, "more_body": len(read) < 100}

    for path in ("/v1/chat/completions", "/v1/collections/lab/documents"):
        read.clear()
        feed = pieces()
        messages = Feed(feed)
        status, _ = await raw(served, path, "POST", headers=[(b"content-type", b"multipart/form-data; boundary=x")], messages=messages)
        assert status == 401
        assert read == []


class Feed(list):
    """Messages that are made only when they are asked for."""

    def __init__(self, source):
        super().__init__([None])
        self.source = source

    def pop(self, _index=0):
        return next(self.source)


# 2 and 3: nobody reads, changes or deletes what is somebody else's


def a_guide(username):
    out = io.BytesIO()
    canvas = Canvas(out)
    canvas.setTitle(f"Guide of {username}")
    canvas.drawString(72, 720, "Backups are kept for 35 days.")
    canvas.save()
    return out.getvalue()


async def belongings(app, who):
    """One of everything of a user; every id that a route may name."""
    document, job = await taken_in(app, who, "guide.pdf", a_guide(who.user.username))
    turn = await app.chat.send(who, ask("hello", new_id(), new_id()))
    await finished(turn)
    share, _ = await app.shelf.share(who.user, turn.conversation_id, turn.answer_id)
    prompt = await app.shelf.save_prompt(who.user, "daily", "What happened?")
    ids = {"document_id": document.id, "job_id": job.id, "conversation_id": turn.conversation_id, "name": "lab", "message_id": turn.answer.reply_to}
    await app.console.lab.keep(Admin(who.user), ids["name"], who.user.username, "What stands in the guide?", ["lab"], [])
    spoken = await app.voice.answer(who, say("hello"))
    return ids | {"share_id": share.id, "prompt_id": prompt.id, "request_id": spoken.request_id}


def named_in(path):
    return path.partition("{")[2].partition("}")[0]


def of(path, ids):
    return filled(path, ids[named_in(path)])


@pytest.mark.parametrize("owner_is_admin", [True, False], ids=["bob-asks-the-admin", "the-admin-asks-bob"])
async def test_what_is_somebody_elses_is_answered_like_what_does_not_exist(app, ada, bob, api, bobs, owner_is_admin):
    owner, theirs, other = (ada, api, bobs) if owner_is_admin else (bob, bobs, api)
    mine = await belongings(app, owner)
    unknown = {k: new_id() for k in mine} | {"name": "nol"}
    asked = 0
    for _, path in WITH_AN_ID:
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            if (method, path) in MAKES_A_COLLECTION:
                continue  # makes a collection of one's own, see below
            real, none = of(path, mine), of(path, unknown)
            answer, nothing = [await other.request(method, p, **BODIES.get(path, {})) for p in (real, none)]
            assert answer.status_code == nothing.status_code == 404, (method, path)
            assert answer.text.replace(mine[named_in(path)], "…") == nothing.text.replace(unknown[named_in(path)], "…")
            assert dict(answer.headers) == dict(nothing.headers)
            asked += 1
    assert asked >= 60
    for path in {p for m, p in WITH_AN_ID if m == "GET"}:
        assert (await theirs.get(of(path, mine))).status_code == 200


async def test_the_pages_of_somebody_elses_document_are_like_those_of_none(app, ada, bob, bobs, browser):
    mine, theirs = await belongings(app, ada), await belongings(app, bob)
    ids = {"of somebody else": theirs["document_id"], "unknown": new_id(), "no id": "x"}
    for method, path in (("GET", "/documents/{document_id}"), ("POST", "/documents/{document_id}/delete")):
        answers = {name: await browser.request(method, filled(path, value)) for name, value in ids.items()}
        assert {a.status_code for a in answers.values()} == {404}
        assert len({a.text for a in answers.values()}) == 1
        assert len({str(sorted(a.headers.items())) for a in answers.values()}) == 1
    foreign = (await app.library.chunks(bob.user, theirs["document_id"])).items[0].id
    for at in (f"/documents/{mine['document_id']}?chunk=", f"/files/{mine['document_id']}/pages/1.png?chunk="):
        shown, none = (await browser.get(at + foreign), await browser.get(at + foreign[:-1] + "-"))
        assert shown.status_code == none.status_code == 200
        assert shown.content.replace(foreign.encode(), b"") == none.content.replace(foreign[:-1].encode() + b"-", b"")
    assert (await bobs.get(f"/v1/documents/{theirs['document_id']}")).status_code == 200


async def test_a_document_is_deleted_from_its_page_only_by_its_own_page(app, ada, browser):
    mine = await belongings(app, ada)
    at = f"/documents/{mine['document_id']}"
    for headers in ({"Origin": "http://evil.test"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}):
        assert (await browser.post(f"{at}/delete", headers=headers)).status_code == 403
    assert (await browser.get(at)).status_code == 200
    assert (await browser.post(f"{at}/delete", headers={"Sec-Fetch-Site": "same-origin"})).status_code == 200
    assert (await browser.get(at)).status_code == 404


async def test_a_collection_of_the_same_name_is_another_persons_own(app, ada, bob, api, bobs):
    await belongings(app, ada)
    assert (await bobs.post("/v1/collections/lab/documents", files={"file": ("b.txt", b"bob's own text")})).status_code == 202
    assert [d["title"] for d in (await api.get("/v1/collections/lab/documents")).json()["items"]] == ["Guide of ada"]
    assert [d["title"] for d in (await bobs.get("/v1/collections/lab/documents")).json()["items"]] == ["b.txt"]
    found = (await bobs.post("/v1/collections/lab/query", json={"query": "backups kept 35 days"})).json()
    assert "35 days" not in json.dumps(found["chunks"])


async def test_lists_and_searches_show_only_ones_own(app, ada, bobs):
    await belongings(app, ada)
    for path in ("/v1/conversations", "/v1/conversations?search=hello", "/v1/collections", "/v1/jobs", "/v1/jobs?collection=lab", "/v1/tags", "/v1/prompts"):
        assert (await bobs.get(path)).json()["items"] == []


async def test_ids_inside_a_body_open_nothing_of_somebody_elses(app, ada, api, bobs):
    mine = await belongings(app, ada)
    before = (await api.get(f"/v1/conversations/{mine['conversation_id']}")).json()
    answers = {}
    named = ({"conversation_id": mine["conversation_id"]}, {"message_id": mine["message_id"]}, {"message_id": before["messages"][1]["id"]})
    for ids in (*named, {"conversation_id": new_id(), "parent_id": mine["message_id"]}):
        for stream in (False, True):
            answer = await bobs.post("/v1/chat/completions", json=BODIES["/v1/chat/completions"]["json"] | ids | {"stream": stream})
            answers[str(ids), stream] = answer.status_code
            assert "hello" not in answer.text
    assert set(answers.values()) <= {404, 409}
    own = await bobs.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "backups?"}], "collection": "lab"})
    none = await bobs.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "backups?"}], "collection": "nol"})
    assert own.json()["error"] == json.loads(json.dumps(none.json()["error"]).replace("nol", "lab"))
    assert (await api.get(f"/v1/conversations/{mine['conversation_id']}")).json() == before


# 7: somebody who may not come in any more


async def test_a_new_password_ends_every_session_of_the_old_one(app, ada, api, browser):
    assert (await browser.get("/")).status_code == 200
    await app.users.set_password("ada", PASSWORD)
    assert (await browser.get("/")).status_code == 401
    assert (await api.get("/v1/models")).status_code == 200, "keys are made and ended by themselves"


async def test_a_disabled_user_is_out_at_the_next_request(app, ada, api, browser):
    await app.users.set_password("ada", PASSWORD)
    await signed_in(browser)
    assert (await api.get("/v1/models")).status_code == (await browser.get("/")).status_code == 200
    await app.users.add("other", None, admin=True)
    await app.users.change(ada.user.id, disabled=True)
    assert [(await c.get(p)).status_code for c, p in ((api, "/v1/models"), (browser, "/v1/models"), (browser, "/"), (api, "/metrics"))] == [401] * 4
    assert (await browser.post("/login", data={"username": "ada", "password": PASSWORD})).status_code == 401


# 9: the first account


async def test_the_setup_link_makes_one_admin_and_then_is_closed(app, stranger):
    form = {"username": "ada", "password": PASSWORD, "again": PASSWORD}
    token = await app.users.prepare_setup()
    assert "Almost there" in (await stranger.get("/login")).text
    assert (await stranger.get("/", headers={"Accept": "text/html"})).headers["location"] == "/setup"
    assert (await stranger.post("/setup", data=form | {"token": "guessed"})).status_code == 403
    assert (await stranger.post("/setup", data=form | {"token": token, "again": "something else"})).status_code == 400
    assert (await stranger.post("/setup", data=form | {"token": token, "password": "short", "again": "short"})).status_code == 400
    first, second = await asyncio.gather(*(stranger.post("/setup", data=form | {"token": token, "username": name}) for name in ("ada", "eve")))
    assert sorted([first.status_code, second.status_code])[0] == 303
    assert sorted([first.status_code, second.status_code])[1] >= 400
    assert len((await app.users.everyone()).items) == 1
    for answer in (await stranger.get(f"/setup?token={token}"), await stranger.post("/setup", data=form | {"token": token, "username": "mallory"})):
        assert answer.status_code == 410
    assert len((await app.users.everyone()).items) == 1
    assert await app.users.prepare_setup() == ""


async def test_an_account_made_on_the_command_line_closes_the_setup_link(app, stranger):
    token = await app.users.prepare_setup()
    async with open_app(app.settings) as beside:
        await beside.users.add("ada", None)
    assert (await stranger.post("/setup", data={"token": token, "username": "eve", "password": PASSWORD, "again": PASSWORD})).status_code == 410


# 11 and 12: sessions and cookies


async def test_each_sign_in_has_its_own_session_and_ends_the_one_before(app, browser):
    await app.users.set_password("ada", PASSWORD)
    first = browser.cookies[COOKIE]
    await signed_in(browser)
    second = browser.cookies[COOKIE]
    assert first != second
    browser.cookies.clear()
    alive = [(await browser.get("/", headers={"Cookie": f"{COOKIE}={token}"})).status_code for token in (first, second)]
    assert alive == [401, 200]


async def test_a_session_id_that_an_attacker_planted_is_not_taken_over(app, ada, stranger):
    await app.users.set_password("ada", PASSWORD)
    answer = await stranger.post("/login", data={"username": "ada", "password": PASSWORD}, headers={"Cookie": f"{COOKIE}=planted"})
    assert answer.status_code == 303
    assert answer.cookies[COOKIE] != "planted"
    stranger.cookies.clear()
    assert (await stranger.get("/", headers={"Cookie": f"{COOKIE}=planted"})).status_code == 401


async def test_signing_out_ends_the_session_on_the_server(browser):
    token = browser.cookies[COOKIE]
    answer = await browser.post("/logout")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert COOKIE not in browser.cookies
    assert (await browser.get("/v1/models", headers={"Cookie": f"{COOKIE}={token}"})).status_code == 401


@pytest.mark.parametrize("secure", [False, True])
async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(tmp_path, echo_server, open_client, secure):
    async with open_app(echo_settings(tmp_path, session_cookie_secure=secure), local=echo_server) as house:
        await house.users.add("ada", PASSWORD)
        async with open_client(web(house, LatePage(wanted=False))) as client:
            cookie = (await signed_in(client)).headers["set-cookie"]
    parts = {p.strip().partition("=")[0].lower(): p.strip().partition("=")[2] for p in cookie.split(";")}
    assert {"httponly", "samesite", "path", "max-age"} <= set(parts)
    assert (parts["samesite"].lower(), parts["path"], parts["max-age"]) == ("lax", "/", str(7 * 24 * 3600))
    assert "domain" not in parts
    assert ("secure" in parts) is secure
    assert cookie.startswith(f"__Host-{COOKIE}=" if secure else f"{COOKIE}=")


async def test_behind_tls_a_cookie_that_a_neighbouring_host_could_have_set_is_not_read(tmp_path, echo_server, open_client):
    async with open_app(echo_settings(tmp_path, session_cookie_secure=True), local=echo_server) as house:
        await house.users.add("ada", PASSWORD)
        async with open_client(web(house, LatePage(wanted=False))) as client:
            token = (await signed_in(client)).cookies[f"__Host-{COOKIE}"]
            client.cookies.clear()
            answers = [(await client.get("/", headers={"Cookie": f"{name}={token}"})).status_code for name in (COOKIE, f"__Host-{COOKIE}")]
    assert answers == [401, 200]


async def test_cookies_of_other_programs_on_the_same_host_do_not_sign_anybody_out(browser):
    mine = f"{COOKIE}={browser.cookies[COOKIE]}"
    browser.cookies.clear()
    for beside in ('x={"a":1}', "foo=bar baz", "é=1", "novalue", "a=b=c", '"', "[x]=1", "=;;"):
        for both in (f"{beside}; {mine}", f"{mine}; {beside}"):
            assert (await browser.get("/", headers={"Cookie": both.encode("latin-1")})).status_code == 200, beside


FOREIGN = [
    {"Origin": "http://evil.test"}, {"Origin": "null"}, {"Origin": "http://localhost:3000"}, {"Origin": "http://hearth.test.evil.test"}, {"Origin": "http://[bad"},
    {"Origin": ""}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site", "Origin": SITE},
]  # fmt: skip


async def test_another_sites_page_can_change_nothing_with_the_cookie(app, ada, browser):
    await app.library.create(ada.user, "x")
    token = browser.cookies[COOKIE]
    mutating = [(m, p) for m, p in sorted(PUBLIC | OWN_CHECK | ADMINS_ALONE | BEHIND_THE_GATE) if m in ("POST", "PATCH", "DELETE")]
    tried = [*mutating, ("POST", "/chat/gradio_api/queue/join"), ("PUT", "/v1/collections/x"), ("PATCH", "/")]
    assert len(tried) >= 11
    for headers in FOREIGN:
        for method, path in tried:
            answer = await browser.request(method, filled(path), headers=headers, **BODIES.get(path, {}))
            assert answer.status_code == 403, (method, path, headers)
    assert browser.cookies[COOKIE] == token
    assert (await browser.get("/v1/collections/x")).status_code == 200


async def test_another_sites_page_can_not_sign_a_visitor_in_as_somebody_else(app, ada, stranger):
    await app.users.set_password("ada", PASSWORD)
    answer = await stranger.post(
        "/login", data={"username": "ada", "password": PASSWORD}, headers={"Origin": "http://evil.test", "Sec-Fetch-Site": "cross-site"}
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("headers", [{}, {"Origin": SITE}, {"Origin": SITE, "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}], ids=str)
async def test_our_own_page_and_plain_programs_may(browser, headers):
    assert (await browser.post("/v1/collections", json={"name": "lab"}, headers=headers)).status_code == 201


async def test_a_program_with_a_key_may_come_from_anywhere(api):
    assert (await api.post("/v1/collections", json={"name": "lab"}, headers={"Origin": "app://local", "Sec-Fetch-Site": "cross-site"})).status_code == 201


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://localhost:3000", SITE])
async def test_no_answer_allows_another_origin_to_read_it(api, browser, origin):
    preflight = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for client in (api, browser):
        for method, path in (
            ("GET", "/v1/models"),
            ("OPTIONS", "/v1/chat/completions"),
            ("OPTIONS", "/login"),
            ("GET", "/healthz"),
            ("POST", "/v1/collections"),
        ):
            answer = await client.request(method, path, headers=preflight)
            assert not [name for name in answer.headers if name.startswith("access-control-")]


TARGETS = [
    "//evil.test", "https://evil.test", "/\\evil.test", "\\\\evil.test", "/\t/evil.test", "/\r\n/evil.test", "\t//evil.test", " //evil.test", 
    "javascript:alert(1)",
    "/%09/evil.test", "http:evil.test", "/chat?c=1", "",
]  # fmt: skip


async def test_signing_in_never_leads_to_another_site(app, browser):
    await app.users.set_password("ada", PASSWORD)
    for target in TARGETS:
        answer = await signed_in(browser, next=target)
        location = answer.headers["location"]
        as_browsers_read_it = location.strip().translate({9: None, 10: None, 13: None}).replace("\\", "/")
        assert urlsplit(urljoin(SITE + "/login", as_browsers_read_it))[:2] == ("http", "hearth.test"), target
    assert (await signed_in(browser, next="/chat?c=1")).headers["location"] == "/chat?c=1"


HOSTILE = '"><script>alert(1)</script>'


@pytest.mark.parametrize("form", [{"next": HOSTILE}, {"username": HOSTILE, "password": "x"}, {"token": HOSTILE, "username": HOSTILE}], ids=str)
async def test_what_is_typed_into_the_pages_forms_comes_back_as_text(app, stranger, form):
    await app.users.prepare_setup()
    answers = [await stranger.post("/setup", data=form), await stranger.get("/setup", params=form)]
    await app.users.add("ada", None)
    answers += [await stranger.post("/login", data=form), await stranger.get("/login", params=form)]
    for answer in answers:
        assert answer.status_code < 500
        assert "<script" not in answer.text


# headers


async def test_every_answer_carries_the_headers_that_keep_browsers_in_bounds(app, ada, api, browser):
    mine = await belongings(app, ada)
    asked = {
        "/": 200, "/login": 200, "/setup": 410, "/favicon.ico": 301, "/static/pages.css": 200, "/static/nothing": 404, "/healthz": 200, "/metrics": 200,
        "/chat": 404, "/docs": 200, "/openapi.json": 200, "/v1/models": 200, "/v1/nothing": 404, "/v1/jobs?limit=0": 422, f"/files/{mine['document_id']}": 200,
    }  # fmt: skip
    answers = {path: await browser.get(path) for path in asked}
    assert {path: a.status_code for path, a in answers.items()} == asked
    answers["403"] = await browser.post("/logout", headers={"Origin": "null"})
    answers["413"] = await api.post("/v1/chat/completions", content=b"x" * 5_000_000)
    answers["stream"] = await api.post("/v1/chat/completions", json=BODIES["/v1/chat/completions"]["json"] | {"stream": True})
    answers["303"] = await browser.post("/logout")
    answers["401"] = await browser.get("/")
    for path, answer in answers.items():
        headers = answer.headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["x-frame-options"] == "SAMEORIGIN", path
        assert headers["referrer-policy"] == "same-origin", path
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy or "sandbox; default-src 'none'" in policy, path
        if not path.startswith(("/chat", "/docs")):
            assert "script-src" not in policy, path
        assert not {"server", "x-powered-by"} & set(headers), path


# files


def form_of(name):
    """An upload whose file name is exactly these bytes."""
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="' + name + b'"\r\nContent-Type: text/plain\r\n\r\nplain text\r\n--b--\r\n'
    return {"content": body, "headers": {"Content-Type": "multipart/form-data; boundary=b"}}


NAMES = [
    b"../../../etc/passwd", b"..\\..\\windows\\system32\\x.txt", b"/etc/cron.d/x", b"C:\\x.txt", b"a\x00b.txt", b"..", b".", b"con", b"~/.ssh/id",
    b"%2e%2e%2fx",
    b"x" * 4096, "ра‮txt.exe".encode(), b"\xff\xfe.txt", b"a;b=c.txt", b"$(touch x)", b"; rm -rf .txt", b"<script>.txt", b"\x1b[31m.txt", b" ", b"s3://hearth/x",
]  # fmt: skip


async def test_no_file_name_writes_outside_its_place_or_breaks_an_answer(app, ada, api):
    outside = {p for p in app.settings.home.parent.rglob("*") if app.settings.home not in p.parents}
    for name in NAMES:
        answer = await api.post("/v1/collections/lab/documents", **form_of(name))
        assert answer.status_code in (202, 400), name
        if answer.status_code == 400:
            continue
        title = answer.json()["title"]
        assert 0 < len(title) <= 200
        assert title.isprintable()
        assert not {"/", "\\"} & set(title)
        file = await api.get(f"/files/{answer.json()['document_id']}")
        assert file.status_code == 200
        assert file.content == b"plain text"
        shown = file.headers["content-disposition"]
        assert shown.isascii()
        assert shown.count(";") == 1
        assert not {"\r", "\n", '"', "/", "\\"} & set(shown.partition("filename*=UTF-8''")[2])
        assert (await api.delete(f"/v1/documents/{answer.json()['document_id']}")).json()["complete"] is True
    assert [p for p in (app.settings.home / "objects").rglob("*") if p.is_file()] == []
    assert {p for p in app.settings.home.parent.rglob("*") if app.settings.home not in p.parents} == outside
    assert {p.name.split(".")[0] for p in app.settings.home.iterdir()} <= {"hearth", "objects", "process"}


HTML = b"<!doctype html><html><body><script>alert(document.cookie)</script><p>Backups are kept for 35 days.</p></body></html>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><text>Backups</text></svg>'
ACTIVE = {"text/html", "image/svg+xml", "text/xml", "application/xml", "application/xhtml+xml", "text/javascript", "application/javascript"}


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.html", HTML), ("x.txt", HTML), ("x.pdf.html", HTML), ("x.svg", SVG), ("x.xml", b"<?xml version='1.0'?>" + SVG), ("x.xhtml", HTML), 
     ("x.js", b"alert(1)"),
     ("x.md", b"# A\n\n<script>alert(1)</script> Backups"), ("x.hta", HTML), ("x", HTML)],
)  # fmt: skip
async def test_a_document_that_could_carry_a_script_is_never_shown_as_a_page(app, ada, browser, name, content):
    document, job = await taken_in(app, ada, name, content)
    assert job.error == ""
    answer = await browser.get(f"/files/{document.id}")
    assert answer.content == content
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind not in ACTIVE
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox;")
    assert answer.headers["content-disposition"].startswith("inline" if kind == "text/plain" else "attachment")
    if content == HTML:
        assert kind == "application/octet-stream"


# limits


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/collections", "/v1/collections/lab/query"])
async def test_a_body_over_the_limit_is_a_413_in_openais_shape(api, path, announced):
    body = json.dumps({"query": "x" * 5_000_000}).encode()

    async def pieces():
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    answer = await api.post(path, content=body if announced else pieces(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "MB" in answer.json()["error"]["message"]


async def test_an_upload_that_does_not_say_how_large_it_is_is_stopped_at_the_limit(tmp_path, echo_server, open_client):
    async with open_app(echo_settings(tmp_path, upload_max_mb=1), local=echo_server) as house:
        _, key = await house.users.make_key(await house.users.add("ada", None))
        taken = []

        async def pieces():
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.txt"\r\n\r\n'
            for n in range(50):
                taken.append(n)
                yield b"x" * 100_000

        async with open_client(web(house, LatePage(wanted=False)), key) as client:
            answer = await client.post("/v1/collections/lab/documents", content=pieces(), headers={"Content-Type": "multipart/form-data; boundary=b"})
            assert answer.status_code == 413
            assert "HEARTH_UPLOAD_MAX_MB" in answer.json()["error"]["hint"]
            assert len(taken) < 20


async def test_a_form_that_is_too_long_is_refused(ada, stranger):
    assert (await stranger.post("/login", data={"username": "a" * 20_000, "password": "x"})).status_code == 400


# 41: whatever is sent, nothing stumbles

DEEP = "[" * 5_000 + "]" * 5_000
VALUES = [None, True, 0, -1, 1e308, 10**30, "", "x", "\x00", "\ud800", "x" * 10_000, "' OR 1=1 --", "😀‮", [], [[]], [None], {}, {"x": {}}, ["x"] * 1000]
PATHS = ["x", "%00", "%ff", "..%2f..%2fx", "%F0%9F%98%80", "'%20or%201=1", "a" * 4000, "%0d%0aX:y", "*", "{}", "00000000-0000-0000-0000-000000000000"]
FIELDS = {
    "/v1/chat/completions": ("messages", "model", "stream", "max_tokens", "temperature", "conversation_id", "message_id", "collection", "rag"),
    "/v1/collections": ("name", "chunk_chars", "rerank_depth", "embedding_model"),
    "/v1/collections/{name}/texts": ("title", "text"),
    "/v1/collections/{name}/urls": ("url",),
    "/v1/pipelines": ("name", "engine", "definition"),
    "/v1/pipelines/validate": ("engine", "definition"),
    "/v1/runs": ("pipeline", "parameters", "experiment", "id", "cache"),
    "/v1/triggers": ("pipeline", "kind", "watched", "parameters", "experiment"),
    "/v1/collections/{name}/query": ("query", "top_k", "rerank", "rerank_top_k", "rerank_depth"),
    "/v1/operations/collections/{name}/versions": ("embedding_model",),
    "/v1/operations/collections/{name}/folder": ("folder",),
    "/v1/operations/evaluations": ("golden_set", "collection", "settings", "experiment", "answers"),
    "/v1/operations/promotions": ("run_id",),
}
RAW = [
    b"",
    b"null",
    b"{",
    b"[]",
    b'"x"',
    b"\xff\xfe\x00",
    DEEP.encode(),
    b'{"messages":' + DEEP.encode() + b"}",
    b'{"top_k":' + b"9" * 5000 + b"}",
    b'{"a":NaN}',
    b'{"temperature":Infinity}',
]


def assert_no_stumble(answer, what):
    """No 5xx; but an answer of a model that failed, and says so, is a 502 by design, and one that names a model that isn't there a 503."""
    by_design = {(502, "failed"), (503, "model_missing")}
    fine = answer.status_code < 500 or (answer.status_code, answer.json()["error"]["code"]) in by_design
    assert fine, (what, answer.status_code, answer.text[:300])


async def test_no_body_makes_the_api_stumble(app, ada, api):
    await app.library.create(ada.user, "x")
    sound = {"query": "backups", "name": "y", "title": "t", "text": "x", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
    sound |= {"engine": "argo", "definition": "a: 1", "pipeline": "x", "parameters": {}, "kind": "schedule", "watched": "0 3 * * *"}
    for path, fields in FIELDS.items():
        at = filled(path)
        for body in RAW:
            assert_no_stumble(await api.post(at, content=body, headers={"Content-Type": "application/json"}), (path, body[:40]))
        for field in fields:
            for value in VALUES:
                for wrong in (value, [{"role": "user", "content": value}], [{"role": value, "content": [value]}]) if field == "messages" else (value,):
                    body = json.dumps(sound | {field: wrong})
                    assert_no_stumble(await api.post(at, content=body, headers={"Content-Type": "application/json"}), (path, field, body[:80]))
    assert (await api.get("/v1/models")).status_code == 200


async def test_no_address_makes_the_api_stumble(api):
    for method, path in sorted(OWN_CHECK | ADMINS_ALONE):
        if "{" in path:
            for value in PATHS:
                assert_no_stumble(await api.request(method, filled(path, value), **BODIES.get(path, {})), (method, path, value))
        if method != "GET":
            continue
        for name in ("limit", "cursor", "before", "search", "collection", "unfinished", "since", "status", "sort", "experiment"):
            for value in (
                "",
                "x",
                "9" * 400,
                "\x00",
                "x" * 5000,
                "9999-12-31T23:59:59+00:00/x",
                "0001-01-01T00:00:00+14:00/x",
            ):
                assert_no_stumble(await api.get(filled(path), params={name: value}), (path, name, value[:40]))


@pytest.mark.parametrize(
    "kind",
    ["application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=b; charset=utf-99", "text/plain", "x", ""],
)
async def test_no_form_makes_an_upload_stumble(api, kind):
    forms = [
        b"",
        b"--b",
        b"--b\r\n\r\n",
        b"--b--",
        b"x" * 1000,
        form_of(b"x")["content"],
        form_of(b"x")["content"][:-20],
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--",
    ]
    for body in [*forms, b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\ny\r\n' * 2000 + b"--b--"]:
        for path in ("/v1/collections/lab/documents", "/v1/runs/with-files"):
            assert_no_stumble(await api.post(path, content=body, headers={"Content-Type": kind}), (path, kind, body[:40]))
