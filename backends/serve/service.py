"""What the service does with a request: the native protocol, and the streams that any protocol here stands on."""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from backends.backend import Backend, ChatRequest
from backends.config import Serve, ServeTimeouts
from backends.errors import BackendError, Code
from backends.events import Error, name
from backends.serve.caller import Caller, caller_of
from backends.serve.endpoint import Endpoint, Handler
from backends.serve.guard import Access
from backends.serve.limits import Line, Quotas, check_size
from backends.serve.observer import Observer
from backends.serve.replay import Gone
from backends.serve.replies import Refusal, refusal_of, reply
from backends.serve.requests import last_event_id, read_chat
from backends.serve.stream import Stream
from backends.serve.streams import Streams
from backends.serve.wire import NativeWire, Wire
from backends.telemetry.timeline import Timeline

RESUME_GRACE = 10.0
"""Seconds for which a stream waits for a reader who lost the connection."""


INSIDE = Serve(
    max_messages=2**31,
    timeouts=ServeTimeouts(retrieval=0, reranking=0, context_assembly=0, idle=0, total=0),
)
"""For who is not reached by the public: whoever stands before it has the limits."""


class Service:
    """One backend and the streams from it. Its methods are ASGI handlers that may raise Refusal and Disconnected."""

    def __init__(
        self,
        backend: Backend,
        settings: Serve = INSIDE,
        *,
        access: Access,
        resume_grace: float = RESUME_GRACE,
        read_grace: float = math.inf,
        ready: Callable[[], bool] | None = None,
    ) -> None:
        self.settings = settings
        self.access = access
        self.streams = Streams(settings.ping_interval, self._ended, read_grace=read_grace)
        self.observers: list[Observer] = []
        self._backend = backend
        self._ready = ready
        self._resume_grace = resume_grace
        self._quotas = Quotas()
        self._line = Line(settings.max_running, settings.max_queue)

    def use(self, backend: Backend, settings: Serve, access: Access) -> Backend:
        """Answer with `backend`, within `settings`, to `access`, from now on. Returns the former backend, whose streams
        go on: what holds for streams holds for new ones."""
        former, self._backend = self._backend, backend
        self.settings, self.access = settings, access
        self.streams.ping_interval = settings.ping_interval
        self._line.resize(settings.max_running, settings.max_queue)
        return former

    def has_streams_of(self, backend: Backend) -> bool:
        """Whether answers of `backend` have not ended."""
        return any(stream.backend is backend for stream in self.streams)

    def route(self, method: str, path: str, handler: Handler) -> Route:
        """The route of a handler."""
        return Route(path, Endpoint(handler, self.refused), methods=[method])

    def refused(self, refusal: Refusal) -> None:
        """A request was refused."""
        for observer in self.observers:
            observer.refused(refusal)

    async def chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/chat."""
        headers = Headers(scope=scope)
        request = await read_chat(headers, receive, self.settings.max_body)
        caller = caller_of(scope)
        request = _of(caller, msgspec.structs.replace(request, key=headers.get("idempotency-key", request.key)))
        stream = self.streams.with_key(caller.owner, request.key)
        if stream is None:
            stream = self._begin(request, caller, NativeWire)
        elif stream.request != request:
            raise Refusal(422, "this Idempotency-Key was used for another request")
        await self._read(stream, 0, receive, send)

    async def answer(
        self,
        request: ChatRequest,
        make_wire: Callable[[str, Timeline], Wire],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Answer `request` in another form than the native one; who loses the connection loses the answer."""
        caller = caller_of(scope)
        stream = self._begin(_of(caller, request), caller, make_wire)
        await self.streams.read(stream, receive, send)

    async def resume(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /v1/chat/{id}/events."""
        after = last_event_id(scope)
        stream = self._find(scope)
        if not stream.wire.is_resumable:
            raise _no_such_stream()
        if after > stream.replay.last:
            raise Refusal(400, f"this stream has {stream.replay.last} events so far, not {after}")
        if stream.ended and after == stream.replay.last:
            await reply(send, 204, None)  # which tells an EventSource not to come back (WHATWG HTML, 9.2.2)
            return
        await self._read(stream, after, receive, send)

    async def cancel(self, scope: Scope, receive: Receive, send: Send) -> None:
        """DELETE /v1/chat/{id}."""
        stream = self._find(scope)
        if stream.ended:
            raise Refusal(404, "this stream has ended", Code.NOT_FOUND)
        stream.end("cancel")
        await reply(send, 204, None)

    async def warm(self, scope: Scope, receive: Receive, send: Send) -> None:
        """POST /v1/warm."""
        request = await read_chat(Headers(scope=scope), receive, self.settings.max_body, hint=True)
        check_size(request, self.settings)
        met = await self._backend.warm(_of(caller_of(scope), request))
        if met is None:
            await reply(send, 204, None)
        else:
            await reply(send, 200, {"event": name(met), "data": met})

    async def health(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /healthz."""
        await reply(send, 200, {"status": "ok"})

    async def readiness(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /readyz."""
        status = "shutting down" if self.streams.draining else await self._state()
        await reply(send, 200 if status == "ready" else 503, {"status": status})

    async def _state(self) -> str:
        """What a request would meet now: "ready", "loading", or why it would fail."""
        if self._ready is not None:
            return "ready" if self._ready() else "not ready"
        met = await self._backend.warm(ChatRequest(()))
        if met is None:
            return "ready"
        return met.message if isinstance(met, Error) else met.status

    def _begin(self, request: ChatRequest, caller: Caller, make_wire: Callable[[str, Timeline], Wire]) -> Stream:
        """A stream that has its place, or its place in the line. Raises Refusal."""
        if self.streams.draining:
            raise Refusal(503, "the server is shutting down", Code.SHUTDOWN, retry_after=1.0)
        check_size(request, self.settings)
        try:
            self._line.check()
        except BackendError as error:
            raise refusal_of(error.event()) from None
        self._quotas.enter(caller)
        stream = Stream(
            self._backend,
            request,
            caller,
            grace=self._resume_grace,
            make_wire=make_wire,
            line=self._line,
            timeouts=self.settings.timeouts,
        )
        self.streams.start(stream)
        return stream

    def _ended(self, stream: Stream) -> None:
        self._quotas.leave(stream.caller)
        for observer in self.observers:
            observer.ended(stream)

    async def _read(self, stream: Stream, after: int, receive: Receive, send: Send) -> None:
        try:
            stream.replay.after(after)
        except Gone:
            raise Refusal(410, f"what follows event {after} is no longer kept", Code.NOT_FOUND) from None
        await self.streams.read(stream, receive, send, after)

    def _find(self, scope: Scope) -> Stream:
        stream = self.streams.find(scope["path_params"]["id"], caller_of(scope).owner)
        if stream is None:
            raise _no_such_stream()
        return stream


def _no_such_stream() -> Refusal:
    return Refusal(404, "there is no such stream, or nobody came back to it in time", Code.NOT_FOUND)


def _of(caller: Caller, request: ChatRequest) -> ChatRequest:
    """`request` in its caller's partition of the caches. Without keys it is whoever stands before us that says it."""
    return msgspec.structs.replace(request, partition=caller.id) if caller.id else request
