"""A `Backend` that plays a script: the inner end for tests of what is built around a backend."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from backends.backend import ChatRequest
from backends.events import Done, Error, Event, Status, Token


class Hold:
    """A place in a script where the stream waits until `release` is called or it is closed.

    `reached` is set as soon as a stream waits there.
    """

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._released = asyncio.Event()

    def release(self) -> None:
        """Let the stream go on."""
        self._released.set()

    async def wait(self) -> None:
        """Wait at this place."""
        self.reached.set()
        await self._released.wait()


class Scripted:
    """Plays the same events for every request; a `Hold` among them stops it there, an exception is raised there.

    `requests` and `warmed` are what came in; `streaming` counts the streams that are open now, `ended` those that were
    read to their end and `cut` those that were closed or cancelled before it; `closed` tells that `aclose` was called.
    """

    def __init__(self, *script: Event | Hold | Exception) -> None:
        self.script = script
        self.requests: list[ChatRequest] = []
        self.warmed: list[ChatRequest] = []
        self.unreached: Error | None = None  # why a hint does not reach it
        self.streaming = 0
        self.ended = 0
        self.cut = 0
        self.closed = False

    def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Play the script."""
        self.requests.append(request)
        return self._play()

    async def warm(self, request: ChatRequest) -> Status | Error | None:
        """Remember `request`; what `unreached` says."""
        self.warmed.append(request)
        return self.unreached

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    async def _play(self) -> AsyncGenerator[Event, None]:
        self.streaming += 1
        finished = False
        try:
            for step in self.script:
                if isinstance(step, Hold):
                    await step.wait()
                elif isinstance(step, Exception):
                    raise step
                else:
                    yield step
            finished = True
        finally:
            self.streaming -= 1
            self.ended += finished
            self.cut += not finished


def answer(*pieces: str, latency: float = 1.0) -> tuple[Event, ...]:
    """The events of a plain answer: one token a piece, and Done."""
    return (*(Token(piece) for piece in pieces), Done(len(pieces), latency))
