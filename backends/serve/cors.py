"""Which pages of other origins may use the service (CORS); none unless they are named."""

from __future__ import annotations

from collections.abc import Callable

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send


class Cors:
    """ASGI middleware: Starlette's, for the origins that are named at the time."""

    def __init__(self, app: ASGIApp, *, origins: Callable[[], frozenset[str]]) -> None:
        self._plain = app
        self._origins = origins
        self._named: frozenset[str] = frozenset()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origins = self._origins()
        if origins != self._named:
            self._named, self._app = origins, _open_to(self._plain, origins) if origins else self._plain
        await self._app(scope, receive, send)


def _open_to(app: ASGIApp, origins: frozenset[str]) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=sorted(origins),
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],  # OpenAI's client for pages brings a dozen of its own (X-Stainless-…)
        expose_headers=["X-LLMChat-Id", "X-LLMChat-Resume-Grace", "Retry-After", "Server-Timing"],
    )
