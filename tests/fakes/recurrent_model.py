"""Tiny GGUFs with random weights whose memory is not a KV cache alone: Mamba (recurrent) and Jamba (hybrid).

Vocabulary, template and format are those of gguf_model.py; the tensors are named and shaped as llama.cpp's src/models/
mamba.cpp and jamba.cpp load them. F32, deterministic in `seed`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes import gguf_model

_CONV, _STATE, _RANK, _HEADS = 4, 8, 4, 4


def write_recurrent_model(
    path: Path, *, hybrid: bool = False, layers: int = 3, width: int = 64, context: int = 512, seed: int = 7
) -> Path:
    """Write the model to `path` and return it. In a `hybrid` one every second layer has attention."""
    arch = "jamba" if hybrid else "mamba"
    tokens, text_fields = gguf_model._bpe_fields()
    attention = [_HEADS if hybrid and layer % 2 else 0 for layer in range(layers)]
    fields: dict[str, tuple[str, Any]] = {
        "general.architecture": ("str", arch),
        "general.name": ("str", f"tiny-{arch}"),
        f"{arch}.context_length": ("u32", context),
        f"{arch}.embedding_length": ("u32", width),
        f"{arch}.block_count": ("u32", layers),
        f"{arch}.feed_forward_length": ("u32", 2 * width if hybrid else 0),
        f"{arch}.attention.head_count": ("u32", _HEADS if hybrid else 0),
        f"{arch}.attention.layer_norm_rms_epsilon": ("f32", 1e-5),
        f"{arch}.ssm.conv_kernel": ("u32", _CONV),
        f"{arch}.ssm.inner_size": ("u32", 2 * width),
        f"{arch}.ssm.state_size": ("u32", _STATE),
        f"{arch}.ssm.time_step_rank": ("u32", _RANK),
        f"{arch}.vocab_size": ("u32", len(tokens)),
        "tokenizer.chat_template": ("str", gguf_model.CHATML),
    }
    if hybrid:
        fields["jamba.attention.head_count_kv"] = ("i32[]", attention)
    rng = np.random.default_rng(seed)
    base = gguf_model._tensors(tokens, 0, width, _HEADS, _HEADS, rng, 0.0)
    tensors = {"token_embd.weight": base["token_embd.weight"]}
    for layer, heads in enumerate(attention):
        block = f"blk.{layer}."
        parts = _attention(width, rng) if heads else _mamba(width, rng, norms=hybrid)
        parts["attn_norm.weight"] = np.ones(width, np.float32)
        if hybrid:
            parts |= _feed_forward(width, rng)
        tensors |= {block + name: array.astype(np.float32) for name, array in parts.items()}
    tensors |= {name: base[name] for name in ("output_norm.weight", "output.weight")}
    path.write_bytes(gguf_model.encode_gguf(fields | text_fields, tensors))
    return path


def _matrix(rng: np.random.Generator, rows: int, columns: int, gain: float = 1.0) -> np.ndarray:
    return gain * rng.standard_normal((rows, columns)) / np.sqrt(columns)


def _mamba(width: int, rng: np.random.Generator, *, norms: bool) -> dict[str, np.ndarray]:
    inner = 2 * width
    parts = {
        "ssm_in.weight": _matrix(rng, 2 * inner, width, 2.0),
        "ssm_conv1d.weight": _matrix(rng, inner, _CONV),
        "ssm_conv1d.bias": np.zeros(inner),
        "ssm_x.weight": _matrix(rng, _RANK + 2 * _STATE, inner),
        "ssm_dt.weight": _matrix(rng, inner, _RANK),
        "ssm_dt.bias": np.full(inner, -1.0),
        "ssm_a": -np.tile(np.arange(1.0, _STATE + 1), (inner, 1)),
        "ssm_d": np.ones(inner),
        "ssm_out.weight": _matrix(rng, width, inner, 2.0),
    }
    if norms:
        sizes = {"dt": _RANK, "b": _STATE, "c": _STATE}
        parts |= {f"ssm_{name}_norm.weight": np.ones(size) for name, size in sizes.items()}
    return parts


def _attention(width: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {f"attn_{name}.weight": _matrix(rng, width, width, 2.0) for name in ("q", "k", "v", "output")}


def _feed_forward(width: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        "ffn_norm.weight": np.ones(width),
        "ffn_gate.weight": _matrix(rng, 2 * width, width),
        "ffn_up.weight": _matrix(rng, 2 * width, width),
        "ffn_down.weight": _matrix(rng, width, 2 * width),
    }
