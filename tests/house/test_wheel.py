"""The wheel is the product: what is built, installed somewhere else and started there works like the checkout."""

import ast
import http.client
import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
import zipfile
from email.parser import Parser
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
OURS = ("core", "inference", "ui")
MODELS = {"LLM": "echo", "EMBEDDINGS": "echo-embed", "RERANKER": "echo-rerank", "STT": "echo-stt", "TTS": "echo-tts", "VAD": "loudness"}
ECHO = {f"HEARTH_{service}_MODEL": name for service, name in MODELS.items()}
ONLY_WITH_LOCAL = ("inference/engines/", "inference/convert_gguf.py", "inference/device.py")
"""What needs `hearth[local]`; everything else must run without it."""
ONLY_WITH = {
    "whisper": ("inference/engines/stt_faster_whisper.py",),
    "kokoro": ("inference/engines/tts_kokoro.py",),
    "piper": ("inference/engines/tts_piper.py",),
    "services": (
        "core/adapters/database_postgres.py",
        "core/adapters/objects_s3.py",
        "core/adapters/chunk_index_milvus.py",
        "core/adapters/valkey_server.py",
        "core/adapters/events_nats.py",
    ),
    "voice": ("inference/audio.py", "inference/voice_activity.py", "inference/engines/stt_pocketsphinx.py"),
}
"""What needs another extra, which need not be installed here."""
UNINSTALLED_OWNERS = {"piper": ["piper-tts"]}
"""Whose packages have another name than their distribution, and which the tests don't install."""
ONLY_WITH_OCR = ("core/adapters/parsing/ocr.py", "core/adapters/parsing/picture.py")
"""What needs `hearth[ocr]`, which need not be installed here."""

pytestmark = pytest.mark.timeout(120)


def run(*command, cwd, **variables):
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=100, check=False, cwd=cwd, env=kept | variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel, tmp_path_factory):
    """An environment with nothing in it but the wheel. Its dependencies are lent by this environment's folder, put on the path behind the wheel's own.

    A folder named in a .pth file is not searched for further .pth files, so the editable install of the checkout stays out; the first test checks that.
    Whether the wheel asks for all it needs is checked separately, because a real installation takes minutes.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder)
    python = folder / "env/bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", wheel, cwd=folder)
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", cwd=folder).strip())
    (own / "lent.pth").write_text("".join(f"{path}\n" for path in sorted({sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]})))
    return folder


def test_the_packages_come_from_the_wheel_and_not_from_the_checkout(elsewhere):
    places = run(elsewhere / "env/bin/python", "-c", f"import {', '.join(OURS)}; print(*(m.__file__ for m in ({', '.join(OURS)})))", cwd=elsewhere).split()
    assert len(places) == len(OURS)
    assert [place for place in places if not place.startswith(str(elsewhere / "env"))] == []


def test_every_file_of_the_packages_is_in_the_wheel_and_nothing_else(wheel):
    files = {str(p.relative_to(ROOT)) for package in OURS for p in (ROOT / package).rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    assert {"inference/catalog.toml", "core/adapters/migrations/script.py.mako", "ui/static/chat.css"} <= files
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert inside == files


def test_the_wheel_says_what_it_is(wheel):
    with zipfile.ZipFile(wheel) as archive:
        inside = {name.partition(".dist-info/")[2]: name for name in archive.namelist() if ".dist-info/" in name}
        said = Parser().parsestr(archive.read(inside["METADATA"]).decode())
        assert "hearth = ui.cli:main" in archive.read(inside["entry_points.txt"]).decode()
        assert archive.read(inside["licenses/LICENSE"]) == (ROOT / "LICENSE").read_bytes()
    assert (said["Name"], said["License-Expression"], said["Requires-Python"]) == ("hearth", "Apache-2.0", ">=3.11")
    assert said["Description-Content-Type"] == "text/markdown"
    assert said.get_payload().strip() == (ROOT / "README.md").read_text("utf-8").strip()


def brought_by(requirements):
    """The names of all distributions that installing these brings, by what the installed ones say they require."""
    found, waiting = set(), [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        key = (canonicalize_name(wanted.name), frozenset(wanted.extras))
        if key in found:
            continue
        found.add(key)
        further = map(Requirement, requires(wanted.name) or ())
        waiting += [r for r in further if r.marker is None or any(r.marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras))]
    return {name for name, _ in found}


def imported(path):
    """The top-level names a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def test_the_wheel_asks_for_everything_that_its_code_imports(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        asked = [Requirement(text) for text in Parser().parsestr(archive.read(metadata).decode()).get_all("Requires-Dist")]
    bare = brought_by(str(r) for r in asked if r.marker is None or r.marker.evaluate({"extra": ""}))
    local = bare | brought_by(str(r).partition(";")[0] for r in asked if r.marker is not None and r.marker.evaluate({"extra": "local"}))
    ocr = bare | {canonicalize_name(r.name) for r in asked if r.marker is not None and r.marker.evaluate({"extra": "ocr"})}
    owners = packages_distributions() | UNINSTALLED_OWNERS
    missing = []
    for path in (p for package in OURS for p in sorted((ROOT / package).rglob("*.py"))):
        name = str(path.relative_to(ROOT))
        extra = next((extra for extra, files in ONLY_WITH.items() if name in files), "")
        named = {canonicalize_name(r.name) for r in asked if r.marker is not None and r.marker.evaluate({"extra": extra})} if extra else set()
        there = (local | named) if extra or name.startswith(ONLY_WITH_LOCAL) else ocr if name.startswith(ONLY_WITH_OCR) else bare
        for top in set(imported(path)) - set(sys.stdlib_module_names) - set(OURS):
            if not there & {canonicalize_name(owner) for owner in owners.get(top, [top])}:
                missing.append(f"{name} imports {top}")
    assert missing == []


@pytest.mark.parametrize(("words", "expected"), [("--help", "doctor"), ("settings", "HEARTH_LLM_URL"), ("models list", "smollm2-135m")])
def test_its_commands_work_in_an_empty_folder(elsewhere, words, expected):
    assert expected in run(elsewhere / "env/bin/hearth", *words.split(), cwd=elsewhere, HOME=str(elsewhere), COLUMNS="200")


def test_it_starts_answers_with_all_its_pages_and_stops_with_exit_code_0(elsewhere):
    home, log = elsewhere / "home", elsewhere / "up.log"
    with log.open("wb") as out:
        command = [str(elsewhere / "env/bin/hearth"), "up", "--port", "0", "--home", str(home)]
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, cwd=elsewhere, env=ECHO | {"PATH": os.environ["PATH"], "HOME": str(elsewhere)}
        )
    try:
        until = time.monotonic() + 60
        while not (at := re.search(r"Hearth is at http://([\d.]+):(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)

        def status(path):
            connection = http.client.HTTPConnection(at[1], int(at[2]), timeout=30)
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            connection.close()
            return answer.status

        assert status("/healthz") == 200
        shown = [str(path.relative_to(ROOT / "ui/static")) for path in (ROOT / "ui/static").rglob("*") if path.is_file()]
        assert {name: status(f"/static/{name}") for name in shown} == {name: 200 for name in shown}
        while status("/readyz") != 200:  # with the chat page
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()
