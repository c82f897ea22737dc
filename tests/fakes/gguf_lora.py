"""A LoRA adapter with random weights as a GGUF, for the models of gguf_model.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.fakes.gguf_model import encode_gguf

RANK = 4


def write_lora(path: Path, *, width: int = 64, layer: int = 0, seed: int = 5) -> Path:
    """Write an adapter of one layer's output matrix to `path` and return it."""
    rng = np.random.default_rng(seed)
    name = f"blk.{layer}.attn_output.weight"
    fields = {
        "general.type": ("str", "adapter"),
        "general.architecture": ("str", "llama"),
        "adapter.type": ("str", "lora"),
        "adapter.lora.alpha": ("f32", float(RANK)),
    }
    tensors = {
        f"{name}.lora_a": rng.standard_normal((RANK, width)).astype(np.float32),
        f"{name}.lora_b": rng.standard_normal((width, RANK)).astype(np.float32),
    }
    path.write_bytes(encode_gguf(fields, tensors))
    return path
