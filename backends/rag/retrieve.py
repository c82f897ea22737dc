"""The passages for a query. `Retriever` is the interface that any search engine can stand behind; `FolderRetriever`
is the one over our own index of a folder."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from backends.rag.index import Hit, Index
from backends.rag.query import Query
from backends.rag.words import key

REFRESH_SECONDS = 5.0
_GUESSED = 0.7  # a corrected word counts for less than one that was typed
_MIN_GUESSED_LENGTH = 4


class Found(msgspec.Struct, frozen=True):
    """What a retriever found: passages, best first, and what each of the query's words is worth.

    `weights` maps the `words.key` of a word to its weight in the query times its rarity (inverse document frequency);
    a word that was corrected stands under the key of its correction.
    """

    hits: tuple[Hit, ...] = ()
    weights: dict[str, float] = {}


class Retriever(Protocol):
    """A source of passages. Methods raise BackendError for expected failures."""

    async def prepare(self) -> None:
        """Get ready for a query that is coming: open, and bring up to date."""
        ...

    async def retrieve(self, query: Query, limit: int) -> Found:
        """At most `limit` passages for `query`, best first; none where none of its terms occurs."""
        ...

    async def aclose(self) -> None:
        """Release everything."""
        ...


class FolderRetriever:
    """Retrieval from an index of folders and files; looks for changed files at most every `refresh_seconds`.

    All work on SQLite and the disk runs in worker threads, so that the event loop never waits for it.
    """

    def __init__(self, index: Index, refresh_seconds: float = REFRESH_SECONDS) -> None:
        self._index = index
        self._refresh_seconds = refresh_seconds
        self._fresh_until = -math.inf

    async def prepare(self) -> None:
        """Bring the index up to date. Raises BackendError as `Index` does."""
        await asyncio.to_thread(self._refresh)

    async def retrieve(self, query: Query, limit: int) -> Found:
        """The passages for `query`. Raises BackendError as `Index` does."""
        return await asyncio.to_thread(self._retrieve, query, limit)

    async def aclose(self) -> None:
        """Close the index; what is running on it stops soon."""
        await asyncio.to_thread(self._index.close)

    def _refresh(self) -> None:
        if time.monotonic() >= self._fresh_until:
            self._index.refresh()
            self._fresh_until = time.monotonic() + self._refresh_seconds

    def _retrieve(self, query: Query, limit: int) -> Found:
        self._refresh()
        return search(self._index, query, limit)


def folder_retriever(documents: Sequence[Path], index_path: Path | None = None) -> FolderRetriever:
    """A retriever over `documents`, its index in the file `index_path` or in memory; touches nothing yet."""
    return FolderRetriever(Index(documents, index_path))


def search(index: Index, query: Query, limit: int) -> Found:
    """The passages of `index` with any term of `query`; terms that stand nowhere are replaced by what was meant."""
    if not query.terms:
        return Found()
    total, frequencies = index.frequencies([term.word for term in query.terms])
    if not total:
        return Found()
    asked: list[str] = []
    weights: dict[str, float] = {}
    for term, frequency in zip(query.terms, frequencies, strict=True):
        meant = {term.word: frequency} if frequency else _meant(index, term.word)
        asked += meant
        if not meant:
            _raise_to(weights, key(term.word), term.weight * _rarity(total, 1))
        for word, count in meant.items():
            worth = term.weight * _rarity(total, count) * (1.0 if frequency else _GUESSED)
            _raise_to(weights, key(word), worth)
    return Found(tuple(index.search(asked, limit)), weights)


def _meant(index: Index, word: str) -> dict[str, int]:
    """What a word that stands nowhere may have been meant to be, with the number of passages that have it."""
    guesses = index.similar(word) if len(word) >= _MIN_GUESSED_LENGTH and not word.isdigit() else []
    _, counts = index.frequencies(guesses)
    return {guess: count for guess, count in zip(guesses, counts, strict=True) if count}


def _raise_to(weights: dict[str, float], word: str, weight: float) -> None:
    weights[word] = max(weight, weights.get(word, 0.0))


def _rarity(total: int, frequency: int) -> float:
    """The inverse document frequency of BM25 (Robertson and Zaragoza 2009), always above 0."""
    return math.log1p((total - frequency + 0.5) / (frequency + 0.5))
