"""`hearth up` as a real process: started, asked, killed and started again by tests and benchmarks."""

import asyncio
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from core.app import open_app
from core.settings import read_settings

# The API alone: the chat page takes seconds of processor time to import, and only the browser's tests need it.
MODELS = {"LLM": "echo", "EMBEDDINGS": "echo-embed", "RERANKER": "echo-rerank", "STT": "echo-stt", "TTS": "echo-tts", "VAD": "loudness"}
ECHO = {"HEARTH_CHAT_PAGE": "false"} | {f"HEARTH_{service}_MODEL": name for service, name in MODELS.items()}
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
PASSWORD = "correct horse battery"


def environment(home, **given):
    return {k: os.environ[k] for k in KEPT if k in os.environ} | {"HEARTH_HOME": str(home)} | given


def command(*args, home, typed=None, **given):
    """Runs one `hearth` command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "ui.cli", *args],
        env=environment(home, **given),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        input=typed,
        cwd=Path(__file__).parent.parent,
    )


class RunningHouse:
    """One `hearth up` on a home folder. Echo models unless told otherwise; `with` starts and ends it."""

    module = "ui.cli"
    command = ("up", "--port", "0")
    says = r"Hearth is at (\S+)"

    def __init__(self, home, **given):
        self.home, self.given = Path(home), ECHO | given
        self.process = None
        self.url = ""
        self.key = ""

    def __enter__(self):
        self.home.mkdir(exist_ok=True)
        return self.start()

    def __exit__(self, *_):
        self.kill()

    def start(self, port=None):
        self.log = self.home / "up.log"
        begun = time.monotonic()
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, *self.command, *(() if port is None else ("--port", str(port)))],
                env=environment(self.home, **self.given),
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=Path(__file__).parent.parent,
            )
        while not (found := re.search(self.says, self.log.read_text())):
            if self.process.poll() is not None:
                raise AssertionError(f"hearth {self.command[0]} ended with {self.process.returncode}: {self.log.read_text()}")
            assert time.monotonic() - begun < 60, self.log.read_text()
            time.sleep(0.02)
        self.url = found[1]
        self.started_s = time.monotonic() - begun
        return self

    @property
    def setup_link(self):
        found = re.search(r"http\S+/setup\S+", self.log.read_text())
        return found.group() if found else ""

    def wait_for_pages(self, timeout_s=60):
        begun = time.monotonic()
        while self.get("/readyz", anonymous=True)[0] != 200:
            assert time.monotonic() - begun < timeout_s, self.log.read_text()
            time.sleep(0.1)
        return time.monotonic() - begun

    def make_user(self, name="ada"):
        """An admin and their API key. Written beside the house, as the command line does it, but without the seconds of processor time of two commands."""

        async def made():
            async with open_app(read_settings(self.given, home=self.home)) as app:
                return (await app.users.make_key(await app.users.add(name, PASSWORD, admin=True)))[1]

        with ThreadPoolExecutor(1) as elsewhere:  # Playwright keeps a loop running in the tests' own thread
            self.key = elsewhere.submit(asyncio.run, made()).result()
        return self.key

    def _connect(self, timeout_s=60):
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)

    def request(self, method, path, body=None, *, anonymous=False, content_type="application/json"):
        connection = self._connect()
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {} if anonymous else {"Authorization": f"Bearer {self.key}"}
        connection.request(method, path, data, headers | ({"Content-Type": content_type} if data is not None else {}))
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    def get(self, path, **given):
        return self.request("GET", path, **given)

    def post(self, path, body, **given):
        return self.request("POST", path, body, **given)

    def delete(self, path):
        return self.request("DELETE", path)

    def upload(self, name, content, collection="lab"):
        boundary = "------hearth"
        body = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        return self.request("POST", f"/v1/collections/{collection}/documents", body, content_type=f"multipart/form-data; boundary={boundary}")

    def job_done(self, job_id, timeout_s=60):
        begun = time.monotonic()
        while True:
            job = self.get(f"/v1/jobs/{job_id}")[1]
            if job["stage"] in ("ready", "failed"):
                return job
            assert time.monotonic() - begun < timeout_s, job
            time.sleep(0.05)

    def ask(self, text, **given):
        return self.post("/v1/chat/completions", {"model": "default", "messages": [{"role": "user", "content": text}], **given})

    def stream(self, text, timeout_s=60, **given):
        """Yields (seconds since the question, chunk) of a streamed answer."""
        connection = self._connect(timeout_s)
        body = {"model": "default", "stream": True, "messages": [{"role": "user", "content": text}], **given}
        begun = time.monotonic()
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        try:
            while line := answer.readline():
                if line.startswith(b"data: {"):
                    yield time.monotonic() - begun, json.loads(line[6:])
        finally:
            connection.close()

    def inference_pid(self):
        return next(child.pid for child in psutil.Process(self.process.pid).children() if "inference.server" in child.cmdline())

    def kill(self):
        """As if the power had gone: the whole group, at once."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def stop(self):
        """As Ctrl+C does."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)
