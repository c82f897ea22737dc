"""Finds text in a stack of messages, and keeps what it found up to date. No widget, no drawing.

What is drawn is searched as it is drawn; of what is not, the source is: how many matches it has, and roughly where.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from tui.transcript.message_part import Part
from tui.transcript.message_stack import MessageStack
from tui.transcript.message_view import MessageView


class Match(NamedTuple):
    """Where a match begins in its part of a message, and all the (row, start cell, end cell) that it takes."""

    row: int
    start: int
    parts: tuple[tuple[int, int, int], ...]


class Finder:
    """All matches of `query`, which is taken without regard to case unless it has an upper-case letter.

    A match may go on over the break of a line that was wrapped. A part that was drawn again is searched again from the
    first row that changed.
    """

    def __init__(self, stack: MessageStack, query: str) -> None:
        self._stack = stack
        self.query = query
        flags = re.NOFLAG if query != query.lower() else re.IGNORECASE
        self._pattern = re.compile(re.escape(query), flags)
        self._in_source = re.compile(re.escape(query).replace(r"\ ", r"[ \n]"), flags)
        self._found: dict[Part, list[Match]] = {}
        self._counted: dict[Part, int] = {}  # of parts that are not drawn
        self.chosen: tuple[Part, int] | None = None
        """The match that was walked to: its part, and its number there from 0."""
        for view in stack:
            for part in view.parts:
                if part.exact and part.drawn:
                    self.redrawn(part, 0)

    def redrawn(self, part: Part, row: int) -> None:
        """A part has changed from `row` on."""
        row = max(0, min(row, part.height) - 1)  # the line above may have gone on in this row, or does so now
        while row > 0 and part[row].joint is not None:
            row -= 1
        known = self._found.get(part, [])
        del known[bisect_left(known, row, key=lambda match: match.row) :]
        if self.query:
            known.extend(_matches(part, row, self._pattern))
        self._found[part] = known
        self._counted.pop(part, None)

    def forget(self) -> None:
        """All lines are about to be other ones."""
        self._counted |= {part: len(found) for part, found in self._found.items()}
        self._found.clear()

    def _matches_in(self, part: Part) -> list[Match]:
        """None as long as where they are is not known."""
        if part not in self._found and part.exact:
            self.redrawn(part, 0)
        return self._found.get(part, [])

    def _count(self, part: Part) -> int:
        if (found := self._found.get(part)) is not None:
            return len(found)
        if (count := self._counted.get(part)) is None:
            count = sum(1 for _ in self._in_source.finditer(part.source)) if self.query else 0
            self._counted[part] = count
        return count

    def _parts(self) -> Iterator[tuple[MessageView, Part, int]]:
        """Every part with matches, its message, and how many matches stand before it."""
        before = 0
        for view in self._stack:
            for part in view.parts:
                if count := self._count(part):
                    yield view, part, before
                    before += count

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self._count(part) for _, part, _ in self._parts())

    @property
    def number(self) -> int:
        """Which one is chosen, from 1; 0 for none. The one before its place, where it is gone."""
        if self.chosen is None:
            return 0
        part, number = self.chosen
        return self._before(part) + min(number + 1, self._count(part))

    def _before(self, wanted: Part) -> int:
        """How many there are in the parts above."""
        before = 0
        for view in self._stack:
            for part in view.parts:
                if part is wanted:
                    return before
                before += self._count(part)
        return 0

    def on(self, view: MessageView, row: int) -> Iterator[tuple[int, int, bool]]:
        """The cells of a row that match, and whether the match is the chosen one."""
        part, row = view.find(row)
        found = self._matches_in(part)
        at = bisect_right(found, row, key=lambda match: match.row)
        first = at
        while first and any(piece[0] == row for piece in found[first - 1].parts):
            first -= 1
        for number, match in enumerate(found[first:at], first):
            chosen = (part, number) == self.chosen
            yield from ((start, end, chosen) for part_row, start, end in match.parts if part_row == row)

    def step(self, by: int) -> bool:
        """Chooses the next match or the one before, around the end; False when there is none."""
        count = self.count
        if count:
            number = self.number
            self.choose((number - 1 + by if number or by > 0 else by) % count + 1)
        return bool(count)

    def correct(self, by: int) -> bool:
        """Now that the part of the chosen match is drawn: another match is chosen where it shows none after all."""
        if self.chosen is None:
            return False
        part, number = self.chosen
        if found := self._matches_in(part):
            self.chosen = part, min(number, len(found) - 1)
        elif count := self.count:
            before = self._before(part)
            self.choose((before if by > 0 else before - 1) % count + 1)
        else:
            self.chosen = None
        return self.chosen is not None

    def choose_from(self, line: int) -> bool:
        """Chooses the first match at line `line` of the stack or below it, else the last one above."""
        last: tuple[Part, int] | None = None
        for view, part, _ in self._parts():
            top = self._stack.top(view) + view.top(part)
            found = self._found.get(part)
            if top + part.height > line and (found is None or top + found[-1].row >= line):
                at = 0 if found is None else bisect_left(found, line - top, key=lambda match: match.row)
                self.chosen = part, at
                return True
            last = part, self._count(part) - 1
        self.chosen = last
        return last is not None

    @property
    def place(self) -> tuple[MessageView, Part] | None:
        """The message and the part that the chosen match is in."""
        if self.chosen is None:
            return None
        return next(((view, part) for view, part, _ in self._parts() if part is self.chosen[0]), None)

    @property
    def lines(self) -> tuple[int, int] | None:
        """The first and the last line of the chosen match; None when none is chosen, or where it is is not known."""
        if self.chosen is None or (place := self.place) is None:
            return None
        view, part = place
        found = self._matches_in(part)[self.chosen[1] :]
        top = self._stack.top(view) + view.top(part)
        return (top + found[0].row, top + found[0].parts[-1][0]) if found else None

    def choose(self, number: int) -> None:
        """Chooses the match of that number, from 1."""
        for _, part, before in self._parts():
            if number <= before + self._count(part):
                self.chosen = part, number - 1 - before
                return
        self.chosen = None


def _matches(part: Part, row: int, pattern: re.Pattern[str]) -> Iterator[Match]:
    text, starts, pieces = _flat(part, row)
    for match in pattern.finditer(text):
        parts: list[tuple[int, int, int]] = []
        for at in range(bisect_right(starts, match.start()) - 1, bisect_left(starts, match.end())):
            part_row, cell, piece = pieces[at]
            begin, end = max(0, match.start() - starts[at]), min(len(piece), match.end() - starts[at])
            if begin < end:
                parts.append((part_row, cell + _cells(piece, begin), cell + _cells(piece, end)))
        if parts:
            yield Match(parts[0][0], parts[0][1], tuple(parts))


def _flat(part: Part, row: int) -> tuple[str, list[int], Sequence[tuple[int, int, str]]]:
    """A part's text from `row` on as one string, and for each of its pieces the index, row, first cell and text."""
    whole: list[str] = []
    starts: list[int] = []
    pieces: list[tuple[int, int, str]] = []
    length = 0
    for at in range(row, part.height):
        strip = part[at]
        between = "\n" if strip.joint is None else strip.joint
        for left, right in strip.spans:
            piece = strip.between(left, right) or ""
            whole += (between, piece)
            length += len(between)
            starts.append(length)
            pieces.append((at, left, piece))
            length += len(piece)
            between = "\t"
    return "".join(whole), starts, pieces


def _cells(text: str, end: int) -> int:
    return end if text.isascii() else cell_len(text[:end])
