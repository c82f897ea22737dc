"""The admitted sequences: how they begin, wait for a prefix that another computes, and leave."""

from __future__ import annotations

from collections.abc import Iterator

from backends.engine.outbox import Outbox
from backends.engine.prefix_cache import Live, best_live, pack
from backends.engine.report import prefilling
from backends.engine.residency import MIN_RESTORED, MIN_SHARED, Residency
from backends.engine.runner import Runner
from backends.engine.sequence import Sequence


class Running:
    """Sequences with a slot and promised cells, in order of admission. On the scheduler's thread only."""

    def __init__(self, runner: Runner, memory: Residency, outbox: Outbox) -> None:
        self._runner = runner
        self._memory = memory
        self._outbox = outbox
        self._sequences: dict[int, Sequence] = {}
        self.deferred: list[Sequence] = []  # those that wait for their source
        self.hint: Sequence | None = None  # running, and then alone

    def __len__(self) -> int:
        return len(self._sequences)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self._sequences.values())

    def __contains__(self, sequence: Sequence) -> bool:
        return sequence.key in self._sequences

    def __getitem__(self, key: int) -> Sequence:
        return self._sequences[key]

    def start(self, sequence: Sequence) -> None:
        """Admit `sequence`: there is a slot for it, and its cells are available."""
        sequence.sampler = self._runner.make_sampler(sequence.draw)
        sequence.slot = self._memory.take_slot()
        self._sequences[sequence.key] = sequence
        if sequence.is_hint:
            self.hint = sequence
        self._begin(sequence)

    def _begin(self, it: Sequence) -> None:
        """Give `it` what there is of its prompt already and let it compute the rest; or let it wait for its source."""
        packed = pack(it.tokens[: it.prompt_tokens - 1])  # the last one is always computed: its logits are needed
        live = best_live(packed, self._relatives(it))
        prefix, kept = self._memory.find(packed, it.partition)
        if live.coming - max(live.shared, kept) >= MIN_RESTORED:
            it.source, it.wanted = self._sequences[live.source], live.coming
            self.deferred.append(it)
            self._memory.promise(it.slot, it.cells)
            return
        it.source, it.started_ms = None, it.now()
        shared = live.shared if live.shared >= max(kept, MIN_SHARED) else 0
        if shared:
            self._memory.share(self._sequences[live.giver].slot, it.slot, shared)
        elif prefix is not None and prefix.slot >= 0:
            self._memory.share(prefix.slot, it.slot, kept)
            shared = kept
        self._memory.promise(it.slot, it.cells)  # this may turn `prefix` out, hence after sharing it
        if prefix is not None and not shared:
            shared = self._memory.restore(prefix, it.slot, kept)
        it.cached = it.computed = shared
        self._memory.cells.fill(it.slot, shared)
        self._outbox.post(it, prefilling(it))

    def _relatives(self, it: Sequence) -> Iterator[Live]:
        """The running sequences that begin like `it`."""
        for other in self:
            if other is it or other.source or other.partition != it.partition:
                continue
            if self._memory.keeps and other.tokens[:MIN_SHARED] == it.tokens[:MIN_SHARED]:
                yield Live(other.key, pack(other.tokens), other.computed, other.prefilled_ms is None)

    def resume_deferred(self) -> None:
        """Let those go on whose source has come far enough, or has left: then one of them takes its place."""
        deferred, self.deferred = self.deferred, []
        for it in deferred:
            source = it.source
            if source is None or it not in self:
                continue
            if source in self and source.computed < it.wanted:
                self.deferred.append(it)
            else:
                self._begin(it)

    def advance(self, it: Sequence, tokens: int) -> None:
        """`tokens` more of `it` are in the KV cache."""
        it.computed += tokens
        self._memory.cells.fill(it.slot, it.computed)

    def roll_back(self, it: Sequence) -> None:
        """Forget what is in the KV cache behind the computed tokens of `it`: a failed step left it there."""
        if not self._runner.remove(it.slot, it.computed):
            it.computed = it.cached = 0
            self._memory.cells.fill(it.slot, 0)

    def release(self, sequence: Sequence) -> None:
        """Take `sequence` out; what it computed is kept for others."""
        del self._sequences[sequence.key]
        sequence.close()
        self._memory.keep(
            sequence.slot, sequence.tokens[: sequence.computed], sequence.partition, draft=sequence.is_hint
        )
        if sequence is self.hint:
            self.hint = None
        sequence.slot, sequence.source = -1, None

    def check(self) -> None:
        """Compare the account of cells with what llama.cpp holds. Raises AssertionError."""
        self._memory.check({it.slot: it.computed for it in self})
        assert all(it.source is None or it.computed == 0 for it in self)
        assert {it.key for it in self if it.source} <= {it.key for it in self.deferred}
