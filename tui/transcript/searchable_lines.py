"""Messages that can be searched while they stream in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.style import Style

from tui.transcript.finder import Finder
from tui.transcript.message_stack import Spot
from tui.transcript.paint import Span
from tui.transcript.selectable_lines import SelectableLines


class SearchableLines(SelectableLines):
    """A `MessageStack` in which all that a search found is marked.

    Without a search it costs nothing; with one, only messages that changed are searched again.
    """

    def __init__(self, *, fps: float = 25.0, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(fps=fps, id=id, classes=classes)
        self._finder: Finder | None = None
        self._left: tuple[bool, Spot | None] | None = None  # where the reader was, until there is a jump to a match
        self._told = (0, 0)
        self._tell: Callable[[int, int], None] | None = None

    @property
    def searching(self) -> bool:
        """Whether a search is open."""
        return self._finder is not None

    @property
    def held(self) -> bool:
        """A match that is looked at stays."""
        return super().held or (self._finder is not None and self._finder.chosen is not None)

    @property
    def found(self) -> tuple[int, int]:
        """The number of the match that is looked at, 0 for none, and how many there are."""
        return (0, 0) if self._finder is None else (self._finder.number, self._finder.count)

    def open_search(self, tell: Callable[[int, int], None]) -> None:
        """Begins a search; `tell` gets the number of the match that is looked at (0: none) and how many there are."""
        self._left = (self.following, self._messages.spot(self.scroll_offset.y))
        self._tell, self._told = tell, (0, 0)
        self.search("")

    def search(self, query: str) -> None:
        """Looks for `query`, from where the reader is."""
        top = self.scroll_offset.y
        origin = self._origin()
        self._finder = Finder(self._messages, query)
        self._messages.watch = self._finder.redrawn
        if self._finder.choose_from(top if origin is None else origin) and self._match_is_there(1):
            self._reveal_match()
        elif self._left is not None:
            self._return_to(*self._left)
        self._show_found()

    def search_step(self, by: int) -> None:
        """Goes to the next match, the one before, or (0) the one that is shown: there the reader stays afterwards."""
        if self._finder is not None and self._finder.step(by) and self._match_is_there(by):
            self._left = None
            self._reveal_match()
            self._show_found()

    def close_search(self) -> None:
        """Ends the search; the reader is back where he was, unless he went to a match."""
        left, self._finder, self._left, self._messages.watch = self._left, None, None, None
        self._tell = None
        if left is not None:
            self._return_to(*left)
        self.refresh()

    def _origin(self) -> int | None:
        """The line from which the reader began to search."""
        if self._left is None or self._left[1] is None:
            return None
        return self._messages.line_of(self._left[1])

    def _return_to(self, following: bool, spot: Spot | None) -> None:
        if following:
            self.action_scroll_end()
        elif spot is not None and (line := self._messages.line_of(spot)) is not None:
            self.scroll_to(y=line, animate=False)

    def _match_is_there(self, by: int) -> bool:
        """Draws the part that has the chosen match; where only its source has one, the choice goes on to another."""
        finder = self._finder
        while finder is not None and (place := finder.place) is not None:
            number = finder.number
            self.realize(*place)
            if finder.place is None:  # a whole message, which is several parts now
                finder.choose(number)
            elif finder.correct(by) and finder.place == place:
                return True
        return False

    def _reveal_match(self) -> None:
        lines = None if self._finder is None else self._finder.lines
        if lines is not None:
            self.reveal(*lines)

    def _show_found(self) -> None:
        self.refresh()
        if self._finder is not None:
            found = self.found
            if found != self._told:
                self._told = found
                if self._tell is not None:
                    self._tell(*found)

    def rewrapped(self) -> None:
        """What was found is elsewhere now."""
        super().rewrapped()
        if self._finder is not None:
            self._finder.forget()

    def _settle(self, first_line: int, spot: Spot | None) -> None:
        super()._settle(first_line, spot)
        if self._finder is not None:
            self._show_found()

    def painted(self, line: int) -> Sequence[Span]:
        """Lays the matches under the selection."""
        spans = super().painted(line)
        if self._finder is None or (found := self._messages.find(line)) is None:
            return spans
        match, chosen = Style(bgcolor=self._theme.match.bgcolor), self._theme.match_chosen
        return [*((start, end, chosen if here else match) for start, end, here in self._finder.on(*found)), *spans]
