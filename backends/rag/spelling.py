"""What a misspelled word may have been meant to be. Pure.

Distance is the optimal string alignment distance: insertions, deletions, substitutions, and swaps of neighbours, each
of which counts one (Damerau 1964; Boytsov 2011, "Indexing methods for approximate dictionary searching").
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

_SHORTEST = 4
_LONG = 8  # letters from which two mistakes are believed


def meant(word: str, vocabulary: Iterable[str], limit: int = 3) -> list[str]:
    """The words of `vocabulary` nearest to `word`, nearest first; those that it begins before those it may misspell.

    None for a word of less than four letters; one mistake is believed, from eight letters on two, and in one of four
    only swapped letters. All have the same distance: who is one mistake away is not one that is two away.
    """
    if len(word) < _SHORTEST:
        return []
    most = 2 if len(word) >= _LONG else 1
    letters = _letters(word)
    begun: list[str] = []
    near: dict[int, list[str]] = {}
    for other in vocabulary:
        if other.startswith(word):
            begun.append(other)
        elif abs(len(other) - len(word)) <= most and (letters ^ _letters(other)).bit_count() <= 2 * most:
            found = distance(word, other, most)
            if found <= most and (len(word) > _SHORTEST or sorted(word) == sorted(other)):
                near.setdefault(found, []).append(other)
    nearest = near[min(near)] if near else []
    return [*sorted(begun, key=lambda other: (len(other), other)), *sorted(nearest)][:limit]


def distance(one: str, other: str, most: int) -> int:
    """The optimal string alignment distance of two words, as far as `most`; beyond it any larger number."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        above, row = row, [i, *[0] * len(other)]
        for j, against in enumerate(other, 1):
            row[j] = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (letter != against))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == against:
                row[j] = min(row[j], before[j - 2] + 1)
        if min(row) > most:
            return most + 1
        before = above
    return row[-1]


@lru_cache(maxsize=65_536)
def _letters(word: str) -> int:
    """Which letters a word has, as bits: a quick bound on the distance of two words."""
    bits = 0
    for letter in word:
        bits |= 1 << (ord(letter) & 31)
    return bits
