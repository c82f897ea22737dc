"""The HTTP app around one backend: the native protocol (DESIGN.md, "Events").

    POST   /v1/chat              a ChatRequest as JSON -> the event stream; its id in `X-LLMChat-Id` and in the first
                                 event; how long it waits for a lost reader in `X-LLMChat-Resume-Grace`, in seconds.
                                 With the `Idempotency-Key` of a stream that is still there: that one, from its start
    GET    /v1/chat/{id}/events  the rest of a stream whose connection was lost, behind `Last-Event-ID` (or ?after=);
                                 204 when nothing is left of it, 404 when it is not there (any more), or somebody
                                 else's, 410 when what was missed is too long ago. Whoever read it before is ended
    DELETE /v1/chat/{id}         cancels: the stream ends with Done, finishReason "cancelled"
    POST   /v1/warm              a ChatRequest as JSON: this prefix is coming -> 204, or the event that a request would
                                 meet: {"event": "status", "data": {...}}
    GET    /healthz              200 while the process answers; needs no token
    GET    /readyz               200 when the backend can answer, else 503

The routes are plain ASGI: Starlette routes, and nothing of it stands in a token's way.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Protocol

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from backends.backend import Backend
from backends.errors import Code
from backends.events import name
from backends.serve.guard import Guard
from backends.serve.replay import Gone
from backends.serve.replies import refuse, reply
from backends.serve.requests import MAX_BODY, Disconnected, Refusal, last_event_id, read_chat
from backends.serve.streams import Stream, Streams

RESUME_GRACE = 10.0
"""Seconds for which a stream waits for a reader who lost the connection."""


def create_app(
    backend: Backend,
    *,
    token: str | None = None,
    hosts: frozenset[str] = frozenset(),
    ping_interval: float = 10.0,
    resume_grace: float = RESUME_GRACE,
    max_body: int = MAX_BODY,
    ready: Callable[[], bool] | None = None,
) -> Starlette:
    """The ASGI app that answers with `backend`, which stays the caller's to close.

    `token`: what clients must bring as a Bearer token. `hosts`: names that clients may use for this server, beside
    localhost and IP addresses. `ping_interval`: seconds of silence after which a comment goes out. `resume_grace`:
    seconds for which a stream waits for a reader who lost the connection; 0: it ends at once. `max_body`: bytes.
    `ready` tells whether a request would be worked on at once; without it the backend is taken to be ready.
    `app.state.streams` is the `Streams` that run.
    """
    service = _Service(backend, ping_interval, resume_grace, max_body, ready)
    app = Starlette(
        routes=[
            Route("/v1/chat", _Endpoint(service.chat), methods=["POST"]),
            Route("/v1/chat/{id}/events", _Endpoint(service.resume), methods=["GET"]),
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
    def __init__(
        self,
        backend: Backend,
        ping_interval: float,
        resume_grace: float,
        max_body: int,
        ready: Callable[[], bool] | None,
    ) -> None:
        self.streams = Streams(ping_interval)
        self._ready = ready
        self._backend = backend
        self._resume_grace = resume_grace
        self._max_body = max_body

    async def chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived = time.perf_counter()
        headers = Headers(scope=scope)
        request = await read_chat(headers, receive, self._max_body)
        if self.streams.draining:
            raise Refusal(503, "the server is shutting down", Code.SHUTDOWN)
        request = msgspec.structs.replace(request, key=headers.get("idempotency-key", request.key))
        owner = _owner(headers)
        stream = self.streams.with_key(owner, request.key)
        if stream is None:
            stream = Stream(self._backend, request, arrived, owner, self._resume_grace)
            self.streams.start(stream)
        elif stream.request != request:
            raise Refusal(422, "this Idempotency-Key was used for another request")
        await self._read(stream, 0, receive, send)

    async def resume(self, scope: Scope, receive: Receive, send: Send) -> None:
        after = last_event_id(scope)
        stream = self._find(scope)
        if after > stream.replay.last:
            raise Refusal(400, f"this stream has {stream.replay.last} events so far, not {after}")
        if stream.ended and after == stream.replay.last:
            await reply(send, 204, None)  # which tells an EventSource not to come back (WHATWG HTML, 9.2.2)
            return
        await self._read(stream, after, receive, send)

    async def cancel(self, scope: Scope, receive: Receive, send: Send) -> None:
        stream = self._find(scope)
        if stream.ended:
            raise Refusal(404, "this stream has ended", Code.NOT_FOUND)
        stream.end("cancel")
        await reply(send, 204, None)

    async def _read(self, stream: Stream, after: int, receive: Receive, send: Send) -> None:
        try:
            stream.replay.after(after)
        except Gone:
            raise Refusal(410, f"what follows event {after} is no longer kept", Code.NOT_FOUND) from None
        await self.streams.read(stream, receive, send, after)

    def _find(self, scope: Scope) -> Stream:
        stream = self.streams.find(scope["path_params"]["id"], _owner(Headers(scope=scope)))
        if stream is None:
            raise Refusal(404, "there is no such stream, or nobody came back to it in time", Code.NOT_FOUND)
        return stream

    async def warm(self, scope: Scope, receive: Receive, send: Send) -> None:
        met = await self._backend.warm(await read_chat(Headers(scope=scope), receive, self._max_body, hint=True))
        if met is None:
            await reply(send, 204, None)
        else:
            await reply(send, 200, {"event": name(met), "data": met})

    async def health(self, scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, 200, {"status": "ok"})

    async def readiness(self, scope: Scope, receive: Receive, send: Send) -> None:
        ready = not self.streams.draining and (self._ready is None or self._ready())
        await reply(send, 200 if ready else 503, {"status": "ready" if ready else "not ready"})


def _owner(headers: Headers) -> bytes:
    """Whose streams a request may touch: those of who brings the same key."""
    return hashlib.sha256(headers.get("authorization", "").encode()).digest()
