"""One step carried out: a plan becomes one batch for llama.cpp, its outputs become tokens, its failure is contained."""

from __future__ import annotations

import time
from collections.abc import Mapping
from collections.abc import Sequence as Items
from types import MappingProxyType
from typing import TypeAlias

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
from backends.engine.speculation import Speculation
from backends.errors import BackendError, Code
from backends.events import Status

Drafts: TypeAlias = Mapping[int, list[int]]
"""Drafted tokens by the key of their sequence."""

_NO_DRAFTS: Drafts = MappingProxyType({})


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
        speculation: Speculation,
    ) -> None:
        self._runner = runner
        self._inbox = inbox
        self._running = running
        self._answers = answers
        self._outbox = outbox
        self._costs = costs
        self._pace = pace
        self._speculation = speculation

    def compute(self, plan: Items[Chunk], drafts: Drafts = _NO_DRAFTS) -> None:
        """Compute `plan`, with `drafts` behind the last tokens of those that decode, and sample.

        What llama.cpp refuses is tried one by one, without drafts: one request's failure is its own.
        """
        sequences = [self._running[chunk.key] for chunk in plan]
        jobs = [_job(it, chunk, drafts.get(it.key, [])) for it, chunk in zip(sequences, plan, strict=True)]
        prompts = [chunk for chunk in plan if chunk.tokens > 1]
        interruptible = frozenset() if self._runner.is_moving else frozenset(chunk.key for chunk in prompts)
        hint = self._running.hint if interruptible else None
        if not self._inbox.begin_step(interruptible, hint):
            return
        begun = time.perf_counter()
        code = self._runner.decode(jobs)
        if prompts:
            self._inbox.end_step()
        if code == DECODED:
            tokens = self._advance(jobs, sequences)
            seconds = time.perf_counter() - begun
            prompt_tokens = sum(chunk.tokens for chunk in prompts)
            self._pace.stepped(len(plan) - len(prompts), prompt_tokens, seconds, tokens)
            rows = sum(job.outputs for job in jobs)
            if rows == sum(len(job.tokens) for job in jobs):
                self._speculation.stepped(len(jobs), rows, tokens, seconds)
            return
        for it in sequences:
            self._running.roll_back(it)
        if code == ABORTED:
            return
        if len(sequences) == 1 and not drafts:
            self._fail(sequences[0], code)
            return
        for it, chunk in zip(sequences, plan, strict=True):
            tokens = min(chunk.tokens, it.pending)
            self.compute([Chunk(it.key, tokens, tokens == it.pending)])

    def _advance(self, jobs: Items[Job], sequences: Items[Sequence]) -> int:
        """Enter what was computed, and draw for everyone whose last known token was among it. Returns tokens drawn."""
        row = drawn = 0
        for job, it in zip(jobs, sequences, strict=True):
            known = len(job.tokens) - max(0, job.outputs - 1)
            self._running.advance(it, known)
            if it.prefilled_ms is None:
                self._outbox.post(it, prefilling(it))
            if job.outputs:
                self._begin_answer(it)
                drawn += self._draw(it, job.tokens[known:], row)
                row += job.outputs
            elif it.is_hint and it.pending == 0:
                self._running.release(it)
        self._running.pass_on()
        return drawn

    def _draw(self, it: Sequence, draft: Items[int], row: int) -> int:
        """What `it` says, from the outputs from `row` on: as much of `draft` as it says too, and one token. Or its end,
        if it turns out that its rules cannot be kept. Returns the number of tokens."""
        tokens: list[int] = []
        accepted, trouble = 0, None
        try:
            for proposed in (*draft, None):
                tokens.append(it.sampler.sample(row + accepted))
                if tokens[-1] != proposed:
                    break
                accepted += 1
        except BackendError as error:
            trouble = error
        if draft:
            self._running.advance(it, accepted)
            self._running.roll_back(it)
            self._speculation.verified(it, len(draft), accepted)
            self._answers.tell_drafts(it)
        self._answers.accept(it, tokens)
        if trouble is not None and it in self._running:
            self._answers.fail(it, trouble)
        return len(tokens)

    def _begin_answer(self, it: Sequence) -> None:
        """The prompt of `it` is computed, if it was not before. What that cost is remembered."""
        if it.prefilled_ms is not None:
            return
        it.prefilled_ms = it.now()
        self._running.prefilled(it)
        tokens = it.prompt_tokens - it.cached
        if tokens >= MIN_RESTORED and it.started_ms is not None:  # short ones say nothing about long ones
            self._costs.computed(tokens, (it.prefilled_ms - it.started_ms - it.parked_ms) / 1000)
        self._outbox.post(it, Status("generating"))

    def _fail(self, it: Sequence, code: int) -> None:
        message = f"llama.cpp could not compute this request (llama_decode returned {code}); others are not affected"
        self._answers.fail(it, BackendError(Code.INTERNAL, message))


def _job(it: Sequence, chunk: Chunk, draft: list[int]) -> Job:
    """What llama.cpp has to compute for `chunk`: an output after all that is known, unless nobody waits for it, and
    after each token of `draft`."""
    outputs = 1 + len(draft) if chunk.last and not it.is_hint else 0
    return Job(it.slot, it.computed, it.next_tokens(chunk.tokens) + draft, outputs)
