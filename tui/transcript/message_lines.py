"""A stack of messages on Textual's line API: drawn in frames, followed at its end, scrolled without losing the place.

Nothing is mounted per message or block: messages keep their lines as strips, the widget hands out those that are on
the screen. Text that streams in is gathered and drawn at most `fps` times a second; a timer exists only while there is
something to draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import ANSIToTruecolor, LineFilter
from textual.geometry import Region, Size, Spacing
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui.terminal.painted_app import in_plain_view, paint_at_once
from tui.transcript.chat_palette import ChatPalette, chat_palette
from tui.transcript.frame_clock import FrameClock
from tui.transcript.message_part import Part
from tui.transcript.message_stack import MessageStack, Spot
from tui.transcript.message_view import MessageView
from tui.transcript.paint import Span, paint
from tui.transcript.thumb import Thumb

_AHEAD_SECONDS = 0.01
"""How long drawing the pages next to the one in view may take at a time, and how long the pause before it is."""
_INDICATOR_FPS = 4.0
"""How often the typing indicator moves."""

Ground = tuple[bool, Sequence[LineFilter], Color]
"""Whether nothing surrounds or tints the lines, and what filters them, over which background."""


class MessageLines(ScrollView):
    """Shows a `MessageStack`."""

    following: reactive[bool] = reactive(True, init=False)
    """True while stuck to the end."""

    def __init__(self, *, fps: float = 25.0, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._thumb = Thumb(self)
        self.clock = FrameClock(self, self._draw, fps)
        self.frames = 0
        """Frames drawn so far."""
        self._messages = MessageStack()
        self._palette: ChatPalette | None = None
        self._ground: Ground | None = None
        self._indicator_planned = False
        self._moving = False
        self._ahead_planned = False
        self._seen: Spot | None = None  # the last line when the reader left the end
        self._when_shown: list[Callable[[], None]] = []

    @property
    def held(self) -> bool:
        """Whether the text must not move now, though it is followed: new text then ends the following."""
        return False

    @property
    def _sticking(self) -> bool:
        return self.following and not self.held

    # Frames

    def _change(self, view: MessageView) -> None:
        self._messages.change(view)
        self._schedule()

    def _change_text(self, view: MessageView, *, first: bool) -> None:
        """As `_change`, for text that streams in."""
        self._messages.change(view)
        if self.is_attached and self.size:
            self.clock.request_text(first=first)

    def when_shown(self, callback: Callable[[], None]) -> None:
        """Calls `callback` once, when what has changed until now is on its way to the terminal."""
        self._when_shown.append(callback)

    def _schedule(self) -> None:
        if not self.clock.planned and self.is_attached and self.size:
            self.clock.request()

    def _keep_indicator_moving(self) -> None:
        if not self._indicator_planned and any(view.waiting is not None for view in self._messages):
            self._indicator_planned = True
            self.clock.after(1 / _INDICATOR_FPS, self._move_indicator)

    def _move_indicator(self) -> None:
        self._indicator_planned = False
        for view in self._messages:
            if view.waiting is not None:
                view.tick += 1
                self._change(view)

    def _draw(self) -> None:
        """Draws the messages that changed, and what of them is on the screen."""
        self.frames += 1
        self._bring(None if self._sticking else self._messages.spot(self.scroll_offset.y))

    def _bring(self, spot: Spot | None) -> None:
        """Draws what belongs on the screen when it begins with `spot`, or ends with the end, and goes there."""
        first_line = self._messages.draw(self._width, self._theme, self.size.height, spot)
        self._settle(first_line, spot)
        self._plan_ahead()
        if self._messages.pending:
            self._schedule()

    def _draw_all(self) -> None:
        """Draws again in another width or theme, and keeps the reader's place."""
        self._draw()
        self.refresh()

    def _plan_ahead(self) -> None:
        top, rows = self.scroll_offset.y, self.size.height
        if not self._ahead_planned and self._messages.undrawn(top - rows, 3 * rows):
            self._ahead_planned = True
            self.clock.after(_AHEAD_SECONDS, self._draw_ahead)

    def _draw_ahead(self) -> None:
        """Draws the pages above and below, so that going there goes by exact heights and takes no time."""
        self._ahead_planned = False
        rows, until = self.size.height, monotonic() + _AHEAD_SECONDS
        spot = None if self._sticking else self._messages.spot(self.scroll_offset.y)
        around = None if spot is None else replace(spot, below=rows)
        pages = 2 if spot is None else 3
        first_line = self._messages.draw(self._width, self._theme, pages * rows, around, lambda: monotonic() > until)
        self._settle(first_line, spot)
        self._plan_ahead()

    def realize(self, view: MessageView, part: Part) -> None:
        """Draws a part of a message, wherever it stands; what is on the screen stays."""
        if not part.exact:
            spot = None if self._sticking else self._messages.spot(self.scroll_offset.y)
            self._settle(self._messages.realize(view, part), spot)

    def show(self, line: int, row: int) -> None:
        """Scrolls so that `line` stands in `row` of the screen, what comes into view drawn."""
        if (spot := self._messages.spot(line)) is not None:
            self.show_spot(spot, row)

    def show_spot(self, spot: Spot, row: int) -> None:
        """Scrolls so that what `spot` names stands in `row` of the screen, what comes into view drawn."""
        followed = self.following
        self.set_reactive(MessageLines.following, False)
        self._bring(replace(spot, below=row))
        self.set_reactive(MessageLines.following, followed)
        self.following = self.scroll_offset.y >= self.max_scroll_y
        if self.following:
            self._repaint_marker()  # painted at once, it stands where nothing is below

    def _settle(self, first_line: int, spot: Spot | None) -> None:
        """Lets the scroll position fit the new heights, and shows what differs, which begins with `first_line`."""
        bare = self._ground is not None and self._ground[0]
        at_once = bare and self.show_vertical_scrollbar and in_plain_view(self)
        (self._settle_at_once if at_once else self._settle_by_refresh)(first_line, spot)
        waiting, self._when_shown = self._when_shown, []
        for callback in waiting:
            if at_once:
                callback()
            else:
                self.call_after_refresh(callback)
        self._keep_indicator_moving()

    def _settle_by_refresh(self, first_line: int, spot: Spot | None) -> None:
        height, old, top = self._messages.height, self.virtual_size.height, self.scroll_offset.y
        self._moving = True
        try:
            if height != old or self.virtual_size.width != self._width:
                # What assigning it does, without laying out the whole screen: only the scrollbar depends on it.
                self.set_reactive(Widget.virtual_size, Size(self._width, height))
                self._scroll_update(self.virtual_size)
            self.scroll_to(y=self._destination(spot), animate=False)
        finally:
            self._moving = False
        self.relocated()
        if self.scroll_offset.y == top:
            self._repaint(first_line, max(height, old))
        if not self._sticking and height != old:
            self.following = self.scroll_offset.y >= self.max_scroll_y
            self._repaint_marker()

    def _settle_at_once(self, first_line: int, spot: Spot | None) -> None:
        """Does without reactive attributes and refreshes: they cost more than all the rest of a frame."""
        height, old, top = self._messages.height, self.virtual_size.height, self.scroll_offset.y
        self.set_reactive(Widget.virtual_size, Size(self._width, height))
        y = self._destination(spot)
        for place in (Widget.scroll_y, Widget.scroll_target_y):
            self.set_reactive(place, float(y))
        self.relocated()
        if not self._sticking and height != old:
            self.following = y >= self.max_scroll_y
        start = first_line - y if first_line >= top else 0
        paint_at_once(self, y - top, start if self.following else min(start, self.size.height - 1), self._thumb.cells)

    def _destination(self, spot: Spot | None) -> int:
        """Where to scroll to."""
        if self._sticking:
            return self.max_scroll_y
        line = None if spot is None else self._messages.line_of(spot)
        return min(self.max_scroll_y, self.scroll_offset.y if line is None else line)

    def relocated(self) -> None:
        """Lines stand elsewhere than before."""

    def _repaint(self, start: int, end: int) -> None:
        top = self.scroll_offset.y
        start, end = max(start, top), min(end, top + self.size.height)
        if start < end:
            self.refresh_lines(start, end - start)

    def _repaint_marker(self) -> None:
        self.refresh(Region(0, self.size.height - 1, self.size.width, 1))

    # Drawing

    @property
    def _width(self) -> int:
        return max(1, self.scrollable_content_region.width)

    @property
    def _theme(self) -> ChatPalette:
        if self._palette is None:
            self._palette = chat_palette(self)
        return self._palette

    def render_lines(self, crop: Region) -> list[Strip]:
        """The strips of `crop`, straight from the messages.

        Textual's own makes each strip anew to put padding and borders around it, whenever it scrolls; kept as they are,
        strips keep what Textual caches in them, the escape sequences too. With padding or a border it is left to that.
        """
        if self._ground is None:
            self._ground = self._see_ground()
        bare, filters, background = self._ground
        if not bare:
            return super().render_lines(crop)
        start, end = crop.column_span
        strips: list[Strip] = []
        for y in crop.line_range:
            strip = self._line(y, end)
            for line_filter in filters:
                strip = strip.apply_filter(line_filter, background)
            strips.append(strip)
        return [strip.crop(start, end) for strip in strips] if start else strips

    def _see_ground(self) -> Ground:
        bare = self.styles.gutter == Spacing() and self.opacity == 1 and not self.styles.tint.a
        filters = self.get_line_filters()
        if not self._theme.has_terminal_colours:
            filters = [line_filter for line_filter in filters if not isinstance(line_filter, ANSIToTruecolor)]
        return bare, filters, self.background_colors[1]

    def render_line(self, y: int) -> Strip:
        """The line `y` of the visible part."""
        return self._line(y, self._width)

    def _line(self, y: int, width: int) -> Strip:
        base = self._theme.text
        if not self.following and y == self.size.height - 1:
            return self._marker_line(self._width).crop_extend(0, width, base)
        line = self.scroll_offset.y + y
        strip = self._messages.line(line)
        if strip is None:
            return Strip.blank(width, base)
        spans = self.painted(line)
        return _fitted(paint(strip, spans) if spans else strip, width, base)

    def painted(self, line: int) -> Sequence[Span]:
        """The cells of `line` that get another style, later ones over earlier ones."""
        return ()

    def _marker_line(self, width: int) -> Strip:
        seen = None if self._seen is None else self._messages.line_of(self._seen)
        new = 0 if seen is None else max(0, self._messages.height - 1 - seen)
        label = f" ↓ {new} new {'line' if new == 1 else 'lines'} · Ctrl+End " if new else " ↓ Ctrl+End "
        left = max(0, (width - len(label)) // 2)
        segments = [Segment("─" * left, self._theme.rule), Segment(label, self._theme.marker)]
        right = width - left - len(label)
        return Strip([*segments, Segment("─" * max(0, right), self._theme.rule)]).crop(0, width)

    def notify_style_update(self) -> None:
        """The theme changed: everything is drawn again with the new colours."""
        super().notify_style_update()
        self._palette = self._ground = None
        self._thumb.forget()
        if self.is_attached and self.size:
            self._draw_all()

    def on_resize(self) -> None:
        """Keeps the reader's place, and wraps everything again where the width is another."""
        if self._width != self.virtual_size.width:
            self.rewrapped()
            self._draw_all()
        else:
            self._draw()
            self.refresh()

    def rewrapped(self) -> None:
        """Every line is about to hold another text."""

    # Reading

    def watch_following(self, following: bool) -> None:
        """Remembers where the reader left the end."""
        self._seen = self._messages.spot(self._messages.height - 1)
        self.refresh()
        if following:
            self._schedule()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Leaving the end stops following it, reaching it starts again; what comes into view is drawn."""
        if not self._moving:
            self.following = round(new_value) >= self.max_scroll_y
            self._arrive(round(old_value), round(new_value))
        super().watch_scroll_y(old_value, self.scroll_y)
        if not self._moving:
            self.following = round(self.scroll_y) >= self.max_scroll_y

    def _arrive(self, old: int, new: int) -> None:
        """The reader has scrolled: by a page or less from what he saw, or to somewhere else."""
        rows = self.size.height
        if self._messages.undrawn(new, rows):
            near = abs(new - old) <= rows
            spot = self._messages.spot(old if near else new)
            self._bring(None if spot is None else replace(spot, below=old - new if near else 0))
        else:
            self._plan_ahead()

    def action_scroll_up(self) -> None:
        """One line up."""
        self.scroll_relative(y=-1, animate=False)

    def action_scroll_down(self) -> None:
        """One line down."""
        self.scroll_relative(y=1, animate=False)

    def action_page_up(self) -> None:
        """A page up, two lines kept."""
        self.scroll_relative(y=-max(1, self.size.height - 2), animate=False)

    def action_page_down(self) -> None:
        """A page down, two lines kept."""
        self.scroll_relative(y=max(1, self.size.height - 2), animate=False)

    def action_scroll_home(self) -> None:
        """To the first message."""
        self.scroll_to(y=0, animate=False)

    def action_scroll_end(self) -> None:
        """To the end, and follow it."""
        self.scroll_to(y=self.max_scroll_y, animate=False)
        self.following = True


def _fitted(strip: Strip, width: int, base: Style) -> Strip:
    """`strip` in exactly `width` cells: `crop_extend`, with one new strip instead of two, and blanks without a seam."""
    short = width - strip.cell_length
    if short < 0:
        return strip.crop_extend(0, width, base)
    if not short:
        return strip
    key = (0, width, base)
    if (known := strip._crop_extend_cache.get(key)) is None:
        segments = list(strip)
        blanks = " " * short
        if segments and segments[-1].style == base:
            segments[-1] = Segment(segments[-1].text + blanks, base)
        else:
            segments.append(Segment(blanks, base))
        known = strip._crop_extend_cache[key] = Strip(segments, width)
    return known
