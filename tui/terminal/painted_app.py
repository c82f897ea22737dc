"""An app that knows what the terminal shows: it writes only what changes, and lets the terminal move lines.

Textual's compositor keeps no picture of the screen: it writes every row in which anything was refreshed. Here all that
it wants to write goes through a `Picture`. Beside that, a widget in plain view can have its lines painted at once,
without a refresh, and say that they have moved.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from time import monotonic
from typing import ClassVar, Generic, TypeVar

from rich.console import RenderableType
from textual._ansi_sequences import SYNC_END, SYNC_START
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App
from textual.binding import Binding, BindingType
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region
from textual.screen import Screen
from textual.scrollbar import ScrollBar
from textual.widget import Widget

from tui.terminal.pace import QUESTION, Pace
from tui.terminal.picture import Picture, Put, move_to

T = TypeVar("T")


class PaintedApp(App[T], Generic[T]):
    """Where there is no terminal (in tests), or one of another kind, everything is left to Textual."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+l", "redraw", "Redraw", show=False, priority=True)]

    _picture: Picture | None = None
    _written_by: object = None
    _pace: Pace | None = None
    _plain_view: tuple[object, dict[Widget, Region | None]] = (None, {})

    # What Textual writes

    def _display(self, screen: Screen[object], renderable: RenderableType | None) -> None:
        """Textual's hook: writes what differs from the picture."""
        picture = self._terminal_picture()
        if picture is None or not isinstance(renderable, (ChopsUpdate, LayoutUpdate)) or self._batch_count:
            super()._display(screen, renderable)
            return
        puts = _chops(renderable) if isinstance(renderable, ChopsUpdate) else _rows(renderable)
        self._write("".join([picture.put(*put) for put in puts]))
        self.post_display_hook()

    def on_resize(self) -> None:
        """The terminal has moved or cut what it showed, though its size may be the old one again."""
        self.action_redraw()

    def action_redraw(self) -> None:
        """Writes the whole screen: somebody else may have written on it."""
        if self._picture is not None:
            self._picture.forget()
            self.screen.refresh()

    async def _shutdown(self) -> None:
        """Textual's hook. An answer still on its way would end up in the shell."""
        if self._pace is not None:
            await asyncio.sleep(self._pace.due(monotonic()))
        await super()._shutdown()

    def _terminal_picture(self) -> Picture | None:
        """The picture of the screen, a blank one after it was somebody else's or of another size."""
        driver = self._driver
        if not isinstance(driver, LinuxDriver) or self.is_inline or not self._running or self._closed:
            return None
        width, height = self.screen._compositor.size
        picture = self._picture
        if picture is None or (picture.width, picture.height) != (width, height):
            picture = self._picture = Picture(width, height, self.console)
        if driver._writer_thread is not self._written_by:  # it began, or goes on after it was suspended
            self._written_by = driver._writer_thread
            self._pace = Pace()
            picture.forget()
        return picture

    def _write(self, text: str) -> None:
        """One frame, in one piece."""
        cursor = self.screen.outer_size.clamp_offset(self.cursor_position)
        if self._driver is None or (not text and cursor == self._previous_cursor_position):
            return
        self._previous_cursor_position = cursor
        text += move_to(*cursor)
        if self._sync_available:
            text = f"{SYNC_START}{text}{SYNC_END}"
            if self._pace is not None and self._pace.write(len(text), monotonic()):
                text += QUESTION
        self._driver.write(text)

    def on_terminal_supports_synchronized_output(self) -> None:
        """The terminal has answered: the first time what it can do, then how far it has got."""
        if self._pace is not None:
            self._pace.answered(monotonic())

    @property
    def terminal_is_behind(self) -> bool:
        """Whether what is written now would only wait for what was written before."""
        writer = getattr(self._driver, "_writer_thread", None)
        queued = writer is not None and not writer._queue.empty()
        return queued or (self._pace is not None and self._pace.behind(monotonic()))

    # What widgets paint

    def plain_view(self, widget: Widget) -> Region | None:
        """The part of the screen that `widget` can paint itself, its scrollbar left out.

        None where it is not on top, something lies over it, or there is no terminal that is known.
        """
        screen = widget.screen
        if self._terminal_picture() is None or self._batch_count or screen is not self.screen:
            return None
        visible = screen._compositor.visible_widgets
        if self._plain_view[0] is not visible:
            self._plain_view = (visible, {})
        known = self._plain_view[1]
        if widget not in known:
            known[widget] = _uncovered(widget, visible)
        return known[widget]

    def paint_rows(self, widget: Widget, rows: range) -> None:
        """See the function."""
        picture, part = self._terminal_picture(), self.plain_view(widget)
        if picture is not None and part is not None:
            lines = widget.render_lines(Region(0, rows.start, part.width, len(rows)))
            self._write("".join([picture.put(part.x, part.y + y, line) for y, line in zip(rows, lines, strict=True)]))

    def paint_at_once(self, widget: Widget, scrolled: int, start: int, more: Callable[[Region], list[Put]]) -> None:
        """See the function."""
        picture, part = self._terminal_picture(), self.plain_view(widget)
        if picture is None or part is None:
            return
        moved = ""
        alone = part.x == 0 and part.right >= picture.width - 1
        if 0 < abs(scrolled) < part.height and (alone or self._sync_available):
            moved = picture.scroll(part.y, part.bottom, scrolled, part.x, part.right)
        if (scrolled and not moved) or scrolled < 0 or self._in_arrears(widget):
            start = 0
        start = min(max(0, start), part.height)
        lines = widget.render_lines(Region(0, start, part.width, part.height - start))
        out = [picture.put(part.x, y, strip) for y, strip in enumerate(lines, part.y + start)]
        out += [picture.put(*put) for put in more(part)]
        self._write(moved + "".join(out))

    def _in_arrears(self, widget: Widget) -> bool:
        """Whether Textual has still to paint lines of `widget`, which by then may be elsewhere."""
        return bool(widget._repaint_regions or widget.screen._compositor._dirty_regions)


def _nothing(_part: Region) -> list[Put]:
    return []


def terminal_is_behind(app: App[object]) -> bool:
    """Whether what is written now would only wait for what was written before, as far as that is known."""
    return isinstance(app, PaintedApp) and app.terminal_is_behind


def in_plain_view(widget: Widget) -> bool:
    """Whether `widget` can be painted at once: it is on top, nothing lies over it, and the terminal is known."""
    app = widget.app
    return isinstance(app, PaintedApp) and app.plain_view(widget) is not None


def paint_at_once(
    widget: Widget, scrolled: int = 0, start: int = 0, more: Callable[[Region], list[Put]] = _nothing
) -> None:
    """Shows the lines of `widget`, which is `in_plain_view`, as they are now, and in the same frame what `more` gives.

    `scrolled`: by how many rows they have moved up since they were painted last; the terminal then moves them.
    `start`: the first row that is otherwise not what it was. `more` gets the part of the screen that was painted.
    """
    app = widget.app
    if isinstance(app, PaintedApp):
        app.paint_at_once(widget, scrolled, start, more)


def paint_rows(widget: Widget, rows: range) -> None:
    """Shows these rows of `widget`, which is `in_plain_view`, as they are now; they stand where they stood."""
    app = widget.app
    if isinstance(app, PaintedApp):
        app.paint_rows(widget, rows)


def _uncovered(widget: Widget, visible: dict[Widget, tuple[Region, Region]]) -> Region | None:
    if widget not in visible:
        return None
    region, clip = visible[widget]
    if clip.intersection(region) != region:
        return None
    part = region
    for other, (taken, other_clip) in visible.items():  # those in front come first
        if other is widget:
            return part
        if not (over := taken.intersection(other_clip)).overlaps(region):
            continue
        if not (isinstance(other, ScrollBar) and other.parent is widget and over.right == region.right):
            return None
        part = Region(region.x, region.y, over.x - region.x, region.height)
    return None


def _chops(update: ChopsUpdate) -> Iterator[Put]:
    """What is painted, in the pieces into which the widgets' edges cut the rows."""
    for y, start, end in update.spans:
        for stop, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=True):
            if strip is not None and x < end and stop > start:
                yield x, y, strip


def _rows(update: LayoutUpdate) -> Iterator[Put]:
    for y, row in enumerate(update.strips, update.region.y):
        x = update.region.x
        for strip in row:
            yield x, y, strip
            x += strip.cell_length
