"""A part of the web application that lets go first what somebody waits for in another part of the same process."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.courtesy import Courtesy


class GivingWay:
    """Wraps an application: a request or a message of its WebSockets, either way, is passed on once nobody waits."""

    def __init__(self, inner: ASGIApp, courtesy: Courtesy) -> None:
        self._inner, self._courtesy = inner, courtesy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes it on, in a moment."""
        await self._courtesy.give_way()
        if scope["type"] != "websocket":
            await self._inner(scope, receive, send)
            return

        async def received() -> Message:
            message = await receive()
            await self._courtesy.give_way()
            return message

        async def sent(message: Message) -> None:
            await self._courtesy.give_way()
            await send(message)

        await self._inner(scope, received, sent)
