"""Tables as lines: columns as wide as their text, else with wrapped cells, else as records."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len

from tui.markdown.flow import Line, Run, pad, width_of, wrap
from tui.markdown.palette import Palette
from tui.markdown.text_strip import ROW_SEAM, Border

_GAP = " │ "
_NARROWEST = 6
_LONGEST_WORD = 20
"""Cells of the longest word that a column is kept wide enough for; what is longer (a URL) may be broken."""


Row = Sequence[list[Run]]
"""A row's cells."""


def table_lines(rows: Sequence[Row], align: Sequence[str], width: int, palette: Palette) -> list[Line]:
    """A table in at most `width` cells; the first of `rows` is the head, `align` says where a column's text stands."""
    columns = Columns(len(align), width)
    for row in rows:
        columns.widen(row)
    lines = head_lines(rows[0], columns, align, palette)
    body = rows[1:] or ([] if columns.shares else [[]])
    for index, row in enumerate(body):
        lines.extend(row_lines(rows[0], row, index == 0, columns, align, palette))
    return lines


class Columns:
    """How wide the columns of a table are, by what they hold."""

    def __init__(self, count: int, width: int) -> None:
        self.width = width
        self._natural = [1] * count
        self._words = [1] * count
        self.shares: tuple[int, ...] | None = self._shares()
        """Cells of each column, None where there are too many columns to stand side by side."""

    @property
    def wrapped(self) -> bool:
        """Whether there are cells that hold more than one line."""
        return self.shares is not None and any(
            cells < wanted for cells, wanted in zip(self.shares, self._natural, strict=True)
        )

    def widen(self, row: Row) -> None:
        """Takes in a row."""
        for column, runs in enumerate(row[: len(self._natural)]):
            text = "".join(piece for piece, _ in runs)
            self._natural[column] = max(self._natural[column], *(cell_len(line) for line in text.split("\n")))
            words = (min(cell_len(word), _LONGEST_WORD) for word in text.split())
            self._words[column] = max(self._words[column], *words, 1)
        self.shares = self._shares()

    def same(self, other: Columns) -> bool:
        """Whether a row looks the same in either."""
        return (self.shares, self.wrapped) == (other.shares, other.wrapped)

    def _shares(self) -> tuple[int, ...] | None:
        room = self.width - len(_GAP) * (len(self._natural) - 1)
        return _shares(self._natural, self._words, room)


def head_lines(head: Row, columns: Columns, align: Sequence[str], palette: Palette) -> list[Line]:
    """A table's head and the rule below it; nothing where each row repeats the head."""
    if columns.shares is None:
        return []
    rule: Line = [Border("─┼─".join("─" * cells for cells in columns.shares), palette.rule)]
    return [*_row(head, columns.shares, align, palette), rule]


def row_lines(head: Row, row: Row, first: bool, columns: Columns, align: Sequence[str], palette: Palette) -> list[Line]:
    """A row of the table's body; all but the `first` with what parts it from the one above."""
    if columns.shares is None:
        return [*([] if first else [[]]), *_record(head, row, columns.width, palette)]
    lines: list[Line] = []
    if columns.wrapped and not first:
        lines.append([Border(" │ ".join(" " * cells for cells in columns.shares), palette.rule)])
    lines.extend(_row(row, columns.shares, align, palette))
    return lines


def _shares(natural: Sequence[int], words: Sequence[int], room: int) -> tuple[int, ...] | None:
    """Column widths within `room`: each holds its longest word, narrow ones keep theirs, the wide ones share the rest.

    `natural`: widths at which nothing is wrapped; `words`: at which no word is broken. Where even the words do not fit,
    they are broken; None: too many columns even so.
    """
    if sum(natural) <= room:
        return tuple(natural)
    least = words
    if sum(least) > room:
        least = [min(wide, _NARROWEST) for wide in natural]
        if sum(least) > room:
            return None

    def at(level: int) -> list[int]:
        return [min(wide, max(level, narrow)) for wide, narrow in zip(natural, least, strict=True)]

    level = bisect_right(range(room + 1), room, key=lambda level: sum(at(level))) - 1
    spare = room - sum(at(level))
    widths = at(level)
    for column, more in enumerate(at(level + 1)):
        if more > widths[column] and spare:
            widths[column], spare = more, spare - 1
    return tuple(widths)


def _row(cells: Sequence[list[Run]], widths: Sequence[int], align: Sequence[str], palette: Palette) -> Iterator[Line]:
    columns = [[_without_seams(line) for line in wrap(runs, width)] for runs, width in zip(cells, widths, strict=False)]
    columns += [[] for _ in widths[len(columns) :]]
    for number, pieces in enumerate(zip_longest(*columns, fillvalue=())):
        line: Line = [ROW_SEAM] if number else []
        for column, piece in enumerate(pieces):
            if column:
                line.append(Border(_GAP, palette.rule))
            line.extend(_aligned(list(piece), widths[column], align[column], palette))
        yield line


def _aligned(line: Line, width: int, align: str, palette: Palette) -> Line:
    missing = width - width_of(line)
    before = {"right": missing, "center": missing // 2}.get(align, 0)
    if before > 0:
        line = [Border(" " * before, palette.text), *line]
    return pad(line, width, palette.text)


def _without_seams(line: Line) -> Line:
    """A cell's line is not the next one of the line that is drawn above it, which may be another cell's."""
    return [segment for segment in line if segment.text]


def _record(head: Row, row: Row, width: int, palette: Palette) -> list[Line]:
    """A row as "head: cell" lines."""
    lines: list[Line] = []
    for column, label in enumerate(head):
        cell = row[column] if column < len(row) else []
        lines.extend(wrap([*label, (": ", palette.muted), *cell], width))
    return lines
