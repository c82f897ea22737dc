"""The ways to retrieve that `llmchat bench rag` compares, each on the same index."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from backends.bench.rag import Retrieve, Retrieved
from backends.demo import DOCUMENTS
from backends.rag.assemble import Print, assemble
from backends.rag.compress import compress
from backends.rag.index import Index
from backends.rag.meaning import EmbeddingModel
from backends.rag.options import Options
from backends.rag.query import build_query
from backends.rag.rerank import rerank
from backends.rag.retrieve import search
from backends.rag.sections import sentences
from backends.rag.tokens import estimate_tokens

_COPIED = 12  # words: a shorter passage is none without one of them

MEANING = "meaning"
COMPRESSED = "compressed"
WAYS = ("BM25", "words", f"words, {COMPRESSED}", f"words, {MEANING}", f"words, {MEANING}, {COMPRESSED}")
"""BM25 alone; reranked by words; with an embedding model beside the words; each with sentences left out."""


class Opened:
    """Indexes of `documents` (None: the samples) in memory, to be used in a ``with``: by words, and by meaning too."""

    def __init__(self, documents: Path | None, top_k: int, model: EmbeddingModel | None) -> None:
        self._documents = [documents or DOCUMENTS]
        self._by_words = Index(self._documents)
        self._by_meaning = Index(self._documents, model=model) if model is not None else None
        self._options = Options(top_k=top_k)
        self.count_tokens = estimate_tokens

    @property
    def ways(self) -> tuple[str, ...]:
        """The ways that there are: those of WAYS that need no meaning, or all."""
        return WAYS if self._by_meaning is not None else tuple(way for way in WAYS if MEANING not in way)

    def __enter__(self) -> Opened:
        for index in self._indexes():
            index.refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for index in self._indexes():
            index.close()

    def way(self, name: str) -> Retrieve:
        """How `name`, one of `ways`, retrieves."""
        index = self._by_meaning if self._by_meaning is not None and MEANING in name else self._by_words

        def retrieve(questions: Sequence[str]) -> Retrieved:
            options = self._options
            found = search(index, build_query(questions), options.candidates)
            hits = found.hits if name == WAYS[0] else [each.hit for each in rerank(found.hits, found.terms)]
            shown = [compress(hit, found.terms) for hit in hits] if COMPRESSED in name else hits
            sources = assemble(shown, options.top_k, options.token_budget, self.count_tokens)
            return Retrieved(tuple((hit.source, hit.title) for hit in hits), sources)

        return retrieve

    def duplicates(self) -> str:
        """How well a passage that repeats another is told from one that does not, in words."""
        total, _ = self._by_words.frequencies([])
        texts = [hit.text for hit in self._by_words.hits(range(1, total + 1)) if len(hit.text.split()) >= _COPIED]
        copies = [(text, copy) for text in texts for copy in _copies(text)]
        changed = [(text, _other_numbers(text)) for text in texts if _other_numbers(text) != text]
        pairs = list(itertools.combinations(texts, 2))
        found, kept, wrong = (sum(map(_repeats, each)) for each in (copies, changed, pairs))
        return (
            f"Near-duplicates: {found} of {len(copies)} copies with a word changed or a sentence left out are dropped, "
            f"{kept} of {len(changed)} with other numbers, {wrong} of {len(pairs)} pairs of different passages."
        )

    def _indexes(self) -> list[Index]:
        return [index for index in (self._by_words, self._by_meaning) if index is not None]


def _repeats(pair: tuple[str, str]) -> bool:
    return Print.of(pair[1]).repeats(Print.of(pair[0]))


def _copies(text: str) -> list[str]:
    """`text` with the word in its middle exchanged, and without its last sentence."""
    said = text.split()
    said[len(said) // 2] = "somewhat"
    parts = [unit.text for unit in sentences(text, 1, 1)]
    return [" ".join(said), *([" ".join(parts[:-1])] if len(parts) > 1 else [])]


def _other_numbers(text: str) -> str:
    return re.sub(r"\d+", lambda found: str(int(found[0]) + 1), text)
