"""A BERT as it is published, converted for llama.cpp: the same vectors as by its own formula."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from backends.engine.embed import Embedder
from tests.bench.embedding.convert import convert
from tests.bench.embedding.reference import Bert

WIDTH, LAYERS, CONTEXT = 32, 2, 48
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "pause", "refund", "##s", "##ed", "##d", "how", "do", "?"]


def published(folder: Path) -> Path:
    """A folder as Hugging Face has them, with random weights."""
    config = {
        "max_position_embeddings": CONTEXT,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "intermediate_size": 2 * WIDTH,
        "num_attention_heads": 4,
        "layer_norm_eps": 1e-12,
        "type_vocab_size": 2,
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    rng = np.random.default_rng(4)
    shapes = {f"embeddings.{name}_embeddings.weight": (rows, WIDTH) for name, rows in ROWS.items()}
    shapes |= _norm("embeddings.LayerNorm") | _linear("pooler.dense", WIDTH, WIDTH)
    for layer in (f"encoder.layer.{number}" for number in range(LAYERS)):
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            shapes |= _linear(f"{layer}.attention.{part}", WIDTH, WIDTH)
        shapes |= _linear(f"{layer}.intermediate.dense", 2 * WIDTH, WIDTH)
        shapes |= _linear(f"{layer}.output.dense", WIDTH, 2 * WIDTH)
        shapes |= _norm(f"{layer}.attention.output.LayerNorm") | _norm(f"{layer}.output.LayerNorm")
    entries, data = {}, b""
    for name, shape in shapes.items():
        array = (rng.standard_normal(shape) / 4).astype("<f4") + (1 if name.endswith("LayerNorm.weight") else 0)
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.astype("<f4").tobytes()
    head = json.dumps(entries | {"__metadata__": {"format": "pt"}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + data)
    return folder


ROWS = {"word": len(VOCABULARY), "position": CONTEXT, "token_type": 2}


def _linear(name: str, rows: int, columns: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (WIDTH,), f"{name}.bias": (WIDTH,)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("published"))


def test_words_are_pieces_as_in_the_published_vocabulary(folder: Path, tmp_path: Path) -> None:
    embedder = Embedder.open(convert(folder, tmp_path / "bert.gguf"), threads=1)
    pieces = [VOCABULARY[token] for token in embedder._tokens("How do refunds, paused?")]
    assert pieces == ["[CLS]", "how", "do", "refund", "##s", "[UNK]", "pause", "##d", "?", "[SEP]"]
    embedder.close()


def test_vectors_are_those_of_the_formula(folder: Path, tmp_path: Path) -> None:
    embedder = Embedder.open(convert(folder, tmp_path / "bert.gguf"), threads=1)
    bert = Bert(folder)
    texts = ["pause", "how do refunds?", "refund " * 100, "paused pauses"]
    for text, row in zip(texts, embedder.embed(texts), strict=True):
        assert row @ bert.embed(embedder._tokens(text)) == pytest.approx(1.0, abs=1e-3)
    embedder.close()
