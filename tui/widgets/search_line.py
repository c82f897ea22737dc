"""The line in which one types what to search for in the conversation."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget
from textual.widgets import Input, Static

from tui.transcript.searchable_lines import SearchableLines


class SearchLine(Horizontal):
    """Searches `lines` while one types; exists only as long as the search is open."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "go", "Next", show=False, priority=True),
        Binding("down", "step(1)", "Next", show=False, priority=True),
        Binding("shift+enter,up", "step(-1)", "Previous", show=False, priority=True),
    ]
    DEFAULT_CSS = """
    SearchLine {
        height: 1;
        padding: 0 1;
        background: $surface;
        & > Static { width: auto; color: $foreground 60%; }
        & > Input, & > Input:focus { width: 1fr; background: $surface; background-tint: transparent; }
        & > #search-count { padding-left: 2; }
    }
    """

    def __init__(self, lines: SearchableLines, before: Widget | None) -> None:
        """`before` gets the focus back."""
        super().__init__(id="search")
        self._lines = lines
        self._before = before

    def compose(self) -> ComposeResult:
        """Textual's hook."""
        yield Static("Search ")
        query = Input(compact=True, select_on_focus=True)
        query.cursor_blink = False
        yield query
        yield Static(id="search-count")

    def on_mount(self) -> None:
        """Textual's hook."""
        self._lines.open_search(self.show)
        self.focus_query()

    def focus_query(self) -> None:
        """Lets one type."""
        self.query_one(Input).focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._lines.search(event.value)
        self.show(*self._lines.found)

    def show(self, at: int, count: int) -> None:
        """Shows which match is looked at, of how many."""
        query = self.query_one(Input).value
        words = f"{at:,} of {count:,}" if count else "not found" if query else ""
        self.query_one("#search-count", Static).update(words)

    def action_go(self) -> None:
        """The next match; where the search began in the lines, to the match that is shown, for n and N to go on."""
        if self._before is self._lines:
            self._lines.search_step(0)
            self._lines.focus()
        else:
            self._lines.search_step(1)

    def action_step(self, by: int) -> None:
        """The next match, the one before."""
        self._lines.search_step(by)

    def close(self) -> None:
        """Ends the search."""
        self._lines.close_search()
        if self._before is not None and self._before.is_attached:
            self._before.focus()
        self.remove()
