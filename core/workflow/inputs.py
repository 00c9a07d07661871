"""Files that runs are given. Each is an artifact of its run, stored before the run is, and the value of its parameter is its address.

So it goes where the run goes: with its deletion, with its user's, to other stores. A rerun gets a copy, because the first run may be deleted.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from core.errors import BadInput, NotFound, TooLong
from core.ids import new_id
from core.objects import RUNS, beginning, prefix_of, written
from core.ports import ObjectStore
from core.rag.folders import source_name
from core.users.model import Role, User
from core.workflow.model import Artifact, ArtifactType, PipelineRun, Produced, Value
from core.workflow.running import described, in_key

MOST_INPUT_BYTES = 100_000_000
"""Of one file, as much as the console takes."""
SCHEMA = "input"
"""By which an artifact that its run was given is known, as its metadata has it; there `parameter` names what it is the value of."""
_FOLDER = "inputs"

Given = Sequence[tuple[Path, Artifact]]
"""What a run is given, each with the file that holds it until it is stored."""
Runs = Callable[[str], Awaitable[PipelineRun]]
"""A run by its id. Raises: NotFound, also for one that the asker may not see."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file on this machine. name: its own, without folders."""

    path: Path
    name: str


@contextmanager
def put_down(uploads: Mapping[str, tuple[IO[bytes], str]]) -> Iterator[dict[str, InputFile]]:
    """Uploads, each with its name, as files of this machine while this lasts; by the same keys. It writes, so an event loop enters it in a thread.

    Raises: NoSpace.
    """
    with tempfile.TemporaryDirectory(prefix="hearth-inputs-", ignore_cleanup_errors=True) as folder:
        files = {key: InputFile(Path(folder) / str(number), name) for number, (key, (_, name)) in enumerate(uploads.items())}
        for key, (source, name) in uploads.items():
            written(source, files[key].path, name)
        yield files


class Inputs:
    """The files that runs are given."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    @asynccontextmanager
    async def of(self, run_id: str, parameters: Mapping[str, Value], files: Mapping[str, InputFile], runs: Runs) -> AsyncIterator[Given]:
        """What the run with that id is given, with the files that it is to be stored from, which last as long as this: nothing is stored yet.

        files: by parameter.   parameters: those among them that are the address of what another run was given stand for that file.
        Raises: TooLong; BadInput for a file that is gone with its run.
        """
        with tempfile.TemporaryDirectory(prefix="hearth-inputs-", ignore_cleanup_errors=True) as scratch:
            taken_over = {name: uri for name, uri in self._taken_over(parameters).items() if name not in files}
            every = {name: await self._again(name, uri, runs, Path(scratch)) for name, uri in taken_over.items()} | dict(files)
            yield [(file.path, await asyncio.to_thread(self._artifact, run_id, name, file)) for name, file in every.items()]

    async def store(self, inputs: Given) -> None:
        """Puts them where their artifacts say. Raises: NoSpace, ServiceError."""
        for path, artifact in inputs:
            await self._objects.put(artifact.uri.removeprefix(beginning(self._objects)), path)

    async def read(self, user: User, uri: str, run: Runs) -> tuple[str, str, Path]:
        """(name, media type, file) of what a step may read at an address: what a run of the same user was given or has made; of an admin also whatever others
        have put into the store, where files start runs.

        Raises: NotFound for everything else.
        """
        gone = NotFound("There is no such object.", hint="It may have been deleted meanwhile, or be somebody else's.")
        if run_id := self._run_of(uri):
            of = await run(run_id)
            found = next((a for a in of.artifacts if a.uri == uri), None)
            if found is None or of.user_id != user.id:
                raise gone
            return found.name, str(found.metadata.get("media_type", "")), await self._objects.local_path(uri)
        try:
            prefix_of(self._objects, uri)
        except BadInput as error:
            raise gone from error
        if user.role is not Role.ADMIN:
            raise gone
        return uri.rpartition("/")[2], "", await self._objects.local_path(uri)

    def _run_of(self, uri: str) -> str:
        """The id of the run under whose folder an address is; "" for others."""
        folder = beginning(self._objects) + RUNS
        return uri.removeprefix(folder).partition("/")[0] if uri.startswith(folder) else ""

    def _taken_over(self, parameters: Mapping[str, Value]) -> dict[str, str]:
        """The parameters that are what a run was given."""
        texts = {name: value for name, value in parameters.items() if isinstance(value, str)}
        return {name: uri for name, uri in texts.items() if (of := self._run_of(uri)) and uri.startswith(f"{beginning(self._objects)}{RUNS}{of}/{_FOLDER}/")}

    async def _again(self, parameter: str, uri: str, runs: Runs, scratch: Path) -> InputFile:
        try:
            found = next(a for a in (await runs(self._run_of(uri))).artifacts if a.uri == uri)
            path = scratch / found.id
            await self._objects.fetch(uri, path)
        except (NotFound, StopIteration) as error:
            raise BadInput(f"The file of the parameter {parameter!r} is not there any more.", hint="Choose it again.") from error
        return InputFile(path, found.name)

    def _artifact(self, run_id: str, parameter: str, file: InputFile) -> Artifact:
        """Its key holds its checksum: the same run with the same file is the same run, and nothing is ever replaced by other bytes."""
        name = source_name(file.name).rpartition("/")[2]
        size_bytes = file.path.stat().st_size
        if size_bytes > MOST_INPUT_BYTES:
            raise TooLong(
                f"{name} has {size_bytes / 1e6:.0f} MB; a run is given at most {MOST_INPUT_BYTES / 1e6:.0f} MB in one file.",
                hint="Put it into the object store, and give its address.",
            )
        told = described(file.path, Produced(name, ArtifactType.DATASET))
        key = f"{RUNS}{run_id}/{_FOLDER}/{in_key(parameter)[:60]}-{str(told['sha256'])[:16]}-{in_key(name)[-100:]}"
        metadata = {**told, "schema": SCHEMA, "parameter": parameter}
        return Artifact(new_id(), run_id, name, ArtifactType.DATASET, self._objects.uri(key), metadata)
