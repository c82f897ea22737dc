"""The thinking text of an answer: read and wrapped as it comes in, each piece once."""

from __future__ import annotations

from typing import Literal

from tui.markdown.flow import Flow, Line
from tui.markdown.sanitize import scrub, spaced
from tui.markdown.text_strip import EMPTY, Border, TextStrip, to_strip
from tui.transcript.message_part import MARGIN, Look, Part, rows_of

END_ROWS = 6
"""Rows that are shown of a thought while it goes on."""

Shown = Literal["nothing", "end", "all"]

_BLANKS = " \t\r\n"
_BAR = "│ "


class ThoughtPart(Part):
    """The rows under the line that says how long was thought, and a blank one above the answer.

    Its `source` is empty: what is folded is neither searched nor copied.
    """

    def __init__(self) -> None:
        super().__init__()
        self.words = 0
        """Of what `take` has read."""
        self.finished = False
        self._raw: list[str] = []  # not read yet: no more than blanks where it was
        self._texts: list[str] = []  # what was read, scrubbed
        self._flow: Flow | None = None
        self._flowed = 0  # how many of `_texts` have gone into it
        self._done: list[TextStrip] = []
        self._rest: list[TextStrip] = []
        self._shown: Shown = "nothing"
        self._below = 0

    @property
    def text(self) -> str:
        """All of it, scrubbed, without blanks around it."""
        self.take()
        return "".join(self._texts)

    def append(self, text: str) -> None:
        """More text; nothing is done about it before somebody looks."""
        self._raw.append(text)
        self.finished = False

    def take(self) -> bool:
        """Reads what came in, blanks at the end excepted; whether there is any text."""
        if any(piece.strip(_BLANKS) for piece in self._raw):
            raw = "".join(self._raw)
            text = raw.rstrip(_BLANKS)
            self._raw = [raw[len(text) :]]
            before = self._texts[-1][-1] if self._texts else ""
            text = spaced(scrub(text if before else text.lstrip(_BLANKS), before))
            self.words += len(text.split()) - bool(before and not text[0].isspace())
            self._texts.append(text)
        return bool(self._texts)

    # Drawing

    def update(self, look: Look, shown: Shown, below: int) -> int:
        """Draws what is new, `below` blank rows under it; the first row that may differ, `height` when none does."""
        if not self.take():
            shown, below = "nothing", 0
        same = self.exact and self.drawn and (look, shown, below) == (self._look, self._shown, self._below)
        if same and self._flowed == (0 if shown == "nothing" else len(self._texts)):
            return self.height
        first = len(self._done) if same and shown == "all" else 0
        if look != self._look or shown == "nothing":
            self._forget()
        self._look, self._shown, self._below = look, shown, below
        self.height, self.exact = self._draw(look), True
        return first

    def lay(self, look: Look) -> None:
        """In another look the height is an estimate until it is drawn."""
        if look != self._look:
            self._forget()
        super().lay(look)

    @property
    def drawn(self) -> bool:
        """Whether its strips are there."""
        return self.exact and (self._flow is not None or self._shown == "nothing")

    def _draw(self, look: Look) -> int:
        if self._shown == "nothing":
            return self._below
        if self._flow is None:
            self._flow = Flow(look.column - 2)
        new = [(text, look.palette.reasoning) for text in self._texts[self._flowed :]]
        self._flowed = len(self._texts)
        self._done.extend(self._strip_of(line, look) for line in self._flow.feed(new))
        self._rest = [self._strip_of(line, look) for line in self._flow.rest()]
        rows = len(self._done) + len(self._rest)
        return (min(END_ROWS, rows) if self._shown == "end" else rows) + self._below

    def _strip_of(self, line: Line, look: Look) -> TextStrip:
        return to_strip([Border(_BAR, look.palette.rule), *line], MARGIN, look.palette)

    def _strip(self, row: int) -> TextStrip:
        if row >= self.height - self._below:
            return EMPTY
        at = row + len(self._done) + len(self._rest) - (self.height - self._below)
        return self._done[at] if at < len(self._done) else self._rest[at - len(self._done)]

    def _estimate(self, column: int) -> int:
        if self._shown == "nothing":
            return self._below
        rows = rows_of(self.text, column - 2)
        return (min(END_ROWS, rows) if self._shown == "end" else rows) + self._below

    def drop(self) -> None:
        """Lets go of the strips, unless more text may come."""
        if self.finished:
            self._forget()

    def _forget(self) -> None:
        """Lets go of the strips."""
        self._flow, self._flowed = None, 0
        self._done, self._rest = [], []
