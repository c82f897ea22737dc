"""What is selected in a stack of messages, and the text that is copied for it. Pure but for reading the stack."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len

from tui.markdown.reader import read
from tui.transcript.message_part import Part
from tui.transcript.message_stack import MessageStack, Spot
from tui.transcript.message_view import MessageView

_WORD = re.compile(r"[\w./:@~%+\-]*\w|\S")
"""What a double click takes: words, and what keeps paths, addresses and numbers together."""


@dataclass(frozen=True)
class Cell:
    """A cell of a line, in a form that stays right when text comes in above or below."""

    spot: Spot
    column: int


@dataclass(frozen=True)
class Selection:
    """From one cell to another, both included, in either order."""

    anchor: Cell
    head: Cell


@dataclass(frozen=True)
class Extent:
    """Lines `first` to `last`, from cell `start` of the first up to cell `end` of the last."""

    first: int
    start: int
    last: int
    end: int

    def on(self, line: int) -> tuple[int, int | None] | None:
        """The cells of `line` that are in it, None as the end meaning all that follow; None when there are none."""
        if not self.first <= line <= self.last:
            return None
        return (self.start if line == self.first else 0, self.end if line == self.last else None)


@dataclass(frozen=True)
class Piece:
    """Rows `first` to `last` of a message that hold all of something, and its source."""

    first: int
    last: int
    source: str


def cell_at(stack: MessageStack, line: int, column: int) -> Cell | None:
    """The cell there; lines past the end count as the last one."""
    spot = stack.spot(min(max(0, line), stack.height - 1))
    return None if spot is None else Cell(spot, max(0, column))


def extent(stack: MessageStack, selection: Selection) -> Extent | None:
    """Where it stands now; None when one of its messages is gone."""
    ends: list[tuple[int, int]] = []
    for cell in (selection.anchor, selection.head):
        line = stack.line_of(cell.spot)
        if line is None:
            return None
        ends.append((line, cell.column))
    (first, start), (last, end) = sorted(ends)
    return Extent(first, start, last, end + 1)


def word_at(stack: MessageStack, line: int, column: int) -> Extent | None:
    """The word at a cell; None where there is none."""
    found = stack.find(line)
    if found is None:
        return None
    strip = found[0].text_line(found[1])
    for left, right in strip.spans:
        if left <= column < right:
            text = strip.between(left, right) or ""
            before = len(strip.between(left, column) or "") if column > left else 0
            for match in _WORD.finditer(text):
                if match.start() <= before < match.end():
                    return _cells(text, left, line, match.start(), match.end())
    return None


def line_at(stack: MessageStack, line: int) -> Extent | None:
    """The whole line of text at `line`, with all the lines that it was wrapped into; None where there is no text."""
    found = stack.find(line)
    if found is None or not found[0].text_line(found[1]).spans:
        return None
    view, row = found
    first = last = row
    while first > 0 and view.text_line(first).joint is not None:
        first -= 1
    while last + 1 < view.height and view.text_line(last + 1).joint is not None:
        last += 1
    top = line - row
    return Extent(top + first, view.text_line(first).start, top + last, view.text_line(last).end)


def rows_of(stack: MessageStack, view: MessageView, first: int, last: int) -> Extent:
    """All text in the rows `first` to `last` of a message."""
    top = stack.top(view)
    return Extent(top + first, view.text_line(first).start, top + last, view.text_line(last).end)


def selection_of(stack: MessageStack, wanted: Extent) -> Selection | None:
    """The selection that stands at `wanted` now."""
    anchor = cell_at(stack, wanted.first, wanted.start)
    head = cell_at(stack, wanted.last, wanted.end - 1)
    return None if anchor is None or head is None else Selection(anchor, head)


def body(view: MessageView) -> Piece | None:
    """A message's own text; None when it has none."""
    rows = view.body_rows
    source = view.source.strip("\n")
    return Piece(rows[0], rows[-1], source) if rows and source.strip() else None


def code_blocks(view: MessageView) -> list[Piece]:
    """The blocks of code in what is drawn of a message, first one first."""
    return [piece for parts in view.blocks if parts[0].exact for piece in code_in(view, parts)]


def may_hold_code(parts: Sequence[Part]) -> bool:
    """Whether it is worth drawing them to find blocks of code; seldom wrong."""
    return any(mark in parts[0].source for mark in ("```", "~~~", "    ", "\t"))


def code_in(view: MessageView, parts: Sequence[Part]) -> list[Piece]:
    """The blocks of code in `parts` (one of `MessageView.blocks`), the first and last of which are drawn."""
    if view.kind != "assistant":
        return []
    top = view.top(parts[0])
    found: list[list[int]] = []
    for row in range(top, top + parts[0].height):
        code = view.text_line(row).code
        if code == "first":
            found.append([row, row])
        elif code and found:
            found[-1][1] = row
    if not found:
        return []
    if len(parts) > 1:  # one long fence
        found[-1][1] = top + sum(part.height for part in parts) - 1
    blocks = read("".join(part.source for part in parts)).settled
    sources = [block.text for block in blocks if block.kind in ("fence", "code")]
    if len(sources) != len(found):  # what has come in since is not drawn yet
        sources = ["\n".join(view.text_line(row).between() or "" for row in range(a, b + 1)) for a, b in found]
    return [Piece(first, last, source) for (first, last), source in zip(found, sources, strict=True)]


def undrawn_in(stack: MessageStack, selected: Extent) -> tuple[MessageView, Part] | None:
    """The first part that has to be drawn before the text of `selected` can be told: messages that are in it as a whole
    give their source."""
    top = 0
    for view in stack:
        whole = selected.first < top and top + view.height <= selected.last
        end = top + view.height
        if top <= selected.last and selected.first < end:
            for part in view.parts:
                inside = top <= selected.last and selected.first < top + max(1, part.height)
                if inside and not part.exact and not (whole and part.source):
                    return view, part
                top += part.height
        top = end
    return None


def text_of(stack: MessageStack, selected: Extent) -> str:
    """What is copied: messages and blocks of code that are selected as a whole give their source, all else the
    visible text without soft wraps, borders, padding and blanks at the ends of lines."""
    lines: list[str] = []
    row_cells: list[str] = []
    line = selected.first
    while line <= selected.last and (found := stack.find(line)) is not None:
        view, row = found
        whole = next((piece for piece in _pieces(view, row) if _covers(stack, selected, view, piece)), None)
        if whole is not None:
            lines.append(whole.source)
            line += whole.last - row + 1
            continue
        strip = view.text_line(row)
        cells = selected.on(line) or (0, 0)
        text = strip.between(*cells)
        if strip.joint == "\t" and lines and line > selected.first:
            more = zip_longest(row_cells, strip.columns(*cells), fillvalue="")
            row_cells = [f"{above} {below}".strip() for above, below in more]
            lines[-1] = "\t".join(row_cells).strip("\t")
        elif strip.joint is not None and lines and line > selected.first:
            lines[-1] += strip.joint + (text or "")
        elif text is not None:
            lines.append(text)
            row_cells = strip.columns(*cells)
        line += 1
    return "\n".join(text.rstrip() for text in lines).strip("\n")


def _pieces(view: MessageView, row: int) -> Iterator[Piece]:
    """What begins in `row`."""
    if row == view.body_rows.start and (whole := body(view)) is not None:
        yield whole
    if row in view.body_rows and view.text_line(row).code == "first":
        yield from (block for block in code_blocks(view) if block.first == row)


def _covers(stack: MessageStack, selected: Extent, view: MessageView, piece: Piece) -> bool:
    """Whether all of a piece's text is selected; what stands among selected lines need not be drawn for that."""
    top = stack.top(view)
    if selected.first < top + piece.first and top + piece.last < selected.last:
        return True
    rows = [row for row in range(piece.first, piece.last + 1) if view.text_line(row).spans]
    if not rows:
        return False
    whole = rows_of(stack, view, rows[0], rows[-1])
    return (selected.first, selected.start) <= (whole.first, whole.start) and (whole.last, whole.end) <= (
        selected.last,
        selected.end,
    )


def _cells(text: str, left: int, line: int, start: int, end: int) -> Extent:
    return Extent(line, left + cell_len(text[:start]), line, left + cell_len(text[:end]))
