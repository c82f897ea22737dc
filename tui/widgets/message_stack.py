"""The transcript's messages on top of each other, and which line of which message stands where."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from textual.strip import Strip

from tui.markdown.document import Place
from tui.widgets.chat_palette import ChatPalette
from tui.widgets.message_view import Edge, MessageView


@dataclass(frozen=True)
class Spot:
    """What stands at a line, in a form that outlives changes of width and of what is above it."""

    key: str
    place: Place | Edge


class MessageStack:
    """Messages in order, found by key or by line; heights are kept as prefix sums."""

    def __init__(self) -> None:
        self._views: list[MessageView] = []
        self._by_key: dict[str, MessageView] = {}
        self._tops: list[int] = [0]
        self._changed: set[str] = set()
        self.watch: Callable[[MessageView, int], None] | None = None
        """Is told of every message that was drawn, and its first row that may differ."""
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
        """Lines of all messages as last drawn."""
        return self._tops[-1]

    def add(self, view: MessageView) -> None:
        """Adds a message at the end, of no height until it is drawn."""
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

    @property
    def pending(self) -> bool:
        """Whether messages wait to be drawn."""
        return bool(self._changed)

    def draw(
        self, width: int, palette: ChatPalette, near: int | None = None, enough: Callable[[], bool] = lambda: False
    ) -> int:
        """Draws the messages that changed; the first line of the stack that may differ, `height` when none does.

        It begins with those nearest to line `near` (None: the end) and stops when there is `enough`: a long
        conversation is drawn over several frames, what the reader sees first. Until then the others keep the lines they
        had, new ones have none.
        """
        first_line = self.height if self._damage is None else self._damage
        first_view = len(self._views)
        self._damage = None
        focus = len(self._views) - 1 if near is None else bisect_right(self._tops, near) - 1
        changed = [index for index, view in enumerate(self._views) if view.key in self._changed]
        for index in sorted(changed, key=lambda index: abs(index - focus)):
            view = self._views[index]
            row = view.draw(width, palette)
            first_line = min(first_line, self._tops[index] + row)
            if self.watch is not None:
                self.watch(view, row)
            first_view = min(first_view, index)
            self._changed.discard(view.key)
            if enough():
                break
        self._measure(first_view)
        return min(first_line, self.height)

    def change_all(self) -> None:
        """The width or the colours have changed: every message has to be drawn again."""
        self._changed.update(self._by_key)

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
        """Where it stands now; None when its message is gone."""
        if spot.key not in self._by_key:
            return None
        view = self._by_key[spot.key]
        return self.top(view) + view.row_of(spot.place)

    def top(self, view: MessageView) -> int:
        """The first line of a message."""
        return self._tops[self._views.index(view)]

    def _harm(self, line: int) -> None:
        self._damage = line if self._damage is None else min(line, self._damage)

    def _measure(self, start: int) -> None:
        del self._tops[start + 1 :]
        for view in self._views[start:]:
            self._tops.append(self._tops[-1] + view.height)
