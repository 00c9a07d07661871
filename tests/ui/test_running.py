"""`hearth run` and `hearth pipelines`: alone, and beside a Hearth that runs on the same home."""

import argparse
import asyncio
from contextlib import asynccontextmanager, nullcontext

import pytest
from echo_house import echo_settings
from pipelining import ASKING, SPEC, scripted
from running_house import PASSWORD

from core.app import only_one, open_app, prepare_home
from core.workflow.model import Cause, Engine, Parameter, ParameterType, PipelineSpec, RunStatus
from core.workflow.shelf import RunFilter
from ui import running

GREET = """
n = order["parameters"]["n"]
(folder / "scores.json").write_text('{"loss": %d.5}' % n)
tell("a", "running", name="load", task="load")
tell("a", "succeeded", name="load", task="load", artifacts=[{"name": "scores.json", "type": "metrics", "path": "scores.json"}])
tell(status="failed", error="The loss is too high.") if n > 5 else tell()
"""
WAIT = "tell('a', 'running', name='waiting', task='waiting')\ntime.sleep(60)"


@pytest.fixture
def spec(monkeypatch):
    """What every definition says here; a test may put another spec in."""
    held = [SPEC]
    monkeypatch.setattr("core.app._engines", lambda *_: nullcontext({Engine.ARGO: scripted(held[0])}))
    return held


@pytest.fixture
def hearth(spec, hearth):
    """The command line, in whose house definitions say that spec."""
    return hearth


@pytest.fixture
def greet(hearth, tmp_path):
    """An admin and a pipeline."""
    assert hearth("user", "add", "ada", "--admin", typed=PASSWORD + "\n")[0] == 0
    return add(hearth, tmp_path, "greet", GREET)


def add(hearth, tmp_path, name, code):
    (tmp_path / "definition.yaml").write_text(code)
    done, said, problem = hearth("pipelines", "add", name, tmp_path / "definition.yaml", "--engine", "argo")
    assert done == 0, problem
    return said


def runs(home):
    async def ask():
        async with open_app(echo_settings(home)) as app:
            ada = await app.users.named("ada")
            return [await app.pipelines.run(ada, run.id) for run in (await app.pipelines.runs(ada, RunFilter())).items]

    return asyncio.run(ask())


def test_pipelines_are_added_as_versions_and_listed_with_how_their_runs_went(hearth, greet, tmp_path):
    assert "greet@1 can be run" in greet
    assert "greet@2" in add(hearth, tmp_path, "greet", GREET + "#")
    code, said, _ = hearth("pipelines")
    assert code == 0
    assert said.splitlines()[1].split() == ["greet", "2", "argo", "0"]


def test_a_run_is_followed_alone_in_plain_lines_to_its_end_with_its_metrics(hearth, home, greet):
    code, said, problem = hearth("run", "greet", "n=2", "word=a=b", "--experiment", "sizes", "--no-cache")
    assert code == 0, problem
    assert "greet@1 waits for its turn" in said
    assert "load: succeeded after 0." in said
    assert said.splitlines()[-2].startswith("succeeded after")
    assert said.splitlines()[-1] == "loss 2.5"
    (run,) = runs(home)
    assert (run.status, run.cause, run.parameters, bool(run.experiment_id)) == (RunStatus.SUCCEEDED, Cause.COMMAND, {"n": 2, "word": "a=b"}, True)
    assert run.cache is False
    assert not (home / "runs" / run.id).exists()
    hearth("run", "greet")
    assert runs(home)[0].cache is True


def test_a_run_that_fails_ends_the_command_with_1_and_its_reason(hearth, greet):
    code, said, problem = hearth("run", "greet", "n=6")
    assert (code, problem) == (1, "")
    assert "The loss is too high." in said


def test_values_are_read_as_the_parameters_type_says_also_from_files(hearth, home, spec, greet, tmp_path):
    spec[0] = PipelineSpec((Parameter("n", ParameterType.INTEGER, 1), Parameter("names", ParameterType.LIST, ()), Parameter("note")))
    (tmp_path / "names.json").write_text('["a", "b"]')
    (tmp_path / "note.txt").write_text("12")
    assert hearth("run", "greet", "n=3", "--file", f"names={tmp_path / 'names.json'}", "--file", f"note={tmp_path / 'note.txt'}")[0] == 0
    assert runs(home)[0].parameters == {"n": 3, "names": ["a", "b"], "note": "12"}


def test_a_value_that_begins_with_an_at_sign_gives_the_run_that_file_and_two_of_them_mean_one(hearth, home, greet, tmp_path):
    (tmp_path / "table.bin").write_bytes(b"\x00\xff")
    assert hearth("run", "greet", "n=3", f"word=@{tmp_path / 'table.bin'}")[0] == 0
    assert hearth("run", "greet", "word=@@home")[0] == 0
    plain, given = runs(home)
    assert plain.parameters["word"] == "@home"
    (artifact,) = [a for a in given.artifacts if a.metadata.get("schema") == "input"]
    assert (given.parameters["word"], artifact.name) == (artifact.uri, "table.bin")
    assert (home / "objects" / artifact.uri.removeprefix("s3://hearth/")).read_bytes() == b"\x00\xff"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["greet", "word=@/nowhere"], 65, "/nowhere is no file."),
        (["greet", "word=@/"], 65, "is no file."),
        (["nothing"], 66, "no such pipeline"),
        (["greet", "n=two"], 65, "takes a whole number"),
        (["greet", "m=1"], 65, "no parameter 'm'"),
        (["greet", "n"], 65, "KEY=VALUE"),
        (["greet", "=1"], 65, "KEY=VALUE"),
        (["greet", "--file", "word=/nowhere"], 65, "can't be read"),
        (["greet", "--user", "bob"], 66, "no user"),
    ],
)
def test_what_can_not_be_run_is_said_and_makes_no_run(hearth, home, greet, args, code, said):
    done, _, problem = hearth("run", *args)
    assert (done, said in problem) == (code, True), problem
    assert runs(home) == []


def test_a_pipeline_that_uses_the_api_is_not_run_where_there_is_none(hearth, home, spec, greet):
    spec[0] = ASKING
    code, _, problem = hearth("run", "greet")
    assert code == 65
    assert "hearth up" in problem
    assert runs(home) == []


def test_adding_without_saying_what_shows_how(hearth, greet):
    code, _, problem = hearth("pipelines", "add", "greet")
    assert (code, "hearth pipelines add NAME FILE" in problem) == (65, True)


# beside a running Hearth


@asynccontextmanager
async def serving(home, echo_server):
    """A Hearth at work on that home, whose API is said to be at an address."""
    prepare_home(home)
    settings = echo_settings(home)
    async with only_one(home), open_app(settings, local=echo_server, serving=True, address="http://hearth.test") as app:
        yield settings, app, await app.users.add("ada", None, admin=True)


def typed(*parameters):
    return argparse.Namespace(pipeline="greet", parameters=parameters, file=[], experiment="", cache=True, user=None)


@pytest.mark.anyio
async def test_the_running_hearth_runs_it_and_lends_it_what_it_asks_for(home, spec, echo_server, capsys):
    spec[0] = ASKING
    code = 'assert order["parameters"]["hearth_url"] == "http://hearth.test" and order["parameters"]["hearth_key"].startswith("hk_")\n'
    async with serving(home, echo_server) as (settings, app, ada):
        await app.pipelines.define(ada, "greet", Engine.ARGO, code + GREET)
        assert await running.run(settings, typed("n=2")) == 0
        (run,) = (await app.pipelines.runs(ada, RunFilter())).items
    assert "load: succeeded" in capsys.readouterr().out
    assert (run.status, run.cause, run.parameters) == (RunStatus.SUCCEEDED, Cause.COMMAND, {"n": 2, "word": "hello"})


@pytest.mark.anyio
async def test_stopping_the_command_ends_the_run_also_when_the_running_hearth_runs_it(home, spec, echo_server, capsys):
    async with serving(home, echo_server) as (settings, app, ada):
        await app.pipelines.define(ada, "greet", Engine.ARGO, WAIT)
        command = asyncio.create_task(running.run(settings, typed()))
        async with asyncio.timeout(20):
            while not ((found := (await app.pipelines.runs(ada, RunFilter())).items) and (await app.pipelines.steps(ada, found[0].id)).items):
                await asyncio.sleep(0.05)
        command.cancel()
        with pytest.raises(asyncio.CancelledError):
            await command
        (run,) = (await app.pipelines.runs(ada, RunFilter())).items
        assert (run.status, run.reason) == (RunStatus.FAILED, "It was cancelled by ada.")
        assert app.pipelines.at_work == 0
    said = capsys.readouterr().out
    assert "Ending the run." in said
    assert "It was cancelled by ada." in said
