"""Who may define, run and see pipelines, and what a run is given."""

import pytest
from pipelining import works

from core.errors import AlreadyThere, BadInput, NotAllowed, NotFound
from core.ids import new_id
from core.workflow.model import Artifact, ArtifactType, Cause, Engine, Parameter, ParameterType, PipelineSpec, RunStatus, given, read_parameter
from core.workflow.shelf import RunFilter

pytestmark = pytest.mark.anyio
DONE = "tell()"


@pytest.fixture
async def here(tmp_path):
    async with works(tmp_path) as made:
        yield made


async def test_only_admins_define_and_others_run_what_is_shared_and_see_their_own_runs(here):
    with pytest.raises(NotAllowed):
        await here.room.define(here.bob, "scripted", Engine.ARGO, DONE)
    mine = await here.start(DONE)
    with pytest.raises(NotFound):
        await here.room.start(here.bob, "scripted", {})
    await here.room.share(here.ada, "scripted", True)
    his = await here.room.start(here.bob, "scripted", {})
    with pytest.raises(NotFound):
        await here.room.run(here.bob, mine.id)
    assert [run.id for run in (await here.room.runs(here.bob, RunFilter())).items] == [his.id]
    assert [run.id for run in (await here.room.runs(here.ada, RunFilter())).items] == [his.id, mine.id]


@pytest.mark.parametrize("name", ["", "Upper", "a b", "-a", "a-", "x" * 64, "a/b", "ü"])
async def test_a_name_that_no_cluster_takes_is_refused(here, name):
    with pytest.raises(BadInput):
        await here.room.define(here.ada, name, Engine.ARGO, DONE)


async def test_a_definition_of_more_than_a_megabyte_is_refused(here):
    with pytest.raises(BadInput, match="1 MB"):
        await here.room.define(here.ada, "big", Engine.ARGO, "#" * (1 << 20) + DONE)


@pytest.mark.parametrize(
    ("parameters", "said"), [({"m": 1}, "no parameter 'm'"), ({"n": "two"}, "a whole number"), ({"n": True}, "a whole number"), ({"word": 3}, "a text")]
)
async def test_unknown_and_wrongly_typed_parameters_are_refused_and_no_run_is_made(here, parameters, said):
    with pytest.raises(BadInput, match=said):
        await here.start(DONE, **parameters)
    assert not (await here.room.runs(here.ada, RunFilter())).items


async def test_the_same_id_makes_one_run_and_another_body_is_refused(here):
    await here.room.define(here.ada, "scripted", Engine.ARGO, DONE)
    run_id = new_id()
    first = await here.room.start(here.ada, "scripted", {"n": 2}, run_id=run_id)
    again = await here.room.start(here.ada, "scripted", {"n": 2}, run_id=run_id)
    assert first.id == again.id == run_id
    with pytest.raises(AlreadyThere):
        await here.room.start(here.ada, "scripted", {"n": 3}, run_id=run_id)


async def test_a_rerun_takes_the_parameters_of_the_first_with_the_changes_and_says_of_which_it_is_one(here):
    first = await here.ended(await here.start(DONE, n=2, word="a"))
    again = await here.room.rerun(here.ada, first.id, {"n": 3})
    assert (again.parameters, again.rerun_of, again.cause, again.pipeline_id) == ({"n": 3, "word": "a"}, first.id, Cause.RERUN, "scripted@1")
    await here.room.define(here.ada, "scripted", Engine.ARGO, DONE + "  # new")
    assert (await here.room.rerun(here.ada, first.id, {}, latest=True)).pipeline_id == "scripted@2"


async def test_an_experiment_is_made_by_the_first_run_that_names_it(here):
    await here.room.define(here.ada, "scripted", Engine.ARGO, DONE)
    runs = [await here.room.start(here.ada, "scripted", {"n": n}, experiment="sizes") for n in range(2)]
    found = await here.room.experiment(here.ada, "sizes")
    assert set(found.runs) == {run.id for run in runs}


async def test_a_deleted_run_leaves_no_object(here):
    code = "(folder / 'd').write_text('x'); tell('a', artifacts=[{'name': 'd', 'type': 'dataset', 'path': 'd'}]); tell()"
    ended = await here.ended(await here.start(code))
    uri = ended.artifacts[0].uri
    assert await here.objects.exists(uri)
    receipt = await here.room.delete_run(here.ada, ended.id)
    assert receipt.complete
    assert receipt.removed["objects"] == 1
    assert not await here.objects.exists(uri)


@pytest.mark.parametrize("uri", ["", "file:///etc/passwd", "s3://", "s3://b/", "s3://B_/x", "s3://hearth", "http://x/y", "s3://hearth/a\nb"])
def test_an_artifact_has_a_valid_s3_uri(uri):
    with pytest.raises(BadInput):
        Artifact("1", "r", "a", ArtifactType.MODEL, uri)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\nb"])
def test_an_artifact_has_a_name_that_a_file_may_have(name):
    with pytest.raises(BadInput):
        Artifact("1", "r", name, ArtifactType.MODEL, "s3://hearth/x")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [("string", "12", "12"), ("integer", "12", 12), ("number", "1.5", 1.5), ("boolean", "true", True), ("list", "[1]", [1]), ("struct", '{"a": 1}', {"a": 1})],
)
def test_a_typed_value_is_read_as_json_and_a_text_as_it_stands(kind, text, value):
    assert read_parameter(Parameter("p", ParameterType(kind)), text) == value
    if kind != "string":
        with pytest.raises(BadInput):
            read_parameter(Parameter("p", ParameterType(kind)), "nonsense")


def test_an_option_is_one_of_those_offered_and_a_whole_float_is_an_integer():
    spec = PipelineSpec((Parameter("size", options=("s", "m")), Parameter("n", ParameterType.INTEGER, 1)))
    assert given(spec, {"size": "m", "n": 8.0}) == {"size": "m", "n": 8}
    with pytest.raises(BadInput, match="none of the values"):
        given(spec, {"size": "xl"})


def test_a_run_that_is_over_has_no_next_state():
    assert [status.value for status in RunStatus if status.over] == ["succeeded", "failed"]
