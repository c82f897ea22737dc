"""A stack of messages on Textual's line API: drawn in frames, followed at its end, scrolled without losing the place.

Nothing is mounted per message or block: messages keep their lines as strips, the widget hands out those that are on
the screen. Text that streams in is gathered and drawn at most `fps` times a second; a timer exists only while there is
something to draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from rich.segment import Segment
from textual.geometry import Region, Size, Spacing
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from tui.widgets.chat_palette import ChatPalette, chat_palette
from tui.widgets.frame_clock import FrameClock
from tui.widgets.message_stack import MessageStack, Spot
from tui.widgets.message_view import MessageView
from tui.widgets.paint import Span, paint

_DRAW_SECONDS = 0.03
"""How long a frame may take when many messages have to be drawn; the rest follows with the next ones."""
_INDICATOR_FPS = 4.0
"""How often the typing indicator moves."""


class MessageLines(ScrollView):
    """Shows a `MessageStack`."""

    following: reactive[bool] = reactive(True, init=False)
    """True while stuck to the end."""

    def __init__(self, *, fps: float = 25.0, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._clock = FrameClock(self, self._draw, fps)
        self.frames = 0
        """Frames drawn so far."""
        self._messages = MessageStack()
        self._palette: ChatPalette | None = None
        self._indicator_planned = False
        self._moving = False
        self._seen_height = 0

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

    def _schedule(self) -> None:
        if self.is_attached and self.size:
            self._clock.request()

    def _keep_indicator_moving(self) -> None:
        if not self._indicator_planned and any(view.waiting is not None for view in self._messages):
            self._indicator_planned = True
            self._clock.after(1 / _INDICATOR_FPS, self._move_indicator)

    def _move_indicator(self) -> None:
        self._indicator_planned = False
        for view in self._messages:
            if view.waiting is not None:
                view.tick += 1
                self._change(view)

    def _draw(self) -> None:
        """Draws the messages that changed, and what of them is on the screen."""
        self.frames += 1
        deadline = monotonic() + _DRAW_SECONDS
        near = None if self._sticking else self.scroll_offset.y
        spot = None if near is None else self._messages.spot(near)
        first_line = self._messages.draw(self._width, self._theme, near, lambda: monotonic() > deadline)
        self._settle(first_line, spot)
        if self._messages.pending:
            self._schedule()

    def _draw_all(self) -> None:
        """Draws everything again, as after a change of width or theme, and keeps the reader's place."""
        self._messages.change_all()
        self._draw()
        self.refresh()

    def _settle(self, first_line: int, spot: Spot | None) -> None:
        """Lets the scroll position fit the new heights, and repaints from `first_line` on."""
        height, old, top = self._messages.height, self.virtual_size.height, self.scroll_offset.y
        self._moving = True
        try:
            if height != old or self.virtual_size.width != self._width:
                # What assigning it does, without laying out the whole screen: only the scrollbar depends on it.
                self.set_reactive(Widget.virtual_size, Size(self._width, height))
                self._scroll_update(self.virtual_size)
            if self._sticking:
                self.scroll_to(y=self.max_scroll_y, animate=False)
            elif spot is not None and (line := self._messages.line_of(spot)) is not None:
                self.scroll_to(y=line, animate=False)
        finally:
            self._moving = False
        if self.scroll_offset.y == top:
            self._repaint(first_line, max(height, old))
        if not self._sticking and height != old:
            self.following = self.scroll_offset.y >= self.max_scroll_y
            self._repaint_marker()
        self._keep_indicator_moving()

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
        if self.styles.gutter != Spacing() or self.opacity != 1 or self.styles.tint.a:
            return super().render_lines(crop)
        filters, background = self.get_line_filters(), self.background_colors[1]
        strips: list[Strip] = []
        for y in crop.line_range:
            strip = self._line(y, self.region.width)
            for line_filter in filters:
                strip = strip.apply_filter(line_filter, background)
            strips.append(strip)
        if crop.column_span == (0, self.region.width):
            return strips
        return [strip.crop(*crop.column_span) for strip in strips]

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
        return (paint(strip, spans) if spans else strip).crop_extend(0, width, base)

    def painted(self, line: int) -> Sequence[Span]:
        """The cells of `line` that get another style, later ones over earlier ones."""
        return ()

    def _marker_line(self, width: int) -> Strip:
        new = max(0, self._messages.height - self._seen_height)
        label = f" ↓ {new} new {'line' if new == 1 else 'lines'} · End " if new else " ↓ End "
        left = max(0, (width - len(label)) // 2)
        segments = [Segment("─" * left, self._theme.rule), Segment(label, self._theme.marker)]
        right = width - left - len(label)
        return Strip([*segments, Segment("─" * max(0, right), self._theme.rule)]).crop(0, width)

    def notify_style_update(self) -> None:
        """The theme changed: everything is drawn again with the new colours."""
        super().notify_style_update()
        self._palette = None
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
        self._seen_height = self._messages.height
        self.refresh()
        if following:
            self._schedule()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Leaving the end stops following it, reaching it starts again."""
        super().watch_scroll_y(old_value, new_value)
        if not self._moving:
            self.following = round(new_value) >= self.max_scroll_y

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
