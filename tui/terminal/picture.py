"""What stands on the terminal's screen, so that only cells that change are written and lines that move are moved by it.

Pure: every change is remembered here and returned as the text that has to be written for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.segment import Segment
from textual.strip import Strip

Row = dict[int, Strip]
"""What stands in a row, by the column where it begins; cells of which nothing is known are left out."""

_PLAIN = re.compile("[ -~\u00a1-\u00ac\u00ae-\u02ff\u0370-\u0482\u048a-\u0556‐-‧‰-⁞←-⇿∀-⋿─-◼]*")
"""Characters of one cell each on every terminal: where a row has others, columns within it are uncertain."""


def move_to(x: int, y: int) -> str:
    """Puts the cursor on a cell, counted from 0."""
    return f"\x1b[{y + 1};{x + 1}H"


class Picture:
    """`width` by `height` cells, of which nothing is known at first."""

    def __init__(self, width: int, height: int, console: Console) -> None:
        self.width, self.height = width, height
        self._console = console
        self._rows: list[Row] = [{} for _ in range(height)]

    def forget(self) -> None:
        """Nothing is known any longer: whatever is put will be written whole."""
        self._rows = [{} for _ in range(self.height)]

    def put(self, x: int, y: int, strip: Strip) -> str:
        """Shows `strip` from column `x` of row `y` on."""
        row = self._rows[y]
        old = row.get(x)
        if old is strip:
            return ""
        if old is None or old.cell_length != strip.cell_length:
            _uncover(row, x, x + strip.cell_length)
            row[x] = strip
            return self._whole(x, y, strip)
        row[x] = strip
        if list(old) == list(strip):
            return ""
        if not (_PLAIN.fullmatch(old.text) and _PLAIN.fullmatch(strip.text)):
            return self._whole(x, y, strip)
        if (changed := _changed(old, strip)) is None:
            return ""
        start, end = changed
        return move_to(x + start, y) + strip.crop(start, end).render(self._console)

    def _whole(self, x: int, y: int, strip: Strip) -> str:
        """All of a strip.

        The terminal may take a character for wider or narrower than it is here: what follows goes to its own column,
        and nothing older is left in between, nor anything of it behind.
        """
        if _PLAIN.fullmatch(strip.text):
            return move_to(x, y) + strip.render(self._console)
        beside = [item for item in self._rows[y].items() if item[0] > x]
        out = [move_to(x, y), Strip([Segment(" " * strip.cell_length, list(strip)[-1].style)]).render(self._console)]
        for segment in strip:
            out += [move_to(x, y), Strip([segment]).render(self._console)]
            x += segment.cell_length
        out += [move_to(column, y) + other.render(self._console) for column, other in beside]
        return "".join(out)

    def scroll(self, top: int, bottom: int, lines: int, left: int, right: int) -> str:
        """Moves the rows from `top` up to `bottom` up by `lines` (down where negative), all columns of them.

        What stood left of column `left` and from column `right` on stays as it was: it is written again. "" where
        nothing is moved, since not all of it is known.
        """
        rows = self._rows[top:bottom]
        beside: list[tuple[int, int, Strip]] = []
        for y, row in enumerate(rows, top):
            known = 0
            for x, strip in row.items():
                known += strip.cell_length
                if not left <= x < right:
                    beside.append((x, y, strip))
            if known < self.width:
                return ""
        blank: list[Row] = [{} for _ in range(abs(lines))]
        self._rows[top:bottom] = [*rows[lines:], *blank] if lines > 0 else [*blank, *rows[:lines]]
        # DECSTBM, then DL or IL in the region's first row: a VT102 has them, and what goes is in nobody's scrollback.
        moved = f"\x1b[{top + 1};{bottom}r{move_to(0, top)}\x1b[{abs(lines)}{'M' if lines > 0 else 'L'}\x1b[r"
        return moved + "".join([self.put(*put) for put in beside])


def _uncover(row: Row, start: int, end: int) -> None:
    """Takes out of `row` what reaches into the cells from `start` up to `end`."""
    for x in [x for x, strip in row.items() if x < end and x + strip.cell_length > start]:
        del row[x]


def _changed(old: Strip, new: Strip) -> tuple[int, int] | None:
    """The cells, from and up to, in which two strips of plain characters differ; None where they look the same."""
    before, after = list(old), list(new)
    start = _alike(before, after)
    if start >= new.cell_length:
        return None
    return start, new.cell_length - _alike(_backwards(before), _backwards(after))


def _backwards(segments: list[Segment]) -> Iterator[Segment]:
    return (Segment(text[::-1], style) for text, style, _ in reversed(segments))


def _alike(before: Iterable[Segment], after: Iterable[Segment]) -> int:
    """How many cells are the same until the first that differs; all characters are one cell wide."""
    alike = 0
    olds, news = iter(before), iter(after)
    old, new = Segment(""), Segment("")
    while True:
        while not old.text:
            if (following := next(olds, None)) is None:
                return alike
            old = following
        while not new.text:
            if (following := next(news, None)) is None:
                return alike
            new = following
        if old.style != new.style:
            return alike
        cells = min(len(old.text), len(new.text))
        if old.text[:cells] != new.text[:cells]:
            return alike + next(at for at in range(cells) if old.text[at] != new.text[at])
        alike += cells
        old, new = Segment(old.text[cells:], old.style), Segment(new.text[cells:], new.style)
