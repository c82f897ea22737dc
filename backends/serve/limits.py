"""What one request may ask for, what one key may ask for, and how many are answered at a time."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

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


class Holder(Protocol):
    """Who has a place among those that are answered. `parked`: he stands still, for a reader who is away."""

    @property
    def parked(self) -> bool: ...

    def give_way(self) -> None:
        """His place is somebody else's; he is to end."""
        ...


class _Entry:
    """One who waits, or has a place."""

    def __init__(self, tell: Callable[[int], None], holder: Holder | None) -> None:
        self.tell = tell
        self.holder = holder
        self.turn = asyncio.Event()

    @property
    def stands_still(self) -> bool:
        return self.holder is not None and self.holder.parked


class Line:
    """Answers made at the same time, and the bounded line of those who wait for that, first come first served.

    Who stands still gives way to who waits.
    """

    def __init__(self, max_running: int, max_queue: int) -> None:
        """`max_running` 0: no bound, and so no line. `max_queue`: how many may wait."""
        self._max_running = max_running
        self._max_queue = max_queue
        self._running: dict[_Entry, None] = {}  # in the order in which they came
        self._waiting: deque[_Entry] = deque()

    def resize(self, max_running: int, max_queue: int) -> None:
        """Other bounds; nobody who is in is put out."""
        self._max_running, self._max_queue = max_running, max_queue
        self.call_next()

    def check(self) -> None:
        """Raises BackendError (OVERLOADED) when there is no place in the line either."""
        if self._is_full and len(self._waiting) >= self._max_queue and self._standing_still is None:
            running, waiting = len(self._running), len(self._waiting)
            message = f"the server is busy: {running} are being answered and {waiting} wait already"
            raise BackendError(Code.OVERLOADED, message, retryable=True, retry_after=_COME_BACK_S)

    @asynccontextmanager
    async def place(self, tell: Callable[[int], None], holder: Holder | None = None) -> AsyncIterator[None]:
        """Wait for one's turn, and hold it. `tell` gets the place in the line, from 1, whenever it changes.

        Raises BackendError (OVERLOADED).
        """
        self.check()
        entry = _Entry(tell, holder)
        self._waiting.append(entry)
        self.call_next()
        try:
            if not entry.turn.is_set():
                tell(len(self._waiting))
                await entry.turn.wait()
            yield
        finally:
            self._leave(entry)

    def call_next(self) -> None:
        """Whoever may have a place gets it. To be called when somebody begins to stand still."""
        called = False
        while self._waiting:
            self._make_room()
            if self._is_full:
                break
            entry = self._waiting.popleft()
            self._running[entry] = None
            entry.turn.set()
            called = True
        if called:
            self._tell_places()

    @property
    def _is_full(self) -> bool:
        return bool(self._max_running) and len(self._running) >= self._max_running

    @property
    def _standing_still(self) -> _Entry | None:
        return next((entry for entry in self._running if entry.stands_still), None)

    def _make_room(self) -> None:
        while self._is_full and (entry := self._standing_still) is not None:
            del self._running[entry]
            if entry.holder is not None:
                entry.holder.give_way()

    def _leave(self, entry: _Entry) -> None:
        if entry in self._waiting:
            self._waiting.remove(entry)
            self._tell_places()
        self._running.pop(entry, None)  # it may have given way before
        self.call_next()

    def _tell_places(self) -> None:
        for place, entry in enumerate(self._waiting, 1):
            entry.tell(place)
