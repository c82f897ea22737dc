"""The streams that run: each one's way from the backend to its reader, and the ways in which it ends early.

A stream outlives the connection that asked for it. One task per stream pulls the backend's events and keeps their
frames; one per connection writes them, beside a task that waits for the client's disconnect and one that fills silence
with comments. A slow reader stops the backend's iterator: what was not written is bounded (`MAX_UNREAD`, and the
server's write buffer of 64 KiB).

Whose connection is lost has `grace` seconds to come back. Meanwhile a backend that can stand still does so; any other
is closed at once, since it would work, and cost, for nobody. What was not read is kept for as long in either case.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import secrets
import time
from contextlib import aclosing
from typing import Literal

import msgspec
from starlette.types import Message, Receive, Send

from backends.backend import Backend, ChatRequest, pausable
from backends.errors import BackendError, Code
from backends.events import Done, Error, Event, Meta, Token, is_terminal
from backends.serve.replay import Replay
from backends.sse.encode import PING, frame

_log = logging.getLogger(__name__)

MAX_UNREAD = 64 * 1024
"""Bytes that wait for a reader before the backend does."""

MAX_ENDED = 32 * 1024 * 1024
"""Bytes of answers that have ended and that all streams together keep for a reader who may have missed something."""

_LAST_WORD_S = 1.0
_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
)
_TAKEN_OVER = Error(Code.INTERRUPTED, "this stream is being read on another connection")

Ending = Literal["disconnect", "cancel", "shutdown"]


class Stream:
    """One answer, from its request to its terminal event; all its times count from `arrived`, `time.perf_counter()`
    when the request came.

    `owner` is who may read and cancel it. `grace`: seconds for which it waits for a reader to come back.
    """

    def __init__(self, backend: Backend, request: ChatRequest, arrived: float, owner: bytes, grace: float) -> None:
        self.id = secrets.token_urlsafe(24)
        self.request = request
        self.owner = owner
        self.grace = grace
        self.ended = False
        self.parked = False
        self._backend = backend
        self._pausable = pausable(backend) if grace else None
        self._arrived = arrived
        self._ending: Ending | None = None
        self._pump: asyncio.Task[None] | None = None
        self._tokens = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self.replay = Replay()
        self._append(Meta(request_id=self.id, latency=self._now()))

    def belongs_to(self, owner: bytes) -> bool:
        """Whether `owner` asked for it."""
        return hmac.compare_digest(self.owner, owner)

    def start(self) -> asyncio.Task[None]:
        """Begin to pull the backend's events. The task never fails; when it is done the stream has ended."""
        self._pump = asyncio.create_task(self._forward(), name=f"stream {self.id[:6]}")
        self._pump.add_done_callback(self._conclude)
        return self._pump

    def end(self, how: Ending) -> None:
        """End early: the backend's iterator is closed now, whatever it is waiting for. The first way counts."""
        if self._ending is None and self._pump is not None:
            self._ending = how
            self._pump.cancel()

    def leave(self) -> None:
        """The reader is gone: stand still until he is back, or, where the backend cannot, end."""
        if self.ended:
            return
        if self._pausable is None:
            self.end("disconnect")
        else:
            self.parked = True
            self._pausable.pause(self.id)

    def come_back(self) -> None:
        """There is a reader: go on."""
        if self.parked and self._pausable is not None:
            self.parked = False
            self._pausable.resume(self.id)

    async def write(self, send: Send, after: int) -> None:
        """Send the frames behind number `after` as they come, to the end. Raises Gone."""
        more = True
        while more:
            self.replay.read(after)
            self._room.set()
            self._news.clear()
            frames, after, more = self.replay.after(after), self.replay.last, not self.ended
            if frames or not more:
                await send({"type": "http.response.body", "body": b"".join(frames), "more_body": more})
            else:
                await self._news.wait()

    def _conclude(self, pump: asyncio.Task[None]) -> None:
        """The pump is done: the last word of a stream that was ended here."""
        if self.parked and self._pausable is not None:
            self._pausable.resume(self.id)
        if not self.ended:
            match self._ending:
                case "cancel":
                    self._append(Done(self._tokens, self._now(), "cancelled"))
                case "disconnect":
                    lost = "the connection to the reader was lost, and the answer was not continued"
                    self._append(Error(Code.INTERRUPTED, lost, retryable=True))
                case _:
                    self._append(Error(Code.SHUTDOWN, "the server is shutting down", retryable=True))

    async def _forward(self) -> None:
        """The backend's events until the terminal one; the boundary at which its defects become an event."""
        try:
            called = self._now()
            # The stream's own id makes the key unique, by which the backend is paused.
            request = msgspec.structs.replace(self.request, key=self.id)
            async with aclosing(self._backend.stream(request)) as events:
                async for event in events:
                    self._append(self._on_our_clock(event, called))
                    if self.ended:
                        return
                    await self._until_read()
            failure = Error(Code.INTERRUPTED, "the backend's stream ended without saying so", retryable=True)
        except BackendError as error:
            failure = error.event()
        except Exception:  # noqa: BLE001
            _log.exception("request %s: the backend failed unexpectedly", self.id)
            failure = Error(Code.INTERNAL, f"the server failed unexpectedly; its log has request {self.id}")
        self._append(failure)

    async def _until_read(self) -> None:
        while self.replay.unread > MAX_UNREAD:
            self._room.clear()
            await self._room.wait()

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

    def _append(self, event: Event) -> None:
        self.replay.append(frame(event, self.replay.last + 1))
        self.ended = is_terminal(event)
        self._news.set()

    def _now(self) -> float:
        return (time.perf_counter() - self._arrived) * 1000


class Reader:
    """One connection that reads a stream."""

    def __init__(self, stream: Stream, ping_interval: float) -> None:
        self._stream = stream
        self._ping_interval = ping_interval
        self._writer: asyncio.Task[None] | None = None
        self._taken_over = False
        self._last_sent = 0.0

    def take_over(self) -> None:
        """Another connection reads from now on; this one is told so, and ends."""
        self._taken_over = True
        self.drop()

    def drop(self) -> None:
        """End, without another word."""
        if self._writer is not None:
            self._writer.cancel()

    async def read(self, receive: Receive, send: Send, after: int) -> None:
        """Send the response, with the frames behind number `after`, until the stream or the connection ends."""
        grace = b"%g" % self._stream.grace
        own = [(b"x-llmchat-id", self._stream.id.encode()), (b"x-llmchat-resume-grace", grace)]

        async def noting(message: Message) -> None:
            self._last_sent = time.perf_counter()
            await send(message)

        await noting({"type": "http.response.start", "status": 200, "headers": [*_HEADERS, *own]})
        async with asyncio.TaskGroup() as group:
            self._writer = group.create_task(self._stream.write(noting, after))
            if self._taken_over:
                self._writer.cancel()
            beside = [group.create_task(self._watch(receive)), group.create_task(self._fill_silence(send))]
            await asyncio.wait([self._writer])
            for task in beside:
                task.cancel()
        if self._taken_over:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORD_S):  # a reader that does not read cannot hold us up
                    last = frame(_TAKEN_OVER, self._stream.replay.last)
                    await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.drop()

    async def _fill_silence(self, send: Send) -> None:
        while True:
            rest = self._ping_interval - (time.perf_counter() - self._last_sent)
            if rest > 0:
                await asyncio.sleep(rest)
            else:
                self._last_sent = time.perf_counter()
                await send({"type": "http.response.body", "body": PING, "more_body": True})


class Streams:
    """All streams by their unguessable id: those that run, and those that a reader may come back to.

    `draining`: no new ones are taken.
    """

    def __init__(self, ping_interval: float) -> None:
        self.draining = False
        self._ping_interval = ping_interval
        self._known: dict[str, Stream] = {}
        self._by_key: dict[tuple[bytes, str], Stream] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._readers: dict[str, Reader] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._kept = 0  # bytes of the known ones that have ended
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        """Those that have not ended."""
        return len(self._running)

    def find(self, stream_id: str, owner: bytes) -> Stream | None:
        """The stream `stream_id`, if there is one and `owner` asked for it."""
        stream = self._known.get(stream_id)
        return stream if stream is not None and stream.belongs_to(owner) else None

    def with_key(self, owner: bytes, key: str) -> Stream | None:
        """The stream that `owner` asked for with the idempotency key `key`."""
        return self._by_key.get((owner, key)) if key else None

    def start(self, stream: Stream) -> None:
        """Begin `stream`; to be followed by `read`."""
        self._known[stream.id] = stream
        if stream.request.key:
            self._by_key[stream.owner, stream.request.key] = stream
        self._running[stream.id] = stream.start()
        self._running[stream.id].add_done_callback(lambda _: self._ended(stream))
        self._idle.clear()

    async def read(self, stream: Stream, receive: Receive, send: Send, after: int = 0) -> None:
        """Send the response with the frames behind number `after`, in the place of whoever read `stream` before."""
        if former := self._readers.get(stream.id):
            former.take_over()
        reader = self._readers[stream.id] = Reader(stream, self._ping_interval)
        self._idle.clear()
        if timer := self._timers.pop(stream.id, None):
            timer.cancel()
        stream.come_back()
        try:
            await reader.read(receive, send, after)
        finally:
            if self._readers.get(stream.id) is reader:
                del self._readers[stream.id]
                self._leave(stream)

    async def drain(self, grace: float) -> None:
        """Take no new streams, let the running ones finish for `grace` seconds, then end them with SHUTDOWN."""
        self.draining = True
        for stream in self._known.values():
            if stream.parked:
                stream.end("shutdown")
        try:
            if await self._is_idle(grace):
                return
            for stream in self._known.values():
                stream.end("shutdown")
            if not await self._is_idle(_LAST_WORD_S):
                for reader in self._readers.values():
                    reader.drop()
                await self._idle.wait()
        finally:
            for timer in self._timers.values():
                timer.cancel()

    async def _is_idle(self, within: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._idle.wait()
        return self._idle.is_set()

    def _leave(self, stream: Stream) -> None:
        """`stream` has no reader any more."""
        if self.draining:
            stream.end("shutdown")
        stream.leave()
        self._timers[stream.id] = asyncio.get_running_loop().call_later(stream.grace, self._forget, stream)
        self._look()

    def _ended(self, stream: Stream) -> None:
        del self._running[stream.id]
        if stream.id in self._known:
            self._kept += stream.replay.kept
        for other in [*self._known.values()] if self._kept > MAX_ENDED else ():
            if other.ended and other.id not in self._readers and self._kept > MAX_ENDED:
                self._forget(other)
        self._look()

    def _forget(self, stream: Stream) -> None:
        """Nobody can come back to `stream`: it ends if it has not."""
        self._known.pop(stream.id)
        self._by_key.pop((stream.owner, stream.request.key), None)
        self._timers.pop(stream.id).cancel()
        if stream.id in self._running:
            stream.end("disconnect")
        else:
            self._kept -= stream.replay.kept

    def _look(self) -> None:
        if not self._running and not self._readers:
            self._idle.set()
