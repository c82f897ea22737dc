"""An ASGI app for a route: plain ASGI, so that nothing stands in a token's way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from starlette.types import Receive, Scope, Send

from backends.serve.replies import Refusal, refuse
from backends.serve.requests import Disconnected


class Handler(Protocol):
    """What answers at a route; it may raise Refusal and Disconnected."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class Endpoint:
    """Turns what its handler refuses into an answer."""

    def __init__(self, handler: Handler, on_refusal: Callable[[Refusal], None]) -> None:
        self._handler = handler
        self._on_refusal = on_refusal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._handler(scope, receive, send)
        except Refusal as refusal:
            self._on_refusal(refusal)
            await refuse(send, refusal)
        except Disconnected:
            return
