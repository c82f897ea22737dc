"""Reranking by words: how much of the query a passage covers, in its title too, and how close together. Pure.

BM25 counts every term alike and lets a frequent word outweigh a missing one; here a passage is measured by the share of
the query's weight (rarity, lower for earlier questions' words) that it covers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from backends.rag.index import Hit
from backends.rag.words import key, words

MIN_COVERAGE = 0.05
TITLE_WEIGHT = 0.5
PROXIMITY_WEIGHT = 0.2
BM25_WEIGHT = 0.5
_WINDOW = 12  # words


class Ranked(msgspec.Struct, frozen=True):
    """A passage with its score; `coverage` is the share (0..1) of the query's weight that it covers."""

    hit: Hit
    score: float
    coverage: float


def rerank(hits: Sequence[Hit], weights: Mapping[str, float], min_coverage: float = MIN_COVERAGE) -> list[Ranked]:
    """`hits`, best first, by their words' `weights` (as in `retrieve.Found`); those below `min_coverage` are left out.

    Score = coverage + TITLE_WEIGHT x coverage by the title + PROXIMITY_WEIGHT x the largest coverage within _WINDOW
    words + BM25_WEIGHT x BM25 as a share of the best hit's. Equal scores keep the order of `hits`.
    """
    best = max((hit.bm25 for hit in hits), default=0.0)
    ranked = [_rank(hit, weights, best) for hit in hits]
    return sorted((each for each in ranked if each.coverage >= min_coverage), key=lambda each: -each.score)


def _rank(hit: Hit, weights: Mapping[str, float], best: float) -> Ranked:
    total = sum(weights.values())
    if total <= 0.0:
        return Ranked(hit, 0.0, 0.0)
    title = {key(word) for word in words(hit.title)} & weights.keys()
    text = [key(word) for word in words(hit.text)]
    covered = title | (set(text) & weights.keys())
    coverage = sum(weights[word] for word in covered) / total
    in_title = sum(weights[word] for word in title) / total
    bm25 = hit.bm25 / best if best > 0.0 else 0.0
    score = coverage + TITLE_WEIGHT * in_title + PROXIMITY_WEIGHT * _closest(text, weights) / total + BM25_WEIGHT * bm25
    return Ranked(hit, score, coverage)


def _closest(text: Sequence[str], weights: Mapping[str, float]) -> float:
    """The largest weight of different words that stand within _WINDOW words of `text`."""
    places = [(i, word) for i, word in enumerate(text) if word in weights]
    best = 0.0
    for first, (start, _) in enumerate(places):
        near = {word for place, word in places[first : first + _WINDOW] if place < start + _WINDOW}
        best = max(best, sum(weights[word] for word in near))
    return best
