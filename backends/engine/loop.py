"""The scheduler thread's one loop: take in requests and cancels, admit, compute one step, publish what came of it.

Decisions are scheduler.py's, arithmetic is runner.py's; this module owns the sequences and carries both out. Whatever
happened in a step reaches the asyncio side with one wake-up, just before the next step computes: llama.cpp lets go of
Python's lock there, so the reader runs beside it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Items

from backends.engine.options import EngineOptions
from backends.engine.prefix_cache import Live, best_live, pack
from backends.engine.report import first_meta, last_meta, prefilling
from backends.engine.residency import MIN_RESTORED, MIN_SHARED, Residency
from backends.engine.runner import ABORTED, DECODED, Job, Runner
from backends.engine.scheduler import Active, Candidate, Chunk, admit, plan_step
from backends.engine.sequence import Mailbox, Sequence, append_joined
from backends.errors import BackendError, Code
from backends.events import Done, Error, Event, FinishReason, Status, Token

log = logging.getLogger(__name__)

HINT_CHUNK = 64
"""Tokens of a hint per step: a request that comes waits for no more than these."""

PUBLISH_INTERVAL = 0.004
"""Seconds between wake-ups of the reader while nothing but further tokens is new: a fast model would drown it."""

Publish = Callable[[list[tuple[Mailbox, list[Event]]]], None]


class StepLoop:
    """All sequences of one engine. `submit`, `cancel` and `close` are for the asyncio side; `run` is the thread."""

    def __init__(self, runner: Runner, options: EngineOptions, publish: Publish) -> None:
        self._runner = runner
        self._options = options
        self._publish_batch = publish
        self._changed = threading.Condition()
        # shared, under _changed
        self._live: dict[int, Sequence] = {}  # everybody who has not been told the end
        self._arrivals: list[Sequence] = []
        self._cancels: list[Sequence] = []
        self._newest_hint: Sequence | None = None
        self._interruptible: frozenset[int] = frozenset()
        self._end: BackendError | None = None
        # the thread's own
        self._memory = Residency(runner, options)
        self._cells = self._memory.cells
        self._waiting: deque[Sequence] = deque()
        self._running: dict[int, Sequence] = {}
        self._hint: Sequence | None = None  # to be computed when nobody runs or waits
        self._hinted: Sequence | None = None  # running, and then alone
        self._deferred: list[Sequence] = []  # of the running ones, those that wait for their source
        self._outbox: dict[Mailbox, list[Event]] = {}
        self._published = 0.0
        self._urgent = False

    # ---- the asyncio side

    def submit(self, sequence: Sequence) -> None:
        """Hand `sequence` over; its mailbox gets everything further. Raises BackendError when the loop has ended."""
        with self._changed:
            if self._end is not None:
                raise self._end
            self._live[sequence.key] = sequence
            self._arrivals.append(sequence)
            self._changed.notify()

    def warm(self, hint: Sequence) -> None:
        """Compute the prompt of `hint` when there is nothing else to do, and keep it. A newer one takes its place."""
        with self._changed:
            if self._memory.keeps and self._end is None:
                self._newest_hint = hint
                self._changed.notify()

    def cancel(self, sequence: Sequence) -> None:
        """Nobody reads `sequence` any more: end it within a step. Harmless if it has ended."""
        with self._changed:
            self._cancels.append(sequence)
            if sequence.key in self._interruptible:
                self._runner.abort(True)
            self._changed.notify()

    def close(self) -> None:
        """End the loop within a step; what runs or waits is told so."""
        with self._changed:
            if self._end is None:
                self._end = BackendError(Code.SHUTDOWN, "the engine was shut down", retryable=True)
            self._runner.abort(True)
            self._changed.notify()

    # ---- the thread

    def run(self) -> BackendError:
        """Step until `close`, or until a defect ends it. Returns why; the caller then has to `dismiss` the clients."""
        try:
            while self._collect():
                self._step()
        except Exception as error:  # the thread's boundary: nobody above could report it
            log.exception("the engine's step loop failed")
            with self._changed:
                self._end = BackendError(Code.INTERNAL, f"the engine stopped on a defect ({error!r}); restart it")
        assert self._end is not None
        return self._end

    def check(self) -> None:
        """Compare the account of cells with what llama.cpp holds. Raises AssertionError. On the loop's thread only."""
        self._memory.check({it.slot: it.computed for it in self._running.values()})
        assert all(it.source is None or it.computed == 0 for it in self._running.values())
        assert {it.key for it in self._running.values() if it.source} <= {it.key for it in self._deferred}

    def dismiss(self, end: BackendError) -> None:
        """Tell everybody who is still here why the loop has ended; nobody comes any more."""
        with self._changed:
            left = list(self._live.values())
        for sequence in left:
            self._runner.free_sampler(sequence.sampler)
            self._conclude(sequence, end.event())
        self._publish()

    def _collect(self) -> bool:
        """Take in what the asyncio side left, waiting for it when there is nothing to do. False: the loop ends."""
        idle = not self._running and not self._waiting
        if idle or (self._urgent and self._memory.unsettled):
            self._publish()
        while self._memory.settle(idle) and idle and not self._is_wanted:
            pass
        with self._changed:
            while not (self._is_wanted or self._running or self._waiting or self._hint):
                self._changed.wait()
            arrivals, self._arrivals = self._arrivals, []
            cancels, self._cancels = self._cancels, []
            hint, self._newest_hint = self._newest_hint, None
            if self._end:
                return False
        if arrivals or hint:
            self._hint = None if arrivals else hint
            if self._hinted is not None:
                self._release(self._hinted)
        for sequence in arrivals:
            self._take_in(sequence)
        for sequence in cancels:
            self._drop(sequence)
        self._expire()
        self._admit()
        self._start_hint()
        return True

    @property
    def _is_wanted(self) -> bool:
        """Whether the asyncio side has left something."""
        return bool(self._arrivals or self._cancels or self._newest_hint or self._end)

    def _take_in(self, sequence: Sequence) -> None:
        candidate = Candidate(sequence.key, sequence.cells)
        startable = not self._waiting and admit([candidate], self._free_streams, self._memory.available)
        if not startable and len(self._waiting) >= self._options.max_queue:
            self._conclude(sequence, self._overloaded(f"{len(self._waiting)} requests wait already").event())
            return
        self._waiting.append(sequence)
        if startable:
            self._admit()

    def _drop(self, sequence: Sequence) -> None:
        if sequence.key in self._running:
            self._release(sequence)
        elif sequence in self._waiting:
            self._waiting.remove(sequence)
        self._live.pop(sequence.key, None)

    def _expire(self) -> None:
        """Refuse who has waited too long; the head of the queue has waited longest."""
        patience = self._options.queue_timeout * 1000
        while self._waiting and self._waiting[0].now() - self._waiting[0].queued_ms > patience:
            sequence = self._waiting.popleft()
            self._conclude(sequence, self._overloaded(f"waited {self._options.queue_timeout:g} s for a place").event())

    def _overloaded(self, reason: str) -> BackendError:
        advice = f"the engine is busy: {reason}, {len(self._running)} are being answered; try again in a moment"
        return BackendError(Code.OVERLOADED, advice, retryable=True, retry_after=2.0)

    def _admit(self) -> None:
        """Start who fits, and tell the others their place."""
        if not self._waiting:
            return
        queue = [Candidate(sequence.key, sequence.cells) for sequence in self._waiting]
        for _ in admit(queue, self._free_streams, self._memory.available):
            self._start(self._waiting.popleft())
        for position, sequence in enumerate(self._waiting, 1):
            if sequence.position != position:
                sequence.position = position
                self._post(sequence, Status("queued", position=position))

    @property
    def _free_streams(self) -> int:
        return self._options.max_streams - len(self._running)

    def _start(self, sequence: Sequence) -> None:
        sequence.sampler = self._runner.make_sampler(sequence.draw)
        sequence.slot = self._memory.take_slot()
        self._running[sequence.key] = sequence
        self._begin(sequence)

    def _start_hint(self) -> None:
        """Start the hint if there is nothing else to do, and enough to gain."""
        hint = self._hint
        if hint is None or self._running or self._waiting:
            return
        self._hint = None
        _, kept = self._memory.find(pack(hint.tokens), hint.partition)
        if hint.prompt_tokens - kept >= MIN_SHARED and hint.cells <= self._memory.available:
            self._hinted = hint
            self._start(hint)

    def _begin(self, it: Sequence) -> None:
        """Give `it` what there is of its prompt already and let it compute the rest; or let it wait for its source."""
        packed = pack(it.tokens[: it.prompt_tokens - 1])  # the last one is always computed: its logits are needed
        live = best_live(packed, self._relatives(it))
        prefix, kept = self._memory.find(packed, it.partition)
        if live.coming - max(live.shared, kept) >= MIN_RESTORED:
            it.source, it.wanted = self._running[live.source], live.coming
            self._deferred.append(it)
            self._memory.promise(it.slot, it.cells)
            return
        it.source, it.started_ms = None, it.now()
        shared = live.shared if live.shared >= max(kept, MIN_SHARED) else 0
        if shared:
            self._memory.share(self._running[live.giver].slot, it.slot, shared)
        elif prefix is not None and prefix.slot >= 0:
            self._memory.share(prefix.slot, it.slot, kept)
            shared = kept
        self._memory.promise(it.slot, it.cells)  # this may turn `prefix` out, hence after sharing it
        if prefix is not None and not shared:
            shared = self._memory.restore(prefix, it.slot, kept)
        it.cached = it.computed = shared
        self._cells.fill(it.slot, shared)
        self._post(it, prefilling(it))

    def _relatives(self, it: Sequence) -> Iterator[Live]:
        """The running sequences that begin like `it`."""
        for other in self._running.values():
            if other is it or other.source or other.partition != it.partition:
                continue
            if self._memory.keeps and other.tokens[:MIN_SHARED] == it.tokens[:MIN_SHARED]:
                yield Live(other.key, pack(other.tokens), other.computed, other.prefilled_ms is None)

    def _resume_deferred(self) -> None:
        """Let those go on whose source has come far enough, or has left: then one of them takes its place."""
        deferred, self._deferred = self._deferred, []
        for it in deferred:
            source = it.source
            if source is None or it.key not in self._running:
                continue
            if source.key in self._running and source.computed < it.wanted:
                self._deferred.append(it)
            else:
                self._begin(it)

    def _release(self, sequence: Sequence) -> None:
        """Take `sequence` out of the running ones; what it computed is kept for others."""
        del self._running[sequence.key]
        self._runner.free_sampler(sequence.sampler)
        self._memory.keep(
            sequence.slot, sequence.tokens[: sequence.computed], sequence.partition, draft=sequence.is_hint
        )
        if sequence is self._hinted:
            self._hinted = None
        sequence.sampler, sequence.slot, sequence.source = None, -1, None

    # ---- one step

    def _step(self) -> None:
        if self._deferred:
            self._resume_deferred()
        active = [Active(it.key, it.pending) for it in self._running.values() if it.source is None]
        chunk = self._options.prefill_chunk if self._hinted is None else min(HINT_CHUNK, self._options.prefill_chunk)
        plan = plan_step(active, chunk, self._options.n_batch)
        if self._urgent or time.perf_counter() - self._published >= PUBLISH_INTERVAL:
            self._publish()
        if plan:
            self._compute(plan)

    def _compute(self, plan: Items[Chunk]) -> None:
        """Compute `plan` and sample. What llama.cpp refuses is tried one by one: one request's failure is its own."""
        sequences = [self._running[chunk.key] for chunk in plan]
        jobs = [
            Job(it.slot, it.computed, it.next_tokens(chunk.tokens), chunk.last and not it.is_hint)
            for it, chunk in zip(sequences, plan, strict=True)
        ]
        with self._changed:
            if self._cancels or self._end:
                return
            self._runner.abort(False)
            self._interruptible = frozenset(chunk.key for chunk in plan if chunk.tokens > 1)
        code = self._runner.decode(jobs)
        with self._changed:
            self._interruptible = frozenset()
        if code == DECODED:
            self._advance(plan, sequences)
            return
        self._roll_back(sequences)
        if code == ABORTED:
            return
        if len(sequences) == 1:
            self._fail(sequences[0], code)
            return
        for it in sequences:
            self._compute(plan_step([Active(it.key, it.pending)], self._options.prefill_chunk, self._options.n_batch))

    def _advance(self, plan: Items[Chunk], sequences: Items[Sequence]) -> None:
        """Enter what was computed, and draw a token for everyone whose last known token was among it."""
        row = 0
        for chunk, sequence in zip(plan, sequences, strict=True):
            sequence.computed += chunk.tokens
            self._cells.fill(sequence.slot, sequence.computed)
            if sequence.prefilled_ms is None:
                self._post(sequence, prefilling(sequence))
            if chunk.last and sequence.is_hint:
                self._release(sequence)
            elif chunk.last:
                if sequence.prefilled_ms is None:
                    sequence.prefilled_ms = sequence.now()
                    self._measure(sequence)
                    self._post(sequence, Status("generating"))
                token = self._runner.sample(row, sequence.sampler)
                row += 1
                self._accept(sequence, token)

    def _measure(self, it: Sequence) -> None:
        """Remember what computing a prompt costs, company included; short ones say nothing about long ones."""
        tokens = it.prompt_tokens - it.cached
        if tokens >= MIN_RESTORED and it.started_ms is not None and it.prefilled_ms is not None:
            self._memory.costs.computed(tokens, (it.prefilled_ms - it.started_ms) / 1000)

    def _roll_back(self, sequences: Items[Sequence]) -> None:
        """Forget what a failed step left of `sequences` in the memory; it is computed again."""
        for sequence in sequences:
            if not self._runner.remove(sequence.slot, sequence.computed):
                sequence.computed = sequence.cached = 0
                self._cells.fill(sequence.slot, 0)

    def _fail(self, sequence: Sequence, code: int) -> None:
        self._release(sequence)
        message = f"llama.cpp could not compute this request (llama_decode returned {code}); others are not affected"
        self._conclude(sequence, BackendError(Code.INTERNAL, message).event())

    # ---- tokens and endings

    def _accept(self, sequence: Sequence, token: int) -> None:
        if self._runner.ends(token):
            self._finish(sequence, "stop")
            return
        sequence.tokens.append(token)
        sequence.unsent += 1
        self._say(sequence, sequence.text.push(self._runner.piece(token)))
        if sequence.text.stopped:
            self._finish(sequence, "stop")
        elif sequence.completion_tokens >= sequence.limit:
            self._finish(sequence, "length")

    def _say(self, sequence: Sequence, text: str) -> None:
        if not text:
            return
        if sequence.first_token_ms is None:
            sequence.first_token_ms = sequence.now()
            self._post(sequence, first_meta(sequence, self._runner.info, self._memory.busy))
        token = Token(text, sequence.unsent)
        sequence.unsent = 0
        append_joined(self._outbox.setdefault(sequence.mailbox, []), token)

    def _finish(self, sequence: Sequence, reason: FinishReason) -> None:
        self._say(sequence, sequence.text.finish())
        now = sequence.now()
        used = self._memory.busy
        self._release(sequence)
        if sequence.first_token_ms is None:  # an answer without text
            sequence.first_token_ms = now
            self._post(sequence, first_meta(sequence, self._runner.info, self._memory.busy))
        self._post(sequence, last_meta(sequence, now, used, self._cells.total))
        self._conclude(sequence, Done(sequence.completion_tokens, now, reason))

    # ---- the way out

    def _post(self, sequence: Sequence, event: Event) -> None:
        if sequence.is_hint:
            return
        self._outbox.setdefault(sequence.mailbox, []).append(event)
        self._urgent = True

    def _conclude(self, sequence: Sequence, event: Done | Error) -> None:
        """The last word to `sequence`."""
        self._live.pop(sequence.key, None)
        self._post(sequence, event)

    def _publish(self) -> None:
        if self._outbox:
            batch, self._outbox = list(self._outbox.items()), {}
            self._publish_batch(batch)
            self._published = time.perf_counter()
        self._urgent = False
