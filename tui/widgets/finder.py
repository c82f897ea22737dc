"""Finds text in a stack of messages as it is drawn, and keeps what it found up to date. No widget, no drawing."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from tui.widgets.message_stack import MessageStack
from tui.widgets.message_view import MessageView


class Match(NamedTuple):
    """Where a match begins in its message, and all the (row, start cell, end cell) that it takes."""

    row: int
    start: int
    parts: tuple[tuple[int, int, int], ...]


class Finder:
    """All matches of `query`, which is taken without regard to case unless it has an upper-case letter.

    A match may go on over the break of a line that was wrapped. A message that was drawn again is searched again from
    the first row that changed.
    """

    def __init__(self, stack: MessageStack, query: str) -> None:
        self._stack = stack
        self.query = query
        self._pattern = re.compile(re.escape(query), re.NOFLAG if query != query.lower() else re.IGNORECASE)
        self._found: dict[str, list[Match]] = {}
        self.chosen: tuple[str, int, int] | None = None
        """The match that was walked to: its message, and where it begins."""
        for view in stack:
            self.redrawn(view, 0)

    def redrawn(self, view: MessageView, row: int) -> None:
        """A message has changed from `row` on."""
        row = max(0, min(row, view.height) - 1)  # the line above may have gone on in this row, or does so now
        while row > 0 and view.text_line(row).joint is not None:
            row -= 1
        known = self._found.get(view.key, [])
        del known[bisect_left(known, row, key=lambda match: match.row) :]
        if self.query:
            known.extend(_matches(view, row, self._pattern))
        self._found[view.key] = known

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(len(self._found.get(view.key, ())) for view in self._stack)

    @property
    def number(self) -> int:
        """Which one is chosen, from 1; 0 for none. The one before its place, where it is gone."""
        if self.chosen is None:
            return 0
        before = 0
        key, row, start = self.chosen
        for view in self._stack:
            found = self._found.get(view.key, [])
            if view.key == key:
                return before + bisect_right(found, (row, start), key=lambda match: match[:2])
            before += len(found)
        return 0

    def on(self, view: MessageView, row: int) -> Iterator[tuple[int, int, bool]]:
        """The cells of a row that match, and whether the match is the chosen one."""
        found = self._found.get(view.key, [])
        at = bisect_right(found, row, key=lambda match: match.row)
        first = at
        while first and any(part[0] == row for part in found[first - 1].parts):
            first -= 1
        for match in found[first:at]:
            chosen = (view.key, match.row, match.start) == self.chosen
            yield from ((start, end, chosen) for part_row, start, end in match.parts if part_row == row)

    def step(self, by: int) -> bool:
        """Chooses the next match or the one before, around the end; False when there is none."""
        count = self.count
        if count:
            number = self.number
            self._choose((number - 1 + by if number or by > 0 else by) % count)
        return bool(count)

    def choose_from(self, line: int) -> bool:
        """Chooses the first match at line `line` of the stack or below it, else the last one above."""
        at = 0
        for view in self._stack:
            top = self._stack.top(view)
            found = self._found.get(view.key, [])
            if found and top + found[-1].row >= line:
                self._choose(at + bisect_left(found, line - top, key=lambda match: match.row))
                return True
            at += len(found)
        if at:
            self._choose(at - 1)
        else:
            self.chosen = None
        return bool(at)

    @property
    def lines(self) -> tuple[int, int] | None:
        """The first and the last line of the chosen match; None when none is chosen."""
        if self.chosen is None or self.chosen[0] not in self._stack:
            return None
        view = self._stack[self.chosen[0]]
        for match in self._found.get(view.key, ()):
            if match[:2] == self.chosen[1:]:
                top = self._stack.top(view)
                return top + match.row, top + match.parts[-1][0]
        return None

    def _choose(self, index: int) -> None:
        for view in self._stack:
            found = self._found.get(view.key, [])
            if index < len(found):
                self.chosen = (view.key, found[index].row, found[index].start)
                return
            index -= len(found)


def _matches(view: MessageView, row: int, pattern: re.Pattern[str]) -> Iterator[Match]:
    text, starts, pieces = _flat(view, row)
    for match in pattern.finditer(text):
        parts: list[tuple[int, int, int]] = []
        for at in range(bisect_right(starts, match.start()) - 1, bisect_left(starts, match.end())):
            part_row, cell, piece = pieces[at]
            begin, end = max(0, match.start() - starts[at]), min(len(piece), match.end() - starts[at])
            if begin < end:
                parts.append((part_row, cell + _cells(piece, begin), cell + _cells(piece, end)))
        if parts:
            yield Match(parts[0][0], parts[0][1], tuple(parts))


def _flat(view: MessageView, row: int) -> tuple[str, list[int], Sequence[tuple[int, int, str]]]:
    """A message's text from `row` on as one string, and for each of its pieces the index, row, first cell and text."""
    whole: list[str] = []
    starts: list[int] = []
    pieces: list[tuple[int, int, str]] = []
    length = 0
    for at in range(row, view.height):
        strip = view.text_line(at)
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
