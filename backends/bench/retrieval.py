"""The ways to retrieve that `llmchat bench rag` compares, each on the same index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from backends.bench.rag import Retrieve, Retrieved
from backends.rag.assemble import assemble
from backends.rag.index import Index
from backends.rag.options import Options
from backends.rag.query import Query, build_query
from backends.rag.rerank import rerank
from backends.rag.retrieve import search
from backends.rag.store import Hit
from backends.rag.tokens import estimate_tokens

WAYS = ("BM25 alone", "reranked")


class Opened:
    """An index of `documents` (None: the samples) in memory, to be used in a ``with``."""

    def __init__(self, documents: Path | None, top_k: int) -> None:
        from backends.demo import DOCUMENTS

        self._index = Index([documents or DOCUMENTS])
        self._options = Options(top_k=top_k)
        self.count_tokens = estimate_tokens

    def __enter__(self) -> Opened:
        self._index.refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._index.close()

    def way(self, name: str) -> Retrieve:
        """How `name`, one of WAYS, retrieves."""
        ranked = {"BM25 alone": self._bm25, "reranked": self._reranked}[name]

        def retrieve(questions: Sequence[str]) -> Retrieved:
            hits = ranked(build_query(questions))
            options = self._options
            sources = assemble(hits, options.top_k, options.token_budget, self.count_tokens)
            return Retrieved(tuple((hit.source, hit.title) for hit in hits), sources)

        return retrieve

    def _bm25(self, query: Query) -> list[Hit]:
        return list(search(self._index, query, self._options.candidates).hits)

    def _reranked(self, query: Query) -> list[Hit]:
        found = search(self._index, query, self._options.candidates)
        return [each.hit for each in rerank(found.hits, found.terms)]
