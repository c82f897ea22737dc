"""A tiny GGUF with random weights of which every second layer sees a window of the last tokens only (Gemma 3).

Vocabulary, template and format are those of gguf_model.py; the tensors are named and shaped as llama.cpp's src/models/
gemma3.cpp loads them. F32, deterministic in `seed`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes import gguf_model

_HEADS, _KV_HEADS = 4, 2


def write_sliding_model(
    path: Path, *, window: int = 32, layers: int = 4, width: int = 64, context: int = 1024, seed: int = 7
) -> Path:
    """Write the model to `path` and return it. Its first layer is one with a `window`, its last one sees everything."""
    tokens, text_fields = gguf_model._bpe_fields()
    head = width // _HEADS
    fields: dict[str, tuple[str, Any]] = {
        "general.architecture": ("str", "gemma3"),
        "general.name": ("str", "tiny-gemma3"),
        "gemma3.context_length": ("u32", context),
        "gemma3.embedding_length": ("u32", width),
        "gemma3.block_count": ("u32", layers),
        "gemma3.feed_forward_length": ("u32", 2 * width),
        "gemma3.attention.head_count": ("u32", _HEADS),
        "gemma3.attention.head_count_kv": ("u32", _KV_HEADS),
        "gemma3.attention.key_length": ("u32", head),
        "gemma3.attention.value_length": ("u32", head),
        "gemma3.attention.layer_norm_rms_epsilon": ("f32", 1e-5),
        "gemma3.attention.sliding_window": ("u32", window),
        "gemma3.attention.sliding_window_pattern": ("u32", 2),
        "gemma3.rope.freq_base": ("f32", 100_000.0),
        "gemma3.vocab_size": ("u32", len(tokens)),
        "tokenizer.chat_template": ("str", gguf_model.CHATML),
    }
    tensors = gguf_model._tensors(tokens, layers, width, _HEADS, _KV_HEADS, np.random.default_rng(seed), 0.0)
    for layer in range(layers):
        norms = {"attn_q_norm": head, "attn_k_norm": head, "post_attention_norm": width, "post_ffw_norm": width}
        loud = {"attn_q_norm": 1.5, "post_attention_norm": 8.0, "post_ffw_norm": 8.0}  # embeddings are scaled by 8
        for name, size in norms.items():
            tensors[f"blk.{layer}.{name}.weight"] = np.full(size, loud.get(name, 1.0), np.float32)
    path.write_bytes(gguf_model.encode_gguf(fields | text_fields, tensors))
    return path
