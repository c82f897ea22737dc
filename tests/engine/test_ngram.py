"""The index of what was said before, against a walk over the whole text."""

from __future__ import annotations

import random

from backends.engine.ngram import LONG, SHORT, Match, NgramIndex, follow


def naive(tokens: list[int]) -> Match | None:
    """The last place where the text before agrees in LONG tokens with the end, else in SHORT ones."""
    for length in (LONG, SHORT):
        for position in range(len(tokens) - 1, length - 1, -1):
            if tokens[position - length : position] == tokens[-length:]:
                return Match(position, length)
    return None


def test_it_finds_what_a_walk_finds_after_every_token() -> None:
    chance = random.Random(3)
    found = 0
    for variety in (2, 4, 12):
        tokens: list[int] = []
        index = NgramIndex()
        for _ in range(150):
            for _ in range(chance.choice((1, 1, 1, 4))):
                tokens.append(1 + chance.randrange(variety))
            index.read(tokens)
            assert index.find() == naive(tokens)
            found += index.find() is not None
    assert found > 200


def test_a_copied_passage_is_followed_to_its_end() -> None:
    source = [5, 6, 7, 8, 9, 10, 11, 12]
    tokens = [1, 2, *source, 3, *source[:5]]
    index = NgramIndex()
    index.read(tokens)
    match = index.find()
    assert match == Match(7, LONG)
    assert match is not None
    assert follow(tokens, match.position, 3) == [10, 11, 12]


def test_a_repetition_goes_on_beyond_the_end_of_the_text() -> None:
    tokens = [1, 2, 3, 1, 2, 3]
    index = NgramIndex()
    index.read(tokens)
    match = index.find()
    assert match == Match(3, SHORT)
    assert follow(tokens, 3, 8) == [1, 2, 3, 1, 2, 3, 1, 2]
    assert follow(tokens, 6, 2) == []
