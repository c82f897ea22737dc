"""Kept prefixes against a naive twin, and what they may cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from backends.engine.prefix_cache import Costs, Live, Prefix, PrefixCache, best_live, common_prefix, pack

tokens = st.lists(st.sampled_from([0, 1, 2, 255, 256, 151_000]), max_size=8)
some_tokens = st.lists(st.sampled_from([0, 1, 256]), min_size=1, max_size=6)


def naive_common(one: list[int], other: list[int]) -> int:
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return length


@given(tokens, tokens)
def test_packed_tokens_compare_like_tokens(one: list[int], other: list[int]) -> None:
    assert (pack(one) < pack(other)) == (one < other)
    assert common_prefix(pack(one), pack(other)) == naive_common(one, other)


def test_a_long_common_prefix_is_found_to_the_token() -> None:
    long = list(range(5000))
    for length in (0, 1, 4095, 4096, 4999, 5000):
        assert common_prefix(pack(long), pack([*long[:length], 99_999])) == length


@given(st.lists(st.tuples(some_tokens, st.integers(0, 6), st.booleans()), max_size=5), some_tokens)
def test_the_best_of_the_running_ones(others: list[tuple[list[int], int, bool]], prompt: list[int]) -> None:
    live = [Live(key, pack(it[0]), min(it[1], len(it[0])), it[2]) for key, it in enumerate(others, 1)]
    offer = best_live(pack(prompt), live)
    now = [min(naive_common(prompt, it[0]), it[1]) for it in others]
    soon = [naive_common(prompt, it[0]) if it[2] else 0 for it in others]
    assert (offer.shared, offer.coming) == (max(now, default=0), max(soon, default=0))
    assert offer.giver == (now.index(offer.shared) + 1 if offer.shared else 0)
    assert offer.source == (soon.index(offer.coming) + 1 if offer.coming else 0)


class Twin(RuleBasedStateMachine):
    """A list of (partition, tokens) in order of use, searched from end to end; states are as large as their tokens."""

    LIMIT = 12

    def __init__(self) -> None:
        super().__init__()
        self.cache = PrefixCache(self.LIMIT)
        self.kept: list[tuple[str, tuple[int, ...]]] = []
        self.states: set[tuple[str, tuple[int, ...]]] = set()
        self.slots: dict[int, tuple[str, tuple[int, ...]]] = {}
        self.slot = 0

    def forget(self, key: tuple[str, tuple[int, ...]]) -> None:
        self.kept.remove(key)
        self.states.discard(key)
        self.slots = {slot: held for slot, held in self.slots.items() if held != key}

    @rule(path=some_tokens, partition=st.sampled_from(["", "b"]))
    def insert(self, path: list[int], partition: str) -> None:
        self.slot += 1
        prefix = Prefix(partition, pack(path), self.slot)
        gone = self.cache.insert(prefix)
        key = (partition, tuple(path))
        longer = [held for held in self.kept if held[0] == partition and held[1][: len(path)] == key[1]]
        shorter = [held for held in self.kept if held[0] == partition and key[1][: len(held[1])] == held[1]]
        if longer:
            assert gone == [prefix]
            first = min(longer, key=lambda held: held[1])
            self.kept.remove(first)
            self.kept.append(first)
            return
        assert [(it.partition, it.packed) for it in gone] == [(held[0], pack(held[1])) for held in shorter]
        for held in shorter:
            self.forget(held)
        self.kept.append(key)
        self.slots[self.slot] = key

    @rule(path=some_tokens, partition=st.sampled_from(["", "b"]))
    def match(self, path: list[int], partition: str) -> None:
        prefix, shared = self.cache.match(pack(path), partition)
        commons = [naive_common(path, list(held)) for owner, held in self.kept if owner == partition]
        assert shared == max(commons, default=0)
        assert (prefix is None) == (shared == 0)
        if prefix is not None:
            assert prefix.partition == partition
            assert common_prefix(prefix.packed, pack(path)) == shared
            self.cache.touch(prefix)
            key = next(held for held in self.kept if held[0] == partition and pack(held[1]) == prefix.packed)
            self.kept.remove(key)
            self.kept.append(key)

    @precondition(lambda self: self.slots)
    @rule()
    def spill(self) -> None:
        """The least recently used of the KV cache goes to host memory, or away where that is too small."""
        prefix = next(self.cache.resident())
        key = next(held for held in self.kept if held in self.slots.values())
        assert prefix.packed == pack(key[1])
        size = len(key[1]) * 3
        fits = self.cache.make_room(size, prefix)
        assert fits == (size <= self.LIMIT)
        while fits and sum(3 * len(held[1]) for held in self.states) + size > self.LIMIT:
            self.forget(next(held for held in self.kept if held in self.states))
        if fits:
            self.cache.store(prefix, b"state", size)
            self.states.add(key)
        else:
            self.cache.remove(prefix)
            self.kept.remove(key)
        prefix.slot = -1
        self.slots = {slot: held for slot, held in self.slots.items() if held != key}

    @invariant()
    def agrees(self) -> None:
        self.cache.check()
        assert [(it.partition, it.packed) for it in self.cache] == [(key[0], pack(key[1])) for key in self.kept]
        assert len(self.cache) == len(self.kept)
        assert self.cache.state_bytes == sum(3 * len(key[1]) for key in self.states)


TestTwin = Twin.TestCase


def test_a_state_beyond_the_limit_is_refused() -> None:
    cache = PrefixCache(10)
    prefix = Prefix("", pack([1, 2]), 0)
    assert cache.insert(prefix) == []
    assert not cache.make_room(11, prefix)
    with pytest.raises(ValueError, match="11 bytes"):
        cache.store(prefix, b"", 11)


def test_the_check_finds_a_prefix_that_is_kept_nowhere() -> None:
    cache = PrefixCache(10)
    prefix = Prefix("", pack([1, 2]), 0)
    cache.insert(prefix)
    prefix.slot = -1
    with pytest.raises(AssertionError):
        cache.check()


def test_a_state_in_both_places_loses_the_one_in_host_memory_only() -> None:
    cache = PrefixCache(10)
    both, other = Prefix("", pack([1, 2]), 0), Prefix("", pack([3, 4]), 1)
    for prefix in (both, other):
        cache.insert(prefix)
    cache.store(both, b"state", 8)
    assert cache.make_room(8, other)
    assert (both.state, both.slot, cache.state_bytes) == (None, 0, 0)
    assert list(cache) == [both, other]


def test_restoring_has_to_be_quicker_than_computing() -> None:
    costs = Costs()
    costs.computed(100, 0.1)  # a millisecond each
    costs.restored(1000, 0.1)
    for _ in range(40):
        costs.restored(1000, 0.1)
    assert costs.restored_byte == pytest.approx(1e-4, rel=0.1)
    assert costs.worth_restoring(200, 1000)
    assert not costs.worth_restoring(50, 1000)


def test_one_slow_moment_does_not_decide_for_ever() -> None:
    costs = Costs()
    costs.computed(100, 0.1)
    for _ in range(200):
        costs.restored(1000, 10.0)
    tries = 1
    while not costs.worth_restoring(100, 1000):
        tries += 1
        assert tries < 100
    assert tries > 5
