"""What an operator deploys: the compose files say what the house can read, hide what is secret, publish one port, and name versions without known holes."""

import re
import shutil
import subprocess
import tomllib

import pytest
from compose_files import COMING, FOLDER, ROOT, SETS, house, read

from core.settings import INTERNAL, PREFIX, read_settings

ONCE = {"weights", "folders", "hub"}
"""What runs to its end."""
OWNERS = {"folders", "hub"}
"""What gives new volumes to the servers, which only root may."""
WRITES = {"vectors", "llm", "embeddings", "reranker", "speech"}
"""Programs of others that write beside their volumes."""
HOUSES = {name: house(files) for name, files in SETS.items()}
SERVICES = {(kind, name): service for kind, whole in HOUSES.items() for name, service in whole["services"].items()}
each = pytest.mark.parametrize(("kind", "name"), SERVICES, ids="-".join)


@each
def test_every_service_has_an_image_of_one_version(kind, name):
    _, _, tag = SERVICES[kind, name]["image"].rpartition("/")[2].partition(":")
    assert re.match(r"v?\d+\.\d+", tag), "a tag that moves is another program tomorrow"


@each
def test_every_service_that_stays_says_whether_it_is_well(kind, name):
    service = SERVICES[kind, name]
    assert name in ONCE or service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
    assert (service.get("restart") == "unless-stopped") is (name not in ONCE)


@each
def test_nothing_runs_as_root_but_what_gives_volumes_away_and_nothing_gains_rights(kind, name):
    service = SERVICES[kind, name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert service.get("read_only", False) is (name not in WRITES)
    if name in OWNERS:
        assert (service["user"], service["cap_add"], service["network_mode"], service["entrypoint"]) == ("0:0", ["CHOWN"], "none", ["chown"])
    else:
        assert int(service["user"].partition(":")[0]) > 0
        assert "cap_add" not in service


@each
def test_only_the_pages_are_published_and_only_on_this_machine_unless_somebody_says_otherwise(kind, name):
    assert SERVICES[kind, name].get("ports", []) == (["127.0.0.1:8000:8000"] if name == "web" else [])


@each
def test_volumes_have_names_and_nothing_of_the_host_is_mounted(kind, name):
    declared = set(HOUSES[kind]["volumes"])
    assert {volume.partition(":")[0] for volume in SERVICES[kind, name].get("volumes", [])} <= declared


@each
def test_the_stores_and_the_models_are_seen_by_those_who_need_them_alone(kind, name):
    networks = set(SERVICES[kind, name].get("networks", []))
    assert HOUSES[kind]["networks"]["stores"] == HOUSES[kind]["networks"]["models"] == {"internal": True}
    allowed = {
        "web": {"outside", "stores", "models"},
        "worker": {"outside", "stores", "models"},
        "weights": {"outside"},
        "inference": {"models"},
        **{owner: set() for owner in OWNERS},
        **{model: {"outside", "models"} for model in ("llm", "embeddings", "reranker", "speech")},
    }
    assert networks == allowed.get(name, {"stores"})


@pytest.mark.parametrize("file", sorted({name for files in SETS.values() for name in files}))
def test_no_secret_stands_in_a_file_and_an_empty_one_starts_nothing(file):
    text = (FOLDER / file).read_text("utf-8")
    for name, service in read(file)["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN$|KEY", variable):
                assert re.fullmatch(r"\$\{\w+:\?[^}]+\}", value), f"{variable} of {name}"
    assert re.findall(r"://[^$\s]*:[^$@/\s]+@", text) == [], "a password inside an address"
    assert set(re.findall(r"\$\{(\w*(?:PASSWORD|SECRET|TOKEN|KEY))(?!:\?)", text)) == set()


@pytest.mark.parametrize("kind", HOUSES)
@pytest.mark.parametrize("name", ["web", "worker", "inference", "weights"])
def test_the_house_can_read_what_it_is_told(kind, name):
    environment = SERVICES[kind, name].get("environment", {})
    given = {variable: value for variable, value in environment.items() if variable not in COMING}
    assert all(variable.startswith(PREFIX) for variable in environment)
    settings = read_settings(given)
    told = {variable for variable, value in given.items() if value and variable not in INTERNAL}
    assert {s.name for s in settings.explained() if s.source == "environment"} == told
    if name in ("web", "worker"):
        assert settings.local_services() == frozenset(), "no model runs in it"
        assert bool(settings.records_url and settings.objects_url) is (kind != "apps")


def test_what_is_called_after_a_server_is_where_its_address_leads():
    for kind, whole in HOUSES.items():
        for name in ("web", "worker"):
            addresses = {v for variable, v in whole["services"][name]["environment"].items() if variable.endswith("_URL") and v}
            hosts = {re.sub(r"^.*[@/]", "", address.partition("#")[0].rpartition(":")[0]) for address in addresses}
            assert hosts <= set(whole["services"]), (kind, hosts)


def floors():
    """The least version of each image, from the table of docs/servers.md."""
    rows = re.findall(r"^\|[^|]*\| `([\w./-]+)` \| ([\d.]+) \|", (ROOT / "docs/servers.md").read_text("utf-8"), re.MULTILINE)
    return {image: tuple(map(int, version.split("."))) for image, version in rows}


def version_of(tag):
    return tuple(map(int, re.findall(r"\d+", re.match(r"v?([\d.]+)", tag)[1])))


def test_no_version_is_below_the_floor_that_the_documents_name():
    found = {service["image"].rpartition(":")[0]: service["image"].rpartition(":")[2] for service in SERVICES.values()}
    known = floors()
    assert {"postgres", "valkey/valkey", "nats", "milvusdb/milvus", "chrislusf/seaweedfs", "vllm/vllm-openai"} <= known.keys() <= found.keys()
    assert known["milvusdb/milvus"] >= (2, 6, 10)
    assert known["nats"] >= (2, 12)
    assert {image: tag for image, tag in found.items() if image in known and version_of(tag) < known[image]} == {}


def test_jetstream_says_that_something_is_kept_when_it_is_on_the_disk():
    assert "sync_interval: always" in read("services.yaml")["configs"]["nats"]["content"]


@pytest.fixture
def made(tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "compose", ignore=shutil.ignore_patterns(".env"))

    def run():
        return subprocess.run([folder / "secrets"], capture_output=True, text=True, check=False)

    return folder / ".env", run


def values(env):
    return dict(line.split("=", 1) for line in env.read_text().splitlines())


def test_secrets_are_random_differ_and_stay(made):
    env, run = made
    assert run().returncode == 0
    first = values(env)
    secret = {name: value for name, value in first.items() if name != "COMPOSE_FILE"}
    wanted = set(re.findall(r"\$\{(\w+):\?", "".join((FOLDER / name).read_text("utf-8") for name in SETS["gpu"])))
    assert secret.keys() == wanted
    assert len(set(secret.values())) == len(secret)
    assert min(len(value) for name, value in secret.items() if name != "OBJECTS_KEY") >= 40
    assert env.stat().st_mode & 0o077 == 0
    assert run().returncode == 0
    assert values(env) == first


def test_an_empty_secret_is_refused_by_its_name(made):
    env, run = made
    env.write_text("EVENTS_PASSWORD=\n")
    done = run()
    assert done.returncode == 1
    assert "EVENTS_PASSWORD" in done.stderr


def compose():
    """The command that reads the files for real."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            return command
    pytest.skip("docker compose is not installed")


@pytest.mark.parametrize("kind", SETS)
def test_docker_compose_takes_the_files(made, kind):
    command, (env, run) = compose(), made
    assert run().returncode == 0
    env.write_text(env.read_text() + "MINIO_IMAGE=example:1.0\n")
    files = [part for name in SETS[kind] for part in ("--file", name)]
    done = subprocess.run([*command, *files, "config", "--quiet"], cwd=env.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def stages():
    """Of the Containerfile by name: (what it begins from, its lines)."""
    text = re.sub(r"\\\n\s*", " ", (FOLDER / "Containerfile").read_text("utf-8"))
    parts = re.split(r"^FROM (\S+) AS (\S+)\n", text, flags=re.MULTILINE)
    return {parts[n + 1]: (parts[n], parts[n + 2]) for n in range(1, len(parts), 3)}


def extras(stage):
    """What the house is installed with in a stage, with what those extras bring themselves."""
    found = re.search(r"pip install '\.\[([\w,]+)\]'", stages()[stage][1])[1].split(",")
    known = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for extra in found:
        found += [name for line in known[extra] if line.startswith("hearth[") for name in re.findall(r"\w+", line[7:]) if name not in found]
    return {re.match(r"[\w-]+", line)[0] for extra in found for line in known[extra]}


def test_the_pages_image_has_no_torch_and_the_models_image_has():
    assert "torch" in extras("build-inference")
    assert {"psycopg", "minio", "onnxruntime"} <= extras("build-web")
    assert not {"torch", "transformers"} & extras("build-web")
    assert "torch" not in stages()["build-web"][1]


def test_images_are_built_of_what_is_named_and_run_without_root():
    found = stages()
    for service in HOUSES["servers"]["services"].values():
        if "build" in service:
            assert (FOLDER / service["build"]["context"]).resolve() == ROOT
            assert (ROOT / service["build"]["dockerfile"]).is_file()
            base, lines = found[service["build"]["target"]]
            assert base == "run"
            assert re.findall(r"^USER (\S+)$", lines, re.MULTILINE) == [service["user"]]
    assert list(found)[-1] == "web", "what is built where no target is named"
    ignored = (FOLDER / "Containerfile.dockerignore").read_text("utf-8").splitlines()
    assert ignored[0] == "*"
    copied = {name for _, lines in found.values() for line in re.findall(r"^COPY (?!--from)(.*) \S+$", lines, re.MULTILINE) for name in line.split()}
    assert {f"!{name}" for name in copied} == {line for line in ignored if line.startswith("!")}


def test_no_secret_is_built_into_an_image():
    text = (FOLDER / "Containerfile").read_text("utf-8")
    assert not re.search(r"^(ARG|ENV).*(PASSWORD|TOKEN|SECRET|KEY)", text, re.MULTILINE | re.IGNORECASE)
