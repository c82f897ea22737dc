"""The gaps between the pieces of an answer as one line of bars. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from math import log

from rich.text import Text

from tui.widgets.waterfall import FLOW

BARS = "▁▂▃▄▅▆▇█"
_PAUSE, _STALL = "#e0af68", "#f0708a"
_LEAST_MS = 0.25
"""Pieces that were read together: no shorter gap is told from another."""


def sparkline(gaps: Sequence[float], usual: float, cells: int) -> Text:
    """At most `cells` bars: one for each of `gaps` (milliseconds), or for the longest of each of as many stretches.

    Heights are logarithmic, from half of the `usual` gap up to the longest one, but at least to four times the usual
    one: a steady stream is low and level. Gaps that a reader notices are coloured.
    """
    count = len(gaps)
    stretches = gaps
    if count > cells:
        stretches = [max(gaps[at * count // cells : (at + 1) * count // cells]) for at in range(cells)]
    low = max(usual / 2, _LEAST_MS)
    top = log(max(*gaps, 8 * low) / low) if gaps else 1.0
    line = Text()
    for colour, run in groupby(stretches, lambda gap: _colour(gap, usual)):
        bars = (BARS[min(7, max(0, round(7 * log(max(gap, low) / low) / top)))] for gap in run)
        line.append("".join(bars), colour)
    return line


def _colour(gap: float, usual: float) -> str:
    """A second is a stall; a pause is a tenth of one at least, and out of the usual."""
    if gap > max(1_000.0, 5 * usual):
        return _STALL
    return _PAUSE if gap > max(100.0, 5 * usual) else FLOW
