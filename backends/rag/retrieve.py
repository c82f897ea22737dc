"""The passages for a query. `Retriever` is the interface that any search engine can stand behind; `FolderRetriever`
is the one over our own index of a folder."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Sequence
from typing import Protocol

import msgspec

from backends.rag.index import Index
from backends.rag.meaning import fuse
from backends.rag.query import Query
from backends.rag.store import Hit
from backends.rag.synonyms import asked_words, synonyms
from backends.rag.words import key

REFRESH_SECONDS = 5.0
_OTHER = 0.6  # a synonym or a corrected word counts for less than one that was typed


class Found(msgspec.Struct, frozen=True):
    """What a retriever found: passages, best first, and what each term of the query is worth.

    `terms` has one table for each: the `words.key` of every word that stands for the term (itself, its corrections, its
    synonyms) -> its weight in the query times its rarity (inverse document frequency).
    """

    hits: tuple[Hit, ...] = ()
    terms: tuple[dict[str, float], ...] = ()


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
        self._refreshing = threading.Lock()

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
        """Refresh where it is time. The first one is waited for; during a later one others ask what is there."""
        if time.monotonic() < self._fresh_until or not self._refreshing.acquire(
            blocking=self._fresh_until == -math.inf
        ):
            return
        try:
            if time.monotonic() >= self._fresh_until:
                self._index.refresh()
                self._fresh_until = time.monotonic() + self._refresh_seconds
        finally:
            self._refreshing.release()

    def _retrieve(self, query: Query, limit: int) -> Found:
        self._refresh()
        return search(self._index, query, limit)


def search(index: Index, query: Query, limit: int) -> Found:
    """The passages of `index` with any term of `query`, or, where it has an embedding model, of like meaning."""
    if not query.terms:
        return Found()
    total, frequencies = index.frequencies([key(term.word) for term in query.terms])
    if not total:
        return Found()
    asked: list[str] = []
    terms: list[dict[str, float]] = []
    for term, frequency in zip(query.terms, frequencies, strict=True):
        others = _others(index, term.word, known=bool(frequency))
        asked += [key(term.word), *others]
        own = _rarity(total, frequency or 1)  # a word in no passage weighs as much as one in a single passage
        worth = {other: _OTHER * min(own, _rarity(total, count)) for other, count in others.items()}
        if frequency or not others:
            worth[key(term.word)] = own
        terms.append({each: weight * term.weight for each, weight in worth.items()})
    hits = index.search(asked, limit)
    return Found(tuple(_with_meaning(index, query, hits, limit)), tuple(terms))


def _with_meaning(index: Index, query: Query, hits: list[Hit], limit: int) -> list[Hit]:
    """`hits` and what is near in meaning, fused; each with its similarity."""
    near = index.nearest(query, limit)
    if not near:
        return hits
    found = {hit.number: hit for hit in hits}
    found |= {hit.number: hit for hit in index.hits([number for number in near if number not in found])}
    order = fuse(([hit.number for hit in hits], [number for number in near if number in found]))
    return [msgspec.structs.replace(found[each], similarity=near.get(each, 0.0)) for each in order[:limit]]


def _others(index: Index, word: str, *, known: bool) -> dict[str, int]:
    """Keys that may stand for `word`, with the number of passages that have them: its synonyms; and, where it stands
    nowhere itself and has none, what it may have been meant to be, with the synonyms of that."""
    own = synonyms(key(word))
    if known or own or word.isdigit():
        return _frequencies(index, own)
    meant = [key(each) for each in index.similar(word, asked_words())]
    return _frequencies(index, list(dict.fromkeys([*meant, *(other for each in meant for other in synonyms(each))])))


def _frequencies(index: Index, keys: Sequence[str]) -> dict[str, int]:
    _, counts = index.frequencies(keys)
    return {each: count for each, count in zip(keys, counts, strict=True) if count}


def _rarity(total: int, frequency: int) -> float:
    """1 + the inverse document frequency of BM25 (Robertson and Zaragoza 2009). The 1 keeps one rare word from
    outweighing several others: in a small set of documents rarity is often chance."""
    return 1.0 + math.log1p((total - frequency + 0.5) / (frequency + 0.5))
