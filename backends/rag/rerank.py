"""Reranking by words: how much of the query a passage covers, in its title too, and how close together. Pure.

Where an embedding model looked too, likeness in meaning counts beside the words.

BM25 counts every term alike and lets a frequent word outweigh a missing one; here a passage is measured by the share of
the query's weight (rarity, lower for earlier questions' words) that it covers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec

from backends.rag.store import Hit
from backends.rag.words import key, words

MIN_COVERAGE = 0.1
TITLE_WEIGHT = 0.5
PROXIMITY_WEIGHT = 0.2
BM25_WEIGHT = 0.5
DOCUMENT_TITLE = 0.5
SIMILARITY_WEIGHT = 2.0  # best on the questions to practise on, of 0.5 to 4; flat around it
MIN_SIMILARITY = 0.1
_WINDOW = 12  # words

Terms = Sequence[Mapping[str, float]]
"""As in `retrieve.Found`: for each term the words that stand for it, by `words.key`, and what they are worth."""


class Ranked(msgspec.Struct, frozen=True):
    """A passage with its score; `coverage` is the share (0..1) of the query's weight that it covers."""

    hit: Hit
    score: float
    coverage: float


def rerank(hits: Sequence[Hit], terms: Terms, min_coverage: float = MIN_COVERAGE) -> list[Ranked]:
    """`hits`, best first, by the `terms` that they cover; those below `min_coverage` and MIN_SIMILARITY are left out.

    Score = coverage + TITLE_WEIGHT x coverage by the heading + PROXIMITY_WEIGHT x the largest coverage within _WINDOW
    words + BM25_WEIGHT x BM25 as a share of the best hit's + SIMILARITY_WEIGHT x similarity. What only the document's
    title has, all its passages have: it counts DOCUMENT_TITLE. Equal scores keep the order of `hits`.
    """
    total = sum(max(term.values()) for term in terms if term)
    if total <= 0.0:
        return []
    best = max((hit.bm25 for hit in hits), default=0.0)
    ranked = [_rank(hit, terms, total, best) for hit in hits]
    kept = (each for each in ranked if each.coverage >= min_coverage or each.hit.similarity >= MIN_SIMILARITY)
    return sorted(kept, key=lambda each: -each.score)


def _rank(hit: Hit, terms: Terms, total: float, best: float) -> Ranked:
    document, _, heading = hit.title.rpartition(" > ")
    in_document, in_heading = _keys(document), _keys(heading)
    text = [key(word) for word in words(hit.text)]
    full = _covered(terms, {*text, *in_heading})
    coverage = (full + DOCUMENT_TITLE * (_covered(terms, {*text, *in_heading, *in_document}) - full)) / total
    titled = _covered(terms, in_heading) / total
    bm25 = hit.bm25 / best if best > 0.0 else 0.0
    score = coverage + TITLE_WEIGHT * titled + PROXIMITY_WEIGHT * _closest(text, terms) / total + BM25_WEIGHT * bm25
    score += SIMILARITY_WEIGHT * hit.similarity
    return Ranked(hit, score, coverage)


def _keys(text: str) -> set[str]:
    return {key(word) for word in words(text)}


def _covered(terms: Terms, present: Collection[str]) -> float:
    """The weight of the terms that `present` has, each by the best of its words."""
    return sum(max((worth for word, worth in term.items() if word in present), default=0.0) for term in terms)


def _closest(text: Sequence[str], terms: Terms) -> float:
    """The largest weight of terms that stand within _WINDOW words of `text`."""
    wanted = {word for term in terms for word in term}
    places = [(i, word) for i, word in enumerate(text) if word in wanted]
    best = 0.0
    for first, (start, _) in enumerate(places):
        near = {word for place, word in places[first : first + _WINDOW] if place < start + _WINDOW}
        best = max(best, _covered(terms, near))
    return best
