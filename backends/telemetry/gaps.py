"""The gaps between the chunks of an answer (ITL), read while they come. A chunk may hold several tokens."""

from __future__ import annotations

import itertools
from array import array

from backends.telemetry.spread import Spread, spread_of_sorted


class Gaps:
    """The differences of the arrival times `times` (milliseconds), which somebody else appends to.

    Nothing is done when a chunk arrives. What arrived since the last look is sorted into the rest when `spread` is
    called: in an answer of 8,000 chunks that is some 100 µs.
    """

    def __init__(self, times: array[float]) -> None:
        self._times = times
        self._ordered: list[float] = []

    def __len__(self) -> int:
        return max(0, len(self._times) - 1)

    def spread(self) -> Spread | None:
        """Percentiles of all gaps so far, in milliseconds; None before there is one."""
        known = len(self._ordered)
        if known < len(self):
            self._ordered += _differences(self._times[known:])
            self._ordered.sort()  # Timsort merges the long sorted run with the short new one
        return spread_of_sorted(self._ordered)

    def recent(self, count: int) -> list[float]:
        """The newest `count` gaps in milliseconds, oldest first."""
        return _differences(self._times[-count - 1 :]) if count > 0 else []


def _differences(times: array[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]
