"""A tiny llama-architecture GGUF with random weights, for tests that need the real llama.cpp and no particular answer.

    from tests.fakes.gguf_model import write_model
    write_model(tmp_path / "tiny.gguf")

What it is: byte-level BPE (``gpt2``, pre-tokenizer ``smollm``) over the 256 bytes plus a few words, two ChatML control
tokens, ChatML template; F32 weights, so that greedy token ids are the same however requests are batched or chunked (KV
in f32 and flash attention off). Deterministic in `seed`. The rows of the output matrix that belong to control tokens
and to bytes outside printable ASCII are zero, so answers are plain ASCII and never end on their own: only a limit, a
stop string or a cancel ends them, unless `end_gain` lets the end-of-turn token win now and then. `sentencepiece` takes
a Llama-2-like vocabulary instead, which begins prompts with a BOS token and puts a space before texts. `silent` adds
layers that change nothing, or as little as `noise` says: of two models that differ only in these the one without them
drafts for the other.

The format is GGUF version 3, as in ggml's ``docs/gguf.md``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
WORDS = ["the", " the", " plan", " invoice", " pause", " annual", " refund", "user", "assistant", "system", "\n\n"]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6
SPACE = "▁"  # stands for a space in a SentencePiece vocabulary
_ALIGNMENT = 32
_TYPES = {"u32": 4, "f32": 6, "bool": 7, "str": 8}


def byte_alphabet() -> list[str]:
    """The 256 characters that stand for bytes in a GPT-2 vocabulary, by byte value."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spare = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(256)]


def vocabulary() -> tuple[list[str], list[int], list[str]]:
    """Tokens, their types, and the BPE merges: specials first, then bytes, then what the words need."""
    alphabet = byte_alphabet()
    tokens, types, merges = SPECIALS + alphabet, [CONTROL] * len(SPECIALS) + [NORMAL] * 256, []
    for word in WORDS:
        spelled = [alphabet[byte] for byte in word.encode()]
        left = spelled[0]
        for right in spelled[1:]:
            if left + right not in tokens:
                tokens.append(left + right)
                types.append(NORMAL)
                merges.append(f"{left} {right}")
            left += right
    return tokens, types, merges


def sentencepiece_vocabulary() -> tuple[list[str], list[int], list[float]]:
    """Tokens, their types and scores of a Llama-2-like vocabulary: bytes, printable characters, the words."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256
    pieces = dict.fromkeys([SPACE, *map(chr, range(33, 127))])
    for word in WORDS:
        spelled = word.replace(" ", SPACE).strip("\n")
        pieces |= dict.fromkeys(spelled[:end] for end in range(2, len(spelled) + 1))
    tokens += pieces
    types += [NORMAL] * len(pieces)
    return tokens, types, [0.0] * 259 + [-float(index) for index in range(len(pieces))]


def write_model(
    path: Path,
    *,
    sentencepiece: bool = False,
    layers: int = 3,
    width: int = 64,
    heads: int = 4,
    kv_heads: int = 2,
    context: int = 512,
    seed: int = 7,
    end_gain: float = 0.0,
    silent: int = 0,
    noise: float = 0.0,
    name: str = "tiny-random",
    template: str | None = CHATML,
    controls: Sequence[str] = (),
    metadata: dict[str, tuple[str, Any]] | None = None,
) -> Path:
    """Write the model to `path` and return it. `metadata`: further keys, as ``{"key": ("str", value)}`` (`_TYPES`).

    `controls`: further control tokens, behind the others.
    """
    tokens, text_fields = _sentencepiece_fields() if sentencepiece else _bpe_fields()
    tokens += controls
    text_fields["tokenizer.ggml.token_type"][1].extend([CONTROL] * len(controls))
    if sentencepiece:
        text_fields["tokenizer.ggml.scores"][1].extend([0.0] * len(controls))
    fields: dict[str, tuple[str, Any]] = {
        "general.architecture": ("str", "llama"),
        "general.name": ("str", name),
        "llama.context_length": ("u32", context),
        "llama.embedding_length": ("u32", width),
        "llama.block_count": ("u32", layers + silent),
        "llama.feed_forward_length": ("u32", 2 * width),
        "llama.attention.head_count": ("u32", heads),
        "llama.attention.head_count_kv": ("u32", kv_heads),
        "llama.attention.layer_norm_rms_epsilon": ("f32", 1e-5),
        "llama.rope.dimension_count": ("u32", width // heads),
        "llama.vocab_size": ("u32", len(tokens)),
    }
    fields |= text_fields
    if template is not None:
        fields["tokenizer.chat_template"] = ("str", template)
    fields |= metadata or {}
    tensors = _tensors(tokens, layers, width, heads, kv_heads, np.random.default_rng(seed), end_gain)
    rng = np.random.default_rng(seed + 1)
    for layer in range(layers, layers + silent):
        tensors |= _layer(layer, width, width // heads * kv_heads, rng, noise)
    path.write_bytes(encode_gguf(fields, tensors))
    return path


def _bpe_fields() -> tuple[list[str], dict[str, tuple[str, Any]]]:
    tokens, types, merges = vocabulary()
    return tokens, {
        "tokenizer.ggml.model": ("str", "gpt2"),
        "tokenizer.ggml.pre": ("str", "smollm"),
        "tokenizer.ggml.tokens": ("str[]", tokens),
        "tokenizer.ggml.token_type": ("i32[]", types),
        "tokenizer.ggml.merges": ("str[]", merges),
        "tokenizer.ggml.bos_token_id": ("u32", 0),
        "tokenizer.ggml.eos_token_id": ("u32", 2),
        "tokenizer.ggml.eot_token_id": ("u32", 2),
        "tokenizer.ggml.add_bos_token": ("bool", False),
    }


def _sentencepiece_fields() -> tuple[list[str], dict[str, tuple[str, Any]]]:
    tokens, types, scores = sentencepiece_vocabulary()
    return tokens, {
        "tokenizer.ggml.model": ("str", "llama"),
        "tokenizer.ggml.tokens": ("str[]", tokens),
        "tokenizer.ggml.token_type": ("i32[]", types),
        "tokenizer.ggml.scores": ("f32[]", scores),
        "tokenizer.ggml.unknown_token_id": ("u32", 0),
        "tokenizer.ggml.bos_token_id": ("u32", 1),
        "tokenizer.ggml.eos_token_id": ("u32", 2),
        "tokenizer.ggml.add_bos_token": ("bool", True),
    }


def _tensors(
    tokens: list[str], layers: int, width: int, heads: int, kv_heads: int, rng: np.random.Generator, end_gain: float
) -> dict[str, np.ndarray]:
    """Name -> F32 array, row-major (out, in); logits come out with a standard deviation of about 6."""

    tensors = {"token_embd.weight": rng.standard_normal((len(tokens), width)).astype(np.float32)}
    for layer in range(layers):
        tensors |= _layer(layer, width, width // heads * kv_heads, rng, 1.0)
    output = _matrix(rng, len(tokens), width, 6.0)
    printable = {chr(code) for code in range(33, 127)} | {"Ġ", SPACE}
    for index, token in enumerate(tokens):
        if index < len(SPECIALS) or token.startswith(("<0x", "<|", "[")) or not set(token) <= printable:
            output[index] = 0.0
    output[2] = end_gain * _matrix(rng, 1, width, 6.0)[0]  # the end of a turn, in both vocabularies
    return tensors | {"output_norm.weight": np.ones(width, np.float32), "output.weight": output}


def _layer(layer: int, width: int, kv_width: int, rng: np.random.Generator, loudness: float) -> dict[str, np.ndarray]:
    """One block; `loudness`: how much it adds to the residual stream."""
    block = f"blk.{layer}."
    return {
        block + "attn_norm.weight": np.ones(width, np.float32),
        block + "attn_q.weight": _matrix(rng, width, width, 2.0),
        block + "attn_k.weight": _matrix(rng, kv_width, width, 2.0),
        block + "attn_v.weight": _matrix(rng, kv_width, width, 1.5),
        block + "attn_output.weight": _matrix(rng, width, width, 1.5 * loudness),
        block + "ffn_norm.weight": np.ones(width, np.float32),
        block + "ffn_gate.weight": _matrix(rng, 2 * width, width),
        block + "ffn_up.weight": _matrix(rng, 2 * width, width),
        block + "ffn_down.weight": _matrix(rng, width, 2 * width, loudness),
    }


def _matrix(rng: np.random.Generator, rows: int, columns: int, gain: float = 1.0) -> np.ndarray:
    return (gain * rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)


def encode_gguf(fields: dict[str, tuple[str, Any]], tensors: dict[str, np.ndarray]) -> bytes:
    """A whole file: its metadata, and F32 tensors by name."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(fields))
    head += b"".join(_string(key) + _value(kind, value) for key, (kind, value) in fields.items())
    offset, data = 0, b""
    for name, array in tensors.items():
        shape = array.shape[::-1]
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        data += array.tobytes() + bytes(-array.nbytes % _ALIGNMENT)
        offset = len(data)
    return head + bytes(-len(head) % _ALIGNMENT) + data


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(kind: str, value: Any) -> bytes:
    match kind:
        case "str":
            return struct.pack("<I", 8) + _string(value)
        case "str[]":
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(_string(item) for item in value)
        case "f32[]":
            return struct.pack(f"<IIQ{len(value)}f", 9, 6, len(value), *value)
        case "i32[]":
            return struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value)
        case _:
            return struct.pack("<I" + {"u32": "I", "f32": "f", "bool": "?"}[kind], _TYPES[kind], value)
