"""What the product's code never does, read from its syntax trees; each exception to a rule is listed with its reason, and a stale one fails."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
OURS = ("core", "inference", "ui")

RUNS_OR_LOADS_WHAT_IT_IS_GIVEN = {
    # Formats that run code while they are read.
    "pickle", "_pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load",
    "torch.load", "torch.hub.load", "pandas.read_pickle", "numpy.core.multiarray", "gradio.load", "gradio.Interface.load",
    # Text that becomes code, or a shell's command.
    "builtins.exec", "builtins.eval", "builtins.compile", "builtins.__import__", "os.system", "os.popen", "subprocess.getoutput",
    "subprocess.getstatusoutput", "asyncio.create_subprocess_shell",
}  # fmt: skip
ONLY_WITH = {"shell": False, "trust_remote_code": False, "allow_pickle": False, "unsafe_allow_html": False, "weights_only": True, "use_safetensors": True}
"""Keyword arguments, and the one value each may have."""
ENVIRONMENT = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"}
SQL_TEXT = {"sqlalchemy.text", "sqlalchemy.literal_column", "sqlalchemy.sql.text", "alembic.op.execute"}
SQL_METHODS = {"exec_driver_sql", "executescript"}
BUILT_INS = {"exec", "eval", "compile", "__import__", "print", "open", "input", "breakpoint"}

READS_THE_ENVIRONMENT = {
    ("core/settings.py", "read_settings"): "the one door; every other place gets a Settings",
    ("core/adapters/child_process.py", "kept_environment"): "a supervisor: its child gets a few named variables, and no secret",
    ("core/adapters/pipelines/argo_worker.py", "main"): "a process's entry: takes the pipe's number out of what its steps get",
    ("core/adapters/pipelines/kubeflow_worker.py", "main"): "a child's entry: takes the pipe away before any step could see it",
    ("core/adapters/pipelines/kubeflow_worker.py", "_load"): "a child: what kfp imports is chosen by a variable",
    ("core/adapters/pipelines/kubeflow_worker.py", "Worker._process"): "a child that has none of the house's variables: its steps inherit what it has",
    ("inference/supervisor.py", "Supervisor._environment"): "a supervisor: its child gets a few named variables, and no secret",
    ("inference/fetch.py", "_download"): "pip runs as the user's own, with their proxy and index",
    ("inference/convert_gguf.py", "convert"): "a process's entry: keeps the model libraries from the network and from drawing bars",
    ("inference/server.py", "serve"): "a process's entry: keeps the model libraries from the network",
    ("inference/server.py", "main"): "a process's entry: reads settings and its token once",
    ("inference/engines/llm_transformers.py", "TransformersChat.__init__"): "only in the inference process: keeps transformers from drawing bars in its log",
    ("ui/cli.py", "main"): "the process's entry: reads everything once",
    ("ui/commands.py", "inference"): "the entry of `hearth inference`: the token is no setting, so that no other process has it",
}
CATCHES_EVERYTHING = {
    ("core/app.py", "_every.rounds"): "a supervised loop",
    ("core/adapters/database_sql.py", "Database._tried"): "the writer outlives every unit; each caller gets its error",
    ("core/chat/room.py", "ChatRoom._conclude"): "a bug ends one answer and no other; it is logged and told",
    ("core/chat/room.py", "ChatRoom._keep_checkpoints"): "a supervised loop",
    ("core/chat/room.py", "ChatRoom._keep_leases"): "a supervised loop",
    ("core/chat/room.py", "ChatRoom._keep_listening"): "a supervised loop",
    ("core/workflow/running.py", "Dispatcher._drive"): "a bug ends one run and no other; it is logged and told",
    ("core/workflow/running.py", "Dispatcher._work"): "a supervised loop",
    ("core/adapters/pipelines/kubeflow_worker.py", "Worker._survived"): "kfp raises bare exceptions; a step ends with what they say",
    ("core/adapters/pipelines/kubeflow_worker.py", "main"): "kfp raises bare exceptions; the run ends with what they say",
    ("core/workflow/triggers.py", "Triggers._problem"): "a bug stops one start and no other; it is logged and told",
    ("core/rag/library.py", "Library._work"): "a supervised loop",
    ("core/rag/library.py", "Library.ingest_next"): "a bug ends one job and no other; it is logged and told",
    ("core/rag/reembedding.py", "Reembedding._work"): "a supervised loop",
    ("core/rag/reembedding.py", "Reembedding.build_next"): "a bug ends one version and no other; it is logged and told",
    ("core/voice/room.py", "VoiceRoom._go_through"): "a bug ends one turn and no other; it is logged and told",
    ("inference/engines/reranker_cross_encoder.py", "CrossEncoder.__init__"): "onnxruntime and tokenizers raise bare exceptions for a file they can't read",
    ("ui/cli.py", "main"): "the process's entry: a bug becomes a sentence with a reference, its trace is in the log",
    ("ui/admin/frame.py", "shown"): "the one place where the console meets an error: a bug becomes a sentence with a reference, its trace is in the log",
    ("ui/server.py", "LatePage._live"): "the API works without the page; /readyz says what is wrong",
}


class Reader(ast.NodeVisitor):
    """Notes (rule, place) for everything the rules above are about. `place` is the function's dotted name, "" at the top of a module."""

    def __init__(self, text: str) -> None:
        self.found: list[tuple[str, str, int]] = []
        self._names = {name: f"builtins.{name}" for name in BUILT_INS}
        self._place: list[str] = []
        tree = ast.parse(text)
        for node in ast.walk(tree):  # also the imports inside functions
            if isinstance(node, ast.Import):
                self._names |= {a.asname: a.name for a in node.names if a.asname} | {a.name.partition(".")[0]: a.name.partition(".")[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom):
                self._names |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
        self.visit(tree)

    def note(self, rule: str, node: ast.AST) -> None:
        self.found.append((rule, ".".join(self._place), node.lineno))

    def full(self, node: ast.AST) -> str:
        """The dotted name an expression stands for, by the module's imports; "" for anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        return ".".join([self._names.get(node.id, node.id), *reversed(parts)]) if isinstance(node, ast.Name) else ""

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._place.append(node.name)
        self.generic_visit(node)
        self._place.pop()

    visit_AsyncFunctionDef = visit_ClassDef = visit_FunctionDef  # noqa: N815

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        of = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        self._name_used([of + alias.name for alias in node.names], node)

    visit_ImportFrom = visit_Import  # noqa: N815

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self._name_used([self.full(node)], node)
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        self._name_used([self._names.get(node.id, "")], node)

    def _name_used(self, names: list[str], node: ast.AST) -> None:
        for name in names:
            beginnings = {".".join(name.split(".")[:n]) for n in range(1, name.count(".") + 2)}
            if beginnings & RUNS_OR_LOADS_WHAT_IT_IS_GIVEN:
                self.note("runs or loads what it is given", node)
            if name in ENVIRONMENT:
                self.note("environment", node)
            if name == "builtins.print":
                self.note("print", node)

    def visit_Call(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg in ONLY_WITH and getattr(keyword.value, "value", None) is not ONLY_WITH[keyword.arg]:
                self.note(f"{keyword.arg} is not {ONLY_WITH[keyword.arg]}", node)
        is_sql = self.full(node.func) in SQL_TEXT or (isinstance(node.func, ast.Attribute) and node.func.attr in SQL_METHODS)
        if is_sql and node.args and any(map(_is_put_together, ast.walk(node.args[0]))):
            self.note("SQL put together", node)
        if self.full(node.func) == "contextlib.suppress" and {"Exception", "BaseException"} & {self.full(a) for a in node.args}:
            self.note("catches everything", node)
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        goes_on = not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)  # tidying up and raising again catches nothing
        if goes_on and any(kind is None or self.full(kind) in ("Exception", "BaseException") for kind in kinds):
            self.note("catches everything" if kinds != [None] and self.full(kinds[0]) == "Exception" else "catches even being stopped", node)
        self.generic_visit(node)


def _is_put_together(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr | ast.BinOp) or (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format")


@pytest.fixture(scope="module")
def found():
    """(rule, file, place, line) over the whole product."""
    return [
        (rule, str(path.relative_to(ROOT)), place, line)
        for package in OURS
        for path in sorted((ROOT / package).rglob("*.py"))
        for rule, place, line in Reader(path.read_text("utf-8")).found
    ]


def places(found, rule: str) -> Iterator[tuple[str, str]]:
    return ((path, place) for named, path, place, _ in found if named == rule)


@pytest.mark.parametrize(
    ("code", "rule"),
    [
        ("import pickle", "runs or loads what it is given"),
        ("def f():\n    from pickle import loads", "runs or loads what it is given"),
        ("import torch as t\nt.load('x')", "runs or loads what it is given"),
        ("from torch import load\nload('x')", "runs or loads what it is given"),
        ("import gradio as gr\ngr.load('models/x')", "runs or loads what it is given"),
        ("import yaml\nyaml.load(x)", "runs or loads what it is given"),
        ("eval(x)", "runs or loads what it is given"),
        ("run = exec", "runs or loads what it is given"),
        ("subprocess.run(x, shell=True)", "shell is not False"),
        ("subprocess.run(x, shell=flag)", "shell is not False"),
        ("AutoModel.from_pretrained(x, trust_remote_code=True)", "trust_remote_code is not False"),
        ("import os\nos.environ['X']", "environment"),
        ("from os import getenv", "environment"),
        ("from sqlalchemy import text\ntext(f'SELECT {x}')", "SQL put together"),
        ("import sqlalchemy as sa\nsa.text('SELECT ' + x)", "SQL put together"),
        ("connection.exec_driver_sql('SELECT %s' % x)", "SQL put together"),
        ("try:\n    f()\nexcept Exception:\n    pass", "catches everything"),
        ("try:\n    f()\nexcept (ValueError, Exception) as e:\n    g(e)", "catches even being stopped"),
        ("try:\n    f()\nexcept:\n    pass", "catches even being stopped"),
        ("from contextlib import suppress\nwith suppress(Exception):\n    f()", "catches everything"),
        ("print('here')", "print"),
    ],
)
def test_the_reader_sees(code, rule):
    assert rule in {named for named, _, _ in Reader(code).found}


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.path.join('a', 'b')",
        "model.eval()",
        "import re\nre.compile('x')",
        "import numpy\nnumpy.load(x, allow_pickle=False)",
        "from sqlalchemy import text\ntext('SELECT 1')",
        "try:\n    f()\nexcept BaseException:\n    tidy()\n    raise",
        "out.print('for people')",
    ],
)
def test_the_reader_leaves_in_peace(code):
    assert Reader(code).found == []


def test_nothing_else_is_forbidden_and_done(found):
    ruled = {"environment", "catches everything"}
    assert [f"{path}:{line} {rule}" for rule, path, _, line in found if rule not in ruled] == []


def test_the_environment_is_read_only_where_a_process_begins_or_makes_another(found):
    assert set(places(found, "environment")) == READS_THE_ENVIRONMENT.keys()


def test_everything_is_caught_only_where_something_must_outlive_it(found):
    assert set(places(found, "catches everything")) == CATCHES_EVERYTHING.keys()


# Imports every module of ours but the entries of child processes and those that load models or pages, and listens to what Python's own audit hooks
# report. An event is ours when the innermost code running at the top of a module is ours: what a library does at its own import is its own affair.
IMPORTS_ALL = """
import importlib, os, sys

QUIET = ("open", "os.mkdir", "os.listdir", "os.scandir", "os.rename", "os.remove", "os.putenv", "os.system", "os.posix_spawn", "os.fork", "subprocess.Popen",
         "socket.", "sqlite3.connect", "tempfile.", "signal.", "urllib.Request", "shutil.")
ours, modules = tuple(os.path.join(os.getcwd(), package, "") for package in ("core", "inference", "ui")), sys.argv[1:]


def hear(event, args):
    if not event.startswith(QUIET) or (event == "open" and str(args[0]).endswith(".py")):  # the settings read the sentences under their own fields
        return
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != "<module>":
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return
        frame = frame.f_back
    if frame is not None and frame.f_code.co_filename.startswith(ours):
        print(frame.f_code.co_filename, frame.f_lineno, event, args)


sys.addaudithook(hear)
for name in modules:
    importlib.import_module(name)
"""
NOT_IMPORTED = (
    "core.adapters.migrations.env",
    "core.adapters.migrations.versions",
    "inference.engines",
    "inference.convert_gguf",
    "ui.chat.page",
    "ui.admin.app_pages",
)


def heard(folder, names):
    """What happens at the top of these modules while they are imported from `folder`."""
    done = subprocess.run([sys.executable, "-c", IMPORTS_ALL, *names], capture_output=True, text=True, timeout=60, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_nothing_happens_when_a_module_is_imported():
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for package in OURS for path in sorted((ROOT / package).rglob("*.py"))]
    names = [name.removesuffix(".__init__") for name in names if not name.startswith(NOT_IMPORTED) and not name.endswith("__main__")]
    assert len(names) > 50
    assert heard(ROOT, names) == []


@pytest.mark.parametrize(
    "line", ["open('log', 'w')", "import pathlib; pathlib.Path('home').mkdir()", "import sqlite3; sqlite3.connect('x.db')", "import socket; socket.socket()"]
)
def test_it_would_be_heard(line, tmp_path):
    (tmp_path / "core").mkdir()
    (tmp_path / "core/__init__.py").write_text(f"{line}\n")
    assert len(heard(tmp_path, ["core"])) >= 1
