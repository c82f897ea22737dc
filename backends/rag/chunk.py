"""Sections cut into passages: one section, or a part of it that a model can take with a few others. Pure.

A passage is one line of at most MAX_TOKENS tokens with the title of its place ("Document title > Section heading"). A
longer section is split between sentences, every part under the same title; a section shorter than MIN_TOKENS stands
alone, since joining it with its neighbour would put it under a wrong title.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from backends.rag.sections import Section, Unit
from backends.rag.tokens import CountTokens, estimate_tokens

MIN_TOKENS = 40
MAX_TOKENS = 240

_LONGEST_WORD = 150  # characters, so that one alone is no more than a passage in any script


class Passage(msgspec.Struct, frozen=True):
    """A piece of a document: its title, its text on one line, and where it stands (heading, lines or pages)."""

    title: str
    text: str
    locator: str


class _Sized(msgspec.Struct, frozen=True):
    """A unit with its tokens, and one more for the space after it."""

    unit: Unit
    size: int


def cut(sections: Iterable[Section], count_tokens: CountTokens = estimate_tokens) -> list[Passage]:
    """The passages of a document, in order."""
    return [passage for section in sections for passage in _passages(section, count_tokens)]


def _passages(section: Section, count_tokens: CountTokens) -> Iterator[Passage]:
    units = [piece for unit in section.units for piece in _fitting(unit, count_tokens)]
    for part in _balanced(units):
        text = " ".join(each.unit.text for each in part)
        yield Passage(section.title, text, _locator(section, part[0].unit.first, max(e.unit.last for e in part)))


def _locator(section: Section, first: int, last: int) -> str:
    if section.by == "heading":
        return section.heading
    if section.by == "pages":
        return f"page {first}" if first == last else f"pages {first}-{last}"
    return f"lines {first}-{last}"


def _fitting(unit: Unit, count_tokens: CountTokens) -> list[_Sized]:
    """`unit`, cut between words (and inside a word longer than any real one) where it alone exceeds a passage."""
    size = count_tokens(unit.text) + 1
    if size <= MAX_TOKENS:
        return [_Sized(unit, size)]
    words = [word[i : i + _LONGEST_WORD] for word in unit.text.split() for i in range(0, len(word), _LONGEST_WORD)]
    sized = [_Sized(Unit(word, unit.first, unit.last), count_tokens(word) + 1) for word in words]
    joined = [(" ".join(each.unit.text for each in part), sum(each.size for each in part)) for part in _balanced(sized)]
    return [_Sized(Unit(text, unit.first, unit.last), size) for text, size in joined]


def _balanced(units: Sequence[_Sized]) -> list[list[_Sized]]:
    """`units` in runs of at most MAX_TOKENS and about equal size, so that no part is a left-over of a few words."""
    total = sum(unit.size for unit in units)
    if not total:
        return []
    count = -(-total // MAX_TOKENS)
    while len(parts := _runs(units, total / count)) > count:
        count = len(parts)
    if len(parts) > 1:
        _fill_up(parts[-2], parts[-1])
    return parts


def _runs(units: Sequence[_Sized], target: float) -> list[list[_Sized]]:
    """`units` in runs that end when they reach `target` tokens or before they exceed MAX_TOKENS."""
    parts: list[list[_Sized]] = [[]]
    filled = 0
    for unit in units:
        if parts[-1] and (filled >= target or filled + unit.size > MAX_TOKENS):
            parts.append([])
            filled = 0
        parts[-1].append(unit)
        filled += unit.size
    return parts


def _fill_up(before: list[_Sized], tail: list[_Sized]) -> None:
    """Move sentences from `before` into a `tail` below MIN_TOKENS, as long as both end up with enough."""
    while sum(unit.size for unit in tail) < MIN_TOKENS and len(before) > 1:
        moved = sum(unit.size for unit in tail) + before[-1].size
        if moved > MAX_TOKENS or sum(unit.size for unit in before[:-1]) < MIN_TOKENS:
            return
        tail.insert(0, before.pop())
