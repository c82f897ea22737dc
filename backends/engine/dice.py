"""The final draw of a token: the same dice for whoever draws at the same place.

A token is drawn by a race (the Gumbel-max trick without its logarithms): every candidate starts after an exponentially
distributed delay, divided by its probability p, and the first wins; it wins with exactly probability p. The delays are
a hash of seed, place in the answer and token id, and of nothing else. So an answer depends on its seed and the target's
distributions alone: not on who runs beside it, and not on what a draft proposed.

And a draft model that draws from its own distribution with the same dice mostly draws what the target is going to draw:
of all ways to agree without knowing the other's distribution none does better, and the loss against rejection
sampling, which knows it, is small (Daliri, Musco, Suresh: "Coupling without Communication and Drafter-Invariant
Speculative Decoding", 2024: agreement >= (1 - d) / (1 + d) at total variation d, against 1 - d). A proposed token is
kept if it is the one that the target draws.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_MASK = 0xFFFFFFFFFFFFFFFF
_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
"""splitmix64's constants (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014)."""

_U64 = np.uint64
_SHIFTS = _U64(30), _U64(27), _U64(31), _U64(12)
_FIRST64, _SECOND64, _GOLDEN64 = _U64(_FIRST), _U64(_SECOND), _U64(_GOLDEN)


def race(ids: np.ndarray[Any, Any], weights: np.ndarray[Any, Any], seed: int, place: int) -> int:
    """The token of `ids` that wins at `place` of the answer with `seed`.

    `weights`: their probabilities, up to a common factor; 0 never wins. The order of the candidates does not matter.
    """
    return int(ids[(weights / _delays(ids, seed, place)).argmax()])


def _delays(ids: np.ndarray[Any, Any], seed: int, place: int) -> np.ndarray[Any, Any]:
    """An exponentially distributed number for each id."""
    key = _mix((_mix(seed) + place * _GOLDEN) & _MASK)
    bits = ids.astype(np.uint64) * _GOLDEN64 + _U64(key)
    bits = (bits ^ (bits >> _SHIFTS[0])) * _FIRST64
    bits = (bits ^ (bits >> _SHIFTS[1])) * _SECOND64
    bits ^= bits >> _SHIFTS[2]
    uniform = ((bits >> _SHIFTS[3]).astype(np.float64) + 0.5) * 2.0**-52  # 52 bits: neither 0 nor 1 can come out
    return -np.log(uniform)


def _mix(value: int) -> int:
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * _FIRST) & _MASK
    value = ((value ^ (value >> 27)) * _SECOND) & _MASK
    return value ^ (value >> 31)
