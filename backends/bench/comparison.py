"""Two records of loads beside each other: the ratio of their percentiles, with bootstrap confidence intervals. Pure.

Requests are resampled, each with all its numbers; runs are not, so what changed between two runs besides the backend
(the machine's other work, above all) is in the ratio, not in the interval. Interleaved repetitions would tell.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import msgspec

from backends.bench.load import Result
from backends.bench.load_record import LoadRecord
from backends.bench.statistics import Interval, percentile_ratios
from backends.bench.sweep import Measured
from backends.telemetry.spread import percentile

PERCENTILES = (50, 90, 95, 99)
METRICS = (("TTFT", "ttft"), ("TPOT", "tpot"), ("ITL", "gaps"), ("total", "total"))

BEYOND = 5
"""Values that have to lie beyond a percentile of both for an interval to mean anything, and answers beyond the median:
the gaps of one answer are one another's like."""


class Ratio(msgspec.Struct, frozen=True):
    """A time at a percentile: `one` and `other` in milliseconds, and `other` / `one`."""

    metric: str
    percent: int
    one: float
    other: float
    ratio: Interval

    @property
    def verdict(self) -> str:
        """What can be said with the interval's confidence."""
        if self.ratio.low > 1:
            return "slower"
        return "faster" if self.ratio.high < 1 else ""


class Compared(msgspec.Struct, frozen=True):
    """The same level in two records."""

    one: Measured
    other: Measured
    ratios: tuple[Ratio, ...]


def compare(one: LoadRecord, other: LoadRecord) -> list[Compared]:
    """The levels that both have."""
    others = {measured.level: measured for measured in other.levels}
    return [_compared(measured, others[measured.level]) for measured in one.levels if measured.level in others]


def differences(one: LoadRecord, other: LoadRecord) -> list[str]:
    """The options that make them two different loads: their names and both values."""
    names = {**one.options, **other.options}
    pairs = [(name, one.options.get(name), other.options.get(name)) for name in names]
    return [f"{name} {mine} against {theirs}" for name, mine, theirs in pairs if mine != theirs]


def _compared(one: Measured, other: Measured) -> Compared:
    ratios: list[Ratio] = []
    for name, field in METRICS:
        mine, theirs = _values(one.run.results, field), _values(other.run.results, field)
        if min(len(mine), len(theirs)) < 2 * BEYOND:
            continue
        ones, others = (list(itertools.chain.from_iterable(values)) for values in (mine, theirs))
        fewer = min(len(ones), len(others))
        known = [percent for percent in PERCENTILES if fewer * (100 - percent) >= 100 * BEYOND]
        for percent, found in zip(known, percentile_ratios(theirs, mine, known) if known else (), strict=True):
            ratios.append(Ratio(name, percent, percentile(ones, percent), percentile(others, percent), found))
    return Compared(one, other, tuple(ratios))


def _values(results: Sequence[Result], field: str) -> list[tuple[float, ...]]:
    """What each answer has of it."""
    found = [getattr(result, field) for result in results if result.good]
    return [value if isinstance(value, tuple) else (value,) for value in found if value not in (None, ())]


def table(compared: Sequence[Compared]) -> str:
    """For people, in plain text."""
    return "\n\n".join(_table(level) for level in compared)


def _table(level: Compared) -> str:
    one, other = level.one.summary, level.other.summary
    rows = [f"{level.one.level!s:24}{'A':>12}{'B':>12}      B / A [95 %]"]
    for it in level.ratios:
        name = f"{it.metric} P{it.percent}, ms"
        digits = 1 if min(it.one, it.other) >= 10 else 2
        times = f"{it.one:>12,.{digits}f}{it.other:>12,.{digits}f}"
        rows.append(f"{name:24}{times}      {it.ratio!s:22}{it.verdict}".rstrip())
    for name, field, form in (
        ("answered", "answered", ",.0f"),
        ("failed", "failed", ",.0f"),
        ("answers/s", "requests_per_second", ",.2f"),
        ("tokens/s", "tokens_per_second", ",.1f"),
        ("within budget", "goodput_share", ".1%"),
    ):
        mine, theirs = (it.requests - it.answered if field == "failed" else getattr(it, field) for it in (one, other))
        times = f"      {theirs / mine:.2f}" if mine and field not in ("answered", "failed") else ""
        rows.append(f"{name:24}{mine:>12{form}}{theirs:>12{form}}{times}")
    if len(level.ratios) < len(METRICS) * len(PERCENTILES):
        rows.append(f"Left out: percentiles with fewer than {BEYOND} values beyond them.")
    return "\n".join(rows)
