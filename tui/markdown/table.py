"""Tables as lines: columns as wide as their text, else with wrapped cells, else as records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.cells import cell_len

from tui.markdown.flow import Line, Run, pad, width_of, wrap
from tui.markdown.palette import Palette
from tui.markdown.text_strip import Border

_GAP = " │ "
_NARROWEST = 6


@dataclass(frozen=True)
class Table:
    """Cells as runs; the first of `rows` is the head. `align` holds "left", "center" or "right" per column."""

    rows: Sequence[Sequence[list[Run]]]
    align: Sequence[str]


def table_lines(table: Table, width: int, palette: Palette) -> list[Line]:
    """`table` in at most `width` cells."""
    natural = [
        max((_natural(row[column]) for row in table.rows if column < len(row)), default=1)
        for column in range(len(table.align))
    ]
    room = width - len(_GAP) * (len(natural) - 1)
    widths = _shares(natural, room)
    if widths is None:
        return _records(table, width, palette)
    head, *body = table.rows
    lines = list(_row(head, widths, table.align, palette))
    lines.append([Border("─┼─".join("─" * cells for cells in widths), palette.rule)])
    wrapped = any(cells < wanted for cells, wanted in zip(widths, natural, strict=True))
    for index, row in enumerate(body):
        if wrapped and index:
            lines.append([Border(" │ ".join(" " * cells for cells in widths), palette.rule)])
        lines.extend(_row(row, widths, table.align, palette))
    return lines


def _natural(runs: list[Run]) -> int:
    text = "".join(piece for piece, _ in runs)
    return max(1, *(cell_len(line) for line in text.split("\n")))


def _shares(natural: Sequence[int], room: int) -> list[int] | None:
    """Column widths within `room`: narrow columns keep theirs, the wide ones share the rest. None: too many columns."""
    if sum(natural) <= room:
        return list(natural)
    widths = [0] * len(natural)
    order = sorted(range(len(natural)), key=lambda column: natural[column])
    for done, column in enumerate(order):
        fair = room // (len(order) - done)
        widths[column] = min(natural[column], fair)
        room -= widths[column]
        if widths[column] < min(natural[column], _NARROWEST):
            return None
    return widths


def _row(cells: Sequence[list[Run]], widths: Sequence[int], align: Sequence[str], palette: Palette) -> Iterator[Line]:
    columns = [[_without_seams(line) for line in wrap(runs, width)] for runs, width in zip(cells, widths, strict=False)]
    columns += [[] for _ in widths[len(columns) :]]
    for pieces in zip_longest(*columns, fillvalue=()):
        line: Line = []
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


def _records(table: Table, width: int, palette: Palette) -> list[Line]:
    """Each row as "head: cell" lines, a blank line between rows."""
    head, *body = table.rows
    lines: list[Line] = []
    for index, row in enumerate(body or [[]]):
        if index:
            lines.append([])
        for column, label in enumerate(head):
            cell = row[column] if column < len(row) else []
            lines.extend(wrap([*label, (": ", palette.muted), *cell], width))
    return lines
