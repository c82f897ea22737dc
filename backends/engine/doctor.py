"""What fits: how many streams of which context a model can have in so much memory. Pure, but for `measure`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from backends.engine.gguf_header import read_header
from backends.engine.kv_cache import bytes_per_token
from backends.engine.options import KvType

RESERVE = 0.1
"""The part of memory left to what llama.cpp computes in, and to others."""

CONTEXTS = (2_048, 4_096, 8_192, 16_384, 32_768, 65_536, 131_072)
KV_TYPES: tuple[KvType, ...] = ("f16", "q8_0")


class Measures(msgspec.Struct, frozen=True):
    """What the memory of a model depends on. `kv_heads`: of each layer; grouped-query attention has few of them."""

    name: str
    size: int
    layers: int
    heads: int
    kv_heads: tuple[int, ...]
    head_dim: int
    n_ctx_train: int

    def token_bytes(self, kv_type: KvType) -> int:
        """Bytes that one token takes in the KV cache: 2 x layers x KV heads x head dimension x bytes of a number."""
        return sum(bytes_per_token(1, count, self.head_dim, kv_type) for count in self.kv_heads)


class Fit(msgspec.Struct, frozen=True):
    """So many `streams` of `context` tokens fit, with the KV cache in `kv_type`."""

    kv_type: KvType
    context: int
    streams: int


def measure(path: Path) -> Measures:
    """The measures of the GGUF at `path`. Raises BackendError (MODEL_LOAD) when it cannot be read."""
    found = read_header(path)
    return measures(found, found.get("general.name") or path.stem, path.stat().st_size)


def measures(metadata: dict[str, Any], name: str, size: int) -> Measures:
    """The measures in `metadata`, as read from a GGUF; 0 where it does not say."""
    architecture = metadata.get("general.architecture", "")

    def number(key: str, default: Any = 0) -> Any:
        return metadata.get(f"{architecture}.{key}", default)

    layers, heads = number("block_count"), number("attention.head_count")
    most = max(heads) if isinstance(heads, list) else heads
    kv_heads = number("attention.head_count_kv", heads)
    each = tuple(kv_heads) if isinstance(kv_heads, list) else (kv_heads,) * layers
    default = number("embedding_length") // max(1, most)
    key, value = number("attention.key_length", default), number("attention.value_length", default)
    return Measures(name, size, layers, most, each, (key + value) // 2, number("context_length"))


def fits(model: Measures, memory: int) -> list[Fit]:
    """What `memory` bytes hold beside the weights. Contexts beyond what the model was trained for are left out."""
    room = round(memory * (1 - RESERVE)) - model.size
    contexts: Sequence[int] = [size for size in CONTEXTS if size < model.n_ctx_train]
    contexts = [*contexts, model.n_ctx_train] if model.n_ctx_train else CONTEXTS
    return [
        Fit(kv_type, context, max(0, room // max(1, model.token_bytes(kv_type)) // context))
        for kv_type in KV_TYPES
        for context in contexts
    ]
