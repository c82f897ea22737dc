"""The account of the KV cache: which sequence was promised how many cells, and how many of them it fills.

llama.cpp's unified cache places a sequence's cells wherever they are free and cannot be asked how many are in use, so
the engine keeps the account itself. Nothing here touches llama.cpp.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import msgspec

from backends.engine.options import EngineOptions, KvType

BYTES_PER_ELEMENT: dict[KvType, float] = {
    "f32": 4,
    "f16": 2,
    "bf16": 2,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
}
"""Bytes of one number of the cache. Quantized formats are blocks of 32 numbers with their scales (ggml-common.h)."""

AUTO_KV_BYTES = 1 << 30
"""What the cache may cost when its size is left to the engine and one context is smaller than that."""

MIN_AUTO_CTX = 2048
"""Tokens below which a conversation is not cut for want of memory: then rather say that there is not enough."""


def bytes_per_token(layers: int, kv_heads: int, head_dim: int, kv_type: KvType = "f16") -> int:
    """Bytes that one cell costs: 2 (K and V) x layers x KV heads x head dimension x bytes of a number.

    With grouped-query attention `kv_heads` is smaller than the number of attention heads, and so is the cache.
    """
    return round(2 * layers * kv_heads * head_dim * BYTES_PER_ELEMENT[kv_type])


def plan(options: EngineOptions, n_ctx_train: int, token_bytes: int, memory: int | None) -> tuple[int, int]:
    """Tokens that one conversation may hold, and cells of the whole cache.

    What `options` leave open: a conversation may hold what the model was trained for, every stream has that much, and
    both give way to memory: the cache takes at most half of `memory` (bytes; None: not known), and no more than
    `AUTO_KV_BYTES` for further streams. What they ask for is taken as it is. Raises ValueError with the numbers when
    that is more than there is.
    """
    token_bytes = max(1, token_bytes)
    room = sys.maxsize if memory is None else memory // 2 // token_bytes
    n_ctx = options.n_ctx or min(n_ctx_train, options.kv_cells or max(room, MIN_AUTO_CTX))
    affordable = min(room, AUTO_KV_BYTES // token_bytes)
    cells = options.kv_cells or max(n_ctx, min(n_ctx * options.max_streams, affordable))
    if memory is not None and cells * token_bytes > memory:
        raise ValueError(
            f"a KV cache of {cells:,} tokens takes {_gib(cells * token_bytes)}, but {_gib(memory)} of memory are free; "
            "set n_ctx or kv_cells lower, or kv_type to q8_0"
        )
    return min(n_ctx, cells), cells


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


class _Account(msgspec.Struct):
    promised: int
    used: int = 0


class KvCells:
    """Cells promised to and used by sequences, by their slot. `used` never exceeds `promised`, nor that `total`."""

    def __init__(self, total: int) -> None:
        self.total = total
        self._accounts: dict[int, _Account] = {}

    @property
    def promised(self) -> int:
        """Cells that running sequences may fill until they end."""
        return sum(account.promised for account in self._accounts.values())

    @property
    def used(self) -> int:
        """Cells that hold a token now."""
        return sum(account.used for account in self._accounts.values())

    @property
    def free(self) -> int:
        """Cells not yet promised to anybody."""
        return self.total - self.promised

    def is_promised(self, slot: int) -> bool:
        """Whether `slot` has a sequence with a promise."""
        return slot in self._accounts

    def promise(self, slot: int, cells: int) -> None:
        """Set `cells` aside for a new sequence. Raises ValueError if the slot is taken or there are not so many."""
        if slot in self._accounts:
            raise ValueError(f"slot {slot} is taken")
        if not 0 < cells <= self.free:
            raise ValueError(f"{cells} cells asked, {self.free} of {self.total} free")
        self._accounts[slot] = _Account(cells)

    def fill(self, slot: int, used: int) -> None:
        """The sequence in `slot` now fills `used` cells. Raises ValueError beyond what it was promised."""
        account = self._accounts[slot]
        if not 0 <= used <= account.promised:
            raise ValueError(f"slot {slot} fills {used} of {account.promised} promised cells")
        account.used = used

    def settle(self, slot: int) -> None:
        """The sequence in `slot` grows no more: what it does not fill of its promise is free again."""
        account = self._accounts[slot]
        account.promised = account.used

    def check(self, held: Mapping[int, int]) -> None:
        """Compare the account with itself and with `held`, the tokens that llama.cpp holds by slot.

        Raises AssertionError. For tests, which call it after every step.
        """
        assert {slot: account.used for slot, account in self._accounts.items()} == dict(held)
        assert all(0 <= account.used <= account.promised for account in self._accounts.values())
        assert 0 <= self.used <= self.promised <= self.total

    def release(self, slot: int) -> None:
        """The sequence in `slot` has ended and its cells are empty."""
        del self._accounts[slot]
