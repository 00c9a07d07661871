"""What every test may ask for."""

from pathlib import Path

import pytest


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="session")
def models_folder():
    """The fetched embedded models; `make test` fetches them."""
    folder = Path(__file__).parent.parent / ".test-home" / "models"
    if not folder.is_dir():
        pytest.skip("the embedded models are not fetched: run `make test`, or `hearth models fetch --home .test-home`")
    return folder
