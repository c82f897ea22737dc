"""What one request may ask for, what one key may ask for, and how many are answered at a time."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from backends.backend import ChatRequest
from backends.config import Serve
from backends.errors import BackendError, Code
from backends.rag.tokens import estimate_tokens
from backends.serve.caller import Caller
from backends.serve.replies import Refusal

_COME_BACK_S = 1.0


def check_size(request: ChatRequest, limits: Serve) -> None:
    """Raises Refusal for a request that is larger than `limits` allow. A prompt's tokens are estimated."""
    if len(request.messages) > limits.max_messages:
        raise Refusal(
            413, f"the request has {len(request.messages):,} messages, at most {limits.max_messages:,} are taken"
        )
    if limits.max_tokens and (request.max_tokens or 0) > limits.max_tokens:
        raise Refusal(400, f"max_tokens is {request.max_tokens:,}, at most {limits.max_tokens:,} are given here")
    if limits.max_prompt_tokens:
        tokens = sum(
            estimate_tokens(message.content) + sum(estimate_tokens(source.snippet) for source in message.sources)
            for message in request.messages
        )
        if tokens > limits.max_prompt_tokens:
            raise Refusal(
                413, f"the prompt has about {tokens:,} tokens, at most {limits.max_prompt_tokens:,} are taken"
            )


class Quotas:
    """How often each key may ask, and how many of its streams may run at once.

    The rate is a bucket: a key may ask for a minute's worth at once, and then as fast as the bucket fills again.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # by key: requests left, when that was so
        self._running: dict[str, int] = {}

    def enter(self, caller: Caller) -> None:
        """Count one request of `caller`, whose stream begins. Raises Refusal (429)."""
        if not caller.id:
            return
        if caller.concurrency and self._running.get(caller.id, 0) >= caller.concurrency:
            message = f"this key has {caller.concurrency} answers running, which is all that it may have at a time"
            raise Refusal(429, message, Code.OVERLOADED, retry_after=_COME_BACK_S)
        if caller.requests_per_minute:
            self._take(caller.id, caller.requests_per_minute)
        self._running[caller.id] = self._running.get(caller.id, 0) + 1

    def leave(self, caller: Caller) -> None:
        """A stream of `caller` has ended."""
        left = self._running.get(caller.id, 0) - 1
        if left > 0:
            self._running[caller.id] = left
        else:
            self._running.pop(caller.id, None)

    def _take(self, key: str, per_minute: int) -> None:
        now = self._clock()
        left, since = self._buckets.get(key, (float(per_minute), now))
        left = min(float(per_minute), left + (now - since) * per_minute / 60)
        if left < 1:
            wait = (1 - left) * 60 / per_minute
            message = f"this key may ask {per_minute} times a minute; try again in {wait:.1f} s"
            raise Refusal(429, message, Code.OVERLOADED, retry_after=wait)
        self._buckets[key] = left - 1, now


class Line:
    """Answers made at the same time, and the bounded line of those who wait for that, first come first served."""

    def __init__(self, max_running: int, max_queue: int) -> None:
        """`max_running` 0: no bound, and so no line. `max_queue`: how many may wait."""
        self._max_running = max_running
        self._max_queue = max_queue
        self._running = 0
        self._waiting: deque[tuple[asyncio.Event, Callable[[int], None]]] = deque()

    def resize(self, max_running: int, max_queue: int) -> None:
        """Other bounds; nobody who is in is put out."""
        self._max_running, self._max_queue = max_running, max_queue
        self._call_next()

    def check(self) -> None:
        """Raises BackendError (OVERLOADED) when there is no place in the line either."""
        if self._is_full and len(self._waiting) >= self._max_queue:
            message = f"the server is busy: {self._running} are being answered and {len(self._waiting)} wait already"
            raise BackendError(Code.OVERLOADED, message, retryable=True, retry_after=_COME_BACK_S)

    @asynccontextmanager
    async def place(self, tell: Callable[[int], None]) -> AsyncIterator[None]:
        """Wait for one's turn, and hold it. `tell` gets the place in the line, from 1, whenever it changes.

        Raises BackendError (OVERLOADED).
        """
        self.check()
        if self._is_full or self._waiting:
            await self._wait(tell)
        else:
            self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._call_next()

    @property
    def _is_full(self) -> bool:
        return bool(self._max_running) and self._running >= self._max_running

    async def _wait(self, tell: Callable[[int], None]) -> None:
        turn = asyncio.Event()
        entry = (turn, tell)
        self._waiting.append(entry)
        tell(len(self._waiting))
        try:
            await turn.wait()
        except asyncio.CancelledError:
            if turn.is_set():  # called and gone in the same moment: the next one's turn
                self._running -= 1
                self._call_next()
            else:
                self._waiting.remove(entry)
                self._tell_places()
            raise

    def _call_next(self) -> None:
        called = False
        while self._waiting and not self._is_full:
            turn, _ = self._waiting.popleft()
            self._running += 1
            turn.set()
            called = True
        if called:
            self._tell_places()

    def _tell_places(self) -> None:
        for place, (_, tell) in enumerate(self._waiting, 1):
            tell(place)
