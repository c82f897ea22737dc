"""Embeddings and relevance scores from a GGUF of that kind (BERT and kin, or a decoder trained for it): for retrieval.

    embedder = Embedder.open(Path("bge-small-en-v1.5-q8_0.gguf"))
    vectors = embedder.embed(["How do I pause?", "Pausing takes effect at once."])
    similarity = vectors[0] @ vectors[1]

Such models are not shared, nor do they take part in the engine's batch: their texts are short and leave no cache.
Prefixes that a model wants before questions and passages ("search_query: ") are for the caller to put there.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from backends.engine.load import load_error
from backends.engine.pooled_model import PooledModel, Rows
from backends.errors import BackendError


class Embedder:
    """Turns texts into vectors of length 1, whose dot product is their cosine similarity. From any thread."""

    def __init__(self, model: PooledModel) -> None:
        self._model = model

    @classmethod
    def open(cls, path: Path, *, threads: int | None = None, gpu_layers: int = 0) -> Self:
        """Load the GGUF at `path`. `threads` None: the physical cores; `gpu_layers`: layers in GPU memory, -1 is all.

        Raises BackendError: ENGINE_MISSING, or MODEL_LOAD with the path, the reason and what to do.
        """
        model = PooledModel(path, threads, gpu_layers)
        if model.pooling == model.names.LLAMA_POOLING_TYPE_NONE:
            advice = "Take an embedding model, such as bge, e5, nomic-embed or Qwen3-Embedding."
            raise _unfit(model, f"it makes no embeddings (it names no pooling type). {advice}")
        if model.pooling == model.names.LLAMA_POOLING_TYPE_RANK:
            raise _unfit(model, "it is a reranker, which scores pairs of texts. Take an embedding model for this.")
        return cls(model)

    @property
    def dimensions(self) -> int:
        """Numbers of a vector."""
        return self._model.width

    @property
    def max_tokens(self) -> int:
        """What of a text counts; the rest is cut off."""
        return self._model.max_tokens

    def count_tokens(self, text: str) -> int:
        """How many tokens `text` is, with those that the model puts around it."""
        return len(self._model.tokenize(text, True))

    def embed(self, texts: Sequence[str]) -> Rows:
        """The vectors of `texts`: float32, shape (len(texts), `dimensions`), each of length 1.

        Beyond `max_tokens` a text is cut off. One without any token has zeros. Raises BackendError.
        """
        rows = self._model.rows([self._tokens(text) for text in texts])
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        rows /= np.maximum(lengths, np.float32(1e-12))
        return rows

    def _tokens(self, text: str) -> list[int]:
        """Framed, and cut so that the token which ends a text stays: its row may be the text's."""
        tokens = self._model.tokenize(text, True)
        surplus = len(tokens) - self.max_tokens
        if surplus <= 0:
            return tokens
        end = int(tokens[-1:] != self._model.tokenize(text, False)[-1:])
        return tokens[: self.max_tokens - end] + tokens[len(tokens) - end :]

    def close(self) -> None:
        """Free the model."""
        self._model.close()


class Reranker:
    """Says how well passages answer a query. From any thread."""

    def __init__(self, model: PooledModel) -> None:
        self._model = model
        self._form = _form(model)

    @classmethod
    def open(cls, path: Path, *, threads: int | None = None, gpu_layers: int = 0) -> Self:
        """Load the GGUF at `path`, as `Embedder.open` does. Raises BackendError as that does."""
        model = PooledModel(path, threads, gpu_layers)
        if model.pooling != model.names.LLAMA_POOLING_TYPE_RANK:
            advice = "Take a reranker, such as bge-reranker, jina-reranker or Qwen3-Reranker."
            raise _unfit(model, f"it is not a reranker (its pooling type is not rank). {advice}")
        return cls(model)

    def score(self, query: str, texts: Sequence[str]) -> Rows:
        """How relevant each of `texts` is to `query`: float32, shape (len(texts),); higher is better.

        The numbers are the model's own (most give logits) and comparable for one query. Where a pair is longer than the
        model takes, the query keeps half of the room at least, and the text is cut off. Raises BackendError.
        """
        asked = self._model.tokenize(query, False)
        pairs = [self._pair(asked, self._model.tokenize(text, False)) for text in texts]
        scores: Rows = self._model.rows(pairs)[:, 0]
        return scores

    def _pair(self, query: list[int], text: list[int]) -> list[int]:
        room = self._model.max_tokens - sum(len(part) for part in self._form if not isinstance(part, str))
        query = query[: max(room // 2, room - len(text))]
        parts = {QUERY: query, TEXT: text[: room - len(query)]}
        return [token for part in self._form for token in (parts[part] if isinstance(part, str) else part)]

    def close(self) -> None:
        """Free the model."""
        self._model.close()


QUERY, TEXT = "{query}", "{document}"
"""Where the two go in a GGUF's template for reranking (llama.cpp's convention)."""


def _form(model: PooledModel) -> list[list[int] | str]:
    """What stands around query and text: token ids, and the two names. As llama-server's ``format_prompt_rerank``."""
    template = model.template("rerank")
    if template is not None:
        parts = re.split(f"({re.escape(QUERY)}|{re.escape(TEXT)})", template)
        return [part if part in (QUERY, TEXT) else model.tokenize(part, False, special=True) for part in parts]
    c, vocab = model.names, model.vocab
    sep = [int(c.llama_vocab_sep(vocab))]
    eos = [token] if (token := int(c.llama_vocab_eos(vocab))) >= 0 else sep
    begin = [int(c.llama_vocab_bos(vocab))] if c.llama_vocab_get_add_bos(vocab) else []
    end = eos if c.llama_vocab_get_add_eos(vocab) else []
    return [begin, QUERY, end + (sep if c.llama_vocab_get_add_sep(vocab) else []), TEXT, end]


def _unfit(model: PooledModel, reason: str) -> BackendError:
    """MODEL_LOAD, the model closed."""
    model.close()
    return load_error(model.path, reason)
