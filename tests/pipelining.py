"""A room of pipelines over embedded stores, with an engine whose definitions are Python for `scripted_worker`."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from core.adapters.accounts_sql import SqlAccounts
from core.adapters.database_sql import SqliteDatabase
from core.adapters.engine_local import LocalEngine
from core.adapters.objects_folder import FolderObjectStore
from core.adapters.records_sql import Records
from core.ids import new_id
from core.users.model import Preferences, Role, User
from core.workflow.model import Engine, Parameter, ParameterType, PipelineSpec
from core.workflow.room import PipelineRoom
from core.workflow.running import Dispatcher

WORKER = str(Path(__file__).parent / "scripted_worker.py")
SPEC = PipelineSpec((Parameter("n", ParameterType.INTEGER, 1), Parameter("word", ParameterType.STRING, "hello")))
ASKING = PipelineSpec((*SPEC.parameters, Parameter("hearth_url", required=True), Parameter("hearth_key", required=True)))


@dataclass
class Works:
    """What a test needs of it."""

    room: PipelineRoom
    records: Records
    dispatcher: Dispatcher
    objects: FolderObjectStore
    ada: User
    bob: User
    home: Path
    language: Engine

    async def start(self, code, name="scripted", by=None, cache=True, files=None, **given):
        """A run of these instructions."""
        pipeline = await self.room.define(self.ada, name, self.language, code)
        return await self.room.start(by or self.ada, pipeline.id, given, cache=cache, files=files)

    async def ended(self, run, within_s=20):
        """The run once it is over."""
        async with asyncio.timeout(within_s):
            while not (now := await self.room.run(self.ada, run.id)).status.over:
                await asyncio.sleep(0.02)
            while self.dispatcher.folder_of(run.id).exists():
                await asyncio.sleep(0.02)
        return now

    async def step(self, run, key, within_s=20):
        """The step once it has begun."""
        async with asyncio.timeout(within_s):
            while not (found := [s for s in (await self.room.steps(self.ada, run.id)).items if s.key == key]):
                await asyncio.sleep(0.02)
        return found[0]

    async def told(self, run):
        """The types of its events, in order."""
        return [one.event.type for one in await self.records.events.read(aggregate_id=run.id)]


def scripted(spec=SPEC, **given):
    """The engine."""
    return LocalEngine("scripted", WORKER, lambda _definition: spec, **({"log_bytes": 10_000, "folder_bytes": 50_000_000} | given))


@asynccontextmanager
async def works(home, *, engine=None, language=Engine.ARGO, at_once=2, wall_s=60.0, lend=None, serving=True):
    """The opened room. engine: what runs pipelines of that language."""
    async with SqliteDatabase("", home=home) as database, FolderObjectStore("", home=home) as objects:
        await database.migrate()
        records, engines = Records(database), {language: engine or scripted()}

        def clock():
            return datetime.now(UTC)

        dispatcher = Dispatcher(records.workflows, engines, objects, clock, lend, folder=home / "runs", at_once=at_once, wall_s=wall_s)
        room = PipelineRoom(records.workflows, engines, dispatcher, objects, records.audit, clock)
        people = []
        for name, role in (("ada", Role.ADMIN), ("bob", Role.USER)):
            people.append(User(new_id(), name, False, Preferences(), clock(), role))
            if not (await records.accounts.found(name, 1)).items:
                await SqlAccounts(database).add(people[-1], None)
            else:
                people[-1] = (await records.accounts.named(name))[0]
        made = Works(room, records, dispatcher, objects, *people, home, language)
        if not serving:
            yield made
            return
        async with dispatcher:
            yield made
