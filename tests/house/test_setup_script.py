"""`scripts/setup` decides well: run for real on a copy, with a Python and a driver that only write down what they are asked."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
REMOTE = {f"HEARTH_{service}_URL": "http://gpu:8000/v1#model" for service in ("LLM", "EMBEDDINGS", "RERANKER")}
VOICES = {f"HEARTH_{service}_URL": "http://gpu:8000/v1#model" for service in ("STT", "TTS")}
TOOLS = ("bash", "cksum", "cut", "dirname", "env", "find", "grep", "id", "mkdir", "rm", "sed", "touch")
"""What the script itself needs of the system."""

PYTHON = """#!/usr/bin/env bash
echo "$*" >> "$ASKED"
case "$*" in
    *"import torch"*) exit 1 ;;
    *--dry-run*) echo "$PLAN" ;;
    *"-m venv"*) mkdir -p .venv/workflow ;;
esac
"""
CPU_PLAN = '{"install": [{"metadata": {"name": "torch"}}, {"metadata": {"name": "sympy"}}]}'
CUDA_PLAN = '{"install": [{"metadata": {"name": "torch"}}, {"metadata": {"name": "nvidia-cublas"}}]}'


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


class Machine:
    """A checkout with an environment that installs nothing, on a machine with or without a GPU."""

    def __init__(self, folder, *, gpu=False, plan=CPU_PLAN, speaks=True, packages=True):
        """speaks: the programs that speak are there.   packages: the system's packages can be installed."""
        self.folder, self.asked = folder, folder / "asked"
        (folder / "scripts").mkdir()
        shutil.copy(ROOT / "scripts/setup", folder / "scripts/setup")
        shutil.copy(ROOT / "pyproject.toml", folder / "pyproject.toml")
        program(folder / ".venv/bin/python", PYTHON)
        program(folder / "bin/nvidia-smi", f"#!/bin/sh\nexit {0 if gpu else 9}\n")
        for tool in TOOLS:
            (folder / "bin" / tool).symlink_to(shutil.which(tool))
        for name in ("flite", "espeak-ng") if speaks else ():
            program(folder / "bin" / name, "#!/bin/sh\n")
        program(folder / "bin/apt-get", f'#!/usr/bin/env bash\necho "apt-get $*" >> "$ASKED"\nexit {0 if packages else 1}\n')
        program(folder / "bin/sudo", '#!/bin/sh\nexec "$@"\n')
        self.environment = {"PATH": str(folder / "bin"), "HOME": str(folder), "ASKED": str(self.asked), "PLAN": plan}

    def set_up(self, wanted="run", **variables):
        """What the environment's Python was asked to install this time, one line each."""
        self.asked.write_text("")
        done = subprocess.run(
            [self.folder / "scripts/setup", wanted], env=self.environment | variables, capture_output=True, text=True, timeout=30, check=False
        )
        assert done.returncode == 0, done.stderr
        self.said = done.stdout
        lines = self.asked.read_text().splitlines()
        return [line for line in lines if "install" in line and "--dry-run" not in line and "--upgrade pip" not in line]


@pytest.mark.parametrize("script", ["scripts/setup", ".ci/run"])
def test_the_scripts_are_sound_bash_and_can_be_started(script):
    assert subprocess.run(["bash", "-n", ROOT / script], capture_output=True, check=False).returncode == 0
    assert os.access(ROOT / script, os.X_OK)


def test_without_a_gpu_gigabytes_of_cuda_are_never_installed(tmp_path):
    installed = Machine(tmp_path, plan=CUDA_PLAN).set_up()
    (torch,) = [line for line in installed if "torch" in line]
    assert "--torch-backend=cpu" in torch


def test_where_the_plain_build_is_for_the_cpu_the_plain_build_is_taken(tmp_path):
    installed = Machine(tmp_path).set_up()
    (torch,) = [line for line in installed if "torch" in line]
    assert torch.startswith("-m pip install torch")


def test_with_a_gpu_the_build_for_it_is_taken_without_asking_for_a_plan(tmp_path):
    machine = Machine(tmp_path, gpu=True, plan=CUDA_PLAN)
    assert "-m pip install torch" in machine.set_up()
    assert "--dry-run" not in machine.asked.read_text()


def test_with_every_model_remote_torch_is_not_installed(tmp_path):
    assert Machine(tmp_path).set_up(**REMOTE, **VOICES) == ["-m pip install --editable ."]


def test_listening_and_speaking_here_need_their_own_software_and_no_torch(tmp_path):
    assert Machine(tmp_path).set_up(**REMOTE) == ["-m pip install --editable .[voice]"]


def test_a_collector_of_traces_brings_what_sends_them(tmp_path):
    assert Machine(tmp_path).set_up(**REMOTE, **VOICES, HEARTH_TRACES_URL="http://host:4318") == ["-m pip install --editable .[traces]"]


def test_the_programs_that_speak_are_installed_where_they_are_missing(tmp_path):
    machine = Machine(tmp_path, speaks=False)
    assert "apt-get install -y -qq flite espeak-ng" in machine.set_up()
    machine.set_up(**VOICES)
    assert "flite" not in machine.asked.read_text(), "somebody else speaks"


def test_where_they_can_not_be_installed_everything_else_is_set_up_and_what_to_do_is_said(tmp_path):
    machine = Machine(tmp_path, speaks=False, packages=False)
    assert any("--editable" in line for line in machine.set_up())
    assert "apt install flite espeak-ng" in machine.said


@pytest.mark.parametrize("left_out", REMOTE)
def test_one_local_model_is_enough_to_need_torch(tmp_path, left_out):
    installed = Machine(tmp_path).set_up(**{name: url for name, url in REMOTE.items() if name != left_out})
    assert installed[-1] == "-m pip install --editable .[local]"
    assert any("torch" in line for line in installed)


def test_a_second_time_nothing_is_done_until_what_is_asked_for_changes(tmp_path):
    machine = Machine(tmp_path)
    assert machine.set_up() != []
    assert machine.set_up() == []
    with (tmp_path / "pyproject.toml").open("a") as project:
        project.write("\n# a new dependency\n")
    assert machine.set_up() != []


def test_the_pipelines_of_the_tests_get_a_python_of_their_own_once(tmp_path):
    machine = Machine(tmp_path)
    assert "-m pip --python .venv/workflow/bin/python install --quiet --no-compile kfp>=2.16,<3" in machine.set_up("test")
    assert not any("kfp" in line for line in machine.set_up("test"))


def test_who_only_runs_hearth_gets_no_kfp(tmp_path):
    assert not any("kfp" in line for line in Machine(tmp_path).set_up("run"))


def test_a_set_up_that_broke_off_is_done_again(tmp_path):
    machine = Machine(tmp_path)
    program(tmp_path / ".venv/bin/python", "#!/bin/sh\nexit 1\n")
    broken = subprocess.run([tmp_path / "scripts/setup", "run"], env=machine.environment, capture_output=True, check=False)
    assert broken.returncode != 0
    program(tmp_path / ".venv/bin/python", PYTHON)
    assert machine.set_up() != []
