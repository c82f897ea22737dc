"""Drawn lines that know which of their cells are text, so that text can be found and copied as it was meant.

A `Border` segment (margin, bar, bullet's indentation, padding, rule) is drawn but is no text. A seam, a segment without
text at the start of a line, says that the line goes on where the one above had to be broken.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from rich.cells import cell_len, split_graphemes
from rich.segment import Segment
from textual.strip import Strip

from tui.markdown.palette import Palette

BLANK_SEAM = Segment("")
"""The line was broken at a blank, which is not drawn."""
CUT_SEAM = Segment("")
"""The line was broken within a word, or in code."""
ROW_SEAM = Segment("")
"""The line goes on with the cells of the table row above."""
_JOINTS = {id(BLANK_SEAM): " ", id(CUT_SEAM): "", id(ROW_SEAM): "\t"}

Code = Literal["", "first", "rest"]


class Border(Segment):
    """Cells that are not text."""


class Ground(Border):
    """The margin of a line of code."""


class Opening(Ground):
    """The margin of the first line of a code block."""


class TextStrip(Strip):
    """A line of a message.

    `spans` are the (start, end) cells of its text, `joint` is what stands between the line above and this one where
    both are one line of text (None: they are not; a tab: each column goes on), `code` says whether it is part of a code
    block.
    """

    __slots__ = ["code", "joint", "spans"]

    def __init__(
        self,
        segments: Iterable[Segment],
        cell_length: int | None = None,
        spans: tuple[tuple[int, int], ...] = (),
        joint: str | None = None,
        code: Code = "",
    ) -> None:
        super().__init__(segments, cell_length)
        self.spans = spans
        self.joint = joint
        self.code = code

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, TextStrip)
            and (self.spans, self.joint, self.code) == (other.spans, other.joint, other.code)
            and super().__eq__(other)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def start(self) -> int:
        """The first cell of its text."""
        return self.spans[0][0] if self.spans else 0

    @property
    def end(self) -> int:
        """The cell after its text."""
        return self.spans[-1][1] if self.spans else 0

    def between(self, start: int = 0, end: int | None = None) -> str | None:
        """Its text in the cells from `start` up to `end`; None for a line that is nothing but a rule.

        The columns of a table stand apart by tabs. Characters that are partly in are in.
        """
        if not self.spans:
            return None if self.text.strip(" ▎▌") else ""
        return "\t".join(self.columns(start, end)).strip("\t")

    def columns(self, start: int = 0, end: int | None = None) -> list[str]:
        """That text by the columns of a table."""
        line = self.text
        end = self.end if end is None else end
        found = [""]
        last = 0
        for left, right in self.spans:
            found.extend([""] * line[slice(*indices(line, last, left))].count("│"))
            first, after = indices(line, max(left, start), min(right, end))
            found[-1] += line[first:after]
            last = right
        return found


EMPTY = TextStrip([], 0)
"""A blank line."""


def to_strip(line: Iterable[Segment], margin: int, palette: Palette) -> TextStrip:
    """`line` behind `margin` blanks."""
    segments: list[Segment] = [Segment(" " * margin, palette.text)] if margin else []
    spans: list[tuple[int, int]] = []
    joint: str | None = None
    code: Code = ""
    at = margin
    for segment in line:
        text = segment.text
        if not text:
            if not spans:
                joint = _JOINTS.get(id(segment), joint)
            continue
        end = at + (len(text) if text.isascii() else cell_len(text))
        if isinstance(segment, Border):
            if isinstance(segment, Ground):
                code = "first" if isinstance(segment, Opening) else "rest"
        elif spans and spans[-1][1] == at:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((at, end))
        at = end
        segments.append(segment)
    return TextStrip(Segment.simplify(segments), at, tuple(spans), joint, code)


def indices(text: str, start: int, end: int) -> tuple[int, int]:
    """The slice of `text` whose characters touch the cells from `start` up to `end`."""
    if end <= start:
        return 0, 0
    if text.isascii():
        return start, end
    first = after = None
    at = 0
    for left, right, cells in split_graphemes(text)[0]:
        if at < end and at + cells > start:
            first = left if first is None else first
            after = right
        at += cells
    return (0, 0) if first is None or after is None else (first, after)
