"""The transcript's messages on top of each other, and which line of which message stands where."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from textual.strip import Strip

from tui.transcript.chat_palette import ChatPalette
from tui.transcript.message_part import Look, Mark, Part
from tui.transcript.message_view import Edge, MessageView

KEPT = 2_000
"""Drawn lines that are kept at least; those farther away from what is looked at are drawn again when they are."""


@dataclass(frozen=True)
class Spot:
    """What stands at a line, in a form that outlives changes of width and of what is above it; or `below` it."""

    key: str
    place: Mark | Edge
    below: int = 0


class MessageStack:
    """Messages in order, found by key or by line; heights are kept as prefix sums.

    What nobody looked at yet is not drawn: its height is an estimate, which is put right as soon as it comes into view.
    """

    def __init__(self) -> None:
        self._views: list[MessageView] = []
        self._by_key: dict[str, MessageView] = {}
        self._tops: list[int] = [0]
        self._changed: set[str] = set()
        self._look: Look | None = None
        self._drawn_lines = 0  # since far ones were last let go
        self.watch: Callable[[Part, int], None] | None = None
        """Is told of every part that was drawn, and its first row that may differ."""
        self._damage: int | None = None  # the first line that something was taken away from

    def __getitem__(self, key: str) -> MessageView:
        return self._by_key[key]

    def __contains__(self, key: str) -> bool:
        return key in self._by_key

    def __iter__(self) -> Iterator[MessageView]:
        return iter(self._views)

    def __reversed__(self) -> Iterator[MessageView]:
        return reversed(self._views)

    @property
    def height(self) -> int:
        """Lines of all messages as last drawn or estimated."""
        return self._tops[-1]

    def add(self, view: MessageView) -> None:
        """Adds a message at the end, of no height until the next drawing."""
        if view.key in self._by_key:
            raise ValueError(f"a message with the key {view.key!r} is there already")
        view.first = not self._views
        self._views.append(view)
        self._by_key[view.key] = view
        self._tops.append(self._tops[-1])
        self._changed.add(view.key)

    def remove(self, key: str) -> None:
        """Takes a message away."""
        view = self._by_key.pop(key)
        at = self._views.index(view)
        del self._views[at]
        self._changed.discard(key)
        if at == 0 and self._views:
            self._views[0].first = True
            self.change(self._views[0])
        self._harm(self._tops[at])
        self._measure(at)

    def cut(self, key: str) -> None:
        """Takes a message and all below it away."""
        for view in reversed(self._views[self._views.index(self._by_key[key]) :]):
            self.remove(view.key)

    def clear(self) -> None:
        """Takes all messages away."""
        self._views.clear()
        self._by_key.clear()
        self._changed.clear()
        self._tops = [0]
        self._harm(0)

    def change(self, view: MessageView) -> None:
        """What stands around the message's text has changed."""
        view.touch()
        self._changed.add(view.key)

    # Drawing

    @property
    def pending(self) -> bool:
        """Whether there is more to draw with the next frame."""
        return bool(self._changed)

    def draw(
        self,
        width: int,
        palette: ChatPalette,
        rows: int | None = None,
        spot: Spot | None = None,
        enough: Callable[[], bool] = lambda: False,
    ) -> int:
        """Draws what changed of what was drawn, and what is not drawn of the `rows` lines from `spot` on.

        Without a `spot` it is the last `rows` lines; without `rows` it is everything. New lines are drawn until there
        is `enough`. Returns the first line of the stack that may differ, `height` when none does.
        """
        look = Look(width, palette)
        first_line = self.height if self._damage is None else self._damage
        self._damage = None
        if look != self._look:
            self._look = look
            first_line = 0
            for view in self._views:
                view.lay(look)
                if view.streaming:  # drawn as a whole, whether it is looked at or not
                    self._changed.add(view.key)
            self._measure(0)
        first_line = min(first_line, self._draw_changed(look))
        while not enough() and (found := self._undrawn(rows, spot)) is not None:
            first_line = min(first_line, self._realize(*found, look))
        if rows is not None and self._drawn_lines > KEPT:
            self._let_go(spot)
        return min(first_line, self.height)

    def _draw_changed(self, look: Look) -> int:
        first_line, first_view = self.height, len(self._views)
        if self._changed:
            for index, view in enumerate(self._views):
                if view.key not in self._changed:
                    continue
                row = 0
                if view.seen:
                    row = view.draw(look)
                    self._tell(view, row)
                else:
                    view.lay(look)
                first_line = min(first_line, self._tops[index] + row)
                first_view = min(first_view, index)
            self._changed = {view.key for view in self._views if view.key in self._changed and view.unfinished}
            self._measure(first_view)
        return first_line

    def _tell(self, view: MessageView, row: int) -> None:
        """Tells the watcher of the parts that a message drew from `row` on."""
        if self.watch is not None:
            top = 0
            for part in view.parts:
                if part.exact and top + part.height >= row:
                    self.watch(part, max(0, row - top))
                top += part.height

    def undrawn(self, first: int, rows: int) -> bool:
        """Whether any of the `rows` lines from `first` on is not drawn."""
        return self._nearest(first, first + rows, first) is not None

    def _undrawn(self, rows: int | None, spot: Spot | None) -> tuple[int, Part] | None:
        """The next part to draw, and the index of its message: the one nearest to what is looked at."""
        height = self.height
        rows = height if rows is None else rows
        if spot is None:
            return self._nearest(height - rows, height, height)
        line = self.line_of(spot)
        if line is None:
            return None
        first = max(0, min(line, height - rows))
        return self._nearest(first, first + rows, line + spot.below)

    def _nearest(self, first: int, stop: int, line: int) -> tuple[int, Part] | None:
        """The inexact part among the lines from `first` up to `stop` that is nearest to `line`."""
        best: tuple[int, tuple[int, Part]] | None = None
        index = max(0, bisect_left(self._tops, first) - 1)
        while index < len(self._views) and self._tops[index] < stop:
            top = self._tops[index]
            for part in self._views[index].parts:
                end = top + part.height
                if not part.exact and (first < end and top < stop if part.height else first <= top <= stop):
                    distance = max(top - line, line - end, 0)
                    if best is None or distance < best[0]:
                        best = (distance, (index, part))
                top = end
            index += 1
        return None if best is None else best[1]

    def _realize(self, index: int, part: Part, look: Look) -> int:
        view = self._views[index]
        row = view.top(part) if view.seen else 0
        view.realize(part, look)
        self._drawn_lines += part.height
        self._measure(index)
        self._tell(view, row)
        return self._tops[index] + row

    def realize(self, view: MessageView, part: Part) -> int:
        """Draws one part, wherever it stands; the first line that may differ."""
        if self._look is None or part.exact:
            return self.height
        return self._realize(self._views.index(view), part, self._look)

    def _let_go(self, spot: Spot | None) -> None:
        """Forgets the strips of what is far from `spot`, or from the end."""
        self._drawn_lines = 0
        line = None if spot is None else self.line_of(spot)
        line = self.height if line is None else line
        for view, top in zip(self._views, self._tops, strict=False):
            view.drop(range(line - KEPT // 2 - top, line + KEPT // 2 - top))

    # Lines

    def find(self, line: int) -> tuple[MessageView, int] | None:
        """The message at `line` and the row within it; None past the end."""
        if not 0 <= line < self.height:
            return None
        index = bisect_right(self._tops, line) - 1
        return self._views[index], line - self._tops[index]

    def line(self, line: int) -> Strip | None:
        """The strip at `line`; None past the end."""
        found = self.find(line)
        return None if found is None else found[0].line(found[1])

    def spot(self, line: int) -> Spot | None:
        """What stands at `line`; None past the end."""
        found = self.find(line)
        return None if found is None else Spot(found[0].key, found[0].place(found[1]))

    def line_of(self, spot: Spot) -> int | None:
        """Where it stands now, `below` lines above what it names; None when its message is gone."""
        if spot.key not in self._by_key:
            return None
        view = self._by_key[spot.key]
        return max(0, self.top(view) + view.row_of(spot.place) - spot.below)

    def top(self, view: MessageView) -> int:
        """The first line of a message."""
        return self._tops[self._views.index(view)]

    def _harm(self, line: int) -> None:
        self._damage = line if self._damage is None else min(line, self._damage)

    def _measure(self, start: int) -> None:
        self._tops[start:] = accumulate((view.height for view in self._views[start:]), initial=self._tops[start])
