"""A tiny BERT with random weights as a GGUF: an embedding model, or with a classifier on top a reranker.

Its WordPiece vocabulary knows single letters and digits, so every text is tokens; `pooling` is what the file asks for
(llama.cpp's numbers: mean 1, first token 2, rank 4; None: it does not say). Deterministic in `seed`.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes.gguf_model import CONTROL, NORMAL, SPACE, encode_gguf

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
CLS, SEP = 2, 3


def write_bert(
    path: Path, *, pooling: int | None = 1, width: int = 32, layers: int = 2, context: int = 64, seed: int = 3
) -> Path:
    """Write the model to `path` and return it."""
    letters = string.ascii_lowercase + string.digits
    tokens = [*SPECIALS, *(SPACE + letter for letter in letters), *letters]
    fields: dict[str, tuple[str, Any]] = {
        "general.architecture": ("str", "bert"),
        "general.name": ("str", "tiny-bert"),
        "bert.context_length": ("u32", context),
        "bert.embedding_length": ("u32", width),
        "bert.block_count": ("u32", layers),
        "bert.feed_forward_length": ("u32", 2 * width),
        "bert.attention.head_count": ("u32", 4),
        "bert.attention.layer_norm_epsilon": ("f32", 1e-12),
        "bert.attention.causal": ("bool", False),
        "tokenizer.ggml.model": ("str", "bert"),
        "tokenizer.ggml.tokens": ("str[]", tokens),
        "tokenizer.ggml.token_type": ("i32[]", [CONTROL] * len(SPECIALS) + [NORMAL] * (len(tokens) - len(SPECIALS))),
        "tokenizer.ggml.token_type_count": ("u32", 2),
        "tokenizer.ggml.padding_token_id": ("u32", 0),
        "tokenizer.ggml.unknown_token_id": ("u32", 1),
        "tokenizer.ggml.bos_token_id": ("u32", CLS),
        "tokenizer.ggml.cls_token_id": ("u32", CLS),
        "tokenizer.ggml.seperator_token_id": ("u32", SEP),
    }
    if pooling is not None:
        fields["bert.pooling_type"] = ("u32", pooling)
    path.write_bytes(encode_gguf(fields, _tensors(len(tokens), width, layers, context, seed, pooling == 4)))
    return path


def _tensors(vocab: int, width: int, layers: int, context: int, seed: int, ranks: bool) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}

    def matrix(name: str, rows: int, columns: int) -> None:
        found[f"{name}.weight"] = (rng.standard_normal((rows, columns)) / columns**0.5).astype(np.float32)

    def linear(name: str, rows: int, columns: int) -> None:
        matrix(name, rows, columns)
        found[f"{name}.bias"] = (0.1 * rng.standard_normal(rows)).astype(np.float32)

    def norm(name: str) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = np.ones(width, np.float32), np.zeros(width, np.float32)

    matrix("token_embd", vocab, width)
    matrix("position_embd", context, width)
    matrix("token_types", 2, width)
    norm("token_embd_norm")
    for block in (f"blk.{layer}" for layer in range(layers)):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            linear(f"{block}.{part}", width, width)
        norm(f"{block}.attn_output_norm")
        linear(f"{block}.ffn_up", 2 * width, width)
        linear(f"{block}.ffn_down", width, 2 * width)
        norm(f"{block}.layer_output_norm")
    if ranks:
        linear("cls", width, width)
        linear("cls.output", 1, width)
    return found
