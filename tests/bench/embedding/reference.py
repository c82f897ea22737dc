"""BERT by numpy, one text at a time, from the weights as they were published (Devlin et al. 2019): nothing of llama.cpp
is in it, so that what the engine makes of a converted model can be held to it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.bench.embedding.convert import read_tensors

Rows = np.ndarray[Any, np.dtype[np.float32]]

_erf = np.vectorize(math.erf, otypes=[np.float32])


class Bert:
    """The model in `folder`, which has what `convert.convert` reads."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        self._tensors = read_tensors(folder)
        self._layers = int(config["num_hidden_layers"])
        self._heads = int(config["num_attention_heads"])
        self._epsilon = float(config["layer_norm_eps"])

    def embed(self, tokens: Sequence[int]) -> Rows:
        """The mean of the last layer's rows over `tokens` (framed by [CLS] and [SEP]): shape (width,), of length 1."""
        rows = self._tensors["embeddings.word_embeddings.weight"][list(tokens)]
        rows = rows + self._tensors["embeddings.position_embeddings.weight"][: len(tokens)]
        rows = self._norm(rows + self._tensors["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in (f"encoder.layer.{number}" for number in range(self._layers)):
            seen = self._linear(self._attention(rows, f"{layer}.attention.self"), f"{layer}.attention.output.dense")
            rows = self._norm(rows + seen, f"{layer}.attention.output.LayerNorm")
            inner = self._linear(rows, f"{layer}.intermediate.dense")
            inner = inner * (1.0 + _erf(inner / math.sqrt(2.0))) / 2.0
            rows = self._norm(rows + self._linear(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
        mean: Rows = rows.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def _attention(self, rows: Rows, name: str) -> Rows:
        parts = (self._linear(rows, f"{name}.{part}") for part in ("query", "key", "value"))
        queries, keys, values = (part.reshape(len(rows), self._heads, -1).swapaxes(0, 1) for part in parts)
        weights = queries @ keys.swapaxes(1, 2) / math.sqrt(queries.shape[-1])
        weights = np.exp(weights - weights.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return (weights @ values).swapaxes(0, 1).reshape(len(rows), -1)

    def _linear(self, rows: Rows, name: str) -> Rows:
        return rows @ self._tensors[f"{name}.weight"].T + self._tensors[f"{name}.bias"]

    def _norm(self, rows: Rows, name: str) -> Rows:
        centred = rows - rows.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self._epsilon)
        return scaled * self._tensors[f"{name}.weight"] + self._tensors[f"{name}.bias"]
