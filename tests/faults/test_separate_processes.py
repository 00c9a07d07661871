"""Two web processes, a worker and the models, each a process of its own over PostgreSQL and S3: what one does, the others see; what one leaves, they finish."""

import json
import re
import threading
import time
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException

import psutil
import pytest
import servers
from running_house import PASSWORD, command
from spread_house import spread

from core.chat.room import LEASE
from core.ids import new_id, reply_id

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]
TEXT = "\n\n".join(f"Paragraph {n}. The lamp number {n} is green and stands in the hall beside the door of room {n}." * 4 for n in range(120)).encode()


SCRIPT = """
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {{generateName: {name}-}}
spec:
  entrypoint: main
  templates:
    - name: main
      script: {{image: alpine, command: [sh], source: {source}}}
"""


@pytest.fixture(scope="module", params=["separate-processes"], ids=lambda leg: f"leg={leg}")
def house(request, tmp_path_factory):
    with spread(tmp_path_factory.mktemp("spread")) as running, running.part("web") as running.a, running.part("web") as running.b:
        running.a.make_user()
        running.b.key = running.a.key
        yield running


@pytest.fixture
def worker(house):
    with house.part("worker") as running:
        yield running


def until(what, within_s=20):
    """Returns once it is true."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < within_s, "it has not come true"
        time.sleep(0.05)


@contextmanager
def asked(web, method, path, headers, body=None):
    with closing(web._connect()) as connection:
        connection.request(method, path, body, headers)
        yield connection.getresponse()


def asked_in_the_background(web, text, conversation_id, message_id):
    def follow():
        with suppress(OSError, ValueError, HTTPException):
            list(web.stream(text, conversation_id=conversation_id, message_id=message_id))

    thread = threading.Thread(target=follow)
    thread.start()
    return thread


def answer_of(web, conversation_id):
    status, body = web.get(f"/v1/conversations/{conversation_id}")
    return body["messages"][-1] if status == 200 else {"status": "", "content": ""}


def test_a_process_among_several_needs_servers_and_says_so(tmp_path):
    for role in ("web", "chat", "voice", "worker"):
        refused = command(role, home=tmp_path / role)
        assert refused.returncode == 78, refused.stderr
        assert "HEARTH_RECORDS_URL and HEARTH_OBJECTS_URL" in refused.stderr


def test_who_signed_in_at_one_is_signed_in_at_the_other(house):
    typed = {"Content-Type": "application/x-www-form-urlencoded"}
    with asked(house.a, "POST", "/login", typed, f"username=ada&password={PASSWORD.replace(' ', '+')}") as answer:
        cookie = answer.getheader("set-cookie").partition(";")[0]
    for headers, status in (({}, 303), ({"Cookie": cookie}, 200)):
        for web in (house.a, house.b):
            with asked(web, "GET", "/", {"Accept": "text/html", **headers}) as answer:
                assert answer.status == status


def test_a_conversation_begun_at_one_goes_on_at_the_other(house):
    conversation = new_id()
    assert house.a.ask("the lamp is green", conversation_id=conversation)[0] == 200
    assert house.b.ask("and the door", conversation_id=conversation)[0] == 200
    for web in (house.a, house.b):
        assert [m["content"] for m in web.get(f"/v1/conversations/{conversation}")[1]["messages"]][::2] == ["the lamp is green", "and the door"]


def test_an_answer_of_one_is_followed_and_stopped_at_the_other(house):
    conversation, message = new_id(), new_id()
    asking = asked_in_the_background(house.a, "[tokens=1000 rate=50]", conversation, message)
    until(lambda: answer_of(house.b, conversation)["content"])
    seen, ends = [], []

    def follow():
        with asked(house.b, "GET", f"/v1/messages/{reply_id(message)}/stream", {"Authorization": f"Bearer {house.b.key}"}) as answer:
            for line in answer:
                if line.startswith(b"data: "):
                    said = json.loads(line[6:])
                    (seen if "text" in said else ends).append(said)

    following = threading.Thread(target=follow)
    following.start()
    until(lambda: len(seen) >= 3)
    assert house.b.post(f"/v1/messages/{reply_id(message)}/stop", {})[0] == 204
    until(lambda: answer_of(house.b, conversation)["status"] == "stopped")
    following.join(5)
    asking.join(5)
    text = "".join(one["text"] for one in seen)
    assert ends[0]["status"] == "stopped"
    assert ends[0]["content"].startswith(text)
    assert text.startswith("t0:")


def test_the_same_message_sent_to_both_has_one_answer(house):
    conversation, message = new_id(), new_id()
    asking = asked_in_the_background(house.a, "[tokens=100 rate=50]", conversation, message)
    until(lambda: answer_of(house.b, conversation)["status"] == "generating")
    text = "".join(
        chunk["choices"][0]["delta"].get("content") or ""
        for _, chunk in house.b.stream("[tokens=100 rate=50]", conversation_id=conversation, message_id=message)
    )
    asking.join(5)
    messages = house.a.get(f"/v1/conversations/{conversation}")[1]["messages"]
    assert len(messages) == 2
    assert messages[1]["status"] == "complete"
    assert text == messages[1]["content"]


def test_a_web_process_killed_in_mid_answer_leaves_it_interrupted_with_its_text(house):
    conversation, message = new_id(), new_id()
    with house.part("web") as third:
        third.key = house.a.key
        asking = asked_in_the_background(third, "[tokens=3000 rate=50]", conversation, message)
        until(lambda: len(answer_of(house.a, conversation)["content"]) > 200)
        third.kill()
        asking.join(5)
        until(lambda: answer_of(house.a, conversation)["status"] == "interrupted", within_s=LEASE.total_seconds())
        assert answer_of(house.b, conversation)["content"].startswith("t0:")


def test_a_web_process_that_starts_again_frees_at_once_what_it_was_writing(house):
    conversation, message = new_id(), new_id()
    with house.part("web") as third:
        third.key = house.a.key
        asking = asked_in_the_background(third, "[tokens=3000 rate=50]", conversation, message)
        until(lambda: len(answer_of(house.a, conversation)["content"]) > 200)
        third.kill()
        asking.join(5)
        third.start()
        assert answer_of(third, conversation)["status"] == "interrupted"


def test_a_document_sent_to_a_web_process_is_taken_in_by_a_worker_and_seen_everywhere(house, worker):
    status, taken = house.a.upload("lamps.txt", b"The lamp in the hall is green.", "seen")
    assert status in (200, 201, 202), taken
    assert house.b.job_done(taken["id"])["stage"] == "ready"
    answer = house.b.ask("What colour is the lamp in the hall?", collection="seen")[1]
    assert "[1]" in answer["choices"][0]["message"]["content"]


def test_commands_leave_the_work_to_a_worker_that_is_there(house, worker, tmp_path):
    (tmp_path / "note.txt").write_text("The door of the shed is blue.")
    crashes = house.a.given | {"HEARTH_CRASH": "before_publish"}  # if the command took the document in itself
    done = command("ingest", "--collection", "typed", "--user", "ada", str(tmp_path / "note.txt"), home=tmp_path / "home", **crashes)
    assert done.returncode == 0, done.stdout + done.stderr
    assert house.b.get("/v1/collections/typed/documents")[1]["items"][0]["status"] == "ready"


def test_a_worker_killed_in_the_middle_of_a_document_is_followed_by_another(house):
    with house.part("worker", HEARTH_CRASH="after_chunk_insert:3") as first:
        _, taken = house.a.upload("many.txt", TEXT, "killed")
        assert first.process.wait(30) == 137
        assert house.b.get(f"/v1/jobs/{taken['id']}")[1]["stage"] == "embedding"
        with house.part("worker"):
            job = house.b.job_done(taken["id"], timeout_s=60)
            assert (job["stage"], job["attempts"]) == ("ready", 2)
    documents = house.a.get("/v1/collections/killed/documents")[1]["items"]
    assert [d["status"] for d in documents] == ["ready"]


def a_run_of(house, name, script):
    definition = SCRIPT.format(name=name, source=json.dumps(script))
    status, made = house.a.post("/v1/pipelines", {"name": name, "engine": "argo", "definition": definition})
    assert status == 201, made
    status, run = house.a.post("/v1/runs", {"pipeline": name})
    assert status == 202, run
    return run["id"]


def log_of(web, run):
    steps = web.get(f"/v1/runs/{run}/steps")[1]["items"]
    return web.get(f"/v1/runs/{run}/log?step={steps[-1]['key']}")[1]["text"] if steps else ""


def run_of(web, run):
    return web.get(f"/v1/runs/{run}")[1]


def test_a_run_asked_for_at_a_web_process_is_run_by_a_worker_and_read_at_any_other(house, worker):
    run = a_run_of(house, "quick", "echo the lamp is green")
    until(lambda: run_of(house.b, run)["status"] == "succeeded")
    for web in (house.a, house.b):
        assert "the lamp is green" in log_of(web, run)


def test_the_log_of_a_run_grows_at_any_process_and_the_run_is_ended_from_there(house, worker):
    run = a_run_of(house, "slow", "for n in $(seq 600); do echo line $n; sleep 0.2; done")
    until(lambda: "line 3" in log_of(house.b, run))
    until(lambda: "line 12" in log_of(house.a, run))
    status, ended = house.b.post(f"/v1/runs/{run}/terminate", {})
    assert (status, ended["status"], ended["reason"]) == (200, "failed", "It was cancelled by ada.")
    assert "line 12" in log_of(house.a, run)


def test_the_runs_of_a_worker_that_was_killed_are_interrupted_by_another_with_what_they_had_said(house):
    with house.part("worker") as first:
        run = a_run_of(house, "lost", "echo begun; sleep 600")
        until(lambda: "begun" in log_of(house.b, run))
        first.kill()
    with house.part("worker"):
        until(lambda: run_of(house.b, run)["status"] == "failed", within_s=30)
    assert run_of(house.b, run)["reason"] == "It was interrupted: Hearth stopped while it ran."
    assert "begun" in log_of(house.b, run)
    assert not [p for p in psutil.process_iter() if marked(p, run)], "nothing of it runs on"


def marked(process, run):
    with suppress(psutil.Error):
        return process.environ().get("HEARTH_RUN") == run and process.status() != psutil.STATUS_ZOMBIE
    return False


def test_the_doctor_asks_the_servers_for_real_and_says_who_serves(house, tmp_path):
    done = command("doctor", "--port", "0", home=tmp_path, **house.a.given)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert re.search(r"✓ records: PostgreSQL 18\S*, round trip \d+ ms, clocks 0\.\d s apart", said), said
    assert re.search(r"✓ objects: S3 at 127\S+, round trip \d+ ms, clocks \d\.\d s apart", said), said
    assert "✓ processes: 2 web" in said


@pytest.mark.parametrize(
    ("setting", "url", "says"),
    [
        ("HEARTH_RECORDS_URL", "{}-not-there", "does not exist. Make it with"),
        ("HEARTH_RECORDS_URL", "postgresql://test@127.0.0.1:9/postgres", "Start the server, or check"),
        ("HEARTH_OBJECTS_URL", "s3+http://key:secret@127.0.0.1:9/hearth", "✗ objects: The store of objects doesn't answer"),
    ],
)
def test_the_doctor_says_what_is_wrong_with_a_server(house, tmp_path, setting, url, says):
    done = command("doctor", "--port", "0", home=tmp_path, **house.a.given | {setting: url.format(house.a.given[setting])})
    assert done.returncode == 78, done.stdout
    assert says in done.stdout


def test_a_quota_counts_what_was_asked_at_every_process(house):
    with house.part("web", HEARTH_QUOTA_REQUESTS="2") as one, house.part("web", HEARTH_QUOTA_REQUESTS="2") as other:
        other.key = one.make_user("bea")
        assert [one.ask("one")[0], other.ask("two")[0], one.ask("three")[0], other.ask("four")[0]] == [200, 200, 429, 429]


def test_a_page_alone_is_served_with_its_sign_in_and_without_the_others(house):
    typed = {"Content-Type": "application/x-www-form-urlencoded"}
    with house.part("chat", HEARTH_CHAT_PAGE="true") as chat, house.part("voice", HEARTH_CHAT_PAGE="true") as voice:
        found = {}
        for web in (chat, voice):
            web.wait_for_pages()
            with asked(web, "POST", "/login", typed, f"username=ada&password={PASSWORD.replace(' ', '+')}") as answer:
                cookie = answer.getheader("set-cookie").partition(";")[0]
            for path in ("/chat/", "/voice/", "/admin/", "/v1/pipelines"):
                with asked(web, "GET", path, {"Cookie": cookie}) as answer:
                    found.setdefault(path, []).append(answer.status)
    assert found == {"/chat/": [200, 404], "/voice/": [404, 200], "/admin/": [404, 404], "/v1/pipelines": [404, 404]}


def test_the_doctor_asks_all_five_servers(tmp_path, house):
    with servers.valkey_8() as sessions, servers.nats_2_15() as events, servers.milvus_lite() as vectors:
        more = {"HEARTH_SESSIONS_URL": sessions.url, "HEARTH_EVENTS_URL": events.url, "HEARTH_VECTORS_URL": vectors.url}
        done = command("doctor", "--port", "0", home=tmp_path, **house.a.given | more)
        assert done.returncode == 0, done.stdout + done.stderr
        for part in ("records", "objects", "sessions", "vectors", "events"):
            assert re.search(rf"✓ {part}: .*round trip \d+ ms", done.stdout), done.stdout
        sessions.kill()
        done = command("doctor", "--port", "0", home=tmp_path, **house.a.given | more)
    assert done.returncode == 78
    assert re.search("✗ sessions: Valkey did not answer. Check HEARTH_SESSIONS_URL", done.stdout), done.stdout
