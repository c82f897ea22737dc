"""Blocks that are still open, drawn as they grow: what was drawn for good is not read or drawn again.

Each gives, whenever its block has grown, the lines that are new and stay, and those of the rest, which may change. What
they draw may differ from the finished block, which is drawn once more as a whole.
"""

from __future__ import annotations

from copy import copy

from tui.markdown.blocks import Block
from tui.markdown.flow import Flow, Line, Run
from tui.markdown.layout import Layout
from tui.markdown.line_starts import cells_of
from tui.markdown.mend import mend
from tui.markdown.palette import Palette
from tui.markdown.parser import References
from tui.markdown.parts import LONG, Parts, part_runs
from tui.markdown.render import (
    box_of,
    fence_label,
    fence_language,
    grounded,
    opened,
    row_runs,
    text_runs,
    text_style,
)
from tui.markdown.sanitize import spaced
from tui.markdown.table import Columns, Row, head_lines, row_lines, table_lines

_FEW = 48
"""Rows of a table up to which its columns follow each change."""


class Growing:
    """The part that all share: reading what is new of a block's lines."""

    def __init__(self, block: Block, layout: Layout, palette: Palette) -> None:
        self.block = block
        self._layout = layout
        self._palette = palette
        self._row = 0  # all lines before this one are read,
        self._column = 0  # and of this one the characters before this
        self._first = True  # nothing is drawn for good
        self._ending = 0  # lines that are complete

    def draw(self, references: References, extra: str | None, *, started: bool) -> tuple[list[Line], list[Line], bool]:
        """Lines that stay, lines of the rest, and whether all that was to stay is replaced by the first.

        `extra` is the beginning of the next line, `started` says that the block's last line goes on.
        """
        self._ending = len(self.block.lines) - started
        stay, rest, again = self._draw(references, extra)
        self._first = self._first or again
        whole = self._layout.dress(stay, self.block, first=self._first) if stay else []
        self._first = self._first and not whole
        return whole, self._layout.dress(rest, self.block, first=self._first) if rest else [], again

    def _draw(self, references: References, extra: str | None) -> tuple[list[Line], list[Line], bool]:
        raise NotImplementedError

    def closing(self, references: References) -> list[Line] | None:
        """The lines behind those that stay, now that the block is complete; None where those may not stay after all."""
        return None

    def finished(self, references: References) -> list[Line] | None:
        """The whole block, now that it is complete, where that is known without reading it once more."""
        return None

    def _news(self, end: int) -> str:
        """The text up to line `end` that was not read yet; the last line may still grow."""
        pieces: list[str] = []
        while self._row < end:
            line = self.block.lines[self._row]
            pieces.append(line[self._column :])
            self._column = len(line)
            if self._row == end - 1:
                break
            pieces.append("\n")
            self._row, self._column = self._row + 1, 0
        return "".join(pieces)


class GrowingText(Growing):
    """A paragraph."""

    def __init__(self, block: Block, layout: Layout, palette: Palette) -> None:
        super().__init__(block, layout, palette)
        self._flow = Flow(layout.width)
        self._style = text_style(block, layout, palette)
        self._parts = Parts()
        self._column = box_of(block)
        self._defines = block.lines[0].startswith("[")  # link definitions, perhaps

    def _draw(self, references: References, extra: str | None) -> tuple[list[Line], list[Line], bool]:
        stay: list[Line] = []
        for part in self._parts.feed(self._news(len(self.block.lines))):
            stay.extend(self._flow.feed(self._runs(part, references)))
        text = self._parts.rest if extra is None else f"{self._parts.rest}\n{extra}"
        return stay, self._flow.rest(self._runs(text, references)), False

    def _runs(self, text: str, references: References) -> list[Run]:
        return part_runs(text, self._style, references, self._palette)

    def closing(self, references: References) -> list[Line] | None:
        """A long paragraph stays as it was read, unless it is none or began with what is not part of it."""
        if self.block.kind != "paragraph" or self._defines or len(self.block.text) < LONG:
            return None
        stay, rest, _ = self.draw(references, None, started=False)
        return [*stay, *rest]


class GrowingCode(Growing):
    """A fence or indented code, without colours."""

    def __init__(self, block: Block, layout: Layout, palette: Palette) -> None:
        super().__init__(block, layout, palette)
        self._flow = Flow(layout.width - 2, cut=True)
        self._label = fence_label(fence_language(block.info), layout.width, palette)
        self._opened = False  # whether the block's first line is drawn for good
        self._read = False  # whether there is any code

    def _draw(self, references: References, extra: str | None) -> tuple[list[Line], list[Line], bool]:
        end = len(self.block.lines)
        if self.block.kind == "code":  # blank lines at its end are not part of it
            while end > self._row + 1 and not self.block.lines[end - 1].strip(" \t"):
                end -= 1
        begun = self._read or end > 0
        news = self._news(end)
        lines = self._flow.feed([(spaced(news), self._palette.fence)]) if end else []
        self._read = begun
        stay = grounded(lines, self._layout.width, self._palette)
        if self._label:
            stay, self._label, self._opened = [*self._label, *stay], [], True
        if not self._opened:
            stay = opened(stay)
            self._opened = bool(stay)
        more = [(f"\n{spaced(extra)}" if begun else spaced(extra), self._palette.fence)] if extra is not None else []
        rest = grounded(self._flow.rest(more), self._layout.width, self._palette) if begun or more else []
        return stay, rest if self._opened else opened(rest), False

    def closing(self, references: References) -> list[Line] | None:
        """Code is drawn as it stands, but for its colours."""
        stay, rest, _ = self.draw(references, None, started=False)
        return [*stay, *rest]


class GrowingTable(Growing):
    """A table. Its columns are as wide as its rows so far want them; with many rows they follow only now and then."""

    def __init__(self, block: Block, layout: Layout, palette: Palette) -> None:
        super().__init__(block, layout, palette)
        self._rows: list[Row] = []
        self._columns = Columns(len(block.align), layout.width)
        self._shown = copy(self._columns)
        self._drawn = 0  # rows drawn for good
        self._laid = 0  # rows there were when the columns last followed
        self._known = 0  # link definitions that the rows were drawn with

    def _draw(self, references: References, extra: str | None) -> tuple[list[Line], list[Line], bool]:
        block, palette = self.block, self._palette
        if not self._rows:
            self._known = len(references)
        if self._ending < len(block.lines):
            extra = block.lines[-1]
        for line in block.lines[len(self._rows) : self._ending]:
            row = row_runs(line, not self._rows, references, palette)
            self._rows.append(row)
            self._columns.widen(row)
        partial: Row = []
        wanted = copy(self._columns)
        if extra is not None:
            style = palette.text
            partial = [text_runs(mend(cell), style, references, palette) for cell in cells_of(extra)]
            wanted.widen(partial)
        rows, again = len(self._rows), False
        if not wanted.same(self._shown) and (rows <= _FEW or rows >= self._laid * 5 // 4 or not self._drawn):
            self._shown, self._laid = wanted, rows
            again, self._drawn = self._drawn > 0, 0
        stay: list[Line] = []
        if not self._drawn:
            stay.extend(head_lines(self._rows[0], self._shown, block.align, palette))
            self._drawn = 1
        for index in range(self._drawn, rows):
            stay.extend(self._row_lines(self._rows[index], index))
        self._drawn = rows
        rest = self._row_lines(partial, rows) if partial or (rows == 1 and self._shown.shares is None) else []
        return stay, rest, again

    def closing(self, references: References) -> list[Line] | None:
        """Columns that did not follow the last rows do so now."""
        if len(references) != self._known or len(self.block.lines) == 1:
            return None
        stay, rest, again = self.draw(references, None, started=False)
        return None if again or not self._columns.same(self._shown) else [*stay, *rest]

    def finished(self, references: References) -> list[Line] | None:
        """The rows as they were read; with new link definitions they may look different."""
        if len(references) != self._known:
            return None
        for line in self.block.lines[len(self._rows) :]:
            self._rows.append(row_runs(line, False, references, self._palette))
        lines = table_lines(self._rows, self.block.align, self._layout.width, self._palette)
        return self._layout.dress(lines, self.block)

    def _row_lines(self, row: Row, index: int) -> list[Line]:
        return row_lines(self._rows[0], row, index == 1, self._shown, self.block.align, self._palette)


def growing(block: Block, layout: Layout, palette: Palette) -> Growing:
    """The way to draw `block` while it is open."""
    kinds: dict[str, type[Growing]] = {"fence": GrowingCode, "code": GrowingCode, "table": GrowingTable}
    return kinds.get(block.kind, GrowingText)(block, layout, palette)
