"""What the compose files start, started from packages: the same processes with the very environment of the files, every address led to the loopback."""

import http.client
import os
import re
from contextlib import ExitStack, contextmanager
from urllib.parse import urlencode, urlsplit

import psycopg
import pytest
import servers
from compose_files import COMING, SETS, house
from running_house import PASSWORD, RunningHouse, command

from ui.cli import main

pytestmark = [pytest.mark.services, pytest.mark.models, pytest.mark.timeout(300)]
SERVICES = house(SETS["servers"])["services"]
GUIDE = b"# Lab handbook\n\n## Backups\n\nBackups run every night at 02:30 and are kept for 35 days.\n\n## Doors\n\nThe door of the lab is blue."


class Part(RunningHouse):
    """A process of the house as its service says it."""

    def __init__(self, home, words, given):
        super().__init__(home)
        self.command, self.given = words, given
        self.says = {"worker": r"A (worker) of Hearth", "inference": r"The model server is at (\S+)"}.get(words[0], self.says)


def known(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    return set(re.findall(r"^ {4}(\w[\w-]*)(?: |$)", capsys.readouterr().out, re.MULTILINE))


def told(name, places):
    """The environment of a service, with its addresses led elsewhere."""
    environment = {}
    for variable, value in SERVICES[name]["environment"].items():
        for there, here in places.items():
            value = value.replace(there, here)
        if variable not in COMING:
            environment[variable] = value
    return environment


@contextmanager
def nats(_home):
    """With the very configuration of the file."""
    config = house(SETS["servers"])["configs"]["nats"]["content"].replace("$$", "$")

    def argv(home, port):
        text = config.replace("0.0.0.0:4222", f"127.0.0.1:{port}").replace("127.0.0.1:8222", f"127.0.0.1:{servers.free_port()}")
        (home / "nats.conf").write_text(text.replace("/data", str(home / "data")))
        return [servers.program("lib/python3*/site-packages/embedded_nats/bin/nats-server"), "--config", home / "nats.conf"]

    with servers.running(argv, servers.open_port, env=SERVICES["events"]["environment"]) as server:
        yield server


@contextmanager
def valkey(_home):
    password = SERVICES["sessions"]["environment"]["SESSIONS_PASSWORD"]
    with servers.running(
        lambda home, port: [
            servers.program("bin/valkey-server", "valkey-server"),
            "--requirepass",
            password,
            "--port",
            port,
            "--dir",
            home,
            "--appendonly",
            "yes",
        ],
        servers.open_port,
    ) as server:
        yield server


@contextmanager
def deployed(folder):
    """The servers whose addresses the house can be told, and where they are: `records:5432` and so on."""
    with ExitStack() as stack:
        records, objects = stack.enter_context(servers.postgres_18()), stack.enter_context(servers.s3_moto())
        made = SERVICES["records"]["environment"]
        with psycopg.connect(records.url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {made['POSTGRES_USER']} LOGIN PASSWORD '{made['POSTGRES_PASSWORD']}'")
            connection.execute(f"CREATE DATABASE {made['POSTGRES_DB']} OWNER {made['POSTGRES_USER']}")
        ports = {"records:5432": records.port, "objects:8333": objects.port, "inference:8100": servers.free_port()}
        for variable, address, start in (
            ("HEARTH_EVENTS_URL", "events:4222", nats),
            ("HEARTH_SESSIONS_URL", "sessions:6379", valkey),
            ("HEARTH_VECTORS_URL", "vectors:19530", lambda _: servers.milvus_lite()),
        ):
            if variable not in COMING:
                ports[address] = stack.enter_context(start(folder)).port
        yield {address: f"127.0.0.1:{port}" for address, port in ports.items()} | {"0.0.0.0": "127.0.0.1"}


def posted(url, path, **form):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request("POST", path, urlencode(form), {"Content-Type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.mark.parametrize("leg", ["nats-2.15"], ids=lambda leg: f"leg={leg}")
def test_nats_takes_the_configuration_of_the_file(leg, tmp_path):
    with nats(tmp_path) as server:
        assert "error" not in server.log().lower()
        assert 'Store Directory: "' in server.log()
        assert str(server.home / "data") in server.log()


@pytest.mark.parametrize("leg", ["deployed"], ids=lambda leg: f"leg={leg}")
def test_the_processes_of_the_compose_files_serve_and_keep_everything_through_a_restart(leg, tmp_path, models_folder, capsys):
    commands = known(capsys)
    with deployed(tmp_path) as places, ExitStack() as stack:
        homes = {name: tmp_path / name for name in ("inference", "web", "worker")}
        for home in homes.values():
            home.mkdir()
            os.symlink(models_folder, home / "models")
        port = places["inference:8100"].rpartition(":")[2]
        inference = told("inference", places) | {"HEARTH_INFERENCE_PORT": port}
        stack.enter_context(Part(homes["inference"], tuple(SERVICES["inference"]["command"]), inference))
        environment = told("web", places) | {"HEARTH_CHAT_PAGE": "false"}
        words = tuple(SERVICES["web"]["command"])
        web = stack.enter_context(Part(homes["web"], (*(words if words[0] in commands else ("up",)), "--port", "0"), environment))
        if "worker" in commands:
            stack.enter_context(Part(homes["worker"], tuple(SERVICES["worker"]["command"]), told("worker", places)))

        if web.setup_link:
            token = web.setup_link.partition("token=")[2]
            assert posted(web.url, "/setup", token=token, username="ada", password=PASSWORD, again=PASSWORD) == 303
        else:
            assert command("user", "add", "ada", "--admin", home=tmp_path / "by-hand", typed=PASSWORD + "\n", **environment).returncode == 0
        made = command("token", "--user", "ada", home=tmp_path / "by-hand", **environment)
        web.key = re.search(r"hk_\S+", made.stdout)[0]

        assert web.job_done(web.upload("guide.md", GUIDE)[1]["id"])["stage"] == "ready"
        question = {"conversation_id": "01999999-0000-7000-8000-000000000001", "message_id": "01999999-0000-7000-8000-000000000002"}
        status, answer = web.ask("How long are backups kept?", collection="lab", **question)
        assert status == 200
        assert "35 days" in answer["choices"][0]["message"]["content"]

        web.kill()
        web.start()
        assert web.get("/readyz", anonymous=True)[0] == 200
        asked, answered = web.get(f"/v1/conversations/{question['conversation_id']}")[1]["messages"]
        assert (asked["content"], "35 days" in answered["content"]) == ("How long are backups kept?", True)
        document = web.get("/v1/collections/lab/documents")[1]["items"][0]["id"]
        assert web.get(f"/files/{document}") == (200, GUIDE)
        status, answer = web.ask("Which colour is the door?", collection="lab", conversation_id=question["conversation_id"])
        assert "blue" in answer["choices"][0]["message"]["content"]
        assert posted(web.url, "/login", username="ada", password=PASSWORD) == 303
        assert not (homes["web"] / "hearth.db").exists(), "nothing of it is on this machine"
        assert not list((homes["web"] / "objects").glob("*"))
