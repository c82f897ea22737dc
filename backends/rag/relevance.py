"""Reranking by a model that reads question and passage together (a cross-encoder), after the reranking by words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from backends.rag.rerank import Ranked

READ = 12
"""So many of the best by words are read by the model; it takes about as long as prefilling them."""


class Scorer(Protocol):
    """A reranking model, such as `backends.engine.embed.Reranker`."""

    def score(self, query: str, texts: Sequence[str]) -> Iterable[float]:
        """How relevant each of `texts` is to `query`, higher is better. From any thread."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class Relevance:
    """A reranking model in use, opened when it is first needed. Blocking; from any thread."""

    def __init__(self, open_model: Callable[[], Scorer]) -> None:
        self._open = open_model
        self._lock = threading.Lock()
        self._scorer: Scorer | None = None

    def rerank(self, question: str, ranked: Sequence[Ranked]) -> list[Ranked]:
        """The READ best of `ranked` in the model's order; the others are left out."""
        read = ranked[:READ]
        if len(read) < 2:
            return list(read)
        scores = self._opened().score(question, [f"{each.hit.title}: {each.hit.text}" for each in read])
        return [each for _, each in sorted(zip(scores, read, strict=True), key=lambda pair: -float(pair[0]))]

    def close(self) -> None:
        """Free the model."""
        with self._lock:
            if self._scorer is not None:
                self._scorer.close()
                self._scorer = None

    def _opened(self) -> Scorer:
        with self._lock:
            if self._scorer is None:
                self._scorer = self._open()
            return self._scorer
