"""A vertical scrollbar that is drawn without a refresh."""

from __future__ import annotations

from math import ceil

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.scrollbar import ScrollBar, ScrollBarRender
from textual.strip import Strip

from tui.terminal.picture import Put

_EIGHTHS = 8
"""The thumb begins and ends at an eighth of a cell."""
_BARS = ScrollBarRender.VERTICAL_BARS[::-1]


class Thumb:
    """The scrollbar beside `view`: the same cells as Textual's `ScrollBarRender` makes."""

    def __init__(self, view: ScrollView) -> None:
        self._view = view
        self._touched: tuple[object, ...] | None = None  # whether the mouse is on it; None: its colours are not known
        self._looks: tuple[object, ...] | None = None
        self._cells: list[Put] = []
        self._blank = self._full = Strip.blank(1)
        self._starts: list[Strip] = []
        self._ends: list[Strip] = []

    def forget(self) -> None:
        """The colours have changed."""
        self._touched = None

    def cells(self, part: Region) -> list[Put]:
        """The scrollbar's cells right of `part`, as its view is scrolled now; none where there is no scrollbar."""
        view = self._view
        if not view.show_vertical_scrollbar:
            return []
        bar, height, rows = view.vertical_scrollbar, view.virtual_size.height, part.height
        looks = (0, 0, part)
        if height > rows:
            length = max(1.0, rows * rows / height)
            start = int(_EIGHTHS * (rows - length) * view.scroll_offset.y / (height - rows))
            looks = (start, start + ceil(_EIGHTHS * length), part)
        touched = (bar.mouse_over, bar.grabbed)
        if (looks, touched) != (self._looks, self._touched):
            self._tell(bar, height, rows)
            if touched != self._touched:
                self._mix(bar)
            self._touched, self._looks = touched, looks
            strips = self._strips(*looks[:2], rows)
            self._cells = [(part.right, y, strip) for y, strip in enumerate(strips, part.y)]
        return self._cells

    def _tell(self, bar: ScrollBar, height: int, rows: int) -> None:
        """Lets Textual draw the same, where it has a reason to draw."""
        bar.set_reactive(ScrollBar.window_virtual_size, height)
        bar.set_reactive(ScrollBar.window_size, rows)
        bar.set_reactive(ScrollBar.position, float(self._view.scroll_offset.y))
        bar._layout_cache.clear()  # what it keeps shows where the thumb was
        bar._set_dirty()

    def _mix(self, bar: ScrollBar) -> None:
        """Makes all the cells that there are."""
        drawn = bar.render()
        style = drawn.style if isinstance(drawn, ScrollBarRender) else None
        style = style if isinstance(style, Style) else Style()
        back, colour = (part or Color.default() for part in (style.bgcolor, style.color))
        ground, filters, background = bar.rich_style, bar.get_line_filters(), bar.background_colors[1]

        def cell(text: str, style: Style) -> Strip:
            strip = Strip([Segment(text, ground + style)], 1)
            for line_filter in filters:
                strip = strip.apply_filter(line_filter, background)
            return strip

        self._blank = cell(" ", Style(bgcolor=back))
        self._full = cell(" ", Style(color=colour, reverse=True))
        self._starts = [cell(text, Style(color=colour, bgcolor=back)) for text in _BARS]
        self._ends = [cell(text, Style(color=colour, bgcolor=back, reverse=True)) for text in _BARS]

    def _strips(self, start: int, end: int, rows: int) -> list[Strip]:
        """One line each; the thumb reaches from eighth `start` up to `end`."""
        strips = [self._blank] * rows
        (first, above), (last, below) = divmod(start, _EIGHTHS), divmod(end, _EIGHTHS)
        strips[first:last] = [self._full] * (last - first)
        if above and first < rows:
            strips[first] = self._starts[above]
        if below and last < rows:
            strips[last] = self._ends[below]
        return strips
