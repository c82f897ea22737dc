"""All streams of the service: those that run, and those that a reader may come back to."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator

from starlette.types import Receive, Send

from backends.serve.reader import LAST_WORD_S, Reader
from backends.serve.stream import Stream

MAX_ENDED = 32 * 1024 * 1024
"""Bytes of answers that have ended and that all streams together keep for a reader who may have missed something."""


class Streams:
    """All streams by their unguessable id: those that run, and those that a reader may come back to.

    `draining`: no new ones are taken. `ping_interval`: seconds of silence after which whoever reads gets a comment.
    """

    def __init__(
        self,
        ping_interval: float,
        on_end: Callable[[Stream], None] = lambda _: None,
        *,
        read_grace: float = math.inf,
    ) -> None:
        """`on_end` is told of every stream that has had its last event. One whose reader was there for it is known for
        `read_grace` seconds more at most: he may have missed something all the same."""
        self.draining = False
        self._on_end = on_end
        self.ping_interval = ping_interval
        self._known: dict[str, Stream] = {}
        self._by_key: dict[tuple[bytes, str], Stream] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._readers: dict[str, Reader] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._read_grace = read_grace
        self._kept = 0  # bytes of the known ones that have ended
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        """Those that have not ended."""
        return len(self._running)

    def __iter__(self) -> Iterator[Stream]:
        """Those that have not ended."""
        return (self._known[stream_id] for stream_id in self._running if stream_id in self._known)

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
            self._by_key[stream.caller.owner, stream.request.key] = stream
        self._running[stream.id] = stream.start()
        self._running[stream.id].add_done_callback(lambda _: self._ended(stream))
        self._idle.clear()

    async def read(self, stream: Stream, receive: Receive, send: Send, after: int = 0) -> None:
        """Send the response with the frames behind number `after`, in the place of whoever read `stream` before."""
        if former := self._readers.get(stream.id):
            former.take_over()
        reader = self._readers[stream.id] = Reader(stream, self.ping_interval)
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
            if not await self._is_idle(LAST_WORD_S):
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
        grace = min(stream.grace, self._read_grace) if stream.ended else stream.grace
        self._timers[stream.id] = asyncio.get_running_loop().call_later(grace, self._forget, stream)
        self._look()

    def _ended(self, stream: Stream) -> None:
        del self._running[stream.id]
        self._on_end(stream)
        if stream.id in self._known:
            self._kept += stream.replay.kept
        for other in [*self._known.values()] if self._kept > MAX_ENDED else ():
            if other.ended and other.id not in self._readers and self._kept > MAX_ENDED:
                self._forget(other)
        self._look()

    def _forget(self, stream: Stream) -> None:
        """Nobody can come back to `stream`: it ends if it has not."""
        self._known.pop(stream.id)
        self._by_key.pop((stream.caller.owner, stream.request.key), None)
        self._timers.pop(stream.id).cancel()
        if stream.id in self._running:
            stream.end("disconnect")
        else:
            self._kept -= stream.replay.kept

    def _look(self) -> None:
        if not self._running and not self._readers:
            self._idle.set()
