"""The order of a reranking model, over what the words found."""

from __future__ import annotations

from collections.abc import Sequence

from backends.rag.relevance import READ, Relevance
from backends.rag.rerank import Ranked
from backends.rag.store import Hit


class ByLength:
    """Prefers long passages."""

    opened = 0
    closed = 0

    def __init__(self) -> None:
        type(self).opened += 1

    def score(self, query: str, texts: Sequence[str]) -> list[float]:
        assert query == "How long?"
        return [float(len(text)) for text in texts]

    def close(self) -> None:
        type(self).closed += 1


def test_the_model_orders_the_best_by_words_and_is_opened_once() -> None:
    relevance = Relevance(ByLength)
    ranked = [Ranked(Hit("a.md", i, "T", "x" * (i % 7), "", 1.0), 1.0 / (i + 1), 1.0) for i in range(20)]
    assert relevance.rerank("How long?", ranked[:1]) == ranked[:1]
    assert ByLength.opened == 0  # one needs no order
    for _ in range(2):
        found = relevance.rerank("How long?", ranked)
        assert len(found) == READ
        assert [len(each.hit.text) for each in found] == sorted((i % 7 for i in range(READ)), reverse=True)
    relevance.close()
    relevance.close()
    assert (ByLength.opened, ByLength.closed) == (1, 1)
