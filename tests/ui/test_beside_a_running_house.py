"""Commands that are typed while Hearth runs on the same home."""

import http.client
import re
import signal
import subprocess
import sys
import time
from urllib.parse import urlsplit

import httpx
import pytest
from running_house import PASSWORD, RunningHouse, command, environment


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with RunningHouse(tmp_path_factory.mktemp("beside") / "home") as running:
        running.make_user()
        yield running


def test_files_are_taken_in_by_the_running_house_also_into_a_new_collection(house, tmp_path):
    (tmp_path / "door.md").write_text("# Doors\n\nThe north door opens at seven.\n")
    done = command("ingest", "--collection", "manuals", str(tmp_path), home=house.home, **house.given)
    assert done.returncode == 0, done.stderr
    found = house.post("/v1/collections/manuals/query", {"query": "When does the north door open?"})[1]
    assert found["chunks"][0]["content"] == "The north door opens at seven."


def test_the_doctor_asks_the_models_of_the_running_house(house):
    done = command("doctor", home=house.home, **house.given)
    assert done.returncode == 0, done.stdout
    assert "Hearth is running on this home" in done.stdout
    for part in ("llm", "embeddings", "reranker", "records"):
        assert f"✓ {part}" in done.stdout


def test_the_address_of_the_models_is_its_owners_alone_and_goes_with_the_house(house, tmp_path):
    address = house.home / "inference.json"
    assert address.stat().st_mode & 0o077 == 0
    with RunningHouse(tmp_path / "home") as other:
        assert (other.home / address.name).exists()
        assert other.stop() == 0
        assert not (other.home / address.name).exists()


def test_nothing_is_packed_on_the_way_to_a_socket(house):
    """It would be packed in the event loop, where every answer waits meanwhile."""
    wanted = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="}
    client = http.client.HTTPConnection(urlsplit(house.url).netloc, timeout=10)
    client.request("GET", "/voice/ws", headers=wanted | {"Sec-WebSocket-Extensions": "permessage-deflate"})
    answer = client.getresponse()
    client.close()
    assert answer.status == 101
    assert answer.headers["Sec-WebSocket-Extensions"] is None


def test_a_backup_is_made_of_the_running_house(house, tmp_path):
    house.ask("When does the north door open?")
    done = command("backup", str(tmp_path / "all.zip"), home=house.home)
    assert done.returncode == 0, done.stderr
    done = command("restore", str(tmp_path / "all.zip"), home=tmp_path / "new")
    assert done.returncode == 0, done.stderr
    with RunningHouse(tmp_path / "new", **house.given) as restored:
        restored.key = house.key
        known = {c["id"] for c in house.get("/v1/conversations")[1]["items"]}
        assert known
        assert {c["id"] for c in restored.get("/v1/conversations")[1]["items"]} == known


def test_the_console_alone_runs_beside_the_house_and_both_know_of_each_other(house, tmp_path):
    log = tmp_path / "admin.log"
    with log.open("wb") as out:
        words = [sys.executable, "-m", "ui.cli", "admin", "--port", "0"]
        console = subprocess.Popen(words, env=environment(house.home, **house.given), stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        while not (found := re.search(r"console is at (\S+)/admin/", log.read_text())):
            assert console.poll() is None, log.read_text()
            time.sleep(0.05)
        url = found[1]
        cookies = httpx.Cookies()
        with httpx.Client(base_url=url, cookies=cookies, follow_redirects=False) as client:
            assert client.get("/admin/", headers={"Accept": "text/html"}).headers["location"].startswith("/login")
            assert client.post("/login", data={"username": "ada", "password": PASSWORD, "next": "/admin/"}).status_code == 303
            while (page := client.get("/admin/")).status_code == 503:
                time.sleep(0.1)
            assert page.status_code == 200
            assert "streamlit" in page.text.lower()
            assert client.get("/chat/").status_code == 404
            token = client.cookies["hearth_session"]
        assert httpx.get(f"{house.url}/", cookies={"hearth_session": token}).status_code == 200, "one house, one sign-in"
        console.send_signal(signal.SIGINT)
        assert console.wait(20) == 0, log.read_text()
    finally:
        if console.poll() is None:
            console.kill()
            console.wait()
