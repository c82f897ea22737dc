"""Who proposes tokens for the target to verify: a small model of the same vocabulary, or the text itself.

A draft model has a context and a KV cache of its own, kept like the target's (residency.py): its cells follow each
sequence by what it has said, prefixes are found again, and what was drafted in vain is removed before the next draft.
All sequences are drafted for together: one decode of the draft model for each drafted position.
"""

from __future__ import annotations

import time
from collections.abc import Sequence as Items
from typing import NamedTuple, Protocol

from backends.engine.draft_length import Costs, catch_up
from backends.engine.ngram import LONG, Match, NgramIndex, follow
from backends.engine.options import EngineOptions
from backends.engine.prefix_cache import Prefix, common_prefix, pack
from backends.engine.residency import MIN_SHARED, Residency
from backends.engine.runner import ABORTED, DECODED, Job, Runner
from backends.engine.sampler import Sampler
from backends.engine.sequence import Sequence

MAX_BEHIND = 16
"""Tokens that it reads by the way when it drafts; of more it has to be told to `read`."""


class Offer(NamedTuple):
    """What a drafter has for a sequence: a `kind` of draft whose acceptance is counted apart, that costs nothing if
    `free`; `behind`: tokens that it has to read before it can draft."""

    kind: str
    free: bool
    behind: int = 0


class Drafter(Protocol):
    """Proposes what a sequence says next. On the scheduler's thread only."""

    def offer(self, it: Sequence) -> Offer | None:
        """What it has for `it` now; None for nothing."""
        ...

    def propose(self, wanted: Items[tuple[Sequence, int]]) -> dict[int, list[int]]:
        """For each sequence, by its key, at most so many tokens; less or nothing where it has no more."""
        ...

    def release(self, it: Sequence) -> None:
        """`it` has ended, with the tokens that it has now. Harmless for one that it never saw."""
        ...


class NgramDrafter:
    """Proposes what followed when the last tokens were there before, in the prompt or the answer."""

    def __init__(self) -> None:
        self._indexes: dict[int, NgramIndex] = {}

    def offer(self, it: Sequence) -> Offer | None:
        """See `Drafter.offer`: "copy" behind a long run that agrees, "echo" behind a short one."""
        match = self._find(it)
        return match and Offer("copy" if match.length == LONG else "echo", True)

    def propose(self, wanted: Items[tuple[Sequence, int]]) -> dict[int, list[int]]:
        """See `Drafter.propose`."""
        found = ((it, count, self._find(it)) for it, count in wanted)
        return {it.key: follow(it.tokens, match.position, count) for it, count, match in found if match}

    def release(self, it: Sequence) -> None:
        """See `Drafter.release`."""
        self._indexes.pop(it.key, None)

    def _find(self, it: Sequence) -> Match | None:
        index = self._indexes.get(it.key)
        if index is None:
            index = self._indexes[it.key] = NgramIndex()
        index.read(it.tokens)
        return index.find()


class _Branch:
    """What the draft model has of `it`: cells of its first `computed` tokens, and behind them of what it `drafted`."""

    def __init__(self, it: Sequence, slot: int, computed: int, sampler: Sampler) -> None:
        self.it = it
        self.slot = slot
        self.computed = computed
        self.drafted: list[int] = []
        self.sampler = sampler

    @property
    def behind(self) -> int:
        """Tokens of `it` that are not computed."""
        return len(self.it.tokens) - self.computed


class ModelDrafter:
    """Proposes what a small model would say, drawn by the rule of the target's own tokens and with the same dice."""

    def __init__(self, runner: Runner, options: EngineOptions, n_vocab: int) -> None:
        """`runner` and `options`: the draft model's. `n_vocab`: of the target, whose vocabulary may be the smaller."""
        self.runner = runner
        self._n_vocab = n_vocab
        self._n_batch = options.n_batch
        self._branches: dict[int, _Branch] = {}
        self._lost: set[int] = set()  # keys of sequences that it cannot follow
        self._behind: dict[int, int] = {}  # of sequences not begun: tokens to read, when that was last looked up
        self.memory = Residency(runner, options)
        self.costs = Costs()  # of one drafted position, by the number of sequences
        self.token_seconds = 0.0  # to read a token; 0 before it is measured

    def offer(self, it: Sequence) -> Offer | None:
        """See `Drafter.offer`."""
        if it.key in self._lost:
            return None
        branch = self._branches.get(it.key)
        if branch is None:
            behind = self._behind.get(it.key)
            if behind is None:
                behind = self._behind[it.key] = len(it.tokens) - self._inheritance(it)[1]
            return Offer("model", False, max(behind, MAX_BEHIND + 1))
        self._follow(branch)
        return Offer("model", False, branch.behind)

    def read(self, it: Sequence) -> None:
        """Read on in what `it` has that the draft model has not read, as long as a step may wait.

        A sequence that is new here begins with what is left of others that began like it.
        """
        branch = self._branches.get(it.key)
        if branch is None:
            if not self._has_cells_for(it):
                self._lost.add(it.key)
                return
            branch = self._begin(it)
        if branch.behind <= MAX_BEHIND:
            return
        begun = time.perf_counter()
        chunk = catch_up(branch.behind - 1, self.token_seconds, self._n_batch)
        if self._decode([branch], [it.tokens[branch.computed : branch.computed + chunk]], 0):
            branch.computed += chunk
            self._account(branch)
            took = (time.perf_counter() - begun) / chunk
            known = self.token_seconds or took
            self.token_seconds = (known + min(took, 2 * known)) / 2  # a sudden slowness may be the machine's

    def propose(self, wanted: Items[tuple[Sequence, int]]) -> dict[int, list[int]]:
        """See `Drafter.propose`. Nothing for a sequence that is far `behind`, or more of them than a batch takes."""
        drafts: dict[int, list[int]] = {}
        going: list[tuple[_Branch, int]] = []
        room = self._n_batch
        for it, count in wanted:
            branch = self._branches.get(it.key)
            if branch is not None and branch.behind <= min(room, MAX_BEHIND):
                room -= branch.behind
                going.append((branch, count))
                drafts[it.key] = []
        depth = 0
        while going:
            begun = time.perf_counter()
            branches = [branch for branch, _ in going]
            tokens = [drafts[it.it.key][-1:] if depth else it.it.tokens[it.computed :] for it in branches]
            if not self._decode(branches, tokens, 1):
                break
            next_ones = []
            for row, (branch, count) in enumerate(going):
                if depth:
                    branch.drafted += tokens[row]
                else:
                    branch.computed += len(tokens[row])
                self._account(branch)
                token = branch.sampler.foresee(row, branch.it.sampler.drawn + depth)
                if token < self._n_vocab:
                    drafts[branch.it.key].append(token)
                    if depth + 1 < count:
                        next_ones.append((branch, count))
            self.costs.measured(len(going), time.perf_counter() - begun)
            going, depth = next_ones, depth + 1
        return drafts

    def release(self, it: Sequence) -> None:
        """See `Drafter.release`. What was read of it is kept for others."""
        self._lost.discard(it.key)
        self._behind.pop(it.key, None)
        branch = self._branches.pop(it.key, None)
        if branch is None:
            return
        self._follow(branch)
        branch.sampler.close()
        self.memory.keep(branch.slot, it.tokens[: branch.computed], it.partition)

    def close(self) -> None:
        """Free the model. Nothing else may be called afterwards."""
        for branch in self._branches.values():
            branch.sampler.close()
        self._branches.clear()
        self.runner.close()

    def check(self) -> None:
        """Compare the account of cells with what llama.cpp holds. Raises AssertionError."""
        self.memory.check({it.slot: it.computed + len(it.drafted) for it in self._branches.values()})

    def _inheritance(self, it: Sequence) -> tuple[int, int, Prefix | None]:
        """The slot whose cells `it` can begin with, and how many tokens; or -1 and a copy to be restored."""
        packed = pack(it.tokens[:-1])
        giver, tokens = -1, 0
        for other in self._branches.values():
            if other.it.partition == it.partition and self.memory.keeps:
                common = common_prefix(packed, pack(other.it.tokens[: other.computed]))
                giver, tokens = (other.slot, common) if common > tokens else (giver, tokens)
        prefix, kept = self.memory.find(packed, it.partition)
        if prefix is not None and kept > tokens:
            giver, tokens = prefix.slot, kept
        return (giver, tokens, prefix) if tokens >= MIN_SHARED else (-1, 0, None)

    def _has_cells_for(self, it: Sequence) -> bool:
        """Whether `it` can begin here: of what it shares in the target's cache, not all may have been read."""
        giver, tokens, _ = self._inheritance(it)
        is_live = any(giver == other.slot for other in self._branches.values())  # a kept one may have to leave for it
        cost = self.memory.cells.cost(it.cells, giver, tokens) if is_live else it.cells
        return cost <= self.memory.available

    def _begin(self, it: Sequence) -> _Branch:
        self._behind.pop(it.key, None)
        slot, shared = self.memory.take_slot(), 0  # which may turn a prefix out
        giver, tokens, prefix = self._inheritance(it)
        if giver >= 0:
            shared = self.memory.share(giver, slot, tokens, it.cells)
        else:
            self.memory.promise(slot, it.cells)
            if prefix is not None:
                shared = self.memory.restore(prefix, slot, tokens)
        self.memory.make_way()
        branch = self._branches[it.key] = _Branch(it, slot, shared, self.runner.make_sampler(it.draw.unconditional))
        self._account(branch)
        return branch

    def _follow(self, branch: _Branch) -> None:
        """Keep what was drafted and has been said, forget the rest."""
        if not branch.drafted:
            return
        said = branch.it.tokens[branch.computed :]
        agreed = 0
        while agreed < min(len(said), len(branch.drafted)) and said[agreed] == branch.drafted[agreed]:
            agreed += 1
        branch.computed += agreed
        if agreed < len(branch.drafted):
            self._roll_back(branch)
        branch.drafted = []

    def _roll_back(self, branch: _Branch) -> None:
        """Forget what is in the KV cache behind the computed tokens of `branch`."""
        if not self.runner.remove(branch.slot, branch.computed):
            branch.computed = 0
        branch.drafted = []
        self._account(branch)

    def _account(self, branch: _Branch) -> None:
        self.memory.cells.fill(branch.slot, branch.computed + len(branch.drafted))

    def _decode(self, branches: Items[_Branch], tokens: Items[list[int]], outputs: int) -> bool:
        """Compute `tokens` behind what each of `branches` has.

        False: it was aborted, and they are where they were before their drafts; or llama.cpp cannot, and they are given
        up.
        """
        jobs = [
            Job(branch.slot, branch.computed + len(branch.drafted), new, outputs)
            for branch, new in zip(branches, tokens, strict=True)
        ]
        code = self.runner.decode(jobs)
        if code == DECODED:
            return True
        for branch in branches:
            if code == ABORTED:
                self._roll_back(branch)
            else:  # a token that only the target knows, or a defect: the target goes on alone
                self._give_up(branch)
        return False

    def _give_up(self, branch: _Branch) -> None:
        del self._branches[branch.it.key]
        self._lost.add(branch.it.key)
        branch.sampler.close()
        self.memory.free(branch.slot)
