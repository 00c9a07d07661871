"""What starts runs by itself: times, files that arrive, and events of other programs; always in somebody's name and with their rights."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice

from cronsim import CronSim, CronSimError

from core.audit import Act, AuditEntry
from core.errors import BadInput, HearthError, NotAllowed, NotFound
from core.events import Event
from core.ids import new_id, timed_id
from core.objects import beginning, prefix_of
from core.ports import Accounts, AuditLog, ObjectStore, Workflows
from core.records import DeleteReceipt, Page, Stored, every_page
from core.users.model import Role, User
from core.workflow.model import Cause, Trigger, TriggerKind, Value
from core.workflow.room import MOST_LISTED, PipelineRoom

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
"""How often schedules and events are looked at."""
FILES_EVERY = timedelta(seconds=5)
URI = "uri"
"""The parameter that gets the address of the file which started the run."""


def next_time(expression: str, after: datetime) -> datetime:
    """The first time after that one at which a cron expression of five fields holds, in UTC.

    Raises: BadInput for what is no such expression, and for one that never holds (30 February).
    """
    return next_times(expression, after, 1)[0]


def next_times(expression: str, after: datetime, count: int) -> tuple[datetime, ...]:
    """The next so many times at which it holds, the first one first. Raises: as `next_time`."""
    if (fields := len(expression.split())) != 5:
        raise _no_times(expression, f"it has {fields} field{'' if fields == 1 else 's'}, not five")
    try:
        times = tuple(islice(CronSim(expression, after.astimezone(UTC)), count))
    except CronSimError as error:
        raise _no_times(expression, f"the {str(error).removeprefix('Bad ')} is wrong") from error
    except AssertionError as error:
        raise _no_times(expression, "it can't be read") from error
    if not times:
        raise _no_times(expression, "it never holds")
    return times


def _no_times(expression: str, why: str) -> BadInput:
    return BadInput(
        f"{expression[:80]!r} is no cron expression: {why}.",
        hint="Write minute, hour, day of month, month and day of week: 30 2 * * 1 is each Monday at 02:30 UTC.",
    )


class Triggers:
    """Everybody's triggers. `keep_up` is called again and again by the one process that serves."""

    def __init__(
        self, workflows: Workflows, room: PipelineRoom, accounts: Accounts, objects: ObjectStore, audit: AuditLog, clock: Callable[[], datetime]
    ) -> None:
        self._workflows, self._room, self._accounts, self._objects = workflows, room, accounts, objects
        self._audit, self._clock = audit, clock
        self._met: dict[str, dict[str, str]] = {}
        """By trigger: the files that the records know of, in the state in which they were met last."""
        self._files_at: datetime | None = None

    async def add(self, user: User, pipeline_name: str, kind: TriggerKind, watched: str, parameters: Mapping[str, Value], *, experiment: str = "") -> Trigger:
        """A trigger that is at work when this returns. Files that are there already start nothing.

        watched: a cron expression in UTC; or a prefix in the object store, with or without s3:// and the bucket.
        experiment: its name; one that isn't there is made.
        Raises: NotFound for a pipeline that the user may not run; BadInput for parameters that it doesn't take, and for what can't be watched; NotAllowed.
        """
        now, parameters = self._clock(), dict(parameters)
        watched = watched.strip()
        next_at = None
        if kind is TriggerKind.SCHEDULE:
            next_at = next_time(watched, now)
        else:
            _demand_watcher(user)
            watched = self._objects.uri(prefix_of(self._objects, watched))
        name = (await self._room.pipeline(user, pipeline_name)).name
        await self._room.fitting(user, name, await self._with_file(user, name, parameters, watched) if kind is TriggerKind.FILE else parameters)
        within = (await self._room.experiment_for(user, experiment)).id if experiment else ""
        trigger = Trigger(new_id(), name, kind, watched, parameters, user.id, now, kind is TriggerKind.SCHEDULE, within, next_at=next_at)
        await self._workflows.add_trigger(trigger)
        if kind is TriggerKind.FILE:
            trigger = await self._begun(trigger)
        await self._note(user, Act.MADE, trigger.id, pipeline=name, kind=kind.value)
        return trigger

    async def trigger(self, user: User, trigger_id: str) -> Trigger:
        """Raises: NotFound, also for somebody else's unless an admin asks."""
        trigger = await self._workflows.trigger(trigger_id)
        if user.role is not Role.ADMIN and trigger.user_id != user.id:
            raise NotFound("There is no such trigger.", hint="It may have been deleted meanwhile.")
        return trigger

    async def triggers(self, user: User, *, pipeline_name: str = "", limit: int = 50, cursor: str = "") -> Page[Trigger]:
        """Those of the user, of an admin everybody's, the oldest first."""
        whose = "" if user.role is Role.ADMIN else user.id
        return await self._workflows.triggers(pipeline_name=pipeline_name, user_id=whose, limit=min(max(limit, 1), MOST_LISTED), cursor=cursor)

    async def enable(self, user: User, trigger_id: str, enabled: bool) -> Trigger:
        """Switches it on or off. What it missed while it was off starts nothing. Raises: NotFound."""
        trigger = await self.trigger(user, trigger_id)
        if trigger.enabled is enabled:
            return trigger
        if not enabled:
            trigger = replace(trigger, enabled=False, next_at=None)
            await self._workflows.change_trigger(trigger)
        else:
            trigger = await self._begun(replace(trigger, problem=""))
        await self._note(user, Act.CHANGED, trigger.id, enabled=enabled)
        return trigger

    async def delete(self, user: User, trigger_id: str) -> DeleteReceipt:
        """Its runs stay. Raises: NotFound."""
        trigger = await self.trigger(user, trigger_id)
        await self._workflows.drop_trigger(trigger.id)
        self._met.pop(trigger.id, None)
        await self._note(user, Act.DELETED, trigger.id)
        left = 0
        with suppress(NotFound):
            await self._workflows.trigger(trigger.id)
            left = 1
        return DeleteReceipt({"triggers": 1}, {"triggers": left})

    async def keep_up(self) -> None:
        """Starts what is due, once however often it came due while nobody looked; what can't be started is kept as the trigger's problem."""
        now = self._clock()
        for event in await self._workflows.received():
            await self._workflows.acted_on(event.id, await self._problem(self._heard(event), f"event {event.id}"))
        files = self._files_at is None or now - self._files_at >= FILES_EVERY
        if files:
            self._files_at = now
        async for page in every_page(lambda cursor: self._workflows.triggers(enabled_only=True, limit=MOST_LISTED, cursor=cursor)):
            for trigger in page:
                if trigger.kind is TriggerKind.SCHEDULE and trigger.next_at is not None and trigger.next_at <= now:
                    await self._struck(trigger, trigger.next_at, now)
                elif trigger.kind is TriggerKind.FILE and files:
                    await self._looked(trigger, now)

    async def _struck(self, trigger: Trigger, due: datetime, now: datetime) -> None:
        """Its time has come. The run's id follows from that time, so that a crash between the run and the note of it makes no second one."""
        problem = await self._problem(self._fire(trigger, due, due.isoformat(), Cause.SCHEDULE, trigger.parameters), f"trigger {trigger.id}")
        await self._fired(trigger, now, problem)

    async def _looked(self, trigger: Trigger, now: datetime) -> None:
        """A run for each file that is new or has changed. A file is noted before its run is made: after a crash in between it starts none."""
        problem, fired = "", False
        try:
            async for page in every_page(lambda cursor: self._objects.all(prefix=self._key(trigger.watched), cursor=cursor)):
                for file in page:
                    if not await self._is_new(trigger, file):
                        continue
                    starting = self._arrived(trigger, file)
                    problem, fired = await self._problem(starting, f"trigger {trigger.id}") or problem, True
        except HearthError as error:  # the store is away
            problem, fired = str(error), str(error) != trigger.problem
        if fired:
            await self._fired(trigger, now, problem)

    async def _fired(self, trigger: Trigger, now: datetime, problem: str) -> None:
        """Kept with the trigger as it is by now: somebody may have switched it off or deleted it meanwhile."""
        with suppress(NotFound):
            present = await self._workflows.trigger(trigger.id)
            due = next_time(present.watched, now) if present.enabled and present.kind is TriggerKind.SCHEDULE else None
            await self._workflows.change_trigger(replace(present, last_at=now, next_at=due, problem=problem))

    async def _arrived(self, trigger: Trigger, file: Stored) -> None:
        owner = await self._owner(trigger.user_id)
        _demand_watcher(owner)
        parameters = await self._with_file(owner, trigger.pipeline_name, trigger.parameters, file.uri)
        await self._fire(trigger, file.put_at, f"{file.uri} {_mark(file)}", Cause.FILE, parameters)

    async def _fire(self, trigger: Trigger, at: datetime, of: str, cause: Cause, parameters: Mapping[str, Value]) -> None:
        owner = await self._owner(trigger.user_id)
        within = (await self._workflows.experiment(trigger.experiment_id)).name if trigger.experiment_id else ""
        run_id = timed_id(at, f"{trigger.id} {of}")
        await self._room.start(owner, trigger.pipeline_name, parameters, cause=cause, experiment=within, run_id=run_id)

    async def _heard(self, event: Event) -> None:
        """Another program asks for a run in the name of the event's user."""
        pipeline, parameters, experiment = event.data.get("pipeline"), event.data.get("parameters", {}), event.data.get("experiment", "")
        if not isinstance(pipeline, str) or not isinstance(parameters, Mapping) or not isinstance(experiment, str):
            raise BadInput(
                "The event can't be read.", hint='Its data has to have "pipeline", a name, and may have "parameters", an object, and "experiment", a name.'
            )
        owner = await self._owner(event.user_id)
        await self._room.start(owner, pipeline, parameters, cause=Cause.EVENT, experiment=experiment, run_id=timed_id(event.at, event.id))

    async def _problem(self, starting: Awaitable[None], what: str) -> str:
        """Why it could not be started; "" if it was."""
        try:
            await starting
        except HearthError as error:
            return str(error)
        except Exception:  # a bug stops one start and no other; it is logged and told
            log.exception("The %s could not start its run", what)
            return "Something went wrong inside Hearth; its log says what."
        return ""

    async def _owner(self, user_id: str) -> User:
        """Raises: NotAllowed for somebody who may not sign in either."""
        try:
            owner = await self._accounts.get(user_id)
        except NotFound:
            owner = None
        if owner is None or owner.disabled:
            raise NotAllowed("The account in whose name it would run can't be used.", hint="Enable the account, or make the trigger anew.")
        return owner

    async def _with_file(self, user: User, pipeline_name: str, parameters: Mapping[str, Value], uri: str) -> dict[str, Value]:
        """The parameters with the file's address in them, if the pipeline takes one. Raises: BadInput."""
        spec = await self._room.spec(user, await self._room.pipeline(user, pipeline_name))
        takes = any(p.name == URI for p in spec.parameters)
        if takes and URI in parameters:
            raise BadInput("The parameter 'uri' is filled in with the address of the file.", hint="Leave it out.")
        return {**parameters, URI: uri} if takes else dict(parameters)

    async def _begun(self, trigger: Trigger) -> Trigger:
        """The trigger at work from now on. What lies there already counts as met."""
        next_at = None
        if trigger.kind is TriggerKind.SCHEDULE:
            next_at = next_time(trigger.watched, self._clock())
        else:
            async for page in every_page(lambda cursor: self._objects.all(prefix=self._key(trigger.watched), cursor=cursor)):
                await asyncio.gather(*(self._is_new(trigger, file) for file in page))
        begun = replace(trigger, enabled=True, next_at=next_at)
        await self._workflows.change_trigger(begun)
        return begun

    async def _is_new(self, trigger: Trigger, file: Stored) -> bool:
        """Whether the file is met in that state for the first time. Names that begin with a dot are files that are still being written."""
        if file.uri.rpartition("/")[2].startswith("."):
            return False
        met, mark = self._met.setdefault(trigger.id, {}), _mark(file)
        if met.get(file.uri) == mark:
            return False
        new = await self._workflows.seen_file(trigger.id, file.uri, mark)
        met[file.uri] = mark
        return new

    def _key(self, uri: str) -> str:
        return uri.removeprefix(beginning(self._objects))

    async def _note(self, user: User, act: Act, trigger_id: str, **detail: object) -> None:
        await self._audit.write(AuditEntry(self._clock(), user.id, user.username, act, f"trigger {trigger_id}", detail))


def _demand_watcher(user: User) -> None:
    """Raises: NotAllowed."""
    if user.role is not Role.ADMIN:
        raise NotAllowed("Only admins watch files.", hint="Everybody's files lie in one store. Ask an admin, or use a schedule.")


def _mark(file: Stored) -> str:
    """What changes when the file does."""
    return f"{file.size_bytes} {file.put_at.isoformat()}"
