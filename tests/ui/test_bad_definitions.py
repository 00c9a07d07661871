"""What somebody could send as a pipeline to hurt the house, for real: through the API and the command line, in both dialects."""

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from running_house import PASSWORD

from core.workflow.room import MAX_DEFINITION_BYTES

pytestmark = pytest.mark.anyio
PIPELINES = Path(__file__).parent.parent / "pipelines"
GOOD = {"argo": (PIPELINES / "argo" / "train.yaml").read_text("utf-8"), "kubeflow": (PIPELINES / "kubeflow" / "train.yaml").read_text("utf-8")}


def laughs(good):
    """A billion laughs, beside a pipeline: each of nine lines stands for ten times the one before."""
    names = "abcdefghi"
    lines = ['a: &a ["lol", "lol", "lol", "lol", "lol", "lol", "lol", "lol", "lol", "lol"]']
    lines += [f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in pairwise(names)]
    return "\n".join(lines) + "\n" + good


def larger(count_bytes):
    """The pipeline with comments that fill it up."""

    def grown(good):
        line = "# " + "x" * 97 + "\n"
        return good + line * (count_bytes // len(line))

    return grown


BAD = {
    "a billion laughs": (laughs, 400, "an alias"),
    "2 MB": (larger(2_000_000), 400, "The definition has more than 1 MB."),
    "10 MB": (larger(10_000_000), 413, "larger than the 4 MB which are taken here"),
}
EVERY = [pytest.param(name, engine, id=f"{name}, {engine}") for name in BAD for engine in GOOD]


@pytest.mark.parametrize(("name", "engine"), EVERY)
async def test_the_api_refuses_it_with_a_sentence_and_keeps_nothing(api, name, engine):
    make, status, said = BAD[name]
    known = (await api.get("/v1/pipelines")).json()
    for path, more in (("/v1/pipelines", {"name": "bad"}), ("/v1/pipelines/validate", {})):
        answer = await api.post(path, json={"engine": engine, "definition": make(GOOD[engine])} | more)
        assert (answer.status_code, said in answer.json()["error"]["message"]) == (status, True), answer.text
    assert (await api.get("/v1/pipelines")).json() == known


def test_the_command_line_refuses_it_with_a_sentence_and_keeps_nothing(hearth, tmp_path):
    assert hearth("user", "add", "ada", "--admin", typed=PASSWORD + "\n")[0] == 0
    for name, (make, _, said) in BAD.items():
        for engine, good in GOOD.items():
            (tmp_path / "bad.yaml").write_text(make(good))
            code, _, problem = hearth("pipelines", "add", "bad", tmp_path / "bad.yaml", "--engine", engine)
            expected = said if name == "a billion laughs" else "has more than 1 MB"
            assert (code, expected in " ".join(problem.split())) == (65, True), (name, engine, problem)
    assert "There is no pipeline yet" in hearth("pipelines")[1]


def test_a_file_without_an_end_is_not_read_to_its_end(hearth):
    assert hearth("user", "add", "ada", "--admin", typed=PASSWORD + "\n")[0] == 0
    code, _, problem = hearth("pipelines", "add", "bad", "/dev/zero", "--engine", "argo")
    assert (code, f"more than {MAX_DEFINITION_BYTES >> 20} MB" in " ".join(problem.split())) == (65, True), problem


async def test_what_the_compiler_pins_to_a_kfp_is_refused_with_how_to_compile_it(api, tmp_path, kfp_python):
    make = "import sys; sys.path.insert(0, sys.argv[1]); import pinned; from kfp import compiler; compiler.Compiler().compile(pinned.pinned, sys.argv[2])"
    written = tmp_path / "pinned.yaml"
    subprocess.run([kfp_python, "-W", "ignore", "-c", make, PIPELINES / "kubeflow" / "refused", written], check=True, timeout=120)
    text = written.read_text("utf-8")
    assert "'kfp==2." in text
    for version in (text, text.replace("'kfp==2.", "'kfp==1.")):
        answer = await api.post("/v1/pipelines", json={"name": "pinned", "engine": "kubeflow", "definition": version})
        assert answer.status_code == 400
        assert "a pin to kfp" in answer.json()["error"]["message"]
        assert "install_kfp_package=False" in answer.text
