"""An ASGI app for a route: plain ASGI, so that nothing stands in a token's way."""

from __future__ import annotations

from typing import Protocol

from starlette.types import Receive, Scope, Send

from backends.serve.replies import Refusal, refuse
from backends.serve.requests import Disconnected


class Handler(Protocol):
    """What answers at a route; it may raise Refusal and Disconnected."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Endpoint:
    """Turns what its handler refuses into an answer."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._handler(scope, receive, send)
        except Refusal as refusal:
            await refuse(send, refusal)
        except Disconnected:
            return
