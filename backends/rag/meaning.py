"""Meaning as vectors: the embedding model beside the index of words, and the fusion of what both find."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from backends.rag.query import EARLIER_WEIGHT, Query

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rows = NDArray[np.float32]

_RRF = 60.0
_CEILING = 0.95  # of a measured floor: above it nothing could be told apart

EVERYDAY = (
    "Hello, how are you today?",
    "What is the capital of France?",
    "Tell me a joke.",
    "How do I bake bread?",
    "Why is the sky blue?",
    "Who won the match last night?",
    "Will it rain tomorrow?",
    "When should tomatoes be planted?",
    "How far away is the moon?",
    "Can you recommend a film?",
    "What is the square root of two?",
)
"""Questions that few documents answer: how near they come to passages all the same shows where a model's similarities
begin to mean something."""

T = TypeVar("T", bound=Hashable)


class Embedder(Protocol):
    """An embedding model, such as `backends.engine.embed.Embedder`."""

    def embed(self, texts: Sequence[str]) -> Rows:
        """The vectors of `texts`: float32, shape (len(texts), dimensions), each of length 1 or 0. From any thread."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class EmbeddingModel(msgspec.Struct, frozen=True):
    """How to get a model's vectors. `name` tells it from others: vectors of one are nothing to another.

    `floor`: the cosine similarity at and below which two texts are taken to have nothing to do with each other, a
    property of the model; None: measured (`Meaning.floor`). `query_prefix` and `passage_prefix` are what it wants
    before each.
    """

    name: str
    open: Callable[[], Embedder]
    floor: float | None = None
    query_prefix: str = ""
    passage_prefix: str = ""


class Meaning:
    """`model` in use, opened when it is first needed. From any thread; what it raises is the model's."""

    def __init__(self, model: EmbeddingModel) -> None:
        self.model = model
        self._lock = threading.Lock()
        self._embedder: Embedder | None = None

    def of_passages(self, texts: Sequence[str]) -> Rows:
        """The vectors of passages, shape (len(texts), dimensions)."""
        return self._opened().embed([self.model.passage_prefix + text for text in texts])

    def of_query(self, query: Query) -> Rows:
        """The vector of a query, shape (dimensions,), of length 1 or 0; the questions that it leans on count less."""
        import numpy as np

        rows = self._opened().embed([self.model.query_prefix + text for text in (query.text, *query.earlier)])
        weights = np.array([EARLIER_WEIGHT**i for i in range(len(rows))], np.float32)
        vector: Rows = weights @ rows
        vector /= np.float32(max(float(np.linalg.norm(vector)), 1e-12))
        return vector

    def floor(self, passages: Rows) -> float:
        """The cosine similarity up to which a question has nothing to do with `passages`, shape (n, dimensions), n > 0:
        the model's, or else how near the nearest of them is to an everyday question, at the median of these."""
        import numpy as np

        if self.model.floor is not None:
            return self.model.floor
        rows = self._opened().embed([self.model.query_prefix + text for text in EVERYDAY])
        return min(_CEILING, float(np.median((rows @ passages.T).max(axis=1))))

    def close(self) -> None:
        """Free the model."""
        with self._lock:
            if self._embedder is not None:
                self._embedder.close()
                self._embedder = None

    def _opened(self) -> Embedder:
        with self._lock:
            if self._embedder is None:
                self._embedder = self.model.open()
            return self._embedder


def alike(cosine: float, floor: float) -> float:
    """A cosine similarity as a share of what lies above `floor`, 0 to 1."""
    return min(1.0, max(0.0, (cosine - floor) / (1.0 - floor)))


def fuse(rankings: Iterable[Sequence[T]]) -> list[T]:
    """One ranking of several, by the sum of 1 / (60 + rank): reciprocal rank fusion (Cormack et al. 2009)."""
    scores: dict[T, float] = {}
    for ranking in rankings:
        for rank, each in enumerate(ranking, 1):
            scores[each] = scores.get(each, 0.0) + 1.0 / (_RRF + rank)
    return sorted(scores, key=lambda each: -scores[each])
