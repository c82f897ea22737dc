"""A vertical scrollbar drawn without a refresh."""

from __future__ import annotations

from math import ceil

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBar, ScrollBarRender
from textual.strip import Strip

from tui.terminal.painted_app import Put

_EIGHTHS = 8
"""The thumb begins and ends at an eighth of a cell."""


class Thumb:
    """The thumb of the scrollbar beside `view`."""

    def __init__(self, view: ScrollView) -> None:
        self._view = view
        self._looks: tuple[object, ...] = ()
        self._cells: list[Put] = []

    def cells(self) -> list[Put]:
        """The scrollbar's cells, as its view is scrolled now; none where there is no scrollbar."""
        view = self._view
        if not view.show_vertical_scrollbar:
            return []
        bar, height, rows = view.vertical_scrollbar, view.virtual_size.height, view.size.height
        bar.set_reactive(ScrollBar.window_virtual_size, height)
        bar.set_reactive(ScrollBar.window_size, rows)
        bar.set_reactive(ScrollBar.position, float(view.scroll_offset.y))
        length = max(1.0, rows * rows / max(height, 1))
        start = int(_EIGHTHS * (rows - length) * view.scroll_offset.y / max(height - rows, 1))
        looks = (start, start + ceil(_EIGHTHS * length), bar.region, bar.mouse_over, bar.grabbed, view.app.theme)
        if looks != self._looks:
            bar._layout_cache.clear()  # what Textual keeps of it shows where it was
            bar._set_dirty()
            x, y, _, rows = bar.region
            self._looks, self._cells = looks, [(x, y + row, strip) for row, strip in enumerate(_strips(bar, rows))]
        return self._cells


def _strips(bar: ScrollBar, rows: int) -> list[Strip]:
    """What Textual draws, one line each."""
    drawn = bar.render()
    if not isinstance(drawn, ScrollBarRender) or not isinstance(drawn.style, Style):
        return []
    colours = [colour or Color.default() for colour in (drawn.style.bgcolor, drawn.style.color)]
    segments = drawn.render_bar(
        rows, drawn.virtual_size, drawn.window_size, drawn.position, drawn.thickness, True, *colours
    ).segments
    filters, background, ground = bar.get_line_filters(), bar.background_colors[1], bar.rich_style
    strips = [Strip([Segment(text, ground + style)], 1) for text, style, _ in segments]
    for line_filter in filters:
        strips = [strip.apply_filter(line_filter, background) for strip in strips]
    return strips
