"""The conversation as one widget on Textual's line API.

Nothing is mounted per message or block: messages keep their lines as strips, the widget hands out those that are on
the screen. Text that streams in is gathered and drawn at most `fps` times a second; a timer exists only while there is
something to draw.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import Any, ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size, Spacing
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget

from backends.events import Citation
from tui.markdown.parser import parser
from tui.widgets.chat_palette import PALETTE_CSS, ChatPalette, chat_palette, component_class
from tui.widgets.frame_clock import FrameClock
from tui.widgets.message_stack import MessageStack, Spot
from tui.widgets.message_view import Ending, Kind, MessageView

_DRAW_SECONDS = 0.03
"""How long a frame may take when many messages have to be drawn; the rest follows with the next ones."""
_INDICATOR_FPS = 4.0
"""How often the typing indicator moves."""


class Transcript(ScrollView, can_focus=True):
    """Messages by key, in the order they were added. All texts may be untrusted."""

    ALLOW_SELECT = False
    COMPONENT_CLASSES: ClassVar[set[str]] = {component_class(role) for role in ChatPalette.roles()}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home,ctrl+home", "scroll_home", "First", show=False),
        Binding("end,ctrl+end", "scroll_end", "Latest", show=False),
        Binding("left", "chip(-1)", "Previous source", show=False),
        Binding("right", "chip(1)", "Next source", show=False),
        Binding("enter", "open_chip", "Read source", show=False),
        Binding("y", "copy_answer", "Copy answer", show=False),
    ]
    DEFAULT_CSS = (
        """
    Transcript {
        background: $background;
        color: $foreground;
        overflow-x: hidden;
        overflow-y: auto;
        scrollbar-size-vertical: 1;
        scrollbar-gutter: stable;
        scrollbar-background: $background;
        scrollbar-background-hover: $background;
        scrollbar-background-active: $background;
        scrollbar-color: $foreground 20%;
        scrollbar-color-hover: $foreground 35%;
        scrollbar-color-active: $primary;

    }
    """
        + PALETTE_CSS
    )

    following: reactive[bool] = reactive(True, init=False)
    """True while stuck to the end."""

    @dataclass
    class Following(Message):
        """The reader left the end, or came back to it."""

        following: bool

    @dataclass
    class CitationSelected(Message):
        """A source was chosen, in the text or in the line under an answer."""

        citation: Citation

    @dataclass
    class Copied(Message):
        """`text` was handed to the terminal's clipboard (OSC 52), which does not say whether it took it."""

        text: str

    def __init__(self, *, fps: float = 25.0, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._clock = FrameClock(self, self._draw, fps)
        self.frames = 0
        """Frames drawn so far."""
        self._messages = MessageStack()
        self._numbers = count(1)
        self._palette: ChatPalette | None = None
        self._indicator_planned = False
        self._moving = False
        self._seen_height = 0

    def on_mount(self) -> None:
        """The parser is loaded behind the first picture, so that the first answer does not wait for it."""
        self.call_after_refresh(parser)

    # Content

    def add(self, kind: Kind, text: str = "", *, key: str | None = None, title: str = "") -> str:
        """Adds a message at the end and returns its key (a new one when none is given).

        An assistant message without text is taken to be streaming: end it with `finish`.
        """
        key = key or f"message-{next(self._numbers)}"
        view = MessageView(key, kind, title)
        view.streaming = kind == "assistant" and not text
        view.append(text)
        if not view.streaming:
            view.finish(None)
        self._messages.add(view)
        self._schedule()
        return key

    def append(self, key: str, text: str) -> None:
        """Adds streamed text to a message; it is drawn with the next frame. A finished message goes on."""
        view = self._messages[key]
        view.append(text)
        self._change(view)

    def append_reasoning(self, key: str, text: str) -> None:
        """Adds thinking text, shown above the answer until that begins, then folded into one line."""
        view = self._messages[key]
        view.append_reasoning(text)
        self._change(view)

    def replace(self, key: str, text: str) -> None:
        """Puts `text` in place of a message's text."""
        view = self._messages[key]
        view.replace(text)
        self._change(view)

    def set_waiting(self, key: str, text: str | None) -> None:
        """Shows what an answer waits for, with a moving indicator; None removes it."""
        self._set(key, waiting=text)

    def finish(self, key: str, ending: Ending) -> None:
        """The message is over: its text is parsed for good, and any ending but "complete" gets a mark."""
        view = self._messages[key]
        view.finish(ending)
        self._change(view)

    def set_note(self, key: str, text: str | None) -> None:
        """Shows a dim line under a message; None removes it."""
        self._set(key, note=text)

    def set_citations(self, key: str, citations: Iterable[Citation]) -> None:
        """Shows the sources of an answer under it."""
        self._set(key, citations=tuple(citations), selected_chip=None)

    def text(self, key: str) -> str:
        """A message's source text, without control characters."""
        return self._messages[key].source

    def remove_message(self, key: str) -> None:
        """Takes a message away."""
        self._messages.remove(key)
        self._schedule()

    def clear(self) -> None:
        """Takes all messages away."""
        self._messages.clear()
        self.following = True
        self._schedule()

    def _set(self, key: str, **fields: Any) -> None:
        view = self._messages[key]
        if all(getattr(view, name) == value for name, value in fields.items()):
            return
        for name, value in fields.items():
            setattr(view, name, value)
        self._change(view)

    def _change(self, view: MessageView) -> None:
        self._messages.change(view)
        self._schedule()

    # Frames

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
        near = None if self.following else self.scroll_offset.y
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
            if self.following:
                self.scroll_to(y=self.max_scroll_y, animate=False)
            elif spot is not None and (line := self._messages.line_of(spot)) is not None:
                self.scroll_to(y=line, animate=False)
        finally:
            self._moving = False
        if self.scroll_offset.y == top:
            self._repaint(first_line, max(height, old))
        if not self.following and height != old:
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
        strip = self._messages.line(self.scroll_offset.y + y)
        return Strip.blank(width, base) if strip is None else strip.crop_extend(0, width, base)

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
        """Wraps everything again, and keeps the reader's place."""
        self._draw_all()

    # Reading

    def watch_following(self, following: bool) -> None:
        """Remembers where the reader left the end, and tells the app."""
        self._seen_height = self._messages.height
        self.post_message(self.Following(following))
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

    # Sources and copying

    def on_click(self, event: events.Click) -> None:
        """A citation opens, a folded thought unfolds, the marker leads to the end."""
        if not self.following and event.y == self.size.height - 1:
            self.action_scroll_end()
            return
        meta = event.style.meta
        found = self._messages.find(self.scroll_offset.y + event.y)
        if found is None:
            return
        view = found[0]
        if (mark := meta.get("citation")) is not None:
            known = next((citation for citation in view.citations if citation.id == mark), None)
            if known is not None:
                self.post_message(self.CitationSelected(known))
        elif "reasoning" in meta:
            self._set(view.key, reasoning_open=not view.reasoning_open)

    def _cited_view(self) -> MessageView | None:
        return next((view for view in reversed(self._messages) if view.citations), None)

    def action_chip(self, step: int) -> None:
        """Moves the choice among the sources of the last answer that has any."""
        view = self._cited_view()
        if view is not None:
            at = view.selected_chip
            chosen = (0 if step > 0 else -1) if at is None else at + step
            self._set(view.key, selected_chip=chosen % len(view.citations))

    def action_open_chip(self) -> None:
        """Opens the chosen source, the first one when none is chosen."""
        view = self._cited_view()
        if view is not None:
            self.post_message(self.CitationSelected(view.citations[view.selected_chip or 0]))

    def action_copy_answer(self) -> None:
        """Copies the source text of the last answer."""
        answers = (view.source for view in reversed(self._messages) if view.kind == "assistant")
        text = next((source for source in answers if source.strip()), None)
        if text is not None:
            self.app.copy_to_clipboard(text)
            self.post_message(self.Copied(text))
