"""What the engines of clusters share: a run is placed once, looked at again and again, and what has changed is told.

A cluster that can't be reached never ends a run: it goes on there, and is followed again once the cluster answers. Only its answers end runs.
"""

import asyncio
import logging
import random
import re
import ssl
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from core.errors import BadInput, ServiceError, ServiceRefused, ServiceTimeout, ServiceUnavailable, SettingsError
from core.settings import is_http, shown
from core.workflow.model import EngineReport, Order, PipelineSpec, Placed, Reach, RunReport, RunStatus, StepReport, StepStatus

log = logging.getLogger(__name__)

POLL_S, LONGEST_POLL_S = 2.0, 15.0
"""How soon a run is looked at again: at first, and while nothing changes or nobody answers."""
JITTER = 0.2
TRIES = 3
"""How often a file is asked for, a run submitted to a cluster that answers with an error, and a run that is not found looked for."""
TIMEOUT = httpx.Timeout(10.0, read=30.0)
_NOT_IN_FILES = re.compile(r"[^A-Za-z0-9._-]+")

T = TypeVar("T")
S = TypeVar("S", RunStatus, StepStatus | None)
Sleep = Callable[[float], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Seen:
    """A step as a look shows it. ended: this attempt is over, and may have files.   of: the cluster's own words on it, to find these by."""

    report: StepReport
    ended: bool = False
    of: Any = None

    @property
    def rank(self) -> tuple[int, bool, bool]:
        """How far the step is; it never goes back."""
        return self.report.attempt, self.ended, self.report.status.over


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a run shows. steps: in the order in which they began, each attempt's beginning and end by themselves, without their files."""

    status: RunStatus
    steps: tuple[Seen, ...] = ()
    reason: str = ""


@dataclass(slots=True)
class _Following:
    """A run that is followed. placing: its submission, which goes on when nobody waits for it any more.   ended: nothing is submitted from then on.

    taken: the addresses of objects that a step was said to have made.
    """

    placing: asyncio.Task[str] | None = None
    ended: bool = False
    told: dict[str, Seen] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)


class Connection:
    """A cluster's API over HTTP. Its errors are ours; the token is in none of them."""

    def __init__(self, url: str, token: str, name: str, setting: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """name: what it is, for people.   setting: that holds its address.   transport: for tests.   Raises: SettingsError for an address that is none."""
        parts = urlsplit(url) if is_http(url) else None
        if parts is None or parts.query:
            raise SettingsError(f"{setting} is {shown(url)[:120]!r}, which is no address of a cluster.", hint="Write it like https://host:port.")
        if parts.username is not None or parts.password is not None:
            raise SettingsError(f"{setting} holds a name or a password.", hint=f"Put the token into {setting.removesuffix('_URL')}_TOKEN instead.")
        self.url, self.namespace, self.name = parts._replace(fragment="").geturl().rstrip("/"), parts.fragment, name
        self._token, self._setting = token.removeprefix("Bearer ").strip(), setting
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        # The system's certificates, so that a cluster's own authority can be added there.
        self._client = httpx.AsyncClient(
            base_url=self.url, headers=headers, timeout=TIMEOUT, trust_env=False, transport=transport, verify=ssl.create_default_context()
        )

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.aclose()

    async def ask(self, method: str, path: str, shape: type[T], *, body: object = None, **query: str) -> T:
        """The answer, which is JSON of that shape. Raises: ServiceRefused, ServiceUnavailable, ServiceTimeout; BadInput for a body that JSON can't hold."""
        try:
            content = None if body is None else msgspec.json.encode(body)
        except (TypeError, ValueError) as error:
            raise BadInput("The definition holds something that can't be sent to a cluster.", hint="Use texts as keys and plain values.") from error
        request = self._client.build_request(method, path, params=query, content=content, headers={"Content-Type": "application/json"} if content else {})
        try:
            response = await self._client.send(request)
        except httpx.HTTPError as error:
            raise self._unreached(error) from error
        self._demand_good(response.status_code, response.content)
        try:
            return msgspec.json.decode(response.content or b"{}", type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ServiceUnavailable(f"What answers isn't {self.name}, or one that Hearth doesn't know.", hint=f"Check {self._setting}.") from error

    async def chunks(self, path: str, **query: str) -> AsyncGenerator[bytes, None]:
        """The answer's bytes as they come. Raises: as `ask`, also when it breaks off in the middle."""
        try:
            async with self._client.stream("GET", path, params=query) as response:
                if response.status_code != httpx.codes.OK:
                    self._demand_good(response.status_code, await response.aread())
                async for chunk in response.aiter_bytes():
                    yield chunk
        except httpx.HTTPError as error:
            raise self._unreached(error) from error

    def _unreached(self, error: httpx.HTTPError) -> ServiceError:
        if isinstance(error, httpx.TimeoutException):
            return ServiceTimeout(f"The cluster {self.name} did not answer in time.", hint="It may be busy; it is asked again.")
        return ServiceUnavailable(f"The cluster {self.name} can't be reached.", hint=f"Check {self._setting}, and whether it runs.")

    def _demand_good(self, status: int, content: bytes) -> None:
        if status < httpx.codes.MULTIPLE_CHOICES:
            return
        if status == httpx.codes.INTERNAL_SERVER_ERROR:
            raise ServiceRefused(f"The cluster {self.name} met an error.{self._said(content)}", status=status, hint="Its own log says more.")
        if status > httpx.codes.INTERNAL_SERVER_ERROR or status in (httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS):
            raise ServiceUnavailable(f"The cluster {self.name} has no answer now ({status}).", hint="It is asked again.")
        if status == httpx.codes.UNAUTHORIZED or status < httpx.codes.BAD_REQUEST:
            token = f"{self._setting.removesuffix('_URL')}_TOKEN"
            raise ServiceRefused(f"{self.name} doesn't accept Hearth's token.", status=status, hint=f"Set {token} to one that is valid.")
        if status == httpx.codes.FORBIDDEN:
            raise ServiceRefused(
                f"{self.name} doesn't allow Hearth to do that.", status=status, hint="Give the token's account the right to make, see and end runs."
            )
        if status == httpx.codes.NOT_FOUND:
            raise ServiceRefused(f"{self.name} has nothing at that address.", status=status, hint=f"Check {self._setting}.")
        raise ServiceRefused(
            f"{self.name} refused it ({status}).{self._said(content)}", status=status, hint="Mend the pipeline or the parameters, and run it again."
        )

    def _said(self, content: bytes) -> str:
        """Its own message, as a sentence after ours."""
        try:
            told = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""
        message = " ".join(str(told.get("message") or told.get("error") or "").split())[:300] if isinstance(told, dict) else ""
        if self._token:
            message = message.replace(self._token, "********")
        return f" It says: {message.rstrip('.')}." if message else ""


class ClusterEngine(ABC):
    """The PipelineEngine port over a cluster; what its API is called is told by those who inherit it."""

    survives = True

    def __init__(self, cluster: Connection, validate: Callable[[str], PipelineSpec], clock: Callable[[], datetime], sleep: Sleep) -> None:
        self.adapter = cluster.name
        self._cluster, self._validate, self._clock, self._sleep = cluster, validate, clock, sleep
        self._following: dict[str, _Following] = {}
        self._unknown = set[str]()

    @abstractmethod
    async def _found(self, run_id: str) -> str:
        """What the cluster calls the run; "" if it has none of that id. Raises: ServiceError."""

    @abstractmethod
    async def _submitted(self, order: Order) -> str:
        """Hands the run to the cluster, and gives what that calls it. Raises: ServiceError, BadInput."""

    @abstractmethod
    async def _look(self, order: Order, external_id: str) -> Look:
        """How the run is now. Raises: ServiceError."""

    @abstractmethod
    async def _with_files(self, order: Order, external_id: str, seen: Seen) -> StepReport:
        """An attempt's end with its log and artifacts; those that can't be had are left out, which is logged."""

    @abstractmethod
    async def _end(self, external_id: str) -> None:
        """Ends the run. Raises: ServiceError."""

    @abstractmethod
    def _page(self, external_id: str) -> str:
        """Where the cluster shows the run."""

    async def close(self) -> None:
        """Ends its connections; runs go on."""
        await self._cluster.close()

    def validate(self, definition: str) -> PipelineSpec:
        """As the port says."""
        return self._validate(definition)

    async def run(self, order: Order) -> AsyncIterator[EngineReport]:
        """As the port says."""
        one = self._following[order.run_id] = _Following()
        external_id, heard_at, away, pause_s = order.external_id, self._clock(), bool(order.external_id), POLL_S
        failures = alike = 0
        try:
            while True:
                try:
                    if not external_id:
                        external_id = await self._place(order, one)
                        yield Placed(external_id, self._page(external_id))
                    look = await self._look(order, external_id)
                except (ServiceError, BadInput) as error:
                    failures, alike = failures + 1, alike + 1 if _counts(error, bool(external_id)) else 0
                    if (reason := self._over(error, bool(external_id), alike)) is not None:
                        yield RunReport(False, reason)
                        return
                    if failures == 1:
                        log.warning("Run %s can't be followed for now: %s", order.run_id, error)
                        yield Reach(heard_at)
                    away = True
                    pause_s = min(pause_s * 2, LONGEST_POLL_S)
                else:
                    heard_at, failures, alike = self._clock(), 0, 0
                    if away:
                        yield Reach(None)
                    away, changed = False, False
                    for seen in _changes(one.told, look.steps):
                        changed = True
                        yield await self._with_files(order, external_id, seen) if seen.ended else seen.report
                    if look.status.over:
                        yield RunReport(look.status is RunStatus.SUCCEEDED, _reason(look, one.told, self.adapter))
                        return
                    pause_s = POLL_S if changed else min(pause_s * 1.5, LONGEST_POLL_S)
                await self._sleep(pause_s * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311  jitter, not a secret
        finally:
            self._following.pop(order.run_id, None)

    async def stop(self, order: Order) -> None:
        """As the port says. Whatever is being submitted at this moment is ended too."""
        one = self._following.get(order.run_id) or _Following()
        one.ended = True
        try:
            if one.placing is not None:
                await asyncio.wait([one.placing])
            if external_id := order.external_id or await self._found(order.run_id):
                await self._end(external_id)
        except ServiceError as error:
            if isinstance(error, ServiceRefused) and error.status == httpx.codes.NOT_FOUND:
                return  # it is gone
            one.ended = False
            raise

    async def _place(self, order: Order, one: _Following) -> str:
        """What the cluster calls the run: the one that it has already, or the one that it is given now."""

        async def submitted() -> str:
            found = await self._found(order.run_id)
            if not found and one.ended:
                raise ServiceUnavailable("The run is being ended.")
            return found or await self._submitted(order)

        one.placing = asyncio.create_task(submitted(), name=f"placing run {order.run_id}")
        one.placing.add_done_callback(lambda task: task.cancelled() or task.exception())  # it may have nobody left who asks
        return await asyncio.shield(one.placing)

    def _over(self, error: Exception, placed: bool, alike: int) -> str | None:
        """Why an error ends the run; None if it doesn't. alike: how often in a row the cluster has given an answer that `_counts`."""
        if placed:
            return f"{self.adapter} doesn't know the run any more: it was deleted there." if alike >= TRIES else None
        final = isinstance(error, BadInput) or (isinstance(error, ServiceRefused) and error.status != httpx.codes.INTERNAL_SERVER_ERROR)
        return str(error) if final or alike >= TRIES else None

    def _known(self, table: Mapping[str, S], state: str, otherwise: S) -> S:
        """Our word for one of theirs; one that the table has not is told in the log, once."""
        if state not in table and state not in self._unknown:
            self._unknown.add(state)
            log.warning("%s has a state that Hearth doesn't know: %r", self.adapter, state[:80])
        return table.get(state, otherwise)


def file_in(folder: Path, kind: str, *names: str) -> str:
    """A path for a file of a run, relative to its folder, whatever the names are: nothing in them leads elsewhere."""
    parts = [_NOT_IN_FILES.sub("-", name).strip(".-")[:100] or "x" for name in names]
    (folder / kind / "/".join(parts[:-1])).mkdir(parents=True, exist_ok=True)
    return "/".join((kind, *parts))


def moment(text: object, otherwise: datetime) -> datetime:
    """A time as the clusters write it."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return otherwise


def _counts(error: Exception, placed: bool) -> bool:
    """Whether an error is the cluster's answer to this very run: that it has it no more, or that it broke when it was given it."""
    return isinstance(error, ServiceRefused) and error.status == (httpx.codes.NOT_FOUND if placed else httpx.codes.INTERNAL_SERVER_ERROR)


def _changes(told: dict[str, Seen], steps: tuple[Seen, ...]) -> Iterator[Seen]:
    """Those that say something new, noted as told: a step never goes back, whatever an answer says that comes late."""
    for seen in steps:
        before = told.get(seen.report.key)
        if before is None or (not before.report.status.over and seen.rank > before.rank):
            told[seen.report.key] = seen
            yield seen


def _reason(look: Look, told: Mapping[str, Seen], cluster: str) -> str:
    """Why a run has failed, as a sentence: the step that failed first, or what the cluster says."""
    if look.status is RunStatus.SUCCEEDED:
        return ""
    failed = next((seen.report for seen in told.values() if seen.report.status is StepStatus.FAILED), None)
    if failed is not None:
        return f"The step {failed.name!r} failed: {failed.error}"
    return f"{cluster} says: {look.reason.rstrip('.')}." if look.reason else f"{cluster} says that it failed."
