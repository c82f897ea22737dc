"""Confidence intervals and goodput. Pure functions over lists of numbers; definitions are those of DESIGN.md."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from backends.telemetry.spread import percentile

_RESAMPLES = 2_000


class Interval(msgspec.Struct, frozen=True):
    """An estimate, and the bounds that hold the true value with the stated confidence."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def median(values: Sequence[float]) -> float:
    """The middle value. Raises ValueError without values."""
    return percentile(values, 50)


def ratio(ours: Sequence[float], theirs: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Interval:
    """Median of `ours` / median of `theirs`, with a bootstrap interval (Efron's percentile method, 2,000 resamples).

    Where both have the same length, value i of both was measured at the same time (interleaved runs) and they are
    drawn together: what slowed both then does not widen the interval. Raises ValueError without values.
    """
    paired = len(ours) == len(theirs)
    rng = random.Random(seed)

    def draw(indices: Callable[[int], list[int]]) -> float:
        mine = indices(len(ours))
        others = mine if paired else indices(len(theirs))
        return _quotient(median([ours[i] for i in mine]), median([theirs[i] for i in others]))

    samples = sorted(draw(lambda count: rng.choices(range(count), k=count)) for _ in range(_RESAMPLES))
    edge = 50 * (1 - confidence)
    return Interval(draw(lambda count: list(range(count))), percentile(samples, edge), percentile(samples, 100 - edge))


def percentile_ratios(
    ours: Sequence[Sequence[float]],
    theirs: Sequence[Sequence[float]],
    percents: Sequence[float],
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Interval]:
    """Percentiles of `ours` / those of `theirs`, with bootstrap intervals as in `ratio`, drawn apart.

    Each has the values of one request together, and together they are drawn: gaps of one answer are not independent.
    Raises ValueError without values.
    """
    rng = np.random.default_rng(seed)
    mine, other = _Drawn(ours), _Drawn(theirs)
    above, below = (np.array([one.again(rng, percents) for _ in range(_RESAMPLES)]) for one in (mine, other))
    quotients = np.divide(above, below, out=np.where(above == 0, 1.0, np.inf), where=below != 0)
    edge = 50 * (1 - confidence)
    lows, highs = np.percentile(quotients, (edge, 100 - edge), axis=0)
    values = [_quotient(*pair) for pair in zip(mine.as_is(percents), other.as_is(percents), strict=True)]
    return [Interval(value, float(low), float(high)) for value, low, high in zip(values, lows, highs, strict=True)]


class _Drawn:
    """The percentiles of values that are drawn in groups: sorted once, and weighed by how often a group was drawn."""

    def __init__(self, groups: Sequence[Sequence[float]]) -> None:
        values = np.concatenate([np.zeros(0), *groups])
        if not len(values):
            raise ValueError("no values")
        order = np.argsort(values)
        self._count = len(groups)
        self._values = values[order]
        self._group = np.repeat(np.arange(self._count), [len(group) for group in groups])[order]

    def as_is(self, percents: Sequence[float]) -> list[float]:
        return [float(value) for value in np.percentile(self._values, percents)]

    def again(self, rng: np.random.Generator, percents: Sequence[float]) -> NDArray[np.float64]:
        drawn = np.bincount(rng.integers(self._count, size=self._count), minlength=self._count)
        ends = np.cumsum(drawn[self._group])  # of each value's repetitions
        at = np.asarray(percents) / 100 * max(0, ends[-1] - 1)
        below = np.floor(at)
        low, high = (
            self._values[np.minimum(np.searchsorted(ends, rank, side="right"), len(ends) - 1)]
            for rank in (below, np.minimum(below + 1, max(0, ends[-1] - 1)))
        )
        return np.asarray(low + (high - low) * (at - below))


def _quotient(one: float, other: float) -> float:
    if not other:
        return math.inf if one else 1.0
    return one / other


def goodput(met: Sequence[bool], seconds: float) -> tuple[float, float]:
    """Of all requests, which `met` their budgets: the share, and how many a second."""
    good = sum(met)
    return (good / len(met) if met else 0.0), (good / seconds if seconds > 0 else 0.0)
