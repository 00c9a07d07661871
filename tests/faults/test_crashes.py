"""What survives when the power goes, a process dies, or the disk is full: everything that was accepted."""

import os
import resource
import signal
import sqlite3
import threading
import time
from contextlib import suppress
from http.client import HTTPException

import pytest
from running_house import PASSWORD, RunningHouse, command

from core.ids import new_id, reply_id

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def house(tmp_path):
    with RunningHouse(tmp_path / "home") as running:
        running.make_user()
        yield running


def integrity(home):
    with sqlite3.connect(home / "hearth.db") as connection:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]


def test_kill_9_in_the_middle_of_answers_loses_no_message_and_less_than_a_second_of_text(house):
    rate, seen, ids = 50, {}, [(new_id(), new_id()) for _ in range(8)]

    def follow(conversation_id, message_id):
        try:
            asked = f"[tokens=500 rate={rate}]"
            for _, chunk in house.stream(asked, conversation_id=conversation_id, message_id=message_id):
                seen[message_id] = seen.get(message_id, "") + (chunk["choices"][0]["delta"].get("content") or "")
        except (OSError, ValueError, HTTPException):
            pass

    threads = [threading.Thread(target=follow, args=pair) for pair in ids]
    for thread in threads:
        thread.start()
    time.sleep(3)
    house.kill()
    for thread in threads:
        thread.join()
    house.start()
    assert integrity(house.home) == "ok"
    for conversation_id, message_id in ids:
        question, answer = house.get(f"/v1/conversations/{conversation_id}")[1]["messages"]
        assert question["content"].startswith("[tokens=500")
        assert answer["status"] == "interrupted"
        kept = answer["content"]
        assert seen[message_id].startswith(kept) or kept.startswith(seen[message_id])
        assert len(seen[message_id].split()) - len(kept.split()) <= rate, "more than a second of text was lost"


@pytest.mark.parametrize("point", ["before_accept_commit", "after_accept_commit", "after_checkpoint", "after_finish_commit"])
def test_the_same_send_after_a_crash_anywhere_gives_one_question_and_one_answer(tmp_path, point):
    conversation_id, message_id = new_id(), new_id()
    house = RunningHouse(tmp_path / "home", HEARTH_CRASH=point)
    with house:
        house.make_user()
        with suppress(OSError, ValueError, HTTPException):
            list(house.stream("[tokens=60 rate=50]", conversation_id=conversation_id, message_id=message_id))
        assert house.process.wait(10) == 137, "the crash point was never reached"
        assert f"crash point {point}" in house.log.read_text()
        del house.given["HEARTH_CRASH"]
        house.start()
        status, _ = house.ask("[tokens=60 rate=50]", conversation_id=conversation_id, message_id=message_id)
        assert status in (200, 502)
        messages = house.get(f"/v1/conversations/{conversation_id}")[1]["messages"]
        assert [m["role"] for m in messages] == ["user", "assistant"]
        assert messages[1]["id"] == reply_id(message_id)
        assert messages[1]["status"] in ("complete", "interrupted", "failed")


@pytest.mark.parametrize("point", ["after_object_put", "before_chunk_insert:3", "after_chunk_insert:3", "before_publish"])
def test_an_upload_broken_off_anywhere_is_finished_once_after_the_next_start(tmp_path, point):
    text = "\n\n".join(f"# Section {n}\n\nThe code of door {n} is {n * 7919}." for n in range(120)).encode()
    house = RunningHouse(tmp_path / "home", HEARTH_CRASH=point)
    with house:
        house.make_user()
        with suppress(OSError, ValueError, HTTPException):
            house.upload("doors.md", text)
        assert house.process.wait(30) == 137, "the crash point was never reached"
        del house.given["HEARTH_CRASH"]
        house.start()
        status, job = house.upload("doors.md", text)
        assert status == 202
        assert house.job_done(job["id"])["stage"] == "ready"
        with sqlite3.connect(house.home / "hearth.db") as connection:
            total, different = connection.execute("SELECT count(*), count(DISTINCT content) FROM chunks").fetchone()
            assert total == different == 120
            assert connection.execute("SELECT count(*) FROM documents").fetchone()[0] == 1
        assert house.post("/v1/collections/lab/query", {"query": "code of door 77"})[1]["chunks"][0]["content"].endswith(f"{77 * 7919}.")


def test_a_deletion_broken_off_is_finished_at_the_next_start(tmp_path):
    house = RunningHouse(tmp_path / "home", HEARTH_CRASH="after_tombstone")
    with house:
        house.make_user()
        job = house.upload("note.txt", b"The secret is out.")[1]
        assert house.job_done(job["id"])["stage"] == "ready"
        with pytest.raises((OSError, ValueError)):
            house.delete(f"/v1/documents/{job['document_id']}")
        assert house.process.wait(10) == 137
        del house.given["HEARTH_CRASH"]
        house.start()
        assert house.get(f"/v1/documents/{job['document_id']}")[0] == 404
        for _ in range(100):
            left = [p for p in (house.home / "objects").rglob("*") if p.is_file()]
            if not left:
                break
            time.sleep(0.1)
        assert not left
        with sqlite3.connect(house.home / "hearth.db") as connection:
            assert connection.execute("SELECT count(*) FROM chunks").fetchone()[0] == 0


def test_a_killed_model_process_ends_the_answer_with_a_sentence_and_comes_back(house):
    conversation_id = new_id()
    chunks = []
    for _, chunk in house.stream("[tokens=400 rate=50]", conversation_id=conversation_id):
        chunks.append(chunk)
        if len(chunks) == 30:
            os.kill(house.inference_pid(), signal.SIGKILL)
    assert chunks[-1]["hearth"]["status"] == "interrupted"
    assert chunks[-1]["error"]["message"]
    answer = house.get(f"/v1/conversations/{conversation_id}")[1]["messages"][1]
    assert answer["content"].startswith("t0:")
    status, body = house.ask("are you back?")
    assert status == 200
    assert body["choices"][0]["message"]["content"] == "You said: are you back?"


def test_a_second_hearth_on_the_same_home_is_told_so_and_the_first_goes_on(house):
    second = command("up", "--port", "0", home=house.home, **house.given)
    assert second.returncode == 78
    assert f"Another Hearth already runs on {house.home} (process {house.process.pid})" in second.stderr
    assert house.ask("still there?")[0] == 200


def test_a_taken_port_is_named_with_what_to_do(house, tmp_path):
    port = house.url.rsplit(":", 1)[1]
    second = command("up", "--port", port, home=tmp_path / "other", **house.given)
    assert second.returncode == 78
    assert f"Port {port} on 127.0.0.1 can't be used" in second.stderr
    assert "--port" in second.stderr


def test_a_home_that_can_not_be_written_is_named(tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    done = command("up", "--port", "0", home=blocker / "home")
    assert done.returncode == 74
    assert f"The home folder {blocker / 'home'} can't be written" in done.stderr


def test_ctrl_c_keeps_the_half_written_answer_and_ends_with_0(house):
    conversation_id = new_id()
    stream = house.stream("[tokens=500 rate=50]", conversation_id=conversation_id)
    for _ in range(40):
        next(stream)
    assert house.stop() == 0
    stream.close()
    house.start()
    answer = house.get(f"/v1/conversations/{conversation_id}")[1]["messages"][1]
    assert answer["status"] == "interrupted"
    assert len(answer["content"].split()) >= 30


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux can limit another process")
def test_a_full_disk_refuses_the_new_and_keeps_the_old(house):
    """A limit on the size of files stands in for a full disk: the system refuses the write in the same place, with an error of its own."""
    assert house.ask("before the disk was full")[0] == 200
    kept = house.get("/v1/conversations")[1]["items"]
    limit = (house.home / "hearth.db-wal").stat().st_size + 4096
    house.stop()
    house.kill()
    house.start()
    resource.prlimit(house.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    status, body = house.upload("big.txt", b"word " * 400_000)
    assert status == 507, body
    assert "can't be stored" in body["error"]["message"] or "can't be written" in body["error"]["message"]
    assert not [p for p in (house.home / "objects").rglob("*") if p.is_file()]
    assert [c["id"] for c in house.get("/v1/conversations")[1]["items"]] == [c["id"] for c in kept]


def test_the_password_is_asked_from_a_pipe_and_a_short_one_is_refused(tmp_path):
    home = tmp_path / "home"
    assert command("user", "add", "eve", home=home, typed="short\n").returncode == 65
    assert command("user", "add", "eve", home=home, typed=PASSWORD + "\n").returncode == 0
    again = command("user", "add", "EVE", home=home, typed=PASSWORD + "\n")
    assert again.returncode == 73
    assert "already a user" in again.stderr
