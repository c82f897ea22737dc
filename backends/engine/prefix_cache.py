"""Which token prefixes are kept, where, and which of them goes first when room is needed. Pure: no llama.cpp here.

Kept prefixes stand in one sorted list. Of a sorted list, the neighbours of the place where a prompt would go are those
that share most with it, so the longest common prefix takes a binary search; that is what a radix tree would find, with
nothing to split and join. A prefix that another one begins with is not kept beside it.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

WIDTH = 4
"""Bytes of a packed token."""

Key = tuple[str, bytes]


def pack(tokens: Iterable[int]) -> bytes:
    """`tokens` as big-endian bytes: they compare like the tokens, and as fast as memory does."""
    packed = array("I", tokens)
    if sys.byteorder == "little":
        packed.byteswap()
    return packed.tobytes()


def common_prefix(one: bytes, other: bytes) -> int:
    """How many tokens two packed sequences begin with together."""
    low, high = 0, min(len(one), len(other)) // WIDTH
    while low < high:
        middle = (low + high + 1) // 2
        if one[low * WIDTH : middle * WIDTH] == other[low * WIDTH : middle * WIDTH]:
            low = middle
        else:
            high = middle - 1
    return low


class Prefix(msgspec.Struct, eq=False):
    """Tokens whose cells are kept: in `slot` of the KV cache (-1: not there), or as `state` in host memory, or both.

    The last `ahead` of them were computed for nobody yet, but on a hint. `partition` is who may see it: prefixes of one
    partition are never found from another.
    """

    partition: str
    packed: bytes
    slot: int = -1
    state: Any = None
    state_bytes: int = 0
    ahead: int = 0

    @property
    def key(self) -> Key:
        """Its place in the order."""
        return self.partition, self.packed

    @property
    def tokens(self) -> int:
        """Its length."""
        return len(self.packed) // WIDTH

    def ahead_within(self, tokens: int) -> int:
        """How many of its first `tokens` were computed ahead."""
        return max(0, tokens - (self.tokens - self.ahead))


class Live(NamedTuple):
    """A running sequence: `computed` tokens of it are in the KV cache; if it is `prefilling`, soon the others are."""

    key: int
    packed: bytes
    computed: int
    prefilling: bool


class Offer(NamedTuple):
    """What running ones have for a prompt: `giver` has `shared` of its tokens, `source` soon `coming`. 0: nobody."""

    giver: int = 0
    shared: int = 0
    source: int = 0
    coming: int = 0


def best_live(packed: bytes, live: Iterable[Live]) -> Offer:
    """The best that `live` have for the prompt `packed`; of equals the first."""
    best = Offer()
    for other in live:
        common = common_prefix(packed, other.packed)
        if (shared := min(common, other.computed)) > best.shared:
            best = best._replace(giver=other.key, shared=shared)
        if other.prefilling and common > best.coming:
            best = best._replace(source=other.key, coming=common)
    return best


class PrefixCache:
    """All kept prefixes of sequences that have ended. States in host memory never take more than `limit` bytes.

    It only keeps the books: whoever takes a prefix out has to empty its slot.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.state_bytes = 0
        self._order: list[Key] = []
        self._prefixes: OrderedDict[Key, Prefix] = OrderedDict()  # least recently used first

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Prefix]:
        """All of them, least recently used first."""
        return iter(self._prefixes.values())

    def resident(self) -> Iterator[Prefix]:
        """Those in the KV cache, least recently used first."""
        return (prefix for prefix in self._prefixes.values() if prefix.slot >= 0)

    def match(self, packed: bytes, partition: str = "") -> tuple[Prefix | None, int]:
        """The prefix that shares most tokens with `packed`, and how many; of equals one in the KV cache."""
        best, longest = None, 0
        at = bisect_left(self._order, (partition, packed))
        for key in self._order[max(0, at - 1) : at + 1]:
            if key[0] != partition:
                continue
            prefix, shared = self._prefixes[key], common_prefix(packed, key[1])
            if shared > longest or (shared == longest > 0 and prefix.slot >= 0):
                best, longest = prefix, shared
        return best, longest

    def touch(self, prefix: Prefix) -> None:
        """`prefix` was used just now."""
        self._prefixes.move_to_end(prefix.key)

    def insert(self, prefix: Prefix) -> list[Prefix]:
        """Keep `prefix`, which has a slot and no state yet.

        Returns the prefixes that are not kept now, for their slots: one that `prefix` begins with; or `prefix` itself,
        when one is kept already that begins with it.
        """
        at = bisect_left(self._order, prefix.key)
        if at < len(self._order) and self._begins(prefix.key, self._order[at]):
            self.touch(self._prefixes[self._order[at]])
            return [prefix]
        replaced = []
        if at > 0 and self._begins(self._order[at - 1], prefix.key):
            replaced.append(self._prefixes[self._order[at - 1]])
            self.remove(replaced[0])
        insort(self._order, prefix.key)
        self._prefixes[prefix.key] = prefix
        return replaced

    @staticmethod
    def _begins(short: Key, long: Key) -> bool:
        """Whether `long` begins with `short`."""
        return short[0] == long[0] and long[1].startswith(short[1])

    def remove(self, prefix: Prefix) -> None:
        """Keep `prefix` no longer."""
        del self._order[bisect_left(self._order, prefix.key)]
        del self._prefixes[prefix.key]
        self.state_bytes -= prefix.state_bytes

    def make_room(self, size: int, keep: Prefix) -> bool:
        """Let states go, the least recently used first, until `size` more bytes fit. False: they never can.

        `keep` stays. A prefix that loses its state stays if it is in the KV cache.
        """
        if size > self.limit:
            return False
        for prefix in list(self._prefixes.values()):
            if self.state_bytes + size <= self.limit:
                break
            if prefix.state is None or prefix is keep:
                continue
            if prefix.slot < 0:
                self.remove(prefix)
            else:
                self.state_bytes -= prefix.state_bytes
                prefix.state, prefix.state_bytes = None, 0
        return True

    def store(self, prefix: Prefix, state: Any, size: int) -> None:
        """`prefix` now has `state` of `size` bytes in host memory. Raises ValueError beyond the limit."""
        if self.state_bytes + size > self.limit:
            raise ValueError(f"{size} bytes do not fit beside {self.state_bytes} of {self.limit}")
        prefix.state, prefix.state_bytes = state, size
        self.state_bytes += size

    def check(self) -> None:
        """Compare the books with themselves. Raises AssertionError. For tests, which call it after every step."""
        assert self._order == sorted(self._prefixes)
        assert self.state_bytes == sum(prefix.state_bytes for prefix in self) <= self.limit
        assert all(prefix.slot >= 0 or prefix.state is not None for prefix in self), "kept, but nowhere"
        assert all((prefix.state is None) == (prefix.state_bytes == 0) for prefix in self)
        slots = [prefix.slot for prefix in self.resident()]
        assert len(slots) == len(set(slots))
        for one, other in zip(self._order, self._order[1:], strict=False):
            assert not self._begins(one, other), "one prefix contains another"


class Costs:
    """Whether restoring pays, from what computing, saving and restoring took so far. Times in seconds."""

    def __init__(self) -> None:
        self.token = 0.0  # to compute one, as part of a prompt; 0: not known yet
        self.saved_byte = self.restored_byte = 1e-9  # a guess: what memory does

    def computed(self, tokens: int, seconds: float) -> None:
        """A step with a prompt in it computed `tokens` in `seconds`."""
        self.token = _blend(self.token, seconds / tokens)

    def saved(self, size: int, seconds: float) -> None:
        """`size` bytes were saved."""
        self.saved_byte = _blend(self.saved_byte, seconds / size)

    def restored(self, size: int, seconds: float) -> None:
        """`size` bytes were restored."""
        self.restored_byte = _blend(self.restored_byte, seconds / size)

    def worth_restoring(self, tokens: int, size: int) -> bool:
        """Whether restoring `size` bytes is quicker than computing `tokens`.

        What is never tried is never measured: each refusal makes the guess a little better, so that one slow moment
        of the machine does not decide for ever.
        """
        if self.token == 0 or self.restored_byte * size < self.token * tokens:
            return True
        self.restored_byte *= 0.9
        return False


def _blend(old: float, new: float) -> float:
    """A running average that forgets within some ten measurements, and doubts a sudden slowness."""
    return new if old == 0 else 0.75 * old + 0.25 * min(new, 8 * old)
