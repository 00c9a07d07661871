"""Who may define, run and see pipelines, and what a run is given."""

import pytest
from pipelining import works

from core.errors import AlreadyThere, BadInput, NotAllowed, NotFound, TooLong
from core.ids import new_id
from core.workflow import inputs
from core.workflow.inputs import InputFile
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


@pytest.fixture
def photo(tmp_path):
    """No text."""
    path = tmp_path / "upload"
    path.write_bytes(bytes(range(256)))
    return InputFile(path, "../my photo ü.png")


async def test_a_file_is_kept_with_its_run_as_an_artifact_and_its_address_is_the_value(here, photo):
    run = await here.ended(await here.start(DONE, files={"word": photo}))
    (artifact,) = (await here.room.run(here.ada, run.id)).artifacts
    assert run.parameters["word"] == artifact.uri
    assert artifact.uri.startswith(here.objects.uri(f"runs/{run.id}/inputs/word-"))
    assert (artifact.name, artifact.type, artifact.step) == ("my photo ü.png", ArtifactType.DATASET, "")
    assert {k: artifact.metadata[k] for k in ("size_bytes", "media_type", "schema", "parameter")} == {
        "size_bytes": 256, "media_type": "image/png", "schema": "input", "parameter": "word",
    }  # fmt: skip
    name, media_type, path = await here.room.stored(here.ada, artifact.uri)
    assert (name, media_type, path.read_bytes()) == ("my photo ü.png", "image/png", bytes(range(256)))
    receipt = await here.room.delete_run(here.ada, run.id)
    assert (receipt.removed["artifacts"], receipt.removed["objects"], receipt.complete) == (1, 1, True)
    assert not await here.objects.exists(artifact.uri)


async def test_a_rerun_gets_a_copy_of_the_file_or_another_one_instead(here, photo, tmp_path):
    first = await here.ended(await here.start(DONE, files={"word": photo}))
    again = await here.ended(await here.room.rerun(here.ada, first.id, {"n": 3}))
    assert again.parameters["word"].startswith(here.objects.uri(f"runs/{again.id}/inputs/"))
    await here.room.delete_run(here.ada, first.id)
    assert await here.objects.get(again.parameters["word"]) == bytes(range(256))
    (tmp_path / "other").write_bytes(b"other")
    other = await here.ended(await here.room.rerun(here.ada, again.id, {}, files={"word": InputFile(tmp_path / "other", "other.txt")}))
    assert await here.objects.get(other.parameters["word"]) == b"other"
    assert [a.name for a in (await here.room.run(here.ada, other.id)).artifacts] == ["other.txt"]
    await here.objects.drop(again.parameters["word"])
    with pytest.raises(BadInput, match=r"'word' is not there any more\. Choose it again"):
        await here.room.rerun(here.ada, again.id, {})


async def test_a_file_of_somebody_elses_run_is_neither_read_nor_copied(here, photo):
    hers = await here.ended(await here.start(DONE, files={"word": photo}))
    await here.room.share(here.ada, "scripted", True)
    his = await here.ended(await here.room.start(here.bob, "scripted", {}, files={"word": photo}))
    for uri in (hers.parameters["word"], hers.parameters["word"] + "x", here.objects.uri("originals/x"), "s3://other/x", "file:///etc/passwd", "", "x"):
        with pytest.raises(NotFound):
            await here.room.stored(here.bob, uri)
    with pytest.raises(BadInput, match="not there any more"):
        await here.room.start(here.bob, "scripted", {"word": hers.parameters["word"]})
    assert (await here.room.stored(here.bob, his.parameters["word"]))[2].read_bytes() == bytes(range(256))
    with pytest.raises(NotFound):
        await here.room.stored(here.ada, his.parameters["word"])


async def test_what_others_have_put_into_the_store_is_read_for_admins_and_what_the_house_keeps_for_nobody(here):
    theirs, ours = await here.objects.put("incoming/a.csv", b"1,2"), await here.objects.put("originals/x/y", b"bob's")
    name, _, path = await here.room.stored(here.ada, theirs)
    assert (name, path.read_bytes()) == ("a.csv", b"1,2")
    for who, uri in ((here.bob, theirs), (here.ada, ours), (here.ada, ours.replace("originals", "Originals")), (here.ada, f"{theirs}/../../originals/x/y")):
        with pytest.raises(NotFound):
            await here.room.stored(who, uri)


async def test_a_file_that_no_run_is_made_with_is_not_stored(here, photo, tmp_path, monkeypatch):
    await here.room.define(here.ada, "scripted", Engine.ARGO, DONE)
    for files, said in (({"n": photo}, "a whole number"), ({"m": photo}, "no parameter 'm'")):
        with pytest.raises(BadInput, match=said):
            await here.room.start(here.ada, "scripted", {}, files=files)
    monkeypatch.setattr(inputs, "MOST_INPUT_BYTES", 255)
    with pytest.raises(TooLong, match=r"my photo ü\.png has 0 MB; a run is given at most 0 MB"):
        await here.room.start(here.ada, "scripted", {}, files={"word": photo})
    assert not (await here.objects.all()).items


async def test_the_same_id_with_the_same_file_makes_one_run_and_with_another_is_refused_and_replaces_nothing(here, photo, tmp_path):
    await here.room.define(here.ada, "scripted", Engine.ARGO, DONE)
    await here.room.share(here.ada, "scripted", True)
    run_id = new_id()
    first = await here.room.start(here.ada, "scripted", {}, files={"word": photo}, run_id=run_id)
    assert (await here.room.start(here.ada, "scripted", {}, files={"word": photo}, run_id=run_id)).id == first.id
    (tmp_path / "other").write_bytes(b"other")
    for who in (here.ada, here.bob):
        with pytest.raises(AlreadyThere):
            await here.room.start(who, "scripted", {}, files={"word": InputFile(tmp_path / "other", photo.name)}, run_id=run_id)
    assert await here.objects.get(first.parameters["word"]) == bytes(range(256))


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
