"""How several answers share a screen: beside or above each other, and what of their latency fits under each. Pure."""

from __future__ import annotations

import msgspec

from tui.widgets.latency_panel import Shape

NARROWEST = 44
"""Columns of an answer that still reads well; with fewer they stand one above the other."""

AROUND = 3
"""Lines that the question, the line under it and the hints at the end take."""

PANEL_LINES = (14, 24)
"""Lines of the full panel: with a short waterfall at least, with a long one at most. It takes up to 3 of 5."""


class CompareLayout(msgspec.Struct, frozen=True):
    """`stacked`: one above the other. `panel_lines`: of what is under each answer, in `shape`."""

    stacked: bool
    shape: Shape
    panel_lines: int


def lay_out(width: int, height: int, answers: int) -> CompareLayout:
    """For so many `answers` in a terminal of `width` columns and `height` lines."""
    stacked = width // answers < NARROWEST
    lines = (height - AROUND) // (answers if stacked else 1)
    if (room := 3 * lines // 5) >= PANEL_LINES[0]:
        return CompareLayout(stacked, "panel", min(PANEL_LINES[1], room))
    return CompareLayout(stacked, "strip", 2) if lines >= 8 else CompareLayout(stacked, "numbers", 1)
