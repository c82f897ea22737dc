"""When latencies and rates are worth a warning: the thresholds of DESIGN.md, "Stages and metrics". Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from backends.telemetry.statistics import Group

ENOUGH_TURNS = 20
"""Below this nothing is judged: one cancel of three turns is no trend."""


class Threshold(msgspec.Struct, frozen=True):
    """`limit` is what `measure` of a group may not be above, or, where `at_least`, below. Times in milliseconds."""

    name: str
    limit: float
    unit: str
    measure: Callable[[Group], float | None]
    at_least: bool = False

    def broken_by(self, value: float) -> bool:
        """Whether `value` is on the wrong side."""
        return value < self.limit if self.at_least else value > self.limit


class Alert(msgspec.Struct, frozen=True):
    """A threshold that was broken, and the value that broke it."""

    name: str
    value: float
    limit: float
    unit: str
    at_least: bool = False

    def __str__(self) -> str:
        side = "below" if self.at_least else "above"
        return f"{self.name} {_shown(self.value, self.unit)}, {side} {_shown(self.limit, self.unit)}"


def _per_second(tpot: float | None) -> float | None:
    return 1000.0 / tpot if tpot else None


THRESHOLDS: tuple[Threshold, ...] = (
    Threshold("P50 TTFT", 2_000, "ms", lambda group: group.ttft.p50 if group.ttft else None),
    Threshold("P95 TTFT", 5_000, "ms", lambda group: group.ttft.p95 if group.ttft else None),
    Threshold(
        "median speed", 20, "tok/s", lambda group: _per_second(group.tpot.p50) if group.tpot else None, at_least=True
    ),
    Threshold(
        "speed of the slowest 5 %",
        5,
        "tok/s",
        lambda group: _per_second(group.tpot.p95) if group.tpot else None,
        at_least=True,
    ),
    Threshold("P95 wait in the queue", 2_000, "ms", lambda group: group.queue.p95 if group.queue else None),
    Threshold("error rate", 0.01, "share", lambda group: group.error_rate),
    Threshold("cancel rate", 0.10, "share", lambda group: group.cancel_rate),
    Threshold("cache hit rate", 0.20, "share", lambda group: group.cached_share, at_least=True),
)


def alerts(group: Group) -> tuple[Alert, ...]:
    """The thresholds that `group` breaks; none while it has too few turns to judge."""
    if group.turns < ENOUGH_TURNS:
        return ()
    found = []
    for threshold in THRESHOLDS:
        value = threshold.measure(group)
        if value is not None and threshold.broken_by(value):
            found.append(Alert(threshold.name, value, threshold.limit, threshold.unit, threshold.at_least))
    return tuple(found)


def _shown(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.3g} %"
    if unit == "ms" and value >= 1000:
        return f"{value / 1000:.3g} s"
    return f"{value:.3g} {unit}"
