"""One connection that reads a stream: a task writes the frames, beside one that waits for the client's disconnect and
one that fills silence with comments."""

from __future__ import annotations

import asyncio
import contextlib
import time

from starlette.types import Message, Receive, Send

from backends.errors import Code
from backends.events import Error
from backends.serve.replies import Header, refusal_of, refuse
from backends.serve.server_timing import server_timing
from backends.serve.stream import Stream
from backends.sse.encode import PING, frame

LAST_WORD_S = 1.0
_HEADERS = ((b"cache-control", b"no-store, no-transform"), (b"x-accel-buffering", b"no"))
_TAKEN_OVER = Error(Code.INTERRUPTED, "this stream is being read on another connection")


class Reader:
    """One connection that reads a stream."""

    def __init__(self, stream: Stream, ping_interval: float) -> None:
        self._stream = stream
        self._ping_interval = ping_interval
        self._writer: asyncio.Task[None] | None = None
        self._taken_over = self._complete = False
        self._started = asyncio.Event()
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

        async def noting(message: Message) -> None:
            self._last_sent = time.perf_counter()
            self._complete = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        async with asyncio.TaskGroup() as group:
            self._writer = group.create_task(self._write(noting, after))
            if self._taken_over:
                self._writer.cancel()
            beside = [group.create_task(self._watch(receive)), group.create_task(self._fill_silence(send))]
            await asyncio.wait([self._writer])
            for task in beside:
                task.cancel()
        if self._taken_over and not self._complete:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORD_S):  # a reader that does not read cannot hold us up
                    if not self._started.is_set():
                        await self._start(send)
                    last = frame(_TAKEN_OVER, self._stream.replay.last)
                    await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _write(self, send: Send, after: int) -> None:
        """The whole response. One that is live begins after a while even if there is nothing to say yet."""
        stream = self._stream
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._ping_interval if stream.wire.is_live else None):
                await stream.begun.wait()
        if stream.refused is not None:
            await refuse(send, refusal_of(stream.refused), self._own_headers())
            return
        await self._start(send)
        await stream.write(send, after)

    async def _start(self, send: Send) -> None:
        headers = [(b"content-type", self._stream.wire.content_type), *_HEADERS, *self._own_headers()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        self._started.set()

    def _own_headers(self) -> list[Header]:
        stream = self._stream
        headers = [(b"x-llmchat-id", stream.id.encode())]
        if timing := server_timing(stream.timeline, stream.now()):
            headers.append((b"server-timing", timing))
        if stream.wire.is_resumable:
            headers.append((b"x-llmchat-resume-grace", b"%g" % stream.grace))
        return headers

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.drop()

    async def _fill_silence(self, send: Send) -> None:
        await self._started.wait()
        while self._stream.wire.is_live:
            rest = self._ping_interval - (time.perf_counter() - self._last_sent)
            if rest > 0:
                await asyncio.sleep(rest)
            else:
                self._last_sent = time.perf_counter()
                await send({"type": "http.response.body", "body": PING, "more_body": True})
