"""Speculative decoding: for every step, which sequences get how many drafted tokens, from whom, and whether it pays.

The target computes them together with everyone's tokens. A drafted token is kept if it is the one that the target draws
there itself (dice.py says why nothing is lost by that, and why the answer does not depend on the draft), so greedy and
sampled answers are what they are without drafts, whatever is drafted; this module only decides about time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from collections.abc import Sequence as Items

import msgspec

from backends.engine.draft_length import Acceptance, Costs, Credit, Want, choose
from backends.engine.drafter import MAX_BEHIND, Drafter, ModelDrafter, NgramDrafter, Offer
from backends.engine.load import load_error
from backends.engine.options import EngineOptions
from backends.engine.residency import host_limit
from backends.engine.runner import Job, Runner
from backends.engine.sequence import Sequence
from backends.engine.vocabulary import difference

log = logging.getLogger(__name__)

PLAIN_EVERY = 32
"""One step of so many is made without drafts, to know what that takes now."""

TRY_FIRST, TRY_LAST = 4, 256
"""Steps between two tries while drafting does not seem to pay: the first pause, doubled after each try up to the last.
"""

TRY_LENGTH = 3

FREE_ADVANTAGE = 0.1
"""How much likelier the draft model's tokens have to be than what was found in the text, which costs nothing."""

_HICCUP = 4.0
"""Drafting that takes longer than so many plain steps was disturbed."""

_KNOWN = 30
"""Drafted tokens of a kind after which its acceptance is known."""

_READING_UNKNOWN, _READING_USELESS = 0.03, 0.01
"""Of the time that an answer has taken: what reading may take for drafts of unknown use, and of none so far."""

_CALIBRATIONS = 3
"""Times that each step is taken to measure it; the quickest counts most."""

_REST = 256
"""Tokens that an answer is thought to have still to come, at most."""


class Speculation:
    """Drafts for one engine, the account of their use, and the choice of their lengths. On the scheduler's thread."""

    def __init__(
        self, ngram: NgramDrafter | None, model: ModelDrafter | None, draft_max: int, costs: Costs | None = None
    ) -> None:
        """`costs`: what is known of a step's by its rows."""
        self._ngram = ngram
        self._model = model
        self._drafters: list[Drafter] = [drafter for drafter in (ngram, model) if drafter is not None]
        self._draft_max = draft_max
        self._costs = costs or Costs()
        self._acceptance = Acceptance()
        self._credit = Credit()
        self._kinds: dict[int, str] = {}  # of the drafts of this step, by key
        self._drafting = 0.0  # seconds that this step's drafts took
        self._may_read = True  # one sequence a step, as the others wait
        self._drafted_steps = 0  # since the last plain one
        self._pause, self._paused = TRY_FIRST, 0

    @property
    def computes(self) -> bool:
        """Whether drafting takes a model, whose work `Runner.abort` ends: then there are no drafts in this step."""
        return self._model is not None

    def propose(self, decoding: Items[Sequence], room: int) -> dict[int, list[int]]:
        """Drafted tokens by key for those that decode in this step; `room`: tokens that the batch takes besides.

        They are never so many that the answer could be full before the last of them.
        """
        self._kinds.clear()
        self._drafting = 0.0
        self._may_read = True
        if not self._drafters or not decoding or not self._may_draft(len(decoding)):
            return {}
        begun = time.perf_counter()
        offers = {it.key: offer for it in decoding if (offer := self._best_offer(it)) is not None}
        drafts = self._draft([it for it in decoding if it.key in offers], offers, len(decoding), room)
        self._kinds.update((key, offers[key].kind) for key in drafts)
        self._drafting = time.perf_counter() - begun
        return drafts

    def verified(self, it: Sequence, drafted: int, accepted: int) -> None:
        """The target has accepted the first `accepted` of the tokens `drafted` for `it` in this step."""
        it.draft_tokens += drafted
        it.accepted_tokens += accepted
        self._acceptance.add(it.key, self._kinds[it.key], accepted, drafted)

    def stepped(self, streams: int, rows: int, tokens: int, seconds: float) -> None:
        """A step in which `streams` sequences decoded and nobody read a prompt: its rows, tokens gained and time."""
        if not self._drafters:
            return
        self._costs.measured(rows, seconds)
        plain = self._costs.of(streams)
        if rows == streams:
            self._credit.decoded(plain)
            self._drafted_steps = 0
        else:
            self._drafted_steps += 1
            spent = self._costs.of(rows) + min(self._drafting, _HICCUP * plain)  # what it takes, not what it took
            self._credit.settle(tokens / streams * plain - spent, plain)

    def release(self, it: Sequence) -> None:
        """`it` has ended."""
        self._acceptance.forget(it.key)
        for drafter in self._drafters:
            drafter.release(it)

    def settle(self, idle: bool) -> bool:
        """See `Residency.settle`: that of the draft model's cells."""
        return self._model is not None and self._model.memory.settle(idle)

    def check(self) -> None:
        """Compare the draft model's account of cells with what llama.cpp holds. Raises AssertionError."""
        if self._model is not None:
            self._model.check()

    def close(self) -> None:
        """Free the draft model."""
        if self._model is not None:
            self._model.close()

    # ---- decisions

    def _may_draft(self, streams: int) -> bool:
        """Whether it is known what a plain step takes, and drafting may lose something."""
        return streams in self._costs and self._drafted_steps < PLAIN_EVERY and self._credit.allows()

    def _most(self, it: Sequence) -> int:
        """The longest draft that `it` can use, and has cells for: the step gives one token more than are accepted."""
        return min(self._draft_max, it.limit - it.completion_tokens - 1, it.cells - len(it.tokens))

    def _best_offer(self, it: Sequence) -> Offer | None:
        """What is likeliest to be accepted; what costs nothing has a small advantage."""
        if self._most(it) < 1:
            return None
        copied = self._ngram.offer(it) if self._ngram is not None else None
        spoken = self._ready(it, self._model) if self._model is not None else None
        if copied is None or spoken is None:
            return copied or spoken
        gap = self._acceptance.rate(it.key, spoken.kind) - self._acceptance.rate(it.key, copied.kind)
        return spoken if gap > FREE_ADVANTAGE else copied

    def _ready(self, it: Sequence, model: ModelDrafter) -> Offer | None:
        """The draft model's offer, once it has read enough; a part of that now, if that is worth its time."""
        offer = model.offer(it)
        if offer is None or offer.behind <= MAX_BEHIND:
            return offer
        if self._may_read and self._worth_reading(it, offer.behind * model.token_seconds, model):
            self._may_read = False
            model.read(it)
            offer = model.offer(it)
        return offer if offer is not None and offer.behind <= MAX_BEHIND else None

    def _worth_reading(self, it: Sequence, seconds: float, model: ModelDrafter) -> bool:
        """Whether the draft model should read on, for `seconds` in all, before it can draft for `it`."""
        if self._acceptance.trials("model") < _KNOWN:
            return seconds <= _READING_UNKNOWN * it.age
        plain = self._costs.of(1)
        want = Want(it.key, self._acceptance.rate(it.key, "model"), self._draft_max, False)
        gain = choose([want], 1, self._costs.of, model.costs.of).gain
        saved = (1 - 1 / gain) * plain * min(_REST, it.limit - it.completion_tokens)
        return seconds <= max(saved / 2, _READING_USELESS * it.age)

    def _draft(self, those: Items[Sequence], offers: dict[int, Offer], streams: int, room: int) -> dict[int, list[int]]:
        wants = [
            Want(it.key, self._acceptance.rate(it.key, offers[it.key].kind), self._most(it), offers[it.key].free)
            for it in those
        ]
        lengths = choose(wants, streams, self._costs.of, self._model.costs.of if self._model else self._costs.of).by_key
        if lengths:
            self._pause = TRY_FIRST
        elif wants:
            lengths = self._try(wants)
        drafts: dict[int, list[int]] = {}
        wanted = [(it, lengths[it.key]) for it in those if it.key in lengths]
        for drafter, free in ((self._ngram, True), (self._model, False)):
            chosen = [(it, length) for it, length in wanted if offers[it.key].free == free]
            if drafter is not None and chosen:
                drafts |= drafter.propose(chosen)
        return _fitting(drafts, room)

    def _try(self, wants: Items[Want]) -> dict[int, int]:
        """Now and then a short draft for one of `wants`, to see whether something has changed."""
        self._paused += 1
        if self._paused < self._pause:
            return {}
        self._paused, self._pause = 0, min(2 * self._pause, TRY_LAST)
        want = max(wants, key=lambda want: want.rate)
        return {want.key: min(TRY_LENGTH, want.most)}


def speculation_for(runner: Runner, options: EngineOptions, on_progress: Callable[[float], bool]) -> Speculation:
    """What `options` ask for. Raises BackendError (MODEL_LOAD) when the draft model cannot be used, with the reason."""
    if options.draft == "off":
        return Speculation(None, None, 0)
    if not runner.can_roll_back:
        log.info("no drafts: the memory of %s cannot forget the end of a sequence", runner.info.name)
        return Speculation(None, None, 0)
    ngram = NgramDrafter() if options.draft in ("auto", "ngram") else None
    model = None
    if options.draft_model and options.draft in ("auto", "model"):
        model = _load_drafter(runner, options, on_progress)
    costs = Costs()
    _calibrate(runner, costs, (1, 1 + TRY_LENGTH))
    if model is not None:
        _calibrate(model.runner, model.costs, (1,))
    return Speculation(ngram, model, options.draft_max, costs)


def _calibrate(runner: Runner, costs: Costs, sizes: Items[int]) -> None:
    """Measure what steps of so many rows take, so that the first answer need not pay for finding out."""
    token = runner.bos or 0
    for rows in sizes:
        for _ in range(_CALIBRATIONS):
            begun = time.perf_counter()
            runner.decode([Job(0, 0, [token] * rows, rows)])
            runner.logits(0)
            costs.measured(rows, time.perf_counter() - begun)
            runner.remove(0, 0)


def _load_drafter(target: Runner, options: EngineOptions, on_progress: Callable[[float], bool]) -> ModelDrafter:
    """The draft model, with as many cells as the target has."""
    info = target.info
    own = msgspec.structs.replace(
        options,
        model=options.draft_model,
        draft_model="",
        draft="off",
        lora=(),
        n_ctx=info.n_ctx,
        kv_cells=info.kv_cells,
    )
    runner = Runner(own, lambda _part: on_progress(1.0), beside=target)
    if not runner.is_divisible:
        own = msgspec.structs.replace(own, kv_residency="none")  # it always reads from the beginning
    problem = difference(target.vocabulary(), runner.vocabulary())
    if not runner.can_roll_back:
        problem = "its memory cannot forget the end of a sequence (a recurrent or hybrid model)"
    if problem is not None:
        runner.close()
        advice = "Choose a draft model of the same family, or set draft to ngram or off"
        raise load_error(options.draft_model, f"it cannot draft for {info.path}: {problem}. {advice}.")
    part = runner.info.kv_bytes_per_token / info.kv_bytes_per_token
    own = msgspec.structs.replace(own, kv_host_mib=max(1, round(host_limit(options) * part) >> 20))
    return ModelDrafter(runner, own, target.n_vocab)


def _fitting(drafts: dict[int, list[int]], room: int) -> dict[int, list[int]]:
    """`drafts` that are not empty, cut to `room` tokens together."""
    fitting = {}
    for key, draft in drafts.items():
        cut = draft[:room]
        room -= len(cut)
        if cut:
            fitting[key] = cut
    return fitting
