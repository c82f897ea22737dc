"""Messages whose text can be selected: with the mouse, by word, by line, or as a whole message or block of code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from rich.cells import cell_len
from rich.style import Style
from textual import events
from textual.timer import Timer

from tui.markdown.text_strip import indices
from tui.transcript.message_lines import MessageLines
from tui.transcript.message_part import Part
from tui.transcript.message_view import MessageView
from tui.transcript.paint import Span
from tui.transcript.selection import (
    Cell,
    Extent,
    Piece,
    Selection,
    body,
    cell_at,
    code_in,
    extent,
    line_at,
    may_hold_code,
    rows_of,
    selection_of,
    text_of,
    undrawn_in,
    word_at,
)

_SCROLL_SECONDS = 0.05
"""How often the text moves while the mouse is held beyond its edge."""

Whole = Literal["code", "message"]

Found = tuple[MessageView, Part, int, Piece]
"""A whole: its message, the part it begins in, its number there, and its rows and source."""


class SelectableLines(MessageLines):
    """A `MessageStack` with at most one selection, which stays on its text whatever comes in around it."""

    def __init__(self, *, fps: float = 25.0, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(fps=fps, id=id, classes=classes)
        self._selection: Selection | None = None
        self._extent: Extent | None = None  # where it stands now
        self._pressed: Cell | None = None  # where the mouse button went down, until it comes up
        self._pointer = (0, 0)
        self._scrolling: Timer | None = None
        self._walked: tuple[Whole, Part, int] | None = None  # the whole that was copied last: where it begins

    # The selection

    @property
    def selected_text(self) -> str:
        """The text of the selection, "" without one."""
        if self._extent is not None:
            self._draw_selected(self._extent)
        return "" if self._extent is None else text_of(self._messages, self._extent)

    def _draw_selected(self, selected: Extent) -> None:
        """Draws what the selected text is taken from."""
        while (found := undrawn_in(self._messages, selected)) is not None:
            self.realize(*found)
            if self._extent is None:
                return
            selected = self._extent

    @property
    def has_selection(self) -> bool:
        """Whether anything is selected."""
        return self._extent is not None

    def deselect(self) -> None:
        """Selects nothing."""
        self._walked = None
        self._set_selection(None)

    def _set_selection(self, selection: Selection | None) -> None:
        if selection != self._selection:
            self._selection = selection
            self._locate_selection()
            self.refresh()

    def _locate_selection(self) -> None:
        self._extent = None if self._selection is None else extent(self._messages, self._selection)
        if self._extent is None:
            self._selection = None

    def relocated(self) -> None:
        """The selection stays on its text."""
        super().relocated()
        if self._selection is not None:
            self._locate_selection()

    def rewrapped(self) -> None:
        """Lines that were wrapped anew do not hold what was selected."""
        super().rewrapped()
        self.deselect()

    def painted(self, line: int) -> Sequence[Span]:
        """Adds the selection."""
        spans = super().painted(line)
        if self._extent is None or (cells := self._extent.on(line)) is None:
            return spans
        found = self._messages.find(line)
        if found is None:
            return spans
        strip = found[0].text_line(found[1])
        start, end = max(cells[0], strip.start), strip.end if cells[1] is None else min(cells[1], strip.end)
        text = strip.text
        if not text.isascii():  # half a wide character cannot be marked
            first, after = indices(text, start, end)
            start, end = cell_len(text[:first]), cell_len(text[:after])
        return [*spans, (start, end, Style(bgcolor=self._theme.selection.bgcolor))]

    # The mouse

    @property
    def held(self) -> bool:
        """The text under a drag stays."""
        return super().held or (self._pressed is not None and self._extent is not None)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """A new selection may begin here; the old one ends."""
        if event.button == 1:
            self.deselect()
            self._pressed = cell_at(self._messages, self.scroll_offset.y + event.y, event.x)
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """With the button down: selects up to here; beyond the edge the text scrolls."""
        if self._pressed is None:
            return
        self._pointer = (event.x, event.y)
        self._select_to_pointer()
        top = 1 if self.region.y == 0 else 0  # there is nothing above the window's first row that the mouse could reach
        outside = not top <= event.y < self.size.height
        if outside and self._scrolling is None:
            self._scrolling = self.set_interval(_SCROLL_SECONDS, self._scroll_to_pointer)
        elif not outside:
            self._stop_scrolling()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """The selection is complete."""
        if self._pressed is not None:
            self._pressed = None
            self._stop_scrolling()
            self.release_mouse()

    def _select_to_pointer(self) -> None:
        x, y = self._pointer
        line = self.scroll_offset.y + min(max(0, y), self.size.height - 1)
        head = cell_at(self._messages, line, 0 if y < 0 else x)
        if self._pressed is None or head is None or (head == self._pressed and self._selection is None):
            return
        self._set_selection(Selection(self._pressed, head))

    def _scroll_to_pointer(self) -> None:
        """Moves the text by more, the farther away the mouse is."""
        y = self._pointer[1]
        beyond = min(y, -1) if y <= 0 else y - self.size.height + 1
        self.scroll_relative(y=max(-5, min(5, beyond)), animate=False)
        self._select_to_pointer()

    def _stop_scrolling(self) -> None:
        if self._scrolling is not None:
            self._scrolling.stop()
            self._scrolling = None

    def select_by_click(self, event: events.Click) -> bool:
        """A double click takes a word, a triple one a line; whether the click was one of them, or ended a drag."""
        line = self.scroll_offset.y + event.y
        if event.chain > 1:
            found = word_at(self._messages, line, event.x) if event.chain == 2 else line_at(self._messages, line)
            self._set_selection(None if found is None else selection_of(self._messages, found))
            return True
        return self.has_selection

    # Whole messages and blocks of code

    def copy_next(self, what: Whole) -> bool:
        """Copies the newest message or block of code, the one before it when called again; False when there is none.

        What was copied is selected and brought into view.
        """
        walked, found = self._walked if self.has_selection else None, False
        first = None
        for view, part, number, piece in self._wholes(what):
            first = first or (view, part, number, piece)
            if walked is None or walked[0] != what or found:
                return self._copy_whole(what, view, part, number, piece)
            found = walked[1] is part and walked[2] == number
        return first is not None and self._copy_whole(what, *first)

    def _copy_whole(self, what: Whole, view: MessageView, part: Part, number: int, piece: Piece) -> bool:
        self._select_whole(what, view, part, number, piece)
        self.app.copy_to_clipboard(piece.source)
        return True

    def choose(self, what: Whole, step: int) -> bool:
        """Selects the message or block of code before (-1) or after (1) the one that is; False when there is none.

        With none selected it is the newest one that begins on the screen or above it; for the one after, rather the
        first below the screen than one above it.
        """
        if self._walked is None or not self.has_selection or self._walked[0] != what:
            whole = self._nearest_whole(what, step)
        else:
            whole = self._whole_beside(what, step)
        if whole is not None:
            self._select_whole(what, *whole)
        return whole is not None

    def _nearest_whole(self, what: Whole, step: int) -> Found | None:
        top = self.scroll_offset.y
        bottom = top + self.size.height - 1
        whole = next(self._wholes(what, bottom), None)
        if step > 0 and (whole is None or self._begins(whole) < top):
            for view in self._messages:
                if self._messages.top(view) + view.height > bottom:
                    for below in reversed(list(self._wholes_in(view, what))):
                        if self._begins(below) > bottom:
                            return below
        return whole

    def _begins(self, whole: Found) -> int:
        return self._messages.top(whole[0]) + whole[3].first

    def _whole_beside(self, what: Whole, step: int) -> Found | None:
        assert self._walked is not None
        newer, found = None, False
        for whole in self._wholes(what):
            if found:
                return whole
            found = whole[1] is self._walked[1] and whole[2] == self._walked[2]
            if found and step > 0:
                return newer
            newer = whole
        return None

    @property
    def walked_view(self) -> MessageView | None:
        """The message that was chosen as a whole; None when none is."""
        if self._walked is None or not self.has_selection or self._walked[0] != "message":
            return None
        return next((view for view in self._messages if self._walked[1] in view.parts), None)

    def _select_whole(self, what: Whole, view: MessageView, part: Part, number: int, piece: Piece) -> None:
        shown = rows_of(self._messages, view, piece.first, piece.last)
        self._set_selection(selection_of(self._messages, shown))
        self._walked = (what, part, number)
        self.reveal(shown.first, shown.last)

    def _wholes(self, what: Whole, bottom: int | None = None) -> Iterator[Found]:
        """Newest first, of those that begin at line `bottom` or above; each with the part it begins in and its number
        there. Draws no more than is looked at."""
        for view in reversed(self._messages):
            top = self._messages.top(view)
            if bottom is not None and top > bottom:
                continue
            for found in self._wholes_in(view, what):
                if bottom is None or top + found[3].first <= bottom:
                    yield found

    def _wholes_in(self, view: MessageView, what: Whole) -> Iterator[Found]:
        wanted = view.kind in ("user", "assistant") if what == "message" else any(map(may_hold_code, view.blocks))
        if wanted and (uncut := view.uncut) is not None:
            self.realize(view, uncut)
        if what == "message" and wanted and view.blocks:
            first, last = view.blocks[0][0], view.blocks[-1][-1]
            self.realize(view, first)
            self.realize(view, last)
            if (whole := body(view)) is not None:
                yield view, first, 0, whole
        for parts in reversed(view.blocks) if what == "code" and view.kind == "assistant" else ():
            if may_hold_code(parts):
                self.realize(view, parts[0])
                self.realize(view, parts[-1])
                yield from (
                    (view, parts[0], number, piece) for number, piece in reversed(list(enumerate(code_in(view, parts))))
                )

    def reveal(self, first: int, last: int) -> None:
        """Scrolls as little as shows the lines `first` to `last`, or as many of them as there is room for."""
        top, rows = self.scroll_offset.y, max(1, self.size.height - 1)  # the last row may be the marker
        if top <= first and last < top + rows:
            return
        above = first - 2 if first < top else last - rows + 2
        self.show(first, first - max(0, min(above, first)))
