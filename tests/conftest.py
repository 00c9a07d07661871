"""What every test may ask for: an inference process without weights, an opened house over it, and the fetched models."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from argon2.profiles import CHEAPEST
from echo_house import Served, echo_settings

from core.adapters import passwords_argon2
from core.app import LocalInference, open_app
from inference.server import application

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session", autouse=True)
def quick_passwords():
    """A password takes a fifth of a second to hash, on purpose, and the tests hash a thousand. What the house does is checked in a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords_argon2, "PROFILE", CHEAPEST)
        yield


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session", params=["real-models"], ids=["leg=real-models"])
def models_folder():
    """The fetched embedded models; `make test` fetches them."""
    folder = ROOT / ".test-home" / "models"
    if not (folder / "smollm2-135m" / "complete.json").is_file():
        pytest.skip("the embedded models are not fetched: run `make test`, or `hearth models fetch --home .test-home`")
    return folder


@pytest.fixture(scope="session", params=["kfp"], ids=["leg=kfp"])
def kfp_python():
    """An interpreter that has kfp; `make test` makes one."""
    named, made = os.environ.get("HEARTH_WORKFLOW_PYTHON", ""), ROOT / ".venv" / "workflow" / "bin" / "python"
    if named:
        return named
    if made.exists():
        return str(made)
    if find_spec("kfp"):
        return sys.executable
    pytest.skip("no interpreter with kfp: run `scripts/setup test`, or name one in HEARTH_WORKFLOW_PYTHON")


@pytest.fixture(scope="session")
def echo_server(tmp_path_factory):
    served = Served(application(echo_settings(tmp_path_factory.mktemp("echo")), ""))
    yield LocalInference(f"{served.url}/v1", "")
    served.stop()


@pytest.fixture(scope="session")
def extractive_server(tmp_path_factory):
    served = Served(application(echo_settings(tmp_path_factory.mktemp("echo"), llm_model="echo-extractive"), ""))
    yield LocalInference(f"{served.url}/v1", "")
    served.stop()


@pytest.fixture
async def app(tmp_path, echo_server):
    async with open_app(echo_settings(tmp_path), local=echo_server, serving=True) as opened:
        yield opened


@pytest.fixture
async def ada(app):
    user = await app.users.add("ada", "correct horse battery", admin=True)
    return (await app.users.sign_in("ada", "correct horse battery", "test"))[0] if user else None


@pytest.fixture
async def bob(app):
    await app.users.add("bob", "another long password")
    return (await app.users.sign_in("bob", "another long password", "test"))[0]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """The browser's tests come last: its driver keeps an event loop running in this thread, beside which no async test can start."""
    items.sort(key=lambda item: "browser" in item.path.parts)


def pytest_sessionfinish(session):
    """Fails the run when an expected leg did not pass a single test."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None:
        return
    passed = [report.nodeid for report in reporter.stats.get("passed", [])]
    missing = [leg for leg in os.environ.get("HEARTH_EXPECTED_LEGS", "").split() if not any(leg in nodeid for nodeid in passed)]
    if missing:
        reporter.write_line(f"expected legs did not run: {', '.join(missing)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
