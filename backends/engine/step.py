"""One step carried out: a plan becomes one batch for llama.cpp, its outputs become tokens, its failure is contained."""

from __future__ import annotations

import time
from collections.abc import Sequence as Items

from backends.engine.answers import Answers
from backends.engine.inbox import Inbox
from backends.engine.outbox import Outbox
from backends.engine.pace import Pace
from backends.engine.prefix_cache import Costs
from backends.engine.report import prefilling
from backends.engine.residency import MIN_RESTORED
from backends.engine.runner import ABORTED, DECODED, Job, Runner
from backends.engine.running import Running
from backends.engine.scheduler import Chunk
from backends.engine.sequence import Sequence
from backends.errors import BackendError, Code
from backends.events import Status


class Stepper:
    """Computes plans. On the scheduler's thread only."""

    def __init__(
        self,
        runner: Runner,
        inbox: Inbox,
        running: Running,
        answers: Answers,
        outbox: Outbox,
        costs: Costs,
        pace: Pace,
    ) -> None:
        self._runner = runner
        self._inbox = inbox
        self._running = running
        self._answers = answers
        self._outbox = outbox
        self._costs = costs
        self._pace = pace

    def compute(self, plan: Items[Chunk]) -> None:
        """Compute `plan` and sample. What llama.cpp refuses is tried one by one: one request's failure is its own."""
        sequences = [self._running[chunk.key] for chunk in plan]
        jobs = [_job(it, chunk) for it, chunk in zip(sequences, plan, strict=True)]
        if not self._inbox.begin_step(frozenset(chunk.key for chunk in plan if chunk.tokens > 1)):
            return
        begun = time.perf_counter()
        code = self._runner.decode(jobs)
        self._inbox.end_step()
        if code == DECODED:
            self._advance(jobs, sequences)
            decoding = sum(chunk.tokens == 1 for chunk in plan)
            prompt_tokens = sum(chunk.tokens for chunk in plan if chunk.tokens > 1)
            self._pace.stepped(decoding, prompt_tokens, time.perf_counter() - begun)
            return
        for it in sequences:
            self._running.roll_back(it)
        if code == ABORTED:
            return
        if len(sequences) == 1:
            self._fail(sequences[0], code)
            return
        for it, chunk in zip(sequences, plan, strict=True):
            tokens = min(chunk.tokens, it.pending)
            self.compute([Chunk(it.key, tokens, tokens == it.pending)])

    def _advance(self, jobs: Items[Job], sequences: Items[Sequence]) -> None:
        """Enter what was computed, and draw tokens for everyone whose last known token was among it."""
        row = 0
        for job, it in zip(jobs, sequences, strict=True):
            self._running.advance(it, len(job.tokens))
            if it.prefilled_ms is None:
                self._outbox.post(it, prefilling(it))
            if job.outputs:
                self._begin_answer(it)
                self._draw(it, row)
                row += job.outputs
            elif it.is_hint and it.pending == 0:
                self._running.release(it)
        self._running.pass_on()

    def _draw(self, it: Sequence, row: int) -> None:
        """The next token of `it`, or its end if it turns out that its rules cannot be kept."""
        try:
            token = it.sampler.sample(row)
        except BackendError as error:
            self._answers.fail(it, error)
        else:
            self._answers.accept(it, [token])

    def _begin_answer(self, it: Sequence) -> None:
        """The prompt of `it` is computed, if it was not before. What that cost is remembered."""
        if it.prefilled_ms is not None:
            return
        it.prefilled_ms = it.now()
        tokens = it.prompt_tokens - it.cached
        if tokens >= MIN_RESTORED and it.started_ms is not None:  # short ones say nothing about long ones
            self._costs.computed(tokens, (it.prefilled_ms - it.started_ms) / 1000)
        self._outbox.post(it, Status("generating"))

    def _fail(self, it: Sequence, code: int) -> None:
        message = f"llama.cpp could not compute this request (llama_decode returned {code}); others are not affected"
        self._answers.fail(it, BackendError(Code.INTERNAL, message))


def _job(it: Sequence, chunk: Chunk) -> Job:
    """What llama.cpp has to compute for `chunk`: an output after all that is known, unless nobody waits for it."""
    return Job(it.slot, it.computed, it.next_tokens(chunk.tokens), int(chunk.last and not it.is_hint))
