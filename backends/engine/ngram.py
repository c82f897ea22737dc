"""Drafts without a draft model: what followed when the last few tokens stood in the prompt or the answer before.

Answers from sources copy them, edited code repeats itself, lists go on as they began. Pure, no llama.cpp here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

LONG, SHORT = 5, 3
"""Tokens that have to agree; the longer match is looked for first."""

_BITS = 21
"""Bits of a token id inside a key: two million ids."""
_MASKS = {length: (1 << _BITS * length) - 1 for length in (LONG, SHORT)}


class Match(NamedTuple):
    """The text was here before: the token at `position` came next, after `length` tokens (LONG or SHORT) that agree."""

    position: int
    length: int


class NgramIndex:
    """Where in one sequence every run of LONG and SHORT tokens was followed by something, the latest place of each.

    It grows with the sequence; a token takes constant time.
    """

    def __init__(self) -> None:
        self._after: dict[int, dict[int, int]] = {LONG: {}, SHORT: {}}
        self._key = 0  # the last LONG tokens that were read
        self._read = 0

    def read(self, tokens: Sequence[int]) -> None:
        """Take in what `tokens` has more than last time."""
        key, long, short = self._key, self._after[LONG], self._after[SHORT]
        for position in range(self._read, len(tokens)):
            if position >= LONG:
                long[key] = position
            if position >= SHORT:
                short[key & _MASKS[SHORT]] = position
            key = (key << _BITS | tokens[position]) & _MASKS[LONG]
        self._key, self._read = key, len(tokens)

    def find(self) -> Match | None:
        """Where what was read last stood before."""
        for length in (LONG, SHORT):
            position = self._after[length].get(self._key & _MASKS[length])
            if position is not None:
                return Match(position, length)
        return None


def follow(tokens: Sequence[int], position: int, count: int) -> list[int]:
    """`count` tokens from `position` on; where the text ends they go on as if it repeated itself from `position`."""
    found = list(tokens[position : position + count])
    period = len(found)
    while period and len(found) < count:
        found.append(found[-period])
    return found
