"""The HTTP app around one backend: the native protocol (DESIGN.md, "Events").

    POST   /v1/chat        a ChatRequest as JSON -> the event stream; its id in `X-LLMChat-Id` and in the first event
    DELETE /v1/chat/{id}   cancels: the stream ends with Done, finishReason "cancelled"
    POST   /v1/warm        a ChatRequest as JSON: this prefix is coming
    GET    /healthz        200 while the process answers; needs no token
    GET    /readyz         200 when the backend can answer, else 503

The routes are plain ASGI: Starlette routes, and nothing of it stands in a token's way.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from backends.backend import Backend
from backends.errors import Code
from backends.serve.guard import Guard
from backends.serve.replies import refuse, reply
from backends.serve.requests import MAX_BODY, Disconnected, Refusal, read_chat
from backends.serve.streams import Stream, Streams


def create_app(
    backend: Backend,
    *,
    token: str | None = None,
    hosts: frozenset[str] = frozenset(),
    ping_interval: float = 10.0,
    max_body: int = MAX_BODY,
    ready: Callable[[], bool] | None = None,
) -> Starlette:
    """The ASGI app that answers with `backend`, which stays the caller's to close.

    `token`: what clients must bring as a Bearer token. `hosts`: names that clients may use for this server, beside
    localhost and IP addresses. `ping_interval`: seconds of silence after which a comment goes out. `max_body`: bytes.
    `ready` tells whether a request would be worked on at once; without it the backend is taken to be ready.
    `app.state.streams` is the `Streams` that run.
    """
    service = _Service(backend, ping_interval, max_body, ready)
    app = Starlette(
        routes=[
            Route("/v1/chat", _Endpoint(service.chat), methods=["POST"]),
            Route("/v1/chat/{id}", _Endpoint(service.cancel), methods=["DELETE"]),
            Route("/v1/warm", _Endpoint(service.warm), methods=["POST"]),
            Route("/healthz", _Endpoint(service.health), methods=["GET"]),
            Route("/readyz", _Endpoint(service.readiness), methods=["GET"]),
        ],
        middleware=[Middleware(Guard, hosts=hosts, token=token)],
    )
    app.state.streams = service.streams
    return app


class _Handler(Protocol):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...


class _Endpoint:
    """An ASGI app for a route; turns what `requests` refuses into its answer."""

    def __init__(self, handler: _Handler) -> None:
        self._handler = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._handler(scope, receive, send)
        except Refusal as refusal:
            await refuse(send, refusal.status, refusal.code, refusal.message)
        except Disconnected:
            return


class _Service:
    def __init__(self, backend: Backend, ping_interval: float, max_body: int, ready: Callable[[], bool] | None) -> None:
        self.streams = Streams()
        self._ready = ready
        self._backend = backend
        self._ping_interval = ping_interval
        self._max_body = max_body

    async def chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = time.perf_counter()
        request = await read_chat(Headers(scope=scope), receive, self._max_body)
        if self.streams.draining:
            raise Refusal(503, "the server is shutting down", Code.SHUTDOWN)
        stream = Stream(self._backend, request, arrived, self._ping_interval)
        await self.streams.run(stream, receive, send)

    async def cancel(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.streams.cancel(scope["path_params"]["id"]):
            raise Refusal(404, "no such stream is running", Code.NOT_FOUND)
        await reply(send, 204, None)

    async def warm(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._backend.warm(await read_chat(Headers(scope=scope), receive, self._max_body))
        await reply(send, 204, None)

    async def health(self, scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, 200, {"status": "ok"})

    async def readiness(self, scope: Scope, receive: Receive, send: Send) -> None:
        ready = not self.streams.draining and (self._ready is None or self._ready())
        await reply(send, 200 if ready else 503, {"status": "ready" if ready else "not ready"})
