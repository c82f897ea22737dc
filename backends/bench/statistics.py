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
    ours: Sequence[float], theirs: Sequence[float], percents: Sequence[float], confidence: float = 0.95, seed: int = 0
) -> list[Interval]:
    """Percentiles of `ours` / those of `theirs`, with bootstrap intervals as in `ratio`, drawn apart.

    Raises ValueError without values.
    """
    if not ours or not theirs:
        raise ValueError("no values")
    rng = np.random.default_rng(seed)

    def resampled(values: Sequence[float]) -> NDArray[np.float64]:
        known = np.asarray(values, np.float64)
        return np.array([np.percentile(rng.choice(known, len(known)), percents) for _ in range(_RESAMPLES)])

    above, below = resampled(ours), resampled(theirs)
    quotients = np.divide(above, below, out=np.full(above.shape, np.inf), where=below != 0)
    edge = 50 * (1 - confidence)
    lows, highs = np.percentile(quotients, (edge, 100 - edge), axis=0)
    values = [_quotient(percentile(ours, percent), percentile(theirs, percent)) for percent in percents]
    return [Interval(value, float(low), float(high)) for value, low, high in zip(values, lows, highs, strict=True)]


def _quotient(one: float, other: float) -> float:
    return one / other if other else math.inf


def goodput(met: Sequence[bool], seconds: float) -> tuple[float, float]:
    """Of all requests, which `met` their budgets: the share, and how many a second."""
    good = sum(met)
    return (good / len(met) if met else 0.0), (good / seconds if seconds > 0 else 0.0)
