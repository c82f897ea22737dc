"""Confidence intervals and goodput. Pure functions over lists of numbers; definitions are those of DESIGN.md."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import msgspec

from backends.telemetry.spread import percentile


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

    samples = sorted(draw(lambda count: rng.choices(range(count), k=count)) for _ in range(2_000))
    edge = 50 * (1 - confidence)
    return Interval(draw(lambda count: list(range(count))), percentile(samples, edge), percentile(samples, 100 - edge))


def _quotient(one: float, other: float) -> float:
    return one / other if other else math.inf


def goodput(met: Sequence[bool], seconds: float) -> tuple[float, float]:
    """Of all requests, which `met` their budgets: the share, and how many a second."""
    good = sum(met)
    return (good / len(met) if met else 0.0), (good / seconds if seconds > 0 else 0.0)
