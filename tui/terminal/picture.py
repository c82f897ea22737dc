"""What stands on the terminal's screen, so that only cells that change are written and lines that move are moved by it.

Pure: every change is remembered here and returned as the text that has to be written for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console
from rich.segment import Segment
from textual.cache import LRUCache
from textual.strip import Strip

Put = tuple[int, int, Strip]
"""A column, a row, and what stands there."""

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
        # What was written for one strip over another, which stand with it for their ids to be theirs.
        self._rewritten: LRUCache[tuple[int, int, int, int], tuple[str, Strip, Strip]] = LRUCache(4 * height)

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
        if not _comparable(old, strip):
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
        beside: list[Put] = []
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
        return moved + self._put_back(beside)

    def _put_back(self, puts: Iterable[Put]) -> str:
        """Puts what stands beside lines that have moved: mostly the same over the same as some time before."""
        out: list[str] = []
        for x, y, strip in puts:
            old = self._rows[y].get(x)
            if old is None or old is strip:
                out.append(self.put(x, y, strip))
                continue
            key = x, y, id(old), id(strip)
            if (known := self._rewritten.get(key)) is not None:
                self._rows[y][x] = strip
                out.append(known[0])
                continue
            comparable = _comparable(old, strip)
            out.append(self.put(x, y, strip))
            if comparable:
                self._rewritten[key] = out[-1], old, strip
        return "".join(out)


def _comparable(old: Strip, new: Strip) -> bool:
    """Whether it is certain which cells the two differ in."""
    return old.cell_length == new.cell_length and bool(_PLAIN.fullmatch(old.text) and _PLAIN.fullmatch(new.text))


def _uncover(row: Row, start: int, end: int) -> None:
    """Takes out of `row` what reaches into the cells from `start` up to `end`."""
    for x in [x for x, strip in row.items() if x < end and x + strip.cell_length > start]:
        del row[x]


def _changed(old: Strip, new: Strip) -> tuple[int, int] | None:
    """The cells, from and up to, in which two strips of plain characters differ; None where they look the same."""
    before, after = list(old), list(new)
    text, other, length = old.text, new.text, new.cell_length
    start = min(_alike(text, other), _styled_alike(before, after))
    if start >= length:
        return None
    return start, length - min(_alike(text[::-1], other[::-1]), _styled_alike(before[::-1], after[::-1]))


def _alike(text: str, other: str) -> int:
    """How many characters are the same until the first that differs; both have as many."""
    alike, differing = 0, len(text) + 1
    while differing - alike > 1:
        middle = (alike + differing) // 2
        if text[alike:middle] == other[alike:middle]:
            alike = middle
        else:
            differing = middle
    return alike


def _styled_alike(before: Iterable[Segment], after: Iterable[Segment]) -> int:
    """How many cells have the same style until the first that has another; all characters are one cell wide."""
    olds, news = iter(before), iter(after)
    old_end = new_end = 0
    old_style = new_style = None
    while True:
        alike = min(old_end, new_end)
        while old_end == alike:
            if (old := next(olds, None)) is None:
                return alike
            old_end, old_style = old_end + len(old.text), old.style
        while new_end == alike:
            if (new := next(news, None)) is None:
                return alike
            new_end, new_style = new_end + len(new.text), new.style
        if old_style is not new_style and old_style != new_style:
            return alike
