"""The size of the KV cache: what a cell costs, and how many there are for the memory at hand."""

from __future__ import annotations

import sys

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
