"""When the next frame may be drawn. Pure; times in seconds."""

from __future__ import annotations

import math

BREATH = 0.005
"""The least between two frames, however urgent: a token is often two or three pieces that come one behind the other."""


class FrameRate:
    """The account of one widget's frames.

    At most `fps` a second, and at most a third of the time spent in drawing. Text at the beginning of an answer, or
    behind a pause of a frame, does not wait for its turn: what else was drawn just before it has not taken it.
    """

    def __init__(self, fps: float) -> None:
        self.next = 0.0
        """From when on a frame may be drawn."""
        self._interval = 1 / fps
        self._free = 0.0  # from when on an urgent one may be
        self._text = -math.inf  # when the last text came

    def text(self, now: float, first: bool) -> bool:
        """Text has come; `first`: none of its answer is to be seen yet. Whether `next` is sooner by that."""
        urgent = (first or now - self._text >= self._interval) and self._free < self.next
        if urgent:
            self.next = self._free
        self._text = now
        return urgent

    def drawn(self, start: float, end: float) -> None:
        """A frame was drawn."""
        self._free = start + max(BREATH, 3 * (end - start))
        self.next = max(start + self._interval, self._free)

    def put_off(self, now: float) -> None:
        """Nothing could be drawn, however urgent, and it is tried again a frame later."""
        self.next = self._free = now + self._interval
