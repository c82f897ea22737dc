"""The account of the KV cache: which sequence was promised how many cells, which it fills, and which it shares.

llama.cpp's unified cache places a sequence's cells wherever they are free and cannot be asked how many are in use, so
the engine keeps the account itself. Nothing here touches llama.cpp.

Cells that several sequences begin with are one *stretch*, promised once: whichever of the holders comes to it first
fills it for all. Stretches hang behind one another like the edges of a radix tree, each sequence holds one path from
the root, and behind it what it has for itself. A stretch lives as long as somebody holds it, so nobody has to ask for
its cells again when the one that filled it leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec


class _Stretch(msgspec.Struct, eq=False):
    """Positions `start` to `end`; `holders` counts the accounts that end with it and the stretches behind it."""

    start: int
    end: int
    parent: _Stretch | None
    holders: int = 1


class _Account(msgspec.Struct, eq=False):
    """Positions 0 to `promised`, of which those before the end of `base` are shared."""

    promised: int
    used: int = 0
    base: _Stretch | None = None
    kept: bool = False

    @property
    def shared(self) -> int:
        return self.base.end if self.base else 0

    def path(self) -> Iterator[_Stretch]:
        """Its stretches, the last one first."""
        stretch = self.base
        while stretch is not None:
            yield stretch
            stretch = stretch.parent


class KvCells:
    """Cells promised to and used by sequences, by their slot. What is promised never exceeds `total`."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._accounts: dict[int, _Account] = {}

    # ---- sums

    @property
    def promised(self) -> int:
        """Cells that sequences may fill until they end, and those of the kept ones."""
        return _promised(self._accounts.values())

    @property
    def busy(self) -> int:
        """Of the promised cells, those that do not become free when the kept sequences leave."""
        return _promised(account for account in self._accounts.values() if not account.kept)

    @property
    def free(self) -> int:
        """Cells not yet promised to anybody."""
        return self.total - self.promised

    @property
    def used(self) -> int:
        """Cells that hold a token now."""
        return _used(self._accounts.values())

    @property
    def busy_used(self) -> int:
        """Cells that hold a token of a sequence that is not only kept."""
        return _used(account for account in self._accounts.values() if not account.kept)

    # ---- promises

    def is_promised(self, slot: int) -> bool:
        """Whether `slot` has a sequence with a promise."""
        return slot in self._accounts

    def cost(self, cells: int, giver: int, tokens: int) -> int:
        """By how much `busy` grows when a sequence gets `cells`, of which the first `tokens` are those of `giver`."""
        lent = self._accounts[giver]
        if not lent.kept:
            return cells - tokens
        held = {id(stretch) for account in self._accounts.values() if not account.kept for stretch in account.path()}
        covered = sum(
            min(stretch.end, tokens) - stretch.start
            for stretch in lent.path()
            if id(stretch) in held and stretch.start < tokens
        )
        return cells - covered

    def join(self, slot: int, giver: int, tokens: int) -> None:
        """A new sequence in `slot` holds the first `tokens` cells of `giver`, filled or not, and is promised no more.

        Raises ValueError if the slot is taken or `giver` was promised fewer.
        """
        if slot in self._accounts:
            raise ValueError(f"slot {slot} is taken")
        lent = self._accounts[giver]
        if not 0 < tokens <= lent.promised:
            raise ValueError(f"{tokens} cells to share, slot {giver} has {lent.promised}")
        if tokens > lent.shared:
            lent.base = _Stretch(lent.shared, tokens, lent.base)
        base = self._cut(lent, tokens)
        base.holders += 1
        self._accounts[slot] = _Account(tokens, base=base)

    def promise(self, slot: int, cells: int) -> None:
        """Set aside what a new sequence needs, all in all `cells`, besides what it shares.

        Raises ValueError if the slot has cells of its own or there are not so many.
        """
        account = self._accounts.get(slot)
        shared = account.shared if account else 0
        if account and account.promised > shared:
            raise ValueError(f"slot {slot} is taken")
        if not shared <= cells <= shared + self.free or not cells:
            raise ValueError(f"{cells} cells asked, {shared} shared, {self.free} of {self.total} free")
        if account is None:
            account = self._accounts[slot] = _Account(cells)
        account.promised = cells

    def fill(self, slot: int, used: int) -> None:
        """The sequence in `slot` now fills `used` cells. Raises ValueError beyond what it was promised."""
        account = self._accounts[slot]
        if not 0 <= used <= account.promised:
            raise ValueError(f"slot {slot} fills {used} of {account.promised} promised cells")
        account.used = used

    def settle(self, slot: int) -> None:
        """The sequence in `slot` has ended and is kept: what it does not fill of its promise is no longer its own."""
        account = self._accounts[slot]
        self._cut_off(account, account.used)
        account.promised, account.kept = account.used, True

    def common(self, slot: int, other: int) -> int:
        """How many of the first cells of `slot` are those of `other`."""
        ends = {id(stretch): stretch.end for stretch in self._accounts[slot].path()}
        return next((ends[id(stretch)] for stretch in self._accounts[other].path() if id(stretch) in ends), 0)

    def lent(self, slot: int) -> int:
        """How many of the first cells of `slot` others hold too."""
        return next((stretch.end for stretch in self._accounts[slot].path() if stretch.holders > 1), 0)

    def detach(self, slot: int, start: int) -> None:
        """From `start` on `slot` shares nothing any more; what it held there with others it is promised anew.

        Raises ValueError if there are not so many cells.
        """
        account = self._accounts[slot]
        if self.lent(slot) - start > self.free:
            raise ValueError(f"{self.lent(slot) - start} cells asked, {self.free} of {self.total} free")
        self._cut_off(account, start)

    def release(self, slot: int) -> None:
        """The sequence in `slot` has ended and its cells are empty, if nobody shares them."""
        _let_go(self._accounts.pop(slot).base)

    # ---- what is shared

    def used_by(self, slot: int) -> int:
        """How many cells `slot` fills."""
        return self._accounts[slot].used

    def shared(self, slot: int) -> int:
        """How many of the first cells of `slot` are shared, filled or not."""
        return self._accounts[slot].shared

    def stretch(self, slot: int) -> int:
        """Which stretch `slot` has to fill next: the same number for everyone who holds it. 0: it is past them."""
        account = self._accounts[slot]
        if account.used >= account.shared:
            return 0
        return next(id(stretch) for stretch in account.path() if stretch.start <= account.used)

    def ahead(self, slot: int) -> tuple[int, int]:
        """Who has filled most of what `slot` shares, and how many tokens from the beginning; itself if nobody has."""
        account = self._accounts[slot]
        best, most = slot, account.used
        for other, lender in self._accounts.items():
            filled = min(self.common(slot, other), lender.used)
            if filled > most:
                best, most = other, filled
        return best, most

    def _cut_off(self, account: _Account, at: int) -> None:
        """`account` holds no stretch beyond `at` any more."""
        if account.shared > at:
            base = self._cut(account, at) if at else None
            if base:
                base.holders += 1
            _let_go(account.base)
            account.base = base

    @staticmethod
    def _cut(account: _Account, at: int) -> _Stretch:
        """The stretch of `account` that ends `at`, cut off the one that goes on there."""
        stretch = next(stretch for stretch in account.path() if stretch.start < at)
        if stretch.end == at:
            return stretch
        stretch.parent = _Stretch(stretch.start, at, stretch.parent)
        stretch.start = at
        return stretch.parent

    def check(self, held: Mapping[int, int]) -> None:
        """Compare the account with itself and with `held`, the tokens that llama.cpp holds by slot.

        Raises AssertionError. For tests, which call it after every step.
        """
        assert {slot: account.used for slot, account in self._accounts.items()} == dict(held)
        assert all(0 <= account.used <= account.promised for account in self._accounts.values())
        assert all(account.shared <= account.promised for account in self._accounts.values())
        assert 0 <= self.used <= self.promised <= self.total
        assert self.busy <= self.promised
        stretches = {id(it): it for account in self._accounts.values() for it in account.path()}
        holders = dict.fromkeys(stretches, 0)
        for holder in [account.base for account in self._accounts.values()] + [it.parent for it in stretches.values()]:
            if holder is not None:
                holders[id(holder)] += 1
        assert holders == {key: it.holders for key, it in stretches.items()}
        for it in stretches.values():
            assert (it.parent.end if it.parent else 0) == it.start < it.end


def _promised(accounts: Iterable[_Account]) -> int:
    """Cells of `accounts`, shared ones counted once."""
    total, seen = 0, set()
    for account in accounts:
        total += account.promised - account.shared
        for stretch in account.path():
            if id(stretch) in seen:
                break
            seen.add(id(stretch))
            total += stretch.end - stretch.start
    return total


def _used(accounts: Iterable[_Account]) -> int:
    """Cells of `accounts` that hold a token, shared ones counted once: a stretch is filled as far as any holder is."""
    total, fills, starts = 0, dict[int, int](), dict[int, int]()
    for account in accounts:
        total += max(0, account.used - account.shared)
        for stretch in account.path():
            starts[id(stretch)] = stretch.start
            fills[id(stretch)] = max(fills.get(id(stretch), stretch.start), min(account.used, stretch.end))
    return total + sum(fills.values()) - sum(starts.values())


def _let_go(stretch: _Stretch | None) -> None:
    """One holder less; without any it is gone."""
    while stretch is not None:
        stretch.holders -= 1
        if stretch.holders:
            return
        stretch = stretch.parent
