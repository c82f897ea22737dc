"""One answer's way from the backend to its frames, and the ways in which it ends early.

A stream outlives the connection that asked for it. One task pulls the backend's events and keeps their frames
(`replay`) for whoever reads them (reader.py). A slow reader stops the backend's iterator: what was not written is
bounded (`MAX_UNREAD`, and the server's write buffer of 64 KiB).

Whose connection is lost has `grace` seconds to come back. Meanwhile a backend that can stand still does so; any other
is closed at once, since it would work, and cost, for nobody. What was not read is kept for as long in either case.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Literal

import msgspec
from starlette.types import Send

from backends.backend import Backend, ChatRequest, pausable
from backends.config import ServeTimeouts
from backends.errors import BackendError, Code
from backends.events import Done, Error, Event, Meta, Status, Token, is_terminal
from backends.serve.caller import Caller
from backends.serve.limits import Line
from backends.serve.replay import Replay
from backends.serve.watchdog import Watchdog, next_deadline
from backends.serve.wire import Wire
from backends.telemetry.stages import Span
from backends.telemetry.timeline import Asked, Timeline

_log = logging.getLogger(__name__)

MAX_UNREAD = 64 * 1024
"""Bytes that wait for a reader before the backend does."""

Ending = Literal["disconnect", "cancel", "shutdown", "timeout"]


class Stream:
    """One answer, from its request to its terminal event; all its times count from the request's arrival.

    `caller` asked for it, and may read and cancel it. `grace`: seconds for which it waits for a reader to come back.
    `timeline` has what happened so far. `begun` is set when there is a first frame, or an end without one. `refused` is
    the `Error` that it ended with before it had said anything.
    """

    def __init__(
        self,
        backend: Backend,
        request: ChatRequest,
        caller: Caller,
        grace: float = 0.0,
        *,
        make_wire: Callable[[str, Timeline], Wire],
        line: Line,
        timeouts: ServeTimeouts,
    ) -> None:
        """`make_wire` gets the stream's id and its timeline. `line`: where it gets its place."""
        self.id = secrets.token_urlsafe(24)
        self.request = request
        self.caller = caller
        self.timeline = Timeline(asked=Asked(feature=request.feature, token_limit=request.token_limit))
        self.wire = make_wire(self.id, self.timeline)
        self.grace = grace if self.wire.is_resumable else 0.0
        self.begun = asyncio.Event()
        self.ended = False
        self.refused: Error | None = None
        self.parked = False
        self.backend = backend
        self._pausable = pausable(backend) if self.grace else None
        self.ending: Ending | None = None
        self._late: Error | None = None
        self._line = line
        self._timeouts = timeouts
        self._queued_ms: float | None = None
        self._active_ms: float | None = 0.0
        self._watchdog = Watchdog(self._deadline, self._end_late)
        self._pump: asyncio.Task[None] | None = None
        self._tokens = 0
        self._said = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self.replay = Replay()
        auth = () if caller.auth_ms is None else (Span("auth", 0.0, caller.auth_ms),)
        self._append(Meta(request_id=self.id, latency=self.now(), spans=auth))

    def belongs_to(self, owner: bytes) -> bool:
        """Whether `owner` asked for it."""
        return hmac.compare_digest(self.caller.owner, owner)

    def now(self) -> float:
        """Milliseconds since the request arrived."""
        return (time.perf_counter() - self.caller.arrived) * 1000

    def start(self) -> asyncio.Task[None]:
        """Begin to pull the backend's events. The task never fails; when it is done the stream has ended."""
        self._pump = asyncio.create_task(self._forward(), name=f"stream {self.id[:6]}")
        self._pump.add_done_callback(self._conclude)
        self._watchdog.look()
        return self._pump

    def end(self, how: Ending) -> None:
        """End early: the backend's iterator is closed now, whatever it is waiting for. The first way counts."""
        if self.ending is None and self._pump is not None:
            self.ending = how
            self._pump.cancel()

    def leave(self) -> None:
        """The reader is gone: stand still until he is back, or, where the backend cannot, end."""
        if self.ended:
            return
        if self._pausable is None:
            self.end("disconnect")
        else:
            self.parked = True
            self._stand(still=True)
            self._pausable.pause(self.id)
            self._line.call_next()

    def give_way(self) -> None:
        """See `Holder`."""
        self.end("disconnect")

    def come_back(self) -> None:
        """There is a reader: go on."""
        if self.parked and self._pausable is not None:
            self.parked = False
            self._stand(still=False)
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
        self._watchdog.close()
        if self.parked and self._pausable is not None:
            self._pausable.resume(self.id)
        if not self.ended:
            match self.ending:
                case "cancel":
                    self._append(Done(self._tokens, self.now(), "cancelled"))
                case "timeout" if self._late is not None:
                    self._append(self._late)
                case "disconnect":
                    lost = "the connection to the reader was lost, and the answer was not continued"
                    self._append(Error(Code.INTERRUPTED, lost, retryable=True))
                case _:
                    self._append(Error(Code.SHUTDOWN, "the server is shutting down", retryable=True))

    async def _forward(self) -> None:
        """The backend's events until the terminal one; the boundary at which its defects become an event."""
        try:
            async with self._line.place(self._tell_place, self):
                await self._answer()
        except BackendError as error:
            self._fail(error.event())
        except Exception:  # noqa: BLE001
            _log.exception("request %s: the backend failed unexpectedly", self.id)
            self._fail(Error(Code.INTERNAL, f"the server failed unexpectedly; its log has request {self.id}"))

    async def _answer(self) -> None:
        """The backend's events. Raises what the backend raises."""
        called = self.now()
        self._leave_line(called)
        # The stream's own id makes the key unique, by which the backend is paused.
        request = msgspec.structs.replace(self.request, key=self.id)
        async with aclosing(self.backend.stream(request)) as events:
            async for event in events:
                self._append(self._on_our_clock(event, called))
                if self.ended:
                    return
                await self._until_read()
        self._fail(Error(Code.INTERRUPTED, "the backend's stream ended without saying so", retryable=True))

    def _fail(self, error: Error) -> None:
        if not self.ended:
            self._append(error)

    def _tell_place(self, place: int) -> None:
        self._queued_ms = self.now() if self._queued_ms is None else self._queued_ms
        self._append(Status("queued", position=place))

    def _leave_line(self, now: float) -> None:
        if self._queued_ms is not None:
            waited = Span("provider_queue", self._queued_ms, now - self._queued_ms)
            self._append(Meta(latency=now, spans=(waited,)))

    async def _until_read(self) -> None:
        while self.replay.unread > MAX_UNREAD:
            self._stand(still=True)
            self._room.clear()
            await self._room.wait()
            self._stand(still=self.parked)

    def _stand(self, *, still: bool) -> None:
        """Whether the backend is kept from saying anything by a reader that is slow, or away."""
        self._active_ms = None if still else self.now()
        self._watchdog.look()

    def _deadline(self) -> tuple[float, Error] | None:
        due = next_deadline(self._timeouts, self.timeline, self._active_ms)
        return None if due is None else ((due[0] - self.now()) / 1000, due[1])

    def _end_late(self, error: Error) -> None:
        self._late = error
        self.end("timeout")

    def _on_our_clock(self, event: Event, called: float) -> Event:
        """The backend counts from its call, the wire from the request's arrival `called` milliseconds before."""
        match event:
            case Token():
                self._tokens += event.count
            case Meta():
                spans = tuple(self._with_our_line(span.shifted(called)) for span in event.spans)
                return msgspec.structs.replace(event, latency=self.now(), spans=spans)
            case Done():
                return msgspec.structs.replace(event, latency=self.now())
        return event

    def _with_our_line(self, span: Span) -> Span:
        """A queue behind ours: they are one stage."""
        if self._queued_ms is None or span.stage != "provider_queue":
            return span
        return Span(span.stage, self._queued_ms, span.end - self._queued_ms, span.by)

    def _append(self, event: Event) -> None:
        now = self.now()
        self.timeline.add(event, now)
        if self._active_ms is not None:
            self._active_ms = now
        if isinstance(event, Status) or self.timeline.first_token_ms == now:
            self._watchdog.look()
        if data := self.wire.frame(event, self.replay.last + 1):
            self.replay.append(data)
            self.begun.set()
        if is_terminal(event):
            self.ended = True
            self.begun.set()
        if isinstance(event, Error):
            self.refused = None if self._said else event
        self._said = self._said or bool(data)
        self._news.set()
