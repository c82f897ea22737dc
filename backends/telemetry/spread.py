"""How a lot of numbers lies: mean and percentiles. Pure functions.

Percentiles interpolate linearly between the two nearest values (numpy's default), as vLLM's and guidellm's do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec


class Spread(msgspec.Struct, frozen=True):
    """How some values lie, in their unit."""

    count: int
    mean: float
    p50: float
    p90: float
    p95: float
    p99: float
    highest: float


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of `values` lie. Raises ValueError without values."""
    return of_sorted(sorted(values), percent)


def of_sorted(ordered: Sequence[float], percent: float) -> float:
    """`percentile` of values that are in order already. Raises ValueError without values."""
    if not ordered:
        raise ValueError("no values")
    at = (len(ordered) - 1) * percent / 100
    below = math.floor(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and percentiles of `values`; None without any."""
    return spread_of_sorted(sorted(values))


def spread_of_sorted(ordered: Sequence[float]) -> Spread | None:
    """`spread` of values that are in order already."""
    if not ordered:
        return None
    p50, p90, p95, p99 = (of_sorted(ordered, percent) for percent in (50, 90, 95, 99))
    return Spread(len(ordered), math.fsum(ordered) / len(ordered), p50, p90, p95, p99, ordered[-1])
