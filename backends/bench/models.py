"""Models to measure with: the shapes of real ones, random weights, deterministic, nothing to fetch.

What they say is a stream of made-up words that never ends by itself; what it costs is what a real model of that shape
costs. Logits have a standard deviation of about 6, as those of trained models have. Every word of two letters is one
token, so prompts of a known length are easily made.

For speculative decoding `Pair` gives a target whose first layers are the draft, and whose further layers add nothing
but a little noise: so much of it as to set how often the draft is right, while the cost is that of all layers.
"""

from __future__ import annotations

import functools
import itertools
import math
import string
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from backends.bench.gguf import BLOCK, Field, Kind, Tensor, write

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_SPACE = "▁"
_SPECIALS = ["<unk>", "<|im_start|>", "<|im_end|>"]
_UNSPOKEN = len(_SPECIALS) + 256  # these and the single bytes never win: their rows of the output matrix are zero
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6

_POOL = 1_048_573
"""Random blocks that all matrices are cut from. Prime, so that no two rows of a matrix are cut alike."""

_CHUNK = 262_144
"""Blocks written at once."""

_SILU_RMS = 0.6
"""Root mean square of silu(g) * u for standard normal g and u."""


class Shape(msgspec.Struct, frozen=True):
    """A llama-architecture model. `noise_from`: from this layer on, layers add noise only (None: all of them count);
    `noise` is its size, relative to what the layers before have made."""

    name: str
    width: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    context: int = 32_768
    kind: Kind = "q8_0"
    noise_from: int | None = None
    noise: float = 0.0

    @property
    def parameters(self) -> int:
        """Numbers in its matrices."""
        kv = self.width // self.heads * self.kv_heads
        return self.layers * self.width * (2 * self.width + 2 * kv + 3 * self.ffn) + 2 * self.vocab * self.width


SHAPES = {
    shape.name: shape
    for shape in (
        Shape("T", 256, 6, 4, 2, 640, 4_096),
        Shape("S", 768, 12, 12, 4, 2_048, 32_000),
        Shape("M", 1_024, 28, 16, 8, 4_096, 152_000),
        Shape("8B", 4_096, 32, 32, 8, 14_336, 128_256),
        Shape("8B-Q4", 4_096, 32, 32, 8, 14_336, 128_256, kind="q4_0"),
    )
}
"""T: 7 MB. S: 125M parameters. M: 0.75B. 8B: the shape of Llama 3."""


class Pair(msgspec.Struct, frozen=True):
    """A draft and its target: the same model, but that the target has further layers."""

    target: Shape
    draft: Shape


def pair(shape: Shape, draft_layers: int, noise: float) -> Pair:
    """A target of `shape` whose draft is its first layers; `noise` 0 makes the draft right always."""
    name = f"{shape.name}-d{draft_layers}"
    return Pair(
        msgspec.structs.replace(shape, name=f"{name}-n{noise:g}", noise_from=draft_layers, noise=noise),
        msgspec.structs.replace(shape, name=f"{name}-draft", layers=draft_layers),
    )


PAIR_SHAPE = Shape("P", 768, 28, 12, 4, 2_048, 8_192)
"""190M parameters; its draft of two layers costs a tenth of it."""


def make(shape: Shape, folder: Path, seed: int = 1) -> Path:
    """The GGUF of `shape` in `folder`, written unless it is there. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"bench-{shape.name}-{shape.kind}-{seed}.gguf"
    if not path.exists():
        write(path, _fields(shape), list(_tensors(shape, seed)))
    return path


def vocabulary(size: int) -> tuple[list[str], list[int]]:
    """`size` tokens and their types, of a SentencePiece vocabulary: specials, bytes, letters, words of 1 to 4 letters.

    Every beginning of a word is a token as well, and is there before it, so that words are put together letter by
    letter from the left: a word that is in the vocabulary is one token.
    """
    tokens = [*_SPECIALS, *(f"<0x{byte:02X}>" for byte in range(256))]
    types = [_UNKNOWN, _CONTROL, _CONTROL] + [_BYTE] * 256
    words = (
        _SPACE + "".join(letters)
        for length in range(1, 5)
        for letters in itertools.product(string.ascii_lowercase, repeat=length)
    )
    tokens += [_SPACE, *string.ascii_lowercase, *string.ascii_uppercase, *string.digits, ".", ",", "?", "!", "-"]
    tokens += itertools.islice(words, size - len(tokens))
    return tokens, types + [_NORMAL] * (size - len(types))


def _fields(shape: Shape) -> dict[str, Field]:
    tokens, types = vocabulary(shape.vocab)
    scores = [0.0] * _UNSPOKEN + [-float(index) for index in range(shape.vocab - _UNSPOKEN)]
    return {
        "general.architecture": ("str", "llama"),
        "general.name": ("str", f"bench-{shape.name}"),
        "llama.context_length": ("u32", shape.context),
        "llama.embedding_length": ("u32", shape.width),
        "llama.block_count": ("u32", shape.layers),
        "llama.feed_forward_length": ("u32", shape.ffn),
        "llama.attention.head_count": ("u32", shape.heads),
        "llama.attention.head_count_kv": ("u32", shape.kv_heads),
        "llama.attention.layer_norm_rms_epsilon": ("f32", 1e-5),
        "llama.rope.dimension_count": ("u32", shape.width // shape.heads),
        "llama.rope.freq_base": ("f32", 500_000.0),
        "llama.vocab_size": ("u32", shape.vocab),
        "tokenizer.ggml.model": ("str", "llama"),
        "tokenizer.ggml.tokens": ("str[]", tokens),
        "tokenizer.ggml.token_type": ("i32[]", types),
        "tokenizer.ggml.scores": ("f32[]", scores),
        "tokenizer.ggml.unknown_token_id": ("u32", 0),
        "tokenizer.ggml.eos_token_id": ("u32", 2),
        "tokenizer.ggml.eot_token_id": ("u32", 2),
        "tokenizer.ggml.add_bos_token": ("bool", False),
        "tokenizer.ggml.add_space_prefix": ("bool", False),
        "tokenizer.chat_template": ("str", CHATML),
    }


def _tensors(shape: Shape, seed: int) -> Iterator[Tensor]:
    """All tensors. Equal names have equal weights in all models of a width, so drafts agree with their targets."""
    width, ffn, kv = shape.width, shape.ffn, shape.width // shape.heads * shape.kv_heads

    def matrix(name: str, rows: int, columns: int, gain: float = 1.0, silent: int = 0) -> Tensor:
        deviation = gain / columns**0.5
        start = zlib.crc32(name.encode()) % _POOL
        count = rows * columns // BLOCK
        silent_blocks = silent * columns // BLOCK
        return Tensor(
            name, rows, columns, shape.kind, lambda: _cut(shape.kind, seed, start, count, deviation, silent_blocks)
        )

    yield matrix("token_embd.weight", shape.vocab, width, gain=width**0.5)
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        counts = shape.noise_from is None or layer < shape.noise_from
        yield _ones(block + "attn_norm.weight", width)
        yield matrix(block + "attn_q.weight", width, width)
        yield matrix(block + "attn_k.weight", kv, width)
        yield matrix(block + "attn_v.weight", kv, width)
        yield matrix(block + "attn_output.weight", width, width, 0.5 if counts else 0.0)
        yield _ones(block + "ffn_norm.weight", width)
        yield matrix(block + "ffn_gate.weight", ffn, width)
        yield matrix(block + "ffn_up.weight", ffn, width)
        yield matrix(block + "ffn_down.weight", width, ffn, 0.5 if counts else _noise_gain(shape))
    yield _ones("output_norm.weight", width)
    yield matrix("output.weight", shape.vocab, width, gain=6.0, silent=_UNSPOKEN)


def _noise_gain(shape: Shape) -> float:
    """What makes the noise layers together add `noise` times what is there (its size without them is about 1)."""
    assert shape.noise_from is not None
    return shape.noise / (_SILU_RMS * math.sqrt(shape.layers - shape.noise_from))


def _ones(name: str, width: int) -> Tensor:
    return Tensor(name, 1, width, "f32", lambda: [np.ones(width, "<f4").data])


def _cut(kind: Kind, seed: int, start: int, count: int, deviation: float, silent: int) -> Iterator[Any]:
    """`count` blocks of the pool from `start` on, around its end as often as it takes, scaled to `deviation`.

    The first `silent` blocks are zero.
    """
    pool, unit = _pool(kind, seed)
    scale = np.frombuffer(np.array(deviation / unit, "<f2").tobytes(), np.uint8)
    done = 0
    while done < count:
        at = (start + done) % _POOL
        chunk = pool[at : at + min(_CHUNK, count - done)].copy()
        chunk[:, :2] = scale
        chunk[: max(0, silent - done)] = 0
        if deviation == 0:
            chunk[:] = 0
        yield chunk.data
        done += len(chunk)


@functools.cache
def _pool(kind: Kind, seed: int) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], float]:
    """Random blocks, (`_POOL`, bytes of a block), their scale still to be set; and the deviation at scale 1."""
    rng = np.random.default_rng(seed)
    if kind == "q8_0":
        numbers = rng.standard_normal((_POOL, BLOCK), np.float32)
        quants = np.clip(np.rint(numbers * 32), -127, 127).astype(np.int8).view(np.uint8)
        return np.concatenate([np.zeros((_POOL, 2), np.uint8), quants], axis=1), 32.0
    if kind == "q4_0":  # a number is (nibble - 8) * scale; without 0 they are symmetric
        nibbles = rng.integers(1, 16, (_POOL, BLOCK), np.uint8)
        quants = nibbles[:, :16] | (nibbles[:, 16:] << 4)
        return np.concatenate([np.zeros((_POOL, 2), np.uint8), quants], axis=1), float(np.std(np.arange(1, 16)))
    raise ValueError(f"matrices of {kind} are not made here")
