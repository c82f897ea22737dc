"""What fits where: the panel's shape and the screen's parts by the size of the terminal. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from tui.widgets.latency_panel import Shape

SizeClass = Literal["-airy", "-roomy", "-tight", "-too-small"]
PanelMode = Literal["full", "line", "off"]

MODES: tuple[PanelMode, ...] = ("full", "line", "off")
MINIMUM = (24, 6)
"""Columns and lines below which nothing useful fits."""

SIDE_FROM = 100
"""Columns from which the full panel stands beside the transcript."""

AIRY_FROM = 20
"""Lines from which blank ones are spent on looks."""

PANEL_FROM = (56, 14)
"""Columns and lines from which there is room for any panel."""


class Layout(msgspec.Struct, frozen=True):
    """`side`: shape of the panel at the right; `strip`: of the one under the transcript; `size_class`: for the CSS.

    `side_width` is the width of the panel at the right, in columns.
    """

    side: Shape
    strip: Shape
    size_class: SizeClass
    side_width: int = 0


def lay_out(width: int, height: int, mode: PanelMode) -> Layout:
    """The layout for a terminal of `width` columns and `height` lines."""
    if width < MINIMUM[0] or height < MINIMUM[1]:
        return Layout("off", "off", "-too-small")
    if width < PANEL_FROM[0] or height < PANEL_FROM[1]:
        return Layout("off", "off", "-tight")
    room: SizeClass = "-airy" if height >= AIRY_FROM else "-roomy"
    if mode == "full" and width >= SIDE_FROM:
        return Layout("panel", "off", room, side_width=min(58, 40 + (width - SIDE_FROM) // 4))
    strips: dict[PanelMode, Shape] = {"full": "strip", "line": "numbers", "off": "off"}
    return Layout("off", strips[mode], room)


def next_mode(mode: PanelMode) -> PanelMode:
    """The mode after `mode`, round and round."""
    return MODES[(MODES.index(mode) + 1) % len(MODES)]
