"""A `Backend` that answers with the words of the last message, so that mixed-up streams show."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

from backends.backend import ChatRequest
from backends.events import Done, Error, Event, Meta, Status, Token
from backends.telemetry.stages import Span


class Echo:
    """One token a word; "forever" stops after the first word until the stream is closed.

    `streaming` counts the streams that are open now.
    """

    def __init__(self) -> None:
        self.streaming = 0
        self._closed = asyncio.Event()

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        """Echo the last message; what stands before "Question: " (retrieved sources) is left out."""
        called = time.perf_counter()

        def now() -> float:
            return (time.perf_counter() - called) * 1000

        words = request.messages[-1].content.rpartition("Question: ")[2].split()
        self.streaming += 1
        try:
            yield Status("prefilling", total=len(words))
            yield Meta("echo", now(), prompt_tokens=len(words), spans=(Span("prefill", 0.0, now()),))
            for number, word in enumerate(words):
                await asyncio.sleep(0)
                yield Token(f" {word}" if number else word)
                if words[0] == "forever":
                    await self._closed.wait()
                    yield Error("SHUTDOWN", "the echo was closed")
                    return
            yield Meta(latency=now(), completion_tokens=len(words))
            yield Done(len(words), now())
        finally:
            self.streaming -= 1

    async def warm(self, request: ChatRequest) -> None:
        """Nothing to warm."""

    async def aclose(self) -> None:
        """End what goes on for ever."""
        self._closed.set()
