"""The streams that run: each one's way from the backend to the socket, and the three ways in which it ends early.

One task per stream pulls events and writes them; there is no queue between, so a slow reader stops the backend's
iterator (the server's write buffer holds 64 KiB) and memory stays bounded. Beside it, one task waits for the client's
disconnect and one fills silence with comments.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from contextlib import aclosing
from typing import Literal

import msgspec
from starlette.types import Receive, Send

from backends.backend import Backend, ChatRequest
from backends.errors import BackendError, Code
from backends.events import Done, Error, Event, Meta, Token, is_terminal
from backends.sse.encode import PING, frame

_log = logging.getLogger(__name__)

_LAST_WORD_S = 1.0
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)

Ending = Literal["disconnect", "cancel", "shutdown"]


class Stream:
    """One answer on its way out; all its times count from `arrived`, `time.perf_counter()` when the request came."""

    def __init__(self, backend: Backend, request: ChatRequest, arrived: float, ping_interval: float) -> None:
        self.id = secrets.token_urlsafe(24)
        self._backend = backend
        self._request = request
        self._arrived = arrived
        self._ping_interval = ping_interval
        self._ending: Ending | None = None
        self._pump: asyncio.Task[None] | None = None
        self._number = 0
        self._tokens = 0
        self._last_sent = 0.0

    def end(self, how: Ending) -> None:
        """End early: the backend's iterator is closed now, whatever it is waiting for. The first way counts."""
        if self._ending is None:
            self._ending = how
            if self._pump is not None:
                self._pump.cancel()

    async def run(self, receive: Receive, send: Send) -> None:
        """Send the whole response."""
        headers = [*_HEADERS, (b"x-llmchat-id", self.id.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send(send, Meta(request_id=self.id, latency=self._now()))
        async with asyncio.TaskGroup() as group:
            self._pump = group.create_task(self._forward(send))
            beside = [group.create_task(self._watch(receive)), group.create_task(self._fill_silence(send))]
            if self._ending is not None:
                self._pump.cancel()
            await asyncio.wait([self._pump])
            for task in beside:
                task.cancel()
        if self._pump.cancelled():
            await self._say_why(send)

    async def _say_why(self, send: Send) -> None:
        """The terminal event of a stream that was ended here; nothing for a client that has gone."""
        if self._ending == "cancel":
            last: Event = Done(self._tokens, self._now(), "cancelled")
        elif self._ending == "shutdown":
            last = Error(Code.SHUTDOWN, "the server is shutting down", retryable=True)
        else:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORD_S):  # a reader that does not read cannot hold us up
                await self._send(send, last)

    async def _forward(self, send: Send) -> None:
        """The backend's events until the terminal one; the boundary at which its defects become an event."""
        try:
            called = self._now()
            async with aclosing(self._backend.stream(self._request)) as events:
                async for event in events:
                    await self._send(send, self._on_our_clock(event, called))
                    if is_terminal(event):
                        return
            failure = Error(Code.INTERRUPTED, "the backend's stream ended without saying so", retryable=True)
        except BackendError as error:
            failure = error.event()
        except Exception:  # noqa: BLE001
            _log.exception("request %s: the backend failed unexpectedly", self.id)
            failure = Error(Code.INTERNAL, f"the server failed unexpectedly; its log has request {self.id}")
        await self._send(send, failure)

    def _on_our_clock(self, event: Event, called: float) -> Event:
        """The backend counts from its call, the wire from the request's arrival `called` milliseconds before."""
        match event:
            case Token():
                self._tokens += event.count
            case Meta():
                spans = tuple(span.shifted(called) for span in event.spans)
                return msgspec.structs.replace(event, latency=self._now(), spans=spans)
            case Done():
                return msgspec.structs.replace(event, latency=self._now())
        return event

    async def _send(self, send: Send, event: Event) -> None:
        self._number += 1
        self._last_sent = time.perf_counter()
        body = frame(event, self._number)
        await send({"type": "http.response.body", "body": body, "more_body": not is_terminal(event)})

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end("disconnect")

    async def _fill_silence(self, send: Send) -> None:
        while True:
            rest = self._ping_interval - (time.perf_counter() - self._last_sent)
            if rest > 0:
                await asyncio.sleep(rest)
            else:
                self._last_sent = time.perf_counter()
                await send({"type": "http.response.body", "body": PING, "more_body": True})

    def _now(self) -> float:
        return (time.perf_counter() - self._arrived) * 1000


class Streams:
    """All streams that run, by their unguessable id. `draining`: no new ones are taken."""

    def __init__(self) -> None:
        self.draining = False
        self._running: dict[str, Stream] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._running)

    async def run(self, stream: Stream, receive: Receive, send: Send) -> None:
        """Run `stream` to its end, known by its id meanwhile."""
        self._running[stream.id] = stream
        self._empty.clear()
        try:
            await stream.run(receive, send)
        finally:
            del self._running[stream.id]
            if not self._running:
                self._empty.set()

    def cancel(self, stream_id: str) -> bool:
        """Cancel the stream `stream_id`; False when no such stream runs."""
        stream = self._running.get(stream_id)
        if stream is not None:
            stream.end("cancel")
        return stream is not None

    async def drain(self, grace: float) -> None:
        """Take no new streams, let the running ones finish for `grace` seconds, then end them with SHUTDOWN."""
        self.draining = True
        try:
            async with asyncio.timeout(grace):
                await self._empty.wait()
        except TimeoutError:
            for stream in self._running.values():
                stream.end("shutdown")
            await self._empty.wait()
