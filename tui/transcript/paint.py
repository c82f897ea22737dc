"""Another style over some cells of a drawn line."""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

Span = tuple[int, int, Style]
"""Cells from, up to, and the style that is laid over theirs."""


def paint(strip: Strip, spans: Sequence[Span]) -> Strip:
    """`strip` with `spans` laid over it in order; cells behind its end are left out."""
    for start, end, style in spans:
        start, end = max(0, start), min(end, strip.cell_length)
        if start < end:
            middle = strip.crop(start, end)
            painted = Strip([Segment(text, (old or Style.null()) + style) for text, old, _ in middle], end - start)
            strip = Strip.join([strip.crop(0, start), painted, strip.crop(end)])
    return strip
