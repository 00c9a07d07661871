"""The records on a server that dies or falls silent: nothing is accepted falsely, nothing accepted is lost, and whoever asks is told when to ask again."""

import http.client
import json
import threading
import time
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import pytest
import servers
from proxy import Proxy
from running_house import RunningHouse

from core.ids import new_id, reply_id

pytestmark = [pytest.mark.services, pytest.mark.timeout(240), pytest.mark.parametrize("leg", ["postgres-18"], ids=lambda leg: f"leg={leg}")]
CHATS = 10


@contextmanager
def house_behind_a_proxy(folder):
    with servers.postgres_18(durable=True) as records, Proxy(records.port) as way:
        url = records.url.replace(f":{records.port}/", f":{way.port}/")
        with RunningHouse(folder / "home", HEARTH_RECORDS_URL=url) as house:
            house.make_user()
            yield house, records, way


def asked(house, path="/v1/chat/completions", body=None, timeout_s=60):
    """(status, when to ask again, seconds it took) of a question."""
    parts, begun = urlsplit(house.url), time.monotonic()
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)
    body = body or {"model": "default", "messages": [{"role": "user", "content": "there?"}]}
    connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {house.key}", "Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers["Retry-After"], time.monotonic() - begun


def back(house, within_s):
    begun = time.monotonic()
    while asked(house)[0] != 200:
        assert time.monotonic() - begun < within_s, house.log.read_text()[-2000:]
        time.sleep(0.1)
    return time.monotonic() - begun


def test_a_killed_postgresql_under_ten_chats_loses_nothing_that_was_accepted_and_is_used_again_when_it_is_back(leg, tmp_path):
    seen, told, ids = {}, [], [(new_id(), new_id()) for _ in range(CHATS)]
    with house_behind_a_proxy(tmp_path) as (house, records, _):

        def follow(conversation_id, message_id):
            with suppress(OSError, ValueError, http.client.HTTPException):
                for _, chunk in house.stream("[tokens=400 rate=50]", conversation_id=conversation_id, message_id=message_id):
                    seen[message_id] = seen.get(message_id, "") + (chunk["choices"][0]["delta"].get("content") or "")

        threads = [threading.Thread(target=follow, args=pair) for pair in ids]
        for thread in threads:
            thread.start()
        begun = time.monotonic()
        while len(seen) < CHATS:
            assert time.monotonic() - begun < 20
            time.sleep(0.05)
        records.kill()
        until = time.monotonic() + 4
        while time.monotonic() < until:
            told.append(asked(house))
            time.sleep(0.05)
        records.start()
        recovered_s = back(house, within_s=10)
        for thread in threads:
            thread.join()
        assert {(status, after) for status, after, _ in told} == {(503, "5")}
        assert max(seconds for *_, seconds in told) < 3
        kept = {}
        for conversation_id, message_id in ids:
            question, answer = house.get(f"/v1/conversations/{conversation_id}")[1]["messages"]
            assert question["content"] == "[tokens=400 rate=50]"
            assert answer["id"] == reply_id(message_id)
            kept[message_id] = answer
        assert {answer["status"] for answer in kept.values()} == {"complete"}, "an answer that is being written outlives the records' absence"
        assert all(kept[message_id]["content"] == text for message_id, text in seen.items())
        print(json.dumps({"fault": "postgresql killed", "accepted": CHATS, "lost": 0, "asked_meanwhile": len(told), "recovered_s": round(recovered_s, 2)}))


def test_an_answer_that_ends_while_the_records_are_away_is_stored_when_they_are_back(leg, tmp_path):
    conversation_id, seen = new_id(), []
    with house_behind_a_proxy(tmp_path) as (house, _, way):

        def bring_back():
            way.mode = ""

        for _, chunk in house.stream("[tokens=60 rate=50]", conversation_id=conversation_id):
            if not seen:
                way.mode = "down"
                threading.Timer(5, bring_back).start()
            seen.append(chunk)
        answer = house.get(f"/v1/conversations/{conversation_id}")[1]["messages"][1]
        assert (answer["status"], seen[-1]["hearth"]["status"]) == ("complete", "complete")
        assert answer["content"] == "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in seen)


def test_a_silent_postgresql_is_told_with_503_in_bounded_time_and_is_used_again(leg, tmp_path):
    with house_behind_a_proxy(tmp_path) as (house, _, way):
        assert asked(house)[0] == 200
        way.mode = "timeout"
        time.sleep(0.3)
        told = []
        threads = [threading.Thread(target=lambda: told.append(asked(house, timeout_s=120))) for _ in range(CHATS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {(status, after) for status, after, _ in told} == {(503, "5")}
        slowest_s = max(seconds for *_, seconds in told)
        assert house.get("/healthz", anonymous=True)[0] == 200
        status, body = house.get("/readyz", anonymous=True)
        assert (status, body["parts"]["records"]["ready"]) == (503, False)
        way.mode = ""
        recovered_s = back(house, within_s=45)
        print(json.dumps({"fault": "postgresql silent", "asked": CHATS, "slowest_s": round(slowest_s, 2), "recovered_s": round(recovered_s, 2)}))


def test_what_is_refused_meanwhile_is_not_there_and_the_same_send_again_is_one_question(leg, tmp_path):
    with house_behind_a_proxy(tmp_path) as (house, _, way):
        conversation_id, message_id = new_id(), new_id()
        body = {"model": "default", "messages": [{"role": "user", "content": "once"}], "conversation_id": conversation_id, "message_id": message_id}
        way.mode = "down"
        assert asked(house, body=body)[:2] == (503, "5")
        assert house.upload("note.txt", b"The code is 7.")[0] == 503
        way.mode = ""
        back(house, within_s=10)
        assert house.get(f"/v1/conversations/{conversation_id}")[0] == 404
        assert house.get("/v1/jobs")[1]["items"] == []
        assert not [path for path in (house.home / "objects").rglob("*") if path.is_file()]
        for _ in range(2):
            assert asked(house, body=body)[0] == 200
        assert [m["content"] for m in house.get(f"/v1/conversations/{conversation_id}")[1]["messages"]] == ["once", "You said: once"]
