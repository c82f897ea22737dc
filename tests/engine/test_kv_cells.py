"""The account of the KV cache, against a naive twin that has every cell as an object."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from backends.engine.kv_cells import KvCells

TOTAL = 60
slots = st.integers(0, 6)
counts = st.integers(0, 40)


class Twin(RuleBasedStateMachine):
    """Every rule is done to the account and to lists of cells: a shared cell is the same object in several lists."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = KvCells(TOTAL)
        self.fresh = count()
        self.owned: dict[int, list[int]] = {}
        self.used: dict[int, int] = {}
        self.kept: set[int] = set()

    def in_use(self, *, kept: bool) -> set[int]:
        return {cell for slot, owned in self.owned.items() if kept or slot not in self.kept for cell in owned}

    def filled(self, *, kept: bool) -> set[int]:
        lists = (owned[: self.used[slot]] for slot, owned in self.owned.items() if kept or slot not in self.kept)
        return {cell for cells in lists for cell in cells}

    def begin(self, slot: int, cells: int, shared: list[int]) -> None:
        if not len(shared) <= cells <= len(shared) + TOTAL - len(self.in_use(kept=True)) or not cells:
            with pytest.raises(ValueError):
                self.cells.promise(slot, cells)
            if shared:
                self.cells.release(slot)
            return
        before = self.in_use(kept=False)
        self.cells.promise(slot, cells)
        self.owned[slot] = shared + [next(self.fresh) for _ in range(cells - len(shared))]
        self.used[slot] = 0
        assert before <= self.in_use(kept=False)

    @rule(slot=slots, cells=counts)
    def promise(self, slot: int, cells: int) -> None:
        if slot in self.owned:
            return
        self.begin(slot, cells, [])

    @rule(slot=slots, giver=slots, tokens=counts, more=st.integers(0, 20))
    def share(self, slot: int, giver: int, tokens: int, more: int) -> None:
        if giver not in self.owned:
            return
        if slot in self.owned or not 0 < tokens <= len(self.owned[giver]):
            with pytest.raises(ValueError):
                self.cells.join(slot, giver, tokens)
            return
        busy, cost = self.cells.busy, self.cells.cost(tokens + more, giver, tokens)
        self.cells.join(slot, giver, tokens)
        self.begin(slot, tokens + more, self.owned[giver][:tokens])
        if slot in self.owned:
            assert self.cells.busy == busy + cost
            assert self.cells.shared(slot) >= tokens

    @rule(slot=slots, part=st.floats(0, 1.2))
    def fill(self, slot: int, part: float) -> None:
        if slot not in self.owned or slot in self.kept:
            return
        tokens = round(part * len(self.owned[slot]))
        if tokens > len(self.owned[slot]):
            with pytest.raises(ValueError):
                self.cells.fill(slot, tokens)
            return
        self.cells.fill(slot, tokens)
        self.used[slot] = tokens

    @rule(slot=slots, start=counts)
    def detach(self, slot: int, start: int) -> None:
        if slot not in self.owned:
            return
        owned = self.owned[slot]
        others = {cell for other, cells in self.owned.items() if other != slot for cell in cells}
        anew = {at for at, cell in enumerate(owned) if at >= start and cell in others}
        if len(anew) > TOTAL - len(self.in_use(kept=True)):
            with pytest.raises(ValueError):
                self.cells.detach(slot, start)
            return
        self.cells.detach(slot, start)
        self.owned[slot] = [next(self.fresh) if at in anew else cell for at, cell in enumerate(owned)]
        assert self.cells.shared(slot) <= start

    @rule(slot=slots)
    def settle(self, slot: int) -> None:
        if slot not in self.owned:
            return
        self.cells.settle(slot)
        self.owned[slot] = self.owned[slot][: self.used[slot]]
        self.kept.add(slot)

    @rule(slot=slots)
    def release(self, slot: int) -> None:
        if slot not in self.owned:
            with pytest.raises(KeyError):
                self.cells.release(slot)
            return
        self.cells.release(slot)
        del self.owned[slot], self.used[slot]
        self.kept.discard(slot)

    @invariant()
    def sums_agree(self) -> None:
        assert self.cells.promised == len(self.in_use(kept=True)) <= TOTAL
        assert self.cells.busy == len(self.in_use(kept=False))
        assert self.cells.used == len(self.filled(kept=True))
        assert self.cells.busy_used == len(self.filled(kept=False))
        assert self.cells.free == TOTAL - self.cells.promised
        self.cells.check(self.used)

    @invariant()
    def what_is_shared_agrees(self) -> None:
        for slot, owned in self.owned.items():
            others = {cell for other, cells in self.owned.items() if other != slot for cell in cells}
            shared = sum(cell in others for cell in owned)
            assert self.cells.shared(slot) >= shared, "a cell of two sequences outside the stretches"
            assert self.cells.lent(slot) == shared
            giver, tokens = self.cells.ahead(slot)
            best = max((self.common(slot, other) for other in self.owned if other != slot), default=0)
            assert tokens == max(self.used[slot], best)
            assert giver == slot or self.common(slot, giver) == tokens

    @invariant()
    def who_fills_the_same_cell_next_stands_in_the_same_stretch(self) -> None:
        standing: dict[int, int] = {}
        for slot, owned in self.owned.items():
            stretch = self.cells.stretch(slot)
            assert bool(stretch) == (self.used[slot] < self.cells.shared(slot))
            if stretch:
                cell = owned[self.used[slot]]
                assert standing.setdefault(cell, stretch) == stretch

    def common(self, slot: int, other: int) -> int:
        """Filled cells of `other` that `slot` holds too."""
        pairs = zip(self.owned[slot], self.owned[other][: self.used[other]], strict=False)
        return sum(one == two for one, two in pairs)


TestTwin = Twin.TestCase


def test_check_finds_a_cell_that_the_account_does_not_know() -> None:
    cells = KvCells(10)
    cells.promise(0, 5)
    cells.fill(0, 3)
    cells.check({0: 3})
    with pytest.raises(AssertionError):
        cells.check({0: 4})
    with pytest.raises(AssertionError):
        cells.check({0: 3, 1: 1})


def test_eight_with_one_prefix_need_it_once() -> None:
    """A prefix of 500 and 20 for each of eight: 660 cells instead of 4,160."""
    cells = KvCells(660)
    cells.promise(0, 520)
    for slot in range(1, 8):
        assert cells.cost(520, 0, 500) == 20
        cells.join(slot, 0, 500)
        cells.promise(slot, 520)
    assert cells.free == 0
    with pytest.raises(ValueError):
        cells.promise(8, 1)


def test_when_the_one_who_fills_a_stretch_leaves_the_others_still_have_it() -> None:
    cells = KvCells(100)
    cells.promise(0, 60)
    cells.join(1, 0, 50)
    cells.promise(1, 55)
    cells.fill(0, 20)
    assert cells.ahead(1) == (0, 20)
    cells.fill(1, 20)
    assert cells.stretch(0) == cells.stretch(1) != 0
    cells.settle(0)
    assert (cells.promised, cells.busy, cells.used) == (55, 55, 20)
    cells.release(0)
    cells.fill(1, 55)
    assert (cells.stretch(1), cells.free) == (0, 45)
