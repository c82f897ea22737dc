"""The way out of a sampled token: into the answer, through the detokenizer, to the reader; and the answer's end."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Items

from backends.engine.gpu_memory import memory
from backends.engine.outbox import Outbox
from backends.engine.pace import Pace
from backends.engine.reasoning import Said
from backends.engine.report import context_full, drafts_meta, first_meta, last_meta, left_out
from backends.engine.residency import Residency
from backends.engine.runner import Runner
from backends.engine.running import Running
from backends.engine.sequence import Sequence
from backends.errors import BackendError
from backends.events import Done, FinishReason, Meta, Reasoning, Status, Token

DRAFTS_INTERVAL_MS = 250
"""Between two reports of how many drafted tokens were accepted."""


class Answers:
    """Takes in what was sampled, and ends an answer that is through. On the scheduler's thread only."""

    def __init__(self, runner: Runner, memory: Residency, running: Running, outbox: Outbox, pace: Pace) -> None:
        self._runner = runner
        self._memory = memory
        self._running = running
        self._outbox = outbox
        self._pace = pace

    def tell_drafts(self, sequence: Sequence) -> None:
        """How its drafts fare goes to the reader, a few times a second."""
        now = sequence.now()
        if sequence.first_token_ms is not None and now - sequence.drafts_told_ms >= DRAFTS_INTERVAL_MS:
            sequence.drafts_told_ms = now
            self._outbox.post(sequence, drafts_meta(sequence))

    def accept(self, sequence: Sequence, tokens: Iterable[int]) -> None:
        """`tokens` go on the answer of `sequence`, up to the one that ends it."""
        for token in tokens:
            reason = self._accept(sequence, token)
            if reason is not None:
                self._finish(sequence, reason)
                return

    def _accept(self, sequence: Sequence, token: int) -> FinishReason | None:
        """Why the answer ends with `token`, if it does."""
        if self._runner.ends(token):
            return "stop"
        sequence.tokens.append(token)
        sequence.unsent += 1
        spelled = not sequence.text.is_answering
        self._say(sequence, sequence.text.push(self._runner.piece(token, spelled)))
        if sequence.text.stopped:
            return "stop"
        return "length" if sequence.completion_tokens >= sequence.limit else None

    def _say(self, sequence: Sequence, said: Items[Said]) -> None:
        if not said:
            return
        if sequence.first_token_ms is None:
            sequence.first_token_ms = sequence.now()
            self._outbox.post(sequence, self._first_meta(sequence))
        told = sequence.sampler.logprobs
        for text, is_reasoning in said:
            logprobs = tuple(told.popleft() for _ in range(sequence.unsent)) if told else ()
            token = Reasoning(text, sequence.unsent) if is_reasoning else Token(text, sequence.unsent, logprobs)
            self._outbox.post_token(sequence, token)
            sequence.unsent = 0

    def _first_meta(self, sequence: Sequence) -> Meta:
        gpu = memory() if self._runner.uses_gpu else None
        return first_meta(sequence, self._runner.info, self._memory.busy, gpu)

    def make_room(self) -> None:
        """Those whose context is full leave out what is oldest, or end where that cannot be."""
        for it in list(self._running):
            if not it.is_full:
                continue
            if self._running.leave_out(it):
                self._outbox.post(it, Status("generating", detail=left_out(it)))
            else:
                it.fills_context = True
                self._finish(it, "length")

    def _finish(self, sequence: Sequence, reason: FinishReason) -> None:
        self._say(sequence, sequence.text.finish())
        now = sequence.now()
        used = self._memory.busy
        self._pace.ended(sequence.completion_tokens, sequence.limit)
        self._running.release(sequence)
        if sequence.first_token_ms is None:  # an answer without text
            sequence.first_token_ms = now
            self._outbox.post(sequence, self._first_meta(sequence))
        self._outbox.post(sequence, last_meta(sequence, now, used, self._memory.cells.total))
        details = [left_out(sequence)] if sequence.left_out else []
        if reason == "length" and sequence.fills_context:
            details.append(context_full(self._runner.info.n_ctx))
        detail = "; ".join(details)
        self._outbox.conclude(sequence, Done(sequence.completion_tokens, now, reason, detail))

    def fail(self, sequence: Sequence, error: BackendError) -> None:
        """The answer ends with `error`; others are not affected."""
        self._running.release(sequence)
        self._outbox.conclude(sequence, error.event())
