"""The admitted sequences: how they begin, share what they have in common while it is computed, and leave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from backends.engine.outbox import Outbox
from backends.engine.prefix_cache import Live, Offer, Prefix, best_live, pack
from backends.engine.report import prefilling
from backends.engine.residency import MIN_RESTORED, MIN_SHARED, Residency
from backends.engine.runner import Runner
from backends.engine.scheduler import Active, leaves_out
from backends.engine.sequence import Sequence
from backends.engine.speculation import Speculation
from backends.events import Status

NOBODY = -1


class Running:
    """Sequences with a slot and promised cells, in order of admission. On the scheduler's thread only."""

    def __init__(self, runner: Runner, memory: Residency, outbox: Outbox, speculation: Speculation) -> None:
        self._runner = runner
        self._memory = memory
        self._outbox = outbox
        self._speculation = speculation
        self._sequences: dict[int, Sequence] = {}
        self._changes = 0  # how often somebody came or left
        self._lent = (0, 0, 0)  # a waiting sequence, `_changes` then, and what running ones have of it
        self.hint: Sequence | None = None  # running, and then alone but for parked ones

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._sequences.values())

    def __contains__(self, sequence: Sequence) -> bool:
        return sequence.key in self._sequences

    def __getitem__(self, key: int) -> Sequence:
        return self._sequences[key]

    @property
    def stands_still(self) -> bool:
        """Whether there is nothing to compute: nobody is here, or who is here is parked."""
        return all(it.is_parked for it in self)

    # ---- joining

    def has_cells_for(self, it: Sequence, more: int = 0) -> bool:
        """Whether `it` can be admitted, or could with `more` cells: what running ones share with it is not needed
        twice."""
        available = self._memory.available + more
        if it.cells <= available:
            return True
        if self._lent[:2] != (it.key, self._changes):
            offer = best_live(pack(it.tokens[: it.prompt_tokens - 1]), self._relatives(it))
            self._lent = it.key, self._changes, max(offer.shared, offer.coming)
        return it.cells - self._lent[2] <= available

    def start(self, it: Sequence) -> None:
        """Admit `it`: there is a slot for it, and `has_cells_for` it. It gets what there is of its prompt already."""
        it.sampler = self._runner.make_sampler(it.draw)
        it.slot = self._memory.take_slot()
        packed = pack(it.tokens[: it.prompt_tokens - 1])  # the last one is always computed: its logits are needed
        live = best_live(packed, self._relatives(it))
        prefix, kept = self._memory.find(packed, it.partition)
        giver, tokens = self._affordable(it, self._preferences(live, prefix, kept))
        is_kept = prefix is not None and giver in (NOBODY, prefix.slot)
        if prefix is not None and NOBODY != giver == prefix.slot and self._memory.is_free_to_go_on(prefix, tokens):
            it.slot, it.computed = self._memory.go_on(prefix, tokens, it.slot, it.cells), tokens
            self._memory.make_way()
        elif giver != NOBODY:
            it.computed = self._memory.share(giver, it.slot, tokens, it.cells)
            self._memory.make_way()
        else:
            self._memory.make_way(alone=not self._sequences)
            self._memory.promise(it.slot, it.cells)
            if prefix is not None:
                it.computed = self._memory.restore(prefix, it.slot, kept)
            else:
                it.computed = self._memory.resume(it.slot, packed, it.partition)
            self._memory.cells.fill(it.slot, it.computed)
        it.cached = it.computed
        it.ahead = prefix.ahead_within(it.cached) if prefix is not None and is_kept else 0
        self._sequences[it.key] = it
        self._changes += 1
        if it.is_hint:
            self.hint = it
        if it.computed < tokens:
            self._outbox.post(it, Status("queued", detail="another request computes the same prompt"))

    def _preferences(self, live: Offer, prefix: Prefix | None, kept: int) -> Iterator[tuple[int, int]]:
        """Whose first cells a prompt may take, and how many of them, best first."""
        if live.coming - max(live.shared, kept) >= MIN_RESTORED:
            yield self._sequences[live.source].slot, live.coming
        if live.shared >= max(kept, MIN_SHARED):
            yield self._sequences[live.giver].slot, live.shared
        if prefix is not None and prefix.slot >= 0:
            yield prefix.slot, kept
        yield NOBODY, 0
        if live.coming > live.shared:
            yield self._sequences[live.source].slot, live.coming
        elif live.shared:
            yield self._sequences[live.giver].slot, live.shared

    def _affordable(self, it: Sequence, preferences: Iterable[tuple[int, int]]) -> tuple[int, int]:
        """The first for which there are enough cells. The last one is what `has_cells_for` counts on."""
        available, choice = self._memory.available, (NOBODY, 0)
        for choice in preferences:
            giver, tokens = choice
            cost = it.cells if giver == NOBODY else self._memory.cells.cost(it.cells, giver, tokens)
            if cost <= available:
                break
        return choice

    def _relatives(self, it: Sequence) -> Iterator[Live]:
        """The running sequences that begin like `it`, each with what of it may be shared."""
        for other in self:
            if other.partition != it.partition:
                continue
            if self._memory.keeps and other.tokens[:MIN_SHARED] == it.tokens[:MIN_SHARED]:
                prefilling = other.prefilled_ms is None
                known = other.tokens[: max(other.computed, other.prompt_tokens - 1) if prefilling else other.reusable]
                yield Live(other.key, pack(known), other.reusable, prefilling)

    # ---- steps

    def active(self) -> list[Active]:
        """What there is to do."""
        return [
            Active(it.key, it.pending, it.due, self._stretch(it) if it.pending > 1 else 0)
            for it in self
            if not it.is_parked
        ]

    def _stretch(self, it: Sequence) -> int:
        return self._memory.cells.stretch(it.slot)

    def begin(self, it: Sequence) -> None:
        """`it` is computed from now on, if it was not before."""
        if it.started_ms is None:
            it.started_ms = it.now()
            self._outbox.post(it, prefilling(it))

    def advance(self, it: Sequence, tokens: int) -> None:
        """`tokens` more of `it` are in the KV cache."""
        it.computed += tokens
        self._memory.cells.fill(it.slot, it.computed)

    def prefilled(self, it: Sequence) -> None:
        """All of the prompt of `it` is computed, and nothing else."""
        self._memory.checkpoint(it.slot, it.tokens[: it.computed], it.partition)

    def pass_on(self) -> None:
        """Whoever waits for a prompt that another computes takes what has been computed of it."""
        for it in self:
            if it.pending > 1 and self._stretch(it):
                filled = self._memory.catch_up(it.slot)
                it.cached += filled - it.computed
                it.computed = filled

    def roll_back(self, it: Sequence) -> None:
        """Forget what is in the KV cache behind the computed tokens of `it`: left by a failed step or a draft."""
        if not self._runner.remove(it.slot, it.computed):
            it.computed = it.cached = 0
        self._memory.cells.fill(it.slot, it.computed)

    def leave_out(self, it: Sequence) -> int:
        """The oldest tokens of `it`, which is full, give way. Returns how many; 0 if none can."""
        tokens = leaves_out(it.cells, it.keep)
        if not tokens:
            return 0
        self._speculation.release(it)  # which begins again with what is left
        held = self._memory.take_out(it.slot, it.keep, it.keep + tokens)
        if held is None:
            return 0
        it.is_moved = it.is_moved or held > it.keep
        it.computed = held
        it.leave_out(tokens)
        return tokens

    # ---- leaving

    def release(self, sequence: Sequence) -> None:
        """Take `sequence` out; what it computed is kept for others."""
        del self._sequences[sequence.key]
        self._changes += 1
        sequence.close()
        self._speculation.release(sequence)
        useful = min(len(sequence.tokens), sequence.reusable)
        if sequence.computed > useful:  # it ended in the midst of an accepted draft, or its cells were moved
            sequence.computed = useful
            self.roll_back(sequence)
        computed = sequence.computed
        ahead = min(computed, computed - sequence.cached + sequence.ahead) if sequence.is_hint else 0
        self._memory.keep(
            sequence.slot, sequence.tokens[:computed], sequence.partition, draft=sequence.is_draft, ahead=ahead
        )
        if sequence is self.hint:
            self.hint = None
        sequence.slot = NOBODY

    def check(self) -> None:
        """Compare the account of cells with what llama.cpp holds. Raises AssertionError."""
        self._memory.check({it.slot: it.computed for it in self})
        assert all(self._memory.cells.ahead(it.slot)[1] == it.computed for it in self), "somebody was not passed on to"
