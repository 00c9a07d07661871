"""Commands that are typed while Hearth runs on the same home."""

import pytest
from running_house import RunningHouse, command


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
