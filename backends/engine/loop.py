"""The scheduler thread's one loop: take in requests and cancels, admit, compute one step, publish what came of it.

Decisions are scheduler.py's, arithmetic is runner.py's. Requests come by inbox.py, wait in queue.py, run in running.py,
are computed by step.py, answered by answers.py and leave by outbox.py; this module is the thread that drives them.
"""

from __future__ import annotations

import logging
import math
from contextlib import AbstractContextManager

from backends.engine.answers import Answers
from backends.engine.inbox import ANYBODY, Inbox
from backends.engine.options import EngineOptions
from backends.engine.outbox import Outbox, Publish
from backends.engine.pace import Pace
from backends.engine.queue import Queue
from backends.engine.residency import Residency
from backends.engine.runner import Runner
from backends.engine.running import Running
from backends.engine.scheduler import Active, most_at_once, plan_step, prefill_budget
from backends.engine.sequence import Sequence
from backends.engine.speculation import Speculation
from backends.engine.step import Stepper
from backends.errors import BackendError, Code

log = logging.getLogger(__name__)

HINT_CHUNK = 64
"""Tokens of a hint per step: a request that comes waits for no more than these."""


LINGER = 0.02
"""Seconds after the last answer for which nothing is copied out: who goes on at once need not wait for that."""

LONGEST_STEP = 0.05
"""Seconds that a step may take for a prompt where it cannot be aborted: so long a cancel waits at most."""


class StepLoop:
    """One engine's thread, `run`, and what the asyncio side may do: `submit`, `warm`, `park`, `cancel`, `close`."""

    def __init__(self, runner: Runner, options: EngineOptions, publish: Publish, speculation: Speculation) -> None:
        self._options = options
        self._is_abortable = runner.is_abortable
        self._live: dict[int, Sequence] = {}  # everybody who has not been told the end
        self._inbox = Inbox(runner.abort, self._live)
        self._outbox = Outbox(publish, self._live)
        self._memory = Residency(runner, options)
        self._speculation = speculation
        self._running = Running(runner, self._memory, self._outbox, speculation)
        self._pace = Pace()
        self._queue = Queue(options, self._memory, self._running, self._outbox, self._pace)
        self._answers = Answers(runner, self._memory, self._running, self._outbox, self._pace)
        self._stepper = Stepper(
            runner,
            self._inbox,
            self._running,
            self._answers,
            self._outbox,
            self._memory.costs,
            self._pace,
            speculation,
        )

    # ---- the asyncio side

    def submit(self, sequence: Sequence) -> None:
        """Hand `sequence` over; its mailbox gets everything further. Raises BackendError when the loop has ended."""
        self._inbox.put(sequence)

    def announced(self) -> AbstractContextManager[None]:
        """While it is open a request is on its way to `submit`: a batch that is forming may wait for it."""
        return self._inbox.announced()

    def warm(self, hint: Sequence) -> None:
        """Compute the prompt of `hint` when there is nothing else to do, and keep it. A newer one takes its place."""
        if self._memory.keeps or (hint.is_draft and self._memory.remembers):
            self._inbox.hint(hint)

    @property
    def is_free(self) -> bool:
        """Whether nobody waits or is being answered, as far as the asyncio side can tell."""
        return not self._live

    def park(self, sequence: Sequence, parked: bool) -> None:
        """The reader of `sequence` is away: compute nothing for it, from the next step on. Or he is back: go on."""
        self._inbox.park(sequence, parked)

    def cancel(self, sequence: Sequence) -> None:
        """Nobody reads `sequence` any more: end it within a step. Harmless if it has ended."""
        self._inbox.cancel(sequence)

    def close(self) -> None:
        """End the loop within a step; what runs or waits is told so."""
        self._inbox.close(BackendError(Code.SHUTDOWN, "the engine was shut down", retryable=True))

    # ---- the thread

    def run(self) -> BackendError:
        """Step until `close`, or until a defect ends it. Returns why; the caller then has to `dismiss` the clients."""
        try:
            while (end := self._collect()) is None:
                self._step()
        except Exception as error:  # the thread's boundary: nobody above could report it
            log.exception("the engine's step loop failed")
            end = BackendError(Code.INTERNAL, f"the engine stopped on a defect ({error!r}); restart it")
            self._inbox.close(end)
        return end

    def check(self) -> None:
        """Compare the account of cells with what llama.cpp holds. Raises AssertionError. On the loop's thread only."""
        self._running.check()
        self._speculation.check()

    def dismiss(self, end: BackendError) -> None:
        """Tell everybody who is still here why the loop has ended; nobody comes any more."""
        for sequence in list(self._live.values()):
            sequence.close()
            self._outbox.conclude(sequence, end.event())
        self._outbox.publish()

    def _collect(self) -> BackendError | None:
        """Take in what the asyncio side left, waiting for it when there is nothing to do. Returns why the loop ends."""
        stands_still = self._running.stands_still
        idle = stands_still and not self._queue
        if idle or (self._outbox.is_urgent and self._memory.unsettled):
            self._outbox.publish()
        if idle and self._memory.unsettled:
            self._inbox.wait(LINGER)
        for settle in (self._memory.settle, self._speculation.settle):
            while not (idle and self._inbox.is_full) and settle(idle) and idle:
                pass
        if not (stands_still or self._inbox.is_full or self._queue or self._queue.hint):
            return None  # as between most tokens
        if stands_still and self._queue.hint is None:
            self._inbox.wait(self._queue.pause, for_announced=self._queue.waits_for_announced)
        mail = self._inbox.take()
        if mail.end is not None:
            return mail.end
        for sequence, parked in mail.parks.items():
            sequence.park(parked)
        if not all(mail.parks.values()):
            self._memory.make_way()
        if mail.hint and not mail.hint.is_draft and (self._queue.hint or self._running.hint):
            mail = mail._replace(hint=None)  # what is being typed comes sooner
        if mail.arrivals or mail.hint:
            self._queue.hint = None if mail.arrivals else mail.hint
        others_go_on = mail.arrivals or mail.hint or not all(mail.parks.values())
        if self._running.hint is not None and others_go_on:
            self._running.release(self._running.hint)
        self._queue.others_come = mail.more_to_come
        self._queue.take_in(mail.arrivals)
        for sequence in mail.cancels:
            self._drop(sequence)
        self._queue.admit()
        return None

    def _drop(self, sequence: Sequence) -> None:
        if sequence in self._running:
            self._running.release(sequence)
        else:
            self._queue.drop(sequence)
        self._live.pop(sequence.key, None)

    def _step(self) -> None:
        self._answers.make_room()
        active = self._running.active()
        budget = self._prefill_budget(active) if any(it.pending > 1 for it in active) else 0
        plan = plan_step(active, budget, self._options.n_batch)
        for part in plan:
            self._running.begin(self._running[part.key])
        decoding = [self._running[chunk.key] for chunk in plan if chunk.tokens == 1 and chunk.last]
        room = self._options.n_batch - sum(chunk.tokens for chunk in plan)
        drafts = self._drafts(decoding, room)
        if self._outbox.is_due:
            self._outbox.publish()
        if plan:
            self._stepper.compute(plan, drafts)

    def _drafts(self, decoding: list[Sequence], room: int) -> dict[int, list[int]]:
        """Tokens drafted for this step. Who is cancelled waits for no draft model: no step would follow its drafts."""
        if not self._speculation.computes:
            return self._speculation.propose(decoding, room)
        if not self._inbox.begin_step(ANYBODY):
            return {}
        drafts = self._speculation.propose(decoding, room)
        self._inbox.end_step()
        return drafts

    def _prefill_budget(self, active: list[Active]) -> int:
        """Tokens of prompts for the next step."""
        options, pace = self._options, self._pace
        longest = math.inf if self._is_abortable else LONGEST_STEP
        if options.prefill_chunk:
            budget = options.prefill_chunk
        elif options.objective == "throughput":
            budget = most_at_once(options.n_ubatch, pace.prompt_token, longest)
        else:
            decoding = any(it.pending == 1 for it in active)
            gap = options.max_gap_ms / 1000
            budget = prefill_budget(decoding, pace.plain, pace.prompt_token, gap, longest)
        return budget if self._running.hint is None else min(HINT_CHUNK, budget)
