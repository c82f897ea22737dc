"""When a widget draws: as often as it changes, never more often than it should."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from textual.events import Callback
from textual.widget import Widget

from tui.terminal.painted_app import terminal_is_behind
from tui.transcript.frame_rate import FrameRate


class FrameClock:
    """Coalesces requests to draw into frames, when `FrameRate` has them.

    None while the terminal has not taken the last one. Nothing runs while nothing is requested, and every request is
    followed by a frame.
    """

    def __init__(self, widget: Widget, draw: Callable[[], None], fps: float) -> None:
        self._rate = FrameRate(fps)
        self._widget = widget
        self._draw = draw
        self.planned = False
        """Whether a frame is on its way."""
        self._timer: asyncio.TimerHandle | None = None  # of the frame that is planned, while that is for later
        self._held = False
        self._due = False  # what was to be drawn while frames were held back

    @contextmanager
    def held(self) -> Iterator[None]:
        """Draws nothing within; what was requested is drawn behind it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            if self._due:
                self._due = False
                self._plan()

    def request(self) -> None:
        """Asks for a frame: now when the last one is long enough ago, else when its time has come."""
        if not self.planned:
            self.planned = True
            self._plan()

    def request_text(self, *, first: bool) -> None:
        """Asks for a frame with text that has come; see `FrameRate` for `first`, and when that frame is sooner."""
        if self._rate.text(monotonic(), first) and self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._plan()
        self.request()

    def _plan(self) -> None:
        wait = self._rate.next - monotonic()
        if self._held:
            self._due = True
        elif wait <= 0:
            self._start()
        else:
            self._timer = asyncio.get_running_loop().call_later(wait, self._start)

    def _start(self) -> None:
        self._timer = None
        self.after(0, self._frame)

    def after(self, seconds: float, callback: Callable[[], None]) -> None:
        """Runs `callback` as a message of the widget after `seconds`.

        By the event loop's own timer: Textual's `set_timer` drops a one-shot callback whose time has passed before the
        timer's task gets to look at the clock, which would be a frame lost.
        """
        message = Callback(callback)  # `call_later` wraps it so that Textual reads its signature every time: costly
        if seconds <= 0:
            self._widget.post_message(message)
        else:
            asyncio.get_running_loop().call_later(seconds, self._widget.post_message, message)

    def _frame(self) -> None:
        if self._held:
            self._due = True
            return
        self.planned = False
        start = monotonic()
        self._rate.put_off(start)
        if terminal_is_behind(self._widget.app):
            self.request()
            return
        self._draw()
        self._rate.drawn(start, monotonic())
