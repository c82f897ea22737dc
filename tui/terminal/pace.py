"""How far the terminal is behind, by asking it.

What is written waits in the terminal's own buffers, or on the way through ssh, where nobody else can see it. So now and
then a frame ends with a question (DECRQM for synchronized output, which the app has already seen answered), and while
the answer takes longer than it should there are no further frames. Pure; times in seconds.
"""

from __future__ import annotations

ASK_EVERY = 2048
"""Characters between two questions: less than a slow line takes in a tenth of a second."""
PATIENCE = 0.05
"""How much longer than the quickest an answer may take."""
GIVE_UP = 3.0
"""After this an answer is taken for lost."""

QUESTION = "\x1b[?2026$p"
"""https://gist.github.com/christianparpart/d8a62cc1ab659194337d73e399004036"""


class Pace:
    """The account of one terminal."""

    def __init__(self) -> None:
        self._asked: float | None = None  # when, while the answer is not there
        self._quickest = 0.5
        self._unasked = 0

    def write(self, size: int, now: float) -> bool:
        """`size` characters are written; whether a question has to follow."""
        self._unasked += size
        self._give_up(now)
        if self._unasked < ASK_EVERY or self._asked is not None:
            return False
        self._asked, self._unasked = now, 0
        return True

    def answered(self, now: float) -> None:
        """The terminal has got so far."""
        if self._asked is not None:
            self._quickest = min(self._quickest, now - self._asked)
            self._asked = None

    def behind(self, now: float) -> bool:
        """Whether more would only wait in a queue."""
        self._give_up(now)
        return self._asked is not None and now - self._asked > self._quickest + PATIENCE

    def due(self, now: float) -> float:
        """In how many seconds the answer that is waited for should be here; 0 for none."""
        self._give_up(now)
        return 0.0 if self._asked is None else max(0.0, self._asked + self._quickest + PATIENCE - now)

    def _give_up(self, now: float) -> None:
        if self._asked is not None and now - self._asked > GIVE_UP:
            self._asked = None
