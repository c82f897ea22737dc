"""A stack of pieces of lines whose heights are known by prefix sums, so that any line is found by bisection."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from tui.markdown.text_strip import TextStrip


class Stack:
    """Pieces of strips on top of each other; pieces are replaced from an index on, which costs only what follows."""

    def __init__(self) -> None:
        self._pieces: list[list[TextStrip]] = []
        self._tops: list[int] = [0]

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def height(self) -> int:
        """Lines of all pieces."""
        return self._tops[-1]

    def top(self, index: int) -> int:
        """The line at which piece `index` begins; `height` for the one after the last."""
        return self._tops[index]

    def cut(self, index: int) -> None:
        """Drops the pieces from `index` on."""
        del self._pieces[index:]
        del self._tops[index + 1 :]

    def push(self, piece: list[TextStrip]) -> None:
        """Adds a piece at the bottom."""
        self._pieces.append(piece)
        self._tops.append(self._tops[-1] + len(piece))

    def merge(self, index: int) -> None:
        """Makes one piece of those from `index` on."""
        whole = [strip for piece in self._pieces[index:] for strip in piece]
        self.cut(index)
        self.push(whole)

    def put(self, index: int, row: int, strips: Sequence[TextStrip]) -> None:
        """Other strips in the place of those in piece `index` from `row` on."""
        piece = self._pieces[index]
        for at, strip in enumerate(strips[: len(piece) - row], row):
            piece[at] = strip

    def find(self, line: int) -> tuple[int, int]:
        """The piece that holds `line`, and the line within it."""
        index = bisect_right(self._tops, line) - 1
        return index, line - self._tops[index]

    def __getitem__(self, line: int) -> TextStrip:
        index, row = self.find(line)
        return self._pieces[index][row]

    def piece(self, index: int) -> Sequence[TextStrip]:
        """The strips of piece `index`."""
        return self._pieces[index]
