"""The waiting line: who came and has no place yet, how long that will take, and who waits no longer."""

from __future__ import annotations

import heapq
import math
import time
from bisect import insort
from collections.abc import Iterable

from backends.engine.options import EngineOptions
from backends.engine.outbox import Outbox
from backends.engine.pace import Pace
from backends.engine.prefix_cache import pack
from backends.engine.residency import MIN_SHARED, Residency
from backends.engine.running import Running
from backends.engine.scheduler import (
    PATIENT,
    Candidate,
    Stay,
    alike,
    batch_is_formed,
    expected_waits,
    place_in_line,
    places,
)
from backends.engine.sequence import Sequence
from backends.errors import BackendError, Code
from backends.events import Status

MIN_RETRY = 0.5
"""Seconds before which nobody is told to come back."""

_GAVE_WAY = BackendError(
    Code.INTERRUPTED, "while nobody read this answer its place was given to another request", retryable=True
)


class Queue:
    """Requests by their place in line, and behind them all one hint. On the scheduler's thread only."""

    def __init__(self, options: EngineOptions, memory: Residency, running: Running, outbox: Outbox, pace: Pace) -> None:
        self._options = options
        self._memory = memory
        self._running = running
        self._outbox = outbox
        self._pace = pace
        self._waiting: list[Sequence] = []
        self._away_until: list[float] = []  # heap: when those who were refused may come back
        self.others_come = False  # requests are on their way here
        self.hint: Sequence | None = None  # to be computed when nobody runs or waits

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def _ready(self) -> list[Sequence]:
        """Those who would start if there were room: who is parked keeps his place in line, and is passed by."""
        return [it for it in self._waiting if not it.is_parked]

    def take_in(self, arrivals: Iterable[Sequence]) -> None:
        """Let `arrivals` wait for their place. When too many wait, the last in line are refused."""
        for it in arrivals:
            shortest_first = self._options.objective == "ttft"
            prompt_ms = it.prompt_tokens * self._pace.prompt_token * 1000 if shortest_first else 0.0
            it.due = place_in_line(it.arrival * 1000 + it.queued_ms, it.feature, prompt_ms)
            insort(self._waiting, it, key=lambda it: it.due)
        self._start_who_fits()
        forms = self._options.batching != "continuous" and self._running.stands_still
        forming = self._options.max_streams if forms else 0
        while len(self._waiting) > self._options.max_queue + forming:
            last = max(self._waiting, key=lambda it: (it.is_parked, it.due))
            self._waiting.remove(last)
            self._refuse(last, f"{len(self._waiting)} requests wait already")

    def drop(self, sequence: Sequence) -> None:
        """The client of `sequence` is gone."""
        if sequence in self._waiting:
            self._waiting.remove(sequence)

    def admit(self) -> None:
        """Refuse who has waited too long, start who fits, and tell the others their place."""
        self._expire()
        self._start_who_fits()
        self._tell_places()
        self._start_hint()

    @property
    def pause(self) -> float | None:
        """Seconds for which there is nothing to do here while nobody runs, unless somebody comes; None: for ever."""
        if not self._ready:
            return None
        return max(0.0, (self._options.max_queue_ms - self._longest_wait) / 1000)

    @property
    def waits_for_announced(self) -> bool:
        """Whether that pause is over as soon as nobody is on the way."""
        return self._options.batching == "dynamic" and bool(self._ready)

    @property
    def _longest_wait(self) -> float:
        return max(it.now() - it.queued_ms for it in self._ready)

    # ---- not longer

    def _expire(self) -> None:
        late = [it for it in self._waiting if it.now() - it.queued_ms > it.patience * 1000]
        for it in late:
            self._waiting.remove(it)
            self._refuse(it, f"no place within {it.patience:g} s")

    def _refuse(self, sequence: Sequence, reason: str) -> None:
        """The last word to `sequence`, with the time after which it may come back."""
        seconds = self._away(sequence)
        advice = f"the engine is busy: {reason}, {len(self._running)} are being answered; try again in {seconds:g} s"
        error = BackendError(Code.OVERLOADED, advice, retryable=True, retry_after=seconds)
        self._outbox.conclude(sequence, error.event())

    def _away(self, sequence: Sequence) -> float:
        """Seconds after which there should be a place in the line for `sequence`, which gets none now.

        One comes free whenever somebody starts. Those who were refused before it are told the ones before, so that they
        do not all come back for the same one.
        """
        now = time.perf_counter()
        while self._away_until and self._away_until[0] <= now:
            heapq.heappop(self._away_until)
        free = sorted(self._expected([*self._waiting, sequence]))
        seconds = max(MIN_RETRY, math.ceil(10 * free[min(len(self._away_until), len(free) - 1)]) / 10)
        heapq.heappush(self._away_until, now + seconds)
        return seconds

    # ---- who is next

    def _start_who_fits(self) -> None:
        for it in self._next():
            if not self._make_room(it):
                break
            self._waiting.remove(it)
            self._running.start(it)

    def _has_room(self, it: Sequence) -> bool:
        return len(self._running) < self._options.max_streams and self._running.has_cells_for(it)

    def _make_room(self, it: Sequence) -> bool:
        """Whether `it` can start; parked ones give way for that, who has been so longest first, unless in vain."""
        parked = [other for other in self._running if other.is_parked]
        parked.sort(key=lambda other: other.parked_since or 0)
        held = sum(other.cells for other in parked)
        busy = len(self._running) - len(parked)
        if busy >= self._options.max_streams or not self._running.has_cells_for(it, held):
            return False
        for other in parked:
            if self._has_room(it):
                break
            self._running.release(other)
            self._outbox.conclude(other, _GAVE_WAY.event())
        return self._has_room(it)

    def _next(self) -> list[Sequence]:
        """Those who may start now, as far as there is room: the head of the line, or a batch that has formed."""
        options, ready = self._options, self._ready
        if options.batching == "continuous" or not ready:
            running = [it.feature for it in self._running if not it.is_parked]
            line = [it.feature for it in ready]
            return [ready[at] for at in places(line, running, options.max_streams, options.patient_streams)]
        others_come = self.others_come or options.batching == "static"
        if not self._running.stands_still or not batch_is_formed(
            len(ready), options.max_streams, self._longest_wait, options.max_queue_ms, others_come
        ):
            return []
        if options.batching == "dynamic":
            return ready[: options.max_streams]
        batch = set(alike([Candidate(it.key, it.cells) for it in ready], options.max_streams))
        return [it for it in ready if it.key in batch]

    def _tell_places(self) -> None:
        if not any(it.position != position for position, it in enumerate(self._waiting, 1)):
            return
        waits = self._expected(self._waiting)
        for position, (it, seconds) in enumerate(zip(self._waiting, waits, strict=True), 1):
            if it.position != position:
                it.position = position
                detail = f"about {seconds:.0f} s" if seconds >= 1 else ""
                expected = round(seconds * 1000) if self._pace.gap else None
                self._outbox.post(it, Status("queued", position=position, expected_ms=expected, detail=detail))

    def _expected(self, line: Iterable[Sequence]) -> list[float]:
        """Seconds until each of those in `line` starts, as far as one can tell."""
        free_streams = self._options.max_streams - len(self._running)
        held = sum(it.feature in PATIENT and not it.is_parked for it in self._running)
        continuous = self._options.batching == "continuous"
        free_patient = self._options.patient_streams - held if continuous else self._options.max_streams
        in_line = sorted(self._running, key=lambda it: it.due)
        running = [self._stay(it, it.prompt_tokens - it.computed) for it in in_line]
        waiting = [self._stay(it, it.prompt_tokens) for it in line]
        return expected_waits(running, waiting, free_streams, free_patient, self._memory.available)

    def _stay(self, it: Sequence, prompt_tokens: int) -> Stay:
        if it.is_parked:  # gives way
            return Stay(0.0, it.cells)
        answer = self._pace.answer_seconds(it.limit - it.completion_tokens)
        return Stay(answer, it.cells, it.feature in PATIENT, self._pace.prompt_seconds(max(0, prompt_tokens)))

    # ---- ahead of time

    def _start_hint(self) -> None:
        """Start the hint if there is nothing else to do, and enough to gain."""
        hint = self.hint
        if hint is None or not self._running.stands_still or self._ready:
            return
        _, kept = self._memory.find(pack(hint.tokens), hint.partition)
        room = len(self._running) < self._options.max_streams and hint.cells <= self._memory.available
        if room and hint.prompt_tokens - kept >= (MIN_SHARED if hint.is_draft else 1):
            self._running.start(hint)
        self.hint = None
