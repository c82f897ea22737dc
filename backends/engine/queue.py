"""The waiting line: who came and has no place yet."""

from __future__ import annotations

from collections import deque

from backends.engine.options import EngineOptions
from backends.engine.outbox import Outbox
from backends.engine.prefix_cache import pack
from backends.engine.residency import MIN_SHARED, Residency
from backends.engine.running import Running
from backends.engine.sequence import Sequence
from backends.errors import BackendError, Code
from backends.events import Status


class Queue:
    """Requests in the order they came, and behind them all one hint. On the scheduler's thread only."""

    def __init__(self, options: EngineOptions, memory: Residency, running: Running, outbox: Outbox) -> None:
        self._options = options
        self._memory = memory
        self._running = running
        self._outbox = outbox
        self._waiting: deque[Sequence] = deque()
        self.hint: Sequence | None = None  # to be computed when nobody runs or waits

    def __len__(self) -> int:
        return len(self._waiting)

    def take_in(self, sequence: Sequence) -> None:
        """Let `sequence` wait for its place; refuse it when too many do."""
        startable = not self._waiting and self._has_place(sequence)
        if not startable and len(self._waiting) >= self._options.max_queue:
            self._refuse(sequence, f"{len(self._waiting)} requests wait already")
            return
        self._waiting.append(sequence)
        if startable:
            self._admit_waiting()

    def drop(self, sequence: Sequence) -> None:
        """The client of `sequence` is gone."""
        if sequence in self._waiting:
            self._waiting.remove(sequence)

    def admit(self) -> None:
        """Refuse who has waited too long, start who fits, and tell the others their place."""
        self._expire()
        self._admit_waiting()
        self._start_hint()

    def _expire(self) -> None:
        """The head of the queue has waited longest."""
        patience = self._options.queue_timeout * 1000
        while self._waiting and self._waiting[0].now() - self._waiting[0].queued_ms > patience:
            self._refuse(self._waiting.popleft(), f"waited {self._options.queue_timeout:g} s for a place")

    def _refuse(self, sequence: Sequence, reason: str) -> None:
        advice = f"the engine is busy: {reason}, {len(self._running)} are being answered; try again in a moment"
        error = BackendError(Code.OVERLOADED, advice, retryable=True, retry_after=2.0)
        self._outbox.conclude(sequence, error.event())

    def _admit_waiting(self) -> None:
        if not self._waiting:
            return
        while self._waiting and self._has_place(self._waiting[0]):
            self._running.start(self._waiting.popleft())
        for position, sequence in enumerate(self._waiting, 1):
            if sequence.position != position:
                sequence.position = position
                self._outbox.post(sequence, Status("queued", position=position))

    def _has_place(self, sequence: Sequence) -> bool:
        return len(self._running) < self._options.max_streams and self._running.has_cells_for(sequence)

    def _start_hint(self) -> None:
        """Start the hint if there is nothing else to do, and enough to gain."""
        hint = self.hint
        if hint is None or self._running or self._waiting:
            return
        self.hint = None
        _, kept = self._memory.find(pack(hint.tokens), hint.partition)
        if hint.prompt_tokens - kept >= MIN_SHARED and hint.cells <= self._memory.available:
            self._running.start(hint)
