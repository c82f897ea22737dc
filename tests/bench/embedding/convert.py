"""A BERT in Hugging Face's form as a GGUF: ``python -m tests.bench.embedding.convert FOLDER MODEL.gguf``.

FOLDER has ``config.json``, ``vocab.txt``, ``model.safetensors`` and, as sentence-transformers write it, ``1_Pooling``.
Tensors keep their F32. WordPiece in a GGUF marks where words begin (U+2581) instead of where they go on (``##``). Names
as in llama.cpp's ``conversion/bert.py``; safetensors' form as in its README.
"""

from __future__ import annotations

import argparse
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from tests.fakes.gguf_model import CONTROL, NORMAL, SPACE, encode_gguf

Tensors = dict[str, np.ndarray[Any, np.dtype[np.float32]]]

MEAN, FIRST = 1, 2
"""llama.cpp's numbers of ways to pool."""

_NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
_BLOCK_NAMES = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


def convert(folder: Path, path: Path) -> Path:
    """Write the model of `folder` to `path` and return it."""
    config = json.loads((folder / "config.json").read_text())
    vocabulary = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    tensors = {name: array for found, array in read_tensors(folder).items() if (name := _name(found))}
    path.write_bytes(encode_gguf(_fields(config, vocabulary, _pooling(folder), folder.name), tensors))
    return path


def read_tensors(folder: Path) -> Tensors:
    """The F32 tensors of ``model.safetensors``: 8 bytes of length, that much JSON, and the numbers."""
    raw = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", raw)
    start = 8 + length
    found = {}
    for name, entry in json.loads(raw[8:start]).items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            found[name] = np.frombuffer(raw[start + begin : start + end], "<f4").reshape(entry["shape"])
    return found


def _pooling(folder: Path) -> int:
    file = folder / "1_Pooling" / "config.json"
    return FIRST if file.is_file() and json.loads(file.read_text())["pooling_mode_cls_token"] else MEAN


def _name(found: str) -> str | None:
    """A tensor's name in the GGUF; None for one that embeddings do without (the pooler of BERT's training)."""
    base, _, kind = found.removeprefix("bert.").rpartition(".")
    if base in _NAMES:
        return f"{_NAMES[base]}.{kind}"
    if base.startswith("encoder.layer."):
        number, _, part = base.removeprefix("encoder.layer.").partition(".")
        return f"blk.{number}.{_BLOCK_NAMES[part]}.{kind}"
    return None


def _fields(config: dict[str, Any], vocabulary: list[str], pooling: int, name: str) -> dict[str, tuple[str, Any]]:
    places = {token: place for place, token in enumerate(vocabulary)}
    specials = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"} & places.keys()
    return {
        "general.architecture": ("str", "bert"),
        "general.name": ("str", name),
        "bert.context_length": ("u32", config["max_position_embeddings"]),
        "bert.embedding_length": ("u32", config["hidden_size"]),
        "bert.block_count": ("u32", config["num_hidden_layers"]),
        "bert.feed_forward_length": ("u32", config["intermediate_size"]),
        "bert.attention.head_count": ("u32", config["num_attention_heads"]),
        "bert.attention.layer_norm_epsilon": ("f32", config["layer_norm_eps"]),
        "bert.attention.causal": ("bool", False),
        "bert.pooling_type": ("u32", pooling),
        "tokenizer.ggml.model": ("str", "bert"),
        "tokenizer.ggml.tokens": ("str[]", [_piece(token, token in specials) for token in vocabulary]),
        "tokenizer.ggml.token_type": ("i32[]", [CONTROL if token in specials else NORMAL for token in vocabulary]),
        "tokenizer.ggml.token_type_count": ("u32", config["type_vocab_size"]),
        "tokenizer.ggml.padding_token_id": ("u32", places["[PAD]"]),
        "tokenizer.ggml.unknown_token_id": ("u32", places["[UNK]"]),
        "tokenizer.ggml.bos_token_id": ("u32", places["[CLS]"]),
        "tokenizer.ggml.cls_token_id": ("u32", places["[CLS]"]),
        "tokenizer.ggml.seperator_token_id": ("u32", places["[SEP]"]),  # the format's spelling
    }


def _piece(token: str, is_special: bool) -> str:
    if is_special:
        return token
    return token.removeprefix("##") if token.startswith("##") else SPACE + token


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.embedding.convert", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("gguf", type=Path)
    options = parser.parse_args()
    print(convert(options.folder, options.gguf))


if __name__ == "__main__":
    main()
