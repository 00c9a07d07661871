"""Between Streamlit's threads and the house: pages are synchronous, the core is async and lives in one event loop."""

from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

import streamlit as st
from anyio.from_thread import BlockingPortal
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.app import App
from core.console import Console
from core.courtesy import Courtesy
from core.errors import ServiceTimeout, ServiceUnavailable
from core.records import aside
from core.users.model import Admin, User
from core.workflow.evaluation import Evaluation
from core.workflow.room import PipelineRoom
from core.workflow.triggers import Triggers
from ui.gate import session_token

P = ParamSpec("P")
T = TypeVar("T")

ASK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class House:
    """The opened house, and the way into its event loop from a page's thread."""

    app: App
    portal: BlockingPortal
    rooms: bool
    """Whether the chat and voice pages are served beside the console."""


_houses: list[House] = []
"""The houses that are open in this process, the newest last. Streamlit runs a page as a script, so it can't be handed anything."""


@asynccontextmanager
async def opened(app: App, *, rooms: bool = True) -> AsyncIterator[House]:
    """Lets pages ask this house, from the event loop that this is called in."""
    async with BlockingPortal() as portal:
        house = House(app, portal, rooms)
        _houses.append(house)
        try:
            yield house
        finally:
            _houses.remove(house)


def house() -> House:
    """Raises: ServiceUnavailable once it is closed."""
    if not _houses:
        raise ServiceUnavailable("Hearth is stopping.", hint="Reload the page in a moment.")
    return _houses[-1]


def console() -> Console:
    """The rooms to ask."""
    return house().app.console


def pipelines() -> PipelineRoom:
    """The room of pipelines, for `ask_room`."""
    return house().app.pipelines


def triggers() -> Triggers:
    """What starts runs by itself, for `ask_room`."""
    return house().app.triggers


def evaluation() -> Evaluation:
    """Comparing settings of retrieval, for `ask_room`."""
    return house().app.evaluation


def token() -> str:
    """The session token of the browser that looks at the page."""
    return session_token(house().app, st.context.cookies)


def ask(method: Callable[Concatenate[Admin, P], Awaitable[T]], *args: P.args, **given: P.kwargs) -> T:
    """What a console room answers to whoever looks at the page; who that is, and that they are an admin, is found out again each time.

    An answer takes `ASK_TIMEOUT_S` at most: whatever takes longer is a job whose progress is asked for.
    Raises: NotSignedIn, NotFound (no admin any more), ServiceTimeout; as the method.
    """
    users, mine = house().app.users, token()

    async def call() -> T:
        return await method(await users.admin(mine), *args, **given)

    return _answer(call)


def ask_room(method: Callable[Concatenate[User, P], Awaitable[T]], *args: P.args, **given: P.kwargs) -> T:
    """What a room that is everybody's answers to the admin who looks at the page; otherwise as `ask`."""
    users, mine = house().app.users, token()

    async def call() -> T:
        return await method((await users.admin(mine)).user, *args, **given)

    return _answer(call)


def me() -> Admin:
    """Who looks at the page. Raises: NotSignedIn, NotFound."""
    return _answer(partial(house().app.users.admin, token()))


class _Drawing:
    """Takes what a page draws, piece by piece, and passes each on once nobody waits for the first word of an answer."""

    def __init__(self, passed_on: Callable[[ForwardMsg], None], courtesy: Courtesy) -> None:
        self._passed_on, self._courtesy = passed_on, courtesy

    def __call__(self, piece: ForwardMsg) -> None:
        self._courtesy.stand_still()
        self._passed_on(piece)


def drawn_giving_way() -> None:
    """Has whatever this thread draws from now on give way to the chats. Streamlit has no place for that: what it calls with each piece is a private name."""
    context = get_script_run_ctx()
    if context is not None and not isinstance(context._enqueue, _Drawing):
        context._enqueue = _Drawing(context._enqueue, house().app.courtesy)


def _answer(call: Callable[[], Awaitable[T]]) -> T:
    async def yielding() -> T:
        aside.set(True)
        return await call()

    house().app.courtesy.stand_still()
    future = house().portal.start_task_soon(yielding)
    try:
        return future.result(ASK_TIMEOUT_S)
    except TimeoutError as error:
        future.cancel()
        raise ServiceTimeout(f"No answer within {ASK_TIMEOUT_S:.0f} s.", hint="The house is busy: try again in a moment.") from error
    except CancelledError as error:
        raise ServiceUnavailable("Hearth is stopping.", hint="Reload the page in a moment.") from error
